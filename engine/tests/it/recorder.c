/*
 * Records what a process does to the files below one directory, in order: the bytes it writes, the
 * names it makes and removes, and what it syncs. Loaded before the C library (LD_PRELOAD), so it
 * sees the calls of RocksDB and of Rust's standard library alike. disk_trace.rs reads the trace.
 *
 *   NEOKV_RECORD_DIR   the directory
 *   NEOKV_RECORD_TO    the file for the trace
 *
 * Each event is a line, and behind `write` follow the bytes. Names are relative to the directory.
 *
 *   create INODE NAME       mkdir INODE NAME       link INODE NAME
 *   write INODE AT LENGTH   truncate INODE LENGTH  sync INODE     step INODE
 *   rename INODE FROM/TO separated by a line feed  remove NAME
 *
 * A call and its event are one step under a lock, so the order of the events is the order of the
 * effects, and a sync covers all that stands before it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST_FILES 65536

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static size_t root_length;
static int trace = -1;
/* Whether a descriptor is that of a file below the directory. */
static bool is_ours[MOST_FILES];

/* Takes the lock, the first time after opening the trace. */
static void enter(void) {
    pthread_mutex_lock(&one_at_a_time);
    if (root == NULL) {
        const char *dir = getenv("NEOKV_RECORD_DIR"), *to = getenv("NEOKV_RECORD_TO");
        root = dir != NULL && to != NULL ? dir : "/nowhere";
        root_length = strlen(root);
        if (to != NULL)
            trace = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
}

static void leave(void) { pthread_mutex_unlock(&one_at_a_time); }

static void put(const void *bytes, size_t length) {
    while (length > 0) {
        ssize_t done = syscall(SYS_write, trace, bytes, length);
        /* Half a trace proves nothing. */
        if (done <= 0) abort();
        bytes = (const char *)bytes + done;
        length -= done;
    }
}

static void event(const char *format, ...) {
    char line[2 * PATH_MAX + 64];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    put(line, length);
}

/* Writes the whole name to `to`; what it is called below the directory, or NULL if it is not. */
static const char *below(int at, const char *name, char to[PATH_MAX]) {
    if (name[0] == '/') {
        snprintf(to, PATH_MAX, "%s", name);
    } else {
        char link[64], dir[PATH_MAX] = "";
        if (at == AT_FDCWD) {
            if (getcwd(dir, sizeof dir) == NULL) return NULL;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            ssize_t length = readlink(link, dir, sizeof dir - 1);
            if (length < 0) return NULL;
            dir[length] = 0;
        }
        if (snprintf(to, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX) return NULL;
    }
    bool is_below = strncmp(to, root, root_length) == 0 && (to[root_length] == '/' || to[root_length] == 0);
    return is_below ? to + root_length + (to[root_length] == '/') : NULL;
}

static unsigned long inode_of(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0 ? found.st_ino : 0;
}

static unsigned long inode_at(int file) {
    struct stat found;
    return fstat(file, &found) == 0 ? found.st_ino : 0;
}

static bool ours(int file) { return file >= 0 && file < MOST_FILES && is_ours[file]; }

static int open_file(int at, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    enter();
    const char *called = below(at, name, path);
    bool is_new = called != NULL && inode_of(path) == 0;
    int file = syscall(SYS_openat, at, name, flags, mode);
    if (file >= 0 && file < MOST_FILES) is_ours[file] = called != NULL;
    if (file >= 0 && is_new) event("create %lu %s\n", inode_at(file), called);
    if (file >= 0 && called != NULL && !is_new && (flags & O_TRUNC))
        event("truncate %lu 0\n", inode_at(file));
    leave();
    return file;
}

#define MODE(flags, mode)                                                                          \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                         \
        va_list values;                                                                            \
        va_start(values, flags);                                                                   \
        mode = va_arg(values, int);                                                                \
        va_end(values);                                                                            \
    }

int open(const char *name, int flags, ...) { MODE(flags, mode) return open_file(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags, mode) return open_file(AT_FDCWD, name, flags, mode); }
int openat(int at, const char *name, int flags, ...) { MODE(flags, mode) return open_file(at, name, flags, mode); }
int openat64(int at, const char *name, int flags, ...) { MODE(flags, mode) return open_file(at, name, flags, mode); }

int close(int file) {
    if (file >= 0 && file < MOST_FILES) is_ours[file] = false;
    return syscall(SYS_close, file);
}

static void wrote(int file, const void *bytes, ssize_t length, off_t at) {
    event("write %lu %ld %zd\n", inode_at(file), (long)at, length);
    put(bytes, length);
}

ssize_t write(int file, const void *bytes, size_t length) {
    if (!ours(file)) return syscall(SYS_write, file, bytes, length);
    enter();
    ssize_t done = syscall(SYS_write, file, bytes, length);
    if (done > 0) wrote(file, bytes, done, lseek(file, 0, SEEK_CUR) - done);
    leave();
    return done;
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) {
    if (!ours(file)) return syscall(SYS_pwrite64, file, bytes, length, at);
    enter();
    ssize_t done = syscall(SYS_pwrite64, file, bytes, length, at);
    if (done > 0) wrote(file, bytes, done, at);
    leave();
    return done;
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off_t at) { return pwrite(file, bytes, length, at); }

int ftruncate(int file, off_t length) {
    enter();
    int result = syscall(SYS_ftruncate, file, length);
    if (result == 0 && ours(file)) event("truncate %lu %ld\n", inode_at(file), (long)length);
    leave();
    return result;
}

int ftruncate64(int file, off_t length) { return ftruncate(file, length); }

static int sync_file(long call, int file) {
    if (!ours(file)) return syscall(call, file);
    enter();
    int result = syscall(call, file);
    if (result == 0) event("sync %lu\n", inode_at(file));
    leave();
    return result;
}

int fsync(int file) { return sync_file(SYS_fsync, file); }
int fdatasync(int file) { return sync_file(SYS_fdatasync, file); }

/* Starts to write a part of a file to the disk; it makes nothing durable. */
int sync_file_range(int file, off_t at, off_t length, unsigned int flags) {
    int result = syscall(SYS_sync_file_range, file, at, length, flags);
    if (!ours(file)) return result;
    enter();
    event("step %lu\n", inode_at(file));
    leave();
    return result;
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
    char old_path[PATH_MAX], new_path[PATH_MAX];
    enter();
    const char *old = below(from_at, from, old_path), *new = below(to_at, to, new_path);
    int result = syscall(SYS_renameat2, from_at, from, to_at, to, 0);
    if (result == 0 && old != NULL && new != NULL) event("rename %lu %s\n%s\n", inode_of(new_path), old, new);
    leave();
    return result;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    char path[PATH_MAX];
    enter();
    const char *called = below(to_at, to, path);
    int result = syscall(SYS_linkat, from_at, from, to_at, to, flags);
    if (result == 0 && called != NULL) event("link %lu %s\n", inode_of(path), called);
    leave();
    return result;
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int at, const char *name, int flags) {
    char path[PATH_MAX];
    enter();
    const char *called = below(at, name, path);
    int result = syscall(SYS_unlinkat, at, name, flags);
    if (result == 0 && called != NULL) event("remove %s\n", called);
    leave();
    return result;
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int at, const char *name, mode_t mode) {
    char path[PATH_MAX];
    enter();
    const char *called = below(at, name, path);
    int result = syscall(SYS_mkdirat, at, name, mode);
    if (result == 0 && called != NULL) event("mkdir %lu %s\n", inode_of(path), called);
    leave();
    return result;
}

int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }
