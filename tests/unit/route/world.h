/* SPDX-License-Identifier: MIT */
/*
 * Fleets for route tests, written as text:
 *
 *     "a 10 uu; b 30 ud D; c ? k m=tiny w=0"
 *
 * is region a, 10 ms away, with two endpoints that are up; b with one up and one down, drained; c
 * at unknown distance, not probed yet, serving only the model tiny, at the very start of its slow
 * start. Endpoints: u up, d down, k unknown, x up and drained, f full, t tried, l tried last,
 * T tried and full, o put aside by its breaker, p on trial, q on trial with the permit taken.
 * Regions at 50 ms or less are near; B=o is one that its own breaker has put aside, B=p one on
 * trial (its permit is a p among its endpoints).
 */
#ifndef NEARSIDE_TESTS_ROUTE_WORLD_H
#define NEARSIDE_TESTS_ROUTE_WORLD_H

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/obs/metric.h>
#include <nearside/route/route.h>

#include <stdlib.h>
#include <string.h>

#define WORLD_NOW_NS (1000 * NS_PER_S)

struct world {
    struct conf conf;
    struct conf_region regions[METRIC_REGIONS_MAX];
    struct view_region view_regions[METRIC_REGIONS_MAX];
    char names[METRIC_REGIONS_MAX][16];
    char models[METRIC_REGIONS_MAX][16];
    const char *model_lists[METRIC_REGIONS_MAX][1];
    struct fleet_view view;
    struct route_request request;
};

static inline struct world *world_new(uint32_t region_count)
{
    struct world *world = mem_new(struct world);

    world->conf.region_count = region_count;
    world->conf.regions = world->regions;
    world->view.conf = &world->conf;
    world->view.home = -1;
    world->view.region_count = region_count;
    world->view.regions = world->view_regions;
    world->request.last_region = ROUTE_NOBODY;
    return world;
}

static inline void world_free(struct world *world)
{
    for (uint32_t r = 0; r < world->view.region_count; r++) {
        struct view_region *region = &world->view_regions[r];

        for (uint32_t e = 0; e < region->endpoint_count; e++) {
            atomic_store(&region->endpoints[e].live->inflight, 0);
            atomic_store(&region->endpoints[e].live->pending, 0);
            endpoint_live_unref(region->endpoints[e].live);
        }
        mem_free(region->endpoints);
    }
    mem_free(world);
}

/* Derive what the fleet would: state, usable, counts. */
static inline void world_settle(struct view_region *region)
{
    uint32_t up = 0;
    uint32_t down = 0;

    region->endpoint_up_count = 0;
    for (uint32_t e = 0; e < region->endpoint_count; e++) {
        up += region->endpoints[e].state == ENDPOINT_UP;
        down += region->endpoints[e].state == ENDPOINT_DOWN;
        region->endpoint_up_count +=
            region->endpoints[e].state == ENDPOINT_UP && !region->endpoints[e].drained;
    }
    region->state = up > 0                           ? (down > 0 ? REGION_DEGRADED : REGION_UP)
                    : down == region->endpoint_count ? REGION_DOWN
                                                     : REGION_UNKNOWN;
    region->usable =
        region->endpoint_up_count > 0 && !region->drained && region->breaker == BREAKER_CLOSED;
    region->near = region->latency_known && region->latency_ms <= 50.0;
}

static inline struct view_region *world_region(struct world *world, uint32_t index,
                                               const char *name, double latency_ms,
                                               uint32_t endpoint_count)
{
    struct view_region *region = &world->view_regions[index];

    ASSERT(strlen(name) < sizeof(world->names[index]));
    memcpy(world->names[index], name, strlen(name) + 1);
    world->regions[index].name = world->names[index];
    *region =
        (struct view_region){.name = world->names[index],
                             .slot = index,
                             .conf = &world->regions[index],
                             .latency_known = latency_ms >= 0,
                             .latency_ms = latency_ms,
                             .weight = 1.0F,
                             .endpoint_count = endpoint_count,
                             .endpoints = mem_new_array(endpoint_count, struct view_endpoint)};
    for (uint32_t e = 0; e < endpoint_count; e++) {
        region->endpoints[e].live = endpoint_live_new();
        region->endpoints[e].state = ENDPOINT_UP;
        region->endpoints[e].weight = 1.0F;
        region->endpoints[e].reason = "";
    }
    world_settle(region);
    return region;
}

