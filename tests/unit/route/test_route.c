/* SPDX-License-Identifier: MIT */
/* The choice of region and endpoint: a table of situations, then properties on random fleets. */
#include "unit/route/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define ANY (-2)

struct route_case {
    const char *what;
    const char *fleet; /* see world.h */
    const char *home;
    const char *model;
    const char *regions;
    const char *want;  /* region; "" nobody */
    int want_endpoint; /* ANY: one of its endpoints */
    enum route_reason reason;
    const char *preferred;
};

static const struct route_case route_cases[] = {
    /* closest, home, far */
    {"one region", "a 10 u", "a", "", "", "a", 0, ROUTE_CLOSEST, "a"},
    {"closest of two near", "a 10 u;b 30 u", "a", "", "", "a", 0, ROUTE_CLOSEST, "a"},
    {"order does not matter", "b 30 u;a 10 u", "a", "", "", "a", 0, ROUTE_CLOSEST, "a"},
    {"no home elected yet", "b 30 u;a 10 u", "", "", "", "a", 0, ROUTE_CLOSEST, "a"},
    {"home is kept though not closest", "a 10 u;b 12 u", "b", "", "", "b", 0, ROUTE_HOME, "b"},
    {"near before far", "a 60 u;b 45 u", "b", "", "", "b", 0, ROUTE_CLOSEST, "b"},
    {"a far home loses to a near one", "a 60 u;b 45 u", "a", "", "", "b", 0, ROUTE_CLOSEST, "b"},
    {"all far: closest far", "a 90 u;b 70 u", "b", "", "", "b", 0, ROUTE_FAR, "b"},
    {"all far: far home is kept", "a 74 u;b 70 u", "a", "", "", "a", 0, ROUTE_FAR, "a"},
    {"exactly the budget is near", "a 50 u;b 70 u", "a", "", "", "a", 0, ROUTE_CLOSEST, "a"},
    {"unknown latency comes after near", "a ? u;b 40 u", "b", "", "", "b", 0, ROUTE_CLOSEST, "b"},
    {"unknown latency alone serves", "a ? u", "a", "", "", "a", 0, ROUTE_FAR, "a"},
    {"unknown latency before a far 80", "a 80 u;b ? u", "", "", "", "b", 0, ROUTE_FAR, "a"},
    /* health */
    {"down region is left", "a 10 d;b 30 u", "b", "", "", "b", 0, ROUTE_CLOSEST, "a"},
    {"down home is left though still home", "a 10 d;b 30 u", "a", "", "", "b", 0, ROUTE_CLOSEST,
     "a"},
    {"failover may leave the budget", "a 10 d;b 80 u", "b", "", "", "b", 0, ROUTE_FAR, "a"},
    {"degraded region serves with the rest", "a 10 dud;b 30 u", "a", "", "", "a", 1, ROUTE_CLOSEST,
     "a"},
    {"a further region down changes nothing", "a 10 u;b 30 d", "a", "", "", "a", 0, ROUTE_CLOSEST,
     "a"},
    {"unknown endpoints wait for their verdict", "a 10 ku", "a", "", "", "a", 1, ROUTE_CLOSEST,
     "a"},
    {"usable before unknown, however far", "a 5 k;b 90 u", "b", "", "", "b", 0, ROUTE_FAR, "a"},
    {"nothing probed yet", "a ? k;b ? k", "", "", "", "a", 0, ROUTE_ONLY_UNKNOWN, "a"},
    {"unknown before down", "a 10 d;b 80 k", "", "", "", "b", 0, ROUTE_ONLY_UNKNOWN, "a"},
    {"known distance first among unprobed", "a ? k;b 20 k", "", "", "", "b", 0, ROUTE_ONLY_UNKNOWN,
     "b"},
    {"region without endpoints", "a 10 -;b 30 u", "b", "", "", "b", 0, ROUTE_CLOSEST, "a"},
    {"no endpoints anywhere", "a 10 -;b 30 -", "", "", "", "", -1, ROUTE_NO_REGION, "a"},
    /* drains */
    {"drained region is left", "a 10 u D;b 30 u", "b", "", "", "b", 0, ROUTE_CLOSEST, "b"},
    {"drained endpoint is left", "a 10 xu", "a", "", "", "a", 1, ROUTE_CLOSEST, "a"},
    {"all endpoints drained", "a 10 xx;b 30 u", "b", "", "", "b", 0, ROUTE_CLOSEST, "a"},
    {"all regions drained", "a 10 u D;b 30 u D", "", "", "", "", -1, ROUTE_NO_REGION, ""},
    {"drained stays out of panic", "a 10 u D;b 30 d", "", "", "", "b", 0, ROUTE_PANIC, "b"},
    {"drained endpoints stay out of panic", "a 10 xd", "", "", "", "a", 1, ROUTE_PANIC, "a"},
    {"only drained endpoints in panic", "a 10 x;b 30 d", "", "", "", "b", 0, ROUTE_PANIC, "a"},
    /* X-Nearside-Regions */
    {"list of one", "a 10 u;b 30 u", "a", "", "b", "b", 0, ROUTE_CLOSEST, "b"},
    {"list with spaces", "a 10 u;b 30 u;c 40 u", "a", "", " c , b ", "b", 0, ROUTE_CLOSEST, "b"},
    {"list in other order", "a 10 u;b 30 u", "a", "", "b,a", "a", 0, ROUTE_CLOSEST, "a"},
    {"list of strangers", "a 10 u;b 30 u", "a", "", "x,y", "", -1, ROUTE_NO_REGION, ""},
    {"list is case sensitive", "a 10 u", "a", "", "A", "", -1, ROUTE_NO_REGION, ""},
    {"list of a prefix", "aa 10 u;a 30 u", "aa", "", "a", "a", 0, ROUTE_CLOSEST, "a"},
    {"empty list items allow all", "a 10 u", "a", "", " ,, ", "a", 0, ROUTE_CLOSEST, "a"},
    {"list with a down region: panic inside it", "a 10 u;b 30 d", "a", "", "b", "b", 0, ROUTE_PANIC,
     "b"},
    {"list with a drained region", "a 10 u;b 30 u D", "a", "", "b", "", -1, ROUTE_NO_REGION, ""},
    {"list with a full region queues", "a 10 u;b 30 f", "a", "", "b", "b", -1, ROUTE_QUEUE, "b"},
    /* models */
    {"model served everywhere", "a 10 u;b 30 u", "a", "tiny", "", "a", 0, ROUTE_CLOSEST, "a"},
    {"model served elsewhere", "a 10 u m=big;b 30 u m=tiny", "a", "tiny", "", "b", 0, ROUTE_CLOSEST,
     "b"},
    {"model served by none", "a 10 u m=big;b 30 u m=big", "a", "tiny", "", "", -1, ROUTE_NO_MODEL,
     ""},
    {"request without a model", "a 10 u m=big", "a", "", "", "a", 0, ROUTE_CLOSEST, "a"},
    {"model outside the list", "a 10 u m=tiny;b 30 u m=big", "a", "tiny", "b", "", -1,
     ROUTE_NO_MODEL, ""},
    {"model only in a drained region", "a 10 u m=tiny D;b 30 u m=big", "b", "tiny", "", "", -1,
     ROUTE_NO_REGION, ""},
    {"model is matched whole", "a 10 u m=tinyer", "a", "tiny", "", "", -1, ROUTE_NO_MODEL, ""},
    /* room */
    {"full endpoint is left", "a 10 fu", "a", "", "", "a", 1, ROUTE_CLOSEST, "a"},
    {"full region spills to the next near", "a 10 ff;b 30 u;c 20 u", "a", "", "", "c", 0,
     ROUTE_SPILL, "a"},
    {"full near regions spill far", "a 10 f;b 30 f;c 90 u", "a", "", "", "c", 0, ROUTE_SPILL, "a"},
    {"all full: queue for the preferred", "a 10 f;b 30 f", "a", "", "", "a", -1, ROUTE_QUEUE, "a"},
    {"all full: queue for home", "a 10 f;b 12 f", "b", "", "", "b", -1, ROUTE_QUEUE, "b"},
    {"full does not spill to a down one", "a 10 f;b 30 d", "a", "", "", "a", -1, ROUTE_QUEUE, "a"},
    /* retries */
    {"another endpoint of the region first", "a 10 lu;b 30 u", "a", "", "", "a", 1, ROUTE_CLOSEST,
     "a"},
    {"no other endpoint: next region", "a 10 l;b 30 u", "a", "", "", "b", 0, ROUTE_RETRY, "a"},
    {"two attempts there: next region", "a 10 tlu;b 30 u", "a", "", "", "b", 0, ROUTE_RETRY, "a"},
    {"two attempts and no other region", "a 10 tlu", "a", "", "", "a", 2, ROUTE_CLOSEST, "a"},
    {"after the region went down", "a 10 d;b 30 u", "b", "", "", "b", 0, ROUTE_CLOSEST, "a"},
    {"everything tried: not the last", "a 10 tl", "a", "", "", "a", 0, ROUTE_CLOSEST, "a"},
    {"everything tried over two regions", "a 10 t;b 30 l", "a", "", "", "a", 0, ROUTE_CLOSEST, "a"},
    {"a single endpoint again", "a 10 l", "a", "", "", "a", 0, ROUTE_CLOSEST, "a"},
    {"untried one is full: wait for it", "a 10 lf", "a", "", "", "a", -1, ROUTE_QUEUE, "a"},
    {"tried one answered full", "a 10 T;b 30 u", "a", "", "", "b", 0, ROUTE_RETRY, "a"},
    {"tried and full, all of them", "a 10 TT", "a", "", "", "a", -1, ROUTE_QUEUE, "a"},
    {"three regions, two spent", "a 10 ttu;b 30 tlu;c 90 u", "a", "", "", "c", 0, ROUTE_RETRY, "a"},
    {"untried far before tried near", "a 10 l;b 90 u", "a", "", "", "b", 0, ROUTE_RETRY, "a"},
    {"retry stays inside the list", "a 10 l;b 30 u", "a", "", "a", "a", 0, ROUTE_CLOSEST, "a"},
    /* slow start */
    {"region at the start of its ramp", "a 10 u w=0;b 30 u", "a", "", "", "b", 0, ROUTE_SLOW_START,
     "a"},
    {"ramp alone serves all", "a 10 u w=0", "a", "", "", "a", 0, ROUTE_CLOSEST, "a"},
    {"ramp takes what does not fit elsewhere", "a 10 u w=0;b 30 f", "a", "", "", "a", 0,
     ROUTE_CLOSEST, "a"},
    {"ramp before a region that is down", "a 10 u w=0;b 30 d", "a", "", "", "a", 0, ROUTE_CLOSEST,
     "a"},
    /* breakers */
    {"put aside is left", "a 10 ou", "a", "", "", "a", 1, ROUTE_CLOSEST, "a"},
    {"a trial comes first", "a 10 upu", "a", "", "", "a", 1, ROUTE_CLOSEST, "a"},
    {"a trial that is taken takes no other", "a 10 qu", "a", "", "", "a", 1, ROUTE_CLOSEST, "a"},
    {"a retry is no trial", "a 10 pul", "a", "", "", "a", 1, ROUTE_CLOSEST, "a"},
    {"a trial brings nobody to a farther region", "a 10 u;b 30 p", "a", "", "", "a", 0,
     ROUTE_CLOSEST, "a"},
    {"all put aside: no waiting", "a 10 ood", "a", "", "", "a", ANY, ROUTE_PANIC, "a"},
    {"a region put aside is left", "a 10 u B=o;b 30 u", "b", "", "", "b", 0, ROUTE_CLOSEST, "a"},
    {"a region put aside though alone", "a 10 du B=o", "", "", "", "a", 1, ROUTE_PANIC, "a"},
    {"put aside before down", "a 10 d;b 80 u B=o", "", "", "", "b", 0, ROUTE_PANIC, "a"},
    {"a closer region's trial comes before home", "a 10 up B=p;b 30 u", "b", "", "", "a", 1,
     ROUTE_CLOSEST, "a"},
    {"a farther one's does not", "a 10 u;b 30 p B=p", "a", "", "", "a", 0, ROUTE_CLOSEST, "a"},
    {"a near home before a far one's trial", "a 70 p B=p;b 45 u", "b", "", "", "b", 0,
     ROUTE_CLOSEST, "b"},
    {"a region's trial that is taken", "a 10 uq B=p;b 30 u", "b", "", "", "b", 0, ROUTE_CLOSEST,
     "a"},
    {"a region's trial is for no retry", "a 10 p B=p;b 30 lu", "b", "", "", "b", 1, ROUTE_CLOSEST,
     "a"},
    /* panic */
    {"most are down and nobody has room", "a 10 fdd;b 30 f", "a", "", "", "a", ANY, ROUTE_PANIC,
     "a"},
    {"most are down and another has room", "a 10 fdd;b 30 u", "a", "", "", "b", 0, ROUTE_SPILL,
     "a"},
    {"half are up: wait for room", "a 10 fd", "a", "", "", "a", -1, ROUTE_QUEUE, "a"},
    {"drained ones are not down", "a 10 fxx", "a", "", "", "a", -1, ROUTE_QUEUE, "a"},
    {"panic is tried once", "a 10 fdd;b 30 T", "a", "", "", "a", -1, ROUTE_QUEUE, "a"},
    {"all down: the closest", "a 30 d;b 10 d", "", "", "", "b", 0, ROUTE_PANIC, "b"},
    {"all down: unknown distance counts as 50", "a 80 d;b ? d", "", "", "", "b", 0, ROUTE_PANIC,
     "a"},
};

