/* SPDX-License-Identifier: MIT */
/*
 * The cache with both tiers, against a real redis-server: what is stored is found again, by this
 * edge and by others, and nothing is stored or found that should not be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/cache_fixture.h"

/* ---- fills ---- */

static void test_cache_gives_from_memory_what_a_fill_stored(void **state)
{
    struct fixture *fixture = *state;
    struct cache_key key = key_of(1);
    struct cache_fill *fill = start_fill(fixture, 1, JSON_200, ENTRY_BYTES);

    assert_false(is_in_memory(fixture, 1));
    cache_fill_add(fill, STR_LIT("{\"a\":"));
    cache_fill_add(fill, STR_EMPTY);
    cache_fill_add(fill, STR_LIT("1}"));
    assert_true(cache_fill_is_good(fill));
    assert_false(is_in_memory(fixture, 1)); /* not before its end */
    assert_true(cache_fill_commit(fill, NO_REGION, PATIENT_MS));

    struct cache_entry *entry = cache_get_memory(fixture->worker, &key);
    struct str body = cache_entry_body(entry);
    assert_int_equal(body.len, 7);
    assert_memory_equal(body.ptr, "{\"a\":1}", 7);
    assert_false(cache_entry_is_stream(entry));
    assert_in_range(cache_entry_ttl_ms(entry), TTL_MS * 9 / 10, TTL_MS * 11 / 10);
    cache_count_use(fixture->worker, METRIC_TIER_MEMORY, CACHE_USE_HIT, entry);
    cache_entry_unref(entry);
    assert_int_equal(counted(fixture, METRIC_TIER_MEMORY, METRIC_CACHE_STORE), 1);
    assert_int_equal(counted(fixture, METRIC_TIER_MEMORY, METRIC_CACHE_MISS), 2);
    assert_int_equal(counted(fixture, METRIC_TIER_MEMORY, METRIC_CACHE_HIT), 1);
}

static void test_fill_keeps_the_fields_that_speak_of_the_answer(void **state)
{
    struct fixture *fixture = *state;
    struct cache_key key = key_of(1);
    struct cache_fill *fill = start_fill(fixture, 1,
                                         "HTTP/1.1 200 OK\r\n"
                                         "Content-Type: text/event-stream\r\n"
                                         "Server: vllm\r\n"
                                         "Date: Sun, 22 Nov 2026 10:20:30 GMT\r\n"
                                         "Cache-Control: no-cache\r\n"
                                         "X-Accel-Buffering: no\r\n"
                                         "Access-Control-Allow-Origin: *\r\n"
                                         "Connection: keep-alive, X-Hop\r\n"
                                         "Keep-Alive: timeout=5\r\n"
                                         "X-Hop: 1\r\n"
                                         "Via: 1.1 x\r\n"
                                         "Age: 0\r\n"
                                         "Alt-Svc: h3=\":443\"\r\n"
                                         "X-Request-Id: r\r\n"
                                         "request-id: r\r\n"
                                         "Cache-Status: x; hit\r\n"
                                         "Proxy-Status: x\r\n"
                                         "Retry-After: 1\r\n"
                                         "Traceparent: t\r\n"
                                         "X-Nearside-Region: r\r\n"
                                         "x-nearside-new: r\r\n"
                                         "X-RateLimit-Remaining: 1\r\n"
                                         "anthropic-ratelimit-tokens: 1\r\n"
                                         "RateLimit: 1\r\n" CHUNKED,
                                         ENTRY_BYTES);

    assert_non_null(fill);
    cache_fill_add(fill, STR_LIT("data: [DONE]\n\n"));
    assert_true(cache_fill_commit(fill, NO_REGION, PATIENT_MS));
    struct cache_entry *entry = cache_get_memory(fixture->worker, &key);
    static const char want[] = "Content-Type: text/event-stream\r\n"
                               "Server: vllm\r\n"
                               "Date: Sun, 22 Nov 2026 10:20:30 GMT\r\n"
                               "Cache-Control: no-cache\r\n"
                               "X-Accel-Buffering: no\r\n"
                               "Access-Control-Allow-Origin: *\r\n";
    assert_int_equal(cache_entry_fields(entry).len, sizeof(want) - 1);
    assert_memory_equal(cache_entry_fields(entry).ptr, want, sizeof(want) - 1);
    assert_true(cache_entry_is_stream(entry));
    cache_entry_unref(entry);
}

