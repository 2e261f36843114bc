/* SPDX-License-Identifier: MIT */
/* Health on a real loop, against pods on loopback that behave well and badly. */
#include "health/breaker_private.h"

#include <nearside/base/addr.h>
#include <nearside/dns/resolver.h>
#include <nearside/fleet/fleet.h>
#include <nearside/health/health.h>
#include <nearside/obs/metric.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/health_fixture.h"

#include <pthread.h>

/* ---- probes ---- */

static void test_the_first_probe_comes_at_once_and_its_success_is_enough(void **state)
{
    struct fixture *fixture = *state;
    uint64_t start_ns = clock_mono_ns();

    apply_pods(fixture, 1, "health = { interval_ms = 5000; fast_interval_ms = 5000; };");
    run_until(fixture, is_up);
    assert_true(ms_since(start_ns) < 2000);
    assert_non_null(
        strstr(fixture->pods[0].last_request, "GET /health HTTP/1.1\r\nHost: 127.0.0.1:"));
    assert_non_null(
        strstr(fixture->pods[0].last_request, "User-Agent: nearside/" NEARSIDE_VERSION));
    assert_true(region(fixture, 0)->latency_known);
    assert_int_equal(fleet_view_now(fixture->fleet)->home, 0);
}

static void test_probes_keep_one_connection(void **state)
{
    struct fixture *fixture = *state;

    apply_pods(fixture, 1, QUICK);
    run_until(fixture, asked_ten_times);
    assert_int_equal(fixture->pods[0].accepted, 1);
    assert_true(metric_sum(METRIC_PROBES, region(fixture, 0)->slot, OUTCOME_OK, 0) >= 8);
}

static void test_a_refusing_endpoint_is_down_at_once(void **state)
{
    struct fixture *fixture = *state;
    uint64_t start_ns = clock_mono_ns();

    pod_kill(&fixture->pods[0]);
    apply_pods(fixture, 1, "health = { interval_ms = 5000; fast_interval_ms = 5000; };");
    run_until(fixture, is_down);
    assert_true(ms_since(start_ns) < 2000);
    assert_string_equal(endpoint(fixture)->reason, "probe_tcp_refused");
}

static void test_a_killed_pod_goes_down_and_comes_back(void **state)
{
    struct fixture *fixture = *state;

    apply_pods(fixture, 1, QUICK);
    run_until(fixture, is_up);
    pod_kill(&fixture->pods[0]);
    run_until(fixture, is_down);
    pod_listen(&fixture->pods[0]);
    run_until(fixture, is_up);
    assert_true(endpoint(fixture)->weight < 0.2F);
}

static void test_a_silent_pod_goes_down_after_its_misses(void **state)
{
    struct fixture *fixture = *state;
    uint64_t start_ns;

    apply_pods(fixture, 1, QUICK);
    run_until(fixture, is_up);
    fixture->pods[0].manner = POD_SILENT;
    start_ns = clock_mono_ns();
    run_until(fixture, is_down);
    assert_true(ms_since(start_ns) >= 2 * 150);
    assert_true(ms_since(start_ns) < 66 + 3 * 165 + 400); /* and some for a slow machine */
    assert_string_equal(endpoint(fixture)->reason, "probe_timeout");
}

struct manner_case {
    enum pod_manner manner;
    const char *reason;
};

static void test_bad_answers_take_an_endpoint_down(void **state)
{
    static const struct manner_case cases[] = {{POD_BROKEN, "probe_status"},
                                               {POD_MISSING, "probe_status"},
                                               {POD_GARBAGE, "probe_malformed"},
                                               {POD_HANGS_UP, "probe_reset"},
                                               {POD_STALLS, "probe_timeout"}};
    struct fixture *fixture = *state;

    apply_pods(fixture, 1, QUICK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture->pods[0].manner = POD_HEALTHY;
        run_until(fixture, is_up);
        fixture->pods[0].manner = cases[i].manner;
        run_until(fixture, is_down);
        assert_string_equal(endpoint(fixture)->reason, cases[i].reason);
    }
}