static void check_case(const struct route_case *row)
{
    struct world *world = world_from(row->fleet, row->home);
    struct route_choice choice;
    struct rng rng;
    int want = world_find(world, row->want);

    world->request.model = str_of(row->model);
    world->request.regions = str_of(row->regions);
    if (world->request.last_region >= 0) {
        const struct view_region *region = &world->view_regions[world->request.last_region];

        for (uint32_t e = 0; e < region->endpoint_count; e++) {
            for (uint32_t i = 0; i < world->request.tried_count; i++) {
                world->request.last_region_attempts +=
                    region->endpoints[e].live->id == world->request.tried[i];
            }
        }
    }
    rng_init_seed(&rng, 1);
    choice = route_pick(&world->view, &world->request, WORLD_NOW_NS, &rng);
    if (choice.region != want || choice.reason != row->reason ||
        choice.preferred != world_find(world, row->preferred) ||
        (row->want_endpoint != ANY && choice.endpoint != row->want_endpoint)) {
        fail_msg("%s: region %d endpoint %d reason %s preferred %d", row->what, choice.region,
                 choice.endpoint, route_reason_word(choice.reason), choice.preferred);
    }
    world_free(world);
}

static void test_route_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(route_cases); i++) {
        check_case(&route_cases[i]);
    }
}

