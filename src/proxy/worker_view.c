/* SPDX-License-Identifier: MIT */
/*
 * A worker follows the fleet: it takes the newest view, moves waiting requests off endpoints that
 * went down, drops idle connections to them, and tells its cache where each region's Redis is.
 *
 * Moving is bounded per turn: a lost region may leave thousands of requests behind, and the rest of
 * the traffic must not wait for all of them.
 */
#include "worker_private.h"

#include "request_private.h"

#include <nearside/base/assert.h>
#include <nearside/cache/cache.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/view.h>
#include <nearside/upstream/pool.h>

/* The endpoint of the request's attempt: where it was when it was chosen, unless the fleet was
 * changed since. A search goes through the whole fleet, and this is asked for each request. */
static const struct view_endpoint *find_counted(const struct fleet_view *view,
                                                const struct request *request)
{
    const struct route_choice *choice = &request->choice;
    uint64_t id = request->counted->id;
    int region = choice->region;

    if (region >= 0 && (uint32_t)region < view->region_count && choice->endpoint >= 0 &&
        (uint32_t)choice->endpoint < view->regions[region].endpoint_count &&
        view->regions[region].endpoints[choice->endpoint].live->id == id) {
        return &view->regions[region].endpoints[choice->endpoint];
    }
    return fleet_view_find(view, id, &region);
}

static bool endpoint_is_lost(const struct fleet_view *view, const struct request *request)
{
    const struct view_endpoint *endpoint = find_counted(view, request);

    /* NULL: gone from the config. What it has begun it may finish. */
    return endpoint != NULL && endpoint->state == ENDPOINT_DOWN;
}

/* Move up to WORKER_MOVES waiting requests; true when that was all. */
static bool move_waiting(struct worker *worker)
{
    struct list *link;
    struct list *after;
    unsigned moved = 0;

    LIST_FOREACH_SAFE (link, after, &worker->waiting) {
        struct request *request = LIST_ITEM(link, struct request, link);
        if (request->counted == NULL || request->seen_view == worker->view->version ||
            !endpoint_is_lost(worker->view, request)) {
            continue;
        }
        if (moved++ == WORKER_MOVES) {
            return false;
        }
        request->seen_view = worker->view->version;
        request_evict(request, OUTCOME_REGION_DOWN);
    }
    return true;
}

void worker_on_move_task(struct loop_task *task, void *arg)
{
    struct worker *worker = OBJ_CAST(arg, worker, WORKER_MAGIC);

    (void)task;
    if (!move_waiting(worker)) {
        loop_task_queue(worker->loop, &worker->move_task);
    }
}

/* An answer under way from an endpoint that is down may still come through; it is not waited for as
 * long as one from a healthy endpoint. Costs a look-up each, so only when somebody is down. */
static void judge_streaming(struct worker *worker)
{
    struct list *link;

    LIST_FOREACH (link, &worker->streaming) {
        struct request *request = LIST_ITEM(link, struct request, link);
        if (request->counted != NULL) {
            exchange_set_lost(&request->exchange, endpoint_is_lost(worker->view, request));
        }
    }
}

static bool anybody_down(const struct fleet_view *view)
{
    for (uint32_t i = 0; i < view->region_count; i++) {
        if (view->regions[i].state == REGION_DOWN || view->regions[i].state == REGION_DEGRADED) {
            return true;
        }
    }
    return false;
}

static bool keep_connection(uint64_t endpoint_id, void *arg)
{
    const struct worker *worker = arg;
    int region = 0;
    const struct view_endpoint *endpoint = fleet_view_find(worker->view, endpoint_id, &region);

    return endpoint != NULL && endpoint->state != ENDPOINT_DOWN;
}

/* Idle connections to endpoints that are down, which may have come back to the pool since. */
static void drop_down(struct worker *worker)
{
    const struct fleet_view *view = worker->view;

    for (uint32_t r = 0; r < view->region_count; r++) {
        const struct view_region *region = &view->regions[r];
        bool any = region->state == REGION_DOWN || region->state == REGION_DEGRADED;

        for (uint32_t e = 0; any && e < region->endpoint_count; e++) {
            if (region->endpoints[e].state == ENDPOINT_DOWN) {
                pool_drop(worker->pool, region->endpoints[e].live->id);
            }
        }
    }
}

/* A Redis that speaks TLS has a context; if it had none, the password would not go in the clear
 * instead. */
static bool may_use_redis(const struct view_region *region, const struct tls_ctx *tls)
{
    const struct conf_redis *redis = &region->conf->redis;

    return region->redis_known && redis->url[0] != '\0' && (!redis->tls || tls != NULL);
}

/* Also those that the view has no more: they would be kept, and connected to, for ever. */
static void leave_redis_but(struct worker *worker, uint64_t seen)
{
    for (unsigned slot = 0; slot < METRIC_REGIONS_MAX; slot++) {
        if ((seen & (1ULL << slot)) == 0) {
            cache_worker_set_redis(worker->cache, slot, NULL, NULL, NULL);
        }
    }
}

void worker_follow_redis(struct worker *worker)
{
    const struct fleet_view *view = worker->view;
    bool used = worker->world->conf->cache.enabled;
    uint64_t seen = 0;

    for (uint32_t i = 0; i < view->region_count; i++) {
        const struct view_region *region = &view->regions[i];
        const struct conf_redis *redis = &region->conf->redis;
        struct tls_ctx *tls = redis->tls ? worker_region_tls(worker, region->name) : NULL;
        bool has = used && may_use_redis(region, tls);
        cache_worker_set_redis(worker->cache, region->slot, has ? redis : NULL,
                               has ? &region->redis_addr : NULL, has ? tls : NULL);
        seen |= 1ULL << region->slot;
    }
    leave_redis_but(worker, seen);
}

/* Until a new config's view is here, attempts are routed in the old one, and need its contexts. */
static void follow_world(struct worker *worker)
{
    if (worker->view->conf == worker->world->conf && worker->view_world != worker->world) {
        world_unref(worker->view_world);
        worker->view_world = world_ref(worker->world);
    }
}

void worker_take_view(struct worker *worker, struct fleet_view *view)
{
    bool is_new_roster = view->roster != worker->view->roster;

    fleet_view_unref(worker->view);
    worker->view = view;
    follow_world(worker);
    worker_follow_redis(worker);
    if (anybody_down(view) || worker->somebody_was_down) {
        worker->somebody_was_down = anybody_down(view);
        judge_streaming(worker);
        drop_down(worker);
    }
    if (is_new_roster) {
        pool_sweep(worker->pool, keep_connection, worker);
    }
    if (!list_is_empty(&worker->waiting)) {
        loop_task_queue(worker->loop, &worker->move_task);
    }
    if (worker->queued_count > 0) {
        loop_task_queue(worker->loop, &worker->queue_task);
    }
}
