/* SPDX-License-Identifier: MIT */
/* Breakers on a real loop: what workers report, and who is put aside for it. */
#include "health/breaker_private.h"
#include "health/health_private.h"

#include <nearside/base/clock.h>
#include <nearside/route/route.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/health_fixture.h"

#define QUICK "health = { interval_ms = 60; fast_interval_ms = 30; timeout_ms = 150; };"

static const struct view_endpoint *endpoint_at(struct fixture *fixture, uint32_t index)
{
    return &region(fixture, 0)->endpoints[index];
}

static bool all_up(struct fixture *fixture)
{
    return region(fixture, 0)->endpoint_up_count == region(fixture, 0)->endpoint_count;
}

static void report(struct fixture *fixture, uint32_t index, enum outcome outcome, int times)
{
    struct attempt_report attempt = {
        .live = endpoint_at(fixture, index)->live,
        .outcome = outcome,
        .begun_ns = clock_mono_ns(),
        .now_ns = clock_mono_ns(),
    };

    for (int i = 0; i < times; i++) {
        health_report(fixture->health, &attempt);
    }
}

static uint32_t count_aside(struct fixture *fixture)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < region(fixture, 0)->endpoint_count; i++) {
        count += endpoint_at(fixture, i)->breaker != BREAKER_CLOSED;
    }
    return count;
}

static void start(struct fixture *fixture, int pods)
{
    apply_region(fixture, pods, QUICK);
    run_until(fixture, all_up);
}

static void wait_for_tick(struct fixture *fixture)
{
    run_ms(fixture, 250);
}

static bool is_open(struct fixture *fixture)
{
    return endpoint_at(fixture, 0)->breaker == BREAKER_OPEN;
}

static bool is_trial(struct fixture *fixture)
{
    return endpoint_at(fixture, 0)->breaker == BREAKER_TRIAL;
}

static bool is_closed(struct fixture *fixture)
{
    return endpoint_at(fixture, 0)->breaker == BREAKER_CLOSED;
}

static bool region_is_open(struct fixture *fixture)
{
    return region(fixture, 0)->breaker == BREAKER_OPEN;
}

static bool region_is_trial(struct fixture *fixture)
{
    return region(fixture, 0)->breaker == BREAKER_TRIAL;
}

static bool region_is_closed(struct fixture *fixture)
{
    return region(fixture, 0)->breaker == BREAKER_CLOSED;
}

/* ---- endpoints ---- */

static void test_five_failures_in_a_row_put_an_endpoint_aside_at_once(void **state)
{
    struct fixture *fixture = *state;
    uint64_t start_ns;

    start(fixture, 2);
    report(fixture, 0, OUTCOME_STATUS_5XX, BREAKER_HARD - 1);
    wait_for_tick(fixture);
    assert_int_equal(endpoint_at(fixture, 0)->breaker, BREAKER_CLOSED);
    start_ns = clock_mono_ns();
    report(fixture, 0, OUTCOME_STATUS_5XX, 1);
    run_until(fixture, is_open);
    assert_true(clock_mono_ns() - start_ns < 90 * NS_PER_MS); /* before the next tick */
    assert_string_equal(endpoint_at(fixture, 0)->reason, "failures_in_row");
    assert_int_equal(endpoint_at(fixture, 0)->state, ENDPOINT_UP); /* probes are fine */
    assert_true(region(fixture, 0)->usable);
}

static void test_a_success_between_failures_starts_the_row_anew(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, 2);
    report(fixture, 0, OUTCOME_OK, 30); /* the rate stays good */
    report(fixture, 0, OUTCOME_RESET, BREAKER_HARD - 1);
    report(fixture, 0, OUTCOME_OK, 1);
    report(fixture, 0, OUTCOME_RESET, BREAKER_HARD - 2);
    wait_for_tick(fixture);
    assert_int_equal(endpoint_at(fixture, 0)->breaker, BREAKER_CLOSED);
}

/* Answers on kept connections, between new ones that cannot be made or can. */
static void report_connections(struct fixture *fixture, bool opened, int times)
{
    struct attempt_report kept = {.live = endpoint_at(fixture, 0)->live,
                                  .outcome = OUTCOME_OK,
                                  .begun_ns = clock_mono_ns(),
                                  .now_ns = clock_mono_ns()};
    struct attempt_report dialled = kept;

    dialled.outcome = opened ? OUTCOME_OK : OUTCOME_CONNECT_TIMEOUT;
    dialled.unopened = !opened;
    dialled.tcp_open_ns = opened ? NS_PER_MS : 0;
    for (int i = 0; i < times; i++) {
        health_report(fixture->health, &dialled);
        for (int j = 0; j < 10; j++) { /* the rate stays good */
            health_report(fixture->health, &kept);
        }
    }
}