static void test_fill_notes_that_a_stream_was_asked_for_with_its_usage(void **state)
{
    static const struct {
        enum cache_form form;
        const char *type;
        bool is_stream;
        bool has_usage;
    } rows[] = {
        {CACHE_FORM_STREAM_USAGE, "text/event-stream", true, true},
        {CACHE_FORM_STREAM, "text/event-stream", true, false},
        {CACHE_FORM_FIXED, "text/event-stream", true, false},
        {CACHE_FORM_PLAIN, "text/event-stream", true, false},
        {CACHE_FORM_STREAM_USAGE, "application/json", false, false}, /* it cannot stream */
    };
    struct fixture *fixture = *state;

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct cache_key key = key_of(i);
        char head[256];
        snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n" CHUNKED,
                 rows[i].type);
        struct cache_fill *fill = start_fill_of(fixture, i, rows[i].form, head, ENTRY_BYTES);
        cache_fill_add(fill, STR_LIT("data: [DONE]\n\n"));
        assert_true(cache_fill_commit(fill, NO_REGION, PATIENT_MS));
        struct cache_entry *entry = cache_get_memory(fixture->worker, &key);
        assert_int_equal(cache_entry_is_stream(entry), rows[i].is_stream);
        assert_int_equal(cache_entry_has_usage(entry), rows[i].has_usage);
        cache_entry_unref(entry);
    }
}

static void test_fill_counts_the_age_and_the_upstreams_own_time_to_live(void **state)
{
    struct fixture *fixture = *state;
    struct cache_key key = key_of(1);
    struct cache_fill *fill = start_fill(
        fixture, 1, OK_JSON "Age: 40\r\nCache-Control: max-age=60\r\n" CHUNKED, ENTRY_BYTES);

    cache_fill_add(fill, STR_LIT("{}"));
    assert_true(cache_fill_commit(fill, NO_REGION, PATIENT_MS));
    struct cache_entry *entry = cache_get_memory(fixture->worker, &key);
    uint64_t age_ms = clock_wall_ms() - cache_entry_stored_wall_ms(entry);
    assert_in_range(age_ms, 40000, 59000);
    assert_in_range(cache_entry_ttl_ms(entry), 54000, 60000); /* never more than it says */
    cache_entry_unref(entry);

    assert_null(start_fill(fixture, 2, OK_JSON "Age: 60\r\nCache-Control: max-age=60\r\n" CHUNKED,
                           ENTRY_BYTES));
    assert_null(
        start_fill(fixture, 2, OK_JSON "Cache-Control: max-age=0\r\n" CHUNKED, ENTRY_BYTES));
}

static void test_fill_is_not_begun_for_an_answer_that_may_not_be_kept(void **state)
{
    struct fixture *fixture = *state;

    assert_null(start_fill(fixture, 1, OK_JSON "Set-Cookie: a=b\r\n" CHUNKED, ENTRY_BYTES));
    assert_null(start_fill(fixture, 1, "HTTP/1.1 500 Oops\r\n" CHUNKED, ENTRY_BYTES));
    cache_fill_abandon(NULL);
}

static void test_fill_over_its_bound_stores_nothing_and_holds_nothing(void **state)
{
    struct fixture *fixture = *state;
    char piece[1000];
    struct cache_fill *fill = start_fill(fixture, 1, JSON_200, 4000);

    memset(piece, 'x', sizeof(piece));
    for (int i = 0; i < 3; i++) {
        cache_fill_add(fill, str_make(piece, sizeof(piece)));
        assert_true(cache_fill_is_good(fill));
    }
    cache_fill_add(fill, str_make(piece, sizeof(piece)));
    assert_false(cache_fill_is_good(fill));
    cache_fill_add(fill, STR_LIT("more"));
    assert_false(cache_fill_commit(fill, NO_REGION, PATIENT_MS));
    assert_false(is_in_memory(fixture, 1));
    assert_int_equal(limit_hits(fixture, LIMIT_CACHE_ENTRY_BYTES), 1);
    assert_int_equal(counted(fixture, METRIC_TIER_MEMORY, METRIC_CACHE_REJECT), 1);
}

static void test_fill_of_exactly_its_bound_is_stored(void **state)
{
    struct fixture *fixture = *state;
    static const char fields[] = "Content-Type: application/json\r\n";
    char piece[1000];
    struct cache_fill *fill = start_fill(fixture, 1, JSON_200, sizeof(fields) - 1 + sizeof(piece));

    memset(piece, 'x', sizeof(piece));
    cache_fill_add(fill, str_make(piece, sizeof(piece)));
    assert_true(cache_fill_commit(fill, NO_REGION, PATIENT_MS));
    assert_true(is_in_memory(fixture, 1));
}

