/* SPDX-License-Identifier: MIT */
/*
 * Which region serves a request, and why.
 *
 *   1. Allowed: named by X-Nearside-Regions (or no such header), serves the model, not drained.
 *   2. The best tier that has somebody: usable regions, and those whose breaker lets this one
 *      request through; else those with no verdict yet; else those that are up but for their
 *      breakers; else, when all are down, any of them (both: panic).
 *   3. Within the tier by rank: not yet given two attempts by this request, not held back by slow
 *      start, near before far, home, then cost. The first with room for this request serves.
 *      When all of them were tried and the last could not be reached: one that is up but for its
 *      breaker, rather than the same again.
 *   4. Nobody has room: a region with less than half of its endpoints up tries the others as well
 *      (panic); else wait for the first by rank.
 *
 * Regions fit in a 64-bit set (METRIC_REGIONS_MAX), which keeps all of this on the stack.
 */
#include <nearside/route/route.h>

#include "endpoint_private.h"
#include "route_private.h"

#include <nearside/base/assert.h>
#include <nearside/obs/metric.h>

/* Bits of a rank above its cost in microseconds; the lowest rank is best. */
#define RANK_UNKNOWN  (UINT64_C(1) << 62)
#define RANK_FAR      (UINT64_C(1) << 61)
#define RANK_NOT_HOME (UINT64_C(1) << 60)
#define COST_MS_MAX   1e9

typedef uint64_t region_set;

struct pick {
    const struct fleet_view *view;
    const struct route_request *request;
    uint64_t now_ns;
    struct rng *rng;
    region_set allowed;
    enum route_tier tier;
    region_set members;                 /* of the tier */
    region_set demoted;                 /* had their attempts */
    region_set deferred;                /* held back by slow start, this time */
    region_set full;                    /* somebody would do but has no room */
    uint64_t ranks[METRIC_REGIONS_MAX]; /* by class, home and cost */
};

const char *route_reason_word(enum route_reason reason)
{
    static const char *const words[ROUTE_REASON_COUNT] = {
#define X(suffix, word) [ROUTE_##suffix] = word,
        ROUTE_REASONS(X)
#undef X
    };

    ASSERT(reason < ROUTE_REASON_COUNT);
    return words[reason];
}

static region_set bit(uint32_t index)
{
    return UINT64_C(1) << index;
}

static bool has(region_set set, int index)
{
    return index >= 0 && (set >> index & 1) != 0;
}

/* For each member of a set: takes the first one out. */
static uint32_t take_first(region_set *left)
{
    uint32_t index = (uint32_t)__builtin_ctzll(*left);

    *left &= *left - 1;
    return index;
}

/* ---- who may serve at all ---- */

/* Empty: *ret_why says why. */
static region_set allowed_regions(const struct fleet_view *view,
                                  const struct route_request *request, enum route_reason *ret_why)
{
    region_set allowed = 0;
    bool listed = false;
    bool served = false;

    for (uint32_t i = 0; i < view->region_count; i++) {
        const struct view_region *region = &view->regions[i];

        if (!route_names_region(request, region)) {
            continue;
        }
        listed = true;
        if (!route_serves_model(request, region)) {
            continue;
        }
        served = true;
        if (!region->drained) {
            allowed |= bit(i);
        }
    }
    *ret_why = listed && !served ? ROUTE_NO_MODEL : ROUTE_NO_REGION;
    return allowed;
}

/* May a region whose breaker has tripped serve this one request? */
static bool is_on_trial(const struct view_region *region, const struct route_request *request)
{
    return region->breaker == BREAKER_TRIAL && region->endpoint_up_count > 0 &&
           endpoint_has_trial(region, request);
}

static bool in_tier(const struct view_region *region, const struct route_request *request,
                    enum route_tier tier)
{
    switch (tier) {
    case TIER_USABLE:
        return region->usable || is_on_trial(region, request);
    case TIER_TRIPPED:
        return region->endpoint_up_count > 0;
    case TIER_UNKNOWN:
        return region->state == REGION_UNKNOWN;
    default:
        return true;
    }
}

static region_set tier_members(const struct fleet_view *view, const struct route_request *request,
                               region_set allowed, enum route_tier tier)
{
    region_set members = 0;

    for (region_set left = allowed; left != 0;) {
        uint32_t i = take_first(&left);

        members |= in_tier(&view->regions[i], request, tier) ? bit(i) : 0;
    }
    return members;
}

/* ---- in which order ---- */

static uint64_t base_rank(const struct fleet_view *view, uint32_t index)
{
    const struct view_region *region = &view->regions[index];
    double cost_ms = route_cost_ms(region);
    uint64_t rank = (uint64_t)((cost_ms < COST_MS_MAX ? cost_ms : COST_MS_MAX) * 1000.0);

    rank |= region->near ? 0 : RANK_FAR;
    /* A region on trial is measured against home: home took over from it. */
    rank |= (int)index == view->home || region->breaker == BREAKER_TRIAL ? 0 : RANK_NOT_HOME;
    return rank;
}

