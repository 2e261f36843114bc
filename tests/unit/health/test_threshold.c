/* SPDX-License-Identifier: MIT */
/* Runs of probes and failures, and the state that follows: one row, one story. */
#include "health/threshold_private.h"

#include <nearside/base/attr.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define FALL 3
#define RISE 2

/* A story: p pass, m miss, t timeout, v timeout of an endpoint with real traffic, r refused (health
 * probes); g generation works, h it does not; f failure in passing, c refused in passing; q ten
 * quiet minutes. Starts in `from`. */
struct story {
    const char *what;
    enum endpoint_state from;
    const char *steps;
    enum endpoint_state want;
    bool want_changing;
};

static const struct story usual_stories[] = {
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
    {"failures in passing are the breaker's", ENDPOINT_UP, "ffffffff", ENDPOINT_UP, false},
    {"refused in passing", ENDPOINT_UP, "c", ENDPOINT_DOWN, false},
    {"refused in passing before any probe", ENDPOINT_UNKNOWN, "c", ENDPOINT_DOWN, false},
    {"a failure in passing spoils no rise", ENDPOINT_DOWN, "pfp", ENDPOINT_UP, false},
    {"refused in passing spoils it", ENDPOINT_DOWN, "pcp", ENDPOINT_DOWN, true},
    {"warming, first success", ENDPOINT_WARMING, "p", ENDPOINT_UP, false},
    {"timeouts count as misses", ENDPOINT_UP, "ttt", ENDPOINT_DOWN, false},
    {"traffic excuses timeouts", ENDPOINT_UP, "vvvvvvvvvvvvvvv", ENDPOINT_UP, true},
    {"traffic excuses no other miss", ENDPOINT_UP, "vmv", ENDPOINT_DOWN, false},
    {"the first timeout without traffic ends it", ENDPOINT_UP, "vvvvt", ENDPOINT_DOWN, false},
    {"traffic does not make a fresh one up", ENDPOINT_UNKNOWN, "vvv", ENDPOINT_DOWN, false},
    {"misses in turn with passes: nine", ENDPOINT_UP, "mpmpmpmpmpmpmpmpm", ENDPOINT_UP, true},
    {"misses in turn with passes: ten", ENDPOINT_UP, "mpmpmpmpmpmpmpmpmpm", ENDPOINT_DOWN, false},
    {"ten passes clear the slow counter", ENDPOINT_UP, "mpmpmpmpmpmpmpmpmppppppppppm", ENDPOINT_UP,
     true},
    {"nine passes do not", ENDPOINT_UP, "mpmpmpmpmpmpmpmpmpppppppppm", ENDPOINT_DOWN, false},
    {"nor do failures in passing keep it from being cleared", ENDPOINT_UP,
     "mpmpmpmpmpmpmpmpmpppppfpppppm", ENDPOINT_UP, true},
    {"the slow counter leaves out what traffic excuses", ENDPOINT_UP, "vpvpvpvpvpvpvpvpvpvpm",
     ENDPOINT_UP, true},
    {"the second fall: three passes", ENDPOINT_UP, "mmmppmmmppp", ENDPOINT_DOWN, true},
    {"the second fall: four passes", ENDPOINT_UP, "mmmppmmmpppp", ENDPOINT_UP, false},
    {"the third fall: seven", ENDPOINT_UP,
     "rpprppppr"
     "ppppppp",
     ENDPOINT_DOWN, true},
    {"the third fall: eight", ENDPOINT_UP,
     "rpprppppr"
     "pppppppp",
     ENDPOINT_UP, false},
    {"falls when down are no falls", ENDPOINT_UP, "rrrcrrpp", ENDPOINT_UP, false},
    {"ten quiet minutes forgive one fall", ENDPOINT_UP, "mmmppqmmmpp", ENDPOINT_UP, false},
    {"generation fails twice", ENDPOINT_UP, "hh", ENDPOINT_UP, false},
    {"generation fails three times", ENDPOINT_UP, "hhh", ENDPOINT_DOWN, false},
    {"health does not excuse the engine", ENDPOINT_UP, "hphphpppp", ENDPOINT_DOWN, false},
    {"nor the engine health", ENDPOINT_UP, "mgmgm", ENDPOINT_DOWN, false},
    {"two generations and two passes", ENDPOINT_UP, "hhhppgg", ENDPOINT_UP, false},
    {"generations alone do not do it", ENDPOINT_UP, "hhhgggg", ENDPOINT_DOWN, false},
    {"generation before health", ENDPOINT_UP, "hhhggpp", ENDPOINT_UP, false},
    {"a fresh one whose engine hangs", ENDPOINT_UNKNOWN, "hhhp", ENDPOINT_DOWN, true},
};

