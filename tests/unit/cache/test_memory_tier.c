/* SPDX-License-Identifier: MIT */
/* The memory tier: its bound, its order of eviction, and many threads at once. */
#include "cache/entry_private.h"
#include "cache/memory_tier_private.h"

#include <nearside/base/attr.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/base/rng.h>
#include <nearside/cache/cache.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NOW     1000000000000ULL
#define TTL     60000ULL
#define BOUND   1048576ULL
#define THREADS 8

static struct cache_key key_of(uint64_t number)
{
    struct cache_key key = {.bytes = {0}};

    memcpy(key.bytes, &number, sizeof(number));
    return key;
}

/* An entry whose body begins with its number, so that a reader can tell it from others. */
static struct cache_entry *entry_at(uint64_t number, size_t body_len, uint64_t stored_wall_ms)
{
    struct entry_build build;
    char *body = mem_zero(1, body_len);

    memcpy(body, &number, sizeof(number));
    entry_build_init(&build);
    assert_true(entry_build_reserve(&build, ENTRY_HEAD_BYTES + body_len));
    entry_build_end_fields(&build);
    entry_build_append(&build, str_make(body, body_len));
    mem_free(body);
    return entry_build_take(
        &build, &(struct cache_entry_facts){.stored_wall_ms = stored_wall_ms, .ttl_ms = TTL});
}

static struct cache_entry *entry_of(uint64_t number, size_t body_len)
{
    return entry_at(number, body_len, NOW);
}

static bool put(struct cache *cache, uint64_t number, size_t body_len)
{
    struct cache_key key = key_of(number);
    struct cache_entry *entry = entry_of(number, body_len);
    bool is_kept = cache_memory_put(cache, &key, entry, cache_purges(cache));

    cache_entry_unref(entry);
    return is_kept;
}

static bool is_held_at(struct cache *cache, uint64_t number, uint64_t now)
{
    struct cache_key key = key_of(number);
    struct cache_entry *entry = cache_memory_get(cache, &key, now);

    if (entry == NULL) {
        return false;
    }
    assert_memory_equal(cache_entry_body(entry).ptr, &number, sizeof(number));
    cache_entry_unref(entry);
    return true;
}

static bool is_held(struct cache *cache, uint64_t number)
{
    return is_held_at(cache, number, NOW);
}

static struct cache_stats stats_of(struct cache *cache)
{
    struct cache_stats stats;

    cache_stats(cache, &stats);
    return stats;
}

static int set_up(void **state)
{
    *state = cache_new(BOUND);
    return 0;
}

static int tear_down(void **state)
{
    cache_free(*state); /* asserts that not a byte is unaccounted for */
    return 0;
}

static void test_memory_gives_back_what_was_put_and_nothing_else(void **state)
{
    struct cache *cache = *state;

    assert_true(put(cache, 1, 100));
    assert_true(put(cache, 2, 100));
    assert_true(is_held(cache, 1));
    assert_true(is_held(cache, 2));
    assert_false(is_held(cache, 3));
    assert_int_equal(stats_of(cache).entries, 2);
}

static void test_memory_replaces_an_entry_under_its_key(void **state)
{
    struct cache *cache = *state;
    struct cache_key key = key_of(1);
    uint64_t before;

    assert_true(put(cache, 1, 5000));
    before = stats_of(cache).bytes;
    assert_true(put(cache, 1, 100));
    struct cache_entry *entry = cache_memory_get(cache, &key, NOW);
    assert_int_equal(cache_entry_body(entry).len, 100);
    cache_entry_unref(entry);
    assert_int_equal(stats_of(cache).entries, 1);
    assert_true(stats_of(cache).bytes < before);
}

struct older_case {
    uint64_t there_age_ms; /* of the entry in memory */
    uint64_t new_age_ms;
    bool is_kept;
};

static const struct older_case older_cases[] = {
    {1000, 0, true},
    {1000, 1000, true},
    {1000, 1001, false},
    {0, TTL / 2, false},
    {TTL + 1000, TTL + 2000, true}, /* what is there has had its time */
};

