/* SPDX-License-Identifier: MIT */
/*
 * The breakers of all endpoints and regions: fed from what workers counted, and told to the fleet.
 *
 * A sweep runs every GUARD_TICK_MS, and at the end of a turn in which a failure was heard of. Per
 * region:
 *
 *   1. Read what happened since the last sweep into each endpoint's window. Answers to requests
 *      that began before a breaker opened say nothing new: they are read past.
 *   2. Put aside the endpoints that are bad, within the cap: at most half of the region's, and
 * never the last one in play. Take back what exceeds the cap because others went down meanwhile.
 *   3. Judge the region by those still in play. So one bad pod is not its region's fault, and a
 *      region where most are bad is left as a whole: the cap never protects a region.
 *   4. Open trials that are due. A region's trial is one request on one of its endpoints.
 *
 * What probes find is stronger: an endpoint that is down has no breaker.
 */
#include "health_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/fleet/fleet.h>

/* What a region's endpoints are, by number. Drained ones and those not up do not count as in play;
 * drained ones count in `open` alone. */
struct tally {
    uint32_t open; /* breakers that are not closed */
    uint32_t all;
    uint32_t in_play;
    uint32_t aside;
    uint32_t hard_in_row; /* of the one in play that has fewest */
    struct breaker_counts counts;
};

static bool is_in_play(const struct view_endpoint *endpoint, const struct target *target)
{
    return !endpoint->drained && target->threshold.state == ENDPOINT_UP &&
           target->breaker.state == BREAKER_CLOSED;
}

static bool is_aside(const struct view_endpoint *endpoint, const struct target *target)
{
    return !endpoint->drained && target->breaker.state != BREAKER_CLOSED;
}

/* Failures in a row; or new connections that could not be made in a row, for an endpoint that still
 * answers on the kept ones costs everybody else a connect timeout. */
static uint32_t hard_in_row(const struct target *target)
{
    uint32_t failures = atomic_load_explicit(&target->live->failures, memory_order_relaxed);
    uint32_t unopened = atomic_load_explicit(&target->live->unopened, memory_order_relaxed);

    return failures > unopened ? failures : unopened;
}

/* ---- windows ---- */

/* What an endpoint counted since this was last asked. */
static struct breaker_counts take_news(struct target *target)
{
    struct endpoint_live *live = target->live;
    struct breaker_counts now = {
        .good = atomic_load_explicit(&live->answered, memory_order_relaxed),
        .failed = atomic_load_explicit(&live->failed, memory_order_relaxed),
        .turned_away = atomic_load_explicit(&live->turned_away, memory_order_relaxed),
    };
    struct breaker_counts news = {.good = now.good - target->seen.good,
                                  .failed = now.failed - target->seen.failed,
                                  .turned_away = now.turned_away - target->seen.turned_away};

    target->seen = now;
    return news;
}

static void forget_window(struct target *target)
{
    target->window = (struct breaker_window){.buckets = {{.second = 0}}};
    atomic_store_explicit(&target->live->failures, 0, memory_order_relaxed);
    atomic_store_explicit(&target->live->unopened, 0, memory_order_relaxed);
    atomic_store_explicit(&target->live->judged_from_ns, loop_now_ns(target->health->loop),
                          memory_order_relaxed);
    (void)take_news(target);
}

static void end_trial(struct target *target)
{
    atomic_store_explicit(&target->live->trial, TRIAL_NONE, memory_order_release);
}

static bool trial_is_taken(const struct target *target)
{
    return atomic_load_explicit(&target->live->trial, memory_order_relaxed) == TRIAL_TAKEN;
}

/* ---- endpoints ---- */

static void tell_fleet(struct target *target, const char *reason)
{
    fleet_set_endpoint_breaker(target->health->fleet, target->live->id, target->breaker.state,
                               reason);
}

static void put_aside(struct target *target, uint64_t now_ns)
{
    const char *reason = hard_in_row(target) >= BREAKER_HARD ? "failures_in_row" : "success_rate";

    breaker_trip(&target->breaker, rng_unit(&target->health->rng), now_ns);
    end_trial(target);
    tell_fleet(target, reason);
}

static void take_back(struct target *target, const char *reason)
{
    breaker_close(&target->breaker);
    end_trial(target);
    forget_window(target);
    tell_fleet(target, reason);
}

