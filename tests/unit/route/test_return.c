/* SPDX-License-Identifier: MIT */
/*
 * A pod comes back among busy peers: choice by choice on a simulated clock, with the answers' times
 * of a large model. Prompts must not be heaped on the one that looks idle.
 */
#include <nearside/base/assert.h>
#include <nearside/base/rng.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/route/world.h"

#include <math.h>

#define PEERS         4
#define BACK          PEERS /* the index of the one that comes back */
#define REQUESTS_PS   100
#define FIRST_BYTE_MS 3000
#define WHOLE_MS      5000
#define WARM_MS       10000
#define RAMP_MS       30000
#define SLACK         2 /* requests: a share of a small number is not exact */

struct flight {
    uint32_t endpoint; /* plus one; 0: none */
};

struct scene {
    struct world *world;
    struct rng rng;
    uint64_t now_ms;
    struct flight begun[WARM_MS + RAMP_MS + WHOLE_MS]; /* by the ms it began in */
    double worst; /* how far the one that came back was over its weight's part of 1.5 times its
                     peers' mean */
};

static struct endpoint_live *live_at(const struct scene *scene, uint32_t index)
{
    return scene->world->view_regions[0].endpoints[index].live;
}

static void end_what_is_due(struct scene *scene)
{
    uint64_t now = scene->now_ms;

    if (now >= FIRST_BYTE_MS && scene->begun[now - FIRST_BYTE_MS].endpoint > 0) {
        struct endpoint_live *live = live_at(scene, scene->begun[now - FIRST_BYTE_MS].endpoint - 1);

        atomic_fetch_sub(&live->pending, 1);
    }
    if (now >= WHOLE_MS && scene->begun[now - WHOLE_MS].endpoint > 0) {
        atomic_fetch_sub(&live_at(scene, scene->begun[now - WHOLE_MS].endpoint - 1)->inflight, 1);
    }
}

static void begin_one(struct scene *scene)
{
    struct route_choice choice = route_pick(&scene->world->view, &scene->world->request,
                                            scene->now_ms * NS_PER_MS, &scene->rng);

    assert_true(choice.endpoint >= 0);
    atomic_fetch_add(&live_at(scene, (uint32_t)choice.endpoint)->pending, 1);
    atomic_fetch_add(&live_at(scene, (uint32_t)choice.endpoint)->inflight, 1);
    scene->begun[scene->now_ms].endpoint = (uint32_t)choice.endpoint + 1;
}

static void look(struct scene *scene)
{
    double peers = 0;
    double over;

    for (uint32_t i = 0; i < PEERS; i++) {
        peers += (double)atomic_load(&live_at(scene, i)->inflight) / PEERS;
    }
    over = (double)atomic_load(&live_at(scene, BACK)->inflight) -
           1.5 * peers * (double)scene->world->view_regions[0].endpoints[BACK].weight;
    scene->worst = fmax(scene->worst, over);
}

static void run(struct scene *scene, uint64_t until_ms, bool ramps)
{
    struct view_endpoint *back = &scene->world->view_regions[0].endpoints[BACK];
    uint64_t start_ms = scene->now_ms;

    for (; scene->now_ms < until_ms; scene->now_ms++) {
        double share = (double)(scene->now_ms - start_ms) / RAMP_MS;

        back->weight = ramps ? (float)fmax(0.1, fmin(1.0, share)) : 1.0F;
        end_what_is_due(scene);
        if (scene->now_ms % (1000 / REQUESTS_PS) == 0) {
            begin_one(scene);
        }
        if (ramps) {
            look(scene);
        }
    }
}

static void check_return(enum conf_balance balance)
{
    struct scene *scene = mem_new(struct scene);
    uint32_t turns[METRIC_REGIONS_MAX] = {0};
    struct view_region *region;

    scene->world = world_from("a 10 uuuud", "a");
    scene->world->conf.routing.balance = balance;
    scene->world->request.turns = turns;
    rng_init_seed(&scene->rng, 7);
    run(scene, WARM_MS, false);
    region = &scene->world->view_regions[0];
    region->endpoints[BACK].state = ENDPOINT_UP;
    world_settle(region);
    run(scene, WARM_MS + RAMP_MS, true);
    assert_true(scene->worst <= SLACK);
    /* And it does its share in the end. */
    assert_true(atomic_load(&live_at(scene, BACK)->inflight) > 50);
    world_free(scene->world);
    mem_free(scene);
}

static void test_least_pending_heaps_nothing_on_a_pod_that_came_back(void **state)
{
    (void)state;
    check_return(CONF_BALANCE_LEAST_PENDING);
}

static void test_round_robin_heaps_nothing_on_a_pod_that_came_back(void **state)
{
    (void)state;
    check_return(CONF_BALANCE_ROUND_ROBIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least_pending_heaps_nothing_on_a_pod_that_came_back),
        cmocka_unit_test(test_round_robin_heaps_nothing_on_a_pod_that_came_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
