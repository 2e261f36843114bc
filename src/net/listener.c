/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets: bind on the control thread, accept on a worker's loop.
 *
 * Level-triggered, so that a burst beyond one turn's share comes again in the next turn, after
 * other connections had theirs.
 */
#include <nearside/net/listener.h>

#include "socket_option.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>
#include <nearside/loop/loop.h>

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENER_MAGIC 0x6c73746eU

/* Connections that wait to be accepted; the kernel cuts it to net.core.somaxconn (4096). */
#define BACKLOG 4096
/* Accepted in one turn: a burst must not hold up the streams that are being served. Not more than
 * may begin something then (watch.c): they would only wait here, and hold memory. */
#define ACCEPTS_PER_TURN 16
/* Without descriptors or memory accept() would fail in each turn; others need time to end. */
#define PAUSE_MS 100

#define PRIVILEGED_PORTS 1024

struct listener {
    uint32_t magic;
    int fd; /* owned; -1: freed */
    struct loop *loop;
    struct watch *watch; /* NULL: pausing */
    struct deadline pause;
    listener_accept_fn accepted;
    listener_refused_fn refused;
    void *arg;
};

/* ---- binding ---- */

static bool set_flag(int fd, int level, int option)
{
    int on = 1;

    return setsockopt(fd, level, option, &on, sizeof(on)) == 0;
}

static bool bind_only(int fd, const struct addr *addr)
{
    bool is_v6 = addr->sa.any.sa_family == AF_INET6;

    /* An address of the other family is a listener of its own: "[::]" must not take "0.0.0.0"'s
     * place, or fail because of it. */
    return set_flag(fd, SOL_SOCKET, SO_REUSEADDR) &&
           (!is_v6 || set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY)) &&
           bind(fd, &addr->sa.any, addr->len) == 0;
}

static bool bind_and_listen(int fd, const struct addr *addr)
{
    /* Accepted sockets inherit these: no calls per connection. */
    socket_set_options(fd, SOCKET_UNACKED_CLIENT_MS);
    return set_flag(fd, SOL_SOCKET, SO_REUSEPORT) && bind_only(fd, addr) &&
           listen(fd, BACKLOG) == 0;
}

static int socket_for(const struct addr *addr)
{
    return socket(addr->sa.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static enum status refuse(const struct addr *addr, int error_number, int fd, struct errbuf *err)
{
    char where[ADDR_TEXT_LEN];
    char why[ERRNO_TEXT_LEN];

    (void)errno_text(error_number, why);
    (void)addr_format(addr, where);
    err_set(err, "%s: %s%s", where, why,
            error_number == EACCES && addr_port(addr) < PRIVILEGED_PORTS
                ? ": a port below 1024 takes root or CAP_NET_BIND_SERVICE; with edge.user that is "
                  "given up after the start, so a restart can bind it and a reload cannot"
                : "");
    if (fd >= 0) {
        (void)close(fd);
    }
    return STATUS_FAILED;
}

enum status listener_check_free(const struct addr *addr, struct errbuf *err)
{
    int fd = socket_for(addr);

    if (fd < 0 || !bind_only(fd, addr)) {
        return refuse(addr, errno, fd, err);
    }
    (void)close(fd);
    return STATUS_OK;
}

enum status listener_bind(const struct addr *addr, int *ret_fd, struct errbuf *err)
{
    int fd = socket_for(addr);

    if (fd < 0 || !bind_and_listen(fd, addr)) {
        return refuse(addr, errno, fd, err);
    }
    *ret_fd = fd;
    return STATUS_OK;
}

/* ---- accepting ---- */

static void on_acceptable(struct watch *watch, unsigned events, void *arg);

static void listen_on(struct listener *listener)
{
    listener->watch =
        watch_level(listener->loop, listener->fd, WATCH_READ, on_acceptable, listener);
}

static void on_pause_over(struct deadline *deadline, void *arg)
{
    (void)deadline;
    listen_on(OBJ_CAST(arg, listener, LISTENER_MAGIC));
}

void listener_pause(struct listener *listener)
{
    watch_free(listener->watch);
    listener->watch = NULL;
    deadline_set_in_ms(&listener->pause, PAUSE_MS);
}

static void pause_accepting(struct listener *listener, int error_number)
{
    listener_pause(listener);
    if (listener->refused != NULL) {
        listener->refused(listener, error_number, listener->arg);
    }
}

/* False: no more in this turn. */
static bool accept_one(struct listener *listener)
{
    struct addr peer = {.len = sizeof(peer.sa)};
    int fd = accept4(listener->fd, &peer.sa.any, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        listener->accepted(listener, fd, &peer, listener->arg);
        return listener->watch != NULL; /* the owner may have freed or paused the listener */
    }
    switch (errno) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        pause_accepting(listener, errno);
        return false;
    default: /* that connection's own error, come early (accept(2)); the next may be good */
        return true;
    }
}

void listener_accept_rest(struct listener *listener)
{
    for (int count = 0; count < BACKLOG && listener->watch != NULL && accept_one(listener);
         count++) {
    }
}

static void on_acceptable(struct watch *watch, unsigned events, void *arg)
{
    struct listener *listener = OBJ_CAST(arg, listener, LISTENER_MAGIC);
    int count = 0;

    (void)watch;
    (void)events;
    loop_batch_tasks_run(listener->loop);
    while (count < ACCEPTS_PER_TURN && accept_one(listener)) {
        count++;
    }
}

struct listener *listener_start(struct loop *loop, int fd, listener_accept_fn accepted,
                                listener_refused_fn refused, void *arg)
{
    struct listener *listener = mem_new(struct listener);

    listener->magic = LISTENER_MAGIC;
    listener->fd = fd;
    listener->loop = loop;
    listener->accepted = accepted;
    listener->refused = refused;
    listener->arg = arg;
    deadline_init(&listener->pause, loop, on_pause_over, listener);
    listen_on(listener);
    return listener;
}

void listener_free(struct listener *listener)
{
    if (listener == NULL) {
        return;
    }
    ASSERT(listener->magic == LISTENER_MAGIC);
    watch_free(listener->watch);
    listener->watch = NULL;
    deadline_done(&listener->pause);
    (void)close(listener->fd); /* connections that nobody accepted yet are reset by this */
    listener->fd = -1;
    loop_defer_free(listener->loop, listener);
}