static void test_who_answers_but_takes_no_new_connections_is_put_aside(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, 2);
    report_connections(fixture, false, BREAKER_HARD - 1);
    report_connections(fixture, true, 1);
    report_connections(fixture, false, BREAKER_HARD - 1);
    wait_for_tick(fixture);
    assert_int_equal(endpoint_at(fixture, 0)->breaker, BREAKER_CLOSED);
    report_connections(fixture, false, 1);
    run_until(fixture, is_open);
    assert_string_equal(endpoint_at(fixture, 0)->reason, "failures_in_row");
}

static void test_slow_and_full_answers_count_for_the_rate_alone(void **state)
{
    static const enum outcome cases[] = {OUTCOME_HEAD_TIMEOUT, OUTCOME_FULL};
    struct fixture *fixture = *state;

    start(fixture, 4);
    for (uint32_t i = 0; i < ARRAY_LEN(cases); i++) {
        report(fixture, i, cases[i], BREAKER_SAMPLES - 1);
        wait_for_tick(fixture);
        assert_int_equal(endpoint_at(fixture, i)->breaker, BREAKER_CLOSED);
        report(fixture, i, cases[i], 1);
        wait_for_tick(fixture);
        assert_int_equal(endpoint_at(fixture, i)->breaker, BREAKER_OPEN);
        assert_string_equal(endpoint_at(fixture, i)->reason, "success_rate");
    }
}

static void test_at_most_half_of_a_region_is_put_aside(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, 4);
    for (uint32_t i = 0; i < 3; i++) {
        report(fixture, i, OUTCOME_STATUS_5XX, BREAKER_HARD);
    }
    report(fixture, 3, OUTCOME_OK, 100);
    wait_for_tick(fixture);
    assert_int_equal(count_aside(fixture), 2);
    assert_true(region(fixture, 0)->usable);
}

static void test_the_last_in_play_comes_back_when_the_others_go_down(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, 2);
    report(fixture, 0, OUTCOME_STATUS_5XX, BREAKER_HARD);
    run_until(fixture, is_open);
    report(fixture, 1, OUTCOME_CONNECT_REFUSED, 1);
    run_until(fixture, is_closed);
    assert_int_equal(endpoint_at(fixture, 0)->state, ENDPOINT_UP);
}

static void test_an_endpoint_that_goes_down_leaves_its_breaker_behind(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, 2);
    report(fixture, 0, OUTCOME_STATUS_5XX, BREAKER_HARD);
    run_until(fixture, is_open);
    pod_kill(&fixture->pods[0]);
    run_until(fixture, is_closed);
    run_ms(fixture, 50);
    assert_int_equal(endpoint_at(fixture, 0)->state, ENDPOINT_DOWN);
}

/* ---- trials ---- */

static void drain(struct fixture *fixture, uint32_t index, bool drained)
{
    assert_true(fleet_drain_endpoint(fixture->fleet, str_of(endpoint_at(fixture, index)->address),
                                     drained));
}

static void test_the_breaker_of_a_drained_endpoint_goes_on_in_silence(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, 2);
    report(fixture, 0, OUTCOME_STATUS_5XX, BREAKER_HARD);
    run_until(fixture, is_open);
    drain(fixture, 0, true);
    drain(fixture, 1, true);
    wait_for_tick(fixture);
    fixture->health->guards[region(fixture, 0)->slot].heard_ns = 0; /* long ago */
    run_until(fixture, is_trial);
    drain(fixture, 0, false);
    run_until(fixture, is_closed); /* it is the only one */
}

static void test_one_request_tries_an_endpoint_and_brings_it_back_slowly(void **state)
{
    struct fixture *fixture = *state;
    struct endpoint_live *live;

    start(fixture, 2);
    live = endpoint_at(fixture, 0)->live;
    report(fixture, 0, OUTCOME_STATUS_5XX, BREAKER_HARD);
    run_until(fixture, is_open);
    assert_false(endpoint_live_take_trial(live));
    run_until(fixture, is_trial);
    assert_true(endpoint_live_take_trial(live));
    assert_false(endpoint_live_take_trial(live));
    health_report_trial(fixture->health, live, OUTCOME_OK);
    run_until(fixture, is_closed);
    assert_true(endpoint_at(fixture, 0)->weight < 0.2F);
    assert_int_equal(atomic_load(&live->failures), 0);
    wait_for_tick(fixture);
    assert_int_equal(endpoint_at(fixture, 0)->breaker, BREAKER_CLOSED);
}