/* Probes of the first region counted so far, by all tests: those that passed, or the others. */
static int64_t probes(struct fixture *fixture, bool passed)
{
    int64_t sum = 0;

    for (unsigned outcome = 0; outcome < OUTCOME_COUNT; outcome++) {
        if ((outcome == OUTCOME_OK) == passed) {
            sum += metric_sum(METRIC_PROBES, region(fixture, 0)->slot, outcome, 0);
        }
    }
    return sum;
}

static void test_unusual_but_good_answers_pass(void **state)
{
    static const enum pod_manner cases[] = {POD_CHUNKED, POD_TO_CLOSE, POD_TALKATIVE, POD_ONE_SHOT};
    struct fixture *fixture = *state;
    int64_t good;
    int64_t bad;

    apply_pods(fixture, 1, QUICK);
    run_until(fixture, is_up);
    good = probes(fixture, true);
    bad = probes(fixture, false);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture->pods[0].manner = cases[i];
        fixture->pods[0].asked = 0;
        run_until(fixture, asked_ten_times);
        assert_int_equal(region(fixture, 0)->state, REGION_UP);
    }
    assert_true(probes(fixture, true) >= good + 36);
    assert_int_equal(probes(fixture, false), bad);
}

static void test_a_kept_connection_closed_between_probes_is_no_miss(void **state)
{
    struct fixture *fixture = *state;
    int64_t bad;

    apply_pods(fixture, 1, QUICK);
    run_until(fixture, is_up);
    bad = probes(fixture, false);
    for (int i = 0; i < 5; i++) {
        fixture->pods[0].asked = 9;
        pod_drop_conns(&fixture->pods[0]);
        run_until(fixture, asked_ten_times);
    }
    run_ms(fixture, 20);
    assert_int_equal(probes(fixture, false), bad);
    assert_int_equal(region(fixture, 0)->state, REGION_UP);
}

static void test_the_expected_status_is_the_configs(void **state)
{
    struct fixture *fixture = *state;

    fixture->pods[0].manner = POD_MISSING;
    apply_pods(
        fixture, 1,
        "health = { path = \"/up\"; expect = \"404\"; interval_ms = 60; timeout_ms = 150; };");
    run_until(fixture, is_up);
    assert_non_null(strstr(fixture->pods[0].last_request, "GET /up HTTP/1.1\r\n"));
}

static void test_a_slow_pod_delays_no_other_pods_probes(void **state)
{
    struct fixture *fixture = *state;

    fixture->pods[1].manner = POD_SILENT;
    apply_pods(fixture, 2, "health = { interval_ms = 50; timeout_ms = 3000; };");
    run_until(fixture, asked_ten_times);
    assert_int_equal(region(fixture, 0)->state, REGION_UP);
    assert_int_equal(region(fixture, 1)->state, REGION_UNKNOWN); /* its first probe still waits */
}

/* ---- path latency ---- */

static bool has_latency_of_40_ms(struct fixture *fixture)
{
    return region(fixture, 0)->latency_known && region(fixture, 0)->latency_ms > 35;
}

static void test_distance_behind_a_near_tcp_end_is_known_with_the_first_verdict(void **state)
{
    struct fixture *fixture = *state;

    fixture->pods[0].delay_ms = 40;
    apply_pods(fixture, 1, QUICK);
    run_until(fixture, is_up);
    assert_true(has_latency_of_40_ms(fixture));
    assert_true(region(fixture, 0)->latency_is_probe);
    assert_true(region(fixture, 0)->latency_ms < 100);
}

static void test_the_closer_of_two_becomes_home(void **state)
{
    struct fixture *fixture = *state;

    fixture->pods[0].delay_ms = 40;
    fixture->pods[1].delay_ms = 10;
    apply_pods(fixture, 2, QUICK);
    run_until(fixture, both_up);
    assert_int_equal(fleet_view_now(fixture->fleet)->home, 1);
}

