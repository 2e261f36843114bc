/* SPDX-License-Identifier: MIT */
/*
 * What is written to Redis and how: packed, to other regions too, for its time and its grace; and
 * what is made of values that others wrote there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/cache_fixture.h"

#include <inttypes.h>

#define LONG_BYTES 200000
#define PACK_MIN   1000
#define GRACE_MS   600000

static const struct conf_cache usual = {
    .max_entry_bytes = ENTRY_BYTES,
    .redis_compress_bytes = PACK_MIN,
};

/* ---- steps ---- */

/* Words that repeat, as answers do; the caller frees it. */
static struct str long_answer(void)
{
    char *bytes = mem_alloc(LONG_BYTES);

    for (size_t i = 0; i < LONG_BYTES; i++) {
        bytes[i] = "the quick brown fox jumps over the lazy dog "[i % 44];
    }
    return str_make(bytes, LONG_BYTES);
}

/* The number that Redis replies to "COMMAND KEY". */
static uint64_t number_of_key(struct fixture *fixture, const char *command, unsigned number)
{
    struct cache_key key = key_of(number);
    char name[CACHE_KEY_TEXT_LEN];
    char line[128];
    char reply[256];
    uint64_t value;

    cache_key_text(&key, name);
    snprintf(line, sizeof(line), "%s %s", command, name);
    struct str text = str_of(tell_redis(fixture, line, reply));
    assert_true(str_to_u64(str_slice(text, 1, text.len - 2), &value));
    return value;
}

static void store_long_answer(struct fixture *fixture, unsigned number)
{
    struct str answer = long_answer();

    assert_true(store_in(fixture, number, answer, fixture->region));
    wait_until(fixture, is_stored_in_redis);
    mem_free((void *)(uintptr_t)answer.ptr);
}

static void assert_finds_long_answer(struct fixture *fixture, unsigned number)
{
    struct str answer = long_answer();

    assert_int_equal(find(fixture, number, PATIENT_MS), CACHE_WAIT);
    assert_non_null(fixture->entry);
    assert_true(str_eq(cache_entry_body(fixture->entry), answer));
    mem_free((void *)(uintptr_t)answer.ptr);
}

/* ---- packing ---- */

static void test_a_long_answer_is_packed_and_comes_back_whole(void **state)
{
    struct fixture *fixture = *state;
    int64_t entry_before = metric_sum(METRIC_REDIS_STORED_BYTES, METRIC_STAGE_ENTRY, 0, 0);
    int64_t sent_before = metric_sum(METRIC_REDIS_STORED_BYTES, METRIC_STAGE_SENT, 0, 0);

    cache_worker_set_conf(fixture->worker, &usual);
    store_long_answer(fixture, 1);
    uint64_t len = number_of_key(fixture, "STRLEN", 1);
    assert_in_range(len, 1, LONG_BYTES / 10);
    assert_in_range(metric_sum(METRIC_REDIS_STORED_BYTES, METRIC_STAGE_ENTRY, 0, 0) - entry_before,
                    LONG_BYTES, LONG_BYTES + 1000);
    assert_int_equal(metric_sum(METRIC_REDIS_STORED_BYTES, METRIC_STAGE_SENT, 0, 0) - sent_before,
                     len);
    cache_purge(fixture->cache);
    assert_finds_long_answer(fixture, 1);
}

static void test_a_short_answer_is_written_as_it_is(void **state)
{
    struct fixture *fixture = *state;

    cache_worker_set_conf(fixture->worker, &usual);
    store_everywhere(fixture, 1);
    assert_in_range(number_of_key(fixture, "STRLEN", 1), sizeof(ANSWER) - 1, PACK_MIN);
    cache_purge(fixture->cache);
    assert_found(fixture, 1);
}

static void test_nothing_is_packed_when_told_so(void **state)
{
    struct fixture *fixture = *state;
    struct conf_cache conf = usual;

    conf.redis_compress_bytes = 0;
    cache_worker_set_conf(fixture->worker, &conf);
    store_long_answer(fixture, 1);
    assert_in_range(number_of_key(fixture, "STRLEN", 1), LONG_BYTES, LONG_BYTES + 1000);
    cache_worker_set_conf(fixture->worker, &usual); /* read either way */
    cache_purge(fixture->cache);
    assert_finds_long_answer(fixture, 1);
}

/* Another edge allows more, or somebody put it there to blow us up. */
static void test_a_value_of_more_than_our_bound_is_a_miss(void **state)
{
    struct fixture *fixture = *state;
    struct conf_cache conf = usual;

    cache_worker_set_conf(fixture->worker, &usual);
    store_long_answer(fixture, 1);
    cache_purge(fixture->cache);
    conf.max_entry_bytes = LONG_BYTES / 2;
    cache_worker_set_conf(fixture->worker, &conf);
    assert_not_found(fixture, 1, PATIENT_MS);
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_ERROR), 1);
}

