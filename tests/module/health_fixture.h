/* SPDX-License-Identifier: MIT */
/*
 * Health with its fleet on a real loop, and pods on loopback for it to watch. Include after
 * <cmocka.h>.
 */
#ifndef NEARSIDE_TESTS_MODULE_HEALTH_FIXTURE_H
#define NEARSIDE_TESTS_MODULE_HEALTH_FIXTURE_H

#include <nearside/base/addr.h>
#include <nearside/dns/resolver.h>
#include <nearside/fleet/fleet.h>
#include <nearside/health/health.h>
#include <nearside/obs/metric.h>

#include "module/conf_text.h"
#include "module/fake_pod.h"
#include "module/waiter.h"

#define HEALTH_PODS 4

/* Quick enough for tests, slow enough for sanitizers. */
#define QUICK "health = { interval_ms = 60; fast_interval_ms = 30; timeout_ms = 150; };"

struct fixture {
    struct loop *loop;
    struct fleet *fleet;
    struct resolver *resolver;
    struct metric_block *metrics;
    struct health *health;
    struct waiter waiter;
    uint64_t until_ns;
    struct pod pods[HEALTH_PODS];
};

static inline void on_published(struct fleet_view *view, void *arg)
{
    (void)view;
    (void)arg;
}

static inline void run_until(struct fixture *fixture, bool (*is_reached)(struct fixture *fixture))
{
    waiter_run_until(&fixture->waiter, is_reached);
}

static inline bool is_late(struct fixture *fixture)
{
    return clock_mono_ns() >= fixture->until_ns;
}

static inline void run_ms(struct fixture *fixture, uint64_t ms)
{
    fixture->until_ns = clock_mono_ns() + ms * NS_PER_MS;
    run_until(fixture, is_late);
}

static inline int setup(void **state)
{
    struct fixture *fixture = mem_new(struct fixture);
    struct errbuf err;

    fixture->loop = loop_new("test");
    fixture->fleet = fleet_new(fixture->loop, on_published, fixture);
    assert_int_equal(resolver_new(fixture->loop, &fixture->resolver, &err), STATUS_OK);
    fixture->metrics = metric_block_new();
    fixture->health =
        health_new(fixture->loop, fixture->fleet, fixture->resolver, fixture->metrics);
    waiter_init(&fixture->waiter, fixture->loop, fixture);
    for (int i = 0; i < HEALTH_PODS; i++) {
        pod_start(&fixture->pods[i], fixture->loop);
    }
    *state = fixture;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *fixture = *state;

    health_free(fixture->health);
    resolver_free(fixture->resolver);
    fleet_free(fixture->fleet);
    for (int i = 0; i < HEALTH_PODS; i++) {
        pod_kill(&fixture->pods[i]);
    }
    run_ms(fixture, 1);
    waiter_done(&fixture->waiter);
    loop_free(fixture->loop);
    mem_free(fixture);
    return 0;
}

static inline void apply_text(struct fixture *fixture, const char *regions, const char *rest)
{
    struct conf *conf = conf_from_text(regions, rest);
    struct tls_ctx *none[2] = {NULL};

    fleet_apply(fixture->fleet, conf);
    health_apply(fixture->health, conf, none);
    conf_unref(conf);
}

/* One region with the first pod, or with both. */
static inline void apply_pods(struct fixture *fixture, int count, const char *rest)
{
    char regions[512];

    (void)snprintf(regions, sizeof(regions),
                   count == 1 ? "{ name = \"a\"; endpoints = [ \"http://127.0.0.1:%u\" ]; }"
                              : "{ name = \"a\"; endpoints = [ \"http://127.0.0.1:%u\" ]; },"
                                "{ name = \"b\"; endpoints = [ \"http://127.0.0.1:%u\" ]; }",
                   fixture->pods[0].port, fixture->pods[1].port);
    apply_text(fixture, regions, rest);
}

static inline const struct view_region *region(struct fixture *fixture, uint32_t index)
{
    return &fleet_view_now(fixture->fleet)->regions[index];
}

static inline const struct view_endpoint *endpoint(struct fixture *fixture)
{
    return &region(fixture, 0)->endpoints[0];
}

static inline bool is_up(struct fixture *fixture)
{
    return region(fixture, 0)->state == REGION_UP;
}

static inline bool is_down(struct fixture *fixture)
{
    return region(fixture, 0)->state == REGION_DOWN;
}

static inline bool both_up(struct fixture *fixture)
{
    return is_up(fixture) && region(fixture, 1)->state == REGION_UP;
}

static inline bool asked_ten_times(struct fixture *fixture)
{
    return fixture->pods[0].asked >= 10;
}

static inline uint64_t ms_since(uint64_t start_ns)
{
    return (clock_mono_ns() - start_ns) / NS_PER_MS;
}

/* One region with the first `count` pods. */
static inline void apply_region(struct fixture *fixture, int count, const char *rest)
{
    char region_text[512] = "{ name = \"a\"; endpoints = [ ";

    for (int i = 0; i < count; i++) {
        size_t len = strlen(region_text);

        (void)snprintf(region_text + len, sizeof(region_text) - len, "%s\"http://127.0.0.1:%u\"",
                       i == 0 ? "" : ", ", fixture->pods[i].port);
    }
    (void)strncat(region_text, " ]; }", sizeof(region_text) - strlen(region_text) - 1);
    apply_text(fixture, region_text, rest);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
