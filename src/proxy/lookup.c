/* SPDX-License-Identifier: MIT */
/*
 * A request's first part: its body understood, memory and Redis asked.
 *
 * Nothing here waits longer than cache.redis_timeout_ms on top of the region's path latency; Redis
 * slow or gone is a miss.
 */
#include "request_private.h"

#include "body_scan_private.h"
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

/* The entry in the form that is wanted. One that was turned is this request's alone, so it
 * counts against what the edge may hold for slow clients. Takes the reference; NULL: a miss. */
static struct cache_entry *fit(struct request *request, struct cache_entry *entry)
{
    uint64_t stored_wall_ms = cache_entry_stored_wall_ms(entry);

    if (stored_wall_ms == request->unfit_wall_ms) {
        cache_entry_unref(entry);
        return NULL;
    }
    struct cache_entry *fitting = cache_entry_fit(entry, request->api, request->form,
                                                  request->world->conf->cache.max_entry_bytes);
    if (fitting != NULL && fitting != entry &&
        !request_reserve(request, cache_entry_memory(fitting))) {
        cache_entry_unref(fitting);
        fitting = NULL;
    }
    request->unfit_wall_ms = fitting == NULL ? stored_wall_ms : 0;
    return fitting;
}

/* Takes the reference. False: it does not do, and the answer that is fetched takes its place. */
static bool answer_from(struct request *request, struct cache_entry *entry, enum metric_tier tier)
{
    if (!entry_is_fresh(request, entry)) {
        cache_entry_unref(entry);
        return false;
    }
    entry = fit(request, entry);
    if (entry == NULL) {
        return false;
    }
    request->cache_word = "hit";
    request_move(request, REQUEST_REPLY);
    reply_entry(request, entry, tier);
    return true;
}

bool lookup_again(struct request *request)
{
    struct cache_entry *entry = cache_get_memory_again(request->worker->cache, &request->key);

    return entry != NULL && answer_from(request, entry, METRIC_TIER_MEMORY);
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
    struct cache_entry *entry;

    if (request->out_of_time) {
        reply_failure(request, OUTCOME_DEADLINE);
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
    entry = cache_get_memory(request->worker->cache, &request->key);
    if (entry != NULL && answer_from(request, entry, METRIC_TIER_MEMORY)) {
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
    request->lookup_done = true;
    request->entry = entry;
    request_drive(request);
}

/* Ask the Redis of the region that would serve. False: there is none to ask. */
static bool ask_redis(struct request *request)
{
    struct worker *worker = request->worker;
    struct route_choice choice;
    const struct view_region *region;
    uint32_t timeout_ms;

    choice = request_peek(request);
    if (choice.region == ROUTE_NOBODY) {
        return false;
    }
    region = &worker->view->regions[choice.region];
    timeout_ms = request->world->conf->cache.redis_timeout_ms;
    if (region->latency_known && !region->latency_is_probe) {
        timeout_ms += (uint32_t)region->latency_ms + 1;
    }
    return cache_get_redis(worker->cache, &request->key, region->slot, timeout_ms, on_found,
                           request, &request->lookup) == CACHE_WAIT;
}

enum request_step step_lookup(struct request *request)
{
    struct cache_entry *entry = request->entry;

    if (request->out_of_time) {
        request_leave(request, OUTCOME_DEADLINE);
        reply_failure(request, OUTCOME_DEADLINE);
        return STEP_AGAIN;
    }
    if (request->lookup != NULL) {
        return STEP_WAIT;
    }
    if (!request->lookup_done && ask_redis(request)) {
        request_wait_begin(request);
        return STEP_WAIT;
    }
    request_wait_end(request);
    request->entry = NULL;
    if (entry != NULL && answer_from(request, entry, METRIC_TIER_REDIS)) {
        return STEP_AGAIN;
    }
    if (request->control.only_if_cached) {
        refuse_uncached(request);
        return STEP_AGAIN;
    }
    follow_begin(request);
    return STEP_AGAIN;
}