static void test_fill_of_an_answer_announced_too_long_is_given_up_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct cache_fill *fill = start_fill(fixture, 1, OK_JSON "Content-Length: 5000\r\n\r\n", 4000);

    assert_false(cache_fill_is_good(fill));
    cache_fill_abandon(fill);
}

static void test_fill_of_fields_over_its_bound_is_given_up(void **state)
{
    struct fixture *fixture = *state;
    struct cache_fill *fill = start_fill(fixture, 1, JSON_200, 10);

    assert_false(cache_fill_is_good(fill));
    cache_fill_add(fill, STR_LIT("{}"));
    assert_false(cache_fill_commit(fill, NO_REGION, PATIENT_MS));
}

static void test_fill_of_another_length_than_announced_is_not_stored(void **state)
{
    struct fixture *fixture = *state;
    static const char head[] = OK_JSON "Content-Length: 3\r\n\r\n";
    static const char *const bodies[] = {"", "{}", "{1} "};

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct cache_fill *fill = start_fill(fixture, 1, head, ENTRY_BYTES);
        cache_fill_add(fill, str_of(bodies[i]));
        assert_false(cache_fill_commit(fill, NO_REGION, PATIENT_MS));
        assert_false(is_in_memory(fixture, 1));
    }
    struct cache_fill *fill = start_fill(fixture, 1, head, ENTRY_BYTES);
    cache_fill_add(fill, STR_LIT("{1}"));
    assert_true(cache_fill_commit(fill, NO_REGION, PATIENT_MS));
}

static void test_fill_without_a_body_is_not_stored(void **state)
{
    struct fixture *fixture = *state;

    assert_false(
        cache_fill_commit(start_fill(fixture, 1, JSON_200, ENTRY_BYTES), NO_REGION, PATIENT_MS));
    assert_false(is_in_memory(fixture, 1));
}

static void test_fill_survives_a_refusal_of_memory(void **state)
{
    struct fixture *fixture = *state;
    char piece[10000];
    struct cache_fill *fill = start_fill(fixture, 1, JSON_200, ENTRY_BYTES);

    memset(piece, 'x', sizeof(piece));
    mem_try_fail_after(1);
    cache_fill_add(fill, str_make(piece, sizeof(piece)));
    mem_try_fail_after(0);
    assert_false(cache_fill_is_good(fill));
    assert_false(cache_fill_commit(fill, NO_REGION, PATIENT_MS));
}

static void test_fills_together_hold_no_more_than_their_share(void **state)
{
    struct fixture *fixture = *state;
    char *piece = mem_zero(1, ENTRY_BYTES / 2);
    struct cache_fill *fills[64];
    unsigned good = 0;

    for (size_t i = 0; i < ARRAY_LEN(fills); i++) {
        fills[i] = start_fill(fixture, (unsigned)i, JSON_200, ENTRY_BYTES);
        cache_fill_add(fills[i], str_make(piece, ENTRY_BYTES / 2));
        good += cache_fill_is_good(fills[i]);
    }
    /* The share is 16 MiB here: 31 of half a MiB and their heads. */
    assert_int_equal(good, 31);
    for (size_t i = 0; i < ARRAY_LEN(fills); i++) {
        cache_fill_abandon(fills[i]);
    }
    assert_true(store_in(fixture, 1, STR_LIT(ANSWER), NO_REGION));
    mem_free(piece);
}

/* ---- look-ups ---- */

static void test_redis_without_one_is_a_miss_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct cache_key key = key_of(1);
    struct cache_lookup *lookup;

    assert_int_equal(find(fixture, 1, PATIENT_MS), CACHE_MISS);
    assert_int_equal(
        cache_get_redis(fixture->worker, &key, NO_REGION, PATIENT_MS, on_found, fixture, &lookup),
        CACHE_MISS);
    assert_true(store_in(fixture, 1, STR_LIT(ANSWER), fixture->region)); /* in memory */
    cache_purge_redis(fixture->worker, fixture->region);
}

/* Another edge, with an empty memory, finds what this one stored; then it has it in memory too. */
static void test_redis_fills_the_memory_of_another_edge(void **state)
{
    struct fixture *fixture = *state;

    store_everywhere(fixture, 1);
    cache_purge(fixture->cache);
    assert_false(is_in_memory(fixture, 1));
    assert_found(fixture, 1);
    assert_true(is_in_memory(fixture, 1));
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_HIT), 1);
    assert_in_range(cache_entry_ttl_ms(fixture->entry), TTL_MS * 9 / 10, TTL_MS * 11 / 10);
}