static inline void world_mark_tried(struct world *world, uint32_t region, uint32_t endpoint,
                                    bool last, uint64_t *last_id)
{
    uint64_t id = world->view_regions[region].endpoints[endpoint].live->id;

    world->request.tried_slots |= UINT64_C(1) << region;
    if (last) {
        *last_id = id;
        world->request.last_region = (int)region;
        return;
    }
    world->request.tried[world->request.tried_count++] = id;
}

static inline void world_set_endpoints(struct world *world, uint32_t index, const char *letters,
                                       uint64_t *last_id)
{
    struct view_region *region = &world->view_regions[index];

    for (uint32_t e = 0; letters[e] != '\0'; e++) {
        struct view_endpoint *endpoint = &region->endpoints[e];
        char letter = letters[e];

        ASSERT(strchr("udkxftlTopq", letter) != NULL);
        endpoint->state = letter == 'd'   ? ENDPOINT_DOWN
                          : letter == 'k' ? ENDPOINT_UNKNOWN
                                          : ENDPOINT_UP;
        endpoint->drained = letter == 'x';
        if (letter == 'o' || letter == 'p' || letter == 'q') {
            endpoint->breaker = letter == 'o' ? BREAKER_OPEN : BREAKER_TRIAL;
            atomic_store(&endpoint->live->trial, letter == 'p'   ? TRIAL_OPEN
                                                 : letter == 'q' ? TRIAL_TAKEN
                                                                 : TRIAL_NONE);
        }
        if (letter == 'f' || letter == 'T') {
            atomic_store(&endpoint->live->full_until_ns, WORLD_NOW_NS + 1);
        }
        if (letter == 't' || letter == 'l' || letter == 'T') {
            world_mark_tried(world, index, e, letter == 'l', last_id);
        }
    }
}

static inline void world_set_option(struct world *world, uint32_t index, const char *option)
{
    struct view_region *region = &world->view_regions[index];

    if (strcmp(option, "D") == 0) {
        region->drained = true;
    } else if (strncmp(option, "m=", 2) == 0) {
        ASSERT(strlen(option + 2) < sizeof(world->models[index]));
        memcpy(world->models[index], option + 2, strlen(option + 2) + 1);
        world->model_lists[index][0] = world->models[index];
        world->regions[index].models = world->model_lists[index];
        world->regions[index].model_count = 1;
    } else if (strncmp(option, "w=", 2) == 0) {
        region->weight = strtof(option + 2, NULL);
    } else if (strcmp(option, "B=o") == 0) {
        region->breaker = BREAKER_OPEN;
    } else if (strcmp(option, "B=p") == 0) {
        region->breaker = BREAKER_TRIAL;
    } else {
        ASSERT_UNREACHABLE("unknown option in a test fleet");
    }
}

static inline uint32_t world_count_regions(const char *text)
{
    uint32_t count = 1;

    for (const char *c = text; *c != '\0'; c++) {
        count += *c == ';';
    }
    return count;
}

static inline int world_find(const struct world *world, const char *name)
{
    for (uint32_t r = 0; r < world->view.region_count; r++) {
        if (strcmp(world->names[r], name) == 0) {
            return (int)r;
        }
    }
    return -1;
}

static inline struct world *world_from(const char *text, const char *home)
{
    struct world *world = world_new(world_count_regions(text));
    char *copy = mem_strdup(text);
    char *rest = copy;
    uint64_t last_id = 0;

    for (uint32_t r = 0; r < world->view.region_count; r++) {
        char *part = strsep(&rest, ";");
        char *word;
        const char *name;
        const char *latency;
        const char *letters;

        part += strspn(part, " ");
        name = strsep(&part, " ");
        latency = strsep(&part, " ");
        letters = strsep(&part, " ");
        letters = strcmp(letters, "-") == 0 ? "" : letters;
        (void)world_region(world, r, name, latency[0] == '?' ? -1 : strtod(latency, NULL),
                           (uint32_t)strlen(letters));
        world_set_endpoints(world, r, letters, &last_id);
        while ((word = strsep(&part, " ")) != NULL) {
            if (word[0] != '\0') {
                world_set_option(world, r, word);
            }
        }
        world_settle(&world->view_regions[r]);
    }
    if (last_id != 0) {
        world->request.tried[world->request.tried_count++] = last_id;
    }
    world->view.home = world_find(world, home);
    mem_free(copy);
    return world;
}

#endif
