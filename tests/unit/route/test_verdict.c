/* SPDX-License-Identifier: MIT */
/* Why a region was not chosen: what is said must fit the choice that was made. */
#include "unit/route/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct verdict_case {
    const char *fleet; /* see world.h */
    const char *home;
    const char *model;
    const char *regions;
    const char *want; /* words of all regions, in order */
};

static const struct verdict_case verdict_cases[] = {
    {"a 10 u", "a", "", "", "chosen "},
    {"a 10 u;b 30 u", "a", "", "", "chosen farther "},
    {"a 10 u;b 12 u", "b", "", "", "not_home chosen "},
    {"a 60 u;b 45 u", "a", "", "", "far chosen "},
    {"a 90 u;b 70 u", "b", "", "", "farther chosen "},
    {"a 10 d;b 30 u", "b", "", "", "down chosen "},
    {"a 10 k;b 30 u", "b", "", "", "unknown chosen "},
    {"a 10 x;b 30 u", "b", "", "", "no_endpoint chosen "},
    {"a 10 u D;b 30 u", "b", "", "", "drained chosen "},
    {"a 10 f;b 30 u", "a", "", "", "full chosen "},
    {"a 10 f;b 80 u", "a", "", "", "full chosen "},
    {"a 10 t;b 30 u", "a", "", "", "tried chosen "},
    {"a 10 u w=0;b 30 u", "a", "", "", "slow_start chosen "},
    {"a 10 u m=x;b 30 u", "a", "y", "", "no_model chosen "},
    {"a 10 u;b 30 u;c 40 u", "a", "", "b", "not_allowed chosen not_allowed "},
    {"a 10 u D;b 30 u D", "", "", "", "drained drained "},
    {"a 10 d;b 30 d", "", "", "", "chosen down "},
};

static void judge(const struct verdict_case *row, char out[200])
{
    struct world *world = world_from(row->fleet, row->home);
    struct route_choice choice;
    struct rng rng;
    size_t len = 0;

    rng_init(&rng);
    world->request.model = str_of(row->model);
    world->request.regions = str_of(row->regions);
    choice = route_pick(&world->view, &world->request, WORLD_NOW_NS, &rng);
    for (uint32_t i = 0; i < world->view.region_count; i++) {
        enum route_verdict verdict = route_judge(&world->view, &world->request, &choice, i);
        len += (size_t)snprintf(out + len, 200 - len, "%s ", route_verdict_word(verdict));
    }
    world_free(world);
}

static void test_each_region_is_judged_by_what_the_choice_saw(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(verdict_cases); i++) {
        char got[200] = "";

        judge(&verdict_cases[i], got);
        if (strcmp(got, verdict_cases[i].want) != 0) {
            fail_msg("%s: got %s, want %s", verdict_cases[i].fleet, got, verdict_cases[i].want);
        }
    }
}

static void test_every_verdict_has_a_word_and_a_sentence(void **state)
{
    (void)state;
    for (unsigned verdict = 0; verdict < ROUTE_VERDICT_COUNT; verdict++) {
        assert_true(strlen(route_verdict_word((enum route_verdict)verdict)) > 2);
        assert_true(strlen(route_verdict_why((enum route_verdict)verdict)) > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_region_is_judged_by_what_the_choice_saw),
        cmocka_unit_test(test_every_verdict_has_a_word_and_a_sentence),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
