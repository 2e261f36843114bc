/* SPDX-License-Identifier: MIT */
/*
 * The sockets of the listeners: one per worker and address (SO_REUSEPORT), bound on the control
 * thread before anything is committed, or left by the program that this one replaces. Duplicates
 * are handed to the workers when the doors open.
 */
#include "edge.h"

#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/net/listener.h>
#include <nearside/obs/log.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct edge_listener *find(const struct edge *edge, const char *bind)
{
    for (uint32_t i = 0; i < edge->listener_count; i++) {
        if (strcmp(edge->listeners[i].bind, bind) == 0) {
            return &edge->listeners[i];
        }
    }
    return NULL;
}

static void fds_close(int *fds, uint32_t count)
{
    for (uint32_t i = 0; fds != NULL && i < count; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
            fds[i] = -1;
        }
    }
}

static void listener_close(struct edge_listener *listener)
{
    fds_close(listener->fds, listener->fd_count);
    fds_close(listener->sockets, listener->socket_count);
}

void edge_listeners_close(struct edge *edge)
{
    for (uint32_t i = 0; i < edge->listener_count; i++) {
        listener_close(&edge->listeners[i]);
    }
}

void edge_listeners_free(struct edge_listener *listeners, uint32_t count)
{
    for (uint32_t i = 0; listeners != NULL && i < count; i++) {
        listener_close(&listeners[i]);
        mem_free(listeners[i].fds);
        mem_free(listeners[i].sockets);
        mem_free(listeners[i].bind);
    }
    mem_free(listeners);
}

/* The workers' descriptors. There may be fewer workers than sockets were left, or more. */
static enum status duplicate(struct edge_listener *listener, uint32_t workers, struct errbuf *err)
{
    listener->fd_count = workers > listener->socket_count ? workers : listener->socket_count;
    listener->fds = mem_new_array(listener->fd_count, int);
    for (uint32_t i = 0; i < listener->fd_count; i++) {
        listener->fds[i] = fcntl(listener->sockets[i % listener->socket_count], F_DUPFD_CLOEXEC, 0);
        if (listener->fds[i] < 0) {
            listener->fd_count = i;
            err_set(err, "%s: no descriptor is left: errno %d", listener->bind, errno);
            return STATUS_FAILED;
        }
    }
    return STATUS_OK;
}

static enum status learn_port(struct edge_listener *listener, struct errbuf *err)
{
    socklen_t len = sizeof(listener->addr.sa);

    if (addr_port(&listener->addr) == 0 &&
        getsockname(listener->sockets[0], &listener->addr.sa.any, &len) != 0) {
        err_set(err, "%s: cannot tell the port", listener->bind);
        return STATUS_FAILED;
    }
    return STATUS_OK;
}

/* One socket per worker. With port 0 the first one's port is taken for all. */
static enum status bind_all(struct edge_listener *listener, uint32_t workers, struct errbuf *err)
{
    if (listener_check_free(&listener->addr, err) != STATUS_OK) {
        return STATUS_FAILED;
    }
    listener->sockets = mem_new_array(workers, int);
    for (; listener->socket_count < workers; listener->socket_count++) {
        if (listener_bind(&listener->addr, &listener->sockets[listener->socket_count], err) !=
            STATUS_OK) {
            return STATUS_FAILED;
        }
        if (listener->socket_count == 0 && learn_port(listener, err) != STATUS_OK) {
            listener->socket_count = 1; /* so that it is closed */
            return STATUS_FAILED;
        }
    }
    return STATUS_OK;
}

static enum status obtain(const struct edge *edge, struct edge_listener *listener,
                          struct errbuf *err)
{
    enum status status;

    if (inheritance_take(edge->inheritance, INHERITED_LISTENER, listener->bind, &listener->sockets,
                         &listener->socket_count)) {
        status = learn_port(listener, err);
    } else {
        status = bind_all(listener, edge->worker_count, err);
    }
    return status == STATUS_OK ? duplicate(listener, edge->worker_count, err) : status;
}

enum status edge_bind(const struct edge *edge, const struct conf *conf,
                      struct edge_listener **ret_listeners, struct errbuf *err)
{
    struct edge_listener *listeners = mem_new_array(conf->listener_count, struct edge_listener);

    for (uint32_t i = 0; i < conf->listener_count; i++) {
        const struct edge_listener *present = find(edge, conf->listeners[i].bind);
        enum status status;
        listeners[i].bind = mem_strdup(conf->listeners[i].bind);
        listeners[i].addr = present != NULL ? present->addr : conf->listeners[i].addr;
        if (present != NULL) {
            continue;
        }
        status = obtain(edge, &listeners[i], err);
        if (status != STATUS_OK) {
            err_wrap(err, "listener");
            edge_listeners_free(listeners, conf->listener_count);
            return status;
        }
    }
    *ret_listeners = listeners;
    return STATUS_OK;
}

static void hand_over(struct edge *edge, uint32_t index)
{
    struct edge_listener *listener = &edge->listeners[index];
    char text[ADDR_TEXT_LEN];

    if (listener->fds == NULL || listener->fds[0] < 0) {
        return;
    }
    for (uint32_t i = 0; i < listener->fd_count; i++) {
        worker_send_listener(edge->workers[i % edge->worker_count], index, listener->fds[i]);
        listener->fds[i] = -1;
    }
    (void)addr_format(&listener->addr, text);
    log_info("listening", "address=%s tls=%s", text,
             edge->conf->listeners[index].has_tls ? "true" : "false");
}

/* What stays keeps its sockets (they may still be waiting for the doors to open). */
static void inherit(struct edge *edge, struct edge_listener *listener)
{
    for (uint32_t i = 0; i < edge->listener_count; i++) {
        struct edge_listener *old = &edge->listeners[i];
        if (listener->fds == NULL && strcmp(old->bind, listener->bind) == 0) {
            listener->fds = old->fds;
            listener->fd_count = old->fd_count;
            listener->sockets = old->sockets;
            listener->socket_count = old->socket_count;
            old->fds = NULL;
            old->sockets = NULL;
        }
    }
}

void edge_listeners_commit(struct edge *edge, struct edge_listener *listeners, uint32_t count)
{
    struct edge_listener *old = edge->listeners;
    uint32_t old_count = edge->listener_count;

    for (uint32_t i = 0; i < count; i++) {
        inherit(edge, &listeners[i]);
    }
    edge->listeners = listeners;
    edge->listener_count = count;
    edge_listeners_free(old, old_count);
    for (uint32_t i = 0; edge->doors_open && i < count; i++) {
        hand_over(edge, i);
    }
}

void edge_open_doors(struct edge *edge)
{
    if (edge->doors_open) {
        return;
    }
    edge->doors_open = true;
    for (uint32_t i = 0; i < edge->listener_count; i++) {
        hand_over(edge, i);
    }
}
