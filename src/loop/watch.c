/* SPDX-License-Identifier: MIT */
/*
 * Descriptors watched through libevent, one event each. An edge-triggered watch asks for
 * everything in one epoll_ctl() and is never changed afterwards.
 *
 * libevent reports a broken connection (EPOLLERR) as "readable and writable" and drops the
 * kernel's hint that the peer is gone. That is just what an edge for ordinary bytes looks like,
 * so an owner that does not read at that moment, or that rightly concludes from a short read that
 * no more is there, would learn of the break only by its timeouts. Hence the second look: when
 * such an edge was the last one for DOUBT_MS, poll() tells whether the connection is broken, all
 * watches of that age in one call. Busy connections get their next edge sooner and cost nothing.
 */
#include "loop_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>

#include <event2/event.h>

#include <poll.h>

#define WATCH_MAGIC 0x77617463U

/* Long against the time between tokens of a stream, short against what a person notices. */
#define DOUBT_MS 50
/* Watches looked at with one poll(): 512 bytes of stack. */
#define DOUBT_BATCH 64

struct watch {
    uint32_t magic;
    struct loop *loop; /* borrowed: outlives this */
    watch_fn fn;       /* NULL: freed, waiting for the end of the turn */
    void *arg;
    bool is_edge;
    struct list doubt; /* in loop->doubtful, or unlinked */
    uint64_t doubt_ns; /* time of the doubtful edge */
    struct event event;
};

static void doubt_start(struct watch *watch)
{
    struct loop *loop = watch->loop;

    watch->doubt_ns = loop_now_ns(loop);
    list_push_back(&loop->doubtful, &watch->doubt);
    if (!deadline_is_set(&loop->doubt_deadline)) {
        deadline_set_in_ms(&loop->doubt_deadline, DOUBT_MS);
    }
}

/* Take up to DOUBT_BATCH watches that have been silent long enough off the list. */
static size_t doubt_take(struct loop *loop, struct watch **watches, struct pollfd *fds)
{
    uint64_t now_ns = loop_now_ns(loop);
    struct list *first = list_first(&loop->doubtful);
    size_t count = 0;

    while (first != NULL && count < DOUBT_BATCH) {
        struct watch *watch = LIST_ITEM(first, struct watch, doubt);

        if (watch->doubt_ns + DOUBT_MS * NS_PER_MS > now_ns) {
            break;
        }
        list_remove(first);
        watches[count] = watch;
        fds[count++] = (struct pollfd){.fd = watch_fd(watch)};
        first = list_first(&loop->doubtful);
    }
    return count;
}

static void on_doubt(struct deadline *deadline, void *arg)
{
    struct loop *loop = OBJ_CAST(arg, loop, LOOP_MAGIC);
    struct watch *watches[DOUBT_BATCH];
    struct pollfd fds[DOUBT_BATCH];
    size_t count = doubt_take(loop, watches, fds);

    while (count > 0) {
        int broken = poll(fds, (nfds_t)count, 0);

        for (size_t i = 0; broken > 0 && i < count; i++) {
            /* An earlier callback may have freed a later watch; its memory is still there. */
            if ((fds[i].revents & (POLLERR | POLLHUP)) != 0 && watches[i]->fn != NULL) {
                watches[i]->fn(watches[i], WATCH_READ | WATCH_WRITE | WATCH_CLOSED,
                               watches[i]->arg);
            }
        }
        count = doubt_take(loop, watches, fds);
    }
    if (!list_is_empty(&loop->doubtful)) {
        deadline_set_in_ms(deadline, DOUBT_MS);
    }
}

void loop_doubt_init(struct loop *loop)
{
    list_init(&loop->doubtful);
    deadline_init(&loop->doubt_deadline, loop, on_doubt, loop);
}

void loop_doubt_done(struct loop *loop)
{
    ASSERT(list_is_empty(&loop->doubtful));
    deadline_done(&loop->doubt_deadline);
}

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
    list_remove(&watch->doubt); /* an edge after it: the one before was not the end */
    if (watch->is_edge && events == (WATCH_READ | WATCH_WRITE)) {
        doubt_start(watch);
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
    watch->is_edge = (what & EV_ET) != 0;
    list_init(&watch->doubt);
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
    list_remove(&watch->doubt);
    watch->loop->watch_count--;
    watch->magic = 0;
    watch->fn = NULL;
    loop_defer_free(watch->loop, watch);
}

int watch_fd(const struct watch *watch)
{
    return event_get_fd(&watch->event);
}
