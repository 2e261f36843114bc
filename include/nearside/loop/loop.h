/* SPDX-License-Identifier: MIT */
/*
 * One event loop per thread, over epoll; over libevent too where its signals or evhttp are used.
 *
 * A turn is: wait for events, run the callbacks that are due, then run what was deferred. Objects
 * are never freed inside a callback: loop_defer_free() frees at the end of the turn, so that no
 * callback of the same turn can touch memory that is gone.
 *
 * Thread: a loop and all it serves belong to the thread that runs it; only loop_post() and
 * loop_stop() may be called from others.
 */
#ifndef NEARSIDE_LOOP_LOOP_H
#define NEARSIDE_LOOP_LOOP_H

#include <nearside/base/attr.h>
#include <nearside/base/heap.h>
#include <nearside/base/list.h>

#include <stdbool.h>
#include <stdint.h>

struct loop;

/* Never fails. Has the process ignore SIGPIPE: a peer that went is an error of one write. */
struct loop *loop_new(const char *name);
/* Run what is still queued, posted or deferred, then free. No watch, signal or deadline may be
 * left. Thread: any, once the loop no longer runs. NULL is fine. */
void loop_free(struct loop *loop);

/* Run until loop_stop(). The calling thread is the loop's home until this returns; after that it
 * is again the thread that made the loop. */
void loop_run(struct loop *loop);
/* End the run after the present turn, or as soon as it begins. Thread: any. */
void loop_stop(struct loop *loop);

/* True when called on the loop's thread (or before it runs, on the one that made it). */
bool loop_is_home(const struct loop *loop);

/* Monotonic time as of the start of the present callback round; costs no system call. */
uint64_t loop_now_ns(struct loop *loop);
/* Read the clock now, and let loop_now_ns() give that until the next turn. */
uint64_t loop_refresh_now_ns(struct loop *loop);

const char *loop_name(const struct loop *loop);

/* ---- work at the end of the turn ---- */

struct loop_task;
typedef void (*loop_task_fn)(struct loop_task *task, void *arg);

/* Embedded by value. A task that is queued already is not queued twice. A task queued from a task
 * runs in the next turn, which then does not wait for events. */
struct loop_task {
    struct list link;
    loop_task_fn fn;
    void *arg;
};

void loop_task_init(struct loop_task *task, loop_task_fn fn, void *arg);
void loop_task_queue(struct loop *loop, struct loop_task *task);
void loop_task_cancel(struct loop_task *task); /* harmless when not queued */

/* The events that one wait brought come in batches of at most LOOP_BATCH_CALLS. A task queued here
 * runs after the last callback of the present batch, before anything else of the turn: for what is
 * cheaper done together. Within a batch only: while loop_batch_goes_on(), which says that more
 * callbacks of it may follow this one. */
#define LOOP_BATCH_CALLS 16
bool loop_batch_goes_on(const struct loop *loop);
void loop_batch_task_queue(struct loop *loop, struct loop_task *task);
/* Run them now: something begins that may take longer than the callbacks they wait for. */
void loop_batch_tasks_run(struct loop *loop);

/* Free `ptr` with mem_free() at the end of the turn. */
void loop_defer_free(struct loop *loop, void *ptr);
/* Call fn(arg) at the end of the turn, after the tasks. For objects with more to release. */
void loop_defer_call(struct loop *loop, void (*fn)(void *arg), void *arg);

/* Steps that cost a millisecond (a TLS handshake's) take turns with everything else: of the tasks
 * queued here LOOP_HEAVY_STEPS run in a turn, before the others, each kind first in first out.
 * What goes on and what begins have half of them each, or what the other leaves: so neither waits
 * for more than those before it, and what has begun comes to its end. */
#define LOOP_HEAVY_STEPS 4
enum loop_heavy { LOOP_HEAVY_GO_ON, LOOP_HEAVY_BEGIN, LOOP_HEAVY_COUNT };
/* A queued task stays where it is. loop_task_cancel() takes it out. */
void loop_heavy_queue(struct loop *loop, struct loop_task *task, enum loop_heavy kind);

/* ---- deadlines ---- */

struct deadline;
typedef void (*deadline_fn)(struct deadline *deadline, void *arg);

/* Embedded by value. Never early; up to some ms late in an idle loop. The callback finds it not
 * set and may set it again. Setting a later time while armed costs no heap operation: the old place
 * is kept and the deadline re-queued when that comes up (idle timeouts move on every token). So is
 * cancelling: the memory must stay until deadline_done(). */