/* The same where prompts have to be answered first; w: they have been. */
static const struct story cold_stories[] = {
    {"fresh, first success", ENDPOINT_UNKNOWN, "p", ENDPOINT_WARMING, false},
    {"successes do not warm", ENDPOINT_UNKNOWN, "ppppp", ENDPOINT_WARMING, false},
    {"warmed", ENDPOINT_UNKNOWN, "pw", ENDPOINT_UP, false},
    {"warmed, in doubt", ENDPOINT_UNKNOWN, "pwm", ENDPOINT_UP, true},
    {"warmed before it answered a probe: not said", ENDPOINT_UNKNOWN, "w", ENDPOINT_UNKNOWN, true},
    {"dies while warming", ENDPOINT_UNKNOWN, "pmmm", ENDPOINT_DOWN, false},
    {"in doubt while warming", ENDPOINT_UNKNOWN, "pmm", ENDPOINT_WARMING, true},
    {"refuses while warming", ENDPOINT_UNKNOWN, "pr", ENDPOINT_DOWN, false},
    {"refuses a client while warming", ENDPOINT_UNKNOWN, "pc", ENDPOINT_DOWN, false},
    {"never was up: no fall", ENDPOINT_UNKNOWN, "prppwrppw", ENDPOINT_UP, false},
    {"back from down", ENDPOINT_DOWN, "pp", ENDPOINT_WARMING, false},
    {"back from down, one success", ENDPOINT_DOWN, "p", ENDPOINT_DOWN, true},
    {"warmed does not lift from down", ENDPOINT_DOWN, "pw", ENDPOINT_DOWN, true},
    {"back from down, warmed", ENDPOINT_DOWN, "ppw", ENDPOINT_UP, false},
    {"up stays up", ENDPOINT_UP, "pmp", ENDPOINT_UP, false},
    {"the engine hangs while warming", ENDPOINT_UNKNOWN, "phhh", ENDPOINT_DOWN, false},
    {"warmed, but the engine is in question", ENDPOINT_DOWN, "hhhppw", ENDPOINT_DOWN, false},
};

static const struct threshold_rules cold = {.fall = FALL, .rise = RISE, .warmup = true};
static const struct threshold_rules usual = {.fall = FALL, .rise = RISE};

struct teller {
    const struct threshold_rules *rules;
    struct threshold threshold;
    uint64_t now_ns;
};

static void probe(struct teller *teller, enum probe_track track, enum probe_verdict verdict,
                  bool had_traffic)
{
    struct probe_fact fact = {
        .track = track, .verdict = verdict, .had_traffic = had_traffic, .now_ns = teller->now_ns};

    (void)threshold_probe(&teller->threshold, &fact, teller->rules);
}

static void step(struct teller *teller, char what)
{
    switch (what) {
    case 'p':
        probe(teller, TRACK_HEALTH, PROBE_PASS, false);
        break;
    case 'm':
        probe(teller, TRACK_HEALTH, PROBE_MISS, false);
        break;
    case 't':
        probe(teller, TRACK_HEALTH, PROBE_TIMEOUT, false);
        break;
    case 'v':
        probe(teller, TRACK_HEALTH, PROBE_TIMEOUT, true);
        break;
    case 'r':
        probe(teller, TRACK_HEALTH, PROBE_REFUSED, true);
        break;
    case 'g':
        probe(teller, TRACK_GENERATE, PROBE_PASS, false);
        break;
    case 'h':
        probe(teller, TRACK_GENERATE, PROBE_TIMEOUT, false);
        break;
    case 'f':
        (void)threshold_passive(&teller->threshold, OUTCOME_RESET, teller->now_ns);
        break;
    case 'c':
        (void)threshold_passive(&teller->threshold, OUTCOME_CONNECT_REFUSED, teller->now_ns);
        break;
    case 'w':
        threshold_warmed(&teller->threshold);
        break;
    default:
        teller->now_ns += THRESHOLD_QUIET_NS;
        break;
    }
}

