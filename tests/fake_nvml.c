/* A driver's library that says what FAKE_NVML tells it to: one card, or one of the troubles below. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, NOT_LOADED = 9,
       LOST = 15, MISMATCH = 18, UNKNOWN = 999 };
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned pid; unsigned long long used; unsigned gi, ci; } process;
typedef long handle; /* 1 and 2 are cards, 11 is the first card's only instance */

static const char *setting(const char *key, const char *otherwise) {
    const char *value = getenv(key);
    return value ? value : otherwise;
}
static int is(const char *mode) { return !strcmp(setting("FAKE_NVML", "ok"), mode); }
static int is_split(void) { return !strncmp(setting("FAKE_NVML", "ok"), "mig", 3); }

int nvmlInitWithFlags(unsigned flags) {
    if (is("hang")) sleep(60);
    if (is("mismatch")) return MISMATCH;
    return is("noperm") ? NO_PERMISSION : is("notloaded") ? NOT_LOADED : 0;
}
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = is("none") ? 0 : is("two") || is("twins") || is("one-lost") ? 2 : 1;
    return is("unknown") ? UNKNOWN : 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, handle *device) {
    *device = index + 1;
    return is("lost") || (is("one-lost") && index == 0) ? LOST : 0;
}
int nvmlDeviceGetName(handle device, char *name, unsigned size) {
    const char *card = setting("FAKE_NAME", "NVIDIA One");
    if (device == 11) snprintf(name, size, "%s MIG 3g.20gb", card);
    else snprintf(name, size, "%s", device == 1 || is("twins") ? card : "NVIDIA Two");
    return 0;
}
int nvmlDeviceGetMemoryInfo(handle device, memory *info) {
    if (is("hang-memory")) sleep(60);
    if (is("unified") || (is("mig-memory") && device == 11)) return NOT_SUPPORTED;
    if (is("lost-memory")) return LOST;
    info->total = strtoull(setting("FAKE_MIB", "24576"), 0, 10) << 20;
    if (device == 11) info->total /= 2;
    if (is("zero")) info->total = 0;
    const char *used = getenv(device == 2 ? "FAKE_USED_MIB_2" : "FAKE_USED_MIB");
    info->used = used ? strtoull(used, 0, 10) << 20 : info->total / 4;
    if (info->used > info->total) info->used = info->total;
    info->free = info->total - info->used;
    return 0;
}
#ifndef OLD
int nvmlDeviceGetCudaComputeCapability(handle device, int *major, int *minor) {
    sscanf(setting("FAKE_CAPABILITY", "8.6"), "%d.%d", major, minor);
    return 0;
}
int nvmlDeviceGetUUID(handle device, char *uuid, unsigned size) {
    const char *of[] = {"", "GPU-aaaa-1111", "GPU-aabb-2222"};
    snprintf(uuid, size, "%s", device == 11 ? "MIG-cccc-3333" : of[device]);
    return 0;
}
int nvmlDeviceGetMigMode(handle device, unsigned *now, unsigned *pending) {
    *now = *pending = is_split();
    return is("unified") ? NOT_SUPPORTED : 0;
}
int nvmlDeviceGetMaxMigDeviceCount(handle device, unsigned *count) {
    *count = 7;
    return 0;
}
int nvmlDeviceGetMigDeviceHandleByIndex(handle device, unsigned index, handle *instance) {
    *instance = 11;
    return index == 3 && !is("mig-empty") ? 0 : NOT_FOUND;
}
/* FAKE_SPEED is "cores clock bus memory-clock", in MHz and bits. */
static int speed(int which, unsigned *value) {
    unsigned of[4];
    const char *told = getenv("FAKE_SPEED");
    if (!told || sscanf(told, "%u %u %u %u", of, of + 1, of + 2, of + 3) != 4) return NOT_SUPPORTED;
    *value = of[which];
    return 0;
}
int nvmlDeviceGetNumGpuCores(handle device, unsigned *cores) { return speed(0, cores); }
int nvmlDeviceGetMaxClockInfo(handle device, unsigned kind, unsigned *mhz) {
    return speed(kind == 1 ? 1 : 3, mhz);
}
int nvmlDeviceGetMemoryBusWidth(handle device, unsigned *bits) { return speed(2, bits); }
#endif
int nvmlDeviceGetUtilizationRates(handle device, utilization *rates) {
    rates->gpu = 87;
    rates->memory = 40;
    return is("unified") ? NOT_SUPPORTED : 0;
}
int nvmlDeviceGetTemperature(handle device, unsigned sensor, unsigned *degrees) {
    *degrees = 71;
    return 0;
}
int nvmlDeviceGetPowerUsage(handle device, unsigned *milliwatts) {
    *milliwatts = 310500;
    return is("unified") ? NOT_SUPPORTED : 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(handle device, unsigned *count, process *processes) {
    unsigned room = *count;
    const char *own = getenv("FAKE_OWN_MIB"), *holder = getenv("FAKE_HOLDER");
    *count = device == 2 || own || holder;
    if (room < *count) return INSUFFICIENT_SIZE;
    if (*count) processes[0].pid = atoi(setting(holder && device != 2 ? "FAKE_HOLDER" : "FAKE_PID", "0"));
    /* What isn't available, as under WSL, has all its bits set. */
    if (*count) processes[0].used = own && strcmp(own, "?") ? strtoull(own, 0, 10) << 20 : -1;
    return 0;
}
int nvmlSystemGetDriverVersion(char *version, unsigned size) {
    snprintf(version, size, "%s", setting("FAKE_DRIVER", "580.65"));
    return 0;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, handle *device) {
    *device = 1;
    return strcmp(uuid, "GPU-aaaa-1111") ? NOT_FOUND : 0;
}
const char *nvmlErrorString(int code) { return "it went wrong"; }
