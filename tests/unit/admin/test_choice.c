/* SPDX-License-Identifier: MIT */
/* Why a region is chosen or not, by table: three regions, the first is home unless told else. */
#include "admin/choice_private.h"

#include <nearside/conf/tree.h>
#include <nearside/fleet/home.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define REGIONS 3

struct world {
    struct conf conf;
    struct view_region regions[REGIONS];
    struct fleet_view view;
};

static struct view_region usable(const char *name, double latency_ms)
{
    return (struct view_region){.name = name,
                                .state = REGION_UP,
                                .usable = true,
                                .latency_known = true,
                                .latency_ms = latency_ms,
                                .near = latency_ms <= 50};
}

static void world_init(struct world *world)
{
    *world = (struct world){.conf = {.routing = {.latency_budget_ms = 50,
                                                 .hysteresis_ms = 5,
                                                 .hysteresis_ratio = 0.1,
                                                 .dwell_s = 10}},
                            .regions = {usable("a", 20), usable("b", 40), usable("c", 140)}};
    world->view = (struct fleet_view){
        .conf = &world->conf, .home = 0, .region_count = REGIONS, .regions = world->regions};
}

static void check(struct world *world, uint32_t region, enum choice_verdict verdict,
                  const char *why)
{
    char text[CHOICE_WHY_LEN];

    assert_string_equal(choice_verdict_word(choice_of(&world->view, region)),
                        choice_verdict_word(verdict));
    choice_why(&world->view, region, text);
    assert_string_equal(text, why);
}

static void test_the_closest_near_region_is_chosen_and_others_are_farther(void **state)
{
    struct world world;

    (void)state;
    world_init(&world);
    check(&world, 0, CHOICE_CHOSEN, "the closest of the near regions that can serve");
    check(&world, 1, CHOICE_FARTHER, "20.0 ms farther than a");
    check(&world, 2, CHOICE_FAR, "over the budget of 50 ms, and a near region serves");
}

static void test_what_cannot_serve_says_why(void **state)
{
    struct world world;

    (void)state;
    world_init(&world);
    world.regions[1].usable = false;
    world.regions[1].state = REGION_DOWN;
    check(&world, 1, CHOICE_DOWN, "none of its pods is up");
    world.regions[1].drained = true;
    check(&world, 1, CHOICE_DRAINED, "drained by an operator");
    world.regions[1].drained = false;
    world.regions[1].state = REGION_UNKNOWN;
    check(&world, 1, CHOICE_UNKNOWN, "not probed yet");
    world.regions[1].state = REGION_UP;
    check(&world, 1, CHOICE_NO_ENDPOINT, "no pod that is up may take requests");
    world.regions[1].breaker = BREAKER_OPEN;
    check(&world, 1, CHOICE_PUT_ASIDE, "put aside: too many real requests failed there");
}

static void test_a_closer_region_says_what_keeps_it_from_being_home(void **state)
{
    struct world world;

    (void)state;
    world_init(&world);
    world.regions[1].latency_ms = 17;
    check(&world, 1, CHOICE_NOT_HOME,
          "closer than a by 3.0 ms, less than the 5.0 ms that it takes to move");
    check(&world, 0, CHOICE_CHOSEN,
          "it serves already; b is closer by 3.0 ms, not enough to move yet");
    world.regions[1].latency_ms = 8;
    check(&world, 1, CHOICE_NOT_HOME,
          "closer than a by 12.0 ms; a choice is kept for 10 s and changes at most 2 times a "
          "minute");
}

static void test_a_far_home_says_that_no_near_one_can_serve(void **state)
{
    struct world world;

    (void)state;
    world_init(&world);
    world.regions[0].usable = world.regions[1].usable = false;
    world.view.home = 2;
    check(&world, 2, CHOICE_CHOSEN, "no near region can serve; it is the closest of the far ones");
}

static void test_the_next_is_who_would_be_home_without_the_present_one(void **state)
{
    struct world world;

    (void)state;
    world_init(&world);
    assert_int_equal(choice_next(&world.view), 1);
    world.regions[1].usable = false;
    assert_int_equal(choice_next(&world.view), 2);
    world.regions[2].usable = false;
    assert_int_equal(choice_next(&world.view), HOME_NONE);
}

static void test_an_unknown_latency_is_told(void **state)
{
    struct world world;

    (void)state;
    world_init(&world);
    world.regions[1].latency_known = false;
    check(&world, 1, CHOICE_FARTHER, "its path latency is not known yet");
    world.regions[0].latency_known = false;
    check(&world, 0, CHOICE_CHOSEN, "it is up, and no path latency is known yet");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_closest_near_region_is_chosen_and_others_are_farther),
        cmocka_unit_test(test_what_cannot_serve_says_why),
        cmocka_unit_test(test_a_closer_region_says_what_keeps_it_from_being_home),
        cmocka_unit_test(test_a_far_home_says_that_no_near_one_can_serve),
        cmocka_unit_test(test_the_next_is_who_would_be_home_without_the_present_one),
        cmocka_unit_test(test_an_unknown_latency_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
