/* SPDX-License-Identifier: MIT */
/*
 * Which endpoint of one region.
 *
 * least_pending compares (4 x pending + inflight + 1) / weight: a request that waits for its prompt
 * to be read costs an inference server far more than one that streams. Ties go by a hash of the
 * index and a random number, so that idle endpoints share evenly whoever stands between them.
 *
 * round_robin takes the endpoint whose turn it is; when that one cannot serve, a random one: the
 * neighbour of a dead endpoint must not get twice its share.
 */
#include "endpoint_private.h"

#include <nearside/base/hash.h>
#include <nearside/obs/metric.h>

#include <math.h>

#define PENDING_WEIGHT 4

enum fitness { FIT_NOT, FIT_FULL, FIT_GOOD };

static enum route_group group_of(const struct route_request *request, uint64_t id)
{
    if (request->tried_count == 0) {
        return GROUP_NEW;
    }
    if (request->tried[request->tried_count - 1] == id) {
        return GROUP_LAST;
    }
    for (uint32_t i = 0; i + 1 < request->tried_count; i++) {
        if (request->tried[i] == id) {
            return GROUP_TRIED;
        }
    }
    return GROUP_NEW;
}

static bool state_fits(enum endpoint_state state, enum route_tier tier)
{
    switch (tier) {
    case TIER_USABLE:
    case TIER_TRIPPED:
        return state == ENDPOINT_UP;
    case TIER_UNKNOWN:
        return state == ENDPOINT_UNKNOWN || state == ENDPOINT_WARMING;
    default:
        return true;
    }
}

static bool is_on_trial(const struct view_region *region, const struct view_endpoint *endpoint)
{
    return region->breaker == BREAKER_TRIAL || endpoint->breaker == BREAKER_TRIAL;
}

/* A request that has failed once already goes where it will be served. */
static bool trial_is_open(const struct endpoint_live *live, const struct route_request *request)
{
    return !request->no_trials && request->tried_count == 0 &&
           atomic_load_explicit(&live->trial, memory_order_relaxed) == TRIAL_OPEN;
}

bool endpoint_has_trial(const struct view_region *region, const struct route_request *request)
{
    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        if (trial_is_open(region->endpoints[i].live, request)) {
            return true;
        }
    }
    return false;
}

/* Do the breakers let this request through? In the other tiers nobody asks them. */
static bool breakers_admit(const struct view_region *region, const struct view_endpoint *endpoint,
                           const struct endpoint_search *search)
{
    if (search->tier != TIER_USABLE) {
        return true;
    }
    if (is_on_trial(region, endpoint)) {
        return trial_is_open(endpoint->live, search->request);
    }
    return endpoint->breaker == BREAKER_CLOSED;
}

static bool has_room(const struct view_region *region, struct endpoint_live *live, uint64_t now_ns)
{
    uint32_t limit = region->conf->limits.max_inflight_per_endpoint;

    if (atomic_load_explicit(&live->full_until_ns, memory_order_relaxed) > now_ns) {
        return false;
    }
    return limit == 0 || atomic_load_explicit(&live->inflight, memory_order_relaxed) < limit;
}

static enum fitness fitness_of(const struct view_region *region, uint32_t index,
                               const struct endpoint_search *search)
{
    const struct view_endpoint *endpoint = &region->endpoints[index];

    if (endpoint->drained || !state_fits(endpoint->state, search->tier) ||
        group_of(search->request, endpoint->live->id) != search->group ||
        !breakers_admit(region, endpoint, search)) {
        return FIT_NOT;
    }
    return has_room(region, endpoint->live, search->now_ns) ? FIT_GOOD : FIT_FULL;
}

/* The best of those looked at so far. */
struct best {
    int index;
    double score;
    uint64_t salt;
    uint32_t good;
    bool full;
};

/* A trial comes first: it is one request, and all others wait for its answer. */
static double score_of(const struct view_region *region, const struct view_endpoint *endpoint,
                       enum route_tier tier)
{
    unsigned pending = atomic_load_explicit(&endpoint->live->pending, memory_order_relaxed);
    unsigned inflight = atomic_load_explicit(&endpoint->live->inflight, memory_order_relaxed);

    double load = PENDING_WEIGHT * (double)pending + (double)inflight + 1.0;

