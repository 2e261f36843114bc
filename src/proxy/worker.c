/* SPDX-License-Identifier: MIT */
/*
 * The worker's thread: what it owns, the messages it takes, its start and its end.
 *
 * A message is a small heap object that crosses by the mailbox and is freed here. Views and worlds
 * cross as references.
 */
#include "worker_private.h"

#include "address_count_private.h"
#include "admission_private.h"
#include "body_scan_private.h"
#include "client_private.h"
#include "request_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/digest.h>
#include <nearside/base/mem.h>
#include <nearside/cache/cache.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/view.h>
#include <nearside/http/date.h>
#include <nearside/net/listener.h>
#include <nearside/obs/log.h>
#include <nearside/upstream/pool.h>

#include <errno.h>
#include <stdio.h>

struct worker_message {
    struct loop_message message; /* first: the mailbox hands back this */
    struct world *world;         /* ref passes */
    struct fleet_view *view;     /* ref passes */
    uint32_t index;
    int fd;
};

static void on_queue_tick(struct deadline *deadline, void *arg);
static void on_queue_task(struct loop_task *task, void *arg);
static void on_drain_task(struct loop_task *task, void *arg);

void proxy_shared_init(struct proxy_shared *shared, unsigned descriptors)
{
    shared->clients = address_counts_new();
    shared->askers = address_counts_new();
    shared->descriptors = descriptors;
}

void proxy_shared_done(struct proxy_shared *shared)
{
    address_counts_free(shared->clients);
    shared->clients = NULL;
    address_counts_free(shared->askers);
    shared->askers = NULL;
}

struct worker *worker_new(unsigned index, const struct worker_deps *deps, struct world *world,
                          struct fleet_view *view)
{
    struct worker *worker = mem_new(struct worker);

    worker->magic = WORKER_MAGIC;
    worker->index = index;
    (void)snprintf(worker->name, sizeof(worker->name), "worker-%u", index);
    worker->deps = *deps;
    worker->loop = loop_new(worker->name);
    worker->metrics = metric_block_new();
    worker->world = world_ref(world);
    worker->view = fleet_view_ref(view);
    worker->view_world = world_ref(world);
    worker->pool = pool_new(worker->loop, worker->metrics);
    worker->cache = cache_worker_new(deps->cache, worker->loop, worker->metrics);
    cache_worker_set_conf(worker->cache, &world->conf->cache);
    worker->digest = digest_new();
    rng_init(&worker->rng);
    explain_ring_init(&worker->explain, deps->worker_count);
    list_init(&worker->listeners);
    list_init(&worker->connections);
    list_init(&worker->detached);
    list_init(&worker->waiting);
    list_init(&worker->streaming);
    list_init(&worker->free_requests);
    list_init(&worker->free_scans);
    for (unsigned slot = 0; slot < METRIC_REGIONS_MAX; slot++) {
        list_init(&worker->queued[slot]);
    }
    deadline_init(&worker->queue_tick, worker->loop, on_queue_tick, worker);
    loop_task_init(&worker->queue_task, on_queue_task, worker);
    loop_task_init(&worker->drain_task, on_drain_task, worker);
    loop_task_init(&worker->move_task, worker_on_move_task, worker);
    outbox_init(&worker->outbox, worker->loop);
    worker->client_bytes = mem_alloc(WORKER_READ_BYTES);
    worker->upstream_bytes =
        (char *)mem_alloc(WORKER_READ_BYTES + 2 * (size_t)WORKER_FRAME_ROOM) + WORKER_FRAME_ROOM;
    buf_init(&worker->reply_head);
    buf_make_room(&worker->reply_head, WORKER_HEAD_BYTES); /* a refusal needs no memory */
    buf_init(&worker->request_head);
    buf_init(&worker->access_line);
    worker_follow_redis(worker);
    return worker;
}

/* ---- messages ---- */

static void post(struct worker *worker, struct worker_message *message, loop_message_fn fn)
{
    loop_post(worker->loop, &message->message, fn, worker);
}