struct in_vain_case {
    const char *what;
    const char *fleet;
    bool in_vain;
    const char *want;
    int want_endpoint;
};

static const struct in_vain_case in_vain_cases[] = {
    {"untried and usable first", "a 10 lou;b 30 u", true, "a", 2},
    {"another region before those put aside", "a 10 lo;b 30 u", true, "b", 0},
    {"put aside before the same again", "a 10 lo;b 30 d", true, "a", 1},
    {"a region put aside before the same again", "a 10 l;b 30 u B=o", true, "b", 0},
    {"a trial that others wait for will do", "a 10 lq", true, "a", 1},
    {"what is down is not put aside", "a 10 ld", true, "a", 0},
    {"drained ones stay out", "a 10 l;b 30 o D", true, "a", 0},
    {"one that answered may be asked again", "a 10 lo", false, "a", 0},
    {"room is waited for", "a 10 lof", true, "a", -1},
};

static void test_who_failed_is_not_asked_again_while_others_are_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(in_vain_cases); i++) {
        const struct in_vain_case *row = &in_vain_cases[i];
        struct world *world = world_from(row->fleet, "a");
        struct route_choice choice;
        struct rng rng;

        world->request.in_vain = row->in_vain;
        rng_init_seed(&rng, 1);
        choice = route_pick(&world->view, &world->request, WORLD_NOW_NS, &rng);
        if (choice.region != world_find(world, row->want) ||
            choice.endpoint != row->want_endpoint) {
            fail_msg("%s: region %d endpoint %d", row->what, choice.region, choice.endpoint);
        }
        world_free(world);
    }
}

