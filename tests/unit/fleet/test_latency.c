/* SPDX-License-Identifier: MIT */
/* Path latency over virtual time: what moves it, what must not, how quickly. */
#include <nearside/base/attr.h>
#include <nearside/base/clock.h>
#include <nearside/base/rng.h>
#include <nearside/fleet/latency.h>

#include <math.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define START_NS (1000 * NS_PER_S)

struct path {
    struct latency latency;
    uint64_t now_ns;
};

static struct path path_new(void)
{
    return (struct path){.now_ns = START_NS};
}

/* A sample of that source each second. */
static void feed(struct path *path, enum latency_source source, double ms, int seconds)
{
    for (int i = 0; i < seconds; i++) {
        path->now_ns += NS_PER_S;
        latency_observe(&path->latency, source, ms, path->now_ns);
    }
}

/* TCP and a warm probe each second. */
static void feed_both(struct path *path, double tcp_ms, double probe_ms, int seconds)
{
    for (int i = 0; i < seconds; i++) {
        path->now_ns += NS_PER_S;
        latency_observe(&path->latency, LATENCY_TCP_INFO, tcp_ms, path->now_ns);
        latency_observe(&path->latency, LATENCY_PROBE, probe_ms, path->now_ns);
    }
}

static double now_ms(const struct path *path)
{
    double ms = -1;

    assert_true(latency_get(&path->latency, path->now_ns, &ms, NULL));
    return ms;
}

static enum latency_source now_source(const struct path *path)
{
    enum latency_source source;
    double ms;

    assert_true(latency_get(&path->latency, path->now_ns, &ms, &source));
    return source;
}

#define assert_about(value, wanted, slack)                                                         \
    assert_true((value) >= (wanted) - (slack) && (value) <= (wanted) + (slack))

static void test_latency_is_unknown_without_a_sample(void **state)
{
    struct path path = path_new();
    double ms = 7;

    (void)state;
    assert_false(latency_get(&path.latency, path.now_ns, &ms, NULL));
    assert_true(ms == 7);
}

static void test_the_first_sample_seeds_it(void **state)
{
    struct path path = path_new();

    (void)state;
    feed(&path, LATENCY_CONNECT, 23, 1);
    assert_true(now_ms(&path) == 23);
    assert_int_equal(now_source(&path), LATENCY_TCP_INFO);
}

static void test_a_rise_is_believed_within_three_seconds(void **state)
{
    struct path path = path_new();

    (void)state;
    feed(&path, LATENCY_TCP_INFO, 20, 30);
    feed(&path, LATENCY_TCP_INFO, 140, 3);
    assert_about(now_ms(&path), 20 + 120 * 0.632, 1);
}

static void test_a_fall_is_believed_within_ten_seconds(void **state)
{
    struct path path = path_new();

    (void)state;
    feed(&path, LATENCY_TCP_INFO, 140, 30);
    feed(&path, LATENCY_TCP_INFO, 20, 3);
    assert_true(now_ms(&path) > 100);
    feed(&path, LATENCY_TCP_INFO, 20, 7);
    assert_about(now_ms(&path), 20 + 120 * 0.368, 1);
}

static void test_many_samples_at_once_weigh_as_little_as_one(void **state)
{
    struct path path = path_new();

    (void)state;
    feed(&path, LATENCY_TCP_INFO, 20, 30);
    path.now_ns += NS_PER_MS;
    for (int i = 0; i < 1000; i++) {
        latency_observe(&path.latency, LATENCY_TCP_INFO, 500, path.now_ns);
    }
    assert_about(now_ms(&path), 20, 1);
}

static void test_nonsense_is_ignored(void **state)
{
    struct path path = path_new();

    (void)state;
    feed(&path, LATENCY_TCP_INFO, 20, 1);
    feed(&path, LATENCY_TCP_INFO, NAN, 1);
    feed(&path, LATENCY_PROBE, -1, 1);
    feed(&path, LATENCY_CONNECT, INFINITY, 1);
    assert_true(now_ms(&path) == 20);
}

/* The peer's acknowledgement rides on its answer: 20 ms of path and 30 ms of work look like 50. */
static void test_a_peers_working_time_in_tcp_info_does_not_look_like_distance(void **state)
{
    struct path path = path_new();

    (void)state;
    for (int i = 0; i < 60; i++) {
        feed(&path, LATENCY_CONNECT, 20, 1);
        feed(&path, LATENCY_TCP_INFO, 50, 4);
    }
    assert_about(now_ms(&path), 20, 0.1);
}

static void test_tcp_info_lowers_the_figure_at_once(void **state)
{
    struct path path = path_new();

    (void)state;
    feed(&path, LATENCY_CONNECT, 80, 10);
    feed(&path, LATENCY_TCP_INFO, 20, 10);
    assert_about(now_ms(&path), 20 + 60 * 0.368, 1);
}

static void test_tcp_info_raises_the_figure_when_no_handshake_is_recent(void **state)
{
    struct path path = path_new();

    (void)state;
    feed(&path, LATENCY_CONNECT, 20, 10);
    feed(&path, LATENCY_TCP_INFO, 80, 15);
    assert_about(now_ms(&path), 20, 0.1);
    feed(&path, LATENCY_TCP_INFO, 80, 10);
    assert_about(now_ms(&path), 80, 3);
}

static void test_a_handshake_every_five_seconds_shows_a_rise_within_two_of_them(void **state)
{
    struct path path = path_new();

    (void)state;
    feed(&path, LATENCY_CONNECT, 20, 10);
    path.now_ns += 4 * NS_PER_S;
    feed(&path, LATENCY_CONNECT, 140, 1);
    assert_true(now_ms(&path) > 110);
    path.now_ns += 4 * NS_PER_S;
    feed(&path, LATENCY_CONNECT, 140, 1);
    assert_true(now_ms(&path) > 130);
}

