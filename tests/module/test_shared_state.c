/* SPDX-License-Identifier: MIT */
/* Two edges' shared state in one loop, over one real redis-server, and a hand in that Redis. */
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/dns/resolver.h>
#include <nearside/fleet/fleet.h>
#include <nearside/fleet/peers.h>
#include <nearside/health/health.h>
#include <nearside/kv/kv.h>
#include <nearside/loop/loop.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/conf_text.h"
#include "module/redis_server.h"
#include "module/waiter.h"

#define PATIENT_MS 5000
#define EDGES      2
#define POD        "127.0.0.1:1"
#define POD_NAME   "localhost:1"

struct edge {
    struct fleet *fleet;
    struct health *health;
    unsigned ready;
};

struct fixture {
    struct redis_server redis;
    struct loop *loop;
    struct resolver *resolver;
    struct edge edges[EDGES];
    struct kv *hand;
    struct waiter waiter;
    enum kv_result result; /* of the hand's last command */
    char item[200];        /* the first of its reply */
    bool answered;
    uint64_t until_ns;
};

static void on_published(struct fleet_view *view, void *arg)
{
    (void)view;
    (void)arg;
}

static void wait_until(struct fixture *fixture, bool (*is_reached)(struct fixture *fixture))
{
    waiter_run_until(&fixture->waiter, is_reached);
}

/* ---- steps ---- */

static void on_ready(void *arg)
{
    struct edge *edge = arg;

    edge->ready++;
}

static void edge_start(struct fixture *fixture, unsigned index, const char *id)
{
    struct edge *edge = &fixture->edges[index];
    struct tls_ctx *none[1] = {NULL};
    char regions[256];
    char rest[64];
    struct conf *conf;

    (void)snprintf(regions, sizeof(regions),
                   "{ name = \"a\"; endpoints = [ \"http://localhost:1\" ];"
                   " redis = \"redis://127.0.0.1:%u/0\"; }",
                   fixture->redis.port);
    (void)snprintf(rest, sizeof(rest), "edge = { id = \"%s\"; };", id);
    conf = conf_from_text(regions, rest);
    edge->fleet = fleet_new(fixture->loop, on_published, fixture);
    edge->health = health_new(fixture->loop, edge->fleet, fixture->resolver, metric_block_new());
    edge->ready = 0;
    health_when_shared(edge->health, on_ready, edge);
    fleet_apply(edge->fleet, conf);
    health_apply(edge->health, conf, none);
    conf_unref(conf);
}

static void edge_stop(struct fixture *fixture, unsigned index)
{
    struct edge *edge = &fixture->edges[index];

    health_free(edge->health);
    fleet_free(edge->fleet);
    (void)fixture;
    *edge = (struct edge){.ready = 0};
}

static bool is_drained(const struct edge *edge)
{
    return fleet_view_now(edge->fleet)->regions[0].drained;
}

static bool both_drained(struct fixture *fixture)
{
    return is_drained(&fixture->edges[0]) && is_drained(&fixture->edges[1]);
}

static bool none_drained(struct fixture *fixture)
{
    return !is_drained(&fixture->edges[0]) && !is_drained(&fixture->edges[1]);
}

/* The endpoint at 127.0.0.1; NULL until the name is resolved. */
static const struct view_endpoint *pod(const struct edge *edge)
{
    const struct view_region *region = &fleet_view_now(edge->fleet)->regions[0];

    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        if (strcmp(region->endpoints[i].address, POD) == 0) {
            return &region->endpoints[i];
        }
    }
    return NULL;
}

static bool first_has_an_endpoint_in_service(struct fixture *fixture)
{
    const struct view_region *region = &fleet_view_now(fixture->edges[0].fleet)->regions[0];

    return region->endpoint_count == 1 && !region->endpoints[0].drained;
}

static bool both_have_the_pod(struct fixture *fixture)
{
    return pod(&fixture->edges[0]) != NULL && pod(&fixture->edges[1]) != NULL;
}

static bool pod_is_drained(struct fixture *fixture)
{
    return both_have_the_pod(fixture) && pod(&fixture->edges[0])->drained &&
           pod(&fixture->edges[1])->drained;
}

static bool pod_is_back(struct fixture *fixture)
{
    return both_have_the_pod(fixture) && !pod(&fixture->edges[0])->drained &&
           !pod(&fixture->edges[1])->drained;
}

static bool both_ready(struct fixture *fixture)
{
    return fixture->edges[0].ready > 0 && fixture->edges[1].ready > 0;
}

static bool both_see_each_other(struct fixture *fixture)
{
    return peers_find(health_peers(fixture->edges[0].health), "two") != NULL &&
           peers_find(health_peers(fixture->edges[1].health), "one") != NULL;
}

static bool is_answered(struct fixture *fixture)
{
    return fixture->answered;
}

