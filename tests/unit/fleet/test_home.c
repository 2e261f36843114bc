/* SPDX-License-Identifier: MIT */
/* The home region: who becomes it, who stays it, and how often it changes over a bad minute. */
#include <nearside/base/attr.h>
#include <nearside/base/clock.h>
#include <nearside/base/rng.h>
#include <nearside/fleet/home.h>
#include <nearside/fleet/latency.h>

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BUDGET_MS 50.0
#define NOW_NS    (1000 * NS_PER_S)
#define OLD_NS    (900 * NS_PER_S)
#define YOUNG_NS  (995 * NS_PER_S)

static const struct home_rules rules = {
    .budget_ms = BUDGET_MS, .hysteresis_ms = 5, .hysteresis_ratio = 0.1, .dwell_ns = 10 * NS_PER_S};

struct class_case {
    bool was_near;
    bool had_class;
    bool known;
    double latency_ms;
    double budget_ms;
    bool want;
};

static const struct class_case class_cases[] = {
    {false, false, true, 50, 50, true},  {false, false, true, 50.1, 50, false},
    {false, false, false, 0, 50, false}, {true, true, false, 10, 50, false},
    {true, true, true, 55, 50, true},    {true, true, true, 55.1, 50, false},
    {false, true, true, 45, 50, true},   {false, true, true, 45.1, 50, false},
    {false, true, true, 50, 50, false},  {true, true, true, 50, 50, true},
    {false, true, true, 3.6, 4, true},   {false, true, true, 3.7, 4, false},
    {true, true, true, 4.4, 4, true},    {true, true, true, 4.5, 4, false},
    {false, true, true, 195, 200, true}, {true, true, true, 206, 200, false},
};

static void test_class_has_a_band(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(class_cases); i++) {
        const struct class_case *row = &class_cases[i];

        if (home_class(row->was_near, row->had_class, row->known, row->latency_ms,
                       row->budget_ms) != row->want) {
            fail_msg("row %zu", i);
        }
    }
}

/* Candidates as letters: U usable, - not; then the latency, negative: unknown. */
struct home_case {
    const char *what;
    const char *usable;
    double latency_ms[3];
    int present;
    uint64_t since_ns;
    int want;
};

static const struct home_case home_cases[] = {
    {"nobody", "---", {10, 20, 30}, HOME_NONE, 0, HOME_NONE},
    {"first one: the closest", "UUU", {30, 10, 20}, HOME_NONE, 0, 1},
    {"first one: the closest usable", "U-U", {30, 10, 20}, HOME_NONE, 0, 2},
    {"near before far", "UU-", {60, 49, 0}, HOME_NONE, 0, 1},
    {"all far: the closest far", "UUU", {90, 70, 80}, HOME_NONE, 0, 1},
    {"unknown latency comes last", "UU-", {-1, 90, 0}, HOME_NONE, 0, 1},
    {"only unknown: in order", "-UU", {-1, -1, -1}, HOME_NONE, 0, 1},
    {"within 5 ms: stays", "UU-", {14, 10, 0}, 0, OLD_NS, 0},
    {"exactly 5 ms: stays", "UU-", {15, 10, 0}, 0, OLD_NS, 0},
    {"more than 5 ms: goes", "UU-", {15.1, 10, 0}, 0, OLD_NS, 1},
    {"more than 5 ms but young: stays", "UU-", {40, 10, 0}, 0, YOUNG_NS, 0},
    {"at its dwell: goes", "UU-", {40, 10, 0}, 0, 990 * NS_PER_S, 1},
    {"far: within 10 percent stays", "UU-", {100, 91, 0}, 0, OLD_NS, 0},
    {"far: over 10 percent goes", "UU-", {100, 89, 0}, 0, OLD_NS, 1},
    {"down leaves at once", "-UU", {10, 30, 20}, 0, YOUNG_NS, 2},
    {"down to a far one", "-U-", {10, 90, 0}, 0, YOUNG_NS, 1},
    {"down and nobody left", "---", {10, 90, 0}, 0, YOUNG_NS, HOME_NONE},
    {"back from nobody", "U--", {10, 90, 0}, HOME_NONE, YOUNG_NS, 0},
    {"near beats a far home at once", "UU-", {60, 45, 0}, 0, YOUNG_NS, 1},
    {"far home without a near one stays", "UU-", {60, 58, 0}, 0, OLD_NS, 0},
    {"known beats an unknown home", "UU-", {-1, 80, 0}, 0, YOUNG_NS, 1},
    {"unknown home among unknown stays", "UUU", {-1, -1, -1}, 1, OLD_NS, 1},
    {"index beyond the candidates", "UU-", {10, 20, 0}, 7, OLD_NS, 0},
};

