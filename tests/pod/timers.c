/* SPDX-License-Identifier: MIT */
/* See timers.h. */
#include "timers.h"

#include <nearside/base/attr.h>
#include <nearside/base/clock.h>

#include <event2/event.h>

#include <sys/time.h>

static void arm(struct timers *timers)
{
    struct heap_item *first = heap_peek(&timers->heap);
    if (first == NULL || (timers->armed_ns != 0 && timers->armed_ns <= first->key)) {
        return;
    }
    uint64_t now = clock_mono_ns();
    uint64_t left_us = first->key > now ? (first->key - now) / NS_PER_US : 0;
    struct timeval wait = {
        .tv_sec = (time_t)(left_us / 1000000),
        .tv_usec = (suseconds_t)(left_us % 1000000),
    };
    timers->armed_ns = first->key;
    (void)evtimer_add(timers->event, &wait);
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct timers *timers = arg;
    uint64_t now = clock_mono_ns();

    timers->armed_ns = 0;
    for (;;) {
        struct heap_item *first = heap_peek(&timers->heap);
        if (first == NULL || first->key > now) {
            break;
        }
        struct timer *timer = CONTAINER_OF(first, struct timer, item);
        heap_remove(&timers->heap, first);
        timer->fire(timer->arg);
    }
    arm(timers);
}

void timers_init(struct timers *timers, struct event_base *base)
{
    heap_init(&timers->heap);
    timers->event = evtimer_new(base, on_due, timers);
    timers->armed_ns = 0;
}

void timers_done(struct timers *timers)
{
    event_free(timers->event);
    heap_done(&timers->heap);
}

void timer_init(struct timer *timer, timer_fire_fn fire, void *arg)
{
    *timer = (struct timer){.fire = fire, .arg = arg};
}

void timer_set(struct timers *timers, struct timer *timer, uint64_t due_ns)
{
    if (heap_item_is_queued(&timer->item)) {
        heap_change(&timers->heap, &timer->item, due_ns);
    } else {
        heap_insert(&timers->heap, &timer->item, due_ns);
    }
    arm(timers);
}

void timer_clear(struct timers *timers, struct timer *timer)
{
    if (heap_item_is_queued(&timer->item)) {
        heap_remove(&timers->heap, &timer->item);
    }
}
