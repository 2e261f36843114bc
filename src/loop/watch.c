/* SPDX-License-Identifier: MIT */
/*
 * Descriptors watched through libevent, one event each. An edge-triggered watch asks for
 * everything in one epoll_ctl() and is never changed afterwards.
 */
#include "loop_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <event2/event.h>

#define WATCH_MAGIC 0x77617463U

struct watch {
    uint32_t magic;
    struct loop *loop; /* borrowed: outlives this */
    watch_fn fn;       /* NULL: freed, waiting for the end of the turn */
    void *arg;
    struct event event;
};

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct watch *watch = OBJ_CAST(arg, watch, WATCH_MAGIC);
    unsigned events = 0;

    (void)fd;
    if (what & EV_READ) {
        events |= WATCH_READ;
    }
    if (what & EV_WRITE) {
        events |= WATCH_WRITE;
    }
    if (what & EV_CLOSED) {
        events |= WATCH_CLOSED;
    }
    watch->fn(watch, events, watch->arg);
}

static struct watch *watch_new(struct loop *loop, int fd, short what, watch_fn fn, void *arg)
{
    struct watch *watch = mem_new(struct watch);

    ASSERT(loop_is_home(loop));
    watch->magic = WATCH_MAGIC;
    watch->loop = loop;
    watch->fn = fn;
    watch->arg = arg;
    ASSERT(event_assign(&watch->event, loop->base, fd, what, on_event, watch) == 0);
    /* Fails for descriptors that cannot be polled, a bug, or when the kernel has no memory for
     * one more small object, which is treated as our own allocator treats it. */
    ASSERT(event_add(&watch->event, NULL) == 0);
    loop->watch_count++;
    return watch;
}

struct watch *watch_edge(struct loop *loop, int fd, watch_fn fn, void *arg)
{
    return watch_new(loop, fd, EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, fn, arg);
}

struct watch *watch_level(struct loop *loop, int fd, unsigned events, watch_fn fn, void *arg)
{
    short what = EV_PERSIST;

    if (events & WATCH_READ) {
        what |= EV_READ;
    }
    if (events & WATCH_WRITE) {
        what |= EV_WRITE;
    }
    if (events & WATCH_CLOSED) {
        what |= EV_CLOSED;
    }
    return watch_new(loop, fd, what, fn, arg);
}

void watch_free(struct watch *watch)
{
    if (watch == NULL) {
        return;
    }
    ASSERT(watch->magic == WATCH_MAGIC);
    ASSERT(loop_is_home(watch->loop));
    (void)event_del(&watch->event); /* fails only for a bad event */
    watch->loop->watch_count--;
    watch->magic = 0;
    watch->fn = NULL;
    loop_defer_free(watch->loop, watch);
}

int watch_fd(const struct watch *watch)
{
    return event_get_fd(&watch->event);
}
