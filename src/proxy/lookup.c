/* SPDX-License-Identifier: MIT */
/*
 * A request's first part: its body understood, memory and Redis asked.
 *
 * Nothing here waits longer than cache.redis_timeout_ms on top of the region's path latency; Redis
 * slow or gone is a miss.
 */
#include "request_private.h"

#include "body_scan_private.h"
#include "client_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/cache/fit.h>
#include <nearside/conf/tree.h>

static bool entry_is_fresh(struct request *request, const struct cache_entry *entry)
{
    return cache_is_fresh(&request->control, cache_entry_stored_wall_ms(entry),
                          cache_entry_ttl_ms(entry), clock_wall_ms());
}

/* One that was turned is this request's alone, so it counts against what the edge may hold for slow
 * clients. */
static bool has_room(struct request *request, const struct cache_entry *fitting, bool is_turned)
{
    return client_reply_reserve(request->worker, cache_entry_fields(fitting).len) &&
           (!is_turned || request_reserve(request, cache_entry_memory(fitting)));
}

struct cache_entry *lookup_fit(struct request *request, struct cache_entry *entry)
{
    uint64_t stored_wall_ms = cache_entry_stored_wall_ms(entry);

    if (stored_wall_ms == request->unfit_wall_ms) {
        cache_entry_unref(entry);
        return NULL;
    }
    struct cache_entry *fitting = cache_entry_fit(entry, request->api, request->form,
                                                  request->world->conf->cache.max_entry_bytes);
    if (fitting != NULL && !has_room(request, fitting, fitting != entry)) {
        cache_entry_unref(fitting);
        fitting = NULL;
    }
    request->unfit_wall_ms = fitting == NULL ? stored_wall_ms : 0;
    return fitting;
}

void lookup_reply(struct request *request, struct cache_entry *entry, enum metric_tier tier,
                  enum cache_use use)
{
    cache_count_use(request->worker->cache, tier, use, entry);
    request->cache_word = use == CACHE_USE_STALE ? "stale" : "hit";
    request_move(request, REQUEST_REPLY);
    reply_entry(request, entry, tier);
}

/* Takes the reference. False: it does not do, and the answer that is fetched takes its place. */
static bool answer_from(struct request *request, struct cache_entry *entry, enum metric_tier tier)
{
    if (!entry_is_fresh(request, entry)) {
        stale_keep(request, entry, tier);
        return false;
    }
    entry = lookup_fit(request, entry);
    if (entry == NULL) {
        return false;
    }
    lookup_reply(request, entry, tier, CACHE_USE_HIT);
    return true;
}

/* A request that was told of a miss before: only a hit is counted. */
bool lookup_again(struct request *request)
{
    struct cache_entry *entry = cache_get_memory(request->worker->cache, &request->key);

    return entry != NULL && answer_from(request, entry, METRIC_TIER_MEMORY);
}

static bool answer_from_memory(struct request *request)
{
    struct cache_worker *cache = request->worker->cache;
    struct cache_entry *entry = cache_get_memory(cache, &request->key);

    if (entry != NULL && answer_from(request, entry, METRIC_TIER_MEMORY)) {
        return true;
    }
    cache_count_use(cache, METRIC_TIER_MEMORY, CACHE_USE_NONE, NULL);
    return false;
}

static void refuse_uncached(struct request *request)
{
    static const struct reply_error error = {
        .status = 504,
        .type = "invalid_request_error",
        .code = "not_cached",
        .message = "The answer is not in the cache, and Cache-Control: only-if-cached was asked.",
    };

    reply_error(request, &error);
}