static void check_case(const struct home_case *row)
{
    struct home_candidate candidates[3];
    struct home_choice present = {.index = row->present, .since_ns = row->since_ns};
    struct home_choice choice;

    for (int i = 0; i < 3; i++) {
        double ms = row->latency_ms[i];

        candidates[i] = (struct home_candidate){.usable = row->usable[i] == 'U',
                                                .known = ms >= 0,
                                                .latency_ms = ms,
                                                .near = ms >= 0 && ms <= BUDGET_MS};
    }
    choice = home_choose(candidates, 3, present, &rules, NOW_NS);
    if (choice.index != row->want) {
        fail_msg("%s: %d", row->what, choice.index);
    }
    assert_true(choice.since_ns == (row->want == row->present ? row->since_ns : NOW_NS));
}

static void test_home_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(home_cases); i++) {
        check_case(&home_cases[i]);
    }
}

/* ---- latency, class and home together, second by second ---- */

struct edge {
    struct latency latency[2];
    struct home_candidate candidates[2];
    bool had_class[2];
    struct home_choice home;
    uint64_t now_ns;
    unsigned changes;
};

static struct edge edge_new(void)
{
    return (struct edge){.home = {.index = HOME_NONE}, .now_ns = NOW_NS};
}

static void edge_second(struct edge *edge, double first_ms, double second_ms)
{
    const double sample_ms[2] = {first_ms, second_ms};
    struct home_choice before = edge->home;

    edge->now_ns += NS_PER_S;
    for (int i = 0; i < 2; i++) {
        struct home_candidate *candidate = &edge->candidates[i];

        latency_observe(&edge->latency[i], LATENCY_TCP_INFO, sample_ms[i], edge->now_ns);
        candidate->usable = true;
        candidate->known =
            latency_get(&edge->latency[i], edge->now_ns, &candidate->latency_ms, NULL);
        candidate->near =
            home_class(candidate->near, edge->had_class[i], true, candidate->latency_ms, BUDGET_MS);
        edge->had_class[i] = true;
    }
    edge->home = home_choose(edge->candidates, 2, before, &rules, edge->now_ns);
    edge->changes += before.index != HOME_NONE && edge->home.index != before.index;
}

static void test_five_ms_of_noise_never_change_the_home(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct edge edge = edge_new();
        struct rng rng;

        rng_init_seed(&rng, seed);
        for (int i = 0; i < 3600; i++) {
            edge_second(&edge, 25 + 10 * rng_unit(&rng), 25 + 10 * rng_unit(&rng));
        }
        assert_int_equal(edge.changes, 0);
    }
}

static void test_noise_about_the_budget_never_changes_the_home(void **state)
{
    struct edge edge = edge_new();
    struct rng rng;

    (void)state;
    rng_init_seed(&rng, 9);
    edge_second(&edge, 48, 60);
    for (int i = 0; i < 3600; i++) {
        edge_second(&edge, 45 + 10 * rng_unit(&rng), 60);
    }
    assert_int_equal(edge.changes, 0);
}

struct wave_case {
    double first_ms;
    double second_ms;
};

/* The first region gets 120 ms longer and shorter again, 8 s each, for ten minutes. */
static void test_a_wave_of_latency_changes_the_home_twice_a_minute_at_most(void **state)
{
    static const struct wave_case cases[] = {{20, 35}, {5, 10},   {40, 49},  {20, 90},
                                             {60, 70}, {90, 110}, {30, 100}, {49, 51}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct edge edge = edge_new();

        for (int minute = 0; minute < 10; minute++) {
            edge.changes = 0;
            for (int second = 0; second < 60; second++) {
                double extra_ms = (minute * 60 + second) / 8 % 2 == 1 ? 120 : 0;

                edge_second(&edge, cases[i].first_ms + extra_ms, cases[i].second_ms);
            }
            if (edge.changes > 2) {
                fail_msg("case %zu minute %d: %u changes", i, minute, edge.changes);
            }
        }
    }
}

static void test_a_lasting_rise_moves_home_and_its_end_moves_it_back(void **state)
{
    struct edge edge = edge_new();

    (void)state;
    for (int i = 0; i < 60; i++) {
        edge_second(&edge, 20, 35);
    }
    assert_int_equal(edge.home.index, 0);
    for (int i = 0; i < 10; i++) {
        edge_second(&edge, 140, 35);
    }
    assert_int_equal(edge.home.index, 1);
    for (int i = 0; i < 60; i++) {
        edge_second(&edge, 20, 35);
    }
    assert_int_equal(edge.home.index, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_class_has_a_band),
        cmocka_unit_test(test_home_table),
        cmocka_unit_test(test_five_ms_of_noise_never_change_the_home),
        cmocka_unit_test(test_noise_about_the_budget_never_changes_the_home),
        cmocka_unit_test(test_a_wave_of_latency_changes_the_home_twice_a_minute_at_most),
        cmocka_unit_test(test_a_lasting_rise_moves_home_and_its_end_moves_it_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
