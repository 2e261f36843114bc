/* SPDX-License-Identifier: MIT */
/* The tree's life and the arithmetic of detection. */
#include "conf_fixture.h"

#include <pthread.h>

struct detect_case {
    uint32_t interval_ms;
    uint32_t fast_interval_ms;
    uint32_t timeout_ms;
    uint32_t fall;
    uint64_t refused_ms;
    uint64_t vanished_ms;
};

static const struct detect_case detect_cases[] = {
    {1000, 500, 1000, 3, 2200, 4400},                      /* the defaults */
    {1000, 500, 100, 3, 2200, 2750},                       /* a probe lasts at least a turn */
    {1000, 500, 1000, 1, 1100, 2200},                      /* the first failure decides */
    {15, 15, 15, 1, 17, 33},                               /* 10 % is rounded up */
    {3600000, 3600000, 600000, 100, 396000000, 399960000}, /* the most that is allowed */
};

static void test_tree_detect_times_follow_the_formula(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(detect_cases); i++) {
        const struct detect_case *wanted = &detect_cases[i];
        struct conf_health health = {
            .interval_ms = wanted->interval_ms,
            .fast_interval_ms = wanted->fast_interval_ms,
            .timeout_ms = wanted->timeout_ms,
            .fall = wanted->fall,
        };

        assert_int_equal(conf_detect_refused_ms(&health), wanted->refused_ms);
        assert_int_equal(conf_detect_vanished_ms(&health), wanted->vanished_ms);
    }
}

static void test_tree_detect_hung_counts_generations(void **state)
{
    struct conf_health health = {
        .interval_ms = 1000, .fall = 3, .generate = {.interval_s = 30, .timeout_ms = 10000}};

    (void)state;
    assert_int_equal(conf_detect_hung_ms(&health), 66000);
    health.generate.timeout_ms = 100; /* a failure is followed up every interval_ms */
    assert_int_equal(conf_detect_hung_ms(&health), 36300);
    health.generate.interval_s = 0;
    assert_int_equal(conf_detect_hung_ms(&health), 0);
}

static void *take_and_give(void *arg)
{
    for (unsigned i = 0; i < 10000; i++) {
        conf_unref(conf_ref(arg));
    }
    conf_unref(arg);
    return NULL;
}

static void test_tree_lives_until_the_last_thread_lets_go(void **state)
{
    struct conf *conf = read_good(*state, LISTEN REGION);
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, take_and_give, conf_ref(conf)), 0);
    for (unsigned i = 0; i < 10000; i++) {
        conf_unref(conf_ref(conf));
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(conf->refs, 1);
    conf_unref(conf);
    conf_unref(NULL);
}

static void test_tree_from_arguments_has_the_defaults(void **state)
{
    char near[] = "us-east=http://10.0.0.5:8000,https://b";
    char far[] = "eu=http://c";
    char *const args[] = {near, far};
    struct conf *conf = NULL;
    struct errbuf err = {.text = ""};

    (void)state;
    assert_int_equal(conf_from_args(2, args, &conf, &err), STATUS_OK);
    assert_string_equal(conf->path, "");
    assert_int_equal(conf->listener_count, 1);
    assert_string_equal(conf->listeners[0].bind, "127.0.0.1:8080");
    assert_int_equal(addr_port(&conf->listeners[0].addr), 8080);
    assert_true(addr_is_loopback(&conf->listeners[0].addr));
    assert_int_equal(addr_port(&conf->admin.addr), 9901);
    assert_true(conf->cache.enabled);
    assert_int_equal(conf->region_count, 2);
    assert_string_equal(conf->regions[0].name, "us-east");
    assert_int_equal(conf->regions[0].endpoint_count, 2);
    assert_string_equal(conf->regions[0].endpoints[1].url, "https://b");
    assert_int_equal(conf->regions[1].health.expect_max, 299);
    assert_string_equal(conf->regions[1].redis.url, "");
    conf_unref(conf);
}

struct args_case {
    const char *arg;
    const char *expected;
};

static const struct args_case bad_args[] = {
    {"http://10.0.0.5",
     "http://10.0.0.5: allowed: REGION=URL[,URL...], the region's name of 1 to 63"},
    {"a b=http://c", "a b=http://c: allowed: REGION=URL"},
    {"=http://c", "=http://c: allowed: REGION=URL"},
    {"a=", "a=: found 0 URLs, allowed: 1 to 1024"},
    {"a=c:80", "a=c:80: found \"c:80\" (it does not begin with http:// or https://), allowed: "
               "http://host[:port]"},
    {"a=http://c,http://c:80", "found \"http://c:80\", which is endpoints[0] already"},
    {"first=http://c", "command line: found \"first\", which names regions[0] already"},
};

static void test_tree_from_arguments_says_which_one_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_args); i++) {
        char *bad = mem_strdup(bad_args[i].arg);
        char first[] = "first=http://10.0.0.1";
        char *const args[] = {first, bad};
        struct conf *conf = NULL;
        struct errbuf err = {.text = ""};

        assert_int_equal(conf_from_args(2, args, &conf, &err), STATUS_INVALID);
        if (strstr(err.text, bad_args[i].expected) == NULL) {
            fail_msg("%s\n  expected: %s\n  got:      %s", bad, bad_args[i].expected, err.text);
        }
        assert_null(conf);
        mem_free(bad);
    }
}

static void test_tree_from_no_arguments_is_refused(void **state)
{
    struct conf *conf = NULL;
    struct errbuf err = {.text = ""};

    (void)state;
    assert_int_equal(conf_from_args(0, NULL, &conf, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "found 0 regions, allowed: 1 to 64"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree_detect_times_follow_the_formula),
        cmocka_unit_test(test_tree_detect_hung_counts_generations),
        cmocka_unit_test(test_tree_lives_until_the_last_thread_lets_go),
        cmocka_unit_test(test_tree_from_arguments_has_the_defaults),
        cmocka_unit_test(test_tree_from_arguments_says_which_one_is_wrong),
        cmocka_unit_test(test_tree_from_no_arguments_is_refused),
    };

    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