static struct worker_message *message_new(void)
{
    return mem_new(struct worker_message);
}

static void tell_short(struct worker_listener *mine, int error_number)
{
    struct worker *worker = mine->worker;
    uint64_t suppressed = 0;

    if (log_rate_allow(&worker->accept_log, loop_now_ns(worker->loop), &suppressed)) {
        log_warn("accept_paused", "bind=%s error=%d suppressed=%llu", mine->bind, error_number,
                 (unsigned long long)suppressed);
    }
}

/* A client connected: take it, unless a limit is reached. */
static void on_accept(struct listener *listener, int fd, const struct addr *peer, void *arg)
{
    struct worker_listener *mine = arg;
    struct worker *worker = mine->worker;
    bool tls = worker->world->listener_tls[mine->index] != NULL;
    enum admission admission = admission_take(worker, fd, peer, tls);

    if (admission == ADMISSION_GRANTED) {
        client_new(worker, worker->world, mine->index, fd, peer);
        return;
    }
    admission_refuse(worker, admission, fd, tls);
    if (admission == ADMISSION_NO_DESCRIPTORS) {
        listener_pause(listener);
        tell_short(mine, EMFILE);
    }
}

static void on_accept_failed(struct listener *listener, int error_number, void *arg)
{
    struct worker_listener *mine = arg;

    (void)listener;
    metric_limit_hit(mine->worker->metrics, LIMIT_FILE_DESCRIPTORS);
    tell_short(mine, error_number);
}

static void drop_listener(struct worker_listener *listener)
{
    list_remove(&listener->link);
    if (!listener->worker->handing_over) {
        listener_accept_rest(listener->listener);
    }
    listener_free(listener->listener);
    mem_free(listener->bind);
    loop_defer_free(listener->worker->loop, listener);
}

/* How many listeners before this one have the same text: of port 0 there may be several. */
static uint32_t rank_of(const struct conf *conf, uint32_t index)
{
    uint32_t rank = 0;

    for (uint32_t i = 0; i < index; i++) {
        rank += strcmp(conf->listeners[i].bind, conf->listeners[index].bind) == 0;
    }
    return rank;
}

static void on_listener_message(struct loop_message *message, void *arg)
{
    struct worker *worker = OBJ_CAST(arg, worker, WORKER_MAGIC);
    struct worker_message *mine = (struct worker_message *)message;
    struct worker_listener *listener = mem_new(struct worker_listener);

    listener->worker = worker;
    listener->index = mine->index;
    listener->bind = mem_strdup(worker->world->conf->listeners[mine->index].bind);
    listener->rank = rank_of(worker->world->conf, mine->index);
    list_push_back(&worker->listeners, &listener->link);
    listener->listener =
        listener_start(worker->loop, mine->fd, on_accept, on_accept_failed, listener);
    mem_free(mine);
}

