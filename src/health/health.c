/* SPDX-License-Identifier: MIT */
/*
 * Health as a whole: which targets, lookups, Redis watches and load pages there are.
 *
 * They follow the fleet's view. Whoever changes the set of endpoints (a config, an answer of DNS)
 * calls health_sync() after it; what carries the sync's generation stays, the rest ends.
 */
#include "health_private.h"
#include "shared_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/fleet/fleet.h>
#include <nearside/net/tls_ctx.h>

#define JITTER_RATIO 0.1

struct health *health_new(struct loop *loop, struct fleet *fleet, struct resolver *resolver,
                          struct metric_block *metrics)
{
    struct health *health = mem_new(struct health);

    health->magic = HEALTH_MAGIC;
    health->loop = loop;
    health->fleet = fleet;
    health->resolver = resolver;
    health->metrics = metrics;
    rng_init(&health->rng);
    table_init(&health->targets);
    list_init(&health->target_list);
    list_init(&health->lookups);
    list_init(&health->redis_watches);
    load_reports_init(&health->loads);
    health->shared = shared_new(health);
    guard_start(health);
    return health;
}

uint64_t health_jitter_ms(struct health *health, uint64_t ms)
{
    double factor = 1.0 - JITTER_RATIO + 2.0 * JITTER_RATIO * rng_unit(&health->rng);

    return (uint64_t)((double)ms * factor);
}

void health_quicken(struct health *health, struct deadline *deadline, uint64_t ms)
{
    uint64_t furthest_ms = (uint64_t)((double)ms * (1.0 + JITTER_RATIO)) + 1;

    if (deadline_is_set(deadline) &&
        deadline->due_ns > loop_now_ns(health->loop) + furthest_ms * NS_PER_MS) {
        deadline_set_in_ms(deadline, rng_below(&health->rng, ms));
    }
}

void health_know_warm(struct health *health,
                      bool (*is_warm)(const char *region, const char *address, void *arg),
                      void *arg)
{
    health->is_warm = is_warm;
    health->is_warm_arg = arg;
}

void health_set_silent(struct health *health, bool silent)
{
    shared_set_silent(health->shared, silent);
}

/* ---- targets ---- */

static void follow_region(struct health *health, const struct view_region *region, uint32_t index)
{
    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        const struct view_endpoint *endpoint = &region->endpoints[i];
        struct target *target = target_find(health, endpoint->live->id);

        if (target == NULL) {
            target = target_new(health, endpoint);
            target->is_warm = health->is_warm != NULL &&
                              health->is_warm(region->name, endpoint->address, health->is_warm_arg);
        }
        target_update(target, endpoint, region->conf, index, region->slot);
        target->generation = health->generation;
    }
}

void health_sync(struct health *health)
{
    const struct fleet_view *view = fleet_view_now(health->fleet);
    struct list *item;
    struct list *after;

    ASSERT(view->conf == health->conf);
    health->generation++;
    for (uint32_t i = 0; i < view->region_count; i++) {
        follow_region(health, &view->regions[i], i);
    }
    LIST_FOREACH_SAFE (item, after, &health->target_list) {
        struct target *target = LIST_ITEM(item, struct target, link);

        if (target->generation != health->generation) {
            target_free(target);
        }
    }
    load_watch_sync(health);
}

const struct load_reports *health_loads(const struct health *health)
{
    return &health->loads;
}

/* ---- configs ---- */

static struct tls_ctx **ref_all(struct tls_ctx *const *contexts, uint32_t count)
{
    struct tls_ctx **refs = mem_new_array(count, struct tls_ctx *);

    for (uint32_t i = 0; i < count; i++) {
        refs[i] = contexts[i] == NULL ? NULL : tls_ctx_ref(contexts[i]);
    }
    return refs;
}

static void unref_all(struct tls_ctx **refs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        tls_ctx_unref(refs[i]);
    }
    mem_free(refs);
}

/* The old config goes last: until health_sync() targets point into it. */
void health_apply(struct health *health, struct conf *conf, struct tls_ctx *const *region_tls)
{
    struct conf *old_conf = health->conf;
    struct tls_ctx **old_tls = health->region_tls;

    ASSERT(loop_is_home(health->loop));
    health->conf = conf_ref(conf);
    health->region_tls = ref_all(region_tls, conf->region_count);
    discovery_sync(health);
    health_sync(health);
    guard_forget_gone(health);
    redis_watch_sync(health);
    shared_sync(health->shared);
    if (old_conf != NULL) {
        unref_all(old_tls, old_conf->region_count);
        conf_unref(old_conf);
    }
}

/* Behind every report that is still on its way. */
static void on_ending(struct loop_message *message, void *arg)
{
    struct health *health = OBJ_CAST(arg, health, HEALTH_MAGIC);

    (void)message;
    health->magic = 0;
    mem_free(health);
}

void health_free(struct health *health)
{
    struct list *first;

    if (health == NULL) {
        return;
    }
    guard_stop(health);
    load_watch_stop(health);
    redis_watch_stop(health);
    shared_free(health->shared);
    discovery_stop(health);
    while ((first = list_first(&health->target_list)) != NULL) {
        target_free(LIST_ITEM(first, struct target, link));
    }
    table_done(&health->targets);
    if (health->conf != NULL) {
        unref_all(health->region_tls, health->conf->region_count);
        conf_unref(health->conf);
    }
    health->ended = true;
    loop_post(health->loop, &health->ending, on_ending, health);
}
