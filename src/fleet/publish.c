/* SPDX-License-Identifier: MIT */
/*
 * Views: made in one block, published at most every FLEET_PUBLISH_MS.
 *
 * The first change after a quiet time goes out at the end of the same turn, so that "down" reaches
 * the workers at once; what follows within the pause goes out together at its end.
 *
 *     change ─> end of turn: publish ─> pause 20 ms ─> changed meanwhile? publish, pause again
 */
#include "fleet_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

static void fill_endpoint(struct view_endpoint *out, const struct fleet_region *region,
                          const struct fleet_endpoint *endpoint, uint64_t now_ns)
{
    const struct conf_endpoint *conf = &region->conf->endpoints[endpoint->spec];

    *out = (struct view_endpoint){.live = endpoint_live_ref(endpoint->live),
                                  .addr = endpoint->addr,
                                  .host = conf->host,
                                  .authority = conf->authority,
                                  .port = conf->port,
                                  .tls = endpoint->tls,
                                  .drained = endpoint->drained,
                                  .drained_since_ns = endpoint->drained_since_ns,
                                  .state = endpoint->state,
                                  .breaker = endpoint->breaker,
                                  .weight = fleet_slow_start(endpoint->ramp_since_ns, now_ns),
                                  .since_ns = endpoint->since_ns,
                                  .reason = endpoint->reason[0] != '\0' ? endpoint->reason
                                                                        : endpoint->breaker_reason};
    memcpy(out->address, endpoint->address, sizeof(out->address));
}

static void fill_region(struct view_region *out, const struct fleet_region *region,
                        struct view_endpoint *endpoints, uint64_t now_ns)
{
    *out = (struct view_region){.name = region->conf->name,
                                .slot = region->slot,
                                .conf = region->conf,
                                .state = region->state,
                                .drained = region->drained,
                                .drained_since_ns = region->drained_since_ns,
                                .breaker = region->breaker,
                                .usable = fleet_region_is_usable(region),
                                .latency_known = region->latency_known,
                                .latency_ms = region->latency_ms,
                                .latency_is_prior = region->latency_is_prior,
                                .latency_is_probe = region->latency_is_probe,
                                .near = region->near,
                                .weight = fleet_slow_start(region->ramp_since_ns, now_ns),
                                .since_ns = region->since_ns,
                                .endpoint_count = region->endpoint_count,
                                .endpoints = endpoints,
                                .redis_known = region->redis_known,
                                .redis_addr = region->redis_addr,
                                .redis_up = region->redis_up};
    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        const struct fleet_endpoint *endpoint = region->endpoints[i];

        fill_endpoint(&endpoints[i], region, endpoint, now_ns);
        out->endpoint_up_count += endpoint->state == ENDPOINT_UP && !endpoint->drained;
    }
}

/* View, regions and endpoints in one block, in this order: their alignments only fall. */
static struct fleet_view *make_view(struct fleet *fleet, uint64_t now_ns)
{
    size_t endpoint_count = 0;
    struct fleet_view *view;
    struct view_endpoint *endpoints;

    for (uint32_t i = 0; i < fleet->region_count; i++) {
        endpoint_count += fleet->regions[i].endpoint_count;
    }
    _Static_assert(sizeof(*view) % _Alignof(struct view_region) == 0 &&
                       sizeof(struct view_region) % _Alignof(struct view_endpoint) == 0,
                   "parts of the block are aligned");
    view = mem_zero(1, sizeof(*view) + fleet->region_count * sizeof(struct view_region) +
                           endpoint_count * sizeof(struct view_endpoint));
    atomic_init(&view->refs, 1);
    view->version = ++fleet->version;
    view->roster = fleet->roster;
    view->made_ns = now_ns;
    view->conf = conf_ref(fleet->conf);
    view->home = fleet->home.index;
    view->home_since_ns = fleet->home.since_ns;
    view->region_count = fleet->region_count;
    view->regions = (struct view_region *)(void *)(view + 1);
    endpoints = (struct view_endpoint *)(void *)(view->regions + fleet->region_count);
    for (uint32_t i = 0; i < fleet->region_count; i++) {
        fill_region(&view->regions[i], &fleet->regions[i], endpoints, now_ns);
        endpoints += fleet->regions[i].endpoint_count;
    }
    return view;
}

void fleet_publish_now(struct fleet *fleet)
{
    uint64_t now_ns = loop_now_ns(fleet->loop);

    (void)fleet_derive(fleet, now_ns); /* published whatever moved */
    fleet->dirty = false;
    fleet_view_unref(fleet->view);
    fleet->view = make_view(fleet, now_ns);
    loop_task_cancel(&fleet->publish_task);
    deadline_set_in_ms(&fleet->publish_deadline, FLEET_PUBLISH_MS);
    fleet->publish(fleet->view, fleet->arg);
}

void fleet_touch(struct fleet *fleet)
{
    fleet->dirty = true;
    if (!deadline_is_set(&fleet->publish_deadline)) {
        loop_task_queue(fleet->loop, &fleet->publish_task);
    }
}

static void on_end_of_turn(struct loop_task *task, void *arg)
{
    (void)task;
    fleet_publish_now(OBJ_CAST(arg, fleet, FLEET_MAGIC));
}

static void on_pause_over(struct deadline *deadline, void *arg)
{
    struct fleet *fleet = OBJ_CAST(arg, fleet, FLEET_MAGIC);

    (void)deadline;
    if (fleet->dirty) {
        fleet_publish_now(fleet);
    }
}

static void on_tick(struct deadline *deadline, void *arg)
{
    struct fleet *fleet = OBJ_CAST(arg, fleet, FLEET_MAGIC);

    if (fleet->conf != NULL && fleet_derive(fleet, loop_now_ns(fleet->loop))) {
        fleet_touch(fleet);
    }
    deadline_set_in_ms(deadline, FLEET_TICK_MS);
}

void fleet_publish_init(struct fleet *fleet)
{
    loop_task_init(&fleet->publish_task, on_end_of_turn, fleet);
    deadline_init(&fleet->publish_deadline, fleet->loop, on_pause_over, fleet);
    deadline_init(&fleet->tick, fleet->loop, on_tick, fleet);
    deadline_set_in_ms(&fleet->tick, FLEET_TICK_MS);
}

void fleet_publish_done(struct fleet *fleet)
{
    loop_task_cancel(&fleet->publish_task);
    deadline_done(&fleet->publish_deadline);
    deadline_done(&fleet->tick);
    fleet_view_unref(fleet->view);
    fleet->view = NULL;
}

struct fleet_view *fleet_view_now(struct fleet *fleet)
{
    if (fleet->dirty) {
        fleet_publish_now(fleet);
    }
    return fleet->view;
}

const struct fleet_view *fleet_view_last(const struct fleet *fleet)
{
    return fleet->view;
}
