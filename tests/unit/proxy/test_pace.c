/* SPDX-License-Identifier: MIT */
/* Verdicts on slow clients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/pace_private.h"

#define S      1000000000ULL
#define WINDOW (10 * S)
#define RATE   100 /* 1000 bytes in a window */

struct piece {
    uint64_t at_s;
    uint64_t bytes; /* 0: judge */
    enum pace_verdict verdict;
};

struct story {
    const char *name;
    uint64_t rate;
    struct piece pieces[8];
};

static const struct story stories[] = {
    {"nothing comes", RATE, {{10, 0, PACE_IDLE}}},
    {"a byte a second is not enough",
     RATE,
     {{5, 5, PACE_GOOD}, {9, 4, PACE_GOOD}, {10, 0, PACE_SLOW}}},
    {"just the rate will do", RATE, {{9, 1000, PACE_GOOD}, {10, 0, PACE_GOOD}}},
    {"one byte less will not", RATE, {{9, 999, PACE_GOOD}, {10, 0, PACE_SLOW}}},
    {"who was fast must go on",
     RATE,
     {{9, 1000000, PACE_GOOD}, {10, 0, PACE_GOOD}, {12, 10, PACE_GOOD}, {20, 0, PACE_SLOW}}},
    {"a stop after a good window is idle",
     RATE,
     {{9, 1000, PACE_GOOD}, {10, 0, PACE_GOOD}, {20, 0, PACE_IDLE}}},
    {"without a rate any byte will do",
     0,
     {{9, 1, PACE_GOOD}, {18, 1, PACE_GOOD}, {20, 0, PACE_GOOD}}},
    {"without a rate idle is idle", 0, {{9, 1, PACE_GOOD}, {19, 0, PACE_IDLE}}},
};

static void test_a_body_is_judged_by_its_window(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(stories) / sizeof(stories[0]); i++) {
        struct pace pace;

        pace_begin(&pace, 0);
        for (const struct piece *piece = stories[i].pieces; piece->at_s > 0; piece++) {
            if (piece->bytes > 0) {
                pace_add(&pace, piece->at_s * S, piece->bytes);
                continue;
            }
            if (pace_judge(&pace, piece->at_s * S, WINDOW, stories[i].rate) != piece->verdict) {
                fail_msg("%s, at %llu s", stories[i].name, (unsigned long long)piece->at_s);
            }
        }
    }
}

static void test_the_next_judgement_is_due_when_it_can_say_something(void **state)
{
    struct pace pace;

    (void)state;
    pace_begin(&pace, 5 * S);
    pace_add(&pace, 8 * S, 1);
    assert_int_equal(pace_due_ns(&pace, WINDOW, RATE), 15 * S);
    assert_int_equal(pace_due_ns(&pace, WINDOW, 0), 18 * S);
}

/* Acknowledged bytes at each quarter, from 0; the last verdict is the one given. */
struct taking {
    const char *name;
    uint64_t rate;
    uint64_t counts[8];
    size_t looks;
    enum pace_verdict verdict;
};

static const struct taking takings[] = {
    {"nothing is taken", RATE, {0, 0, 0, 0}, 4, PACE_IDLE},
    {"three quiet quarters are no verdict", RATE, {0, 0, 0}, 3, PACE_GOOD},
    {"a byte a quarter is slow", RATE, {1, 2, 3, 4}, 4, PACE_SLOW},
    {"a burst will do", RATE, {0, 0, 1000, 1000}, 4, PACE_GOOD},
    {"a stop after a burst is found a window later",
     RATE,
     {9000, 9000, 9000, 9000, 9000},
     5,
     PACE_IDLE},
    {"who was fast must go on",
     RATE,
     {9000, 9001, 9002, 9003, 9004, 9005, 9006, 9007},
     8,
     PACE_SLOW},
    {"without a rate a byte a window will do", 0, {0, 0, 1, 1, 1, 2}, 6, PACE_GOOD},
};

static void test_an_answer_is_judged_by_what_was_acknowledged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(takings) / sizeof(takings[0]); i++) {
        enum pace_verdict verdict = PACE_GOOD;
        struct take_pace pace;

        take_pace_begin(&pace, 0);
        for (size_t look = 0; look < takings[i].looks; look++) {
            assert_int_equal(verdict, PACE_GOOD);
            verdict = take_pace_judge(&pace, takings[i].counts[look], WINDOW, takings[i].rate);
        }
        if (verdict != takings[i].verdict) {
            fail_msg("%s: %d", takings[i].name, (int)verdict);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_body_is_judged_by_its_window),
        cmocka_unit_test(test_the_next_judgement_is_due_when_it_can_say_something),
        cmocka_unit_test(test_an_answer_is_judged_by_what_was_acknowledged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
