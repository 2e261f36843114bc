/* SPDX-License-Identifier: MIT */
/* When free memory goes back to the kernel: values in, a decision out. */
#include "app/trim.h"

#include <nearside/base/attr.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MIB (1ULL << 20)

struct trim_case {
    const char *name;
    struct trim_facts facts;
    bool is_due;
};

/* Begun at second 0 with 20 MiB resident, nothing counted. A bound of 256 MiB makes a step of 8. */
static const struct trim_case cases[] = {
    {"nothing changed", {20 * MIB, 0, 256 * MIB, 60000}, false},
    {"what is counted is no slack", {276 * MIB, 256 * MIB, 256 * MIB, 60000}, false},
    {"a step is not yet much", {28 * MIB, 0, 256 * MIB, 60000}, false},
    {"more than a step is", {29 * MIB, 0, 256 * MIB, 60000}, true},
    {"... but not right after the last", {29 * MIB, 0, 256 * MIB, TRIM_PAUSE_MS - 1}, false},
    {"a small bound has a step of 2 MiB", {23 * MIB, 0, 16 * MIB, 60000}, true},
    {"... of more than that", {22 * MIB, 0, 16 * MIB, 60000}, false},
    {"more counted than resident: swapped out", {20 * MIB, 90 * MIB, 256 * MIB, 60000}, false},
    {"resident could not be read", {0, 0, 256 * MIB, 60000}, false},
};

static void test_a_trim_is_due_when_slack_has_grown_a_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trim trim;

        trim_init(&trim, &(struct trim_facts){.resident = 20 * MIB, .bound = 256 * MIB});
        if (trim_is_due(&trim, &cases[i].facts) != cases[i].is_due) {
            print_message("row: %s\n", cases[i].name);
        }
        assert_int_equal(trim_is_due(&trim, &cases[i].facts), cases[i].is_due);
    }
}

/* Connections may need it: once is enough. */
static void test_what_a_trim_leaves_is_not_asked_for_again(void **state)
{
    struct trim trim;
    struct trim_facts facts = {.resident = 20 * MIB, .bound = 256 * MIB};

    (void)state;
    trim_init(&trim, &facts);
    facts.resident = 90 * MIB;
    facts.now_ms = 10000;
    assert_true(trim_is_due(&trim, &facts));
    trim_done(&trim, &facts, 3);
    facts.now_ms = 20000;
    assert_false(trim_is_due(&trim, &facts));
    facts.resident = 99 * MIB;
    assert_true(trim_is_due(&trim, &facts));
}

static void test_a_long_trim_is_followed_by_a_long_pause(void **state)
{
    struct trim trim;
    struct trim_facts facts = {.resident = 20 * MIB, .bound = 256 * MIB};

    (void)state;
    trim_init(&trim, &facts);
    facts.now_ms = 10000;
    trim_done(&trim, &facts, 70);
    facts.resident = 90 * MIB;
    facts.now_ms = 10000 + 70 * TRIM_PAUSE_TIMES - 1;
    assert_false(trim_is_due(&trim, &facts));
    facts.now_ms++;
    assert_true(trim_is_due(&trim, &facts));
}

static void test_slack_that_went_is_missed_when_it_comes_again(void **state)
{
    struct trim trim;
    struct trim_facts facts = {.resident = 90 * MIB, .bound = 256 * MIB};

    (void)state;
    trim_init(&trim, &facts);
    facts.resident = 30 * MIB;
    facts.now_ms = 10000;
    assert_false(trim_is_due(&trim, &facts));
    facts.resident = 50 * MIB;
    assert_true(trim_is_due(&trim, &facts));
}

/* Each look wakes the control thread. */
static void test_looks_become_rare_while_nothing_changes(void **state)
{
    struct trim trim;
    struct trim_facts facts = {.resident = 20 * MIB, .bound = 256 * MIB};

    (void)state;
    trim_init(&trim, &facts);
    assert_int_equal(trim_next_look_ms(&trim, &facts), 2 * TRIM_TICK_MS);
    for (int i = 0; i < 10; i++) {
        (void)trim_next_look_ms(&trim, &facts);
    }
    assert_int_equal(trim_next_look_ms(&trim, &facts), TRIM_IDLE_MS);
    facts.resident += 4096;
    assert_int_equal(trim_next_look_ms(&trim, &facts), TRIM_TICK_MS);
    facts.counted = 4096;
    assert_int_equal(trim_next_look_ms(&trim, &facts), TRIM_TICK_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_trim_is_due_when_slack_has_grown_a_step),
        cmocka_unit_test(test_what_a_trim_leaves_is_not_asked_for_again),
        cmocka_unit_test(test_looks_become_rare_while_nothing_changes),
        cmocka_unit_test(test_a_long_trim_is_followed_by_a_long_pause),
        cmocka_unit_test(test_slack_that_went_is_missed_when_it_comes_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
