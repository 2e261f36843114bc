/* SPDX-License-Identifier: MIT */
/*
 * Unix signals as callbacks. libevent's handler only writes a byte to the loop, whichever thread
 * it interrupts; the callback runs in the loop like any other. libevent serves signals to one
 * base per process: the control thread's.
 */
#include "loop_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <event2/event.h>

#define LOOP_SIGNAL_MAGIC 0x7369676eU

struct loop_signal {
    uint32_t magic;
    struct loop *loop; /* borrowed: outlives this */
    loop_signal_fn fn;
    void *arg;
    struct event event;
};

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct loop_signal *signal = OBJ_CAST(arg, loop_signal, LOOP_SIGNAL_MAGIC);

    (void)what;
    signal->fn((int)number, signal->arg);
}

struct loop_signal *loop_signal_new(struct loop *loop, int signal_number, loop_signal_fn fn,
                                    void *arg)
{
    struct loop_signal *signal = mem_new(struct loop_signal);

    ASSERT(loop_is_home(loop));
    signal->magic = LOOP_SIGNAL_MAGIC;
    signal->loop = loop;
    signal->fn = fn;
    signal->arg = arg;
    ASSERT(event_assign(&signal->event, loop_event_base(loop), signal_number,
                        EV_SIGNAL | EV_PERSIST, on_signal, signal) == 0);
    ASSERT(event_add(&signal->event, NULL) == 0);
    loop->watch_count++;
    return signal;
}

void loop_signal_free(struct loop_signal *signal)
{
    if (signal == NULL) {
        return;
    }
    ASSERT(loop_is_home(signal->loop));
    (void)event_del(&signal->event); /* fails only for a bad event */
    signal->loop->watch_count--;
    signal->magic = 0;
    loop_defer_free(signal->loop, signal);
}
