/* SPDX-License-Identifier: MIT */
/* Runs of probes and failures, and the state that follows: one row, one story. */
#include <nearside/base/attr.h>
#include <nearside/health/health.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define FALL 3
#define RISE 2

/* A story: p pass, m miss, r refused (probes); f failure in passing (its number in the row
 * counts), c refused in passing. Starts in `from`. */
struct story {
    const char *what;
    enum endpoint_state from;
    const char *steps;
    enum endpoint_state want;
    bool want_changing;
};

static const struct story stories[] = {
    {"nothing known", ENDPOINT_UNKNOWN, "", ENDPOINT_UNKNOWN, true},
    {"fresh, first success", ENDPOINT_UNKNOWN, "p", ENDPOINT_UP, false},
    {"fresh, one miss", ENDPOINT_UNKNOWN, "m", ENDPOINT_UNKNOWN, true},
    {"fresh, misses then a success", ENDPOINT_UNKNOWN, "mmp", ENDPOINT_UP, false},
    {"fresh, three misses", ENDPOINT_UNKNOWN, "mmm", ENDPOINT_DOWN, false},
    {"fresh, refused", ENDPOINT_UNKNOWN, "r", ENDPOINT_DOWN, false},
    {"up, two misses", ENDPOINT_UP, "mm", ENDPOINT_UP, true},
    {"up, three misses", ENDPOINT_UP, "mmm", ENDPOINT_DOWN, false},
    {"up, misses with a success between", ENDPOINT_UP, "mmpmm", ENDPOINT_UP, true},
    {"up, a success ends the doubt", ENDPOINT_UP, "mp", ENDPOINT_UP, false},
    {"up, refused", ENDPOINT_UP, "r", ENDPOINT_DOWN, false},
    {"down, one success", ENDPOINT_DOWN, "p", ENDPOINT_DOWN, true},
    {"down, two successes", ENDPOINT_DOWN, "pp", ENDPOINT_UP, false},
    {"down, successes with a miss between", ENDPOINT_DOWN, "pmp", ENDPOINT_DOWN, true},
    {"down stays down", ENDPOINT_DOWN, "mmmm", ENDPOINT_DOWN, false},
    {"up again, then the full count of misses", ENDPOINT_UP, "mmmppmm", ENDPOINT_UP, true},
    {"up again and down again", ENDPOINT_UP, "mmmppmmm", ENDPOINT_DOWN, false},
    {"four failures in passing", ENDPOINT_UP, "ffff", ENDPOINT_UP, false},
    {"five failures in passing", ENDPOINT_UP, "fffff", ENDPOINT_DOWN, false},
    {"refused in passing", ENDPOINT_UP, "c", ENDPOINT_DOWN, false},
    {"refused in passing before any probe", ENDPOINT_UNKNOWN, "c", ENDPOINT_DOWN, false},
    {"a failure in passing spoils the rise", ENDPOINT_DOWN, "pfp", ENDPOINT_DOWN, true},
    {"warming, first success", ENDPOINT_WARMING, "p", ENDPOINT_UP, false},
};

static void step(struct threshold *threshold, char what, uint32_t *failures)
{
    switch (what) {
    case 'f':
        (void)threshold_passive(threshold, OUTCOME_RESET, ++*failures);
        break;
    case 'c':
        (void)threshold_passive(threshold, OUTCOME_CONNECT_REFUSED, 1);
        break;
    case 'p':
        (void)threshold_probe(threshold, PROBE_PASS, FALL, RISE);
        break;
    case 'm':
        (void)threshold_probe(threshold, PROBE_MISS, FALL, RISE);
        break;
    default:
        (void)threshold_probe(threshold, PROBE_REFUSED, FALL, RISE);
        break;
    }
}

static void test_stories_end_as_they_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(stories); i++) {
        struct threshold threshold = {.state = stories[i].from};
        uint32_t failures = 0;

        for (const char *what = stories[i].steps; *what != '\0'; what++) {
            step(&threshold, *what, &failures);
        }
        if (threshold.state != stories[i].want ||
            threshold_is_changing(&threshold) != stories[i].want_changing) {
            fail_msg("%s: %s", stories[i].what, endpoint_state_word(threshold.state));
        }
    }
}

static void test_only_blamed_outcomes_count(void **state)
{
    (void)state;
    for (int outcome = 0; outcome < OUTCOME_COUNT; outcome++) {
        struct threshold threshold = {.state = ENDPOINT_UP};
        enum endpoint_state want =
            outcome_is_blamed((enum outcome)outcome) ? ENDPOINT_DOWN : ENDPOINT_UP;

        assert_int_equal(threshold_passive(&threshold, (enum outcome)outcome, HEALTH_PASSIVE_FALL),
                         want);
    }
}

static void test_one_miss_is_enough_when_fall_is_one(void **state)
{
    struct threshold threshold = {.state = ENDPOINT_UP};

    (void)state;
    assert_int_equal(threshold_probe(&threshold, PROBE_MISS, 1, 1), ENDPOINT_DOWN);
    assert_int_equal(threshold_probe(&threshold, PROBE_PASS, 1, 1), ENDPOINT_UP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories_end_as_they_should),
        cmocka_unit_test(test_only_blamed_outcomes_count),
        cmocka_unit_test(test_one_miss_is_enough_when_fall_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