static void on_items(enum kv_result result, const struct str *items, size_t count, void *arg)
{
    struct fixture *fixture = arg;

    fixture->result = result;
    fixture->answered = true;
    fixture->item[0] = '\0';
    if (count > 0 && items[0].len < sizeof(fixture->item)) {
        memcpy(fixture->item, items[0].ptr, items[0].len);
        fixture->item[items[0].len] = '\0';
    }
}

/* A command of its own in Redis; words between "~". */
static void by_hand(struct fixture *fixture, const char *text)
{
    struct str words[16];
    struct str rest = str_of(text);
    size_t count = 0;

    while (str_next_item(&rest, '~', &words[count])) {
        count++;
    }
    fixture->answered = false;
    (void)kv_command(fixture->hand, words, count, PATIENT_MS, on_items, fixture);
    wait_until(fixture, is_answered);
    assert_int_equal(fixture->result, KV_OK);
}

static bool drain_is_there(struct fixture *fixture)
{
    if (fixture->answered && fixture->item[0] != '\0') {
        return true;
    }
    if (fixture->answered) {
        const struct str words[] = {STR_LIT("HGET"), STR_LIT("ns1:drains"), STR_LIT("region/a")};

        fixture->answered = false;
        (void)kv_command(fixture->hand, words, ARRAY_LEN(words), PATIENT_MS, on_items, fixture);
    }
    return false;
}

static int setup(void **state)
{
    struct fixture *fixture = mem_new(struct fixture);
    struct kv_target target = {.server_name = "", .user = "", .password = ""};
    struct errbuf err;

    redis_start(&fixture->redis, NULL);
    fixture->loop = loop_new("test");
    assert_int_equal(resolver_new(fixture->loop, &fixture->resolver, &err), STATUS_OK);
    assert_true(addr_parse_ip(STR_LIT("127.0.0.1"), fixture->redis.port, &target.addr));
    fixture->hand = kv_new(fixture->loop, &target);
    waiter_init(&fixture->waiter, fixture->loop, fixture);
    edge_start(fixture, 0, "one");
    edge_start(fixture, 1, "two");
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    edge_stop(fixture, 0);
    edge_stop(fixture, 1);
    kv_free(fixture->hand);
    redis_stop(&fixture->redis);
    resolver_free(fixture->resolver);
    waiter_done(&fixture->waiter);
    loop_free(fixture->loop);
    mem_free(fixture);
    return 0;
}

static void drain(struct fixture *fixture, unsigned index, bool drained)
{
    assert_true(fleet_drain_region(fixture->edges[index].fleet, STR_LIT("a"), drained));
}

static void drain_pod(struct fixture *fixture, struct str name, bool drained)
{
    assert_true(fleet_drain_endpoint(fixture->edges[0].fleet, name, drained));
    wait_until(fixture, drained ? pod_is_drained : pod_is_back);
}

static bool is_later(struct fixture *fixture)
{
    return clock_mono_ns() >= fixture->until_ns;
}

/* Each edge reads its Redis a second after the last time. */
static void wait_for_a_reading(struct fixture *fixture)
{
    fixture->until_ns = clock_mono_ns() + 1500 * NS_PER_MS;
    wait_until(fixture, is_later);
}

/* ---- tests ---- */

static void test_a_drain_and_its_end_are_followed(void **state)
{
    struct fixture *fixture = *state;

    drain(fixture, 0, true);
    wait_until(fixture, both_drained);
    drain(fixture, 1, false);
    wait_until(fixture, none_drained);
}

static void test_readiness_is_told_once_also_with_a_frozen_redis(void **state)
{
    struct fixture *fixture = *state;

    wait_until(fixture, both_ready);
    edge_stop(fixture, 1);
    redis_freeze(&fixture->redis);
    edge_start(fixture, 1, "two");
    assert_int_equal(fixture->edges[1].ready, 0);
    wait_until(fixture, both_ready);
    redis_thaw(&fixture->redis);
    wait_until(fixture, both_see_each_other);
    assert_int_equal(fixture->edges[0].ready, 1);
    assert_int_equal(fixture->edges[1].ready, 1);
}

static void test_a_new_edge_knows_the_drains_when_it_is_ready(void **state)
{
    struct fixture *fixture = *state;

    drain(fixture, 0, true);
    wait_until(fixture, both_drained);
    edge_stop(fixture, 1);
    edge_start(fixture, 1, "two");
    wait_until(fixture, both_ready);
    assert_true(is_drained(&fixture->edges[1]));
}

static void test_a_flushed_redis_is_filled_again(void **state)
{
    struct fixture *fixture = *state;

    drain(fixture, 0, true);
    wait_until(fixture, both_drained);
    by_hand(fixture, "FLUSHALL");
    fixture->item[0] = '\0';
    wait_until(fixture, drain_is_there);
    assert_true(both_drained(fixture));
}

