/* SPDX-License-Identifier: MIT */
/*
 * The cache with both tiers, against a real redis-server: what is stored is found again, by this
 * edge and by others, and whatever happens to Redis is a miss and nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/redis_server.h"

#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/cache/cache.h>
#include <nearside/conf/tree.h>
#include <nearside/http/h1.h>
#include <nearside/http/head.h>
#include <nearside/kv/kv.h>
#include <nearside/loop/loop.h>
#include <nearside/obs/metric.h>

#define PATIENT_MS   10000 /* a timeout that no healthy machine reaches */
#define IMPATIENT_MS 20
#define GUARD_MS     20000 /* a test that waits longer has failed */
#define LOOK_MS      2     /* how often a condition is looked at */
#define MEMORY_BYTES 4194304
#define ENTRY_BYTES  1048576
#define TTL_MS       3600000
#define NO_REGION    METRIC_REGION_NONE

#define ANSWER   "{\"choices\":[{\"message\":{\"content\":\"hello\"}}]}"
#define OK_JSON  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define CHUNKED  "Transfer-Encoding: chunked\r\n\r\n"
#define JSON_200 OK_JSON CHUNKED

struct fixture {
    struct redis_server redis;
    struct loop *loop;
    struct cache *cache;
    struct cache_worker *worker;
    struct metric_block *metrics;
    unsigned region;
    struct deadline guard;
    struct deadline look;
    bool (*is_reached)(struct fixture *fixture);

    /* What the callbacks said. */
    unsigned calls;
    unsigned calls_wanted;
    unsigned asked;
    struct cache_entry *entry; /* of the last; ref held */

    /* Counters as of the start of the test: a metric block lives as long as the process. */
    int64_t counted[METRIC_TIERS][METRIC_CACHE_RESULTS];
    int64_t limits[LIMIT_COUNT];
};

/* ---- steps ---- */

static void on_guard(struct deadline *deadline, void *arg)
{
    (void)deadline;
    loop_stop(((struct fixture *)arg)->loop);
}

static void on_look(struct deadline *deadline, void *arg)
{
    struct fixture *fixture = arg;

    if (fixture->is_reached(fixture)) {
        loop_stop(fixture->loop);
    } else {
        deadline_set_in_ms(deadline, LOOK_MS);
    }
}

static void run_guarded(struct fixture *fixture)
{
    deadline_set_in_ms(&fixture->guard, GUARD_MS);
    loop_run(fixture->loop);
    deadline_cancel(&fixture->guard);
}

static void wait_until(struct fixture *fixture, bool (*is_reached)(struct fixture *fixture))
{
    fixture->is_reached = is_reached;
    deadline_set_in_ms(&fixture->look, LOOK_MS);
    run_guarded(fixture);
    deadline_cancel(&fixture->look);
    assert_true(is_reached(fixture));
}

/* A few turns, so that what was deferred is done, and what must not come has had time to. */
static void settle(struct fixture *fixture)
{
    deadline_set_in_ms(&fixture->guard, 5);
    loop_run(fixture->loop);
}

static void remember_counters(struct fixture *fixture)
{
    for (unsigned tier = 0; tier < METRIC_TIERS; tier++) {
        for (unsigned result = 0; result < METRIC_CACHE_RESULTS; result++) {
            fixture->counted[tier][result] = metric_sum(METRIC_CACHE, tier, result, 0);
        }
    }
    for (unsigned limit = 0; limit < LIMIT_COUNT; limit++) {
        fixture->limits[limit] = metric_sum(METRIC_LIMIT_HITS, limit, 0, 0);
    }
}

static int64_t counted(struct fixture *fixture, enum metric_tier tier,
                       enum metric_cache_result result)
{
    return metric_sum(METRIC_CACHE, tier, result, 0) - fixture->counted[tier][result];
}

static int64_t limit_hits(struct fixture *fixture, enum limit limit)
{
    return metric_sum(METRIC_LIMIT_HITS, limit, 0, 0) - fixture->limits[limit];
}

static struct cache_key key_of(unsigned number)
{
    struct cache_key key = {.bytes = {1}};

    memcpy(key.bytes + 1, &number, sizeof(number));
    return key;
}