void guard_on_state(struct target *target)
{
    if (target->threshold.state != ENDPOINT_UP && target->breaker.state != BREAKER_CLOSED) {
        take_back(target, "down");
    }
    if (target->threshold.state == ENDPOINT_UP) {
        forget_window(target); /* a clean sheet */
    }
}

static void tick_endpoint(struct target *target, uint64_t now_ns)
{
    if (!breaker_tick(&target->breaker, trial_is_taken(target), now_ns)) {
        return;
    }
    if (target->breaker.state == BREAKER_TRIAL) {
        atomic_store_explicit(&target->live->trial, TRIAL_OPEN, memory_order_release);
        tell_fleet(target, "backoff_over");
    } else {
        take_back(target, "not_asked");
    }
}

/* ---- one region ---- */

struct sweep {
    struct health *health;
    const struct view_region *region;
    struct region_guard *guard; /* NULL: no slot was left for the region's name */
    uint32_t index;
    uint64_t now_ns;
};

static struct target *target_at(const struct sweep *sweep, uint32_t index)
{
    return target_find(sweep->health, sweep->region->endpoints[index].live->id);
}

static bool region_is_closed(const struct sweep *sweep)
{
    return sweep->guard == NULL || sweep->guard->breaker.state == BREAKER_CLOSED;
}

static void read_news(const struct sweep *sweep)
{
    for (uint32_t i = 0; i < sweep->region->endpoint_count; i++) {
        struct target *target = target_at(sweep, i);
        struct breaker_counts news;

        if (target == NULL) {
            continue;
        }
        news = take_news(target);
        if (region_is_closed(sweep) && target->breaker.state == BREAKER_CLOSED &&
            (news.good | news.failed | news.turned_away) != 0) {
            breaker_window_add(&target->window, &news, sweep->now_ns);
        }
    }
}

static struct tally tally_of(const struct sweep *sweep)
{
    struct tally tally = {.hard_in_row = UINT32_MAX};

    for (uint32_t i = 0; i < sweep->region->endpoint_count; i++) {
        const struct view_endpoint *endpoint = &sweep->region->endpoints[i];
        const struct target *target = target_at(sweep, i);
        struct breaker_counts counts;

        if (target == NULL) {
            continue;
        }
        tally.open += target->breaker.state != BREAKER_CLOSED;
        if (endpoint->drained) {
            continue;
        }
        tally.all++;
        tally.aside += is_aside(endpoint, target);
        if (!is_in_play(endpoint, target)) {
            continue;
        }
        counts = breaker_window_sum(&target->window, sweep->now_ns);
        tally.in_play++;
        tally.counts.good += counts.good;
        tally.counts.failed += counts.failed;
        if (hard_in_row(target) < tally.hard_in_row) {
            tally.hard_in_row = hard_in_row(target);
        }
    }
    return tally;
}

/* May one more be put aside? */
static bool cap_allows(const struct tally *tally)
{
    return tally->in_play > 1 && 2 * (tally->aside + 1) <= tally->all;
}

static void put_bad_aside(const struct sweep *sweep, struct tally *tally)
{
    for (uint32_t i = 0; i < sweep->region->endpoint_count && cap_allows(tally); i++) {
        struct target *target = target_at(sweep, i);
        struct breaker_counts counts;

        if (target == NULL || !is_in_play(&sweep->region->endpoints[i], target)) {
            continue;
        }
        counts = breaker_window_sum(&target->window, sweep->now_ns);
        if (breaker_endpoint_is_bad(hard_in_row(target), &counts)) {
            put_aside(target, sweep->now_ns);
            tally->in_play--;
            tally->aside++;
        }
    }
}

static struct target *first_due(const struct sweep *sweep)
{
    struct target *first = NULL;

    for (uint32_t i = 0; i < sweep->region->endpoint_count; i++) {
        struct target *target = target_at(sweep, i);

        if (target != NULL && is_aside(&sweep->region->endpoints[i], target) &&
            (first == NULL || target->breaker.until_ns < first->breaker.until_ns)) {
            first = target;
        }
    }
    return first;
}

/* Others went down or away since these were put aside. */
static void take_back_excess(const struct sweep *sweep, struct tally *tally)
{
    while (tally->aside > 0 && (tally->in_play == 0 || 2 * tally->aside > tally->all)) {
        struct target *target = first_due(sweep);

        take_back(target, "needed");
        tally->aside--;
        tally->in_play++;
    }
}

