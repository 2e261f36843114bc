/* SPDX-License-Identifier: MIT */
/* The fleet on a real loop: identities, states, drains, home, and when views are published. */
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/fleet/fleet.h>
#include <nearside/fleet/home.h>
#include <nearside/loop/loop.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/conf_text.h"

#include <stdio.h>
#include <string.h>

#define TWO_REGIONS                                                                                \
    "{ name = \"a\"; endpoints = [ \"http://10.0.0.1:80\", \"http://10.0.0.2:80\" ]; },"           \
    "{ name = \"b\"; endpoints = [ \"http://10.1.0.1:80\" ]; redis = "                             \
    "\"redis://10.1.0.9:6379/0\"; }"
#define NAMED_REGION "{ name = \"a\"; endpoints = [ \"http://pods.test:80\" ]; }"

struct fixture {
    struct loop *loop;
    struct fleet *fleet;
    struct deadline stop;
    unsigned published;
    uint64_t published_ns;
};

static void on_published(struct fleet_view *view, void *arg)
{
    struct fixture *fixture = arg;

    (void)view;
    fixture->published++;
    fixture->published_ns = clock_mono_ns();
}

static void on_stop(struct deadline *deadline, void *arg)
{
    (void)deadline;
    loop_stop(((struct fixture *)arg)->loop);
}

