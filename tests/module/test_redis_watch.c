/* SPDX-License-Identifier: MIT */
/* The watch on a region's Redis, against a real redis-server: there, frozen, gone, back. */
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/dns/resolver.h>
#include <nearside/fleet/fleet.h>
#include <nearside/health/health.h>
#include <nearside/loop/loop.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/conf_text.h"
#include "module/redis_server.h"
#include "module/waiter.h"

struct fixture {
    struct loop *loop;
    struct fleet *fleet;
    struct resolver *resolver;
    struct health *health;
    struct waiter waiter;
    bool want_up;
    struct redis_server redis;
};

static void on_published(struct fleet_view *view, void *arg)
{
    (void)view;
    (void)arg;
}

static bool is_redis_as_wanted(struct fixture *fixture)
{
    return fleet_view_now(fixture->fleet)->regions[0].redis_up == fixture->want_up;
}

static void run_until_redis_is(struct fixture *fixture, bool up)
{
    fixture->want_up = up;
    waiter_run_until(&fixture->waiter, is_redis_as_wanted);
}

static int setup(void **state)
{
    struct fixture *fixture = mem_new(struct fixture);
    struct errbuf err;

    redis_start(&fixture->redis, NULL);
    fixture->loop = loop_new("test");
    fixture->fleet = fleet_new(fixture->loop, on_published, fixture);
    assert_int_equal(resolver_new(fixture->loop, &fixture->resolver, &err), STATUS_OK);
    fixture->health =
        health_new(fixture->loop, fixture->fleet, fixture->resolver, metric_block_new());
    waiter_init(&fixture->waiter, fixture->loop, fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    redis_stop(&fixture->redis);
    health_free(fixture->health);
    resolver_free(fixture->resolver);
    fleet_free(fixture->fleet);
    waiter_done(&fixture->waiter);
    loop_free(fixture->loop);
    mem_free(fixture);
    return 0;
}

static void apply(struct fixture *fixture, const char *host, const char *path)
{
    char regions[256];
    struct tls_ctx *none[1] = {NULL};
    struct conf *conf;

    (void)snprintf(regions, sizeof(regions),
                   "{ name = \"a\"; endpoints = [ \"http://127.0.0.1:1\" ];"
                   " redis = \"redis://%s:%u/%s\"; }",
                   host, fixture->redis.port, path);
    conf = conf_from_text(regions, "");
    fleet_apply(fixture->fleet, conf);
    health_apply(fixture->health, conf, none);
    conf_unref(conf);
}

static void test_a_redis_is_seen_to_go_and_to_come_back(void **state)
{
    struct fixture *fixture = *state;
    uint16_t port = fixture->redis.port;

    apply(fixture, "127.0.0.1", "0");
    assert_false(fleet_view_now(fixture->fleet)->regions[0].redis_up);
    run_until_redis_is(fixture, true);
    redis_stop(&fixture->redis);
    run_until_redis_is(fixture, false);
    redis_start_at(&fixture->redis, port, "--port", NULL);
    run_until_redis_is(fixture, true);
}

static void test_a_frozen_redis_is_down_after_two_late_answers(void **state)
{
    struct fixture *fixture = *state;

    apply(fixture, "127.0.0.1", "0");
    run_until_redis_is(fixture, true);
    redis_freeze(&fixture->redis);
    run_until_redis_is(fixture, false);
    redis_thaw(&fixture->redis);
    run_until_redis_is(fixture, true);
}

static void test_a_redis_by_name_is_found(void **state)
{
    struct fixture *fixture = *state;

    apply(fixture, "localhost", "0");
    assert_false(fleet_view_now(fixture->fleet)->regions[0].redis_known);
    run_until_redis_is(fixture, true);
    assert_int_equal(addr_port(&fleet_view_now(fixture->fleet)->regions[0].redis_addr),
                     fixture->redis.port);
}

static void test_a_reload_keeps_the_watch_and_new_settings_begin_another(void **state)
{
    struct fixture *fixture = *state;

    apply(fixture, "127.0.0.1", "0");
    run_until_redis_is(fixture, true);
    apply(fixture, "127.0.0.1", "0");
    assert_true(fleet_view_now(fixture->fleet)->regions[0].redis_up);
    apply(fixture, "127.0.0.1", "3");
    assert_false(fleet_view_now(fixture->fleet)->regions[0].redis_up);
    run_until_redis_is(fixture, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_redis_is_seen_to_go_and_to_come_back),
        TEST(test_a_frozen_redis_is_down_after_two_late_answers),
        TEST(test_a_redis_by_name_is_found),
        TEST(test_a_reload_keeps_the_watch_and_new_settings_begin_another),
    };

    setenv("NEARSIDE_DNS_SERVERS", "127.0.0.1:1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
