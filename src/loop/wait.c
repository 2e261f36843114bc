/* SPDX-License-Identifier: MIT */
/*
 * Where a loop waits: in an epoll set of its own. A loop that also serves libevent's clients
 * (signals, evhttp: the control thread's) waits in libevent, for which our set is one more
 * descriptor and our first deadline one more timer.
 *
 *     worker:   epoll_wait(ours) ────────────────────────────> callbacks
 *     control:  libevent ──> ours is readable ──> epoll_wait(ours, 0) ──> callbacks
 *
 * Events are taken in batches small enough that what epoll_wait() touched of a connection is
 * still in the cache when its callback runs, unless it is put off (watch.c).
 */
#include "loop_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/kernel.h>

#include <event2/event.h>

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <unistd.h>

/* A deadline further away than this is waited for by the time of the turn that ends, less half of
 * this; only for those that are near is the clock read again. A turn that takes longer than that
 * half makes a far deadline late by the rest. */
#define NEAR_NS (100 * NS_PER_MS)

void loop_wait_init(struct loop *loop)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    ASSERT(loop->epoll_fd >= 0);
}

void loop_wait_done(struct loop *loop)
{
    if (loop->base != NULL) {
        (void)event_del(&loop->base_timer); /* these fail only for a bad event */
        (void)event_del(&loop->base_ready);
        event_base_free(loop->base);
        loop->base = NULL;
    }
    (void)close(loop->epoll_fd); /* nothing to be done about a failure */
    loop->epoll_fd = -1;
}

/* ---- in our own set ---- */

/* Whole milliseconds until the first deadline, rounded up so that it is due then; -1: none. */
static int wait_ms(const struct loop *loop)
{
    uint64_t due_ns = loop_first_deadline_ns(loop);
    uint64_t now_ns = loop->now_ns;
    uint64_t ms;

    if (due_ns == 0) {
        return -1;
    }
    if (now_ns != 0 && due_ns > now_ns + NEAR_NS) {
        due_ns -= NEAR_NS / 2; /* rather too early, and look again, than late */
    } else {
        now_ns = clock_mono_ns();
    }
    ms = due_ns > now_ns ? (due_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

static void wait_in_ours(struct loop *loop, int timeout_ms)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int count = kernel_epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN, timeout_ms);

    ASSERT(count >= 0 || errno == EINTR);
    /* Interrupted (as by SIGSTOP and SIGCONT), it did not look: there may be any number. */
    loop->heard_at_once = count >= 0 ? (unsigned)count : EVENTS_PER_TURN;
    loop_watches_run(loop, events, count);
}

/* ---- in libevent ---- */

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    wait_in_ours(OBJ_CAST(arg, loop, LOOP_MAGIC), 0);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg; /* woken is all: the deadlines themselves are run by the turn */
}

static struct event_base *base_new(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base;

    ASSERT(config != NULL);
    /* Without locks: only the mailbox and the stop flag are touched by other threads. */
    ASSERT(event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0);
    ASSERT(event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV) == 0);
    /* Its usual clock is up to 4 ms behind: a timer that has run out is then not due yet, and it
     * waits and wakes a millisecond at a time until it is. This one costs a descriptor, and a
     * timerfd_settime() where the first timer changed. */
    ASSERT(event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == 0);
    base = event_base_new_with_config(config);
    ASSERT(base != NULL);
    event_config_free(config);
    return base;
}

struct event_base *loop_event_base(struct loop *loop)
{
    ASSERT(loop_is_home(loop));
    if (loop->base == NULL) {
        loop->base = base_new();
        ASSERT(event_assign(&loop->base_ready, loop->base, loop->epoll_fd, EV_READ | EV_PERSIST,
                            on_ready, loop) == 0);
        ASSERT(event_assign(&loop->base_timer, loop->base, -1, 0, on_timer, loop) == 0);
        ASSERT(event_add(&loop->base_ready, NULL) == 0);
    }
    return loop->base;
}

static void wait_in_base(struct loop *loop, int timeout_ms)
{
    struct timeval wait = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};

    if (timeout_ms > 0) {
        ASSERT(event_add(&loop->base_timer, &wait) == 0);
    }
    ASSERT(event_base_loop(loop->base, EVLOOP_ONCE | (timeout_ms == 0 ? EVLOOP_NONBLOCK : 0)) == 0);
    if (loop->heard_at_once == 0) {
        wait_in_ours(loop, 0); /* it says nothing where it was interrupted */
    }
}

void loop_wait(struct loop *loop, bool may_block)
{
    int timeout_ms = may_block ? wait_ms(loop) : 0;

    loop->now_ns = 0; /* stale from here on */
    loop->heard_at_once = 0;
    if (loop->base == NULL) {
        wait_in_ours(loop, timeout_ms);
    } else {
        wait_in_base(loop, timeout_ms);
    }
}
