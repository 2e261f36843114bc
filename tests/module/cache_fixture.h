/* SPDX-License-Identifier: MIT */
/*
 * A loop, both tiers of a cache and a Redis for one test, and steps to tell its story with. Include
 * after <cmocka.h>.
 */
#ifndef NEARSIDE_TESTS_MODULE_CACHE_FIXTURE_H
#define NEARSIDE_TESTS_MODULE_CACHE_FIXTURE_H

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

static inline void on_guard(struct deadline *deadline, void *arg)
{
    (void)deadline;
    loop_stop(((struct fixture *)arg)->loop);
}

static inline void on_look(struct deadline *deadline, void *arg)
{
    struct fixture *fixture = arg;

    if (fixture->is_reached(fixture)) {
        loop_stop(fixture->loop);
    } else {
        deadline_set_in_ms(deadline, LOOK_MS);
    }
}

static inline void run_guarded(struct fixture *fixture)
{
    deadline_set_in_ms(&fixture->guard, GUARD_MS);
    loop_run(fixture->loop);
    deadline_cancel(&fixture->guard);
}

static inline void wait_until(struct fixture *fixture, bool (*is_reached)(struct fixture *fixture))
{
    fixture->is_reached = is_reached;
    deadline_set_in_ms(&fixture->look, LOOK_MS);
    run_guarded(fixture);
    deadline_cancel(&fixture->look);
    assert_true(is_reached(fixture));
}

/* A few turns, so that what was deferred is done, and what must not come has had time to. */
static inline void settle(struct fixture *fixture)
{
    deadline_set_in_ms(&fixture->guard, 5);
    loop_run(fixture->loop);
}

static inline void remember_counters(struct fixture *fixture)
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

static inline int64_t counted(struct fixture *fixture, enum metric_tier tier,
                              enum metric_cache_result result)
{
    return metric_sum(METRIC_CACHE, tier, result, 0) - fixture->counted[tier][result];
}

static inline int64_t limit_hits(struct fixture *fixture, enum limit limit)
{
    return metric_sum(METRIC_LIMIT_HITS, limit, 0, 0) - fixture->limits[limit];
}

static inline struct cache_key key_of(unsigned number)
{
    struct cache_key key = {.bytes = {1}};

    memcpy(key.bytes + 1, &number, sizeof(number));
    return key;
}

static inline void connect_worker(struct fixture *fixture, struct cache_worker *worker,
                                  uint16_t port)
{
    struct conf_redis conf = {.host = "127.0.0.1", .user = "", .password = ""};
    struct addr addr;

    assert_true(addr_parse_ip(STR_LIT("127.0.0.1"), port, &addr));
    cache_worker_set_redis(worker, fixture->region, &conf, &addr, NULL);
}

/* Begin to keep an answer with this head. */
static inline struct cache_fill *start_fill_of(struct fixture *fixture, unsigned number,
                                               enum cache_form form, const char *head,
                                               uint64_t max_bytes)
{
    static const struct h1_limits limits = {.head_bytes = 4096, .uri_bytes = 64, .fields = 32};
    struct cache_key key = key_of(number);
    struct http_head response;
    size_t used;

    assert_int_equal(h1_parse_response(str_of(head), &limits, HTTP_POST, &response, &used),
                     H1_COMPLETE);
    return cache_fill_start(fixture->worker, &key, form, &response, TTL_MS, max_bytes);
}

static inline struct cache_fill *start_fill(struct fixture *fixture, unsigned number,
                                            const char *head, uint64_t max_bytes)
{
    return start_fill_of(fixture, number, CACHE_FORM_PLAIN, head, max_bytes);
}

static inline bool store_in(struct fixture *fixture, unsigned number, struct str body,
                            unsigned region)
{
    struct cache_fill *fill = start_fill(fixture, number, JSON_200, ENTRY_BYTES);

    assert_non_null(fill);
    cache_fill_add(fill, body);
    return cache_fill_commit(fill, region, PATIENT_MS);
}

static inline bool is_stored_in_redis(struct fixture *fixture)
{
    return counted(fixture, METRIC_TIER_REDIS, METRIC_CACHE_STORE) > 0;
}

