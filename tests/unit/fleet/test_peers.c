/* SPDX-License-Identifier: MIT */
/* What other edges say together: votes, a prior for latency, and whether this edge is the sick one.
 */
#include <nearside/base/mem.h>
#include <nearside/fleet/peers.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* A peer per letter that sees the one region "r": u up, g degraded, d down, k unknown. */
static void add_peers(struct peers *peers, const char *letters, const double *latencies_ms)
{
    for (size_t i = 0; letters[i] != '\0'; i++) {
        char name[32];
        struct peer *peer;

        (void)snprintf(name, sizeof(name), "edge-%zu", i);
        peer = peers_add(peers, name);
        assert_non_null(peer);
        peer->region_count = 1;
        peer->regions = mem_new_array(1, struct peer_region);
        peer->regions[0] = (struct peer_region){
            .name = "r",
            .state = letters[i] == 'u'   ? REGION_UP
                     : letters[i] == 'g' ? REGION_DEGRADED
                     : letters[i] == 'd' ? REGION_DOWN
                                         : REGION_UNKNOWN,
            .latency_known = latencies_ms != NULL && latencies_ms[i] >= 0,
            .latency_ms = latencies_ms == NULL ? 0 : latencies_ms[i],
        };
    }
}

static void test_votes_are_counted_per_region(void **state)
{
    struct peers peers;

    (void)state;
    peers_init(&peers);
    add_peers(&peers, "ugdku", NULL);
    assert_int_equal(peers_votes(&peers, "r").up, 3);
    assert_int_equal(peers_votes(&peers, "r").down, 1);
    assert_int_equal(peers_votes(&peers, "other").up, 0);
    peers_done(&peers);
}

static void test_the_prior_is_the_lower_median_of_those_that_know(void **state)
{
    static const double latencies_ms[] = {90, -1, 10, 30, 20};
    struct peers peers;
    double ms = 0;

    (void)state;
    peers_init(&peers);
    assert_false(peers_latency(&peers, "r", &ms));
    add_peers(&peers, "uuuuu", latencies_ms);
    assert_true(peers_latency(&peers, "r", &ms));
    assert_true(ms == 20);
    assert_false(peers_latency(&peers, "other", &ms));
    peers_done(&peers);
}

static void test_peers_are_bounded_and_found_by_name(void **state)
{
    struct peers peers;
    char name[16];

    (void)state;
    peers_init(&peers);
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "e%u", i);
        assert_non_null(peers_add(&peers, name));
    }
    assert_null(peers_add(&peers, "one-more"));
    peers_remove(&peers, peers_find(&peers, "e7"));
    assert_null(peers_find(&peers, "e7"));
    assert_non_null(peers_add(&peers, "one-more"));
    peers_done(&peers);
}

struct suspect_case {
    enum region_state own;
    const char *peers;
    bool suspect;
};

static const struct suspect_case suspect_cases[] = {
    {REGION_DOWN, "", false},      {REGION_DOWN, "u", true},   {REGION_DOWN, "uu", true},
    {REGION_DOWN, "ug", true},     {REGION_DOWN, "uud", true}, {REGION_DOWN, "uudd", false},
    {REGION_DOWN, "ud", false},    {REGION_DOWN, "d", false},  {REGION_DOWN, "dd", false},
    {REGION_DOWN, "uuddk", false}, {REGION_UP, "uu", false},   {REGION_UNKNOWN, "uu", false},
};

static void test_an_edge_is_suspect_when_most_others_see_what_it_does_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(suspect_cases); i++) {
        struct view_region region = {.name = "r", .state = suspect_cases[i].own};
        struct fleet_view view = {.region_count = 1, .regions = &region};
        struct peers peers;

        peers_init(&peers);
        add_peers(&peers, suspect_cases[i].peers, NULL);
        assert_int_equal(peers_make_suspect(&peers, &view), suspect_cases[i].suspect);
        peers_done(&peers);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_votes_are_counted_per_region),
        cmocka_unit_test(test_the_prior_is_the_lower_median_of_those_that_know),
        cmocka_unit_test(test_peers_are_bounded_and_found_by_name),
        cmocka_unit_test(test_an_edge_is_suspect_when_most_others_see_what_it_does_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
