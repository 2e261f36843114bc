/* SPDX-License-Identifier: MIT */
/*
 * The three system calls of every event, without libc's cancellation points.
 *
 * In a process of several threads libc makes its thread cancellable around each of these, and not
 * again afterwards: two locked instructions and 60 others per call. No thread is ever cancelled
 * here. Sanitized builds keep libc's functions: theirs check the buffers.
 *
 * Like the functions they are named after: what the kernel says, or -1 and errno. Thread: any.
 */
#ifndef NEARSIDE_BASE_KERNEL_H
#define NEARSIDE_BASE_KERNEL_H

#include <nearside/base/attr.h>

#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#if HAS_ASAN || HAS_TSAN
#define KERNEL_BY_LIBC 1
#endif

static inline ssize_t kernel_recv(int fd, void *buf, size_t size, int flags)
{
#ifdef KERNEL_BY_LIBC
    return recv(fd, buf, size, flags);
#else
    return syscall(SYS_recvfrom, fd, buf, size, flags, NULL, NULL);
#endif
}

static inline ssize_t kernel_send(int fd, const void *bytes, size_t len, int flags)
{
#ifdef KERNEL_BY_LIBC
    return send(fd, bytes, len, flags);
#else
    return syscall(SYS_sendto, fd, bytes, len, flags, NULL, 0);
#endif
}

static inline int kernel_epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms)
{
#ifdef KERNEL_BY_LIBC
    return epoll_wait(fd, events, count, timeout_ms);
#else
    /* Every architecture has this form; without a signal mask it is the plain one. */
    return (int)syscall(SYS_epoll_pwait, fd, events, count, timeout_ms, NULL, (size_t)0);
#endif
}

#endif
