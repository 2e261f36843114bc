/* SPDX-License-Identifier: MIT */
/* Verdicts on regions, and their sentences. */
#include "choice_private.h"

#include <nearside/base/assert.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/home.h>
#include <nearside/obs/metric.h>

#include <stdio.h>

const char *choice_verdict_word(enum choice_verdict verdict)
{
    static const char *const words[CHOICE_VERDICT_COUNT] = {
        [CHOICE_CHOSEN] = "chosen",
        [CHOICE_DRAINED] = "drained",
        [CHOICE_UNKNOWN] = "unknown",
        [CHOICE_DOWN] = "down",
        [CHOICE_PUT_ASIDE] = "put_aside",
        [CHOICE_NO_ENDPOINT] = "no_endpoint",
        [CHOICE_FAR] = "far",
        [CHOICE_FARTHER] = "farther",
        [CHOICE_NOT_HOME] = "not_home",
    };

    ASSERT(verdict < CHOICE_VERDICT_COUNT);
    return words[verdict];
}

static enum choice_verdict why_unusable(const struct view_region *region)
{
    if (region->drained) {
        return CHOICE_DRAINED;
    }
    if (region->state == REGION_UNKNOWN) {
        return CHOICE_UNKNOWN;
    }
    if (region->state == REGION_DOWN) {
        return CHOICE_DOWN;
    }
    return region->breaker != BREAKER_CLOSED ? CHOICE_PUT_ASIDE : CHOICE_NO_ENDPOINT;
}

enum choice_verdict choice_of(const struct fleet_view *view, uint32_t index)
{
    const struct view_region *region = &view->regions[index];
    const struct view_region *home = view->home == HOME_NONE ? NULL : &view->regions[view->home];

    if (region == home) {
        return CHOICE_CHOSEN;
    }
    if (!region->usable || home == NULL) {
        return why_unusable(region);
    }
    if (home->near && !region->near) {
        return CHOICE_FAR;
    }
    return region->latency_known && home->latency_known && region->latency_ms < home->latency_ms
               ? CHOICE_NOT_HOME
               : CHOICE_FARTHER;
}

/* ---- sentences ---- */

static double margin_of(const struct fleet_view *view, const struct view_region *home)
{
    const struct conf_routing *routing = &view->conf->routing;
    double share = routing->hysteresis_ratio * home->latency_ms;

    return share > routing->hysteresis_ms ? share : routing->hysteresis_ms;
}

/* The closest usable region of home's class, home itself left out; NULL: none that is closer. */
static const struct view_region *closer_than_home(const struct fleet_view *view)
{
    const struct view_region *home = &view->regions[view->home];
    const struct view_region *closest = NULL;
    double least_ms = home->latency_ms;

    for (uint32_t i = 0; i < view->region_count; i++) {
        const struct view_region *region = &view->regions[i];

        if (region->usable && region->near == home->near && region->latency_known &&
            region->latency_ms < least_ms) {
            closest = region;
            least_ms = region->latency_ms;
        }
    }
    return home->latency_known ? closest : NULL;
}

static void why_chosen(const struct fleet_view *view, char out[CHOICE_WHY_LEN])
{
    const struct view_region *home = &view->regions[view->home];
    const struct view_region *closer = closer_than_home(view);

    if (closer != NULL) {
        (void)snprintf(out, CHOICE_WHY_LEN,
                       "it serves already; %s is closer by %.1f ms, not enough to move yet",
                       closer->name, home->latency_ms - closer->latency_ms);
    } else if (!home->latency_known) {
        (void)snprintf(out, CHOICE_WHY_LEN, "it is up, and no path latency is known yet");
    } else if (home->near) {
        (void)snprintf(out, CHOICE_WHY_LEN, "the closest of the near regions that can serve");
    } else {
        (void)snprintf(out, CHOICE_WHY_LEN,
                       "no near region can serve; it is the closest of the far ones");
    }
}

static void why_not_home(const struct fleet_view *view, const struct view_region *region,
                         char out[CHOICE_WHY_LEN])
{
    const struct view_region *home = &view->regions[view->home];
    double by_ms = home->latency_ms - region->latency_ms;
    double margin_ms = margin_of(view, home);

    if (by_ms < margin_ms) {
        (void)snprintf(out, CHOICE_WHY_LEN,
                       "closer than %s by %.1f ms, less than the %.1f ms that it takes to move",
                       home->name, by_ms, margin_ms);
    } else {
        (void)snprintf(out, CHOICE_WHY_LEN,
                       "closer than %s by %.1f ms; a choice is kept for %u s and changes at most "
                       "%d times a minute",
                       home->name, by_ms, view->conf->routing.dwell_s, HOME_CHANGES_PER_MINUTE);
    }
}

static void why_farther(const struct fleet_view *view, const struct view_region *region,
                        char out[CHOICE_WHY_LEN])
{
    const struct view_region *home = &view->regions[view->home];

    if (!region->latency_known || !home->latency_known) {
        (void)snprintf(out, CHOICE_WHY_LEN, "its path latency is not known yet");
        return;
    }
    (void)snprintf(out, CHOICE_WHY_LEN, "%.*f ms farther than %s",
                   region->latency_ms - home->latency_ms < 1 ? 2 : 1,
                   region->latency_ms - home->latency_ms, home->name);
}

void choice_why(const struct fleet_view *view, uint32_t index, char out[CHOICE_WHY_LEN])
{
    static const char *const sentences[CHOICE_VERDICT_COUNT] = {
        [CHOICE_DRAINED] = "drained by an operator",
        [CHOICE_UNKNOWN] = "not probed yet",
        [CHOICE_DOWN] = "none of its pods is up",
        [CHOICE_PUT_ASIDE] = "put aside: too many real requests failed there",
        [CHOICE_NO_ENDPOINT] = "no pod that is up may take requests",
    };
    const struct view_region *region = &view->regions[index];
    enum choice_verdict verdict = choice_of(view, index);

    switch (verdict) {
    case CHOICE_CHOSEN:
        why_chosen(view, out);
        return;
    case CHOICE_FAR:
        (void)snprintf(out, CHOICE_WHY_LEN, "over the budget of %g ms, and a near region serves",
                       view->conf->routing.latency_budget_ms);
        return;
    case CHOICE_FARTHER:
        why_farther(view, region, out);
        return;
    case CHOICE_NOT_HOME:
        why_not_home(view, region, out);
        return;
    default:
        (void)snprintf(out, CHOICE_WHY_LEN, "%s", sentences[verdict]);
        return;
    }
}

/* ---- what would be ---- */

int choice_next(const struct fleet_view *view)
{
    struct home_candidate candidates[METRIC_REGIONS_MAX];
    struct home_choice none = {.index = HOME_NONE};
    struct home_rules rules = {.budget_ms = view->conf->routing.latency_budget_ms};

    ASSERT(view->region_count <= METRIC_REGIONS_MAX);
    for (uint32_t i = 0; i < view->region_count; i++) {
        const struct view_region *region = &view->regions[i];

        candidates[i] =
            (struct home_candidate){.usable = region->usable && (int)i != view->home,
                                    .known = region->latency_known,
                                    .latency_ms = region->latency_known ? region->latency_ms : 0,
                                    .near = region->near};
    }
    return home_choose(candidates, view->region_count, none, &rules, 1).index;
}
