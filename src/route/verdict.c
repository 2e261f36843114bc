/* SPDX-License-Identifier: MIT */
/*
 * Why a region was not chosen: the choice's rules (route.c) read backwards, for one region, after
 * the fact. Nothing of the choice is recorded while it is made, so explaining costs nothing until
 * somebody keeps the explanation.
 */
#include "route_private.h"

#include <nearside/base/assert.h>
#include <nearside/obs/metric.h>

const char *route_verdict_word(enum route_verdict verdict)
{
    static const char *const words[ROUTE_VERDICT_COUNT] = {
#define X(suffix, word, why) [ROUTE_VERDICT_##suffix] = word,
        ROUTE_VERDICTS(X)
#undef X
    };

    ASSERT(verdict < ROUTE_VERDICT_COUNT);
    return words[verdict];
}

const char *route_verdict_why(enum route_verdict verdict)
{
    static const char *const sentences[ROUTE_VERDICT_COUNT] = {
#define X(suffix, word, why) [ROUTE_VERDICT_##suffix] = why,
        ROUTE_VERDICTS(X)
#undef X
    };

    ASSERT(verdict < ROUTE_VERDICT_COUNT);
    return sentences[verdict];
}

bool route_list_names(struct str list, const char *name)
{
    struct str item;
    bool any = false;

    while (str_next_item(&list, ',', &item)) {
        any = true;
        if (str_eq(item, str_of(name))) {
            return true;
        }
    }
    return !any;
}

bool route_list_serves(const struct conf_region *conf, struct str model)
{
    for (uint32_t i = 0; i < conf->model_count; i++) {
        if (str_eq(model, str_of(conf->models[i]))) {
            return true;
        }
    }
    return false;
}

/* By slot, not by a walk over its endpoints: this runs for each region and request. */
static bool was_tried(const struct route_request *request, const struct view_region *region)
{
    return region->slot < METRIC_REGIONS_MAX && (request->tried_slots >> region->slot & 1) != 0;
}

static enum route_verdict unusable_because(const struct view_region *region)
{
    switch (region->state) {
    case REGION_UNKNOWN:
        return ROUTE_VERDICT_UNKNOWN;
    case REGION_DOWN:
        return ROUTE_VERDICT_DOWN;
    default:
        return ROUTE_VERDICT_NO_ENDPOINT;
    }
}

/* It could have served as well as the chosen one: what put that one first? */
static enum route_verdict compare(const struct fleet_view *view, const struct view_region *region,
                                  const struct route_choice *choice)
{
    const struct view_region *chosen = &view->regions[choice->region];
    bool closer = route_cost_ms(region) < route_cost_ms(chosen);

    if (region->near != chosen->near) {
        closer = region->near;
        if (!closer) {
            return ROUTE_VERDICT_FAR;
        }
    } else if (choice->region == view->home) {
        return closer ? ROUTE_VERDICT_NOT_HOME : ROUTE_VERDICT_FARTHER;
    } else if (region == &view->regions[view->home < 0 ? choice->region : view->home]) {
        closer = true; /* home goes first within its class */
    }
    if (!closer) {
        return ROUTE_VERDICT_FARTHER;
    }
    return choice->reason == ROUTE_SLOW_START && region->weight < 1.0F ? ROUTE_VERDICT_SLOW_START
                                                                       : ROUTE_VERDICT_FULL;
}

enum route_verdict route_judge(const struct fleet_view *view, const struct route_request *request,
                               const struct route_choice *choice, uint32_t index)
{
    const struct view_region *region = &view->regions[index];

    ASSERT(index < view->region_count);
    if ((int)index == choice->region) {
        return ROUTE_VERDICT_CHOSEN;
    }
    if (!route_names_region(request, region)) {
        return ROUTE_VERDICT_NOT_ALLOWED;
    }
    if (!route_serves_model(request, region)) {
        return ROUTE_VERDICT_NO_MODEL;
    }
    if (region->drained) {
        return ROUTE_VERDICT_DRAINED;
    }
    if (was_tried(request, region)) {
        return ROUTE_VERDICT_TRIED;
    }
    if (!region->usable) {
        return unusable_because(region);
    }
    return choice->region == ROUTE_NOBODY ? ROUTE_VERDICT_FULL : compare(view, region, choice);
}