/* ---- endpoints ---- */

static void count_picks(struct world *world, uint32_t picks, uint32_t *counts)
{
    struct rng rng;

    rng_init_seed(&rng, 7);
    for (uint32_t i = 0; i < picks; i++) {
        struct route_choice choice = route_pick(&world->view, &world->request, WORLD_NOW_NS, &rng);

        assert_true(choice.endpoint >= 0);
        counts[choice.endpoint]++;
    }
}

static void test_the_least_pending_endpoint_serves(void **state)
{
    struct world *world = world_from("a 10 uuu", "a");
    uint32_t counts[3] = {0};

    (void)state;
    atomic_store(&world->view_regions[0].endpoints[0].live->pending, 2);
    atomic_store(&world->view_regions[0].endpoints[0].live->inflight, 2);
    atomic_store(&world->view_regions[0].endpoints[1].live->inflight, 11);
    atomic_store(&world->view_regions[0].endpoints[2].live->pending, 1);
    atomic_store(&world->view_regions[0].endpoints[2].live->inflight, 1);
    count_picks(world, 10, counts);
    assert_int_equal(counts[2], 10);
    world_free(world);
}

static void test_a_pending_request_weighs_as_much_as_five_streams(void **state)
{
    struct world *world = world_from("a 10 uu", "a");
    uint32_t counts[2] = {0};

    (void)state;
    atomic_store(&world->view_regions[0].endpoints[0].live->pending, 1);
    atomic_store(&world->view_regions[0].endpoints[0].live->inflight, 1);
    atomic_store(&world->view_regions[0].endpoints[1].live->inflight, 4);
    count_picks(world, 10, counts);
    assert_int_equal(counts[1], 10);
    world_free(world);
}