static void test_redis_without_the_key_is_a_miss(void **state)
{
    struct fixture *fixture = *state;

    assert_not_found(fixture, 1, PATIENT_MS);
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_MISS), 1);
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_ERROR), 0);
}

static void test_redis_holds_an_entry_for_about_its_time(void **state)
{
    struct fixture *fixture = *state;
    char command[128] = "PTTL ";
    char reply[256];
    struct cache_key key = key_of(1);
    uint64_t left_ms;

    store_everywhere(fixture, 1);
    cache_key_text(&key, command + 5);
    struct str text = str_of(tell_redis(fixture, command, reply));
    assert_true(str_to_u64(str_slice(text, 1, text.len - 2), &left_ms));
    assert_in_range(left_ms, TTL_MS * 9 / 10 - 60000, TTL_MS * 11 / 10);
}

static void test_redis_holding_rubbish_is_a_miss(void **state)
{
    static const char *const values[] = {
        "", "x", "NSC2", "NSC1\\x00\\x00\\x00\\x00", "NSC2{}", "NSZ2", "NSZ2\\x00\\x00\\x00\\x00"};
    struct fixture *fixture = *state;

    for (unsigned i = 0; i < ARRAY_LEN(values); i++) {
        put_into_redis(fixture, i, values[i]);
        assert_not_found(fixture, i, PATIENT_MS);
        assert_false(is_in_memory(fixture, i));
    }
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_ERROR), ARRAY_LEN(values));
}

static void test_redis_holding_another_type_is_a_miss(void **state)
{
    struct fixture *fixture = *state;
    char name[CACHE_KEY_TEXT_LEN];
    char command[128];
    char reply[256];
    struct cache_key key = key_of(1);

    cache_key_text(&key, name);
    snprintf(command, sizeof(command), "RPUSH %s a", name);
    assert_string_equal(tell_redis(fixture, command, reply), ":1\r\n");
    assert_not_found(fixture, 1, PATIENT_MS);
    store_everywhere(fixture, 1); /* and does no harm: it is overwritten */
}

static void test_redis_holding_an_entry_whose_time_has_passed_is_a_miss(void **state)
{
    struct fixture *fixture = *state;

    /* Stored in 1970 for 16 ms; no fields; a body of two bytes. */
    put_into_redis(fixture, 1,
                   "NSC2\\x00\\x00\\x00\\x00"
                   "\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
                   "\\x10\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
                   "\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
                   "\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
                   "\\x00\\x00\\x00\\x00\\x02\\x00\\x00\\x00{}");
    assert_not_found(fixture, 1, PATIENT_MS);
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_MISS), 1);
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_ERROR), 0);
}

static void test_lookup_that_is_cancelled_does_not_call_back(void **state)
{
    struct fixture *fixture = *state;
    struct cache_lookup *lookup = NULL;

    store_everywhere(fixture, 1);
    cache_purge(fixture->cache);
    assert_int_equal(ask(fixture, 1, PATIENT_MS, &lookup), CACHE_WAIT);
    cache_lookup_cancel(lookup);
    assert_found(fixture, 1); /* the next one's answer is its own */
    assert_int_equal(fixture->calls, 1);
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_HIT), 1);
}

static void test_many_lookups_at_once_each_get_their_own_answer(void **state)
{
    struct fixture *fixture = *state;
    struct cache_lookup *lookup;

    store_everywhere(fixture, 1);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(ask(fixture, i % 2, PATIENT_MS, &lookup), CACHE_WAIT);
    }
    wait_for_calls(fixture, 100);
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_HIT), 50);
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_MISS), 50);
}

/* ---- a new view ---- */

static void test_same_redis_again_disturbs_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct cache_lookup *lookup;

    store_everywhere(fixture, 1);
    assert_int_equal(ask(fixture, 1, PATIENT_MS, &lookup), CACHE_WAIT);
    connect_worker(fixture, fixture->worker, fixture->redis.port);
    wait_for_calls(fixture, 1);
    assert_non_null(fixture->entry);
}

static void test_lookup_on_a_redis_that_is_replaced_is_a_miss_on_a_later_turn(void **state)
{
    struct fixture *fixture = *state;
    struct cache_lookup *lookup;

    store_everywhere(fixture, 1);
    assert_int_equal(ask(fixture, 1, PATIENT_MS, &lookup), CACHE_WAIT);
    connect_worker(fixture, fixture->worker, redis_free_port());
    assert_int_equal(fixture->calls, 0);
    wait_for_calls(fixture, 1);
    assert_null(fixture->entry);
    settle(fixture);
    assert_int_equal(fixture->calls, 1);
}

