/* SPDX-License-Identifier: MIT */
/* What a good file becomes: defaults, values, secrets, paths, includes, overrides. */
#include "conf_fixture.h"

#include <sched.h>

static void test_values_default_to_those_of_the_contract(void **state)
{
    struct conf *conf = read_good(*state, LISTEN REGION);
    cpu_set_t cpus;
    char host[256];

    assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
    assert_int_equal(gethostname(host, sizeof(host)), 0);
    assert_string_equal(conf->edge.id, host);
    assert_int_equal(conf->edge.workers, CPU_COUNT(&cpus));
    assert_int_equal(conf->edge.drain_timeout_s, 30);

    assert_string_equal(conf->admin.bind, "127.0.0.1:9901");
    assert_int_equal(addr_port(&conf->admin.addr), 9901);
    assert_string_equal(conf->admin.token, "");
    assert_string_equal(conf->log.level, "info");
    assert_string_equal(conf->log.format, "json");
    assert_string_equal(conf->log.file, "-");
    assert_string_equal(conf->log.access_file, "-");

    assert_true(conf->routing.latency_budget_ms == 50);
    assert_int_equal(conf->routing.failover_deadline_s, 30);
    assert_true(conf->routing.hysteresis_ms == 5);
    assert_true(conf->routing.hysteresis_ratio == 0.1);
    assert_int_equal(conf->routing.dwell_s, 10);
    assert_int_equal(conf->routing.balance, CONF_BALANCE_LEAST_PENDING);

    assert_string_equal(conf->health.path, "/health");
    assert_int_equal(conf->health.interval_ms, 1000);
    assert_int_equal(conf->health.fast_interval_ms, 500);
    assert_int_equal(conf->health.timeout_ms, 1000);
    assert_int_equal(conf->health.fall, 3);
    assert_int_equal(conf->health.rise, 2);
    assert_int_equal(conf->health.expect_min, 200);
    assert_int_equal(conf->health.expect_max, 299);
    conf_unref(conf);
}

static void test_values_trust_the_proxies_that_are_named_and_no_other(void **state)
{
    struct conf *conf = read_good(*state, LISTEN REGION
                                  "edge = { trusted_proxies = [ \"10.0.0.0/8\", \"fd00::1\" ]; };");
    struct conf *none = read_good(*state, LISTEN REGION);
    struct addr inside;
    struct addr outside;

    assert_true(addr_parse_ip(STR_LIT("10.9.8.7"), 0, &inside));
    assert_true(addr_parse_ip(STR_LIT("fd00::2"), 0, &outside));
    assert_int_equal(conf->edge.trusted_proxies.count, 2);
    assert_true(conf_blocks_have(&conf->edge.trusted_proxies, &inside));
    assert_false(conf_blocks_have(&conf->edge.trusted_proxies, &outside));
    assert_false(conf_blocks_have(&none->edge.trusted_proxies, &inside));
    conf_unref(conf);
    conf_unref(none);
}

static void test_values_default_to_the_contract_s_bounds(void **state)
{
    struct conf *conf = read_good(*state, LISTEN REGION);

    assert_int_equal(conf->timeouts.connect_ms, 1000);
    assert_int_equal(conf->timeouts.request_ms, 30000);
    assert_int_equal(conf->timeouts.first_token_ms, 120000);
    assert_int_equal(conf->timeouts.idle_ms, 60000);
    assert_int_equal(conf->timeouts.total_ms, 0);
    assert_int_equal(conf->timeouts.client_header_ms, 10000);
    assert_int_equal(conf->timeouts.client_idle_ms, 75000);

    assert_int_equal(conf->retry.attempts, 3);
    assert_true(conf->retry.budget_ratio == 0.2);
    assert_true(conf->retry.budget_min_per_s == 10);

    assert_int_equal(conf->limits.max_connections, 20000);
    assert_int_equal(conf->limits.header_bytes, 65536);
    assert_int_equal(conf->limits.body_bytes, 33554432);
    assert_int_equal(conf->limits.buffer_bytes, 8388608);
    assert_int_equal(conf->limits.buffer_total_bytes, 1073741824);
    assert_int_equal(conf->limits.max_inflight_per_endpoint, 0);
    assert_int_equal(conf->limits.queue_length, 1000);
    assert_int_equal(conf->limits.queue_timeout_ms, 5000);

    assert_true(conf->cache.enabled);
    assert_int_equal(conf->cache.when, CONF_CACHE_ALWAYS);
    assert_int_equal(conf->cache.ttl_s, 3600);
    assert_int_equal(conf->cache.max_entry_bytes, 1048576);
    assert_int_equal(conf->cache.memory_bytes, 67108864);
    assert_int_equal(conf->cache.share, CONF_SHARE_KEY);
    assert_int_equal(conf->cache.redis_timeout_ms, 5);
    conf_unref(conf);
}