static bool is_idle(struct fixture *fixture)
{
    return counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_STORE) == 20;
}

/* Stores wait their turn, and all arrive. */
static void test_many_stores_of_one_turn_all_arrive(void **state)
{
    struct fixture *fixture = *state;
    struct str answer = long_answer();

    cache_worker_set_conf(fixture->worker, &usual);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(store_in(fixture, i, answer, fixture->region));
    }
    wait_until(fixture, is_idle);
    cache_purge(fixture->cache);
    for (unsigned i = 0; i < 20; i++) {
        assert_finds_long_answer(fixture, i);
    }
    mem_free((void *)(uintptr_t)answer.ptr);
}

/* Teardown asserts that nothing is left. */
static void test_a_worker_may_end_before_its_entries_are_sent(void **state)
{
    struct fixture *fixture = *state;
    struct str answer = long_answer();

    cache_worker_set_conf(fixture->worker, &usual);
    assert_true(store_in(fixture, 1, answer, fixture->region));
    assert_true(store_in(fixture, 2, answer, fixture->region));
    mem_free((void *)(uintptr_t)answer.ptr);
}

/* ---- grace ---- */

static void test_redis_holds_an_entry_for_its_time_and_its_grace(void **state)
{
    struct fixture *fixture = *state;

    cache_set_grace(fixture->cache, GRACE_MS);
    store_everywhere(fixture, 1);
    assert_in_range(number_of_key(fixture, "PTTL", 1), TTL_MS * 9 / 10 + GRACE_MS - 60000,
                    TTL_MS * 11 / 10 + GRACE_MS);
}

static void test_an_answer_that_must_be_revalidated_has_no_grace(void **state)
{
    struct fixture *fixture = *state;
    struct cache_fill *fill =
        start_fill(fixture, 1, OK_JSON "Cache-Control: must-revalidate\r\n" CHUNKED, ENTRY_BYTES);

    cache_set_grace(fixture->cache, GRACE_MS);
    cache_fill_add(fill, STR_LIT(ANSWER));
    assert_true(cache_fill_commit(fill, fixture->region, PATIENT_MS));
    wait_until(fixture, is_stored_in_redis);
    assert_in_range(number_of_key(fixture, "PTTL", 1), TTL_MS * 9 / 10 - 60000, TTL_MS * 11 / 10);
}

/* Stored at `stored_wall_ms` for 1000 ms; no fields; a body of two bytes. */
static void put_old_entry(struct fixture *fixture, unsigned number, uint64_t stored_wall_ms)
{
    char text[512] = "NSC2\\x00\\x00\\x00\\x00";

    for (unsigned i = 0; i < 8; i++) {
        char hex[8];
        snprintf(hex, sizeof(hex), "\\x%02x", (unsigned)(stored_wall_ms >> (8 * i)) & 0xff);
        strcat(text, hex);
    }
    strcat(text, "\\xe8\\x03\\x00\\x00\\x00\\x00\\x00\\x00");
    for (unsigned i = 0; i < 20; i++) {
        strcat(text, "\\x00");
    }
    put_into_redis(fixture, number, strcat(text, "\\x02\\x00\\x00\\x00{}"));
}

/* It is given to whoever may have use for it, and not put into memory in front of a fresh one. */
static void test_an_entry_past_its_time_is_found_while_its_grace_lasts(void **state)
{
    struct fixture *fixture = *state;

    cache_set_grace(fixture->cache, GRACE_MS);
    put_old_entry(fixture, 1, clock_wall_ms() - 10000);
    put_old_entry(fixture, 2, clock_wall_ms() - GRACE_MS - 10000);
    assert_int_equal(find(fixture, 1, PATIENT_MS), CACHE_WAIT);
    assert_non_null(fixture->entry);
    assert_false(is_in_memory(fixture, 1));
    assert_not_found(fixture, 2, PATIENT_MS);
}

/* ---- what was saved ---- */