static void connect_worker(struct fixture *fixture, struct cache_worker *worker, uint16_t port)
{
    struct conf_redis conf = {.host = "127.0.0.1", .user = "", .password = ""};
    struct addr addr;

    assert_true(addr_parse_ip(STR_LIT("127.0.0.1"), port, &addr));
    cache_worker_set_redis(worker, fixture->region, &conf, &addr, NULL);
}

/* Begin to keep an answer with this head. */
static struct cache_fill *start_fill(struct fixture *fixture, unsigned number, const char *head,
                                     uint64_t max_bytes)
{
    static const struct h1_limits limits = {.head_bytes = 4096, .uri_bytes = 64, .fields = 32};
    struct cache_key key = key_of(number);
    struct http_head response;
    size_t used;

    assert_int_equal(h1_parse_response(str_of(head), &limits, HTTP_POST, &response, &used),
                     H1_COMPLETE);
    return cache_fill_start(fixture->worker, &key, &response, TTL_MS, max_bytes);
}

static bool store_in(struct fixture *fixture, unsigned number, struct str body, unsigned region)
{
    struct cache_fill *fill = start_fill(fixture, number, JSON_200, ENTRY_BYTES);

    assert_non_null(fill);
    cache_fill_add(fill, body);
    return cache_fill_commit(fill, region, PATIENT_MS);
}

static bool is_stored_in_redis(struct fixture *fixture)
{
    return counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_STORE) > 0;
}

/* In memory and in Redis, and known to be there. */
static void store_everywhere(struct fixture *fixture, unsigned number)
{
    assert_true(store_in(fixture, number, STR_LIT(ANSWER), fixture->region));
    wait_until(fixture, is_stored_in_redis);
}

static bool is_in_memory(struct fixture *fixture, unsigned number)
{
    struct cache_key key = key_of(number);
    struct cache_entry *entry = cache_get_memory(fixture->worker, &key);
    bool is_held = entry != NULL;

    cache_entry_unref(entry);
    return is_held;
}

static void forget_entry(struct fixture *fixture)
{
    cache_entry_unref(fixture->entry);
    fixture->entry = NULL;
}

static void on_found(struct cache_entry *entry, enum metric_tier tier, void *arg)
{
    struct fixture *fixture = arg;

    assert_int_equal(tier, METRIC_TIER_REDIS);
    forget_entry(fixture);
    fixture->entry = entry;
    fixture->calls++;
    if (fixture->calls == fixture->calls_wanted) {
        loop_stop(fixture->loop);
    }
}

static enum cache_answer ask(struct fixture *fixture, unsigned number, uint32_t timeout_ms,
                             struct cache_lookup **ret_lookup)
{
    struct cache_key key = key_of(number);
    unsigned calls = fixture->calls;
    enum cache_answer answer = cache_get_redis(fixture->worker, &key, fixture->region, timeout_ms,
                                               on_found, fixture, ret_lookup);

    assert_int_equal(fixture->calls, calls); /* never before the starter returns */
    return answer;
}

static void wait_for_calls(struct fixture *fixture, unsigned calls)
{
    fixture->calls_wanted = calls;
    if (fixture->calls < calls) {
        run_guarded(fixture);
    }
    assert_int_equal(fixture->calls, calls);
}

/* One look-up in Redis from start to end; fixture->entry is what came. */
static enum cache_answer find(struct fixture *fixture, unsigned number, uint32_t timeout_ms)
{
    struct cache_lookup *lookup;

    fixture->calls = 0;
    forget_entry(fixture);
    if (ask(fixture, number, timeout_ms, &lookup) == CACHE_MISS) {
        return CACHE_MISS;
    }
    wait_for_calls(fixture, 1);
    return CACHE_WAIT;
}

static void assert_found(struct fixture *fixture, unsigned number)
{
    assert_int_equal(find(fixture, number, PATIENT_MS), CACHE_WAIT);
    assert_non_null(fixture->entry);
    struct str body = cache_entry_body(fixture->entry);
    assert_int_equal(body.len, sizeof(ANSWER) - 1);
    assert_memory_equal(body.ptr, ANSWER, body.len);
}