static void test_values_of_a_plain_region(void **state)
{
    struct conf *conf = read_good(*state, LISTEN REGION);
    const struct conf_region *region = conf_find_region(conf, STR_LIT("a"));

    assert_non_null(region);
    assert_null(conf_find_region(conf, STR_LIT("b")));
    assert_int_equal(region->endpoint_count, 1);
    assert_string_equal(region->endpoints[0].url, "http://10.0.0.1");
    assert_string_equal(region->endpoints[0].host, "10.0.0.1");
    assert_int_equal(region->endpoints[0].port, 80);
    assert_true(region->endpoints[0].is_address);
    assert_int_equal(addr_port(&region->endpoints[0].addr), 80);
    assert_false(region->endpoints[0].tls);
    assert_string_equal(region->redis.url, "");
    assert_int_equal(region->model_count, 0);
    assert_true(region->tls.verify);
    assert_string_equal(region->tls.server_name, "");
    assert_false(conf->listeners[0].has_tls);
    conf_unref(conf);
}

static void test_values_of_an_endpoint_name_its_port_where_it_is_not_the_usual_one(void **state)
{
    static const char *const expected[] = {
        "10.0.0.1", "10.0.0.1:443", "10.0.0.2", "pod.test:8000", "[fd00::1]", "[fd00::1]:8000",
    };
    struct conf *conf = read_good(
        *state, LISTEN "regions = ( { name = \"a\"; endpoints = [ \"http://10.0.0.1:80\", "
                       "\"http://10.0.0.1:443\", \"https://10.0.0.2\", \"http://Pod.test:8000\", "
                       "\"http://[fd00::1]\", \"https://[fd00::1]:8000\" ]; } );");
    const struct conf_region *region = conf_find_region(conf, STR_LIT("a"));

    assert_int_equal(region->endpoint_count, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_string_equal(region->endpoints[i].authority, expected[i]);
    }
    conf_unref(conf);
}

static void test_values_accept_integers_for_floats_and_an_l(void **state)
{
    struct conf *conf =
        read_good(*state, LISTEN REGION "routing = { hysteresis_ms = 7; hysteresis_ratio = 0.25; "
                                        "latency_budget_ms = 80L; };"
                                        "limits = { buffer_total_bytes = 8589934592L; "
                                        "queue_length = 5L; }; health = { fall = 0x2; };");

    assert_true(conf->routing.hysteresis_ms == 7);
    assert_true(conf->routing.hysteresis_ratio == 0.25);
    assert_true(conf->routing.latency_budget_ms == 80);
    assert_true(conf->limits.buffer_total_bytes == 8589934592ULL);
    assert_int_equal(conf->limits.queue_length, 5);
    assert_int_equal(conf->health.fall, 2);
    conf_unref(conf);
}