static bool has_connected_twice(struct fixture *fixture)
{
    return fixture->pods[0].accepted >= 2;
}

static void test_a_handshake_is_timed_every_five_seconds(void **state)
{
    struct fixture *fixture = *state;
    uint64_t start_ns = clock_mono_ns();

    apply_pods(fixture, 1, QUICK);
    run_until(fixture, has_connected_twice);
    assert_in_range(ms_since(start_ns), 4900, 7000);
    assert_int_equal(endpoint(fixture)->state, ENDPOINT_UP);
}

/* ---- reports ---- */

static void report(struct fixture *fixture, enum outcome outcome)
{
    struct attempt_report attempt = {.live = endpoint(fixture)->live,
                                     .outcome = outcome,
                                     .begun_ns = clock_mono_ns(),
                                     .now_ns = clock_mono_ns()};

    health_report(fixture->health, &attempt);
}

static void test_one_refused_connection_takes_an_endpoint_down(void **state)
{
    struct fixture *fixture = *state;

    apply_pods(fixture, 1, QUICK);
    run_until(fixture, is_up);
    report(fixture, OUTCOME_CONNECT_REFUSED);
    run_until(fixture, is_down);
    run_until(fixture, is_up); /* probes are fine: no holding out */
}

static void test_a_success_between_failures_starts_the_count_anew(void **state)
{
    struct fixture *fixture = *state;

    apply_pods(fixture, 1, QUICK);
    run_until(fixture, is_up);
    for (int i = 0; i < 3 * BREAKER_HARD; i++) {
        report(fixture, i % BREAKER_HARD == BREAKER_HARD - 1 ? OUTCOME_OK : OUTCOME_RESET);
    }
    run_ms(fixture, 20);
    assert_int_equal(endpoint(fixture)->state, ENDPOINT_UP);
}

static void test_outcomes_without_blame_change_nothing(void **state)
{
    struct fixture *fixture = *state;

    apply_pods(fixture, 1, QUICK);
    run_until(fixture, is_up);
    for (int outcome = 0; outcome < OUTCOME_COUNT; outcome++) {
        for (int i = 0; !outcome_is_blamed((enum outcome)outcome) && i < 10; i++) {
            report(fixture, (enum outcome)outcome);
        }
    }
    run_ms(fixture, 20);
    assert_int_equal(endpoint(fixture)->state, ENDPOINT_UP);
    assert_int_equal(atomic_load(&endpoint(fixture)->live->failures), 0);
}

static bool was_asked_again(struct fixture *fixture)
{
    return fixture->pods[0].asked >= 3;
}

static void test_a_blamed_failure_makes_the_next_probe_come_soon(void **state)
{
    struct fixture *fixture = *state;
    uint64_t start_ns;

    apply_pods(fixture, 1, "health = { interval_ms = 8000; fast_interval_ms = 50; };");
    run_until(fixture, is_up);
    assert_int_equal(fixture->pods[0].asked, 2); /* the second took the round trip */
    start_ns = clock_mono_ns();
    report(fixture, OUTCOME_RESET);
    run_until(fixture, was_asked_again);
    assert_true(ms_since(start_ns) < 4000);
}

struct full_case {
    uint64_t retry_after_ms;
    uint64_t want_ms;
};

static void test_full_is_not_broken(void **state)
{
    static const struct full_case cases[] = {{0, 1000}, {2500, 2500}, {600000, 60000}};
    struct fixture *fixture = *state;

    apply_pods(fixture, 1, QUICK);
    run_until(fixture, is_up);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct attempt_report attempt = {.live = endpoint(fixture)->live,
                                         .outcome = OUTCOME_FULL,
                                         .retry_after_ms = cases[i].retry_after_ms,
                                         .now_ns = 7000 * NS_PER_S};

        health_report(fixture->health, &attempt);
        assert_true(atomic_load(&endpoint(fixture)->live->full_until_ns) ==
                    7000 * NS_PER_S + cases[i].want_ms * NS_PER_MS);
    }
    run_ms(fixture, 20);
    assert_int_equal(endpoint(fixture)->state, ENDPOINT_UP);
}