    if (tier == TIER_USABLE && is_on_trial(region, endpoint)) {
        return 0;
    }
    return endpoint->weight < 1.0F ? load / (double)endpoint->weight : load;
}

/* Any order of the indexes will do, as long as it is another one each time. */
static bool wins_tie(const struct best *best, uint32_t index)
{
    return hash_u64(best->salt + index) < hash_u64(best->salt + (uint64_t)best->index);
}

static void consider(struct best *best, const struct view_region *region, uint32_t index,
                     const struct endpoint_search *search)
{
    enum fitness fitness = fitness_of(region, index, search);
    double score;

    if (fitness != FIT_GOOD) {
        best->full |= fitness == FIT_FULL;
        return;
    }
    best->good++;
    score = score_of(region, &region->endpoints[index], search->tier);
    if (score < best->score || (score == best->score && wins_tie(best, index))) {
        best->index = (int)index;
        best->score = score;
    }
}

/* All endpoints from a random one on, until `enough` good ones were seen. */
static void scan(struct best *best, const struct view_region *region,
                 const struct endpoint_search *search, uint32_t enough)
{
    uint32_t count = region->endpoint_count;
    uint32_t start = (uint32_t)(best->salt % count);

    for (uint32_t i = 0; i < count && best->good < enough; i++) {
        consider(best, region, (start + i) % count, search);
    }
}

/* In a large fleet nobody has looked at these lately: fetch them all at once, not one after
 * another. */
static void sample(struct best *best, const struct view_region *region,
                   const struct endpoint_search *search)
{
    uint32_t drawn[ENDPOINT_SAMPLE_MAX];

    for (uint32_t i = 0; i < ENDPOINT_SAMPLE_MAX; i++) {
        drawn[i] = (uint32_t)rng_below(search->rng, region->endpoint_count);
        __builtin_prefetch(&region->endpoints[drawn[i]]);
    }
    for (uint32_t i = 0; i < ENDPOINT_SAMPLE_MAX; i++) {
        __builtin_prefetch(region->endpoints[drawn[i]].live);
    }
    for (uint32_t i = 0; i < ENDPOINT_SAMPLE_MAX; i++) {
        consider(best, region, drawn[i], search);
    }
}

static uint32_t take_turn(const struct view_region *region, const struct endpoint_search *search)
{
    uint32_t *turns = search->request->turns;
    bool counted = turns != NULL && region->slot < METRIC_REGIONS_MAX; /* else: no slot was left */
    uint64_t turn = counted ? turns[region->slot]++ : rng_next(search->rng);

    return (uint32_t)(turn % region->endpoint_count);
}

/* Slow start under round_robin: a part of its turns goes by. */
static bool passes_up_turn(const struct view_endpoint *endpoint, struct rng *rng)
{
    return endpoint->weight < 1.0F && rng_unit(rng) > (double)endpoint->weight;
}

static int choose_in_turn(const struct view_region *region, const struct endpoint_search *search)
{
    uint32_t index = take_turn(region, search);

    for (uint32_t i = 0; i < ENDPOINT_SAMPLE_MAX; i++) {
        if (fitness_of(region, index, search) == FIT_GOOD &&
            !passes_up_turn(&region->endpoints[index], search->rng)) {
            return (int)index;
        }
        index = (uint32_t)rng_below(search->rng, region->endpoint_count);
    }
    return ROUTE_NOBODY;
}

int endpoint_choose(const struct view_region *region, const struct endpoint_search *search,
                    bool *ret_full)
{
    struct best best = {.index = ROUTE_NOBODY, .score = INFINITY};

    *ret_full = false;
    if (region->endpoint_count == 0) {
        return ROUTE_NOBODY;
    }
    if (search->balance == CONF_BALANCE_ROUND_ROBIN) {
        int index = choose_in_turn(region, search);

        if (index != ROUTE_NOBODY) {
            return index;
        }
    }
    best.salt = rng_next(search->rng);
    if (region->endpoint_count > ENDPOINT_SCAN_MAX) {
        sample(&best, region, search);
    }
    if (best.index == ROUTE_NOBODY) {
        scan(&best, region, search,
             region->endpoint_count > ENDPOINT_SCAN_MAX ? ENDPOINT_SAMPLE_MAX : UINT32_MAX);
    }
    *ret_full = best.full;
    return best.index;
}