/* The best of `set` by rank alone, or ROUTE_NOBODY. */
static int first_by_rank(const struct pick *pick, region_set set)
{
    uint64_t best_rank = UINT64_MAX;
    int best = ROUTE_NOBODY;

    while (set != 0) {
        uint32_t i = take_first(&set);

        if (pick->ranks[i] < best_rank) {
            best_rank = pick->ranks[i];
            best = (int)i;
        }
    }
    return best;
}

/* The same, by what holds regions back as well: demoted ones last, deferred ones before them. */
static int best_of(const struct pick *pick, region_set set)
{
    region_set free = set & ~(pick->demoted | pick->deferred);
    region_set deferred = set & ~pick->demoted;

    if (free != 0) {
        return first_by_rank(pick, free);
    }
    if (deferred != 0) {
        return first_by_rank(pick, deferred);
    }
    free = set & ~pick->deferred;
    return first_by_rank(pick, free != 0 ? free : set);
}

static uint32_t attempts_in(const struct view_region *region, const struct route_request *request)
{
    uint32_t attempts = 0;

    for (uint32_t e = 0; e < region->endpoint_count; e++) {
        for (uint32_t i = 0; i < request->tried_count; i++) {
            attempts += region->endpoints[e].live->id == request->tried[i];
        }
    }
    return attempts;
}

/* Regions other than the last can have had two attempts only when three were made: the search for
 * them is left out of the common case, a first retry. */
static region_set demoted_regions(const struct pick *pick)
{
    const struct route_request *request = pick->request;
    region_set demoted = 0;

    if (request->last_region >= 0 && request->last_region_attempts >= ROUTE_REGION_ATTEMPTS) {
        demoted |= bit((uint32_t)request->last_region);
    }
    for (uint32_t i = 0;
         request->tried_count > ROUTE_REGION_ATTEMPTS && i < pick->view->region_count; i++) {
        if (attempts_in(&pick->view->regions[i], request) >= ROUTE_REGION_ATTEMPTS) {
            demoted |= bit(i);
        }
    }
    return demoted;
}

static region_set deferred_regions(const struct pick *pick)
{
    region_set deferred = 0;

    for (region_set left = pick->members; left != 0;) {
        uint32_t i = take_first(&left);
        float weight = pick->view->regions[i].weight;

        if (weight < 1.0F && rng_unit(pick->rng) > (double)weight) {
            deferred |= bit(i);
        }
    }
    return deferred;
}

/* Does home's hysteresis hold against this region? Not against one that cannot serve now (home took
 * over from it), nor against a better class. */
static bool yields_to_home(const struct fleet_view *view, int index)
{
    const struct view_region *region = &view->regions[index];

    return index != view->home && region->usable &&
           (view->regions[view->home].near || !region->near);
}

/* The region that would serve were all healthy and with room. Regions never measured cannot be
 * preferred to measured ones. */
static int preferred_region(const struct pick *pick, region_set allowed)
{
    const struct fleet_view *view = pick->view;
    uint64_t best_rank = UINT64_MAX;
    int best = ROUTE_NOBODY;
    bool home_allowed = has(allowed, view->home);

    while (allowed != 0) {
        uint32_t i = take_first(&allowed);
        uint64_t rank = pick->ranks[i] & ~RANK_NOT_HOME;

        if (home_allowed && yields_to_home(view, (int)i)) {
            continue;
        }
        rank |= view->regions[i].latency_known ? 0 : RANK_UNKNOWN;
        if (rank < best_rank) {
            best_rank = rank;
            best = (int)i;
        }
    }
    return best;
}

/* ---- the choice ---- */

static enum route_reason reason_of_best(const struct pick *pick, int region)
{
    const struct fleet_view *view = pick->view;

    if (!view->regions[region].near) {
        return ROUTE_FAR;
    }
    for (region_set left = pick->members; left != 0;) {
        const struct view_region *other = &view->regions[take_first(&left)];

        if (other->near && route_cost_ms(other) < route_cost_ms(&view->regions[region])) {
            return ROUTE_HOME;
        }
    }
    return ROUTE_CLOSEST;
}

static enum route_reason reason_of(const struct pick *pick, int region)
{
    int ideal = first_by_rank(pick, pick->members);

    if (pick->tier != TIER_USABLE) {
        return pick->tier == TIER_UNKNOWN ? ROUTE_ONLY_UNKNOWN : ROUTE_PANIC;
    }
    if (region == ideal) {
        return reason_of_best(pick, region);
    }
    if (has(pick->demoted, ideal)) {
        return ROUTE_RETRY;
    }
    if (has(pick->deferred, ideal)) {
        return ROUTE_SLOW_START;
    }
    return has(pick->full, ideal) ? ROUTE_SPILL : ROUTE_RETRY;
}