static void test_memory_keeps_a_fresh_entry_rather_than_an_older_one(void **state)
{
    struct cache *cache = *state;
    uint64_t now = clock_wall_ms();

    for (size_t i = 0; i < ARRAY_LEN(older_cases); i++) {
        const struct older_case *row = &older_cases[i];
        struct cache_key key = key_of(i);
        struct cache_entry *there = entry_at(i, 100, now - row->there_age_ms);
        struct cache_entry *new = entry_at(i, 200, now - row->new_age_ms);

        assert_true(cache_memory_put(cache, &key, there, 0));
        assert_int_equal(cache_memory_put(cache, &key, new, 0), row->is_kept);
        struct cache_entry *held = cache_memory_get(cache, &key, now - TTL);
        assert_ptr_equal(held, row->is_kept ? new : there);
        cache_entry_unref(held);
        cache_entry_unref(there);
        cache_entry_unref(new);
    }
    assert_int_equal(stats_of(cache).entries, ARRAY_LEN(older_cases));
    assert_int_equal(stats_of(cache).bytes, cache_memory_audit(cache));
}

static void test_memory_drops_an_entry_whose_time_has_passed(void **state)
{
    struct cache *cache = *state;

    assert_true(put(cache, 1, 100));
    assert_true(is_held_at(cache, 1, NOW + TTL - 1));
    assert_false(is_held_at(cache, 1, NOW + TTL));
    assert_int_equal(stats_of(cache).entries, 0);
    assert_int_equal(stats_of(cache).evictions, 0);
    assert_false(is_held(cache, 1));
}

static void test_memory_keeps_an_evicted_entry_alive_for_its_reader(void **state)
{
    struct cache *cache = *state;
    struct cache_key key = key_of(1);

    assert_true(put(cache, 1, 100));
    struct cache_entry *entry = cache_memory_get(cache, &key, NOW);
    cache_purge(cache);
    assert_false(is_held(cache, 1));
    assert_int_equal(cache_entry_body(entry).len, 100);
    cache_entry_unref(entry);
}

static void test_memory_purge_leaves_nothing(void **state)
{
    struct cache *cache = *state;

    for (uint64_t i = 0; i < 500; i++) {
        assert_true(put(cache, i, 100));
    }
    cache_purge(cache);
    assert_int_equal(stats_of(cache).entries, 0);
    assert_int_equal(stats_of(cache).bytes, 0);
    assert_int_equal(stats_of(cache).evictions, 0);
    assert_true(put(cache, 1, 100));
    assert_true(is_held(cache, 1));
}

/* Looking the count up and putting are two steps, and a purge may come between. */
static void test_memory_keeps_nothing_that_began_before_a_purge(void **state)
{
    struct cache *cache = *state;
    struct cache_key key = key_of(1);
    struct cache_entry *entry = entry_of(1, 100);
    uint64_t before = cache_purges(cache);

    cache_purge(cache);
    assert_false(cache_memory_put(cache, &key, entry, before));
    assert_false(is_held(cache, 1));
    assert_int_equal(stats_of(cache).bytes, 0);
    assert_true(cache_memory_put(cache, &key, entry, cache_purges(cache)));
    cache_entry_unref(entry);
}

/* ---- the bound ---- */

static void test_memory_bytes_are_what_the_allocator_counts(void **state)
{
    struct cache *cache = *state;
    struct rng rng;

    rng_init_seed(&rng, 7);
    for (uint64_t i = 0; i < 3000; i++) {
        put(cache, rng_below(&rng, 2000), 50 + (size_t)rng_below(&rng, 3000));
        if (i % 50 == 0) {
            assert_int_equal(stats_of(cache).bytes, cache_memory_audit(cache));
        }
    }
    assert_true(stats_of(cache).evictions > 100);
    cache_resize(cache, BOUND / 3);
    assert_int_equal(stats_of(cache).bytes, cache_memory_audit(cache));
    cache_purge(cache);
    assert_int_equal(cache_memory_audit(cache), 0);
}

static void test_memory_never_holds_more_than_its_bound(void **state)
{
    struct cache *cache = *state;
    struct rng rng;
    uint64_t most = 0;

    rng_init_seed(&rng, 3);
    for (uint64_t i = 0; i < 5000; i++) {
        put(cache, rng_below(&rng, 3000), 8 + (size_t)rng_below(&rng, 20000));
        uint64_t bytes = stats_of(cache).bytes;
        most = bytes > most ? bytes : most;
        assert_true(bytes <= BOUND);
    }
    assert_true(most > BOUND * 9 / 10); /* and it uses what it may */
}