static void test_values_of_words(void **state)
{
    struct conf *conf =
        read_good(*state, LISTEN REGION
                  "routing = { balance = \"round_robin\"; };"
                  "cache = { when = \"deterministic\"; share = \"all\"; enabled = false; };"
                  "log = { level = \"debug\"; format = \"text\"; };"
                  "health = { expect = \"204\"; }; edge = { id = \"fra-1\"; workers = 3; };");

    assert_int_equal(conf->routing.balance, CONF_BALANCE_ROUND_ROBIN);
    assert_int_equal(conf->cache.when, CONF_CACHE_DETERMINISTIC);
    assert_int_equal(conf->cache.share, CONF_SHARE_ALL);
    assert_false(conf->cache.enabled);
    assert_string_equal(conf->log.level, "debug");
    assert_string_equal(conf->log.format, "text");
    assert_int_equal(conf->health.expect_min, 204);
    assert_int_equal(conf->health.expect_max, 204);
    assert_string_equal(conf->edge.id, "fra-1");
    assert_int_equal(conf->edge.workers, 3);
    conf_unref(conf);
}

static void test_values_of_secrets_come_from_environment_and_files(void **state)
{
    assert_int_equal(setenv("NEARSIDE_TEST_SECRET", "from-env", 1), 0);

    struct conf *conf = read_good(
        *state, LISTEN "admin = { token = \"env:NEARSIDE_TEST_SECRET\"; };"
                       "regions = ( { name = \"a\"; endpoints = [ \"http://a\" ];"
                       "redis = \"redis://r\"; redis_user = \"file:secret-crlf\";"
                       "redis_password = \"file:secret\"; },"
                       "{ name = \"b\"; endpoints = [ \"http://a\" ];"
                       "redis = \"redis://r\"; redis_password = \"file:secret-lines\"; } );");

    assert_string_equal(conf->admin.token, "from-env");
    assert_string_equal(conf->regions[0].redis.user, "hunter2");
    assert_string_equal(conf->regions[0].redis.password, "hunter2");
    assert_string_equal(conf->regions[1].redis.user, "");
    assert_string_equal(conf->regions[1].redis.password, "hunter2\n");
    conf_unref(conf);
}

static void test_values_of_secrets_that_are_missing_are_refused(void **state)
{
    assert_int_equal(unsetenv("NEARSIDE_TEST_SECRET"), 0);
    read_bad(
        *state, LISTEN REGION "\nadmin = { token = \"env:NEARSIDE_TEST_SECRET\"; };",
        "t.conf:2: admin.token: found \"env:NEARSIDE_TEST_SECRET\", but that variable is not set");
    assert_int_equal(setenv("NEARSIDE_TEST_SECRET", "", 1), 0);
    read_bad(*state, LISTEN REGION "\nadmin = { token = \"env:NEARSIDE_TEST_SECRET\"; };",
             "but that variable is empty");
    read_bad(*state, LISTEN REGION "\nadmin = { token = \"file:none\"; };",
             "t.conf:2: admin.token: found \"file:none\" (/tmp/nearside-conf-");
    read_bad(*state, LISTEN REGION "\nadmin = { token = \"file:secret-empty\"; };",
             "which is empty");
}

static void test_values_of_paths_start_at_the_file_s_folder(void **state)
{
    struct folder *folder = *state;
    struct conf *conf = read_good(
        folder, REGION "listeners = ( { bind = \"[::1]:0\"; tls = ( { certificate = \"cert.pem\"; "
                       "key = \"key.pem\"; client_ca = \"ca.pem\"; min_version = \"1.3\"; },"
                       "{ certificate = \"ca.pem\"; key = \"key.pem\"; } ); } );"
                       "log = { file = \"events.log\"; access_file = \"/x/access.log\"; };");
    const struct conf_listener_tls *tls = &conf->listeners[0].tls;
    char *expected = mem_printf("%s/cert.pem", folder->path);
    char *log = mem_printf("%s/events.log", folder->path);

    assert_true(conf->listeners[0].has_tls);
    assert_int_equal(tls->certificate_count, 2);
    assert_string_equal(tls->certificates[0].certificate, expected);
    assert_string_not_equal(tls->certificates[1].certificate, expected);
    assert_int_equal(tls->min_version, CONF_TLS_1_3);
    assert_true(strlen(tls->client_ca) > 0);
    assert_string_equal(conf->log.file, log);
    assert_string_equal(conf->log.access_file, "/x/access.log");
    mem_free(expected);
    mem_free(log);
    conf_unref(conf);
}