/* In memory and in Redis, and known to be there. */
static inline void store_everywhere(struct fixture *fixture, unsigned number)
{
    assert_true(store_in(fixture, number, STR_LIT(ANSWER), fixture->region));
    wait_until(fixture, is_stored_in_redis);
}

static inline bool is_in_memory(struct fixture *fixture, unsigned number)
{
    struct cache_key key = key_of(number);
    struct cache_entry *entry = cache_get_memory(fixture->worker, &key);
    bool is_held = entry != NULL;

    cache_count_use(fixture->worker, METRIC_TIER_MEMORY, is_held ? CACHE_USE_HIT : CACHE_USE_NONE,
                    entry);
    cache_entry_unref(entry);
    return is_held;
}

static inline void forget_entry(struct fixture *fixture)
{
    cache_entry_unref(fixture->entry);
    fixture->entry = NULL;
}

static inline void on_found(struct cache_entry *entry, enum metric_tier tier, void *arg)
{
    struct fixture *fixture = arg;

    assert_int_equal(tier, METRIC_TIER_REDIS);
    forget_entry(fixture);
    fixture->entry = entry;
    if (entry != NULL) {
        cache_count_use(fixture->worker, METRIC_TIER_REDIS, CACHE_USE_HIT, entry);
    }
    fixture->calls++;
    if (fixture->calls == fixture->calls_wanted) {
        loop_stop(fixture->loop);
    }
}

static inline enum cache_answer ask(struct fixture *fixture, unsigned number, uint32_t timeout_ms,
                                    struct cache_lookup **ret_lookup)
{
    struct cache_key key = key_of(number);
    unsigned calls = fixture->calls;
    enum cache_answer answer = cache_get_redis(fixture->worker, &key, fixture->region, timeout_ms,
                                               on_found, fixture, ret_lookup);

    assert_int_equal(fixture->calls, calls); /* never before the starter returns */
    return answer;
}

static inline void wait_for_calls(struct fixture *fixture, unsigned calls)
{
    fixture->calls_wanted = calls;
    if (fixture->calls < calls) {
        run_guarded(fixture);
    }
    assert_int_equal(fixture->calls, calls);
}

/* One look-up in Redis from start to end; fixture->entry is what came. */
static inline enum cache_answer find(struct fixture *fixture, unsigned number, uint32_t timeout_ms)
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

static inline void assert_found(struct fixture *fixture, unsigned number)
{
    assert_int_equal(find(fixture, number, PATIENT_MS), CACHE_WAIT);
    assert_non_null(fixture->entry);
    struct str body = cache_entry_body(fixture->entry);
    assert_int_equal(body.len, sizeof(ANSWER) - 1);
    assert_memory_equal(body.ptr, ANSWER, body.len);
}

static inline void assert_not_found(struct fixture *fixture, unsigned number, uint32_t timeout_ms)
{
    (void)find(fixture, number, timeout_ms);
    assert_null(fixture->entry);
}

/* Say something to Redis past the cache, on a connection of our own; its one-line reply. */
static inline const char *tell_redis(struct fixture *fixture, const char *command, char reply[256])
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

static inline void put_into_redis(struct fixture *fixture, unsigned number,
                                  const char *quoted_value)
{
    char name[CACHE_KEY_TEXT_LEN];
    char command[1024];
    char reply[256];
    struct cache_key key = key_of(number);

    cache_key_text(&key, name);
    snprintf(command, sizeof(command), "SET %s \"%s\"", name, quoted_value);
    assert_string_equal(tell_redis(fixture, command, reply), "+OK\r\n");
}

/* ---- fixtures ---- */

static inline int setup_loop(void **state)
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

static inline int setup_redis(void **state)
{
    struct fixture *fixture;

    (void)setup_loop(state);
    fixture = *state;
    redis_start(&fixture->redis, NULL);
    connect_worker(fixture, fixture->worker, fixture->redis.port);
    return 0;
}

static inline int teardown(void **state)
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

#define WITH_LOOP(name)  cmocka_unit_test_setup_teardown(name, setup_loop, teardown)
#define WITH_REDIS(name) cmocka_unit_test_setup_teardown(name, setup_redis, teardown)

#endif