static void test_workers_samples_become_latency(void **state)
{
    struct fixture *fixture = *state;
    struct attempt_report attempt = {.outcome = OUTCOME_OK};

    fixture->pods[0].manner = POD_SILENT; /* nothing comes from probes */
    apply_pods(fixture, 1, QUICK);
    attempt.live = endpoint(fixture)->live;
    attempt.tcp_open_ns = 40 * NS_PER_MS;
    attempt.rtt_us = 40000;
    attempt.now_ns = clock_mono_ns();
    health_report(fixture->health, &attempt);
    run_until(fixture, has_latency_of_40_ms);
    assert_false(region(fixture, 0)->latency_is_probe);
}

#define THREADS 3
#define REPORTS 2000

struct reporter {
    struct fixture *fixture;
    struct endpoint_live *live;
    pthread_t thread;
};

static void *run_reporter(void *arg)
{
    struct reporter *reporter = arg;

    for (int i = 0; i < REPORTS; i++) {
        struct attempt_report attempt = {.live = reporter->live,
                                         .outcome = i % 3 == 0 ? OUTCOME_OK : OUTCOME_RESET,
                                         .begun_ns = clock_mono_ns(),
                                         .tcp_open_ns = NS_PER_MS,
                                         .rtt_us = 1000,
                                         .now_ns = clock_mono_ns()};

        health_report(reporter->fixture->health, &attempt);
    }
    return NULL;
}

static void test_a_burst_of_reports_from_many_threads_is_taken(void **state)
{
    struct fixture *fixture = *state;
    struct reporter reporters[THREADS];

    apply_pods(fixture, 1, QUICK);
    run_until(fixture, is_up);
    for (int i = 0; i < THREADS; i++) {
        reporters[i] = (struct reporter){.fixture = fixture, .live = endpoint(fixture)->live};
        assert_int_equal(pthread_create(&reporters[i].thread, NULL, run_reporter, &reporters[i]),
                         0);
    }
    run_ms(fixture, 50);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(reporters[i].thread, NULL), 0);
    }
    /* Those still on their way are dropped by the teardown. */
}

/* ---- reloads ---- */

static void test_a_reload_disturbs_no_probe_of_what_stays(void **state)
{
    struct fixture *fixture = *state;
    uint64_t id;

    apply_pods(fixture, 1, QUICK);
    run_until(fixture, is_up);
    id = endpoint(fixture)->live->id;
    for (int i = 0; i < 5; i++) {
        apply_pods(fixture, 2, QUICK);
        run_ms(fixture, 15);
        apply_pods(fixture, 1, QUICK);
        run_ms(fixture, 15);
    }
    assert_true(endpoint(fixture)->live->id == id);
    assert_int_equal(endpoint(fixture)->state, ENDPOINT_UP);
    assert_int_equal(fixture->pods[0].accepted, 1);
}

static void test_a_quicker_pace_holds_from_its_reload_on(void **state)
{
    struct fixture *fixture = *state;

    apply_pods(fixture, 1,
               "routing = { failover_deadline_s = 3600; };"
               "health = { interval_ms = 1200000; fast_interval_ms = 1000; };");
    run_until(fixture, is_up);
    apply_pods(fixture, 1, QUICK);
    run_until(fixture, asked_ten_times); /* fails after some seconds */
}