static void test_idle_endpoints_share_evenly_around_dead_ones(void **state)
{
    struct world *world = world_from("a 10 uddu", "a");
    uint32_t counts[4] = {0};

    (void)state;
    count_picks(world, 4000, counts);
    assert_in_range(counts[0], 1800, 2200);
    assert_in_range(counts[3], 1800, 2200);
    world_free(world);
}

static void test_an_endpoint_in_slow_start_gets_load_by_its_weight(void **state)
{
    struct world *world = world_from("a 10 uu", "a");
    uint32_t counts[2] = {0};

    (void)state;
    world->view_regions[0].endpoints[1].weight = 0.1F;
    atomic_store(&world->view_regions[0].endpoints[0].live->inflight, 8);
    count_picks(world, 10, counts);
    assert_int_equal(counts[0], 10); /* 9 / 1 against 1 / 0.1 */
    atomic_store(&world->view_regions[0].endpoints[0].live->inflight, 10);
    count_picks(world, 10, counts);
    assert_int_equal(counts[1], 10); /* 11 / 1 against 1 / 0.1 */
    world_free(world);
}

static void test_an_endpoint_at_its_inflight_limit_has_no_room(void **state)
{
    struct world *world = world_from("a 10 uu;b 20 u", "a");
    struct route_choice choice;
    struct rng rng;

    (void)state;
    rng_init_seed(&rng, 1);
    world->regions[0].limits.max_inflight_per_endpoint = 2;
    atomic_store(&world->view_regions[0].endpoints[0].live->inflight, 2);
    atomic_store(&world->view_regions[0].endpoints[1].live->inflight, 1);
    choice = route_pick(&world->view, &world->request, WORLD_NOW_NS, &rng);
    assert_int_equal(choice.endpoint, 1);
    atomic_store(&world->view_regions[0].endpoints[1].live->inflight, 2);
    choice = route_pick(&world->view, &world->request, WORLD_NOW_NS, &rng);
    assert_int_equal(choice.region, 1);
    assert_int_equal(choice.reason, ROUTE_SPILL);
    world_free(world);
}