static void assert_not_found(struct fixture *fixture, unsigned number, uint32_t timeout_ms)
{
    (void)find(fixture, number, timeout_ms);
    assert_null(fixture->entry);
}

/* Say something to Redis past the cache, on a connection of our own; its one-line reply. */
static const char *tell_redis(struct fixture *fixture, const char *command, char reply[256])
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(fixture->redis.port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ssize_t len;

    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(write(fd, command, strlen(command)), (ssize_t)strlen(command));
    assert_int_equal(write(fd, "\r\n", 2), 2);
    len = read(fd, reply, 255);
    assert_true(len > 0);
    reply[len] = '\0';
    close(fd);
    return reply;
}

static void put_into_redis(struct fixture *fixture, unsigned number, const char *quoted_value)
{
    char name[CACHE_KEY_TEXT_LEN];
    char command[512];
    char reply[256];
    struct cache_key key = key_of(number);

    cache_key_text(&key, name);
    snprintf(command, sizeof(command), "SET %s \"%s\"", name, quoted_value);
    assert_string_equal(tell_redis(fixture, command, reply), "+OK\r\n");
}

/* ---- fixtures ---- */

static int setup_loop(void **state)
{
    struct fixture *fixture = mem_new(struct fixture);

    fixture->loop = loop_new("test");
    fixture->metrics = metric_block_new();
    fixture->region = metric_region_slot(STR_LIT("us-east"));
    fixture->cache = cache_new(MEMORY_BYTES);
    fixture->worker = cache_worker_new(fixture->cache, fixture->loop, fixture->metrics);
    deadline_init(&fixture->guard, fixture->loop, on_guard, fixture);
    deadline_init(&fixture->look, fixture->loop, on_look, fixture);
    remember_counters(fixture);
    *state = fixture;
    return 0;
}

static int setup_redis(void **state)
{
    struct fixture *fixture;

    (void)setup_loop(state);
    fixture = *state;
    redis_start(&fixture->redis, NULL);
    connect_worker(fixture, fixture->worker, fixture->redis.port);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    forget_entry(fixture);
    cache_worker_free(fixture->worker);
    settle(fixture);
    deadline_done(&fixture->guard);
    deadline_done(&fixture->look);
    loop_free(fixture->loop);
    cache_free(fixture->cache); /* asserts that fills and entries are all accounted for */
    redis_stop(&fixture->redis);
    mem_free(fixture);
    return 0;
}

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
    assert_int_equal(cache_entry_ttl_ms(entry), TTL_MS);
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
    assert_int_equal(cache_entry_ttl_ms(entry), 60000);
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
    assert_int_equal(cache_entry_ttl_ms(fixture->entry), TTL_MS);
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
    static const char *const values[] = {"", "x", "NSC1", "NSC2\\x00\\x00\\x00\\x00", "NSC1{}"};
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
                   "NSC1\\x00\\x00\\x00\\x00"
                   "\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
                   "\\x10\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
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

/* ---- Redis in trouble ---- */

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
    cache_purge_redis(fixture->worker, fixture->region); /* once is enough */
    wait_until(fixture, is_purged);
    assert_string_equal(tell_redis(fixture, "EXISTS other", reply), ":1\r\n");
}

#define WITH_LOOP(name)  cmocka_unit_test_setup_teardown(name, setup_loop, teardown)
#define WITH_REDIS(name) cmocka_unit_test_setup_teardown(name, setup_redis, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(test_cache_gives_from_memory_what_a_fill_stored),
        WITH_LOOP(test_fill_keeps_the_fields_that_speak_of_the_answer),
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
        WITH_REDIS(test_redis_frozen_costs_a_few_timeouts_then_nothing),
        WITH_REDIS(test_lookup_in_a_frozen_redis_ends_within_its_time),
        WITH_REDIS(test_redis_killed_is_a_miss_and_heals_when_it_is_back),
        WITH_LOOP(test_redis_that_was_never_there_is_a_miss),
        WITH_REDIS(test_fills_that_end_while_redis_fails_are_kept_in_memory),
        WITH_REDIS(test_redis_that_is_full_refuses_stores_and_still_answers),
        WITH_REDIS(test_stores_under_way_are_bounded),
        WITH_REDIS(test_redis_purge_removes_our_keys_and_no_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
