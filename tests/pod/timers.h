/* SPDX-License-Identifier: MIT */
/*
 * Many one-shot timers behind one libevent timer: a heap of due times. Thousands of streams that
 * each tick every few milliseconds then cost one wake-up per millisecond, not one per stream.
 */
#ifndef POD_TIMERS_H
#define POD_TIMERS_H

#include <nearside/base/heap.h>

#include <stdint.h>

struct event;
struct event_base;

typedef void (*timer_fire_fn)(void *arg);

struct timer {
    struct heap_item item;
    timer_fire_fn fire;
    void *arg;
};

struct timers {
    struct heap heap;
    struct event *event; /* owned */
    uint64_t armed_ns;   /* 0: not armed */
};

void timers_init(struct timers *timers, struct event_base *base);
void timers_done(struct timers *timers);

void timer_init(struct timer *timer, timer_fire_fn fire, void *arg);
void timer_set(struct timers *timers, struct timer *timer, uint64_t due_ns);
void timer_clear(struct timers *timers, struct timer *timer);

#endif