/* Where a listener stands in a config. False: nowhere. */
static bool find_place(const struct worker_listener *listener, const struct conf *conf,
                       uint32_t *ret_index)
{
    for (uint32_t i = 0; i < conf->listener_count; i++) {
        if (strcmp(conf->listeners[i].bind, listener->bind) == 0 &&
            rank_of(conf, i) == listener->rank) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

/* Those that are not in `conf` close. What still waits at them to be accepted is of the world that
 * they were in: this comes before the next one is taken. */
static void drop_gone(struct worker *worker, const struct conf *conf)
{
    struct list *link;
    struct list *after;

    LIST_FOREACH_SAFE (link, after, &worker->listeners) {
        struct worker_listener *listener = LIST_ITEM(link, struct worker_listener, link);
        uint32_t index;
        if (!find_place(listener, conf, &index)) {
            drop_listener(listener);
        }
    }
}

/* Listeners that stay get their place in the new config. */
static void follow_listeners(struct worker *worker)
{
    struct list *link;

    LIST_FOREACH (link, &worker->listeners) {
        struct worker_listener *listener = LIST_ITEM(link, struct worker_listener, link);
        bool stays = find_place(listener, worker->world->conf, &listener->index);
        ASSERT(stays);
    }
}

static void on_world_message(struct loop_message *message, void *arg)
{
    struct worker *worker = OBJ_CAST(arg, worker, WORKER_MAGIC);
    struct worker_message *mine = (struct worker_message *)message;

    drop_gone(worker, mine->world->conf);
    world_unref(worker->world);
    worker->world = mine->world;
    follow_listeners(worker);
    cache_worker_set_conf(worker->cache, &worker->world->conf->cache);
    worker_follow_redis(worker);
    mem_free(mine);
}

static void on_view_message(struct loop_message *message, void *arg)
{
    struct worker *worker = OBJ_CAST(arg, worker, WORKER_MAGIC);
    struct worker_message *mine = (struct worker_message *)message;

    worker_take_view(worker, mine->view);
    mem_free(mine);
}

static void drain(struct worker *worker)
{
    struct list *link;
    struct list *after;

    worker->draining = true;
    LIST_FOREACH_SAFE (link, after, &worker->listeners) {
        drop_listener(LIST_ITEM(link, struct worker_listener, link));
    }
    LIST_FOREACH_SAFE (link, after, &worker->connections) {
        client_drain(LIST_ITEM(link, struct client_conn, link));
    }
    loop_task_queue(worker->loop, &worker->drain_task);
}

static void on_drain_message(struct loop_message *message, void *arg)
{
    drain(OBJ_CAST(arg, worker, WORKER_MAGIC));
    mem_free(message);
}

static void on_hand_over_message(struct loop_message *message, void *arg)
{
    struct worker *worker = OBJ_CAST(arg, worker, WORKER_MAGIC);

    worker->handing_over = true;
    drain(worker);
    mem_free(message);
}

/* It may be delivered when the worker has been freed: a drain whose time is over ends everything,
 * and a worker may find itself drained just then. */
struct drained_message {
    struct loop_message message;
    void (*drained)(void *arg);
};

static void on_drained_at_control(struct loop_message *message, void *arg)
{
    struct drained_message *mine = (struct drained_message *)message;
    void (*drained)(void *arg) = mine->drained;

    mem_free(mine);
    drained(arg);
}

static void on_drain_task(struct loop_task *task, void *arg)
{
    struct worker *worker = OBJ_CAST(arg, worker, WORKER_MAGIC);

    (void)task;
    if (worker->connection_count == 0 && list_is_empty(&worker->detached) &&
        !worker->drained_told) {
        struct drained_message *message = mem_new(struct drained_message);
        message->drained = worker->deps.drained;
        worker->drained_told = true;
        loop_post(worker->deps.control, &message->message, on_drained_at_control, worker->deps.arg);
    }
}

static void on_purge_message(struct loop_message *message, void *arg)
{
    struct worker *worker = OBJ_CAST(arg, worker, WORKER_MAGIC);
    struct worker_message *mine = (struct worker_message *)message;

    cache_purge_redis(worker->cache, mine->index);
    mem_free(mine);
}

void worker_send_listener(struct worker *worker, uint32_t index, int fd)
{
    struct worker_message *message = message_new();

    message->index = index;
    message->fd = fd;
    post(worker, message, on_listener_message);
}

void worker_send_world(struct worker *worker, struct world *world)
{
    struct worker_message *message = message_new();

    message->world = world_ref(world);
    post(worker, message, on_world_message);
}

void worker_send_view(struct worker *worker, struct fleet_view *view)
{
    struct worker_message *message = message_new();

    message->view = fleet_view_ref(view);
    post(worker, message, on_view_message);
}

void worker_send_drain(struct worker *worker)
{
    post(worker, message_new(), on_drain_message);
}

void worker_send_hand_over(struct worker *worker)
{
    post(worker, message_new(), on_hand_over_message);
}

static void on_pulse(struct loop_message *message, void *arg)
{
    struct worker *worker = OBJ_CAST(arg, worker, WORKER_MAGIC);

    (void)message;
    atomic_store_explicit(&worker->pulse_asked, false, memory_order_release);
}

bool worker_turns(struct worker *worker)
{
    if (atomic_exchange_explicit(&worker->pulse_asked, true, memory_order_acq_rel)) {
        return false;
    }
    loop_post(worker->loop, &worker->pulse, on_pulse, worker);
    return true;
}

void worker_send_purge_redis(struct worker *worker, unsigned region_slot)
{
    struct worker_message *message = message_new();

    message->index = region_slot;
    post(worker, message, on_purge_message);
}

/* ---- small services to the files of proxy/ ---- */

struct str worker_date(struct worker *worker)
{
    uint64_t wall_ms = clock_wall_ms();

    if (wall_ms / 1000 != worker->date_s) {
        worker->date_s = wall_ms / 1000;
        http_date_format(wall_ms, worker->date);
    }
    return str_make(worker->date, sizeof(worker->date) - 1);
}

double worker_budget_floor(const struct worker *worker)
{
    const struct conf *conf = worker->world->conf;

    return conf->retry.budget_min_per_s / (double)worker->deps.worker_count;
}

int worker_region_index(const struct worker *worker, int slot)
{
    for (uint32_t i = 0; slot >= 0 && i < worker->view->region_count; i++) {
        if (worker->view->regions[i].slot == (unsigned)slot) {
            return (int)i;
        }
    }
    return ROUTE_NOBODY;
}

struct tls_ctx *worker_region_tls(const struct worker *worker, const char *name)
{
    const struct conf *conf = worker->view_world->conf;

    for (uint32_t i = 0; i < conf->region_count; i++) {
        if (strcmp(conf->regions[i].name, name) == 0) {
            return worker->view_world->region_tls[i];
        }
    }
    return NULL;
}

bool worker_explain(struct worker *worker, struct str id, struct explain_record *ret_record)
{
    return explain_ring_find(&worker->explain, id, ret_record);
}

/* ---- the queue ---- */

static bool others_wait(const struct worker *worker, unsigned slot)
{
    return atomic_load_explicit(&worker->deps.shared->queued[slot], memory_order_relaxed) >
           worker->queued_here[slot];
}

/* Is it another worker's turn to take the room that was made? Without turns the worker whose
 * requests hold the endpoints would serve its own queue for ever. */
static bool gives_way(const struct worker *worker, unsigned slot)
{
    return others_wait(worker, slot) &&
           atomic_load_explicit(&worker->deps.shared->queue_turn[slot], memory_order_relaxed) ==
               worker->index + 1;
}

/* Let the oldest of each region go as long as there is room. */
static void serve_queues(struct worker *worker, bool politely)
{
    for (unsigned slot = 0; slot < METRIC_REGIONS_MAX && worker->queued_count > 0; slot++) {
        if (politely && gives_way(worker, slot)) {
            continue;
        }
        for (unsigned served = 0; served < WORKER_QUEUE_STEPS; served++) {
            struct list *first = list_first(&worker->queued[slot]);
            if (first == NULL || !request_requeue(LIST_ITEM(first, struct request, link))) {
                break;
            }
            atomic_store_explicit(&worker->deps.shared->queue_turn[slot], worker->index + 1,
                                  memory_order_relaxed);
        }
    }
}

static void on_queue_task(struct loop_task *task, void *arg)
{
    (void)task;
    serve_queues(OBJ_CAST(arg, worker, WORKER_MAGIC), true);
}

void worker_pass_room(struct worker *worker, int slot)
{
    if (worker->queued_count > 0) {
        loop_task_queue(worker->loop, &worker->queue_task);
    }
    if (slot >= 0 && others_wait(worker, (unsigned)slot) &&
        (worker->queued_here[slot] == 0 || gives_way(worker, (unsigned)slot))) {
        worker->deps.wake_queues(worker->index, worker->deps.arg);
    }
}

static void on_wake_message(struct loop_message *message, void *arg)
{
    struct worker *worker = OBJ_CAST(arg, worker, WORKER_MAGIC);

    (void)message;
    atomic_store_explicit(&worker->queue_wake_sent, false, memory_order_release);
    serve_queues(worker, false);
}

void worker_wake_queue(struct worker *worker)
{
    if (!atomic_exchange_explicit(&worker->queue_wake_sent, true, memory_order_acq_rel)) {
        loop_post(worker->loop, &worker->queue_wake, on_wake_message, worker);
    }
}

/* What was not taken by those whose turn it was, and room that nobody told of. */
static void on_queue_tick(struct deadline *deadline, void *arg)
{
    struct worker *worker = OBJ_CAST(arg, worker, WORKER_MAGIC);

    (void)deadline;
    serve_queues(worker, false);
    if (worker->queued_count > 0) {
        deadline_set_in_ms(&worker->queue_tick, WORKER_QUEUE_TICK_MS);
    }
}

uint64_t worker_cpu_ns(const struct worker *worker)
{
    return worker->started ? clock_thread_cpu_ns(worker->thread) : 0;
}

/* ---- the end ---- */

void worker_stop(struct worker *worker)
{
    if (!worker->started) {
        return;
    }
    loop_stop(worker->loop);
    (void)pthread_join(worker->thread, NULL);
    worker->started = false;
}

static void on_last_message(struct loop_message *message, void *arg)
{
    mem_free(message);
    loop_stop(arg);
}

/* What was posted after the worker's last turn is taken while all that it needs still lives. */
static void hear_the_rest(struct worker *worker)
{
    loop_post(worker->loop, mem_new(struct loop_message), on_last_message, worker->loop);
    loop_run(worker->loop);
}

/* After the worker's last turn, on the thread that made it: everything on its loop goes. */
static void tear_down(struct worker *worker)
{
    struct list *link;
    struct list *after;

    worker->tearing_down = true;
    LIST_FOREACH_SAFE (link, after, &worker->listeners) {
        drop_listener(LIST_ITEM(link, struct worker_listener, link));
    }
    LIST_FOREACH_SAFE (link, after, &worker->connections) {
        client_stop(LIST_ITEM(link, struct client_conn, link));
    }
    LIST_FOREACH_SAFE (link, after, &worker->detached) {
        request_abort(LIST_ITEM(link, struct request, detached_link));
    }
    loop_task_cancel(&worker->queue_task);
    loop_task_cancel(&worker->drain_task);
    loop_task_cancel(&worker->move_task);
    deadline_done(&worker->queue_tick);
    pool_free(worker->pool);
    cache_worker_free(worker->cache);
    LIST_FOREACH_SAFE (link, after, &worker->free_requests) {
        request_free(LIST_ITEM(link, struct request, link));
    }
    loop_free(worker->loop);
}

static void *worker_main(void *arg)
{
    struct worker *worker = OBJ_CAST(arg, worker, WORKER_MAGIC);

    (void)pthread_setname_np(pthread_self(), worker->name);
    loop_run(worker->loop);
    return NULL;
}

enum status worker_start(struct worker *worker, struct errbuf *err)
{
    int error = pthread_create(&worker->thread, NULL, worker_main, worker);

    if (error != 0) {
        err_set(err, "%s: cannot start the thread: error %d", worker->name, error);
        return STATUS_FAILED;
    }
    worker->started = true;
    return STATUS_OK;
}

void worker_free(struct worker *worker)
{
    ASSERT(!worker->started);
    hear_the_rest(worker);
    tear_down(worker);
    body_scan_free_all(worker);
    explain_ring_done(&worker->explain);
    digest_free(worker->digest);
    outbox_done(&worker->outbox);
    mem_free(worker->client_bytes);
    mem_free(worker->upstream_bytes - WORKER_FRAME_ROOM);
    buf_done(&worker->reply_head);
    buf_done(&worker->request_head);
    buf_done(&worker->access_line);
    fleet_view_unref(worker->view);
    world_unref(worker->view_world);
    world_unref(worker->world);
    worker->magic = 0;
    mem_free(worker);
}
