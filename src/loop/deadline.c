/* SPDX-License-Identifier: MIT */
/*
 * Deadlines: a heap, whose top says how long the loop may wait.
 *
 * A deadline's place in the heap is a lower bound of its due time. Moving it later, or cancelling
 * it, only writes `due_ns`; the place is put right when it comes up. So what a proxy does all the
 * time (push an idle timeout back, set and cancel a timeout per request) costs a store, and now
 * and then a wake-up for nothing.
 *
 * A loop that stood still (a virtual machine was moved, the process was stopped) finds everything
 * due at once, and in the kernel what came meanwhile. A deadline judges by what was heard, so one
 * that is very late waits until all of that is heard: as long as each wait brings as many events as
 * a turn takes, but not for more of them than there are descriptors.
 */
#include "loop_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>

#define VERY_LATE_NS (100 * NS_PER_MS)

void loop_deadlines_init(struct loop *loop)
{
    heap_init(&loop->deadlines);
}

void loop_deadlines_done(struct loop *loop)
{
    ASSERT(loop->deadlines.count == 0);
    heap_done(&loop->deadlines);
}

uint64_t loop_first_deadline_ns(const struct loop *loop)
{
    const struct heap_item *top = heap_peek(&loop->deadlines);

    return top == NULL ? 0 : top->key;
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

/* Of a loop with one that is due: whether to hear more events first. */
static bool waits_for_events(struct loop *loop, const struct deadline *deadline)
{
    const bool is_very_late =
        deadline->due_ns != 0 && loop->round_ns > deadline->due_ns + VERY_LATE_NS;

    if (!is_very_late || loop->heard_at_once < EVENTS_PER_TURN ||
        loop->heard_late >= loop->watch_count) {
        return false;
    }
    loop->heard_late += EVENTS_PER_TURN;
    return true;
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

        if (waits_for_events(loop, deadline)) {
            return;
        }
        if (settle(loop, deadline)) {
            deadline->due_ns = 0;
            deadline->fn(deadline, deadline->arg);
        }
        top = heap_peek(&loop->deadlines);
    }
    loop->heard_late = 0;
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
