/* SPDX-License-Identifier: MIT */
/* What waits for the end of the turn: tasks, then deferred calls and frees. */
#include "loop_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

/* Most turns defer a handful of frees; the array starts with room for those. */
#define DEFERRED_START 32

void loop_tasks_init(struct loop *loop)
{
    list_init(&loop->tasks);
    list_init(&loop->batch_tasks);
    for (int kind = 0; kind < LOOP_HEAVY_COUNT; kind++) {
        list_init(&loop->heavy[kind]);
    }
}

void loop_task_init(struct loop_task *task, loop_task_fn fn, void *arg)
{
    list_init(&task->link);
    task->fn = fn;
    task->arg = arg;
}

static void queue(struct loop *loop, struct loop_task *task, struct list *tasks)
{
    ASSERT(loop_is_home(loop));
    ASSERT(task->fn != NULL);
    if (!list_is_linked(&task->link)) {
        list_push_back(tasks, &task->link);
    }
}

void loop_task_queue(struct loop *loop, struct loop_task *task)
{
    queue(loop, task, &loop->tasks);
}

void loop_heavy_queue(struct loop *loop, struct loop_task *task, enum loop_heavy kind)
{
    queue(loop, task, &loop->heavy[kind]);
}

bool loop_batch_goes_on(const struct loop *loop)
{
    return loop->batch_goes_on;
}

void loop_batch_task_queue(struct loop *loop, struct loop_task *task)
{
    ASSERT(loop->batch_goes_on);
    queue(loop, task, &loop->batch_tasks);
}

void loop_task_cancel(struct loop_task *task)
{
    list_remove(&task->link);
}

static void run_first(struct list *tasks)
{
    struct loop_task *task = LIST_ITEM(list_first(tasks), struct loop_task, link);

    list_remove(&task->link);
    task->fn(task, task->arg);
}

static void run_heavy(struct loop *loop)
{
    for (unsigned step = 0; step < LOOP_HEAVY_STEPS; step++) {
        unsigned kind = step % LOOP_HEAVY_COUNT;

        if (list_is_empty(&loop->heavy[kind])) {
            kind = (kind + 1) % LOOP_HEAVY_COUNT;
        }
        if (list_is_empty(&loop->heavy[kind])) {
            return;
        }
        run_first(&loop->heavy[kind]);
    }
}

void loop_tasks_run(struct loop *loop)
{
    struct list round;

    run_heavy(loop);
    list_init(&round);
    list_append(&round, &loop->tasks);
    while (!list_is_empty(&round)) {
        run_first(&round);
    }
}

void loop_batch_tasks_run(struct loop *loop)
{
    while (!list_is_empty(&loop->batch_tasks)) {
        run_first(&loop->batch_tasks);
    }
}

void loop_defer_free(struct loop *loop, void *ptr)
{
    if (ptr != NULL) {
        loop_defer_call(loop, mem_free, ptr);
    }
}

void loop_defer_call(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    ASSERT(loop_is_home(loop));
    if (loop->deferred_count == loop->deferred_size) {
        loop->deferred_size = loop->deferred_size == 0 ? DEFERRED_START : 2 * loop->deferred_size;
        loop->deferred = mem_realloc(loop->deferred, loop->deferred_size * sizeof(struct deferred));
    }
    loop->deferred[loop->deferred_count++] = (struct deferred){.fn = fn, .arg = arg};
}

void loop_deferred_run(struct loop *loop)
{
    /* Indexed anew each time: a call may defer another one and move the array. */
    for (size_t i = 0; i < loop->deferred_count; i++) {
        struct deferred call = loop->deferred[i];

        call.fn(call.arg);
    }
    loop->deferred_count = 0;
}
