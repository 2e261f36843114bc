/* SPDX-License-Identifier: MIT */
/*
 * What follows from a region's endpoints: its state, path latency and class, and from all regions
 * together the home.
 *
 * A region's path latency is the lower median over its endpoints that are up: one slow or distant
 * endpoint does not speak for the region. With none up, the last figure stays (panic needs it).
 */
#include "fleet_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/obs/log.h>
#include <nearside/obs/metric.h>

#include <math.h>
#include <stdlib.h>

#define SLOW_START_LEAST 0.1

/* A latency that moved by less than this since it was published is not published for its own. */
#define NOTABLE_MS    0.05
#define NOTABLE_RATIO 0.01

/* ---- state ---- */

struct tally {
    uint32_t all;
    uint32_t up;
    uint32_t down;
};

static struct tally tally_of(const struct fleet_region *region, bool with_drained)
{
    struct tally tally = {.all = 0};

    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        const struct fleet_endpoint *endpoint = region->endpoints[i];

        if (endpoint->drained && !with_drained) {
            continue;
        }
        tally.all++;
        tally.up += endpoint->state == ENDPOINT_UP;
        tally.down += endpoint->state == ENDPOINT_DOWN;
    }
    return tally;
}

static bool all_answered(const struct fleet_region *region)
{
    for (uint32_t i = 0; i < region->conf->endpoint_count; i++) {
        if (!region->answered[i]) {
            return false;
        }
    }
    return true;
}

/* Endpoints without a verdict neither help nor harm: a region is not down before every one of its
 * endpoints has been found down, and does not come back from down by a new one's mere arrival. */
static enum region_state state_of(const struct fleet_region *region)
{
    struct tally tally = tally_of(region, false);
    bool undecided;

    if (tally.all == 0) {
        tally = tally_of(region, true); /* all drained: what was measured stands */
    }
    if (tally.up > 0) {
        return tally.down > 0 ? REGION_DEGRADED : REGION_UP;
    }
    undecided = tally.all == 0 ? !all_answered(region) : tally.down < tally.all;
    return undecided && region->state != REGION_DOWN ? REGION_UNKNOWN : REGION_DOWN;
}

static const char *state_event(enum region_state state)
{
    static const char *const events[REGION_STATE_COUNT] = {
        [REGION_UNKNOWN] = "region_unknown",
        [REGION_UP] = "region_up",
        [REGION_DEGRADED] = "region_degraded",
        [REGION_DOWN] = "region_down",
    };

    return events[state];
}

void fleet_region_recount(struct fleet *fleet, struct fleet_region *region, const char *reason)
{
    enum region_state before = region->state;
    enum region_state after = state_of(region);
    struct tally tally = tally_of(region, false);
    uint64_t now_ns = loop_now_ns(fleet->loop);

    if (before == after) {
        return;
    }
    if (before == REGION_DOWN) {
        region->ramp_since_ns = now_ns;
    } else if (after == REGION_DOWN) {
        region->ramp_since_ns = 0;
    }
    region->state = after;
    region->since_ns = now_ns;
    log_info(state_event(after), "region=%s from=%s reason=%s up=%u of=%u", region->name,
             region_state_word(before), reason, tally.up, tally.all);
    fleet_event_add(fleet, &(struct fleet_change){.kind = "region_state",
                                                  .region = region->name,
                                                  .from = region_state_word(before),
                                                  .to = region_state_word(after),
                                                  .reason = reason});
}

bool fleet_region_is_usable(const struct fleet_region *region)
{
    return !region->drained && region->breaker == BREAKER_CLOSED && tally_of(region, false).up > 0;
}

float fleet_slow_start(uint64_t ramp_since_ns, uint64_t now_ns)
{
    double share;

    if (ramp_since_ns == 0) {
        return 1.0F;
    }
    share = (double)(now_ns - ramp_since_ns) / (double)(FLEET_SLOW_START_MS * NS_PER_MS);
    return (float)fmin(1.0, fmax(SLOW_START_LEAST, share));
}

/* ---- path latency and class ---- */

struct figure {
    double ms;
    bool is_probe;
};

static int by_ms(const void *a, const void *b)
{
    const struct figure *left = a;
    const struct figure *right = b;

    return (left->ms > right->ms) - (left->ms < right->ms);
}

static uint32_t collect(const struct fleet_region *region, bool up_only, uint64_t now_ns,
                        struct figure *figures)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        const struct fleet_endpoint *endpoint = region->endpoints[i];
        enum latency_source source;

        if (up_only && endpoint->state != ENDPOINT_UP) {
            continue;
        }
        if (latency_get(&endpoint->latency, now_ns, &figures[count].ms, &source)) {
            figures[count].is_probe = source == LATENCY_PROBE;
            count++;
        }
    }
    return count;
}

/* True when it moved notably. */
static bool derive_latency(struct fleet_region *region, uint64_t now_ns)
{
    struct figure figures[FLEET_ENDPOINTS_MAX];
    uint32_t count = collect(region, true, now_ns, figures);
    struct figure median;
    bool moved;

    if (count == 0 && (!region->latency_known || region->latency_is_prior)) {
        count = collect(region, false, now_ns, figures);
    }
    if (count == 0) {
        return false;
    }
    qsort(figures, count, sizeof(figures[0]), by_ms);
    median = figures[(count - 1) / 2];
    moved =
        !region->latency_known || region->latency_is_prior ||
        region->latency_is_probe != median.is_probe ||
        fabs(median.ms - region->latency_ms) > fmax(NOTABLE_MS, NOTABLE_RATIO * region->latency_ms);
    if (moved) {
        region->latency_known = true;
        region->latency_ms = median.ms;
        region->latency_is_probe = median.is_probe;
        region->latency_is_prior = false;
    }
    return moved;
}