static void test_memory_refuses_an_entry_over_its_share(void **state)
{
    struct cache *cache = *state;

    assert_true(put(cache, 1, 100));
    assert_false(put(cache, 2, BOUND / CACHE_ENTRY_SHARE));
    assert_true(
        put(cache, 3, BOUND / CACHE_ENTRY_SHARE - 8192) /* less its node and a page's rest */);
    assert_true(is_held(cache, 1));
    assert_false(is_held(cache, 2));
    assert_true(is_held(cache, 3));
}

static void test_memory_of_no_bytes_keeps_nothing(void **state)
{
    struct cache *cache = cache_new(0);

    (void)state;
    assert_false(cache_memory_is_on(cache));
    assert_false(put(cache, 1, 8));
    assert_int_equal(stats_of(cache).bytes, 0);
    cache_free(cache);
}

static void test_memory_shrinks_to_a_new_bound_and_works_on(void **state)
{
    struct cache *cache = *state;
    const uint64_t small = 65536;

    for (uint64_t i = 0; i < 2000; i++) {
        put(cache, i, 300);
    }
    uint64_t before = stats_of(cache).entries;
    cache_resize(cache, small);
    assert_true(stats_of(cache).bytes <= small);
    assert_true(stats_of(cache).entries > 0);
    assert_true(stats_of(cache).entries < before);
    assert_int_equal(stats_of(cache).bytes_max, small);

    for (uint64_t i = 5000; i < 5100; i++) {
        assert_true(put(cache, i, 300));
        assert_true(stats_of(cache).bytes <= small);
    }
    assert_true(stats_of(cache).entries > 50);
    cache_resize(cache, BOUND);
    assert_int_equal(stats_of(cache).bytes_max, BOUND);
}

/* A reload asks for it each time; to rebuild every index would hold up who needs their locks. */
static void test_memory_leaves_all_as_it_is_when_the_bound_stays(void **state)
{
    struct cache *cache = *state;

    for (uint64_t i = 0; i < 2000; i++) {
        put(cache, i, 300);
    }
    for (uint64_t i = 0; i < 2000; i++) {
        assert_false(is_held_at(cache, i, NOW + 2 * TTL)); /* an index does not shrink with it */
    }
    uint64_t indexes = stats_of(cache).bytes;
    assert_int_equal(stats_of(cache).entries, 0);
    assert_true(indexes > 0);
    cache_resize(cache, BOUND);
    assert_int_equal(stats_of(cache).bytes, indexes);
    cache_resize(cache, BOUND / 2);
    assert_int_equal(stats_of(cache).bytes, 0);
}

static void test_memory_lends_fills_half_of_the_bound_but_not_less_than_a_minimum(void **state)
{
    struct cache *cache = cache_new(100 * CACHE_FILLS_MIN_BYTES);
    const uint64_t half = 50 * CACHE_FILLS_MIN_BYTES;

    (void)state;
    assert_true(cache_fills_lease(cache, half));
    assert_false(cache_fills_lease(cache, 1));
    cache_fills_return(cache, half);
    assert_false(cache_fills_lease(cache, half + 1));

    cache_resize(cache, 0);
    assert_true(cache_fills_lease(cache, CACHE_FILLS_MIN_BYTES));
    assert_false(cache_fills_lease(cache, 1));
    cache_fills_return(cache, CACHE_FILLS_MIN_BYTES);
    cache_free(cache);
}

/* ---- the order of eviction ---- */

/* Prompts that are repeated stay, however many others come by once. */
static void test_memory_keeps_what_is_asked_again_through_a_scan(void **state)
{
    struct cache *cache = *state;
    const uint64_t hot = 200;
    uint64_t kept = 0;

    for (uint64_t i = 0; i < hot; i++) {
        assert_true(put(cache, i, 600));
    }
    for (uint64_t i = 0; i < 20000; i++) {
        assert_true(put(cache, 1000000 + i, 600));
        (void)is_held(cache, i % hot);
    }
    for (uint64_t i = 0; i < hot; i++) {
        kept += is_held(cache, i);
    }
    assert_int_equal(kept, hot);
    assert_true(stats_of(cache).evictions > 10000);
}