static void test_a_full_endpoint_has_room_again_when_its_time_is_over(void **state)
{
    struct world *world = world_from("a 10 f", "a");
    struct route_choice choice;
    struct rng rng;

    (void)state;
    rng_init_seed(&rng, 1);
    choice = route_pick(&world->view, &world->request, WORLD_NOW_NS, &rng);
    assert_int_equal(choice.reason, ROUTE_QUEUE);
    choice = route_pick(&world->view, &world->request, WORLD_NOW_NS + 1, &rng);
    assert_int_equal(choice.endpoint, 0);
    world_free(world);
}

static void test_round_robin_takes_turns_in_order(void **state)
{
    struct world *world = world_from("a 10 uuu", "a");
    uint32_t turns[METRIC_REGIONS_MAX] = {0};
    struct rng rng;

    (void)state;
    rng_init_seed(&rng, 1);
    world->conf.routing.balance = CONF_BALANCE_ROUND_ROBIN;
    world->request.turns = turns;
    for (int i = 0; i < 9; i++) {
        struct route_choice choice = route_pick(&world->view, &world->request, WORLD_NOW_NS, &rng);

        assert_int_equal(choice.endpoint, i % 3);
    }
    world_free(world);
}

static void test_round_robin_shares_a_dead_endpoints_turns(void **state)
{
    struct world *world = world_from("a 10 uduu", "a");
    uint32_t turns[METRIC_REGIONS_MAX] = {0};
    uint32_t counts[4] = {0};

    (void)state;
    world->conf.routing.balance = CONF_BALANCE_ROUND_ROBIN;
    world->request.turns = turns;
    count_picks(world, 3000, counts);
    assert_int_equal(counts[1], 0);
    assert_in_range(counts[0], 900, 1100);
    assert_in_range(counts[2], 900, 1100);
    assert_in_range(counts[3], 900, 1100);
    world_free(world);
}

static void test_a_large_region_finds_its_only_endpoint_with_room(void **state)
{
    struct world *world = world_new(1);
    struct view_region *region = world_region(world, 0, "a", 10, 256);
    uint32_t counts[256] = {0};

    (void)state;
    for (uint32_t e = 0; e < 256; e++) {
        region->endpoints[e].state = e == 200 ? ENDPOINT_UP : ENDPOINT_DOWN;
    }
    world_settle(region);
    count_picks(world, 50, counts);
    assert_int_equal(counts[200], 50);
    world_free(world);
}

static void test_a_large_region_avoids_loaded_endpoints(void **state)
{
    struct world *world = world_new(1);
    struct view_region *region = world_region(world, 0, "a", 10, 128);
    uint32_t counts[128] = {0};
    uint32_t loaded = 0;

    (void)state;
    for (uint32_t e = 0; e < 64; e++) {
        atomic_store(&region->endpoints[e].live->inflight, 5);
    }
    count_picks(world, 2000, counts);
    for (uint32_t e = 0; e < 64; e++) {
        loaded += counts[e];
    }
    assert_in_range(loaded, 0, 40); /* all eight of a sample loaded: 1 in 256 */
    world_free(world);
}

static void test_slow_start_gives_a_region_its_share(void **state)
{
    struct world *world = world_from("a 10 u w=0.25;b 30 u", "a");
    uint32_t in_a = 0;
    struct rng rng;

    (void)state;
    rng_init_seed(&rng, 3);
    for (int i = 0; i < 4000; i++) {
        in_a += route_pick(&world->view, &world->request, WORLD_NOW_NS, &rng).region == 0;
    }
    assert_in_range(in_a, 850, 1150);
    world_free(world);
}

static void test_every_reason_has_a_word(void **state)
{
    (void)state;
    for (int i = 0; i < ROUTE_REASON_COUNT; i++) {
        assert_non_null(route_reason_word((enum route_reason)i));
    }
}

/* ---- properties on random fleets ---- */

#define FLEETS 3000