static void test_values_of_one_certificate_need_no_list(void **state)
{
    struct conf *conf =
        read_good(*state, REGION "listeners = ( { bind = \":0\"; tls = { certificate = "
                                 "\"cert.pem\"; key = \"key.pem\"; }; } );");

    assert_int_equal(conf->listeners[0].tls.certificate_count, 1);
    assert_string_equal(conf->listeners[0].tls.client_ca, "");
    assert_int_equal(conf->listeners[0].tls.min_version, CONF_TLS_1_2);
    conf_unref(conf);
}

static void test_values_of_an_included_file_count(void **state)
{
    struct conf *conf =
        read_good(*state, LISTEN "\n  @include \"regions.inc\"\nhealth = { fall = 2; };");

    assert_int_equal(conf->region_count, 1);
    assert_int_equal(conf->regions[0].health.fall, 2);
    conf_unref(conf);
}

static void test_values_in_comments_and_strings_are_no_numbers(void **state)
{
    struct conf *conf =
        read_good(*state, "# 99999999999\n// 99999999999\n/* 99999999999 \n*/\n" LISTEN
                          "\nedge = { id = \"99999999999\"; };"
                          "log = { file = \"a\\\"99999999999\"; };"
                          "retry = { budget_min_per_s = .99999999999e+1; budget_ratio = "
                          "0.30000000000000004; };" REGION);

    assert_string_equal(conf->edge.id, "99999999999");
    conf_unref(conf);
}

static void test_values_of_a_region_inherit_what_it_does_not_override(void **state)
{
    struct conf *conf =
        read_good(*state, LISTEN
                  "regions = ( { name = \"a\"; endpoints = [ \"http://a\" ];"
                  " health = { fall = 5; }; timeouts = { connect_ms = 7; }; limits = { "
                  "queue_length = 9; }; },"
                  "{ name = \"b\"; endpoints = [ \"http://b\" ]; } );"
                  "health = { fall = 2; rise = 4; path = \"/up\"; }; timeouts = { idle_ms = 11; };"
                  "limits = { body_bytes = 13; };");
    const struct conf_region *a = &conf->regions[0];
    const struct conf_region *b = &conf->regions[1];

    assert_int_equal(a->health.fall, 5);
    assert_int_equal(a->health.rise, 4);
    assert_string_equal(a->health.path, "/up");
    assert_int_equal(a->timeouts.connect_ms, 7);
    assert_int_equal(a->timeouts.idle_ms, 11);
    assert_int_equal(a->limits.queue_length, 9);
    assert_int_equal(a->limits.body_bytes, 13);
    assert_int_equal(b->health.fall, 2);
    assert_int_equal(b->health.expect_max, 299);
    assert_int_equal(b->timeouts.connect_ms, 1000);
    assert_int_equal(b->limits.queue_length, 1000);
    assert_int_equal(conf->limits.queue_length, 1000);
    conf_unref(conf);
}

static void test_values_of_load_pages(void **state)
{
    struct conf *conf =
        read_good(*state, LISTEN "metrics = { path = \"/metrics\"; interval_ms = 200; };"
                                 "regions = ( { name = \"a\"; endpoints = [ \"http://a\" ];"
                                 " exporters = [ \"http://10.0.0.1:9400\", \"https://Gpus.test\" ];"
                                 " tls = { verify = false; }; metrics = { path = \"\"; }; },"
                                 "{ name = \"b\"; endpoints = [ \"http://b\" ]; } );");
    const struct conf_region *a = &conf->regions[0];

    assert_string_equal(a->metrics.path, "");
    assert_string_equal(a->metrics.exporter_path, "/metrics");
    assert_int_equal(a->metrics.interval_ms, 200);
    assert_int_equal(a->exporter_count, 2);
    assert_true(a->exporters[0].is_address);
    assert_string_equal(a->exporters[1].host, "gpus.test");
    assert_true(a->exporters[1].tls);
    assert_string_equal(conf->regions[1].metrics.path, "/metrics");
    assert_int_equal(conf->regions[1].exporter_count, 0);
    conf_unref(conf);
}

