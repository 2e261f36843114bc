/* SPDX-License-Identifier: MIT */
/*
 * What one route_pick() costs, in nanoseconds, as the fleet grows. Not a test; for a quiet machine.
 * It must not grow with the number of endpoints beyond 64 a region, nor much with regions.
 *
 *   make bench-micro
 */
#include "unit/route/world.h"

#include <stdio.h>
#include <time.h>

#define PICKS  1000000
#define ROUNDS 5

struct size {
    uint32_t regions;
    uint32_t endpoints;
};

/* CPU time: others on the machine are not counted. */
static uint64_t cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static struct world *make_world(const struct size *size)
{
    struct world *world = world_new(size->regions);

    for (uint32_t r = 0; r < size->regions; r++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "region-%u", r);
        (void)world_region(world, r, name, 10.0 + 7.0 * r, size->endpoints);
    }
    world->view.home = 0;
    return world;
}

/* Requests stay for a while, so that endpoints differ in load. */
static double measure(struct world *world, uint64_t *ret_sum)
{
    enum { HELD = 1024 };
    static struct endpoint_live *held[HELD];
    struct rng rng;
    uint64_t start_ns;
    uint64_t end_ns;

    rng_init_seed(&rng, 1);
    memset((void *)held, 0, sizeof(held));
    start_ns = cpu_ns();
    for (uint32_t i = 0; i < PICKS; i++) {
        struct route_choice choice = route_pick(&world->view, &world->request, WORLD_NOW_NS, &rng);
        struct endpoint_live **place = &held[i % HELD];

        if (*place != NULL) {
            atomic_fetch_sub_explicit(&(*place)->inflight, 1, memory_order_relaxed);
        }
        *place = world->view_regions[choice.region].endpoints[choice.endpoint].live;
        atomic_fetch_add_explicit(&(*place)->inflight, 1, memory_order_relaxed);
        *ret_sum += (uint64_t)choice.endpoint;
    }
    end_ns = cpu_ns();
    return (double)(end_ns - start_ns) / PICKS;
}

static double best_of_rounds(const struct size *size, enum conf_balance balance)
{
    double best_ns = 1e12;
    uint64_t sum = 0;

    for (int round = 0; round < ROUNDS; round++) {
        struct world *world = make_world(size);
        double ns;

        world->conf.routing.balance = balance;
        ns = measure(world, &sum);
        best_ns = ns < best_ns ? ns : best_ns;
        world_free(world);
    }
    return sum == UINT64_MAX ? 0 : best_ns; /* the sum keeps the picks from being left out */
}

int main(void)
{
    static const struct size sizes[] = {{2, 2}, {4, 8}, {2, 16}, {4, 64}, {16, 64}, {16, 256}};

    (void)printf("%8s %10s %18s %18s\n", "regions", "endpoints", "least_pending ns",
                 "round_robin ns");
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        (void)printf("%8u %10u %18.0f %18.0f\n", sizes[i].regions, sizes[i].endpoints,
                     best_of_rounds(&sizes[i], CONF_BALANCE_LEAST_PENDING),
                     best_of_rounds(&sizes[i], CONF_BALANCE_ROUND_ROBIN));
    }
    return 0;
}