static void random_endpoint(struct view_endpoint *endpoint, struct rng *rng)
{
    endpoint->state = (enum endpoint_state)rng_below(rng, ENDPOINT_STATE_COUNT);
    endpoint->drained = rng_below(rng, 6) == 0;
    endpoint->weight = rng_below(rng, 4) == 0 ? 0.3F : 1.0F;
    atomic_store(&endpoint->live->full_until_ns, rng_below(rng, 5) == 0 ? WORLD_NOW_NS + 9 : 0);
    atomic_store(&endpoint->live->inflight, (unsigned)rng_below(rng, 5));
}

static struct world *random_world(struct rng *rng)
{
    struct world *world = world_new(1 + (uint32_t)rng_below(rng, 6));

    for (uint32_t r = 0; r < world->view.region_count; r++) {
        char name[2] = {(char)('a' + r), '\0'};
        double latency_ms = rng_below(rng, 8) == 0 ? -1 : (double)rng_below(rng, 120);
        uint32_t count = rng_below(rng, 12) == 0 ? 100 : (uint32_t)rng_below(rng, 5);
        struct view_region *region = world_region(world, r, name, latency_ms, count);

        for (uint32_t e = 0; e < count; e++) {
            random_endpoint(&region->endpoints[e], rng);
        }
        region->drained = rng_below(rng, 6) == 0;
        region->weight = rng_below(rng, 4) == 0 ? 0.5F : 1.0F;
        world_settle(region);
    }
    world->view.home = (int)rng_below(rng, world->view.region_count + 1) - 1;
    return world;
}

static void random_tries(struct world *world, struct rng *rng)
{
    for (uint64_t i = rng_below(rng, 5); i > 0; i--) {
        uint32_t r = (uint32_t)rng_below(rng, world->view.region_count);
        const struct view_region *region = &world->view_regions[r];

        if (region->endpoint_count > 0) {
            uint32_t e = (uint32_t)rng_below(rng, region->endpoint_count);

            world->request.tried[world->request.tried_count++] = region->endpoints[e].live->id;
            world->request.last_region_attempts =
                world->request.last_region == (int)r ? world->request.last_region_attempts + 1 : 1;
            world->request.last_region = (int)r;
        }
    }
}

static bool was_tried(const struct world *world, uint64_t id)
{
    for (uint32_t i = 0; i < world->request.tried_count; i++) {
        if (world->request.tried[i] == id) {
            return true;
        }
    }
    return false;
}

static bool has_room_now(const struct view_endpoint *endpoint)
{
    return atomic_load(&endpoint->live->full_until_ns) <= WORLD_NOW_NS;
}

/* Endpoints up, not drained, with room, in regions not drained; only untried ones if asked. */
static uint32_t count_good(const struct world *world, bool untried_only)
{
    uint32_t good = 0;

    for (uint32_t r = 0; r < world->view.region_count; r++) {
        const struct view_region *region = &world->view_regions[r];

        for (uint32_t e = 0; !region->drained && e < region->endpoint_count; e++) {
            const struct view_endpoint *endpoint = &region->endpoints[e];

            good += endpoint->state == ENDPOINT_UP && !endpoint->drained &&
                    has_room_now(endpoint) &&
                    !(untried_only && was_tried(world, endpoint->live->id));
        }
    }
    return good;
}

static uint32_t count_usable(const struct world *world)
{
    uint32_t usable = 0;

    for (uint32_t r = 0; r < world->view.region_count; r++) {
        usable += world->view_regions[r].usable;
    }
    return usable;
}

static void check_choice(const struct world *world, const struct route_choice *choice)
{
    const struct view_region *region;
    const struct view_endpoint *endpoint;

    if (choice->region == ROUTE_NOBODY) {
        assert_int_equal(count_usable(world), 0);
        return;
    }
    region = &world->view_regions[choice->region];
    assert_false(region->drained);
    if (choice->endpoint == ROUTE_NOBODY) {
        assert_int_equal(choice->reason, ROUTE_QUEUE);
        assert_int_equal(count_good(world, true), 0);
        return;
    }
    endpoint = &region->endpoints[choice->endpoint];
    assert_false(endpoint->drained);
    assert_true(has_room_now(endpoint));
    if (count_usable(world) > 0) {
        assert_true(endpoint->state == ENDPOINT_UP || count_good(world, false) == 0);
    } else {
        assert_true(choice->reason == ROUTE_PANIC || choice->reason == ROUTE_ONLY_UNKNOWN);
    }
    if (was_tried(world, endpoint->live->id)) {
        assert_int_equal(count_good(world, true), 0);
    }
}

