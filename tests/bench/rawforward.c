/* SPDX-License-Identifier: MIT */
/*
 * The floor of any proxy in user space: bytes in, bytes out. It knows no HTTP, opens one connection
 * to the pod for each client's, reads what is there and writes it on: one epoll_wait, recv and send
 * for each piece, edge-triggered, no splice. Whatever a proxy costs above this is its own doing.
 *
 *     rawforward LISTEN_PORT POD_PORT
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE_BYTES     65536
#define EVENTS_PER_TURN 256

struct end {
    int fd;
    struct end *other; /* NULL for the listener */
    char *kept;        /* owned: what the other end could not take yet */
    size_t kept_len;
    size_t kept_at;
    bool is_ending; /* the peer has sent its last byte: read until that is seen */
    bool is_closed;
    struct end *next_dead;
};

static struct end *dead; /* freed at the end of the turn: an event may still name them */
static int epoll_fd;

static void watch(struct end *end)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data = {.ptr = end}};
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, end->fd, &event);
}

static void set_nodelay(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
}

static void bury(struct end *end)
{
    if (!end->is_closed) {
        end->is_closed = true;
        (void)close(end->fd);
        end->next_dead = dead;
        dead = end;
    }
}

static void free_dead(void)
{
    while (dead != NULL) {
        struct end *end = dead;
        dead = end->next_dead;
        free(end->kept);
        free(end);
    }
}

static void close_pair(struct end *end)
{
    bury(end);
    bury(end->other);
}

static struct end *end_new(int fd)
{
    struct end *end = calloc(1, sizeof(*end));

    if (end == NULL) {
        abort();
    }
    end->fd = fd;
    return end;
}

static void accept_all(int listener, const struct sockaddr_in *pod)
{
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) {
            return;
        }
        int upstream = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct end *near = end_new(client);
        struct end *far = end_new(upstream);
        near->other = far;
        far->other = near;
        set_nodelay(client);
        set_nodelay(upstream);
        if (connect(upstream, (const struct sockaddr *)pod, sizeof(*pod)) != 0 &&
            errno != EINPROGRESS) {
            close_pair(near);
            continue;
        }
        watch(near);
        watch(far);
    }
}

/* Keep what could not be sent; the source is not read again until it is gone. */
static void keep(struct end *to, const char *bytes, size_t len)
{
    to->kept = to->kept == NULL ? malloc(PIECE_BYTES) : to->kept;
    if (to->kept == NULL) {
        abort();
    }
    for (size_t i = 0; i < len; i++) {
        to->kept[i] = bytes[i];
    }
    to->kept_len = len;
    to->kept_at = 0;
}

static bool send_kept(struct end *to)
{
    while (to->kept_at < to->kept_len) {
        ssize_t sent =
            send(to->fd, to->kept + to->kept_at, to->kept_len - to->kept_at, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN && errno != ENOTCONN) {
                close_pair(to);
            }
            return false;
        }
        to->kept_at += (size_t)sent;
    }
    to->kept_len = to->kept_at = 0;
    return true;
}

static void forward(struct end *from)
{
    static char piece[PIECE_BYTES];
    struct end *to = from->other;

    while (to->kept_len == 0 && !from->is_closed) {
        ssize_t len = recv(from->fd, piece, sizeof(piece), 0);
        if (len <= 0) {
            if (len == 0 || (errno != EAGAIN && errno != ENOTCONN)) {
                close_pair(from);
            }
            return;
        }
        ssize_t sent = send(to->fd, piece, (size_t)len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != ENOTCONN) {
            close_pair(from);
            return;
        }
        if (sent < len) {
            keep(to, piece + (sent < 0 ? 0 : sent), (size_t)(len - (sent < 0 ? 0 : sent)));
        }
        if (len < PIECE_BYTES && !from->is_ending) {
            return; /* drained: the next edge will come */
        }
    }
}

static void on_end(struct end *end, uint32_t events)
{
    if (end->is_closed) {
        return;
    }
    end->is_ending |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if ((events & EPOLLOUT) != 0 && end->kept_len > 0 && send_kept(end)) {
        forward(end->other);
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 && !end->is_closed) {
        forward(end);
    }
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in addr = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(fd, 4096) != 0) {
        return -1;
    }
    return fd;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_PER_TURN];
    struct rlimit limit;

    if (argc != 3) {
        (void)fputs("usage: rawforward LISTEN_PORT POD_PORT\n", stderr);
        return 1;
    }
    struct sockaddr_in pod = loopback((uint16_t)strtoul(argv[2], NULL, 10));
    struct end *listener = end_new(listen_on((uint16_t)strtoul(argv[1], NULL, 10)));
    if (listener->fd < 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 2;
    }
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    watch(listener);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, -1);
        for (int i = 0; i < count; i++) {
            struct end *end = events[i].data.ptr;
            if (end == listener) {
                accept_all(listener->fd, &pod);
            } else {
                on_end(end, events[i].events);
            }
        }
        free_dead();
    }
}