static int setup(void **state)
{
    struct fixture *fixture = mem_new(struct fixture);

    fixture->loop = loop_new("test");
    fixture->fleet = fleet_new(fixture->loop, on_published, fixture);
    deadline_init(&fixture->stop, fixture->loop, on_stop, fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    fleet_free(fixture->fleet);
    deadline_done(&fixture->stop);
    loop_free(fixture->loop);
    mem_free(fixture);
    return 0;
}

static void run_ms(struct fixture *fixture, uint64_t ms)
{
    deadline_set_ns(&fixture->stop, loop_refresh_now_ns(fixture->loop) + ms * NS_PER_MS);
    loop_run(fixture->loop);
}

static void apply(struct fixture *fixture, const char *regions)
{
    struct conf *conf = conf_from_text(regions, "");

    fleet_apply(fixture->fleet, conf);
    conf_unref(conf);
}

static const struct view_region *region(struct fixture *fixture, uint32_t index)
{
    const struct fleet_view *view = fleet_view_now(fixture->fleet);

    assert_true(index < view->region_count);
    return &view->regions[index];
}

static uint64_t id_of(struct fixture *fixture, uint32_t region_index, uint32_t endpoint_index)
{
    const struct view_region *view = region(fixture, region_index);

    assert_true(endpoint_index < view->endpoint_count);
    return view->endpoints[endpoint_index].live->id;
}

static void set_state(struct fixture *fixture, uint32_t region_index, uint32_t endpoint_index,
                      enum endpoint_state state, const char *reason)
{
    fleet_set_endpoint_state(fixture->fleet, id_of(fixture, region_index, endpoint_index), state,
                             reason);
}

static void all_up(struct fixture *fixture)
{
    set_state(fixture, 0, 0, ENDPOINT_UP, "probe_ok");
    set_state(fixture, 0, 1, ENDPOINT_UP, "probe_ok");
    set_state(fixture, 1, 0, ENDPOINT_UP, "probe_ok");
}

static void observe(struct fixture *fixture, uint32_t region_index, uint32_t endpoint_index,
                    double ms)
{
    fleet_observe_latency(fixture->fleet, id_of(fixture, region_index, endpoint_index),
                          LATENCY_CONNECT, ms);
}

static void set_addresses(struct fixture *fixture, const char *const *texts, size_t count)
{
    struct addr addrs[8];

    for (size_t i = 0; i < count; i++) {
        assert_true(addr_parse_ip(str_of(texts[i]), 0, &addrs[i]));
    }
    fleet_set_addresses(fixture->fleet, 0, 0, addrs, count);
}

/* ---- configs ---- */

static void test_a_config_is_published_before_apply_returns(void **state)
{
    struct fixture *fixture = *state;

    apply(fixture, TWO_REGIONS);
    assert_int_equal(fixture->published, 1);
    assert_string_equal(region(fixture, 0)->name, "a");
    assert_string_equal(region(fixture, 1)->name, "b");
    assert_int_equal(region(fixture, 0)->endpoint_count, 2);
    assert_string_equal(region(fixture, 0)->endpoints[1].address, "10.0.0.2:80");
    assert_int_equal(region(fixture, 0)->endpoints[1].state, ENDPOINT_UNKNOWN);
    assert_int_equal(region(fixture, 0)->state, REGION_UNKNOWN);
    assert_false(region(fixture, 0)->usable);
    assert_false(region(fixture, 0)->latency_known);
    assert_true(region(fixture, 1)->redis_known);
    assert_int_equal(fleet_view_now(fixture->fleet)->home, HOME_NONE);
}

static void test_a_reload_keeps_what_is_known_of_those_that_stay(void **state)
{
    struct fixture *fixture = *state;
    uint64_t kept;

    apply(fixture, TWO_REGIONS);
    all_up(fixture);
    observe(fixture, 0, 1, 12);
    kept = id_of(fixture, 0, 1);
    apply(fixture,
          "{ name = \"c\"; endpoints = [ \"http://10.2.0.1:80\" ]; },"
          "{ name = \"a\"; endpoints = [ \"http://10.0.0.3:80\", \"http://10.0.0.2:80\" ]; }");
    assert_int_equal(fleet_view_now(fixture->fleet)->region_count, 2);
    assert_true(id_of(fixture, 1, 1) == kept);
    assert_int_equal(region(fixture, 1)->endpoints[1].state, ENDPOINT_UP);
    assert_int_equal(region(fixture, 1)->endpoints[0].state, ENDPOINT_UNKNOWN);
    assert_int_equal(region(fixture, 1)->state, REGION_UP);
    assert_true(region(fixture, 1)->latency_known && region(fixture, 1)->latency_ms == 12);
    assert_int_equal(fleet_view_now(fixture->fleet)->home, 1);
}

static void test_the_same_address_in_another_region_is_another_endpoint(void **state)
{
    struct fixture *fixture = *state;
    uint64_t before;

    apply(fixture, "{ name = \"a\"; endpoints = [ \"http://10.0.0.1:80\" ]; }");
    before = id_of(fixture, 0, 0);
    apply(fixture, "{ name = \"b\"; endpoints = [ \"http://10.0.0.1:80\" ]; }");
    assert_true(id_of(fixture, 0, 0) != before);
}

static void test_an_old_view_outlives_a_reload(void **state)
{
    struct fixture *fixture = *state;
    struct fleet_view *old;
    int index;

    apply(fixture, TWO_REGIONS);
    old = fleet_view_ref(fleet_view_now(fixture->fleet));
    apply(fixture, NAMED_REGION);
    assert_string_equal(old->regions[1].name, "b");
    assert_string_equal(old->regions[1].endpoints[0].host, "10.1.0.1");
    assert_ptr_equal(fleet_view_find(old, old->regions[1].endpoints[0].live->id, &index),
                     &old->regions[1].endpoints[0]);
    assert_int_equal(index, 1);
    assert_null(fleet_view_find(old, UINT64_MAX, &index));
    fleet_view_unref(old);
}

/* ---- names ---- */

static void test_addresses_of_a_name_come_and_go_by_identity(void **state)
{
    static const char *const first[] = {"10.0.0.1", "10.0.0.2"};
    static const char *const second[] = {"10.0.0.2", "10.0.0.3"};
    struct fixture *fixture = *state;
    uint64_t kept;

    apply(fixture, NAMED_REGION);
    assert_int_equal(region(fixture, 0)->endpoint_count, 0);
    assert_int_equal(region(fixture, 0)->state, REGION_UNKNOWN);
    set_addresses(fixture, first, 2);
    assert_string_equal(region(fixture, 0)->endpoints[0].address, "10.0.0.1:80");
    set_state(fixture, 0, 1, ENDPOINT_UP, "probe_ok");
    kept = id_of(fixture, 0, 1);
    set_addresses(fixture, second, 2);
    assert_int_equal(region(fixture, 0)->endpoint_count, 2);
    assert_true(id_of(fixture, 0, 0) == kept);
    assert_int_equal(region(fixture, 0)->endpoints[0].state, ENDPOINT_UP);
    assert_int_equal(region(fixture, 0)->endpoints[1].state, ENDPOINT_UNKNOWN);
}

static void test_a_reload_keeps_the_addresses_of_a_name(void **state)
{
    static const char *const addrs[] = {"10.0.0.1", "10.0.0.2"};
    struct fixture *fixture = *state;
    uint64_t kept;

    apply(fixture, NAMED_REGION);
    set_addresses(fixture, addrs, 2);
    kept = id_of(fixture, 0, 0);
    apply(fixture, NAMED_REGION);
    assert_int_equal(region(fixture, 0)->endpoint_count, 2);
    assert_true(id_of(fixture, 0, 0) == kept);
}

static void test_a_name_without_addresses_takes_its_region_down(void **state)
{
    static const char *const addrs[] = {"10.0.0.1"};
    struct fixture *fixture = *state;

    apply(fixture, NAMED_REGION);
    set_addresses(fixture, NULL, 0);
    assert_int_equal(region(fixture, 0)->state, REGION_DOWN);
    set_addresses(fixture, addrs, 1);
    set_state(fixture, 0, 0, ENDPOINT_UP, "probe_ok");
    assert_int_equal(region(fixture, 0)->state, REGION_UP);
}

/* ---- states ---- */

static void test_a_regions_state_follows_its_endpoints(void **state)
{
    struct fixture *fixture = *state;

    apply(fixture, TWO_REGIONS);
    set_state(fixture, 0, 0, ENDPOINT_DOWN, "connect_refused");
    assert_int_equal(region(fixture, 0)->state, REGION_UNKNOWN); /* one verdict is still out */
    set_state(fixture, 0, 1, ENDPOINT_UP, "probe_ok");
    assert_int_equal(region(fixture, 0)->state, REGION_DEGRADED);
    assert_true(region(fixture, 0)->usable);
    assert_int_equal(region(fixture, 0)->endpoint_up_count, 1);
    assert_string_equal(region(fixture, 0)->endpoints[0].reason, "connect_refused");
    set_state(fixture, 0, 0, ENDPOINT_UP, "probe_ok");
    assert_int_equal(region(fixture, 0)->state, REGION_UP);
    assert_string_equal(region(fixture, 0)->endpoints[0].reason, "");
    set_state(fixture, 0, 0, ENDPOINT_DOWN, "head_timeout");
    set_state(fixture, 0, 1, ENDPOINT_DOWN, "head_timeout");
    assert_int_equal(region(fixture, 0)->state, REGION_DOWN);
    assert_false(region(fixture, 0)->usable);
}

static void test_slow_start_follows_a_return_but_not_the_start(void **state)
{
    struct fixture *fixture = *state;

    apply(fixture, TWO_REGIONS);
    all_up(fixture);
    assert_true(region(fixture, 0)->weight == 1.0F);
    assert_true(region(fixture, 0)->endpoints[0].weight == 1.0F);
    set_state(fixture, 0, 0, ENDPOINT_DOWN, "reset");
    set_state(fixture, 0, 0, ENDPOINT_UP, "probe_ok");
    assert_true(region(fixture, 0)->weight == 1.0F); /* it was never down as a whole */
    assert_true(region(fixture, 0)->endpoints[0].weight < 0.11F);
    assert_true(region(fixture, 0)->endpoints[1].weight == 1.0F);
    set_state(fixture, 1, 0, ENDPOINT_DOWN, "reset");
    set_state(fixture, 1, 0, ENDPOINT_UP, "probe_ok");
    assert_true(region(fixture, 1)->weight < 0.11F);
}

static void test_a_ramp_is_published_again_and_again(void **state)
{
    struct fixture *fixture = *state;
    unsigned before;

    apply(fixture, TWO_REGIONS);
    all_up(fixture);
    set_state(fixture, 1, 0, ENDPOINT_DOWN, "reset");
    set_state(fixture, 1, 0, ENDPOINT_UP, "probe_ok");
    run_ms(fixture, 100);
    before = fixture->published;
    run_ms(fixture, 1200);
    assert_in_range(fixture->published - before, 2, 3);
}

static void test_redis_is_a_fact_of_its_own(void **state)
{
    struct fixture *fixture = *state;
    struct addr addr;

    apply(fixture, TWO_REGIONS);
    assert_false(region(fixture, 1)->redis_up);
    fleet_set_redis_up(fixture->fleet, 1, true, "ping");
    assert_true(region(fixture, 1)->redis_up);
    apply(fixture, TWO_REGIONS);
    assert_true(region(fixture, 1)->redis_up);
    assert_true(addr_parse_ip(str_of("10.1.0.10"), 0, &addr));
    fleet_set_redis_addr(fixture->fleet, 1, &addr);
    assert_int_equal(addr_port(&region(fixture, 1)->redis_addr), 6379);
}

/* ---- latency and home ---- */

static void test_a_regions_latency_is_the_median_of_its_endpoints(void **state)
{
    struct fixture *fixture = *state;
    uint64_t ids[4];

    apply(fixture, "{ name = \"a\"; endpoints = [ \"http://10.0.0.1:80\", \"http://10.0.0.2:80\","
                   "\"http://10.0.0.3:80\", \"http://10.0.0.4:80\" ]; }");
    observe(fixture, 0, 0, 900);
    set_state(fixture, 0, 0, ENDPOINT_UP, "probe_ok");
    assert_true(region(fixture, 0)->latency_ms == 900);
    for (uint32_t i = 1; i < 4; i++) {
        observe(fixture, 0, i, 10.0 * i);
        set_state(fixture, 0, i, ENDPOINT_UP, "probe_ok");
    }
    assert_true(region(fixture, 0)->latency_ms == 20); /* of 10 20 30 900: the lower middle */
    for (uint32_t i = 0; i < 4; i++) {
        ids[i] = id_of(fixture, 0, i);
    }
    for (uint32_t i = 0; i < 4; i++) {
        fleet_set_endpoint_state(fixture->fleet, ids[i], ENDPOINT_DOWN, "reset");
    }
    assert_int_equal(region(fixture, 0)->state, REGION_DOWN);
    assert_true(region(fixture, 0)->latency_ms == 20); /* remembered */
}

static void test_home_is_the_closest_and_leaves_a_region_that_goes_down(void **state)
{
    struct fixture *fixture = *state;

    apply(fixture, TWO_REGIONS);
    observe(fixture, 0, 0, 30);
    observe(fixture, 0, 1, 30);
    observe(fixture, 1, 0, 80);
    all_up(fixture);
    assert_int_equal(fleet_view_now(fixture->fleet)->home, 0);
    assert_true(region(fixture, 0)->near);
    assert_false(region(fixture, 1)->near);
    set_state(fixture, 0, 0, ENDPOINT_DOWN, "reset");
    assert_int_equal(fleet_view_now(fixture->fleet)->home, 0);
    set_state(fixture, 0, 1, ENDPOINT_DOWN, "reset");
    assert_int_equal(fleet_view_now(fixture->fleet)->home, 1);
    set_state(fixture, 0, 1, ENDPOINT_UP, "probe_ok");
    assert_int_equal(fleet_view_now(fixture->fleet)->home, 0); /* near again beats far */
}

static void test_latency_alone_is_published_by_the_tick(void **state)
{
    struct fixture *fixture = *state;
    unsigned before;

    apply(fixture, TWO_REGIONS);
    all_up(fixture);
    run_ms(fixture, 100);
    before = fixture->published;
    observe(fixture, 0, 0, 30);
    run_ms(fixture, 700);
    assert_int_equal(fixture->published, before + 1);
    assert_true(region(fixture, 0)->latency_ms == 30);
}

/* ---- drains ---- */

static void test_a_drained_region_is_not_usable_and_stays_drained(void **state)
{
    struct fixture *fixture = *state;

    apply(fixture, TWO_REGIONS);
    all_up(fixture);
    assert_true(fleet_drain_region(fixture->fleet, STR_LIT("a"), true));
    assert_true(region(fixture, 0)->drained);
    assert_false(region(fixture, 0)->usable);
    assert_int_equal(region(fixture, 0)->state, REGION_UP); /* measured as before */
    assert_int_equal(fleet_view_now(fixture->fleet)->home, 1);
    apply(fixture, TWO_REGIONS);
    assert_true(region(fixture, 0)->drained);
    assert_true(fleet_drain_region(fixture->fleet, STR_LIT("a"), false));
    assert_true(region(fixture, 0)->usable);
    assert_true(region(fixture, 0)->weight == 1.0F);
    assert_false(fleet_drain_region(fixture->fleet, STR_LIT("nowhere"), true));
}

static void test_a_drained_endpoint_stays_drained_whatever_probes_say(void **state)
{
    struct fixture *fixture = *state;

    apply(fixture, TWO_REGIONS);
    all_up(fixture);
    assert_true(fleet_drain_endpoint(fixture->fleet, STR_LIT("10.1.0.1:80"), true));
    assert_false(region(fixture, 1)->usable);
    assert_int_equal(region(fixture, 1)->state, REGION_UP);
    set_state(fixture, 1, 0, ENDPOINT_DOWN, "reset");
    set_state(fixture, 1, 0, ENDPOINT_UP, "probe_ok");
    apply(fixture, TWO_REGIONS);
    assert_true(region(fixture, 1)->endpoints[0].drained);
    assert_true(fleet_drain_endpoint(fixture->fleet, STR_LIT("10.1.0.1:80"), false));
    assert_true(region(fixture, 1)->usable);
    assert_false(fleet_drain_endpoint(fixture->fleet, STR_LIT("10.9.9.9:80"), true));
}

static void test_a_drained_name_holds_for_new_addresses_too(void **state)
{
    static const char *const first[] = {"10.0.0.1"};
    static const char *const second[] = {"10.0.0.1", "10.0.0.2"};
    struct fixture *fixture = *state;

    apply(fixture, NAMED_REGION);
    set_addresses(fixture, first, 1);
    assert_true(fleet_drain_endpoint(fixture->fleet, STR_LIT("pods.test:80"), true));
    set_addresses(fixture, second, 2);
    assert_true(region(fixture, 0)->endpoints[0].drained);
    assert_true(region(fixture, 0)->endpoints[1].drained);
    assert_true(fleet_drain_endpoint(fixture->fleet, STR_LIT("10.0.0.2:80"), false));
    assert_true(region(fixture, 0)->endpoints[0].drained);
    assert_false(region(fixture, 0)->endpoints[1].drained);
    assert_true(fleet_drain_endpoint(fixture->fleet, STR_LIT("pods.test:80"), false));
    assert_false(region(fixture, 0)->endpoints[0].drained);
}

static void count_drain(bool is_region, const char *name, void *arg)
{
    unsigned *count = arg;

    (void)is_region;
    (void)name;
    (*count)++;
}

static void note_told(bool is_region, struct str name, bool drained, void *arg)
{
    char *told = arg;

    assert_false(is_region);
    (void)snprintf(told + strlen(told), 128 - strlen(told), "%s%.*s ", drained ? "+" : "-",
                   STR_FMT(name));
}

static void test_a_name_put_back_takes_along_the_addresses_drained_by_themselves(void **state)
{
    static const char *const both[] = {"10.0.0.1", "10.0.0.2"};
    struct fixture *fixture = *state;
    char told[128] = "";
    unsigned left = 0;

    apply(fixture, NAMED_REGION);
    set_addresses(fixture, both, 2);
    fleet_listen_drains(fixture->fleet, note_told, told);
    assert_true(fleet_drain_endpoint(fixture->fleet, STR_LIT("10.0.0.2:80"), true));
    assert_true(fleet_drain_endpoint(fixture->fleet, STR_LIT("pods.test:80"), false));
    assert_false(region(fixture, 0)->endpoints[1].drained);
    assert_string_equal(told, "+10.0.0.2:80 -10.0.0.2:80 -pods.test:80 ");
    fleet_each_drain(fixture->fleet, count_drain, &left);
    assert_int_equal(left, 0); /* nothing for a next process */

    set_addresses(fixture, both, 1);
    set_addresses(fixture, both, 2);
    assert_false(region(fixture, 0)->endpoints[1].drained); /* nor for one that comes back */
}

static void test_the_drain_of_what_is_gone_is_taken_back_by_its_name(void **state)
{
    static const char *const both[] = {"10.0.0.1", "10.0.0.2"};
    struct fixture *fixture = *state;
    char told[128] = "";

    apply(fixture, NAMED_REGION);
    set_addresses(fixture, both, 2);
    assert_true(fleet_drain_endpoint(fixture->fleet, STR_LIT("10.0.0.2:80"), true));
    set_addresses(fixture, both, 1);
    fleet_listen_drains(fixture->fleet, note_told, told);
    assert_true(fleet_drain_endpoint(fixture->fleet, STR_LIT("10.0.0.2:80"), false));
    assert_string_equal(told, "-10.0.0.2:80 ");
    assert_false(fleet_drain_endpoint(fixture->fleet, STR_LIT("10.0.0.2:80"), false));
    set_addresses(fixture, both, 2);
    assert_false(region(fixture, 0)->endpoints[1].drained);

    fleet_remember_drain(fixture->fleet, true, STR_LIT("atlantis"), true);
    assert_false(fleet_drain_region(fixture->fleet, STR_LIT("atlantis"), true));
    fleet_listen_drains(fixture->fleet, NULL, NULL);
    assert_true(fleet_drain_region(fixture->fleet, STR_LIT("atlantis"), false));
    assert_false(fleet_drain_region(fixture->fleet, STR_LIT("atlantis"), false));
}

static void test_a_drain_too_many_changes_nothing(void **state)
{
    struct fixture *fixture = *state;

    apply(fixture, TWO_REGIONS);
    for (unsigned i = 0; i < 4096; i++) {
        char name[32];
        int len = snprintf(name, sizeof(name), "10.2.%u.%u:80", i / 256, i % 256);

        fleet_remember_drain(fixture->fleet, false, str_make(name, (size_t)len), true);
    }
    assert_false(fleet_drain_endpoint(fixture->fleet, STR_LIT("10.1.0.1:80"), true));
    assert_false(region(fixture, 1)->endpoints[0].drained);
}

/* ---- publishing ---- */

static void test_a_change_after_a_quiet_time_is_published_in_the_same_turn(void **state)
{
    struct fixture *fixture = *state;
    uint64_t id;
    uint64_t start_ns;
    unsigned before;

    apply(fixture, TWO_REGIONS);
    id = id_of(fixture, 0, 0);
    run_ms(fixture, FLEET_PUBLISH_MS + 20);
    before = fixture->published;
    start_ns = clock_mono_ns();
    fleet_set_endpoint_state(fixture->fleet, id, ENDPOINT_DOWN, "reset");
    assert_int_equal(fixture->published, before); /* not from within the call */
    run_ms(fixture, 100);
    assert_int_equal(fixture->published, before + 1);
    assert_true(fixture->published_ns - start_ns < FLEET_PUBLISH_MS * NS_PER_MS);
}

struct toggler {
    struct fixture *fixture;
    struct deadline next;
    uint64_t id;
    unsigned left;
};

static void on_toggle(struct deadline *deadline, void *arg)
{
    struct toggler *toggler = arg;

    fleet_set_endpoint_state(toggler->fixture->fleet, toggler->id,
                             toggler->left % 2 == 0 ? ENDPOINT_UP : ENDPOINT_DOWN, "reset");
    if (--toggler->left > 0) {
        deadline_set_in_ms(deadline, 1);
    }
}

static void test_a_storm_of_changes_is_published_every_20_ms(void **state)
{
    struct fixture *fixture = *state;
    struct toggler toggler = {.fixture = fixture, .left = 150};
    unsigned before;

    apply(fixture, TWO_REGIONS);
    toggler.id = id_of(fixture, 0, 0);
    deadline_init(&toggler.next, fixture->loop, on_toggle, &toggler);
    run_ms(fixture, FLEET_PUBLISH_MS + 20);
    before = fixture->published;
    deadline_set_in_ms(&toggler.next, 0);
    run_ms(fixture, 400);
    deadline_done(&toggler.next);
    assert_in_range(fixture->published - before, 2, 400 / FLEET_PUBLISH_MS + 1);
}

/* ---- events ---- */

struct seen {
    unsigned count;
    struct fleet_event first;
    struct fleet_event last;
};

static void on_event(const struct fleet_event *event, void *arg)
{
    struct seen *seen = arg;

    if (seen->count++ == 0) {
        seen->first = *event;
    }
    seen->last = *event;
}

static void test_events_tell_what_changed_and_why(void **state)
{
    struct fixture *fixture = *state;
    struct seen seen = {.count = 0};

    apply(fixture, TWO_REGIONS);
    set_state(fixture, 1, 0, ENDPOINT_DOWN, "connect_refused");
    fleet_events(fixture->fleet, on_event, &seen);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.first.kind, "endpoint_state");
    assert_string_equal(seen.first.endpoint, "10.1.0.1:80");
    assert_string_equal(seen.first.from, "unknown");
    assert_string_equal(seen.first.to, "down");
    assert_string_equal(seen.first.reason, "connect_refused");
    assert_string_equal(seen.last.kind, "region_state");
    assert_string_equal(seen.last.region, "b");
    assert_true(seen.last.number == 2);
}

