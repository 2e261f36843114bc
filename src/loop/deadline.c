/* SPDX-License-Identifier: MIT */
/*
 * Deadlines: a heap of our own in front of one libevent timer.
 *
 * A deadline's place in the heap is a lower bound of its due time. Moving it later, or cancelling
 * it, only writes `due_ns`; the place is put right when it comes up. So what a proxy does all the
 * time (push an idle timeout back, set and cancel a timeout per request) costs a store.
 *
 * The timer is lazy in the same way: it is armed anew only when the top of the heap became
 * earlier than what it waits for. Waking up too early is harmless: the top is compared with our
 * own clock. libevent counts with the kernel's coarse clock, so a deadline may be up to 5 ms late
 * in an idle loop; it is never early.
 */
#include "loop_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>

#include <event2/event.h>

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = OBJ_CAST(arg, loop, LOOP_MAGIC);

    (void)fd;
    (void)what;
    loop->timer_due_ns = 0; /* the deadlines themselves are run by the turn */
}

void loop_timer_init(struct loop *loop)
{
    heap_init(&loop->deadlines);
    ASSERT(event_assign(&loop->timer, loop->base, -1, 0, on_timer, loop) == 0);
}

void loop_timer_done(struct loop *loop)
{
    ASSERT(loop->deadlines.count == 0);
    (void)event_del(&loop->timer); /* fails only for a bad event */
    heap_done(&loop->deadlines);
}

void loop_timer_arm(struct loop *loop)
{
    const struct heap_item *top = heap_peek(&loop->deadlines);
    uint64_t now_ns;
    uint64_t wait_us = 0;
    struct timeval wait;

    if (top == NULL || (loop->timer_due_ns != 0 && loop->timer_due_ns <= top->key)) {
        return;
    }
    now_ns = clock_mono_ns();
    if (top->key > now_ns) {
        wait_us = (top->key - now_ns + NS_PER_US - 1) / NS_PER_US;
    }
    wait.tv_sec = (time_t)(wait_us / 1000000);
    wait.tv_usec = (suseconds_t)(wait_us % 1000000);
    ASSERT(event_add(&loop->timer, &wait) == 0);
    loop->timer_due_ns = top->key;
}

/* Put a deadline that came up to its true place, or take it out. True when it is due. */
static bool settle(struct loop *loop, struct deadline *deadline)
{
    if (deadline->due_ns > loop->round_ns) {
        heap_change(&loop->deadlines, &deadline->item, deadline->due_ns);
        return false;
    }
    heap_remove(&loop->deadlines, &deadline->item);
    return deadline->due_ns != 0;
}

void loop_deadlines_run(struct loop *loop)
{
    struct heap_item *top = heap_peek(&loop->deadlines);

    if (top == NULL) {
        return;
    }
    loop->round_ns = loop_now_ns(loop);
    while (top != NULL && top->key <= loop->round_ns) {
        struct deadline *deadline = CONTAINER_OF(top, struct deadline, item);

        if (settle(loop, deadline)) {
            deadline->due_ns = 0;
            deadline->fn(deadline, deadline->arg);
        }
        top = heap_peek(&loop->deadlines);
    }
}

void deadline_init(struct deadline *deadline, struct loop *loop, deadline_fn fn, void *arg)
{
    *deadline = (struct deadline){.loop = loop, .fn = fn, .arg = arg};
}

void deadline_set_ns(struct deadline *deadline, uint64_t due_ns)
{
    struct loop *loop = deadline->loop;

    ASSERT(loop_is_home(loop));
    if (due_ns <= loop->round_ns) {
        /* A time that has passed comes up in the next round: a deadline that sets itself to now
         * must not keep the present round from ending. */
        due_ns = loop->round_ns + 1;
    }
    deadline->due_ns = due_ns;
    if (!heap_item_is_queued(&deadline->item)) {
        heap_insert(&loop->deadlines, &deadline->item, due_ns);
    } else if (due_ns < deadline->item.key) {
        heap_change(&loop->deadlines, &deadline->item, due_ns);
    }
}

void deadline_set_in_ms(struct deadline *deadline, uint64_t ms)
{
    deadline_set_ns(deadline, loop_now_ns(deadline->loop) + ms * NS_PER_MS);
}

void deadline_cancel(struct deadline *deadline)
{
    deadline->due_ns = 0;
}

void deadline_done(struct deadline *deadline)
{
    deadline->due_ns = 0;
    if (heap_item_is_queued(&deadline->item)) {
        ASSERT(loop_is_home(deadline->loop));
        heap_remove(&deadline->loop->deadlines, &deadline->item);
    }
}