static void test_the_late_end_of_what_began_before_the_trial_is_not_heard(void **state)
{
    struct fixture *fixture = *state;
    struct endpoint_live *live;
    struct attempt_report late;

    start(fixture, 2);
    live = endpoint_at(fixture, 0)->live;
    late = (struct attempt_report){
        .live = live, .outcome = OUTCOME_HEAD_TIMEOUT, .begun_ns = clock_mono_ns()};
    report(fixture, 0, OUTCOME_STATUS_5XX, BREAKER_HARD);
    run_until(fixture, is_trial);
    assert_true(endpoint_live_take_trial(live));
    health_report_trial(fixture->health, live, OUTCOME_OK);
    run_until(fixture, is_closed);
    late.now_ns = clock_mono_ns();
    for (int i = 0; i < 10 * BREAKER_SAMPLES; i++) {
        health_report(fixture->health, &late);
    }
    wait_for_tick(fixture);
    assert_int_equal(endpoint_at(fixture, 0)->breaker, BREAKER_CLOSED);
    report(fixture, 0, OUTCOME_HEAD_TIMEOUT, BREAKER_SAMPLES); /* begun since: heard */
    run_until(fixture, is_open);
}

static void test_a_trial_that_fails_doubles_the_wait(void **state)
{
    static const enum outcome cases[] = {OUTCOME_STATUS_5XX, OUTCOME_FULL};
    struct fixture *fixture = *state;
    uint64_t open_ns;

    start(fixture, 2);
    report(fixture, 0, OUTCOME_STATUS_5XX, BREAKER_HARD);
    run_until(fixture, is_open);
    for (uint64_t i = 0; i < ARRAY_LEN(cases); i++) {
        run_until(fixture, is_trial);
        assert_true(endpoint_live_take_trial(endpoint_at(fixture, 0)->live));
        health_report_trial(fixture->health, endpoint_at(fixture, 0)->live, cases[i]);
        run_until(fixture, is_open);
        open_ns = clock_mono_ns();
    }
    run_until(fixture, is_trial);
    assert_true(clock_mono_ns() - open_ns >= 3900 * NS_PER_MS);
}

static void test_what_says_nothing_gives_the_permit_back(void **state)
{
    static const enum outcome cases[] = {OUTCOME_CLIENT_GONE, OUTCOME_DEADLINE, OUTCOME_LOCAL_LIMIT,
                                         OUTCOME_STALE, OUTCOME_REGION_DOWN};
    struct fixture *fixture = *state;

    start(fixture, 2);
    report(fixture, 0, OUTCOME_STATUS_5XX, BREAKER_HARD);
    run_until(fixture, is_open);
    run_until(fixture, is_trial);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(endpoint_live_take_trial(endpoint_at(fixture, 0)->live));
        health_report_trial(fixture->health, endpoint_at(fixture, 0)->live, cases[i]);
    }
    assert_int_equal(endpoint_at(fixture, 0)->breaker, BREAKER_TRIAL);
}

/* ---- regions ---- */

static void test_a_region_whose_only_endpoint_fails_is_put_aside_as_a_whole(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, 1);
    report(fixture, 0, OUTCOME_STATUS_5XX, BREAKER_HARD);
    run_until(fixture, region_is_open);
    assert_int_equal(endpoint_at(fixture, 0)->breaker, BREAKER_CLOSED);
    assert_false(region(fixture, 0)->usable);
    assert_int_equal(region(fixture, 0)->state, REGION_UP); /* what probes say is kept apart */
}

static void test_the_cap_protects_no_region(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, 4);
    for (uint32_t i = 0; i < 4; i++) {
        report(fixture, i, OUTCOME_STATUS_5XX, BREAKER_HARD);
    }
    run_until(fixture, region_is_open);
}

static void test_one_bad_pod_is_not_its_regions_fault(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, 4);
    report(fixture, 0, OUTCOME_STATUS_5XX, 200); /* it attracts requests, for it fails so fast */
    wait_for_tick(fixture);
    assert_int_equal(endpoint_at(fixture, 0)->breaker, BREAKER_OPEN);
    assert_int_equal(region(fixture, 0)->breaker, BREAKER_CLOSED);
}

