/* SPDX-License-Identifier: MIT */
/* The retry rule as a table, and its budget over virtual time. */
#include <nearside/base/attr.h>
#include <nearside/base/clock.h>
#include <nearside/obs/metric.h>
#include <nearside/route/route.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NOW_NS   (1000 * NS_PER_S)
#define LATER_NS (1001 * NS_PER_S)

struct retry_case {
    struct retry_facts facts;
    enum retry_verdict want;
};

#define FACTS(what, ...)                                                                           \
    {                                                                                              \
        .outcome = OUTCOME_##what, .body_replayable = true, .attempts = 1, .attempts_max = 3,      \
        .budget_left = true, .now_ns = NOW_NS, .deadline_ns = LATER_NS, __VA_ARGS__                \
    }

#pragma GCC diagnostic ignored "-Woverride-init"
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#endif
static const struct retry_case retry_cases[] = {
    {FACTS(CONNECT_REFUSED), RETRY_YES},
    {FACTS(CONNECT_TIMEOUT), RETRY_YES},
    {FACTS(CONNECT_ERROR), RETRY_YES},
    {FACTS(TLS_ERROR), RETRY_YES},
    {FACTS(RESET), RETRY_YES},
    {FACTS(STALE), RETRY_YES},
    {FACTS(MALFORMED), RETRY_YES},
    {FACTS(HEAD_TIMEOUT), RETRY_YES},
    {FACTS(STATUS_5XX), RETRY_YES},
    {FACTS(FULL), RETRY_YES},
    {FACTS(REGION_DOWN), RETRY_YES},
    {FACTS(OK), RETRY_NO_OUTCOME},
    {FACTS(IDLE_TIMEOUT), RETRY_NO_OUTCOME},
    {FACTS(CUT), RETRY_NO_OUTCOME},
    {FACTS(CLIENT_GONE), RETRY_NO_OUTCOME},
    {FACTS(DEADLINE), RETRY_NO_OUTCOME},
    {FACTS(LOCAL_LIMIT), RETRY_NO_OUTCOME},
    {FACTS(RESET, .committed = true), RETRY_NO_COMMITTED},
    {FACTS(RESET, .body_replayable = false), RETRY_NO_BODY},
    {FACTS(CONNECT_REFUSED, .acts = true), RETRY_YES},
    {FACTS(CONNECT_TIMEOUT, .acts = true), RETRY_YES},
    {FACTS(CONNECT_ERROR, .acts = true), RETRY_YES},
    {FACTS(TLS_ERROR, .acts = true), RETRY_YES},
    {FACTS(STALE, .acts = true), RETRY_YES},
    {FACTS(FULL, .acts = true), RETRY_YES},
    {FACTS(RESET, .acts = true), RETRY_NO_ACTS},
    {FACTS(MALFORMED, .acts = true), RETRY_NO_ACTS},
    {FACTS(HEAD_TIMEOUT, .acts = true), RETRY_NO_ACTS},
    {FACTS(STATUS_5XX, .acts = true), RETRY_NO_ACTS},
    {FACTS(REGION_DOWN, .acts = true), RETRY_NO_ACTS},
    {FACTS(RESET, .attempts = 2), RETRY_YES},
    {FACTS(RESET, .attempts = 3), RETRY_NO_ATTEMPTS},
    {FACTS(RESET, .attempts_max = 1), RETRY_NO_ATTEMPTS},
    {FACTS(STALE, .attempts = 0, .attempts_max = 1), RETRY_YES},
    {FACTS(RESET, .now_ns = LATER_NS), RETRY_NO_TIME},
    {FACTS(RESET, .deadline_ns = 0, .now_ns = LATER_NS), RETRY_YES},
    {FACTS(RESET, .budget_left = false), RETRY_YES}, /* the first is free */
    {FACTS(RESET, .budget_left = false, .attempts = 2), RETRY_NO_BUDGET},
    {FACTS(HEAD_TIMEOUT, .budget_left = false), RETRY_NO_BUDGET},
    {FACTS(HEAD_TIMEOUT, .budget_left = false, .elsewhere = true), RETRY_YES}, /* only moved */
    {FACTS(HEAD_TIMEOUT, .budget_left = false, .elsewhere = true, .attempts = 2), RETRY_NO_BUDGET},
    {FACTS(MALFORMED, .budget_left = false, .elsewhere = true), RETRY_NO_BUDGET},
    {FACTS(STATUS_5XX, .budget_left = false), RETRY_NO_BUDGET},
    {FACTS(FULL, .budget_left = false), RETRY_NO_BUDGET},
    {FACTS(STALE, .budget_left = false), RETRY_YES},
    {FACTS(REGION_DOWN, .attempts = 2, .budget_left = false), RETRY_YES},
    {FACTS(CONNECT_REFUSED, .budget_left = false), RETRY_YES},
    {FACTS(CONNECT_TIMEOUT, .attempts = 2, .budget_left = false), RETRY_NO_BUDGET},
};

static void test_retry_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(retry_cases); i++) {
        enum retry_verdict verdict = retry_decide(&retry_cases[i].facts);

        if (verdict != retry_cases[i].want) {
            fail_msg("row %zu (%s): %s", i,
                     outcome_word((enum outcome)retry_cases[i].facts.outcome),
                     retry_verdict_word(verdict));
        }
    }
}

static unsigned take_all(struct retry_budget *budget, double min_per_s, uint64_t now_ns)
{
    unsigned taken = 0;

    while (taken < 100000 && retry_budget_take(budget, min_per_s, now_ns)) {
        taken++;
    }
    return taken;
}

static void test_the_floor_is_there_without_traffic(void **state)
{
    struct retry_budget budget = {.second = {0}};

    (void)state;
    assert_int_equal(take_all(&budget, 10, NOW_NS), 100);
    assert_int_equal(take_all(&budget, 10, NOW_NS + 5 * NS_PER_S), 0);
    assert_int_equal(take_all(&budget, 10, NOW_NS + 10 * NS_PER_S), 100);
}

static void test_a_fifth_of_the_traffic_may_be_retried(void **state)
{
    struct retry_budget budget = {.second = {0}};

    (void)state;
    for (int i = 0; i < 1000; i++) {
        retry_budget_deposit(&budget, 0.25, NOW_NS);
    }
    assert_int_equal(take_all(&budget, 0, NOW_NS), 250);
}

static void test_deposits_expire_after_ten_seconds(void **state)
{
    struct retry_budget budget = {.second = {0}};

    (void)state;
    for (int i = 0; i < 100; i++) {
        retry_budget_deposit(&budget, 0.25, NOW_NS);
    }
    assert_true(retry_budget_take(&budget, 0, NOW_NS + 9 * NS_PER_S));
    assert_false(retry_budget_take(&budget, 0, NOW_NS + 10 * NS_PER_S));
}

static void test_no_floor_and_no_traffic_is_no_retry(void **state)
{
    struct retry_budget budget = {.second = {0}};

    (void)state;
    assert_false(retry_budget_take(&budget, 0, 0));
    assert_false(retry_budget_take(&budget, 0, NOW_NS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_table),
        cmocka_unit_test(test_the_floor_is_there_without_traffic),
        cmocka_unit_test(test_a_fifth_of_the_traffic_may_be_retried),
        cmocka_unit_test(test_deposits_expire_after_ten_seconds),
        cmocka_unit_test(test_no_floor_and_no_traffic_is_no_retry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
