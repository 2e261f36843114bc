/* SPDX-License-Identifier: MIT */
/*
 * systemd's notification protocol. Own code and not libsystemd: it is one datagram, and a library
 * in the address space of a proxy is more than that is worth.
 */
#include "notify.h"

#include <nearside/base/str.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NOTIFY_TEXT_MAX 1024

/* A path, or with '@' in front a name in the abstract space. False: neither, or too long. */
static bool socket_address(const char *name, struct sockaddr_un *ret_addr, socklen_t *ret_len)
{
    size_t len = strlen(name);

    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(ret_addr->sun_path)) {
        return false;
    }
    *ret_addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret_addr->sun_path, name, len);
    if (name[0] == '@') {
        ret_addr->sun_path[0] = '\0';
    }
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return true;
}

bool notify_send(const char *format, ...)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un addr;
    socklen_t addr_len;
    char text[NOTIFY_TEXT_MAX];
    va_list args;
    ssize_t sent;
    int len;
    int fd;

    if (name == NULL || name[0] == '\0') {
        return true;
    }
    va_start(args, format);
    len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (len < 0 || (size_t)len >= sizeof(text) || fd < 0 ||
        !socket_address(name, &addr, &addr_len)) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return false;
    }
    sent = sendto(fd, text, (size_t)len, MSG_NOSIGNAL, (const struct sockaddr *)&addr, addr_len);
    (void)close(fd);
    return sent == len;
}

uint64_t notify_watchdog_us(void)
{
    const char *pid = getenv("WATCHDOG_PID");
    uint64_t value;

    if (pid != NULL && (!str_to_u64(str_of(pid), &value) || value != (uint64_t)getpid())) {
        return 0;
    }
    return str_to_u64(str_of(getenv("WATCHDOG_USEC")), &value) ? value : 0;
}