static void tell(const struct story *stories, size_t count, const struct threshold_rules *rules)
{
    for (size_t i = 0; i < count; i++) {
        struct teller teller = {
            .rules = rules, .threshold = {.state = stories[i].from}, .now_ns = NS_PER_S};

        for (const char *what = stories[i].steps; *what != '\0'; what++) {
            step(&teller, *what);
        }
        if (teller.threshold.state != stories[i].want ||
            threshold_is_changing(&teller.threshold, TRACK_HEALTH, rules) !=
                stories[i].want_changing) {
            fail_msg("%s: %s", stories[i].what, endpoint_state_word(teller.threshold.state));
        }
    }
}

static void test_stories_end_as_they_should(void **state)
{
    (void)state;
    tell(usual_stories, ARRAY_LEN(usual_stories), &usual);
}

static void test_a_cold_endpoint_is_up_only_when_it_has_answered(void **state)
{
    (void)state;
    tell(cold_stories, ARRAY_LEN(cold_stories), &cold);
}

/* ---- every interleaving, against a second form of the rules that looks back over the history ----
 */

#define LENGTH_MAX 12

struct history {
    char steps[LENGTH_MAX + 1];  /* p and m */
    char states[LENGTH_MAX + 2]; /* u unknown, U up, D down; one more than steps */
    uint32_t length;
};

/* How many of `what` end the first `length` steps. */
static uint32_t trailing(const struct history *history, uint32_t length, char what)
{
    uint32_t count = 0;

    while (count < length && history->steps[length - 1 - count] == what) {
        count++;
    }
    return count;
}

static uint32_t falls_before(const struct history *history, uint32_t length)
{
    uint32_t falls = 0;

    for (uint32_t i = 1; i <= length; i++) {
        falls += history->states[i - 1] == 'U' && history->states[i] == 'D';
    }
    return falls;
}

/* Misses while up, since the last step that ended ten passes, or a fall. */
static uint32_t slow_misses(const struct history *history, uint32_t length)
{
    uint32_t misses = 0;

    for (uint32_t i = 0; i < length; i++) {
        bool is_cleared = trailing(history, i + 1, 'p') >= THRESHOLD_SLOW_CLEAR;
        bool is_fallen = i > 0 && history->states[i] == 'D';

        misses = is_cleared || is_fallen
                     ? 0
                     : misses + (history->states[i] == 'U' && history->steps[i] == 'm');
    }
    return misses;
}

/* Passes at the end since the endpoint went down. */
static uint32_t passes_down(const struct history *history, uint32_t length)
{
    uint32_t count = 0;

    while (count < length && history->steps[length - 1 - count] == 'p' &&
           history->states[length - 1 - count] == 'D') {
        count++;
    }
    return count;
}

static uint32_t needed_after(uint32_t falls, uint32_t rise)
{
    uint32_t needed = falls < 2 ? rise : rise << (falls - 1);
    uint32_t cap = rise > THRESHOLD_RISE_MAX ? rise : THRESHOLD_RISE_MAX;

    return needed < cap ? needed : cap;
}

static char state_after(const struct history *history, uint32_t length,
                        const struct threshold_rules *rules)
{
    char before = history->states[length - 1];
    bool passed = history->steps[length - 1] == 'p';

    if (!passed) {
        bool falls = trailing(history, length, 'm') >= rules->fall ||
                     slow_misses(history, length) >= THRESHOLD_SLOW_FALL;

        return falls ? 'D' : before;
    }
    if (before == 'D') {
        uint32_t needed = needed_after(falls_before(history, length - 1), rules->rise);

        return passes_down(history, length) >= needed ? 'U' : 'D';
    }
    return 'U';
}

static const enum endpoint_state states_by_letter[128] = {
    ['u'] = ENDPOINT_UNKNOWN, ['U'] = ENDPOINT_UP, ['D'] = ENDPOINT_DOWN};