/* ---- a region's own breaker ---- */

static void tell_region(const struct sweep *sweep, const char *reason)
{
    fleet_set_region_breaker(sweep->health->fleet, sweep->index, sweep->guard->breaker.state,
                             reason);
}

static void end_region_trial(const struct sweep *sweep)
{
    struct target *target = target_find(sweep->health, sweep->guard->trial_id);

    if (target != NULL) {
        end_trial(target);
    }
    sweep->guard->trial_id = 0;
}

static void close_region(const struct sweep *sweep, const char *reason)
{
    end_region_trial(sweep);
    breaker_close(&sweep->guard->breaker);
    for (uint32_t i = 0; i < sweep->region->endpoint_count; i++) {
        struct target *target = target_at(sweep, i);

        if (target != NULL) {
            forget_window(target);
        }
    }
    tell_region(sweep, reason);
}

static void trip_region(const struct sweep *sweep, const char *reason)
{
    end_region_trial(sweep);
    breaker_trip(&sweep->guard->breaker, rng_unit(&sweep->health->rng), sweep->now_ns);
    tell_region(sweep, reason);
}

/* The endpoint that takes the region's trial: one in play, any of them. */
static struct target *choose_for_trial(const struct sweep *sweep)
{
    uint32_t count = sweep->region->endpoint_count;
    uint32_t start = (uint32_t)rng_below(&sweep->health->rng, count);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = (start + i) % count;
        struct target *target = target_at(sweep, index);

        if (target != NULL && is_in_play(&sweep->region->endpoints[index], target)) {
            return target;
        }
    }
    return NULL;
}

static bool trial_is_in_play(const struct sweep *sweep)
{
    for (uint32_t i = 0; i < sweep->region->endpoint_count; i++) {
        const struct view_endpoint *endpoint = &sweep->region->endpoints[i];
        const struct target *target = target_at(sweep, i);

        if (target != NULL && endpoint->live->id == sweep->guard->trial_id) {
            return is_in_play(endpoint, target);
        }
    }
    return false;
}

/* The trial's endpoint may have gone down or been drained since: then another one. */
static void keep_region_trial(const struct sweep *sweep)
{
    struct target *target;

    if (trial_is_in_play(sweep)) {
        return;
    }
    end_region_trial(sweep);
    target = choose_for_trial(sweep);
    if (target != NULL) {
        sweep->guard->trial_id = target->live->id;
        atomic_store_explicit(&target->live->trial, TRIAL_OPEN, memory_order_release);
    }
}

static void judge_region(const struct sweep *sweep, const struct tally *tally)
{
    struct region_guard *guard = sweep->guard;
    const struct target *trial;
    enum breaker_state before = guard->breaker.state;

    if (tally->in_play == 0) {
        if (before != BREAKER_CLOSED) {
            close_region(sweep, "down"); /* found by probes: nothing left to try */
        }
        return;
    }
    if (before == BREAKER_CLOSED) {
        if (breaker_region_is_bad(tally->hard_in_row, tally->in_play, &tally->counts)) {
            trip_region(sweep, tally->hard_in_row > 0 ? "failures_in_row" : "success_rate");
        }
        return;
    }
    trial = target_find(sweep->health, guard->trial_id);
    if (breaker_tick(&guard->breaker, trial != NULL && trial_is_taken(trial), sweep->now_ns)) {
        if (guard->breaker.state == BREAKER_CLOSED) {
            close_region(sweep, "not_asked");
            return;
        }
        tell_region(sweep, "backoff_over");
    }
    if (guard->breaker.state == BREAKER_TRIAL) {
        keep_region_trial(sweep);
    }
}

/* ---- all of it ---- */

static uint64_t attempts_ended(const struct view_region *region)
{
    uint64_t ended = 0;

    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        const struct endpoint_live *live = region->endpoints[i].live;

        ended += atomic_load_explicit(&live->answered, memory_order_relaxed) +
                 atomic_load_explicit(&live->failed, memory_order_relaxed) +
                 atomic_load_explicit(&live->turned_away, memory_order_relaxed);
    }
    return ended;
}

/* Nothing was open, and nothing has been heard for as long as a window reaches back: there is
 * nothing to judge. A large fleet is mostly regions that serve nobody from here. */
