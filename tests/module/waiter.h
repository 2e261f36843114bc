/* SPDX-License-Identifier: MIT */
/*
 * Runs a loop until a condition of the test program's own `struct fixture` holds. A condition that
 * is not reached within WAITER_GUARD_MS fails the test.
 */
#ifndef TESTS_MODULE_WAITER_H
#define TESTS_MODULE_WAITER_H

#include <nearside/loop/loop.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define WAITER_GUARD_MS 20000
#define WAITER_LOOK_MS  1 /* how often a condition is looked at */

struct fixture;

struct waiter {
    struct loop *loop;
    struct fixture *fixture;
    struct deadline guard;
    struct deadline look;
    bool (*is_reached)(struct fixture *fixture);
};

static inline void waiter_on_guard(struct deadline *deadline, void *arg)
{
    (void)deadline;
    (void)arg;
    fail_msg("the test's condition was not reached");
}

static inline void waiter_on_look(struct deadline *deadline, void *arg)
{
    struct waiter *waiter = arg;

    if (waiter->is_reached(waiter->fixture)) {
        loop_stop(waiter->loop);
    } else {
        deadline_set_in_ms(deadline, WAITER_LOOK_MS);
    }
}

static inline void waiter_init(struct waiter *waiter, struct loop *loop, struct fixture *fixture)
{
    waiter->loop = loop;
    waiter->fixture = fixture;
    deadline_init(&waiter->guard, loop, waiter_on_guard, waiter);
    deadline_init(&waiter->look, loop, waiter_on_look, waiter);
}

static inline void waiter_done(struct waiter *waiter)
{
    deadline_done(&waiter->guard);
    deadline_done(&waiter->look);
}

static inline void waiter_run_until(struct waiter *waiter,
                                    bool (*is_reached)(struct fixture *fixture))
{
    waiter->is_reached = is_reached;
    (void)loop_refresh_now_ns(waiter->loop);
    deadline_set_in_ms(&waiter->guard, WAITER_GUARD_MS);
    deadline_set_in_ms(&waiter->look, 0);
    loop_run(waiter->loop);
    deadline_cancel(&waiter->guard);
}

#endif
