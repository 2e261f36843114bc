/* SPDX-License-Identifier: MIT */
/*
 * Messages between threads: a lock-free stack that posters push to and the loop takes whole, then
 * turns round to get the order of posting. Only the poster that found the stack empty wakes the
 * loop, so a burst costs one write.
 *
 * Why no wake-up is lost: the loop clears the eventfd before it takes the stack. Who pushes after
 * the taking finds it empty and writes; who pushed before was taken.
 */
#include "loop_private.h"

#include <nearside/base/assert.h>

#include <sys/eventfd.h>
#include <unistd.h>

void loop_wake(struct loop *loop)
{
    uint64_t one = 1;

    /* Fails only when the counter is full, and then the loop is awake anyway. */
    if (write(loop->wake_fd, &one, sizeof(one)) < 0) {
        return;
    }
}

void loop_post(struct loop *loop, struct loop_message *message, loop_message_fn fn, void *arg)
{
    struct loop_message *newest;

    message->fn = fn;
    message->arg = arg;
    newest = atomic_load_explicit(&loop->messages, memory_order_relaxed);
    do {
        message->next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&loop->messages, &newest, message,
                                                    memory_order_release, memory_order_relaxed));
    if (newest == NULL) {
        loop_wake(loop);
    }
}

static struct loop_message *reversed(struct loop_message *newest)
{
    struct loop_message *oldest = NULL;

    while (newest != NULL) {
        struct loop_message *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

void loop_mailbox_drain(struct loop *loop)
{
    struct loop_message *message =
        atomic_exchange_explicit(&loop->messages, NULL, memory_order_acquire);

    message = reversed(message);
    while (message != NULL) {
        struct loop_message *next = message->next; /* the call may free the message */

        message->fn(message, message->arg);
        message = next;
    }
}

static void on_wake(struct watch *watch, unsigned events, void *arg)
{
    struct loop *loop = OBJ_CAST(arg, loop, LOOP_MAGIC);
    uint64_t count;

    (void)events;
    if (read(watch_fd(watch), &count, sizeof(count)) < 0) {
        return; /* woken for nothing */
    }
    loop_batch_tasks_run(loop);
    loop_mailbox_drain(loop);
}

void loop_mailbox_init(struct loop *loop)
{
    atomic_init(&loop->messages, NULL);
    atomic_init(&loop->stop, false);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ASSERT(loop->wake_fd >= 0);
    loop->wake_watch = watch_level(loop, loop->wake_fd, WATCH_READ, on_wake, loop);
}

void loop_mailbox_done(struct loop *loop)
{
    watch_free(loop->wake_watch);
    (void)close(loop->wake_fd); /* nothing to be done about a failure */
    loop->wake_fd = -1;
}