void fleet_set_prior_latency(struct fleet *fleet, uint32_t region_index, double ms)
{
    struct fleet_region *region = &fleet->regions[region_index];

    ASSERT(region_index < fleet->region_count);
    if (!region->latency_known || (region->latency_is_prior && region->latency_ms != ms)) {
        region->latency_known = true;
        region->latency_is_prior = true;
        region->latency_ms = ms;
        fleet_touch(fleet);
    }
}

static bool derive_class(struct fleet *fleet, struct fleet_region *region)
{
    double budget_ms = fleet->conf->routing.latency_budget_ms;
    bool near = home_class(region->near, region->had_class, region->latency_known,
                           region->latency_ms, budget_ms);
    bool changed = region->latency_known && (!region->had_class || near != region->near);

    if (changed) {
        const char *from = !region->had_class ? "unknown" : region->near ? "near" : "far";

        log_info(near ? "region_near" : "region_far", "region=%s latency_ms=%.1f budget_ms=%.1f",
                 region->name, region->latency_ms, budget_ms);
        fleet_event_add(fleet, &(struct fleet_change){.kind = "region_class",
                                                      .region = region->name,
                                                      .from = from,
                                                      .to = near ? "near" : "far",
                                                      .reason = "path_latency"});
    }
    region->near = near;
    region->had_class = region->latency_known;
    return changed;
}

/* ---- home ---- */

static const char *region_name_at(const struct fleet *fleet, int index)
{
    return index == HOME_NONE ? "none" : fleet->regions[index].name;
}

static const char *why_home_changed(const struct fleet *fleet, int from, int to)
{
    const struct fleet_region *left = from == HOME_NONE ? NULL : &fleet->regions[from];

    if (left == NULL) {
        return "first_usable";
    }
    if (left->drained) {
        return "drained";
    }
    if (!fleet_region_is_usable(left)) {
        return left->breaker == BREAKER_CLOSED ? "down" : "put_aside";
    }
    return to != HOME_NONE && fleet->regions[to].near && !left->near ? "near_again" : "closer";
}

static bool elect_home(struct fleet *fleet, uint64_t now_ns)
{
    struct home_candidate candidates[METRIC_REGIONS_MAX];
    const struct conf_routing *routing = &fleet->conf->routing;
    bool settled = now_ns - fleet->started_ns > FLEET_SETTLE_MS * NS_PER_MS;
    struct home_rules rules = {.budget_ms = routing->latency_budget_ms,
                               .hysteresis_ms = routing->hysteresis_ms,
                               .hysteresis_ratio = routing->hysteresis_ratio,
                               .dwell_ns = settled ? routing->dwell_s * NS_PER_S : 0};
    struct home_choice before = fleet->home;
    const char *reason;

    for (uint32_t i = 0; i < fleet->region_count; i++) {
        const struct fleet_region *region = &fleet->regions[i];

        candidates[i] = (struct home_candidate){.usable = fleet_region_is_usable(region),
                                                .known = region->latency_known,
                                                .latency_ms = region->latency_ms,
                                                .near = region->near};
    }
    fleet->home = home_choose(candidates, fleet->region_count, before, &rules, now_ns);
    if (fleet->home.index == before.index) {
        return false;
    }
    reason = why_home_changed(fleet, before.index, fleet->home.index);
    log_info("home_changed", "from=%s to=%s reason=%s", region_name_at(fleet, before.index),
             region_name_at(fleet, fleet->home.index), reason);
    fleet_event_add(fleet,
                    &(struct fleet_change){.kind = "home",
                                           .region = fleet->home.index == HOME_NONE
                                                         ? ""
                                                         : region_name_at(fleet, fleet->home.index),
                                           .from = region_name_at(fleet, before.index),
                                           .to = region_name_at(fleet, fleet->home.index),
                                           .reason = reason});
    return true;
}

/* Ends slow starts that are over. True while one goes on. */
static bool derive_ramps(struct fleet_region *region, uint64_t now_ns)
{
    bool ramping = false;

    if (region->ramp_since_ns != 0) {
        ramping = true;
        region->ramp_since_ns =
            fleet_slow_start(region->ramp_since_ns, now_ns) < 1.0F ? region->ramp_since_ns : 0;
    }
    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        struct fleet_endpoint *endpoint = region->endpoints[i];

        if (endpoint->ramp_since_ns != 0) {
            ramping = true;
            endpoint->ramp_since_ns = fleet_slow_start(endpoint->ramp_since_ns, now_ns) < 1.0F
                                          ? endpoint->ramp_since_ns
                                          : 0;
        }
    }
    return ramping;
}

bool fleet_derive(struct fleet *fleet, uint64_t now_ns)
{
    bool moved = false;

    for (uint32_t i = 0; i < fleet->region_count; i++) {
        moved |= derive_latency(&fleet->regions[i], now_ns);
        moved |= derive_class(fleet, &fleet->regions[i]);
        moved |= derive_ramps(&fleet->regions[i], now_ns);
    }
    moved |= elect_home(fleet, now_ns);
    return moved;
}
