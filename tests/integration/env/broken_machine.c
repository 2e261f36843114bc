/* SPDX-License-Identifier: MIT */
/*
 * A machine that goes wrong, to be preloaded:
 *
 *   memory  while the file REFUSE_MEMORY_WHILE is there, malloc() and realloc() of
 *           REFUSE_MEMORY_FROM bytes or more give NULL
 *   sockets the file SHORT_SOCKETS holds five numbers of 4 bytes: so many of the next calls of
 *           send()/sendmsg(), recv(), accept4(), connect(), socket() find no memory in the kernel
 *   clock   the wall clock is as many seconds ahead as the file CLOCK_AHEAD_FILE says
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
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

enum { SHORT_SEND, SHORT_RECV, SHORT_ACCEPT, SHORT_CONNECT, SHORT_SOCKET, SHORT_COUNT };

static atomic_uint *shortages; /* SHORT_COUNT of them; NULL: none asked for */

__attribute__((constructor)) static void map_shortages(void)
{
    const char *path = getenv("SHORT_SOCKETS");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);

    if (fd >= 0) {
        shortages = mmap(NULL, SHORT_COUNT * sizeof(atomic_uint), PROT_READ | PROT_WRITE,
                         MAP_SHARED, fd, 0);
        close(fd);
    }
}

static int is_short(int call)
{
    unsigned left = shortages == NULL ? 0 : atomic_load(&shortages[call]);

    while (left > 0 && !atomic_compare_exchange_weak(&shortages[call], &left, left - 1)) {
    }
    if (left == 0) {
        return 0;
    }
    errno = left % 2 == 0 ? ENOBUFS : ENOMEM;
    return 1;
}

/* By which the edge sends and receives; others by the functions below. */
long syscall(long number, ...)
{
    long (*next)(long number, ...) = (long (*)(long number, ...))dlsym(RTLD_NEXT, "syscall");
    long args[6];
    va_list list;

    if ((number == SYS_sendto && is_short(SHORT_SEND)) ||
        (number == SYS_recvfrom && is_short(SHORT_RECV))) {
        return -1;
    }
    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        args[i] = va_arg(list, long);
    }
    va_end(list);
    return next(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    return syscall(SYS_sendto, fd, bytes, len, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return is_short(SHORT_SEND) ? -1 : syscall(SYS_sendmsg, fd, message, flags);
}

ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
    return syscall(SYS_recvfrom, fd, bytes, len, flags, NULL, NULL);
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    return is_short(SHORT_ACCEPT) ? -1 : (int)syscall(SYS_accept4, fd, addr, len, flags);
}

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    return is_short(SHORT_CONNECT) ? -1 : (int)syscall(SYS_connect, fd, addr, len);
}

int socket(int family, int type, int protocol)
{
    return is_short(SHORT_SOCKET) ? -1 : (int)syscall(SYS_socket, family, type, protocol);
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