static void test_lookup_lost_to_a_new_view_can_still_be_cancelled(void **state)
{
    struct fixture *fixture = *state;
    struct cache_lookup *lookup;

    assert_int_equal(ask(fixture, 1, PATIENT_MS, &lookup), CACHE_WAIT);
    cache_worker_set_redis(fixture->worker, fixture->region, NULL, NULL, NULL);
    cache_lookup_cancel(lookup);
    settle(fixture);
    assert_int_equal(fixture->calls, 0);
    assert_int_equal(find(fixture, 1, PATIENT_MS), CACHE_MISS);
}

static void test_redis_taken_away_drops_stores_under_way(void **state)
{
    struct fixture *fixture = *state;

    assert_true(store_in(fixture, 1, STR_LIT(ANSWER), fixture->region));
    cache_worker_set_redis(fixture->worker, fixture->region, NULL, NULL, NULL);
    settle(fixture);
    assert_int_equal(counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_STORE), 0);
    connect_worker(fixture, fixture->worker, fixture->redis.port);
    store_everywhere(fixture, 2);
}

/* ---- purging ---- */

static bool is_purged(struct fixture *fixture)
{
    char reply[256];

    return strcmp(tell_redis(fixture, "DBSIZE", reply), ":1\r\n") == 0;
}

static void test_redis_purge_removes_our_keys_and_no_others(void **state)
{
    struct fixture *fixture = *state;
    char reply[256];

    for (unsigned i = 0; i < 50; i++) {
        put_into_redis(fixture, i, "x");
    }
    assert_string_equal(tell_redis(fixture, "SET other x", reply), "+OK\r\n");
    cache_purge_redis(fixture->worker, fixture->region);
    cache_purge_redis(fixture->worker, fixture->region); /* one more when that is done */
    wait_until(fixture, is_purged);
    assert_string_equal(tell_redis(fixture, "EXISTS other", reply), ":1\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(test_cache_gives_from_memory_what_a_fill_stored),
        WITH_LOOP(test_fill_keeps_the_fields_that_speak_of_the_answer),
        WITH_LOOP(test_fill_notes_that_a_stream_was_asked_for_with_its_usage),
        WITH_LOOP(test_fill_counts_the_age_and_the_upstreams_own_time_to_live),
        WITH_LOOP(test_fill_is_not_begun_for_an_answer_that_may_not_be_kept),
        WITH_LOOP(test_fill_over_its_bound_stores_nothing_and_holds_nothing),
        WITH_LOOP(test_fill_of_exactly_its_bound_is_stored),
        WITH_LOOP(test_fill_of_an_answer_announced_too_long_is_given_up_at_once),
        WITH_LOOP(test_fill_of_fields_over_its_bound_is_given_up),
        WITH_LOOP(test_fill_of_another_length_than_announced_is_not_stored),
        WITH_LOOP(test_fill_without_a_body_is_not_stored),
        WITH_LOOP(test_fill_survives_a_refusal_of_memory),
        WITH_LOOP(test_fills_together_hold_no_more_than_their_share),
        WITH_LOOP(test_redis_without_one_is_a_miss_at_once),
        WITH_REDIS(test_redis_fills_the_memory_of_another_edge),
        WITH_REDIS(test_redis_without_the_key_is_a_miss),
        WITH_REDIS(test_redis_holds_an_entry_for_about_its_time),
        WITH_REDIS(test_redis_holding_rubbish_is_a_miss),
        WITH_REDIS(test_redis_holding_another_type_is_a_miss),
        WITH_REDIS(test_redis_holding_an_entry_whose_time_has_passed_is_a_miss),
        WITH_REDIS(test_lookup_that_is_cancelled_does_not_call_back),
        WITH_REDIS(test_many_lookups_at_once_each_get_their_own_answer),
        WITH_REDIS(test_same_redis_again_disturbs_nothing),
        WITH_REDIS(test_lookup_on_a_redis_that_is_replaced_is_a_miss_on_a_later_turn),
        WITH_REDIS(test_lookup_lost_to_a_new_view_can_still_be_cancelled),
        WITH_REDIS(test_redis_taken_away_drops_stores_under_way),
        WITH_REDIS(test_redis_purge_removes_our_keys_and_no_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