static void test_a_newer_epoch_wins_and_an_older_one_is_corrected(void **state)
{
    struct fixture *fixture = *state;

    drain(fixture, 0, true);
    wait_until(fixture, both_drained);
    by_hand(fixture, "HSET~ns1:drains~region/a~5 0 9000000000000 someone");
    do {
        by_hand(fixture, "HGET~ns1:drains~region/a");
    } while (strcmp(fixture->item, "5 0 9000000000000 someone") == 0);
    assert_true(both_drained(fixture));
    by_hand(fixture, "HSET~ns1:drains~region/a~9000000000000 0 9000000000000 someone");
    wait_until(fixture, none_drained);
    drain(fixture, 1, true); /* an operator's act beats all that is known */
    wait_until(fixture, both_drained);
}

/* The pod by its address and by its name, in turns: whose act is newest says. */
static void test_a_new_edge_carries_out_the_newest_act_on_a_pods_two_names(void **state)
{
    struct fixture *fixture = *state;

    wait_until(fixture, both_have_the_pod);
    drain_pod(fixture, STR_LIT(POD), true);
    drain_pod(fixture, STR_LIT(POD_NAME), true);
    drain_pod(fixture, STR_LIT(POD_NAME), false);
    drain_pod(fixture, STR_LIT(POD), true);
    edge_stop(fixture, 1);
    edge_start(fixture, 1, "two");
    wait_until(fixture, pod_is_drained);
    wait_for_a_reading(fixture);
    assert_true(pod_is_drained(fixture));
}

static void test_an_older_act_that_comes_late_changes_nothing(void **state)
{
    struct fixture *fixture = *state;

    wait_until(fixture, both_have_the_pod);
    drain_pod(fixture, STR_LIT(POD), true);
    by_hand(fixture, "HSET~ns1:drains~endpoint/" POD_NAME "~5 0 9000000000000 someone");
    wait_for_a_reading(fixture);
    assert_true(pod_is_drained(fixture));
}

static void test_an_address_that_comes_later_follows_the_newest_act(void **state)
{
    struct fixture *fixture = *state;
    struct addr addr;

    wait_until(fixture, both_have_the_pod);
    by_hand(fixture, "HSET~ns1:drains~endpoint/10.9.9.9:1~6 0 9000000000000 someone");
    by_hand(fixture, "HSET~ns1:drains~endpoint/" POD_NAME "~5 1 9000000000000 someone");
    wait_until(fixture, pod_is_drained);
    assert_true(addr_parse_ip(STR_LIT("10.9.9.9"), 0, &addr));
    fleet_set_addresses(fixture->edges[0].fleet, 0, 0, &addr, 1);
    wait_until(fixture, first_has_an_endpoint_in_service);
}

static void test_the_drain_of_what_is_gone_is_taken_back_at_any_edge(void **state)
{
    struct fixture *fixture = *state;
    struct fleet *fleet = fixture->edges[0].fleet;

    by_hand(fixture, "HSET~ns1:drains~endpoint/10.9.9.9:1~5 1 9000000000000 someone");
    while (!fleet_drain_endpoint(fleet, STR_LIT("10.9.9.9:1"), false)) {
        wait_for_a_reading(fixture);
    }
    do {
        by_hand(fixture, "HGET~ns1:drains~endpoint/10.9.9.9:1");
    } while (strstr(fixture->item, " 0 ") == NULL);
    assert_false(fleet_drain_endpoint(fleet, STR_LIT("10.9.9.8:1"), false));
}

static void test_a_restarted_redis_is_used_again(void **state)
{
    struct fixture *fixture = *state;
    uint16_t port = fixture->redis.port;

    wait_until(fixture, both_see_each_other);
    redis_stop(&fixture->redis);
    drain(fixture, 0, true);
    redis_start_at(&fixture->redis, port, "--port", NULL);
    wait_until(fixture, both_drained);
}

static void test_peers_report_their_regions(void **state)
{
    struct fixture *fixture = *state;
    const struct peer *two;

    wait_until(fixture, both_see_each_other);
    two = peers_find(health_peers(fixture->edges[0].health), "two");
    assert_non_null(peer_region(two, "a"));
    assert_null(peer_region(two, "b"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_drain_and_its_end_are_followed),
        TEST(test_readiness_is_told_once_also_with_a_frozen_redis),
        TEST(test_a_new_edge_knows_the_drains_when_it_is_ready),
        TEST(test_a_flushed_redis_is_filled_again),
        TEST(test_a_newer_epoch_wins_and_an_older_one_is_corrected),
        TEST(test_a_new_edge_carries_out_the_newest_act_on_a_pods_two_names),
        TEST(test_an_older_act_that_comes_late_changes_nothing),
        TEST(test_an_address_that_comes_later_follows_the_newest_act),
        TEST(test_the_drain_of_what_is_gone_is_taken_back_at_any_edge),
        TEST(test_a_restarted_redis_is_used_again),
        TEST(test_peers_report_their_regions),
    };

    setenv("NEARSIDE_DNS_SERVERS", "127.0.0.1:1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