enum request_step step_read(struct request *request)
{
    if (request->out_of_time) {
        reply_failure(request, OUTCOME_DEADLINE);
        return STEP_AGAIN;
    }
    if (request->control.only_if_cached && (request->body.streaming || request->api == API_NONE)) {
        refuse_uncached(request);
        return STEP_AGAIN;
    }
    if (request->body.streaming) {
        request->cache_word = request->api == API_NONE ? "none" : "bypass";
        request_move(request, REQUEST_ROUTE);
        return STEP_AGAIN;
    }
    if (!request->body.complete) {
        return STEP_WAIT;
    }
    if (request->api == API_NONE) {
        request_move(request, REQUEST_ROUTE);
        return STEP_AGAIN;
    }
    body_scan_end(request);
    if (!request->plan.lookup) {
        if (request->control.only_if_cached) {
            refuse_uncached(request);
            return STEP_AGAIN;
        }
        request_move(request, REQUEST_ROUTE);
        return STEP_AGAIN;
    }
    if (answer_from_memory(request)) {
        return STEP_AGAIN;
    }
    request_move(request, REQUEST_LOOKUP);
    return STEP_AGAIN;
}

static void on_found(struct cache_entry *entry, enum metric_tier tier, void *arg)
{
    struct request *request = OBJ_CAST(arg, request, REQUEST_MAGIC);

    (void)tier;
    request->lookup = NULL;
    request->entry = entry;
    request_drive(request);
}

/* Whose Redis to ask next: the one's that would serve. When none can, each in turn, for something
 * past its time. ROUTE_NOBODY: no more. */
static int next_redis(const struct request *request, const struct route_choice *choice)
{
    const struct fleet_view *view = request->worker->view;
    bool is_last_resort = choice->region == ROUTE_NOBODY || choice->reason == ROUTE_PANIC;

    if (!request->lookup_done && choice->region != ROUTE_NOBODY) {
        return choice->region;
    }
    if (!is_last_resort || cache_grace_ms(request->worker->deps.cache) == 0) {
        return ROUTE_NOBODY;
    }
    for (uint32_t i = 0; i < view->region_count; i++) {
        if ((request->asked_redis & (1ULL << view->regions[i].slot)) == 0 &&
            request_allows_region(request, view->regions[i].name)) {
            return (int)i;
        }
    }
    return ROUTE_NOBODY;
}

static bool ask_one(struct request *request, const struct view_region *region)
{
    uint32_t timeout_ms = request->world->conf->cache.redis_timeout_ms;

    if (region->latency_known && !region->latency_is_probe) {
        timeout_ms += (uint32_t)region->latency_ms + 1;
    }
    request->asked_redis |= 1ULL << region->slot;
    request->lookup_done = true;
    return cache_get_redis(request->worker->cache, &request->key, region->slot, timeout_ms,
                           on_found, request, &request->lookup) == CACHE_WAIT;
}

/* False: there is none to ask (any more). */
static bool ask_redis(struct request *request)
{
    struct route_choice choice = request_peek(request);
    int index = next_redis(request, &choice);

    while (index != ROUTE_NOBODY) {
        if (ask_one(request, &request->worker->view->regions[index])) {
            return true;
        }
        index = next_redis(request, &choice);
    }
    return false;
}

/* What came from Redis. True: it answered. */
static bool answer_from_redis(struct request *request)
{
    struct cache_entry *entry = request->entry;

    request->entry = NULL;
    if (entry == NULL) {
        return false;
    }
    if (answer_from(request, entry, METRIC_TIER_REDIS)) {
        return true;
    }
    cache_count_use(request->worker->cache, METRIC_TIER_REDIS, CACHE_USE_NONE, NULL);
    return false;
}

enum request_step step_lookup(struct request *request)
{
    if (request->out_of_time) {
        request_leave(request, OUTCOME_DEADLINE);
        reply_failure(request, OUTCOME_DEADLINE);
        return STEP_AGAIN;
    }
    if (request->lookup != NULL) {
        return STEP_WAIT;
    }
    request_wait_end(request);
    if (answer_from_redis(request)) {
        return STEP_AGAIN;
    }
    if (ask_redis(request)) {
        request_wait_begin(request);
        return STEP_WAIT;
    }
    if (request->control.only_if_cached) {
        refuse_uncached(request);
        return STEP_AGAIN;
    }
    follow_begin(request);
    return STEP_AGAIN;
}
