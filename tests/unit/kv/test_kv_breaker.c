/* SPDX-License-Identifier: MIT */
/* The breaker's rules, walked through without a clock. */
#include "kv/kv_breaker_private.h"

#include <nearside/kv/kv.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct backoff_case {
    unsigned attempt;
    uint64_t middle_ms;
};

static const struct backoff_case backoff_cases[] = {{0, 100},  {1, 200},   {2, 400},
                                                    {3, 800},  {4, 1600},  {5, 3200},
                                                    {6, 5000}, {60, 5000}, {UINT32_MAX, 5000}};

static void test_backoff_doubles_to_its_maximum_spread_by_a_quarter(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(backoff_cases) / sizeof(backoff_cases[0]); i++) {
        uint64_t middle_ms = backoff_cases[i].middle_ms;

        assert_int_equal(kv_backoff_ms(backoff_cases[i].attempt, 0), middle_ms * 3 / 4);
        assert_int_equal(kv_backoff_ms(backoff_cases[i].attempt, middle_ms / 2), middle_ms * 5 / 4);
        assert_in_range(kv_backoff_ms(backoff_cases[i].attempt, UINT64_MAX - 12345),
                        middle_ms * 3 / 4, middle_ms * 5 / 4);
    }
}

static void test_failures_in_a_row_open_it_once(void **state)
{
    struct kv_breaker breaker = {.is_open = false};

    (void)state;
    assert_false(kv_breaker_failure(&breaker, 5));
    assert_false(kv_breaker_failure(&breaker, 6));
    assert_true(kv_breaker_failure(&breaker, 7));
    assert_true(breaker.is_open);
    assert_false(kv_breaker_failure(&breaker, 8));
}

struct answer_case {
    uint32_t given_ms[KV_BREAKER_FALLS]; /* to commands that failed; 0: no more */
    uint32_t took_ms;
    bool counts; /* as a success */
};

static const struct answer_case answer_cases[] = {
    {{5}, 0, true},
    {{5}, 5, true},
    {{5}, 6, false},
    {{5}, UINT32_MAX, false},
    {{5, 1005}, 6, false}, /* the most impatient counts, wherever it stands */
    {{1005, 5}, 6, false},
    {{1005, 5}, 5, true},
    {{1005}, 6, true},
    {{5, 5, 5}, 5, true}, /* open */
    {{5, 5, 5}, 6, false},
    {{1005, 5, 1005}, 6, false},
    {{1005, 1005, 1005}, 1005, true},
    {{1005, 1005, 1005}, 1006, false},
};

static void test_an_answer_counts_when_it_came_as_soon_as_the_failed_should_have(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(answer_cases) / sizeof(answer_cases[0]); i++) {
        const struct answer_case *row = &answer_cases[i];
        struct kv_breaker breaker = {.is_open = false};
        unsigned falls = 0;

        while (falls < KV_BREAKER_FALLS && row->given_ms[falls] > 0) {
            (void)kv_breaker_failure(&breaker, row->given_ms[falls++]);
        }
        assert_int_equal(kv_breaker_success(&breaker, row->took_ms),
                         row->counts && falls == KV_BREAKER_FALLS);
        assert_int_equal(breaker.falls, row->counts ? 0 : falls);
        assert_int_equal(breaker.is_open, !row->counts && falls == KV_BREAKER_FALLS);
    }
}

static void test_a_run_of_failures_does_not_inherit_the_patience_of_the_last(void **state)
{
    struct kv_breaker breaker = {.is_open = false};

    (void)state;
    (void)kv_breaker_failure(&breaker, 5);
    assert_false(kv_breaker_success(&breaker, 5));
    (void)kv_breaker_failure(&breaker, 100);
    assert_false(kv_breaker_success(&breaker, 50));
    assert_int_equal(breaker.falls, 0);
}

static void test_trials_are_given_what_commands_would_have_now(void **state)
{
    struct kv_breaker breaker = {.is_open = false};

    (void)state;
    (void)kv_breaker_failure(&breaker, 5);
    kv_breaker_expect(&breaker, 100); /* it is closed: nothing is tried */
    assert_int_equal(breaker.patience_ms, 5);
    (void)kv_breaker_failure(&breaker, 5);
    (void)kv_breaker_failure(&breaker, 5);
    kv_breaker_expect(&breaker, 100);
    assert_int_equal(breaker.patience_ms, 100);
    assert_true(kv_breaker_success(&breaker, 50));
}

static void test_a_success_between_failures_starts_the_count_anew(void **state)
{
    struct kv_breaker breaker = {.is_open = false};

    (void)state;
    for (int round = 0; round < 10; round++) {
        assert_false(kv_breaker_failure(&breaker, 5));
        assert_false(kv_breaker_failure(&breaker, 5));
        assert_false(kv_breaker_success(&breaker, 5));
    }
    assert_false(breaker.is_open);
}

static void test_a_success_closes_it_and_the_waits_begin_anew(void **state)
{
    struct kv_breaker breaker = {.is_open = false};

    (void)state;
    for (int i = 0; i < KV_BREAKER_FALLS; i++) {
        (void)kv_breaker_failure(&breaker, 5);
    }
    assert_int_equal(kv_breaker_wait_ms(&breaker, 25), 100);
    assert_int_equal(kv_breaker_wait_ms(&breaker, 50), 200);
    assert_true(kv_breaker_success(&breaker, 5));
    assert_false(breaker.is_open);
    for (int i = 0; i < KV_BREAKER_FALLS; i++) {
        (void)kv_breaker_failure(&breaker, 5);
    }
    assert_int_equal(kv_breaker_wait_ms(&breaker, 25), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backoff_doubles_to_its_maximum_spread_by_a_quarter),
        cmocka_unit_test(test_failures_in_a_row_open_it_once),
        cmocka_unit_test(test_a_success_between_failures_starts_the_count_anew),
        cmocka_unit_test(test_a_success_closes_it_and_the_waits_begin_anew),
        cmocka_unit_test(test_an_answer_counts_when_it_came_as_soon_as_the_failed_should_have),
        cmocka_unit_test(test_a_run_of_failures_does_not_inherit_the_patience_of_the_last),
        cmocka_unit_test(test_trials_are_given_what_commands_would_have_now),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
