/* SPDX-License-Identifier: MIT */
/*
 * Descriptors watched, each in the loop's epoll set. An edge-triggered watch asks for everything in
 * one epoll_ctl() and is never changed afterwards.
 *
 * The set is ours, not libevent's: that keeps an object, a slot and a list per descriptor, three
 * cold cache lines per event; and it reports a broken connection (EPOLLERR) as "readable and
 * writable", just what an edge for ordinary bytes looks like. Here a break is told as one.
 *
 * What is begun is finished before more is begun: events that would bring new work (a client's,
 * unless it is being answered) are put off until the turn's others have run, and at most so many of
 * them run in a turn. With more to do than time, work then waits where it costs nothing, in the
 * kernel's buffer of its client, and what is under way is little enough to stay in the cache.
 */
#include "loop_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <sys/epoll.h>

#define WATCH_MAGIC 0x77617463U

/* Of those put off, per turn. Each may begin a request, so this bounds what is begun before answers
 * are looked for again (those among the next events, which soon are all there are). 1,000
 * connections that always ask cost 0.66 of the CPU that they cost in order of arrival (32: 0.87, 4:
 * 0.70). A flood of others (64 a turn) leaves a fifth of the callbacks to new work. */
#define PUT_OFF_PER_TURN 16

_Static_assert(WATCH_READ == (int)EPOLLIN && WATCH_WRITE == (int)EPOLLOUT &&
                   WATCH_CLOSED == (int)EPOLLRDHUP,
               "what is watched and what epoll is told are the same bits");

/* What epoll says, in our terms. A broken connection is all three: reading and writing will say
 * so, and no further edge need come. */
static unsigned watch_bits(uint32_t told)
{
    if ((told & (EPOLLERR | EPOLLHUP)) != 0) {
        return WATCH_READ | WATCH_WRITE | WATCH_CLOSED;
    }
    return told;
}

static void start(struct watch *watch, struct loop *loop, int fd, unsigned wanted, uint32_t flags,
                  watch_fn fn, void *arg)
{
    struct epoll_event event = {.events = wanted | flags, .data.ptr = watch};

    ASSERT(loop_is_home(loop));
    ASSERT(watch->fn == NULL);
    watch->magic = WATCH_MAGIC;
    watch->fd = fd;
    watch->fn = fn;
    watch->arg = arg;
    watch->loop = loop;
    watch->wanted = wanted;
    watch->waiting = 0;
    watch->yields = WATCH_AT_ONCE;
    list_init(&watch->put_off);
    /* Fails for descriptors that cannot be polled, a bug, or when the kernel has no memory for
     * one more small object, which is treated as our own allocator treats it. */
    ASSERT(epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
    loop->watch_count++;
}

void watch_start_edge(struct watch *watch, struct loop *loop, int fd, watch_fn fn, void *arg)
{
    start(watch, loop, fd, WATCH_READ | WATCH_WRITE | WATCH_CLOSED, EPOLLET, fn, arg);
}

void watch_stop(struct watch *watch)
{
    if (watch->fn == NULL) {
        return;
    }
    ASSERT(watch->magic == WATCH_MAGIC);
    ASSERT(loop_is_home(watch->loop));
    /* Not left to the close() that mostly follows: a copy of the descriptor elsewhere (a child
     * between fork and exec) would keep it in the set. Fails only when it has left already. */
    (void)epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->loop->watch_count--;
    list_remove(&watch->put_off);
    watch->magic = 0;
    watch->fn = NULL;
}

struct watch *watch_level(struct loop *loop, int fd, unsigned events, watch_fn fn, void *arg)
{
    struct watch *watch = mem_new(struct watch);

    start(watch, loop, fd, events, 0, fn, arg);
    return watch;
}

void watch_free(struct watch *watch)
{
    if (watch == NULL) {
        return;
    }
    watch_stop(watch);
    loop_defer_free(watch->loop, watch);
}

int watch_fd(const struct watch *watch)
{
    return watch->fd;
}

/* With what it is still to hear. */
static void call_back(struct watch *watch, unsigned told)
{
    ASSERT(watch->magic == WATCH_MAGIC);
    told |= watch->waiting;
    watch->waiting = 0;
    list_remove(&watch->put_off);
    watch->fn(watch, told, watch->arg);
}

static struct list *put_off_list(struct watch *watch)
{
    return &watch->loop->put_off[watch->yields == WATCH_YIELDS_NEW];
}

static void put_off(struct watch *watch, unsigned told)
{
    watch->waiting |= told;
    if (!list_is_linked(&watch->put_off)) {
        list_push_back(put_off_list(watch), &watch->put_off);
    }
}

void watch_set_yielding(struct watch *watch, enum watch_yield yields)
{
    watch->yields = yields;
    if (yields == WATCH_AT_ONCE && list_is_linked(&watch->put_off)) {
        list_remove(&watch->put_off);
        list_push_front(put_off_list(watch), &watch->put_off);
    }
}

static void hear(const struct epoll_event *event)
{
    struct watch *watch = event->data.ptr;
    unsigned told;

    if (watch->fn == NULL) {
        return; /* stopped by an earlier callback of this turn; its memory is still there */
    }
    told = watch_bits(event->events) & watch->wanted;
    if (told == 0) {
        return;
    }
    if (watch->yields != WATCH_AT_ONCE && (told & WATCH_CLOSED) == 0) {
        put_off(watch, told);
    } else {
        call_back(watch, told);
    }
}

void loop_watches_run(struct loop *loop, const struct epoll_event *events, int count)
{
    for (int first = 0; first < count; first += LOOP_BATCH_CALLS) {
        const int rest = count - first;
        const int end = rest < LOOP_BATCH_CALLS ? count : first + LOOP_BATCH_CALLS;

        for (int i = first; i < end; i++) {
            loop->batch_goes_on = i + 1 < end;
            hear(&events[i]);
        }
        loop_batch_tasks_run(loop);
    }
}

void loop_put_off_run(struct loop *loop)
{
    for (unsigned i = 0; i < PUT_OFF_PER_TURN && loop_has_put_off(loop); i++) {
        struct list *const turns = &loop->put_off[i % WATCH_YIELD_KINDS];
        struct list *const others = &loop->put_off[(i + 1) % WATCH_YIELD_KINDS];
        struct list *first = list_first(list_is_empty(turns) ? others : turns);
        call_back(LIST_ITEM(first, struct watch, put_off), 0);
    }
}

void watch_hurry(struct watch *watch)
{
    if (watch->fn != NULL && list_is_linked(&watch->put_off)) {
        ASSERT(loop_is_home(watch->loop));
        call_back(watch, 0);
    }
}