static void test_a_full_region_is_not_put_aside(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, 4);
    for (uint32_t i = 0; i < 4; i++) {
        report(fixture, i, OUTCOME_FULL, 100);
    }
    wait_for_tick(fixture);
    assert_int_equal(region(fixture, 0)->breaker, BREAKER_CLOSED);
}

static struct endpoint_live *take_region_trial(struct fixture *fixture)
{
    for (uint32_t i = 0; i < region(fixture, 0)->endpoint_count; i++) {
        if (endpoint_live_take_trial(endpoint_at(fixture, i)->live)) {
            return endpoint_at(fixture, i)->live;
        }
    }
    return NULL;
}

static void test_one_request_tries_a_region(void **state)
{
    struct fixture *fixture = *state;
    struct endpoint_live *live;

    start(fixture, 2);
    report(fixture, 0, OUTCOME_STATUS_5XX, BREAKER_HARD);
    report(fixture, 1, OUTCOME_STATUS_5XX, BREAKER_HARD);
    run_until(fixture, region_is_open);
    assert_null(take_region_trial(fixture));
    run_until(fixture, region_is_trial);
    wait_for_tick(fixture);
    live = take_region_trial(fixture);
    assert_non_null(live);
    assert_null(take_region_trial(fixture));
    health_report_trial(fixture->health, live, OUTCOME_STATUS_5XX);
    run_until(fixture, region_is_open);
    run_until(fixture, region_is_trial);
    wait_for_tick(fixture);
    live = take_region_trial(fixture);
    assert_non_null(live);
    health_report_trial(fixture->health, live, OUTCOME_OK);
    run_until(fixture, region_is_closed);
    assert_true(region(fixture, 0)->usable);
    assert_true(region(fixture, 0)->weight < 0.2F);
}

/* Of two endpoints the one that holds the region's permit. */
static uint32_t holder(struct fixture *fixture)
{
    return atomic_load(&endpoint_at(fixture, 0)->live->trial) == TRIAL_OPEN ? 0 : 1;
}

static void test_a_regions_trial_leaves_an_endpoint_that_is_drained(void **state)
{
    struct fixture *fixture = *state;
    uint32_t drained;

    start(fixture, 2);
    report(fixture, 0, OUTCOME_STATUS_5XX, BREAKER_HARD);
    report(fixture, 1, OUTCOME_STATUS_5XX, BREAKER_HARD);
    run_until(fixture, region_is_trial);
    wait_for_tick(fixture);
    drained = holder(fixture);
    drain(fixture, drained, true);
    wait_for_tick(fixture);
    assert_false(endpoint_live_take_trial(endpoint_at(fixture, drained)->live));
    assert_true(endpoint_live_take_trial(endpoint_at(fixture, 1 - drained)->live));
}

/* The fleet has never seen it, so whoever puts it on trial later moves traffic for nothing. */
static void test_a_region_that_went_and_comes_again_is_a_new_one(void **state)
{
    struct fixture *fixture = *state;
    char other[128];

    start(fixture, 1);
    report(fixture, 0, OUTCOME_STATUS_5XX, BREAKER_HARD);
    run_until(fixture, region_is_open);
    (void)snprintf(other, sizeof(other),
                   "{ name = \"b\"; endpoints = [ \"http://127.0.0.1:%u\" ]; }",
                   fixture->pods[1].port);
    apply_text(fixture, other, QUICK);
    apply_region(fixture, 1, QUICK);
    run_until(fixture, all_up);
    for (int i = 0; i < 10; i++) { /* longer than the first backoff */
        wait_for_tick(fixture);
        assert_int_equal(region(fixture, 0)->breaker, BREAKER_CLOSED);
    }
}

static void test_a_reload_forgets_no_breaker(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, 1);
    report(fixture, 0, OUTCOME_STATUS_5XX, BREAKER_HARD);
    run_until(fixture, region_is_open);
    apply_region(fixture, 1, QUICK);
    assert_int_equal(region(fixture, 0)->breaker, BREAKER_OPEN);
    assert_false(region(fixture, 0)->usable);
    run_until(fixture, region_is_trial);
}

/* ---- the fast-fail attractor ---- */

#define BUSY_MS 200

struct busy {
    struct fixture *fixture;
    struct deadline next;
    struct rng rng;
    uint64_t ends_ns[4][1024]; /* a ring per endpoint of when its requests end */
    uint32_t begun[4];
    uint32_t ended[4];
    uint32_t counted[4]; /* attempts */
};