static bool is_at_rest(const struct sweep *sweep)
{
    struct region_guard *guard = sweep->guard;
    uint64_t heard;

    if (guard == NULL) {
        return false;
    }
    heard = attempts_ended(sweep->region);
    if (heard != guard->heard) {
        guard->heard = heard;
        guard->heard_ns = sweep->now_ns;
    }
    return guard->is_calm && sweep->now_ns - guard->heard_ns > (BREAKER_BUCKETS + 1) * NS_PER_S;
}

static void sweep_region(const struct sweep *sweep)
{
    struct tally tally;

    if (is_at_rest(sweep)) {
        return;
    }
    read_news(sweep);
    tally = tally_of(sweep);
    if (region_is_closed(sweep)) {
        put_bad_aside(sweep, &tally);
    }
    take_back_excess(sweep, &tally);
    if (sweep->guard != NULL) {
        tally = tally_of(sweep); /* those put aside are out of it */
        judge_region(sweep, &tally);
        sweep->guard->is_calm = region_is_closed(sweep) && tally.open == 0;
    }
    for (uint32_t i = 0; region_is_closed(sweep) && i < sweep->region->endpoint_count; i++) {
        struct target *target = target_at(sweep, i);

        if (target != NULL) {
            tick_endpoint(target, sweep->now_ns);
        }
    }
}

static struct sweep sweep_at(struct health *health, const struct view_region *region,
                             uint32_t index)
{
    return (struct sweep){.health = health,
                          .region = region,
                          .guard = region->slot < METRIC_REGIONS_MAX ? &health->guards[region->slot]
                                                                     : NULL,
                          .index = index,
                          .now_ns = loop_now_ns(health->loop)};
}

static void sweep_all(struct health *health)
{
    const struct fleet_view *view = fleet_view_last(health->fleet);

    for (uint32_t i = 0; i < view->region_count; i++) {
        struct sweep sweep = sweep_at(health, &view->regions[i], i);

        sweep_region(&sweep);
    }
}

static void on_tick(struct deadline *deadline, void *arg)
{
    struct health *health = OBJ_CAST(arg, health, HEALTH_MAGIC);

    if (health->conf != NULL) {
        sweep_all(health);
    }
    deadline_set_in_ms(deadline, GUARD_TICK_MS);
}

static void on_end_of_turn(struct loop_task *task, void *arg)
{
    struct health *health = OBJ_CAST(arg, health, HEALTH_MAGIC);

    (void)task;
    sweep_all(health);
}

void guard_start(struct health *health)
{
    deadline_init(&health->guard_tick, health->loop, on_tick, health);
    deadline_set_in_ms(&health->guard_tick, GUARD_TICK_MS);
    loop_task_init(&health->guard_task, on_end_of_turn, health);
}

void guard_stop(struct health *health)
{
    deadline_done(&health->guard_tick);
    loop_task_cancel(&health->guard_task);
}

/* A region of that name that comes again is a new one, to the fleet as well. */
void guard_forget_gone(struct health *health)
{
    const struct fleet_view *view = fleet_view_now(health->fleet);
    uint64_t present = 0;

    for (uint32_t i = 0; i < view->region_count; i++) {
        present |= view->regions[i].slot < METRIC_REGIONS_MAX ? 1ULL << view->regions[i].slot : 0;
    }
    for (unsigned slot = 0; slot < METRIC_REGIONS_MAX; slot++) {
        if ((present & (1ULL << slot)) == 0) {
            health->guards[slot] = (struct region_guard){.trial_id = 0};
        }
    }
}

void guard_hurry(struct health *health)
{
    loop_task_queue(health->loop, &health->guard_task);
}

void guard_on_trial(struct target *target, bool passed)
{
    struct health *health = target->health;
    const struct fleet_view *view = fleet_view_last(health->fleet);
    struct sweep sweep =
        sweep_at(health, &view->regions[target->region_index], target->region_index);

    if (sweep.guard != NULL && sweep.guard->breaker.state == BREAKER_TRIAL &&
        sweep.guard->trial_id == target->live->id) {
        if (passed) {
            close_region(&sweep, "trial_passed");
        } else {
            trip_region(&sweep, "trial_failed");
        }
    } else if (target->breaker.state == BREAKER_TRIAL) {
        if (passed) {
            take_back(target, "trial_passed");
        } else {
            breaker_trip(&target->breaker, rng_unit(&health->rng), sweep.now_ns);
            end_trial(target);
            tell_fleet(target, "trial_failed");
        }
    }
}