static void test_a_lost_syn_is_not_distance(void **state)
{
    struct path path = path_new();

    (void)state;
    feed(&path, LATENCY_CONNECT, 20, 10);
    feed(&path, LATENCY_CONNECT, 1020, 1);
    assert_about(now_ms(&path), 20, 0.1);
}

static void test_a_region_simulated_on_loopback_is_as_far_as_its_probe(void **state)
{
    struct path path = path_new();

    (void)state;
    feed(&path, LATENCY_CONNECT, 0.05, 1);
    assert_about(now_ms(&path), 0.05, 0.01);
    feed_both(&path, 0.05, 38, 1);
    assert_about(now_ms(&path), 38, 0.1);
    assert_int_equal(now_source(&path), LATENCY_PROBE);
    feed_both(&path, 0.05, 38, 100);
    assert_about(now_ms(&path), 38, 0.1);
}

static void test_a_fast_probe_on_loopback_does_not_stand_in(void **state)
{
    struct path path = path_new();

    (void)state;
    feed_both(&path, 0.05, 0.4, 10); /* eight times as long, but under the floor */
    assert_about(now_ms(&path), 0.05, 0.01);
}

static void test_a_busy_pods_slow_probes_do_not_look_like_distance(void **state)
{
    struct path path = path_new();

    (void)state;
    feed_both(&path, 20, 22, 10);
    feed_both(&path, 20, 900, 45);
    assert_about(now_ms(&path), 20, 0.1);
    feed_both(&path, 20, 23, 1);
    feed_both(&path, 20, 900, 45);
    assert_about(now_ms(&path), 20, 0.1);
}

static void test_a_busy_pod_behind_a_near_tcp_end_keeps_its_distance(void **state)
{
    struct path path = path_new();

    (void)state;
    feed_both(&path, 0.05, 38, 10);
    feed_both(&path, 0.05, 700, 45);
    assert_about(now_ms(&path), 38, 0.5);
}

static void test_a_longer_path_behind_a_near_tcp_end_shows_after_a_minute(void **state)
{
    struct path path = path_new();

    (void)state;
    feed_both(&path, 0.05, 38, 60);
    feed_both(&path, 0.05, 90, 75);
    assert_about(now_ms(&path), 90, 2);
}

static void test_a_shorter_path_behind_a_near_tcp_end_shows_within_seconds(void **state)
{
    struct path path = path_new();

    (void)state;
    feed_both(&path, 0.05, 90, 60);
    feed_both(&path, 0.05, 38, 12);
    assert_about(now_ms(&path), 38, 2);
}

static void test_a_slow_first_probe_is_forgiven_within_seconds(void **state)
{
    struct path path = path_new();

    (void)state;
    feed_both(&path, 20, 900, 1);
    assert_int_equal(now_source(&path), LATENCY_PROBE);
    feed_both(&path, 20, 22, 1);
    assert_about(now_ms(&path), 20, 0.1);
    assert_int_equal(now_source(&path), LATENCY_TCP_INFO);
}

static void test_what_was_known_stays_known_without_samples(void **state)
{
    struct path path = path_new();

    (void)state;
    feed_both(&path, 0.05, 38, 30);
    path.now_ns += 3600 * NS_PER_S;
    assert_about(now_ms(&path), 38, 0.1);
}

static void test_noise_of_five_ms_is_smoothed(void **state)
{
    struct path path = path_new();
    struct rng rng;
    double least = 1e9;
    double most = 0;

    (void)state;
    rng_init_seed(&rng, 5);
    feed(&path, LATENCY_TCP_INFO, 30, 1);
    for (int i = 0; i < 3000; i++) {
        double ms;

        feed(&path, LATENCY_TCP_INFO, 25 + 10 * rng_unit(&rng), 1);
        ms = now_ms(&path);
        least = fmin(least, ms);
        most = fmax(most, ms);
    }
    assert_true(most - least < 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latency_is_unknown_without_a_sample),
        cmocka_unit_test(test_the_first_sample_seeds_it),
        cmocka_unit_test(test_a_rise_is_believed_within_three_seconds),
        cmocka_unit_test(test_a_fall_is_believed_within_ten_seconds),
        cmocka_unit_test(test_many_samples_at_once_weigh_as_little_as_one),
        cmocka_unit_test(test_nonsense_is_ignored),
        cmocka_unit_test(test_a_peers_working_time_in_tcp_info_does_not_look_like_distance),
        cmocka_unit_test(test_tcp_info_lowers_the_figure_at_once),
        cmocka_unit_test(test_tcp_info_raises_the_figure_when_no_handshake_is_recent),
        cmocka_unit_test(test_a_handshake_every_five_seconds_shows_a_rise_within_two_of_them),
        cmocka_unit_test(test_a_lost_syn_is_not_distance),
        cmocka_unit_test(test_a_region_simulated_on_loopback_is_as_far_as_its_probe),
        cmocka_unit_test(test_a_fast_probe_on_loopback_does_not_stand_in),
        cmocka_unit_test(test_a_busy_pods_slow_probes_do_not_look_like_distance),
        cmocka_unit_test(test_a_busy_pod_behind_a_near_tcp_end_keeps_its_distance),
        cmocka_unit_test(test_a_longer_path_behind_a_near_tcp_end_shows_after_a_minute),
        cmocka_unit_test(test_a_shorter_path_behind_a_near_tcp_end_shows_within_seconds),
        cmocka_unit_test(test_a_slow_first_probe_is_forgiven_within_seconds),
        cmocka_unit_test(test_what_was_known_stays_known_without_samples),
        cmocka_unit_test(test_noise_of_five_ms_is_smoothed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
