/* Preloaded into the server, this keeps a journal of what it does to the files below JOURNAL_ROOT,
 * in order, as lines in the file JOURNAL: what is made, moved, removed, written and flushed. Power
 * cuts are then played through on what the journal says (first_start.py). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int journal = -1;
static const char *root;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("JOURNAL");
    root = getenv("JOURNAL_ROOT");
    if (path && root)
        journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static int is_ours(const char *path) {
    return journal >= 0 && strncmp(path, root, strlen(root)) == 0;
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_ours(path);
}

/* One line in one call, so that threads do not mix theirs. */
static void note(const char *format, ...) {
    char line[3 * PATH_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length > 0 && syscall(SYS_write, journal, line, (size_t)length) != length)
        abort();
}

static void note_write(int fd, const void *data, size_t size, off_t offset) {
    static const char digits[] = "0123456789abcdef";
    char path[PATH_MAX];
    if (!path_of(fd, path))
        return;
    char *line = malloc(PATH_MAX + 64 + 2 * size);
    if (!line)
        abort();
    size_t length = (size_t)sprintf(line, "write\t%s\t%lld\t", path, (long long)offset);
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = ((const unsigned char *)data)[i];
        line[length++] = digits[byte >> 4];
        line[length++] = digits[byte & 15];
    }
    line[length++] = '\n';
    if (syscall(SYS_write, journal, line, length) != (ssize_t)length)
        abort();
    free(line);
}

static void note_fd(const char *what, int fd) {
    char path[PATH_MAX];
    if (path_of(fd, path))
        note("%s\t%s\n", what, path);
}

static int open_noted(int directory, const char *path, int flags, mode_t mode) {
    struct stat before;
    int was_there = stat(path, &before) == 0;
    int fd = (int)syscall(SYS_openat, directory, path, flags, mode);
    char found[PATH_MAX];
    if (fd >= 0 && path_of(fd, found)) {
        if ((flags & O_CREAT) && !was_there)
            note("create\t%s\n", found);
        else if (flags & O_TRUNC)
            note("resize\t%s\t0\n", found);
    }
    return fd;
}

#define MODE(flags, mode)                                                                          \
    va_list arguments;                                                                             \
    va_start(arguments, flags);                                                                    \
    mode_t mode = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;                 \
    va_end(arguments)

int open(const char *path, int flags, ...) {
    MODE(flags, mode);
    return open_noted(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags, mode);
    return open_noted(AT_FDCWD, path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...) {
    MODE(flags, mode);
    return open_noted(directory, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...) {
    MODE(flags, mode);
    return open_noted(directory, path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    int made = REAL(mkdir)(path, mode);
    char found[PATH_MAX];
    if (made == 0 && realpath(path, found) && is_ours(found))
        note("mkdir\t%s\n", found);
    return made;
}

int rename(const char *from, const char *to) {
    char found[PATH_MAX];
    if (realpath(from, found) && is_ours(found))
        note("rename\t%s\t%s\n", found, to);
    return REAL(rename)(from, to);
}

int unlink(const char *path) {
    char found[PATH_MAX];
    if (realpath(path, found) && is_ours(found))
        note("unlink\t%s\n", found);
    return REAL(unlink)(path);
}

ssize_t write(int fd, const void *data, size_t size) {
    note_write(fd, data, size, lseek(fd, 0, SEEK_CUR));
    return syscall(SYS_write, fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    note_write(fd, data, size, offset);
    return syscall(SYS_pwrite64, fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    note_write(fd, data, size, offset);
    return syscall(SYS_pwrite64, fd, data, size, offset);
}

static int resize(int fd, long long length) {
    char path[PATH_MAX];
    if (path_of(fd, path))
        note("resize\t%s\t%lld\n", path, length);
    return (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) { return resize(fd, length); }

int ftruncate64(int fd, off64_t length) { return resize(fd, length); }

/* What is flushed is so only once this has returned. */
int fsync(int fd) {
    int flushed = (int)syscall(SYS_fsync, fd);
    if (flushed == 0)
        note_fd("flush", fd);
    return flushed;
}

int fdatasync(int fd) {
    int flushed = (int)syscall(SYS_fdatasync, fd);
    if (flushed == 0)
        note_fd("flush", fd);
    return flushed;
}