static void test_a_reload_in_the_middle_of_a_probe_is_harmless(void **state)
{
    struct fixture *fixture = *state;

    fixture->pods[0].delay_ms = 20;
    apply_pods(fixture, 1, QUICK);
    run_until(fixture, is_up);
    for (int i = 0; i < 20; i++) {
        apply_pods(fixture, 1, QUICK);
        run_ms(fixture, 7);
    }
    assert_int_equal(endpoint(fixture)->state, ENDPOINT_UP);
}

static void test_what_left_the_config_is_probed_no_more(void **state)
{
    struct fixture *fixture = *state;
    unsigned asked;

    apply_pods(fixture, 2, QUICK);
    run_until(fixture, both_up);
    apply_pods(fixture, 1, QUICK);
    run_ms(fixture, 10);
    asked = fixture->pods[1].asked;
    fixture->pods[0].asked = 0;
    run_until(fixture, asked_ten_times);
    assert_int_equal(fixture->pods[1].asked, asked);
}

/* ---- names ---- */

static void test_an_endpoint_by_name_is_found_and_probed(void **state)
{
    struct fixture *fixture = *state;
    char regions[256];

    (void)snprintf(regions, sizeof(regions),
                   "{ name = \"a\"; endpoints = [ \"http://localhost:%u\" ]; }",
                   fixture->pods[0].port);
    apply_text(fixture, regions, QUICK);
    assert_int_equal(region(fixture, 0)->endpoint_count, 0);
    run_until(fixture, asked_ten_times);
    assert_true(region(fixture, 0)->usable);
    assert_non_null(strstr(fixture->pods[0].last_request, "Host: localhost:"));
    apply_text(fixture, regions, QUICK);
    assert_true(region(fixture, 0)->usable); /* a reload does not start over */
}

static void test_a_name_that_does_not_resolve_takes_its_region_down(void **state)
{
    struct fixture *fixture = *state;

    apply_text(fixture, "{ name = \"a\"; endpoints = [ \"http://nowhere.invalid:80\" ]; }", QUICK);
    run_until(fixture, is_down);
    assert_int_equal(region(fixture, 0)->endpoint_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_first_probe_comes_at_once_and_its_success_is_enough),
        TEST(test_probes_keep_one_connection),
        TEST(test_a_refusing_endpoint_is_down_at_once),
        TEST(test_a_killed_pod_goes_down_and_comes_back),
        TEST(test_a_silent_pod_goes_down_after_its_misses),
        TEST(test_bad_answers_take_an_endpoint_down),
        TEST(test_unusual_but_good_answers_pass),
        TEST(test_a_kept_connection_closed_between_probes_is_no_miss),
        TEST(test_the_expected_status_is_the_configs),
        TEST(test_a_slow_pod_delays_no_other_pods_probes),
        TEST(test_distance_behind_a_near_tcp_end_is_known_with_the_first_verdict),
        TEST(test_the_closer_of_two_becomes_home),
        TEST(test_a_handshake_is_timed_every_five_seconds),
        TEST(test_one_refused_connection_takes_an_endpoint_down),
        TEST(test_a_success_between_failures_starts_the_count_anew),
        TEST(test_outcomes_without_blame_change_nothing),
        TEST(test_a_blamed_failure_makes_the_next_probe_come_soon),
        TEST(test_full_is_not_broken),
        TEST(test_workers_samples_become_latency),
        TEST(test_a_burst_of_reports_from_many_threads_is_taken),
        TEST(test_a_reload_disturbs_no_probe_of_what_stays),
        TEST(test_a_quicker_pace_holds_from_its_reload_on),
        TEST(test_a_reload_in_the_middle_of_a_probe_is_harmless),
        TEST(test_what_left_the_config_is_probed_no_more),
        TEST(test_an_endpoint_by_name_is_found_and_probed),
        TEST(test_a_name_that_does_not_resolve_takes_its_region_down),
    };

    /* Names are answered by /etc/hosts or by nobody: no test asks a real server. */
    setenv("NEARSIDE_DNS_SERVERS", "127.0.0.1:1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