static void test_no_random_fleet_breaks_the_rules(void **state)
{
    struct rng rng;

    (void)state;
    rng_init_seed(&rng, 42);
    for (int i = 0; i < FLEETS; i++) {
        struct world *world = random_world(&rng);
        struct route_choice choice;

        random_tries(world, &rng);
        choice = route_pick(&world->view, &world->request, WORLD_NOW_NS, &rng);
        check_choice(world, &choice);
        world_free(world);
    }
}

static void test_no_choice_leaves_the_requests_list(void **state)
{
    struct rng rng;

    (void)state;
    rng_init_seed(&rng, 43);
    for (int i = 0; i < FLEETS; i++) {
        struct world *world = random_world(&rng);
        struct route_choice choice;

        random_tries(world, &rng);
        world->request.regions = STR_LIT("b, d");
        choice = route_pick(&world->view, &world->request, WORLD_NOW_NS, &rng);
        assert_true(choice.region == ROUTE_NOBODY || choice.region == 1 || choice.region == 3);
        assert_true(choice.preferred == ROUTE_NOBODY || choice.preferred == 1 ||
                    choice.preferred == 3);
        world_free(world);
    }
}

/* Bringing the chosen region closer never sends the request elsewhere. */
static void test_a_closer_region_is_not_chosen_less(void **state)
{
    struct rng rng;

    (void)state;
    rng_init_seed(&rng, 44);
    for (int i = 0; i < FLEETS; i++) {
        struct world *world = random_world(&rng);
        uint64_t seed = rng_next(&rng);
        struct rng same;
        struct route_choice before;
        struct route_choice after;

        rng_init_seed(&same, seed);
        before = route_pick(&world->view, &world->request, WORLD_NOW_NS, &same);
        if (before.region != ROUTE_NOBODY && world->view_regions[before.region].latency_known) {
            struct view_region *region = &world->view_regions[before.region];

            region->latency_ms *= 0.5;
            world_settle(region);
            rng_init_seed(&same, seed);
            after = route_pick(&world->view, &world->request, WORLD_NOW_NS, &same);
            assert_int_equal(after.region, before.region);
            assert_true(after.cost_ms <= before.cost_ms);
        }
        world_free(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route_table),
        cmocka_unit_test(test_who_failed_is_not_asked_again_while_others_are_up),
        cmocka_unit_test(test_the_least_pending_endpoint_serves),
        cmocka_unit_test(test_a_pending_request_weighs_as_much_as_five_streams),
        cmocka_unit_test(test_idle_endpoints_share_evenly_around_dead_ones),
        cmocka_unit_test(test_an_endpoint_in_slow_start_gets_load_by_its_weight),
        cmocka_unit_test(test_an_endpoint_at_its_inflight_limit_has_no_room),
        cmocka_unit_test(test_a_full_endpoint_has_room_again_when_its_time_is_over),
        cmocka_unit_test(test_round_robin_takes_turns_in_order),
        cmocka_unit_test(test_round_robin_shares_a_dead_endpoints_turns),
        cmocka_unit_test(test_a_large_region_finds_its_only_endpoint_with_room),
        cmocka_unit_test(test_a_large_region_avoids_loaded_endpoints),
        cmocka_unit_test(test_slow_start_gives_a_region_its_share),
        cmocka_unit_test(test_every_reason_has_a_word),
        cmocka_unit_test(test_no_random_fleet_breaks_the_rules),
        cmocka_unit_test(test_no_choice_leaves_the_requests_list),
        cmocka_unit_test(test_a_closer_region_is_not_chosen_less),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
