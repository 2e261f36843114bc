/* SPDX-License-Identifier: MIT */
/*
 * A loop, a Redis and a kv for one test, and steps to tell its story with. Include after
 * <cmocka.h>.
 */
#ifndef NEARSIDE_TESTS_MODULE_KV_FIXTURE_H
#define NEARSIDE_TESTS_MODULE_KV_FIXTURE_H

#include "module/redis_server.h"

#include <nearside/base/assert.h>
#include <nearside/base/buf.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/kv/kv.h>
#include <nearside/loop/loop.h>

#include <stdio.h>
#include <string.h>

#define PATIENT_MS 10000 /* a timeout that no healthy machine reaches */
#define GUARD_MS   20000 /* a test that waits longer has failed */
#define LOOK_MS    2     /* how often a condition is looked at */

struct fixture {
    struct redis_server redis;
    void *peer; /* a test's own, in place of Redis */
    struct loop *loop;
    struct kv *kv;
    struct deadline guard;
    struct deadline look;
    bool (*is_reached)(struct fixture *fixture);

    /* What the callbacks said. */
    unsigned calls;
    unsigned calls_wanted;
    enum kv_result result; /* of the last */
    struct buf value;      /* of the last */
    unsigned results[KV_RESULT_COUNT];
};

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

/* Run until the condition holds. */
static inline void wait_until(struct fixture *fixture, bool (*is_reached)(struct fixture *fixture))
{
    fixture->is_reached = is_reached;
    deadline_set_in_ms(&fixture->look, LOOK_MS);
    run_guarded(fixture);
    deadline_cancel(&fixture->look);
    assert_true(is_reached(fixture));
}

static inline bool is_up(struct fixture *fixture)
{
    return kv_is_up(fixture->kv);
}

static inline bool is_not_up(struct fixture *fixture)
{
    return !kv_is_up(fixture->kv);
}

/* A few turns, so that what was deferred is done. */
static inline void settle(struct fixture *fixture)
{
    deadline_set_in_ms(&fixture->guard, 5);
    loop_run(fixture->loop);
}

static inline void on_done(enum kv_result result, struct str value, void *arg)
{
    struct fixture *fixture = arg;

    fixture->calls++;
    fixture->result = result;
    fixture->results[result]++;
    buf_clear(&fixture->value);
    buf_append_str(&fixture->value, value);
    if (fixture->calls == fixture->calls_wanted) {
        loop_stop(fixture->loop);
    }
}

static inline void forget_calls(struct fixture *fixture)
{
    fixture->calls = 0;
    fixture->calls_wanted = 0;
    memset(fixture->results, 0, sizeof(fixture->results));
}

static inline void wait_for_calls(struct fixture *fixture, unsigned calls)
{
    fixture->calls_wanted = calls;
    if (fixture->calls < calls) {
        run_guarded(fixture);
    }
    assert_int_equal(fixture->calls, calls);
}

/* One command from start to end. */
static inline enum kv_result get(struct fixture *fixture, const char *key, uint32_t timeout_ms)
{
    forget_calls(fixture);
    (void)kv_get(fixture->kv, str_of(key), timeout_ms, on_done, fixture);
    assert_int_equal(fixture->calls, 0); /* never before the starter returns */
    wait_for_calls(fixture, 1);
    return fixture->result;
}

static inline enum kv_result set_bytes(struct fixture *fixture, struct str key, struct str value)
{
    forget_calls(fixture);
    (void)kv_set(fixture->kv, key, value, 60000, PATIENT_MS, on_done, fixture);
    assert_int_equal(fixture->calls, 0);
    wait_for_calls(fixture, 1);
    return fixture->result;
}

static inline enum kv_result set(struct fixture *fixture, const char *key, const char *value)
{
    return set_bytes(fixture, str_of(key), str_of(value));
}

static inline void assert_result(enum kv_result got, enum kv_result want)
{
    assert_string_equal(kv_result_word(got), kv_result_word(want));
}

static inline void assert_value(const struct fixture *fixture, const char *want)
{
    assert_int_equal(buf_len(&fixture->value), strlen(want));
    assert_memory_equal(buf_str(&fixture->value).ptr, want, strlen(want));
}

static inline void assert_error(const struct fixture *fixture, const char *part)
{
    if (strstr(kv_last_error(fixture->kv), part) == NULL) {
        fail_msg("last error \"%s\" does not have \"%s\"", kv_last_error(fixture->kv), part);
    }
}

static inline struct kv_target target_at(uint16_t port)
{
    struct kv_target target = {.server_name = "localhost"};

    assert_true(addr_parse_ip(STR_LIT("127.0.0.1"), port, &target.addr));
    return target;
}

/* To the fixture's Redis, without login. */
static inline void connect_to_redis(struct fixture *fixture)
{
    struct kv_target target = target_at(fixture->redis.port);

    fixture->kv = kv_new(fixture->loop, &target);
}

static inline int setup_loop(void **state)
{
    struct fixture *fixture = mem_new(struct fixture);

    fixture->loop = loop_new("test");
    deadline_init(&fixture->guard, fixture->loop, on_guard, fixture);
    deadline_init(&fixture->look, fixture->loop, on_look, fixture);
    buf_init(&fixture->value);
    *state = fixture;
    return 0;
}

static inline int setup_redis(void **state)
{
    struct fixture *fixture;

    (void)setup_loop(state);
    fixture = *state;
    redis_start(&fixture->redis, NULL);
    connect_to_redis(fixture);
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *fixture = *state;

    kv_free(fixture->kv);
    settle(fixture);
    deadline_done(&fixture->guard);
    deadline_done(&fixture->look);
    loop_free(fixture->loop);
    redis_stop(&fixture->redis);
    buf_done(&fixture->value);
    mem_free(fixture);
    return 0;
}

#endif
