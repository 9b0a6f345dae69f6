/* Preloaded, it makes the N-th operation on files below a folder fail, or each from it on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define MOST_FILES 4096

static char below[4096];
static long wanted, passed_count;
static int error_number, sticks, is_inside[MOST_FILES];

void arm(const char *folder, long n, int error, int stays) {
    strncpy(below, folder, sizeof below - 1);
    wanted = n, error_number = error, sticks = stays, passed_count = 0;
}

long passed(void) { return passed_count; }

/* Where a disk is full, what frees space goes on. */
static int fails(int takes_space) {
    if (!wanted) return 0;
    passed_count++;
    int is_due = passed_count == wanted || (sticks && passed_count > wanted && takes_space);
    if (is_due) errno = error_number;
    return is_due;
}

static int inside(int fd) { return fd >= 0 && fd < MOST_FILES && is_inside[fd]; }

/* A folder below may be named by its descriptor. */
static int covers(const char *path) {
    const char *descriptors = "/proc/self/fd/";
    if (!strncmp(path, descriptors, strlen(descriptors)))
        return inside(atoi(path + strlen(descriptors)));
    return below[0] && !strncmp(path, below, strlen(below));
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define PATHS(result, name, parameters, arguments, path, space)    \
    result name parameters {                                       \
        if (covers(path) && fails(space)) return -1;               \
        return REAL(name) arguments;                               \
    }
#define FILES(result, name, parameters, arguments, fd, space)      \
    result name parameters {                                       \
        if (inside(fd) && fails(space)) return -1;                 \
        return REAL(name) arguments;                               \
    }
#define OPENS(name)                                                \
    int name(const char *path, int flags, ...) {                   \
        va_list more;                                              \
        va_start(more, flags);                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                              \
        int covered = covers(path);                                \
        if (covered && fails(flags & O_CREAT)) return -1;          \
        int fd = REAL(name)(path, flags, mode);                    \
        if (fd >= 0 && fd < MOST_FILES) is_inside[fd] = covered;   \
        return fd;                                                 \
    }

OPENS(open)
OPENS(open64)
PATHS(int, mkdir, (const char *path, mode_t mode), (path, mode), path, 1)
PATHS(int, rename, (const char *path, const char *to), (path, to), path, 1)
PATHS(int, unlink, (const char *path), (path), path, 0)
PATHS(int, rmdir, (const char *path), (path), path, 0)
FILES(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), fd, 1)
FILES(int, fsync, (int fd), (fd), fd, 1)
FILES(int, fdatasync, (int fd), (fd), fd, 1)
FILES(int, ftruncate64, (int fd, off64_t size), (fd, size), fd, 1)

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    if (inside(fd) && fails(1)) return -1;
    return REAL(pwrite64)(fd, data, size, at);
}

/* Removing a tree goes by descriptors of its folders; all that is removed while armed is ours. */
int unlinkat(int fd, const char *path, int flags) {
    if (below[0] && fails(0)) return -1;
    return REAL(unlinkat)(fd, path, flags);
}