/* The first region by rank with an endpoint of `group` that has room; fills *ret_choice. */
static bool choose_in_group(struct pick *pick, enum route_group group,
                            struct route_choice *ret_choice)
{
    struct endpoint_search search = {.request = pick->request,
                                     .tier = pick->tier,
                                     .group = group,
                                     .balance = pick->view->conf->routing.balance,
                                     .now_ns = pick->now_ns,
                                     .rng = pick->rng};
    region_set left = pick->members;

    while (left != 0) {
        int region = best_of(pick, left);
        bool full;
        int endpoint = endpoint_choose(&pick->view->regions[region], &search, &full);

        if (endpoint != ROUTE_NOBODY) {
            ret_choice->region = region;
            ret_choice->endpoint = endpoint;
            ret_choice->reason = reason_of(pick, region);
            return true;
        }
        pick->full |= full ? bit((uint32_t)region) : 0;
        left &= ~bit((uint32_t)region);
    }
    return false;
}

/* Less than half of what is not drained is up. */
static bool is_sick(const struct view_region *region)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        count += !region->endpoints[i].drained;
    }
    return 2 * region->endpoint_up_count < count;
}

/* Nobody has room: in regions where most is down, the verdict may be wrong more often than right.
 * Once per request; if that fails it waits for room like others. */
static bool choose_in_sick(struct pick *pick, struct route_choice *ret_choice)
{
    region_set members = pick->members;
    bool found;

    if (pick->tier != TIER_USABLE || pick->request->tried_count > 0) {
        return false;
    }
    for (uint32_t i = 0; i < pick->view->region_count; i++) {
        if (has(members, (int)i) && !is_sick(&pick->view->regions[i])) {
            pick->members &= ~bit(i);
        }
    }
    pick->tier = TIER_PANIC;
    found = choose_in_group(pick, GROUP_NEW, ret_choice);
    pick->tier = TIER_USABLE;
    pick->members = members;
    return found;
}

/* All that may serve were tried, and the last failed: it would again. Somebody who is up but was
 * put aside may have recovered, and nothing is lost by asking. */
static bool choose_put_aside(struct pick *pick, struct route_choice *ret_choice)
{
    region_set members = pick->members;
    bool found;

    if (pick->tier != TIER_USABLE || !pick->request->in_vain || pick->full != 0) {
        return false;
    }
    pick->tier = TIER_TRIPPED;
    pick->members = tier_members(pick->view, pick->request, pick->allowed, TIER_TRIPPED);
    found = choose_in_group(pick, GROUP_NEW, ret_choice);
    pick->tier = TIER_USABLE;
    pick->members = members;
    pick->full = 0; /* nobody waits for those */
    if (found) {
        ret_choice->reason = ROUTE_RETRY;
    }
    return found;
}

/* False: the tier has nobody at all. */
static bool choose_in_tier(struct pick *pick, struct route_choice *ret_choice)
{
    for (int group = GROUP_NEW; group < GROUP_COUNT; group++) {
        if (group > GROUP_NEW && pick->request->tried_count == 0) {
            break;
        }
        if (choose_in_group(pick, (enum route_group)group, ret_choice)) {
            return true;
        }
        if (group == GROUP_NEW && choose_put_aside(pick, ret_choice)) {
            return true;
        }
        if (group == GROUP_NEW && pick->full != 0) {
            break; /* waiting for one that was not tried is better than trying one again */
        }
    }
    if (pick->full == 0) {
        return false;
    }
    if (choose_in_sick(pick, ret_choice)) {
        return true;
    }
    ret_choice->region = best_of(pick, pick->full);
    ret_choice->reason = ROUTE_QUEUE;
    return true;
}

struct route_choice route_pick(const struct fleet_view *view, const struct route_request *request,
                               uint64_t now_ns, struct rng *rng)
{
    struct route_choice choice = {.region = ROUTE_NOBODY, .endpoint = ROUTE_NOBODY};
    struct pick pick; /* set member by member: its ranks need no zeros */
    region_set allowed;

    ASSERT(view->region_count <= METRIC_REGIONS_MAX);
    ASSERT(request->tried_count <= ROUTE_TRIED_MAX);
    pick.view = view;
    pick.request = request;
    pick.now_ns = now_ns;
    pick.rng = rng;
    pick.full = 0;
    for (uint32_t i = 0; i < view->region_count; i++) {
        pick.ranks[i] = base_rank(view, i);
    }
    allowed = allowed_regions(view, request, &choice.reason);
    pick.allowed = allowed;
    choice.preferred = preferred_region(&pick, allowed);
    for (int tier = TIER_USABLE; tier < TIER_COUNT && allowed != 0; tier++) {
        pick.tier = (enum route_tier)tier;
        pick.members = tier_members(view, request, allowed, pick.tier);
        if (pick.members == 0) {
            continue;
        }
        pick.demoted = demoted_regions(&pick);
        pick.deferred = deferred_regions(&pick);
        if (choose_in_tier(&pick, &choice)) {
            choice.cost_ms = route_cost_ms(&view->regions[choice.region]);
            return choice;
        }
    }
    return choice;
}
