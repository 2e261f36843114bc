/* SPDX-License-Identifier: MIT */
/* The breaker's window, its rules and its way through its states, on a clock of our own. */
#include "health/breaker_private.h"

#include <nearside/base/attr.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define START_NS (1000 * NS_PER_S)

static void add(struct breaker_window *window, uint64_t good, uint64_t failed, uint64_t now_ns)
{
    breaker_window_add(window, &(struct breaker_counts){.good = good, .failed = failed}, now_ns);
}

static void test_the_window_holds_ten_seconds_and_no_more(void **state)
{
    struct breaker_window window = {.buckets = {{.second = 0}}};

    (void)state;
    for (uint64_t s = 0; s < 25; s++) {
        uint64_t now_ns = START_NS + s * NS_PER_S;

        add(&window, 1, 2, now_ns);
        add(&window, 1, 0, now_ns + NS_PER_S - 1);
        assert_int_equal(breaker_window_sum(&window, now_ns).good, 2 * (s < 10 ? s + 1 : 10));
        assert_int_equal(breaker_window_sum(&window, now_ns).failed, 2 * (s < 10 ? s + 1 : 10));
    }
}

static void test_a_silence_empties_the_window_bucket_by_bucket(void **state)
{
    struct breaker_window window = {.buckets = {{.second = 0}}};

    (void)state;
    for (uint64_t s = 0; s < 10; s++) {
        add(&window, 1, 0, START_NS + s * NS_PER_S);
    }
    for (uint64_t s = 10; s < 30; s++) {
        uint64_t want = s < 19 ? 19 - s : 0;

        assert_int_equal(breaker_window_sum(&window, START_NS + s * NS_PER_S).good, want);
    }
    add(&window, 3, 0, START_NS + 40 * NS_PER_S);
    assert_int_equal(breaker_window_sum(&window, START_NS + 40 * NS_PER_S).good, 3);
}

static void test_the_window_works_from_the_clocks_first_second(void **state)
{
    struct breaker_window window = {.buckets = {{.second = 0}}};

    (void)state;
    assert_int_equal(breaker_window_sum(&window, 0).good, 0);
    add(&window, 4, 0, 0);
    assert_int_equal(breaker_window_sum(&window, 5 * NS_PER_S).good, 4);
}

struct endpoint_case {
    uint32_t hard_in_row;
    uint64_t good;
    uint64_t failed;
    uint64_t turned_away;
    bool want;
};

static void test_an_endpoint_is_bad_by_a_row_or_by_its_rate(void **state)
{
    static const struct endpoint_case cases[] = {
        {0, 0, 0, 0, false},    {4, 0, 4, 0, false},   {5, 0, 5, 0, true},
        {5, 1000, 5, 0, true},                       /* the row is enough */
        {1, 8, 2, 0, false},                         /* exactly 80 % */
        {1, 7, 3, 0, true},     {1, 6, 3, 0, false}, /* nine samples say nothing */
        {0, 0, 0, 9, false},    {0, 0, 0, 10, true}, /* being full counts */
        {0, 80, 10, 10, false}, {0, 79, 10, 11, true}, {0, 0, 10, 0, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct endpoint_case *row = &cases[i];
        struct breaker_counts counts = {
            .good = row->good, .failed = row->failed, .turned_away = row->turned_away};

        if (breaker_endpoint_is_bad(row->hard_in_row, &counts) != row->want) {
            fail_msg("case %zu", i);
        }
    }
}

struct region_case {
    uint32_t hard_in_row; /* of the endpoint with fewest */
    uint32_t endpoints;
    uint64_t good;
    uint64_t failed;
    uint64_t turned_away;
    bool want;
};

static void test_a_region_is_bad_when_all_of_it_is(void **state)
{
    static const struct region_case cases[] = {
        {4, 1, 0, 4, 0, false},   {5, 1, 0, 5, 0, true},           {4, 2, 0, 12, 0, false},
        {5, 2, 0, 10, 0, true},   {4, 5, 0, 20, 0, true},          {3, 5, 5, 15, 0, true},
        {0, 5, 90, 10, 0, false},                            /* one of many fails */
        {0, 4, 15, 5, 0, true},   {0, 4, 14, 5, 0, false},   /* nineteen samples say nothing */
        {0, 4, 16, 4, 0, false},  {0, 4, 20, 0, 500, false}, /* full is not broken */
        {0, 0, 0, 0, 0, false},   {UINT32_MAX, 0, 0, 0, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct region_case *row = &cases[i];
        struct breaker_counts counts = {
            .good = row->good, .failed = row->failed, .turned_away = row->turned_away};

        if (breaker_region_is_bad(row->hard_in_row, row->endpoints, &counts) != row->want) {
            fail_msg("case %zu", i);
        }
    }
}

static void test_the_backoff_doubles_to_a_minute_and_half_again(void **state)
{
    static const uint64_t wants_s[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    struct breaker breaker = {.state = BREAKER_CLOSED};
    uint64_t now_ns = START_NS;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wants_s); i++) {
        struct breaker most = breaker;

        breaker_trip(&most, 1.0, now_ns);
        breaker_trip(&breaker, 0.0, now_ns);
        assert_int_equal(breaker.until_ns - now_ns, wants_s[i] * NS_PER_S);
        assert_int_equal(most.until_ns - now_ns, wants_s[i] * NS_PER_S * 3 / 2);
        now_ns = breaker.until_ns;
    }
    breaker_close(&breaker);
    breaker_trip(&breaker, 0.0, now_ns + BREAKER_FORGET_NS); /* five quiet minutes */
    assert_int_equal(breaker.until_ns - now_ns - BREAKER_FORGET_NS, NS_PER_S);
}

static void test_a_trial_begins_when_the_backoff_is_over(void **state)
{
    struct breaker breaker = {.state = BREAKER_CLOSED};

    (void)state;
    assert_false(breaker_tick(&breaker, false, START_NS));
    breaker_trip(&breaker, 0.5, START_NS);
    assert_false(breaker_tick(&breaker, false, breaker.until_ns - 1));
    assert_int_equal(breaker.state, BREAKER_OPEN);
    assert_true(breaker_tick(&breaker, false, breaker.until_ns));
    assert_int_equal(breaker.state, BREAKER_TRIAL);
}

static void test_a_trial_that_nobody_takes_ends_well(void **state)
{
    struct breaker breaker = {.state = BREAKER_CLOSED};
    uint64_t end_ns;

    (void)state;
    breaker_trip(&breaker, 0, START_NS);
    (void)breaker_tick(&breaker, false, breaker.until_ns);
    end_ns = breaker.until_ns;
    assert_false(breaker_tick(&breaker, false, end_ns - 1));
    assert_false(breaker_tick(&breaker, true, end_ns + NS_PER_S)); /* somebody is at it */
    assert_int_equal(breaker.state, BREAKER_TRIAL);
    assert_true(breaker_tick(&breaker, false, end_ns));
    assert_int_equal(breaker.state, BREAKER_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_window_holds_ten_seconds_and_no_more),
        cmocka_unit_test(test_a_silence_empties_the_window_bucket_by_bucket),
        cmocka_unit_test(test_the_window_works_from_the_clocks_first_second),
        cmocka_unit_test(test_an_endpoint_is_bad_by_a_row_or_by_its_rate),
        cmocka_unit_test(test_a_region_is_bad_when_all_of_it_is),
        cmocka_unit_test(test_the_backoff_doubles_to_a_minute_and_half_again),
        cmocka_unit_test(test_a_trial_begins_when_the_backoff_is_over),
        cmocka_unit_test(test_a_trial_that_nobody_takes_ends_well),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
