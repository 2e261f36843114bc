/* SPDX-License-Identifier: MIT */
/*
 * Redis frozen, killed, restarted, never there, or full: to the cache it is a miss and nothing
 * else, and memory goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/cache_fixture.h"

/* Asks, one look-up at a time, as requests would. */
static bool is_found_again(struct fixture *fixture)
{
    struct cache_lookup *lookup;

    if (fixture->entry == NULL && fixture->calls == fixture->asked &&
        ask(fixture, 1, PATIENT_MS, &lookup) == CACHE_WAIT) {
        fixture->asked++;
    }
    return fixture->entry != NULL;
}

/* Nothing but asking brings it back. */
static void wait_for_healing(struct fixture *fixture)
{
    forget_entry(fixture);
    fixture->calls = 0;
    fixture->calls_wanted = 0;
    fixture->asked = 0;
    wait_until(fixture, is_found_again);
}

static void test_redis_frozen_costs_a_few_timeouts_then_nothing(void **state)
{
    struct fixture *fixture = *state;
    unsigned asked = 0;

    store_everywhere(fixture, 1);
    redis_freeze(&fixture->redis);
    while (find(fixture, 1, IMPATIENT_MS) == CACHE_WAIT) {
        assert_null(fixture->entry);
        asked++;
        assert_true(asked <= KV_BREAKER_FALLS);
    }
    assert_int_equal(asked, KV_BREAKER_FALLS);
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_TIMEOUT), asked);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(find(fixture, 1, IMPATIENT_MS), CACHE_MISS);
    }
    assert_true(is_in_memory(fixture, 1)); /* the other tier goes on */

    redis_thaw(&fixture->redis);
    wait_for_healing(fixture);
}

static void test_lookup_in_a_frozen_redis_ends_within_its_time(void **state)
{
    struct fixture *fixture = *state;
    uint64_t begin_ns;

    store_everywhere(fixture, 1);
    redis_freeze(&fixture->redis);
    settle(fixture); /* freezing took time, and the loop's own is that of its last turn */
    begin_ns = clock_mono_ns();
    assert_int_equal(find(fixture, 1, IMPATIENT_MS), CACHE_WAIT);
    uint64_t took_ms = (clock_mono_ns() - begin_ns) / NS_PER_MS;
    assert_in_range(took_ms, IMPATIENT_MS - 1, 1000); /* the machine may be busy */
    redis_thaw(&fixture->redis);
}

/* A Redis that has lost its keys says so. */
static bool is_answered_again(struct fixture *fixture)
{
    (void)is_found_again(fixture);
    return counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_MISS) > 0;
}

static void test_redis_killed_is_a_miss_and_heals_when_it_is_back(void **state)
{
    struct fixture *fixture = *state;
    uint16_t port = fixture->redis.port;

    store_everywhere(fixture, 1);
    redis_stop(&fixture->redis);
    assert_not_found(fixture, 1, PATIENT_MS);
    assert_not_found(fixture, 1, PATIENT_MS);
    assert_int_equal(find(fixture, 1, PATIENT_MS), CACHE_MISS);
    assert_true(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_ERROR) >= 3);
    fixture->calls = 0;
    fixture->calls_wanted = 0;
    fixture->asked = 0;

    redis_start_at(&fixture->redis, port, "--port", NULL);
    wait_until(fixture, is_answered_again);
    remember_counters(fixture);
    store_everywhere(fixture, 1);
    assert_found(fixture, 1);
}

static void test_redis_that_was_never_there_is_a_miss(void **state)
{
    struct fixture *fixture = *state;

    connect_worker(fixture, fixture->worker, redis_free_port());
    assert_not_found(fixture, 1, PATIENT_MS);
    assert_int_equal(find(fixture, 1, PATIENT_MS), CACHE_MISS);
    assert_true(store_in(fixture, 1, STR_LIT(ANSWER), fixture->region));
    assert_true(is_in_memory(fixture, 1));
}

static void test_fills_that_end_while_redis_fails_are_kept_in_memory(void **state)
{
    struct fixture *fixture = *state;
    struct cache_lookup *lookup;

    store_everywhere(fixture, 1000);
    for (unsigned i = 0; i < 100; i++) {
        assert_true(store_in(fixture, i, STR_LIT(ANSWER), fixture->region));
        assert_int_equal(ask(fixture, 1000, PATIENT_MS, &lookup), CACHE_WAIT);
        if (i == 50) {
            redis_stop(&fixture->redis);
        }
    }
    wait_for_calls(fixture, 100);
    for (unsigned i = 0; i < 100; i++) {
        assert_true(is_in_memory(fixture, i));
    }
}

static bool is_refused(struct fixture *fixture)
{
    return counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_ERROR) > 0;
}

static void test_redis_that_is_full_refuses_stores_and_still_answers(void **state)
{
    struct fixture *fixture = *state;
    char reply[256];

    store_everywhere(fixture, 1);
    assert_string_equal(tell_redis(fixture, "CONFIG SET maxmemory 1", reply), "+OK\r\n");
    assert_true(store_in(fixture, 2, STR_LIT(ANSWER), fixture->region));
    wait_until(fixture, is_refused);
    assert_found(fixture, 1);
}

/* A frozen Redis must not make us hold more and more for it. */
static void test_stores_under_way_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    const size_t len = 500000;
    char *body = mem_zero(1, len);

    store_everywhere(fixture, 1);
    redis_freeze(&fixture->redis);
    for (unsigned i = 0; i < 40; i++) {
        (void)store_in(fixture, i, str_make(body, len), fixture->region);
    }
    assert_int_equal(limit_hits(fixture, LIMIT_REDIS_PENDING), 40 - KV_PENDING_BYTES / 2 / len);
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_REJECT),
                     limit_hits(fixture, LIMIT_REDIS_PENDING));
    redis_thaw(&fixture->redis);
    mem_free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_REDIS(test_redis_frozen_costs_a_few_timeouts_then_nothing),
        WITH_REDIS(test_lookup_in_a_frozen_redis_ends_within_its_time),
        WITH_REDIS(test_redis_killed_is_a_miss_and_heals_when_it_is_back),
        WITH_LOOP(test_redis_that_was_never_there_is_a_miss),
        WITH_REDIS(test_fills_that_end_while_redis_fails_are_kept_in_memory),
        WITH_REDIS(test_redis_that_is_full_refuses_stores_and_still_answers),
        WITH_REDIS(test_stores_under_way_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