static void end_due(struct busy *busy, uint32_t index, uint64_t now_ns)
{
    struct endpoint_live *live = endpoint_at(busy->fixture, index)->live;

    while (busy->ended[index] < busy->begun[index] &&
           busy->ends_ns[index][busy->ended[index] % 1024] <= now_ns) {
        busy->ended[index]++;
        atomic_fetch_sub(&live->pending, 1);
        atomic_fetch_sub(&live->inflight, 1);
        report(busy->fixture, index, index == 0 ? OUTCOME_FULL : OUTCOME_OK, 1);
    }
}

static void begin_one(struct busy *busy, uint64_t now_ns)
{
    struct route_request request = {.last_region = ROUTE_NOBODY};
    struct route_choice choice =
        route_pick(fleet_view_now(busy->fixture->fleet), &request, now_ns, &busy->rng);
    uint32_t index = (uint32_t)choice.endpoint;
    struct endpoint_live *live = endpoint_at(busy->fixture, index)->live;

    atomic_fetch_add(&live->pending, 1);
    atomic_fetch_add(&live->inflight, 1);
    busy->ends_ns[index][busy->begun[index]++ % 1024] =
        now_ns + (index == 0 ? 1 : BUSY_MS) * NS_PER_MS;
    busy->counted[index]++;
}

/* Four requests each time, some ms apart: the first pod turns them away within 1 ms, the others
 * take BUSY_MS. */
static void on_next_request(struct deadline *deadline, void *arg)
{
    struct busy *busy = arg;
    uint64_t now_ns = clock_mono_ns();

    for (uint32_t i = 0; i < 4; i++) {
        begin_one(busy, now_ns);
    }
    for (uint32_t i = 0; i < 4; i++) {
        end_due(busy, i, now_ns);
    }
    deadline_set_in_ms(deadline, 1);
}

static void test_a_pod_that_turns_away_in_a_millisecond_attracts_nobody(void **state)
{
    struct fixture *fixture = *state;
    struct busy *busy = mem_new(struct busy);
    uint32_t all = 0;

    start(fixture, 4);
    busy->fixture = fixture;
    rng_init_seed(&busy->rng, 3);
    deadline_init(&busy->next, fixture->loop, on_next_request, busy);
    deadline_set_in_ms(&busy->next, 0);
    run_ms(fixture, 1000);
    for (uint32_t i = 0; i < 4; i++) {
        all += busy->counted[i];
    }
    assert_true(all > 200);
    assert_true(busy->counted[0] * 20 < all);
    deadline_done(&busy->next);
    for (uint32_t i = 0; i < 4; i++) {
        end_due(busy, i, UINT64_MAX);
    }
    mem_free(busy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_five_failures_in_a_row_put_an_endpoint_aside_at_once),
        TEST(test_a_success_between_failures_starts_the_row_anew),
        TEST(test_who_answers_but_takes_no_new_connections_is_put_aside),
        TEST(test_slow_and_full_answers_count_for_the_rate_alone),
        TEST(test_at_most_half_of_a_region_is_put_aside),
        TEST(test_the_last_in_play_comes_back_when_the_others_go_down),
        TEST(test_an_endpoint_that_goes_down_leaves_its_breaker_behind),
        TEST(test_the_breaker_of_a_drained_endpoint_goes_on_in_silence),
        TEST(test_one_request_tries_an_endpoint_and_brings_it_back_slowly),
        TEST(test_the_late_end_of_what_began_before_the_trial_is_not_heard),
        TEST(test_a_trial_that_fails_doubles_the_wait),
        TEST(test_what_says_nothing_gives_the_permit_back),
        TEST(test_a_region_whose_only_endpoint_fails_is_put_aside_as_a_whole),
        TEST(test_the_cap_protects_no_region),
        TEST(test_one_bad_pod_is_not_its_regions_fault),
        TEST(test_a_full_region_is_not_put_aside),
        TEST(test_one_request_tries_a_region),
        TEST(test_a_regions_trial_leaves_an_endpoint_that_is_drained),
        TEST(test_a_reload_forgets_no_breaker),
        TEST(test_a_region_that_went_and_comes_again_is_a_new_one),
        TEST(test_a_pod_that_turns_away_in_a_millisecond_attracts_nobody),
    };

    setenv("NEARSIDE_DNS_SERVERS", "127.0.0.1:1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
