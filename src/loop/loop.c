/* SPDX-License-Identifier: MIT */
/*
 * The turn of an event loop: wait, call back, run deadlines, tasks and deferred calls.
 *
 *     wait (wait.c) --> watches, signals, messages --> put off --> deadlines --> tasks --> deferred
 *          ^                                                                                  |
 *          +----------------------------------------------------------------------------------+
 *
 * Its order is a promise of the header: what is deferred runs after the last callback of the turn.
 * Watches come in batches, each with tasks of its own at its end (watch.c).
 */
#include <nearside/loop/loop.h>

#include "loop_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>

#include <signal.h>

/* A write to a socket that the peer has closed is an error to handle where it happens, not a
 * reason to die. OpenSSL writes without MSG_NOSIGNAL, so the signal itself has to go. */
static void ignore_sigpipe(void)
{
    struct sigaction action = {.sa_handler = SIG_IGN};

    (void)sigaction(SIGPIPE, &action, NULL); /* cannot fail with these arguments */
}

struct loop *loop_new(const char *name)
{
    struct loop *loop = mem_zero_aligned(CACHE_LINE, sizeof(*loop));

    ignore_sigpipe();
    loop->magic = LOOP_MAGIC;
    loop->name = mem_strdup(name);
    loop->maker = pthread_self();
    atomic_init(&loop->home, loop->maker);
    loop_tasks_init(loop);
    loop_wait_init(loop);
    for (unsigned kind = 0; kind < WATCH_YIELD_KINDS; kind++) {
        list_init(&loop->put_off[kind]);
    }
    loop_deadlines_init(loop);
    loop_mailbox_init(loop);
    return loop;
}

static bool has_work(struct loop *loop)
{
    return loop_has_tasks(loop) || loop->deferred_count > 0 || atomic_load(&loop->messages) != NULL;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    /* Its thread has ended, so this one may finish what is left: messages own their objects. */
    atomic_store(&loop->home, pthread_self());
    while (has_work(loop)) {
        loop_mailbox_drain(loop);
        loop_tasks_run(loop);
        loop_deferred_run(loop);
    }
    loop_mailbox_done(loop);
    loop_deferred_run(loop);
    ASSERT(loop->watch_count == 0);
    loop_deadlines_done(loop);
    loop_wait_done(loop);
    mem_free(loop->deferred);
    mem_free(loop->name);
    loop->magic = 0;
    mem_free(loop);
}

static void turn(struct loop *loop)
{
    loop_wait(loop, !loop_has_tasks(loop) && !loop_has_put_off(loop));
    loop_put_off_run(loop);
    loop_deadlines_run(loop);
    if (loop_has_tasks(loop)) {
        loop_tasks_run(loop);
    }
    loop_deferred_run(loop);
}

void loop_run(struct loop *loop)
{
    ASSERT(loop->magic == LOOP_MAGIC);
    atomic_store(&loop->home, pthread_self());
    while (!atomic_load_explicit(&loop->stop, memory_order_acquire)) {
        turn(loop);
    }
    atomic_store(&loop->stop, false);
    atomic_store(&loop->home, loop->maker);
}

void loop_stop(struct loop *loop)
{
    atomic_store_explicit(&loop->stop, true, memory_order_release);
    loop_wake(loop);
}

bool loop_is_home(const struct loop *loop)
{
    return pthread_equal(pthread_self(), atomic_load_explicit(&loop->home, memory_order_relaxed));
}

uint64_t loop_now_ns(struct loop *loop)
{
    return loop->now_ns != 0 ? loop->now_ns : loop_refresh_now_ns(loop);
}

uint64_t loop_refresh_now_ns(struct loop *loop)
{
    ASSERT(loop_is_home(loop));
    loop->now_ns = clock_mono_ns();
    return loop->now_ns;
}

const char *loop_name(const struct loop *loop)
{
    return loop->name;
}
