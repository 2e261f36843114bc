/* SPDX-License-Identifier: MIT */
/* See server.h. */
#include "server.h"

#include "conn.h"
#include "pod.h"

#include <nearside/base/addr.h>

#include <event2/event.h>

#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define BACKLOG          4096

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct listener *listener = arg;
    int on = 1;

    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (peer < 0) {
            return;
        }
        (void)setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        conn_open(listener->pod, peer, listener->is_control);
    }
}

/* A socket bound to the port but not listening: connects to it are refused by the kernel. */
static int bind_socket(const struct pod *pod, uint16_t port)
{
    struct addr addr;
    int on = 1;

    if (!addr_parse_ip(str_of(pod->options->bind), port, &addr)) {
        return -1;
    }
    int fd = socket(addr.sa.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, &addr.sa.any, addr.len) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage storage;
    socklen_t len = sizeof(storage);
    struct addr addr;

    if (getsockname(fd, (struct sockaddr *)&storage, &len) != 0 ||
        !addr_from_sockaddr((struct sockaddr *)&storage, len, &addr)) {
        return 0;
    }
    return addr_port(&addr);
}

static bool start_listening(struct listener *listener)
{
    if (listen(listener->fd, BACKLOG) != 0) {
        return false;
    }
    listener->event =
        event_new(listener->pod->base, listener->fd, EV_READ | EV_PERSIST, on_acceptable, listener);
    (void)event_add(listener->event, NULL);
    return true;
}

static void stop_listening(struct listener *listener)
{
    if (listener->event != NULL) {
        event_free(listener->event);
        listener->event = NULL;
    }
}

bool listener_open(struct listener *listener, struct pod *pod, uint16_t port)
{
    listener->pod = pod;
    listener->fd = bind_socket(pod, port);
    if (listener->fd < 0) {
        return false;
    }
    listener->port = bound_port(listener->fd);
    return start_listening(listener);
}

void listener_close(struct listener *listener)
{
    stop_listening(listener);
    if (listener->fd >= 0) {
        (void)close(listener->fd);
        listener->fd = -1;
    }
}

void listener_refuse(struct listener *listener)
{
    if (listener->event == NULL) {
        return;
    }
    listener_close(listener);
    listener->fd = bind_socket(listener->pod, listener->port);
}

bool listener_heal(struct listener *listener)
{
    if (listener->event != NULL) {
        return true;
    }
    if (listener->fd < 0) {
        listener->fd = bind_socket(listener->pod, listener->port);
    }
    return listener->fd >= 0 && start_listening(listener);
}
