/* SPDX-License-Identifier: MIT */
/* The inside of a loop, shared by the files of this folder. */
#ifndef NEARSIDE_LOOP_LOOP_PRIVATE_H
#define NEARSIDE_LOOP_LOOP_PRIVATE_H

#include <nearside/base/heap.h>
#include <nearside/base/list.h>
#include <nearside/loop/loop.h>

#include <event2/event_struct.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#define LOOP_MAGIC 0x6c6f6f70U

/* A call put off to the end of the turn. */
struct deferred {
    void (*fn)(void *arg);
    void *arg;
};

struct loop {
    uint32_t magic;
    char *name;              /* owned */
    int epoll_fd;            /* owned */
    struct event_base *base; /* owned; NULL: nobody asked for it (wait.c) */
    struct event base_ready; /* our set has events; with `base` */
    struct event base_timer; /* our first deadline; with `base` */
    pthread_t maker;
    _Atomic pthread_t home; /* atomic: another thread may ask loop_is_home() while this changes */
    uint64_t now_ns;        /* of this turn; 0: to be read at the next question */
    unsigned watch_count;   /* watches and signals that were not freed yet */

    struct list put_off[WATCH_YIELD_KINDS]; /* struct watch, in the order of their events */
    struct list tasks;                      /* of the coming end of turn */
    struct list heavy[LOOP_HEAVY_COUNT];
    struct list batch_tasks; /* of the present batch */
    bool batch_goes_on;

    /* Calls for the end of the turn; the array is kept between turns. */
    struct deferred *deferred; /* owned */
    size_t deferred_count;
    size_t deferred_size;

    struct heap deadlines;
    uint64_t round_ns;      /* time of the last round of deadlines */
    unsigned heard_at_once; /* events that the last wait brought */
    unsigned heard_late;    /* events since deadlines began to wait for them (deadline.c) */

    /* Written by any thread; on a line of their own, away from what each turn touches. */
    _Alignas(CACHE_LINE) _Atomic(struct loop_message *) messages; /* newest first */
    atomic_bool stop;
    int wake_fd; /* owned eventfd */
    struct watch *wake_watch;
};

/* Have the loop's wait end. Thread: any. */
void loop_wake(struct loop *loop);

#define EVENTS_PER_TURN 64

/* wait.c: wait for events and run their callbacks; only look if it may not block. */
void loop_wait_init(struct loop *loop);
void loop_wait_done(struct loop *loop);
void loop_wait(struct loop *loop, bool may_block);

/* watch.c: call back whom these are for, but put off those that yield. */
struct epoll_event;
void loop_watches_run(struct loop *loop, const struct epoll_event *events, int count);
/* Call back the first of those that were put off. */
void loop_put_off_run(struct loop *loop);
static inline bool loop_has_put_off(const struct loop *loop)
{
    return !list_is_empty(&loop->put_off[0]) || !list_is_empty(&loop->put_off[1]);
}

/* loop_task.c: run what is queued, heavy steps first, but not what those queue in turn. */
void loop_tasks_init(struct loop *loop);
static inline bool loop_has_tasks(const struct loop *loop)
{
    return !list_is_empty(&loop->tasks) || !list_is_empty(&loop->heavy[LOOP_HEAVY_GO_ON]) ||
           !list_is_empty(&loop->heavy[LOOP_HEAVY_BEGIN]);
}
void loop_tasks_run(struct loop *loop);
/* Run what was deferred, and what that defers. */
void loop_deferred_run(struct loop *loop);

/* deadline.c */
void loop_deadlines_init(struct loop *loop);
void loop_deadlines_done(struct loop *loop);
/* When the wait must end at the latest, which may be too early; 0: no deadline is set. */
uint64_t loop_first_deadline_ns(const struct loop *loop);
void loop_deadlines_run(struct loop *loop);

/* mailbox.c */
void loop_mailbox_init(struct loop *loop);
void loop_mailbox_done(struct loop *loop);
void loop_mailbox_drain(struct loop *loop);

#endif
