/* SPDX-License-Identifier: MIT */
/* What a probe looks at beyond the status: text in the body, and an engine that makes a token. */
#include <nearside/base/clock.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/health_fixture.h"

#define QUICK_GENERATE                                                                             \
    "health = { interval_ms = 60; fast_interval_ms = 30; timeout_ms = 150; generate = "            \
    "{ model = \"tiny \\\"m\\\"\"; interval_s = 1; timeout_ms = 150; }; };"

static bool has_generated(struct fixture *fixture)
{
    return fixture->pods[0].generated >= 1;
}

static bool has_generated_again(struct fixture *fixture)
{
    return fixture->pods[0].generated >= 3;
}

static void test_a_body_without_the_text_takes_an_endpoint_down(void **state)
{
    struct fixture *fixture = *state;

    apply_pods(fixture, 1,
               "health = { interval_ms = 60; fast_interval_ms = 30; timeout_ms = 150; "
               "match = \"abcd\"; };");
    run_until(fixture, is_down);
    assert_string_equal(endpoint(fixture)->reason, "probe_match");
    assert_true(metric_sum(METRIC_PROBE_FAILURES, region(fixture, 0)->slot, PROBE_CLASS_MATCH, 0) >=
                3);
    fixture->pods[0].manner = POD_CHUNKED; /* abc in one chunk, d in the next */
    run_until(fixture, is_up);
}

static void test_a_text_behind_64_kib_is_not_looked_for(void **state)
{
    struct fixture *fixture = *state;

    fixture->pods[0].manner = POD_TALKATIVE;
    apply_pods(fixture, 1,
               "health = { interval_ms = 60; fast_interval_ms = 30; timeout_ms = 500; "
               "match = \"never\"; };");
    run_until(fixture, is_down);
    assert_string_equal(endpoint(fixture)->reason, "probe_match");
}

static void test_a_generation_is_a_request_for_one_token(void **state)
{
    struct fixture *fixture = *state;

    apply_pods(fixture, 1, QUICK_GENERATE);
    run_until(fixture, has_generated);
    assert_non_null(strstr(fixture->pods[0].last_post, "POST /v1/chat/completions HTTP/1.1\r\n"));
    assert_non_null(strstr(fixture->pods[0].last_post, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(fixture->pods[0].last_post,
                           "\r\n\r\n{\"model\":\"tiny \\\"m\\\"\",\"max_tokens\":1,\"messages\":"
                           "[{\"role\":\"user\",\"content\":\"ping\"}]}"));
}

static void test_no_generation_is_asked_for_unless_configured(void **state)
{
    struct fixture *fixture = *state;

    apply_pods(fixture, 1, "health = { interval_ms = 20; };");
    run_until(fixture, asked_ten_times);
    assert_int_equal(fixture->pods[0].generated, 0);
}

static void test_engines_that_work_or_decline_stay_up(void **state)
{
    static const enum pod_engine cases[] = {ENGINE_WORKS, ENGINE_STREAMS, ENGINE_FULL,
                                            ENGINE_PICKY};
    struct fixture *fixture = *state;

    apply_pods(fixture, 1, QUICK_GENERATE);
    run_until(fixture, is_up);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t failed =
            metric_sum(METRIC_PROBE_FAILURES, region(fixture, 0)->slot, PROBE_CLASS_GENERATE, 0);

        fixture->pods[0].engine = cases[i];
        fixture->pods[0].generated = 1;
        run_until(fixture, has_generated_again);
        assert_int_equal(endpoint(fixture)->state, ENDPOINT_UP);
        assert_int_equal(
            metric_sum(METRIC_PROBE_FAILURES, region(fixture, 0)->slot, PROBE_CLASS_GENERATE, 0),
            failed);
    }
}

static void test_a_hung_engine_behind_a_good_health_page_goes_down_until_it_works(void **state)
{
    static const enum pod_engine cases[] = {ENGINE_HANGS, ENGINE_BROKEN, ENGINE_EMPTY};
    struct fixture *fixture = *state;

    apply_pods(fixture, 1, QUICK_GENERATE);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        run_until(fixture, is_up);
        fixture->pods[0].engine = cases[i];
        run_until(fixture, is_down);
        assert_string_equal(endpoint(fixture)->reason, "probe_generate");
        fixture->pods[0].asked = 0;
        run_until(fixture, asked_ten_times); /* good health alone does not bring it back */
        assert_int_equal(endpoint(fixture)->state, ENDPOINT_DOWN);
        fixture->pods[0].engine = ENGINE_WORKS;
    }
    run_until(fixture, is_up);
}

static void test_a_reload_that_ends_generations_forgets_them(void **state)
{
    struct fixture *fixture = *state;

    fixture->pods[0].engine = ENGINE_HANGS;
    apply_pods(fixture, 1, QUICK_GENERATE);
    run_until(fixture, is_down);
    apply_pods(fixture, 1, "health = { interval_ms = 60; };");
    run_until(fixture, is_up);
}

/* An engine takes its time; that is no distance. */
static void test_a_generations_time_is_no_path_latency(void **state)
{
    struct fixture *fixture = *state;

    apply_pods(fixture, 1, QUICK_GENERATE);
    run_until(fixture, is_up);
    fixture->pods[0].delay_ms = 0;
    run_until(fixture, has_generated_again);
    assert_true(region(fixture, 0)->latency_ms < 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_body_without_the_text_takes_an_endpoint_down),
        TEST(test_a_text_behind_64_kib_is_not_looked_for),
        TEST(test_a_generation_is_a_request_for_one_token),
        TEST(test_no_generation_is_asked_for_unless_configured),
        TEST(test_engines_that_work_or_decline_stay_up),
        TEST(test_a_hung_engine_behind_a_good_health_page_goes_down_until_it_works),
        TEST(test_a_reload_that_ends_generations_forgets_them),
        TEST(test_a_generations_time_is_no_path_latency),
    };

    setenv("NEARSIDE_DNS_SERVERS", "127.0.0.1:1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
