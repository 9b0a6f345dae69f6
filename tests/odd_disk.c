/* Preloaded, it makes a disk an odd one: without locks, flushes, modes or room for new files.
   ODD_LOCKS, ODD_FOLDER_SYNC, ODD_FILE_SYNC, ODD_MODES and ODD_NEW are ERROR:PATH, for all below
   that path. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int error_for(const char *variable, const char *path) {
    const char *told = getenv(variable);
    const char *folder = told ? strchr(told, ':') : 0;
    return folder && !strncmp(path, folder + 1, strlen(folder + 1)) ? atoi(told) : 0;
}

static int error_of(const char *variable, int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = getenv(variable) ? readlink(link, path, sizeof path - 1) : -1;
    if (length < 0) return 0;
    path[length] = 0;
    return error_for(variable, path);
}

static int error_at(const char *variable, const char *path) {
    char whole[PATH_MAX];
    return getenv(variable) && realpath(path, whole) ? error_for(variable, whole) : 0;
}

#define FAILS_WITH(error) do { int e = error; if (e) { errno = e; return -1; } } while (0)

#define FCNTL(name)                                                              \
    int name(int fd, int command, ...) {                                         \
        va_list more;                                                            \
        va_start(more, command);                                                 \
        void *argument = va_arg(more, void *);                                   \
        va_end(more);                                                            \
        int locks = command == F_SETLK || command == F_SETLKW || command == F_GETLK \
            || command == F_OFD_SETLK || command == F_OFD_SETLKW || command == F_OFD_GETLK; \
        if (locks) FAILS_WITH(error_of("ODD_LOCKS", fd));                        \
        return REAL(fcntl)(fd, command, argument);                               \
    }

FCNTL(fcntl)
FCNTL(fcntl64)

int flock(int fd, int operation) {
    FAILS_WITH(error_of("ODD_LOCKS", fd));
    return REAL(flock)(fd, operation);
}

int fsync(int fd) {
    struct stat kind;
    int folder = !fstat(fd, &kind) && S_ISDIR(kind.st_mode);
    FAILS_WITH(error_of(folder ? "ODD_FOLDER_SYNC" : "ODD_FILE_SYNC", fd));
    return REAL(fsync)(fd);
}

int chmod(const char *path, mode_t mode) {
    FAILS_WITH(error_at("ODD_MODES", path));
    return REAL(chmod)(path, mode);
}

int fchmod(int fd, mode_t mode) {
    FAILS_WITH(error_of("ODD_MODES", fd));
    return REAL(fchmod)(fd, mode);
}

int fchmodat(int fd, const char *path, mode_t mode, int flags) {
    FAILS_WITH(error_at("ODD_MODES", path));
    return REAL(fchmodat)(fd, path, mode, flags);
}

#define OPENS(name)                                                              \
    int name(const char *path, int flags, ...) {                                 \
        va_list more;                                                            \
        va_start(more, flags);                                                   \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;  \
        va_end(more);                                                            \
        if (flags & O_CREAT) FAILS_WITH(error_for("ODD_NEW", path));             \
        return REAL(name)(path, flags, mode);                                    \
    }

OPENS(open)
OPENS(open64)