static void test_values_let_a_short_interval_stand_for_the_fast_one(void **state)
{
    struct conf *conf = read_good(*state, LISTEN "health = { interval_ms = 200; };" REGION_WITH(
                                              "health = { interval_ms = 100; };"));

    assert_int_equal(conf->health.fast_interval_ms, 200);
    assert_int_equal(conf->regions[0].health.fast_interval_ms, 100);
    conf_unref(conf);
}

static void test_values_of_redis_are_stored_without_its_secrets(void **state)
{
    struct conf *conf = read_good(
        *state, LISTEN REGION_WITH("redis = \"rediss://us%40er:p%3Ass@Cache.Example.net:6380/3\";"
                                   "models = [ \"m1\", \"m2\" ]; tls = { ca = \"ca.pem\"; };"));
    const struct conf_redis *redis = &conf->regions[0].redis;

    assert_string_equal(redis->url, "rediss://Cache.Example.net:6380/3");
    assert_string_equal(redis->host, "cache.example.net");
    assert_int_equal(redis->port, 6380);
    assert_int_equal(redis->database, 3);
    assert_true(redis->tls);
    assert_false(redis->is_address);
    assert_string_equal(redis->user, "us@er");
    assert_string_equal(redis->password, "p:ss");
    assert_int_equal(conf->regions[0].model_count, 2);
    assert_string_equal(conf->regions[0].models[1], "m2");
    conf_unref(conf);
}

static void test_values_survive_their_file_when_read_from_disk(void **state)
{
    struct folder *folder = *state;
    struct conf *conf = NULL;
    struct errbuf err = {.text = ""};
    char *path = mem_printf("%s/disk.conf", folder->path);

    folder_put(folder, "disk.conf", "@include \"regions.inc\"\n" LISTEN);
    assert_int_equal(conf_read_file(path, &conf, &err), STATUS_OK);
    folder_remove(folder, "disk.conf");
    assert_string_equal(conf->path, path);
    assert_string_equal(conf->regions[0].name, "a");
    mem_free(path);
    conf_unref(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_default_to_those_of_the_contract),
        cmocka_unit_test(test_values_trust_the_proxies_that_are_named_and_no_other),
        cmocka_unit_test(test_values_default_to_the_contract_s_bounds),
        cmocka_unit_test(test_values_of_a_plain_region),
        cmocka_unit_test(test_values_of_an_endpoint_name_its_port_where_it_is_not_the_usual_one),
        cmocka_unit_test(test_values_accept_integers_for_floats_and_an_l),
        cmocka_unit_test(test_values_of_words),
        cmocka_unit_test(test_values_of_secrets_come_from_environment_and_files),
        cmocka_unit_test(test_values_of_secrets_that_are_missing_are_refused),
        cmocka_unit_test(test_values_of_paths_start_at_the_file_s_folder),
        cmocka_unit_test(test_values_of_one_certificate_need_no_list),
        cmocka_unit_test(test_values_of_an_included_file_count),
        cmocka_unit_test(test_values_in_comments_and_strings_are_no_numbers),
        cmocka_unit_test(test_values_of_a_region_inherit_what_it_does_not_override),
        cmocka_unit_test(test_values_of_load_pages),
        cmocka_unit_test(test_values_let_a_short_interval_stand_for_the_fast_one),
        cmocka_unit_test(test_values_of_redis_are_stored_without_its_secrets),
        cmocka_unit_test(test_values_survive_their_file_when_read_from_disk),
    };

    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