static void test_memory_evicts_even_when_everything_was_asked_again(void **state)
{
    struct cache *cache = *state;

    for (uint64_t i = 0; i < 5000; i++) {
        assert_true(put(cache, i, 600));
        assert_true(is_held(cache, i));
    }
    assert_true(stats_of(cache).bytes <= BOUND);
}

/* ---- threads ---- */

struct hammer {
    struct cache *cache;
    uint64_t seed;
    uint64_t hits;
};

static void *hammer(void *arg)
{
    struct hammer *job = arg;
    struct rng rng;

    rng_init_seed(&rng, job->seed);
    for (unsigned i = 0; i < 4000; i++) {
        uint64_t number = rng_below(&rng, 400);
        uint64_t dice = rng_below(&rng, 1000);
        if (dice == 0) {
            cache_purge(job->cache);
        } else if (dice == 1) {
            cache_resize(job->cache, BOUND / 4 + rng_below(&rng, BOUND));
        } else if (dice < 300) {
            put(job->cache, number, 8 + (size_t)rng_below(&rng, 8000));
        } else if (dice < 310) {
            job->hits += is_held_at(job->cache, number, NOW + TTL); /* expired */
        } else {
            job->hits += is_held(job->cache, number);
        }
    }
    return NULL;
}

static void test_memory_stays_whole_under_many_threads(void **state)
{
    struct cache *cache = *state;
    struct hammer jobs[THREADS];
    pthread_t threads[THREADS];
    uint64_t hits = 0;

    for (uint64_t i = 0; i < THREADS; i++) {
        jobs[i] = (struct hammer){.cache = cache, .seed = i};
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &jobs[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        hits += jobs[i].hits;
    }
    assert_true(hits > 0);
    cache_resize(cache, BOUND);
    assert_true(stats_of(cache).bytes <= BOUND);
    assert_int_equal(stats_of(cache).bytes, cache_memory_audit(cache));
    cache_purge(cache);
    assert_int_equal(stats_of(cache).bytes, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void test_memory_keeps_what_is_past_its_time_as_long_as_its_grace(void **state)
{
    struct cache *cache = *state;

    cache_set_grace(cache, 5000);
    assert_true(put(cache, 1, 100));
    assert_true(is_held_at(cache, 1, NOW + TTL + 4999));
    assert_false(is_held_at(cache, 1, NOW + TTL + 5000));
    assert_false(is_held_at(cache, 1, NOW)); /* dropped */

    assert_true(put(cache, 2, 100));
    cache_set_grace(cache, 0); /* a reload's */
    assert_false(is_held_at(cache, 2, NOW + TTL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_memory_gives_back_what_was_put_and_nothing_else),
        TEST(test_memory_replaces_an_entry_under_its_key),
        TEST(test_memory_keeps_a_fresh_entry_rather_than_an_older_one),
        TEST(test_memory_drops_an_entry_whose_time_has_passed),
        TEST(test_memory_keeps_what_is_past_its_time_as_long_as_its_grace),
        TEST(test_memory_keeps_an_evicted_entry_alive_for_its_reader),
        TEST(test_memory_purge_leaves_nothing),
        TEST(test_memory_keeps_nothing_that_began_before_a_purge),
        TEST(test_memory_bytes_are_what_the_allocator_counts),
        TEST(test_memory_never_holds_more_than_its_bound),
        TEST(test_memory_refuses_an_entry_over_its_share),
        TEST(test_memory_of_no_bytes_keeps_nothing),
        TEST(test_memory_shrinks_to_a_new_bound_and_works_on),
        TEST(test_memory_leaves_all_as_it_is_when_the_bound_stays),
        TEST(test_memory_lends_fills_half_of_the_bound_but_not_less_than_a_minimum),
        TEST(test_memory_keeps_what_is_asked_again_through_a_scan),
        TEST(test_memory_evicts_even_when_everything_was_asked_again),
        TEST(test_memory_stays_whole_under_many_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