static void test_a_hit_counts_the_tokens_and_the_time_it_saved(void **state)
{
    struct fixture *fixture = *state;
    struct cache_fill *fill = start_fill(fixture, 1, JSON_200, ENTRY_BYTES);
    struct cache_fill_notes notes = {.generation_ms = 2500, .content_events = 3};
    int64_t prompt = metric_sum(METRIC_CACHE_SAVED_TOKENS, METRIC_TOKENS_PROMPT, 0, 0);
    int64_t completion = metric_sum(METRIC_CACHE_SAVED_TOKENS, METRIC_TOKENS_COMPLETION, 0, 0);
    int64_t ns = metric_sum(METRIC_CACHE_SAVED_SECONDS, 0, 1, 0);

    cache_fill_add(fill, STR_LIT("{\"usage\":{\"prompt_tokens\":40,\"completion_tokens\":2}}"));
    cache_fill_note(fill, &notes);
    assert_true(cache_fill_commit(fill, NO_REGION, PATIENT_MS));
    assert_true(is_in_memory(fixture, 1));
    assert_true(is_in_memory(fixture, 1));
    assert_int_equal(metric_sum(METRIC_CACHE_SAVED_TOKENS, METRIC_TOKENS_PROMPT, 0, 0) - prompt,
                     80);
    assert_int_equal(
        metric_sum(METRIC_CACHE_SAVED_TOKENS, METRIC_TOKENS_COMPLETION, 0, 0) - completion, 4);
    assert_int_equal(metric_sum(METRIC_CACHE_SAVED_SECONDS, 0, 1, 0) - ns, 5000 * NS_PER_MS);
}

/* ---- purges ---- */

static void test_an_answer_begun_before_a_purge_is_stored_nowhere(void **state)
{
    struct fixture *fixture = *state;
    struct cache_fill *fill = start_fill(fixture, 1, JSON_200, ENTRY_BYTES);

    cache_fill_add(fill, STR_LIT(ANSWER));
    cache_purge(fixture->cache);
    assert_false(cache_fill_commit(fill, fixture->region, PATIENT_MS));
    assert_false(is_in_memory(fixture, 1));
    store_everywhere(fixture, 2); /* what went before it has arrived, too */
    assert_int_equal(number_of_key(fixture, "EXISTS", 1), 0);
}

static void test_an_entry_on_its_way_to_redis_is_dropped_by_its_purge(void **state)
{
    struct fixture *fixture = *state;

    assert_true(store_in(fixture, 1, STR_LIT(ANSWER), fixture->region));
    cache_purge_all(fixture->cache);
    settle(fixture);
    store_everywhere(fixture, 2);
    assert_int_equal(number_of_key(fixture, "EXISTS", 1), 0);
    assert_int_equal(number_of_key(fixture, "EXISTS", 2), 1);
}

/* The keys are still there, as before a sweep comes by, or after it failed. */
static void test_what_redis_holds_from_before_its_purge_is_a_miss(void **state)
{
    struct fixture *fixture = *state;
    struct cache_lookup *lookup;

    store_everywhere(fixture, 1);
    assert_int_equal(ask(fixture, 1, PATIENT_MS, &lookup), CACHE_WAIT);
    cache_purge_all(fixture->cache);
    wait_for_calls(fixture, 1);
    assert_null(fixture->entry);
    assert_not_found(fixture, 1, PATIENT_MS);
    assert_false(is_in_memory(fixture, 1));
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_MISS), 2);
    settle(fixture); /* or it would be of the same millisecond */
    remember_counters(fixture);
    store_everywhere(fixture, 1);
    assert_found(fixture, 1);
}

static void test_a_look_up_under_way_does_not_undo_the_purge_of_memory(void **state)
{
    struct fixture *fixture = *state;
    struct cache_lookup *lookup;

    store_everywhere(fixture, 1);
    assert_int_equal(ask(fixture, 1, PATIENT_MS, &lookup), CACHE_WAIT);
    cache_purge(fixture->cache);
    wait_for_calls(fixture, 1);
    assert_non_null(fixture->entry); /* Redis was not purged */
    assert_false(is_in_memory(fixture, 1));
}

/* ---- replicas ---- */

static bool is_stored_twice(struct fixture *fixture)
{
    return counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_STORE) == 2;
}

static bool store_replicated(struct fixture *fixture, unsigned number, unsigned other,
                             struct str body)
{
    struct cache_fill *fill = start_fill(fixture, number, JSON_200, ENTRY_BYTES);
    struct cache_fill_notes notes = {.replica_slots = 1ULL << other | 1ULL << fixture->region};

    cache_fill_add(fill, body);
    cache_fill_note(fill, &notes);
    return cache_fill_commit(fill, fixture->region, PATIENT_MS);
}

static void connect_other(struct fixture *fixture, unsigned other)
{
    struct conf_redis conf = {.host = "127.0.0.1", .user = "", .password = "", .database = 1};
    struct addr addr;

    assert_true(addr_parse_ip(STR_LIT("127.0.0.1"), fixture->redis.port, &addr));
    cache_worker_set_redis(fixture->worker, other, &conf, &addr, NULL);
}