struct deadline {
    struct heap_item item;
    uint64_t due_ns; /* 0: not armed */
    struct loop *loop;
    deadline_fn fn;
    void *arg;
};

void deadline_init(struct deadline *deadline, struct loop *loop, deadline_fn fn, void *arg);
void deadline_set_ns(struct deadline *deadline, uint64_t due_ns); /* absolute, monotonic */
void deadline_set_in_ms(struct deadline *deadline, uint64_t ms);  /* from loop_now_ns() */
void deadline_cancel(struct deadline *deadline);                  /* harmless when not armed */
static inline bool deadline_is_set(const struct deadline *deadline)
{
    return deadline->due_ns != 0;
}
/* Before the memory goes: leaves the heap. */
void deadline_done(struct deadline *deadline);

/* ---- file descriptors ---- */

enum { WATCH_READ = 0x1, WATCH_WRITE = 0x4, WATCH_CLOSED = 0x2000 }; /* as epoll has them */

/* Whether what comes waits for other work. What is begun goes on before more is begun; and those
 * who were served before share with those who are new, half and half, so that a flood of new ones
 * does not stand before them. */
enum watch_yield { WATCH_AT_ONCE, WATCH_YIELDS_KNOWN, WATCH_YIELDS_NEW };
#define WATCH_YIELD_KINDS 2

struct watch;
typedef void (*watch_fn)(struct watch *watch, unsigned events, void *arg);

/* Embedded by value in what is watched all its life; zeroed, it watches nothing. Fields private. */
struct watch {
    uint32_t magic;
    int fd;      /* borrowed: outlives this */
    watch_fn fn; /* NULL: nothing is watched */
    void *arg;
    struct loop *loop; /* borrowed: outlives this */
    unsigned wanted;   /* WATCH_ bits */
    unsigned waiting;  /* WATCH_ bits that the callback is still to hear, while put off */
    enum watch_yield yields;
    struct list put_off; /* linked in one of loop->put_off */
};

/* Watch `fd`, edge-triggered, for reading, writing and the peer's close at once: added once,
 * never changed, so that waiting costs no system call. The callback must go on until the kernel
 * says EAGAIN, or remember that it did not. WATCH_CLOSED: the peer shut down its sending side
 * (there may still be bytes to read) or, with both others, the connection broke. */
void watch_start_edge(struct watch *watch, struct loop *loop, int fd, watch_fn fn, void *arg);
/* While what comes would be new work: in each turn the callback comes after those that go on with
 * work already begun, and where there are many of this kind, in a later turn. A close is told at
 * once: it brings no work and frees what others wait for. Put off and then not to yield any more,
 * it is the first of its list. */
void watch_set_yielding(struct watch *watch, enum watch_yield yields);
/* If the callback is put off, call it now. For whoever is about to decide that nothing came. */
void watch_hurry(struct watch *watch);
/* Watch nothing any more; the callback will not come again. Harmless when nothing is watched. Does
 * not close the descriptor. The memory must stay until the end of the turn. */
void watch_stop(struct watch *watch);
static inline bool watch_is_started(const struct watch *watch)
{
    return watch->fn != NULL;
}

/* A watch of its own for `fd`, level-triggered, for the given events (listeners, pipes, c-ares). */
struct watch *watch_level(struct loop *loop, int fd, unsigned events, watch_fn fn, void *arg);
/* Stop it, and free it at the end of the turn. NULL is fine. */
void watch_free(struct watch *watch);
int watch_fd(const struct watch *watch);

/* ---- signals (control thread) ---- */

struct loop_signal;
typedef void (*loop_signal_fn)(int signal_number, void *arg);
struct loop_signal *loop_signal_new(struct loop *loop, int signal_number, loop_signal_fn fn,
                                    void *arg);
void loop_signal_free(struct loop_signal *signal);

/* ---- messages between threads ---- */

/* Embedded in the sender's heap object, which the receiver then owns. */
struct loop_message;
typedef void (*loop_message_fn)(struct loop_message *message, void *arg);
struct loop_message {
    struct loop_message *next;
    loop_message_fn fn;
    void *arg;
};

/* Have message->fn(message, arg) called on the loop's thread, soon, in the order of posting.
 * Lock-free; wakes the loop once for many. Thread: any. */
void loop_post(struct loop *loop, struct loop_message *message, loop_message_fn fn, void *arg);

/* The libevent base, for admin/ alone; made when it is first asked for. */
struct event_base;
struct event_base *loop_event_base(struct loop *loop);

#endif
