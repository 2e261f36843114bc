/* SPDX-License-Identifier: MIT */
/*
 * A machine that goes wrong, to be preloaded:
 *
 *   memory  while the file REFUSE_MEMORY_WHILE is there, malloc() and realloc() of
 *           REFUSE_MEMORY_FROM bytes or more give NULL
 *   clock   the wall clock is as many seconds ahead as the file CLOCK_AHEAD_FILE says
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int is_refused(size_t size)
{
    static size_t from;
    static const char *path;

    if (size < 65536) {
        return 0;
    }
    if (path == NULL) {
        const char *text = getenv("REFUSE_MEMORY_FROM");

        from = text == NULL ? (size_t)-1 : (size_t)strtoul(text, NULL, 10);
        path = getenv("REFUSE_MEMORY_WHILE");
    }
    return size >= from && path != NULL && access(path, F_OK) == 0;
}

extern void *__libc_malloc(size_t size);
extern void *__libc_realloc(void *ptr, size_t size);

void *malloc(size_t size)
{
    if (is_refused(size)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(size);
}

void *realloc(void *ptr, size_t size)
{
    if (is_refused(size)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(ptr, size);
}

static long seconds_ahead(void)
{
    const char *path = getenv("CLOCK_AHEAD_FILE");
    char text[32] = "";
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        if (read(fd, text, sizeof(text) - 1) < 0) {
            text[0] = '\0';
        }
        close(fd);
    }
    return strtol(text, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int error = (int)syscall(SYS_clock_gettime, clock, now);

    if (error == 0 && clock == CLOCK_REALTIME) {
        now->tv_sec += seconds_ahead();
    }
    return error;
}