static void test_a_replica_is_written_to_every_region_named(void **state)
{
    struct fixture *fixture = *state;
    unsigned other = metric_region_slot(STR_LIT("eu-west"));
    char reply[256];

    connect_other(fixture, other);
    assert_true(store_replicated(fixture, 1, other, STR_LIT(ANSWER)));
    wait_until(fixture, is_stored_twice);
    assert_non_null(strstr(tell_redis(fixture, "INFO keyspace", reply), "db1:keys=1"));
    assert_int_equal(number_of_key(fixture, "EXISTS", 1), 1);
}

/* With much on its way, the region's own Redis still gets its entries. */
static void test_replicas_are_dropped_first_under_pressure(void **state)
{
    struct fixture *fixture = *state;
    unsigned other = metric_region_slot(STR_LIT("eu-west"));
    const size_t len = 500000;
    char *body = mem_zero(1, len);

    store_everywhere(fixture, 100);
    connect_other(fixture, other);
    redis_freeze(&fixture->redis);
    for (unsigned i = 0; i < 16; i++) {
        assert_true(store_replicated(fixture, i, other, str_make(body, len)));
    }
    /* All 16 fit the bound of 8 MiB; half of it is open to replicas. */
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_REJECT), 8);
    redis_thaw(&fixture->redis);
    mem_free(body);
}

/* ---- latency, refusals ---- */

static void test_a_look_up_is_timed(void **state)
{
    struct fixture *fixture = *state;
    int64_t before = metric_sum(METRIC_REDIS_SECONDS, fixture->region, 0, 0);

    assert_not_found(fixture, 1, PATIENT_MS);
    assert_not_found(fixture, 2, PATIENT_MS);
    assert_int_equal(metric_sum(METRIC_REDIS_SECONDS, fixture->region, 0, 0) - before, 2);
}

static bool is_oom_noted(struct fixture *fixture)
{
    return cache_redis_error(fixture->cache, fixture->region, CACHE_REDIS_SET) == KV_ERROR_OOM;
}

static bool is_served_again(struct fixture *fixture)
{
    return cache_redis_error(fixture->cache, fixture->region, CACHE_REDIS_SET) == KV_ERROR_NONE;
}

static void test_what_redis_refuses_is_named_until_it_is_over(void **state)
{
    struct fixture *fixture = *state;
    int64_t before = metric_sum(METRIC_REDIS_ERRORS, fixture->region, KV_ERROR_OOM, 0);
    char reply[256];

    store_everywhere(fixture, 1);
    (void)tell_redis(fixture, "CONFIG SET maxmemory 1", reply);
    assert_true(store_in(fixture, 2, STR_LIT(ANSWER), fixture->region));
    wait_until(fixture, is_oom_noted);
    assert_int_equal(metric_sum(METRIC_REDIS_ERRORS, fixture->region, KV_ERROR_OOM, 0) - before, 1);
    assert_found(fixture, 1); /* asking is another matter */
    assert_int_equal(cache_redis_error(fixture->cache, fixture->region, CACHE_REDIS_GET),
                     KV_ERROR_NONE);
    (void)tell_redis(fixture, "CONFIG SET maxmemory 0", reply);
    assert_true(store_in(fixture, 3, STR_LIT(ANSWER), fixture->region));
    wait_until(fixture, is_served_again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_REDIS(test_a_long_answer_is_packed_and_comes_back_whole),
        WITH_REDIS(test_a_short_answer_is_written_as_it_is),
        WITH_REDIS(test_nothing_is_packed_when_told_so),
        WITH_REDIS(test_a_value_of_more_than_our_bound_is_a_miss),
        WITH_REDIS(test_many_stores_of_one_turn_all_arrive),
        WITH_REDIS(test_a_worker_may_end_before_its_entries_are_sent),
        WITH_REDIS(test_redis_holds_an_entry_for_its_time_and_its_grace),
        WITH_REDIS(test_an_answer_that_must_be_revalidated_has_no_grace),
        WITH_REDIS(test_an_entry_past_its_time_is_found_while_its_grace_lasts),
        WITH_LOOP(test_a_hit_counts_the_tokens_and_the_time_it_saved),
        WITH_REDIS(test_an_answer_begun_before_a_purge_is_stored_nowhere),
        WITH_REDIS(test_an_entry_on_its_way_to_redis_is_dropped_by_its_purge),
        WITH_REDIS(test_what_redis_holds_from_before_its_purge_is_a_miss),
        WITH_REDIS(test_a_look_up_under_way_does_not_undo_the_purge_of_memory),
        WITH_REDIS(test_a_replica_is_written_to_every_region_named),
        WITH_REDIS(test_replicas_are_dropped_first_under_pressure),
        WITH_REDIS(test_a_look_up_is_timed),
        WITH_REDIS(test_what_redis_refuses_is_named_until_it_is_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
