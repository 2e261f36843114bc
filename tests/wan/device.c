/* SPDX-License-Identifier: MIT */
/* See device.h. A TUN belongs to the namespace its descriptor was opened in, so we step in. */
#include "device.h"

#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEVICE_QUEUE 4000 /* packets the kernel keeps while we are busy */

static bool enter(int netns_fd)
{
    return setns(netns_fd, CLONE_NEWNET) == 0;
}

static struct ifreq request_new(void)
{
    struct ifreq request = {0};
    memcpy(request.ifr_name, DEVICE_NAME, sizeof(DEVICE_NAME));
    return request;
}

static bool set_address(int fd, unsigned long what, uint32_t address)
{
    struct ifreq request = request_new();
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};

    memcpy(&request.ifr_addr, &in, sizeof(in));
    return ioctl(fd, what, &request) == 0;
}

static bool bring_up(uint32_t address, uint32_t netmask)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq queue = request_new();
    struct ifreq flags = request_new();

    if (fd < 0) {
        return false;
    }
    queue.ifr_qlen = DEVICE_QUEUE;
    flags.ifr_flags = IFF_UP | IFF_RUNNING;
    bool is_up = set_address(fd, SIOCSIFADDR, address) &&
                 set_address(fd, SIOCSIFNETMASK, netmask) &&
                 ioctl(fd, SIOCSIFTXQLEN, &queue) == 0 && ioctl(fd, SIOCSIFFLAGS, &flags) == 0;
    (void)close(fd);
    return is_up;
}

static int open_here(uint32_t address, uint32_t netmask)
{
    struct ifreq request = request_new();
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0) {
        return -1;
    }
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (ioctl(fd, TUNSETIFF, &request) == 0 && bring_up(address, netmask)) {
        return fd;
    }
    int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

int device_open(const char *netns, uint32_t address, uint32_t netmask)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "/run/netns/%s", netns);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int fd = -1;

    if (there >= 0 && here >= 0 && enter(there)) {
        fd = open_here(address, netmask);
        int error = errno;
        if (!enter(here)) {
            fd = -1;
            error = EPERM;
        }
        errno = error;
    }
    int error = errno;
    (void)close(there);
    (void)close(here);
    errno = error;
    return fd;
}