static void test_the_last_thousand_events_are_kept(void **state)
{
    struct fixture *fixture = *state;
    struct seen seen = {.count = 0};

    for (int i = 0; i < FLEET_EVENTS_MAX + 250; i++) {
        fleet_note(fixture->fleet, "reload", NULL, "", "",
                   "a reason that is much longer than the "
                   "field which takes it, so it is cut");
    }
    fleet_events(fixture->fleet, on_event, &seen);
    assert_int_equal(seen.count, FLEET_EVENTS_MAX);
    assert_true(seen.first.number == 251);
    assert_true(seen.last.number == FLEET_EVENTS_MAX + 250);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_config_is_published_before_apply_returns),
        TEST(test_a_reload_keeps_what_is_known_of_those_that_stay),
        TEST(test_the_same_address_in_another_region_is_another_endpoint),
        TEST(test_an_old_view_outlives_a_reload),
        TEST(test_addresses_of_a_name_come_and_go_by_identity),
        TEST(test_a_reload_keeps_the_addresses_of_a_name),
        TEST(test_a_name_without_addresses_takes_its_region_down),
        TEST(test_a_regions_state_follows_its_endpoints),
        TEST(test_slow_start_follows_a_return_but_not_the_start),
        TEST(test_a_ramp_is_published_again_and_again),
        TEST(test_redis_is_a_fact_of_its_own),
        TEST(test_a_regions_latency_is_the_median_of_its_endpoints),
        TEST(test_home_is_the_closest_and_leaves_a_region_that_goes_down),
        TEST(test_latency_alone_is_published_by_the_tick),
        TEST(test_a_drained_region_is_not_usable_and_stays_drained),
        TEST(test_a_drained_endpoint_stays_drained_whatever_probes_say),
        TEST(test_a_drained_name_holds_for_new_addresses_too),
        TEST(test_a_name_put_back_takes_along_the_addresses_drained_by_themselves),
        TEST(test_the_drain_of_what_is_gone_is_taken_back_by_its_name),
        TEST(test_a_drain_too_many_changes_nothing),
        TEST(test_a_change_after_a_quiet_time_is_published_in_the_same_turn),
        TEST(test_a_storm_of_changes_is_published_every_20_ms),
        TEST(test_events_tell_what_changed_and_why),
        TEST(test_the_last_thousand_events_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