static void check_history(uint32_t bits, uint32_t length, char from,
                          const struct threshold_rules *rules)
{
    struct history history = {.steps = "", .states = {from}};
    struct threshold threshold = {.state = states_by_letter[(unsigned char)from]};

    for (uint32_t i = 0; i < length; i++) {
        struct probe_fact fact = {.now_ns = NS_PER_S + i,
                                  .verdict = (bits >> i & 1) != 0 ? PROBE_PASS : PROBE_MISS};

        history.steps[i] = fact.verdict == PROBE_PASS ? 'p' : 'm';
        history.states[i + 1] = state_after(&history, i + 1, rules);
        if (threshold_probe(&threshold, &fact, rules) !=
            states_by_letter[(unsigned char)history.states[i + 1]]) {
            fail_msg("fall %u rise %u from %c after %s: %s, not %c", rules->fall, rules->rise, from,
                     history.steps, endpoint_state_word(threshold.state), history.states[i + 1]);
        }
    }
}

static void test_every_interleaving_of_twelve_probes_ends_as_the_rules_say(void **state)
{
    static const struct threshold_rules rules[] = {
        {3, 2, false}, {1, 1, false}, {2, 3, false}, {100, 1, false}, {4, 16, false}};

    (void)state;
    for (size_t r = 0; r < ARRAY_LEN(rules); r++) {
        for (uint32_t bits = 0; bits < 1U << LENGTH_MAX; bits++) {
            check_history(bits, LENGTH_MAX, 'u', &rules[r]);
            check_history(bits, LENGTH_MAX, 'U', &rules[r]);
            check_history(bits, LENGTH_MAX, 'D', &rules[r]);
        }
    }
}

static void test_only_a_refusal_in_passing_takes_down(void **state)
{
    (void)state;
    for (int outcome = 0; outcome < OUTCOME_COUNT; outcome++) {
        struct threshold threshold = {.state = ENDPOINT_UP};
        enum endpoint_state want = outcome == OUTCOME_CONNECT_REFUSED ? ENDPOINT_DOWN : ENDPOINT_UP;

        assert_int_equal(threshold_passive(&threshold, (enum outcome)outcome, NS_PER_S), want);
    }
}

static void test_doublings_stop_at_the_cap(void **state)
{
    static const uint32_t wants[] = {2, 2, 4, 8, 16, 16, 16};
    struct threshold threshold = {.state = ENDPOINT_UP};

    (void)state;
    for (uint32_t falls = 0; falls < ARRAY_LEN(wants); falls++) {
        threshold.falls = falls;
        assert_int_equal(threshold_needed(&threshold, &usual), wants[falls]);
    }
    threshold.falls = UINT32_MAX;
    assert_int_equal(threshold_needed(&threshold, &(struct threshold_rules){3, 50, false}), 50);
}

static void test_a_flapping_endpoint_is_told_from_a_failing_one(void **state)
{
    struct teller teller = {.rules = &usual, .threshold = {.state = ENDPOINT_UP}};

    (void)state;
    for (int i = 0; i < 10; i++) {
        step(&teller, 'm');
        step(&teller, i < 9 ? 'p' : 'm');
    }
    assert_true(teller.threshold.state == ENDPOINT_DOWN && teller.threshold.flapped);
    step(&teller, 'p');
    step(&teller, 'p');
    step(&teller, 'r');
    assert_true(teller.threshold.state == ENDPOINT_DOWN && !teller.threshold.flapped);
}

static void test_an_engine_not_asked_any_more_says_nothing(void **state)
{
    struct teller teller = {.rules = &usual, .threshold = {.state = ENDPOINT_UP}};

    (void)state;
    for (const char *what = "hhhp"; *what != '\0'; what++) {
        step(&teller, *what);
    }
    assert_true(threshold_is_changing(&teller.threshold, TRACK_GENERATE, &usual));
    threshold_forget_generate(&teller.threshold);
    assert_false(threshold_is_changing(&teller.threshold, TRACK_GENERATE, &usual));
    step(&teller, 'p');
    assert_int_equal(teller.threshold.state, ENDPOINT_UP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories_end_as_they_should),
        cmocka_unit_test(test_a_cold_endpoint_is_up_only_when_it_has_answered),
        cmocka_unit_test(test_every_interleaving_of_twelve_probes_ends_as_the_rules_say),
        cmocka_unit_test(test_only_a_refusal_in_passing_takes_down),
        cmocka_unit_test(test_doublings_stop_at_the_cap),
        cmocka_unit_test(test_a_flapping_endpoint_is_told_from_a_failing_one),
        cmocka_unit_test(test_an_engine_not_asked_any_more_says_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
