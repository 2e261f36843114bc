/* SPDX-License-Identifier: MIT */
/* What is refused, and with which words: place, key, what was found, what is allowed. */
#include "conf_fixture.h"

struct bad_case {
    const char *text;
    const char *expected;
};

static const struct bad_case syntax_cases[] = {
    {"listeners = (\n\n;", "t.conf:3: syntax error"},
    {"health = { fall = 3; };\nhealth = { fall = 4; };",
     "t.conf:2: found a key of this line a second time in its group"},
    {"health = { fall = 3;\n fall = 4; };",
     "t.conf:2: found a key of this line a second time in its group"},
    {LISTEN "\n\n/* no end\n" REGION, "t.conf:3: found a comment without an end"},
    {LISTEN REGION "\n\nlog = { file = \"a;\n };", "t.conf:3: found a string without an end"},
    {LISTEN REGION "\nlimits = { body_bytes = 4294967297; };", "t.conf:2: found an integer over"},
    {LISTEN REGION "\nlimits = { body_bytes = 0x80000000; };", "t.conf:2: found an integer over"},
    {"@include \"/tmp\"", "t.conf:1: @include: found \"/tmp\" (/tmp), allowed: a readable file: "
                          "not a regular file"},
    {LISTEN "\n  @include \"none.inc\"", "t.conf:2: @include: found \"none.inc\""},
    {LISTEN REGION "\n@include \"bad.inc\"", "bad.inc:3: health.fall: found 0"},
    {LISTEN REGION "\n@include \"syntax.inc\"", "syntax.inc:2: syntax error"},
    {LISTEN REGION "\n@include \"wide.inc\"", "wide.inc:2: found an integer over"},
    {"/*\n*/ @include \"loop.inc\"", "t.conf:2: syntax error"},
    {"@include \"loop.inc", "t.conf:1: found a string without an end"},
    {"@include \"loop.inc\"", "loop.inc:1: @include: found too many"},
};

static const struct bad_case value_cases[] = {
    /* names */
    {LISTEN REGION "\nhealt = { };",
     "t.conf:2: healt: found an unknown key (did you mean health?)"},
    {LISTEN REGION "\nhealth = {\n fal = 3; };",
     "t.conf:3: health.fal: found an unknown key (did you mean fall?), allowed: path, interval_ms"},
    {LISTEN REGION "\ntimeouts = { connect_timeout = 3; };", "(did you mean connect_ms?)"},
    {LISTEN REGION "\ntimeouts = { header = 3; };", "(did you mean client_header_ms?)"},
    {LISTEN REGION "\nxyzzy = 1;", "t.conf:2: xyzzy: found an unknown key, allowed: edge,"},
    /* types */
    {LISTEN REGION "\nhealth = 3;", "t.conf:2: health: found 3, allowed: a group"},
    {LISTEN REGION "\nhealth = { fall = 3.0; };",
     "t.conf:2: health.fall: found 3.0, allowed: an integer from 1 to 100"},
    {LISTEN REGION "\nhealth = { fall = \"3\"; };",
     "health.fall: found \"3\", allowed: an integer"},
    {LISTEN REGION "\ncache = { enabled = 1; };", "cache.enabled: found 1, allowed: true or false"},
    {LISTEN REGION "\nlog = { level = true; };", "log.level: found true, allowed: \"error\""},
    {LISTEN REGION "\nlog = { file = [ \"a\" ]; };", "log.file: found an array, allowed: a string"},
    {LISTEN REGION "\nlog = { file = ( ); };", "log.file: found a list, allowed: a string"},
    {LISTEN REGION "\nlog = { file = { }; };", "log.file: found a group, allowed: a string"},
    {LISTEN REGION "\nrouting = { hysteresis_ms = \"5\"; };", "hysteresis_ms: found \"5\""},
    {LISTEN REGION "\nedge = { trusted_proxies = \"10.0.0.0/8\"; };",
     "t.conf:2: edge.trusted_proxies: found \"10.0.0.0/8\", allowed: an array of up to 256"},
    {LISTEN REGION "\nedge = { trusted_proxies = [ \"::1\", \"10.0.0.1/8\" ]; };",
     "edge.trusted_proxies[1]: found \"10.0.0.1/8\", allowed: an array of up to 256 addresses"},
    {LISTEN REGION "\nedge = { trusted_proxies = [ 10 ]; };",
     "edge.trusted_proxies[0]: found 10, allowed: an array of up to 256 addresses"},
    /* ranges */
    {LISTEN REGION "\nhealth = {\n fall = 0; };",
     "t.conf:3: health.fall: found 0, allowed: an integer from 1 to 100 (probes)"},
    {LISTEN REGION "\nhealth = { fall = -1; };", "health.fall: found -1, allowed"},
    {LISTEN REGION "\nretry = { attempts = 11; };", "retry.attempts: found 11, allowed"},
    {LISTEN REGION "\nretry = { budget_ratio = 1.5; };",
     "retry.budget_ratio: found 1.5, allowed: a number from 0 to 1"},
    {LISTEN REGION "\nretry = { budget_ratio = 1e999; };", "retry.budget_ratio: found inf"},
    {LISTEN REGION "\nedge = { workers = 65; };",
     "edge.workers: found 65, allowed: an integer from "
     "0 to 64 (threads)"},
    {LISTEN REGION "\nlimits = { body_bytes = 99999999999999999999L; };",
     "limits.body_bytes: found"},
    {LISTEN REGION "\nlimits = { queue_length = 4294967296L; };",
     "limits.queue_length: found 4294967296"},
    /* words and texts */
    {LISTEN REGION "\nrouting = { balance = \"prefix\"; };",
     "t.conf:2: routing.balance: found \"prefix\", allowed: \"least_pending\" or \"round_robin\""},
    {LISTEN REGION "\nedge = { id = \"a b\"; };", "edge.id: found \"a b\", allowed: 1 to 63"},
    {LISTEN REGION "\nhealth = { path = \"health\"; };",
     "health.path: found \"health\", allowed: a path"},
    {LISTEN REGION "\nhealth = { path = \"/a b\"; };", "health.path: found \"/a b\""},
    {LISTEN REGION "\nhealth = { path = \"/a\\r\\nX: y\"; };",
     "health.path: found \"/a\\x0d\\x0aX: y\""},
    {LISTEN REGION "\nhealth = { expect = \"299-200\"; };",
     "health.expect: found \"299-200\", allowed"},
    {LISTEN REGION "\nhealth = { expect = \"99\"; };", "health.expect: found \"99\""},
    {LISTEN REGION "\nhealth = { expect = \"200-\"; };", "health.expect: found \"200-\""},
};

static const struct bad_case listener_cases[] = {
    {REGION, "t.conf:1: listeners: found 0, allowed: 1 to 64"},
    {REGION "\nlisteners = ( );", "t.conf:2: listeners: found 0"},
    {REGION "\nlisteners = { bind = \":80\"; };",
     "listeners: found a group, allowed: a list of groups"},
    {REGION "\nlisteners = ( \":80\" );", "t.conf:2: listeners[0]: found no group"},
    {REGION "\nlisteners = (\n { } );",
     "t.conf:3: listeners[0].bind: found \"\" (address:port is wanted)"},
    {REGION "\nlisteners = ( { bind = \"localhost:80\"; } );",
     "listeners[0].bind: found \"localhost:80\" (names are not resolved here: write the address)"},
    {REGION "\nlisteners = ( { bind = \"::1:80\"; } );", "listeners[0].bind: found"},
    {REGION "\nlisteners = ( { bind = \"127.0.0.1:65536\"; } );", "a number from 0 to 65535"},
    {REGION "\nlisteners = ( { bind = \"127.0.0.1\"; } );", "address:port is wanted"},
    {REGION "\nlisteners = ( { bind = \":80\"; },\n { bind = \"0.0.0.0:80\"; } );",
     "t.conf:3: listeners[1].bind: found \"0.0.0.0:80\", which is listeners[0].bind already"},
    {REGION "\nlisteners = ( { bind = \"127.0.0.1:9901\"; } );", "which is admin.bind already"},
    {REGION LISTEN "\nadmin = { bind = \"here\"; };", "t.conf:2: admin.bind: found \"here\""},
    /* tls */
    {REGION "\nlisteners = ( { bind = \":80\"; tls = 1; } );",
     "listeners[0].tls: found 1, allowed: a group, { ... }, or a list of groups"},
    {REGION "\nlisteners = ( { bind = \":80\"; tls = ( ); } );", "listeners[0].tls: found a list"},
    {REGION "\nlisteners = ( { bind = \":80\"; tls = ( 1 ); } );", "listeners[0].tls[0]: found 1"},
    {REGION "\nlisteners = ( { bind = \":80\";\n tls = { certificate = \"cert.pem\"; }; } );",
     "t.conf:3: listeners[0].tls.key: found none"},
    {REGION "\nlisteners = ( { bind = \":80\"; tls = { key = \"key.pem\"; }; } );",
     "listeners[0].tls.certificate: found none"},
    {REGION "\nlisteners = ( { bind = \":80\"; tls = { client_ca = \"ca.pem\"; }; } );",
     "listeners[0].tls.certificate: found none"},
    {REGION "\nlisteners = ( { bind = \":80\"; tls = { certificate = \"no.pem\"; key = "
            "\"key.pem\"; }; } );",
     "listeners[0].tls.certificate: found \"no.pem\" (/tmp/nearside-conf-"},
    {REGION
     "\nlisteners = ( { bind = \":80\"; tls = { certificate = \".\"; key = \"key.pem\"; }; } );",
     "allowed: a readable file: Is a directory"},
    {REGION
     "\nlisteners = ( { bind = \":80\"; tls = { certificate = \"cert.pem\"; key = \"key.pem\"; "
     "min_version = \"1.1\"; }; } );",
     "listeners[0].tls.min_version: found \"1.1\", allowed: \"1.2\" or \"1.3\""},
    {REGION "\nlisteners = ( { bind = \":80\"; tls = { certificat = \"cert.pem\"; }; } );",
     "tls.certificat: found an unknown key (did you mean certificate?), allowed: certificate, key, "
     "client_ca, min_version"},
    {REGION "\nlisteners = ( { bind = \":80\"; tls = ( { certificate = \"cert.pem\"; key = "
            "\"key.pem\"; },\n"
            "{ certificate = \"cert.pem\"; key = \"key.pem\"; client_ca = \"ca.pem\"; } ); } );",
     "t.conf:3: listeners[0].tls[1].client_ca: found another value than in the listener's first"},
    {REGION LISTEN "\nadmin = { tls = { certificate = \"cert.pem\"; }; };",
     "t.conf:2: admin.tls: found a certificate without a key"},
    {REGION LISTEN "\nadmin = { tls = { api_client_ca = \"ca.pem\"; }; };",
     "t.conf:2: admin.tls.api_client_ca: found one without a certificate"},
};

static const struct bad_case region_cases[] = {
    {LISTEN, "t.conf:1: regions: found 0, allowed: 1 to 64"},
    {LISTEN "\nregions = [ \"a\" ];",
     "t.conf:2: regions: found an array, allowed: a list of groups"},
    {LISTEN "\nregions = ( 1 );", "regions[0]: found no group"},
    {LISTEN "\nregions = (\n { endpoints = [ \"http://a\" ]; } );",
     "t.conf:3: regions[0].name: found none, allowed: 1 to 63 characters"},
    {LISTEN "\nregions = ( { name = \"a/b\"; } );", "regions[0].name: found \"a/b\""},
    {LISTEN "\nregions = ( { name = \"a\"; } );", "regions[0].endpoints: found none"},
    {LISTEN "\nregions = ( { name = \"a\"; endpoints = [ ]; } );",
     "regions[0].endpoints: found none"},
    {LISTEN "\nregions = ( { name = \"a\"; endpoints = ( ); } );",
     "regions[0].endpoints: found none"},
    {LISTEN "\nregions = ( { name = \"a\"; endpoints = \"http://b\"; } );",
     "regions[0].endpoints: found \"http://b\", allowed: an array of 1 to 1024 URLs"},
    {LISTEN "\nregions = ( { name = \"a\"; endpoints = [ 1 ]; } );",
     "regions[0].endpoints[0]: found 1"},
    {LISTEN "\nregions = ( { name = \"a\"; endpoints = [ \"http://b\",\n \"http://B:80/\" ]; } );",
     "regions[0].endpoints[1]: found \"http://B:80/\", which is endpoints[0] already"},
    {LISTEN "\nregions = ( { name = \"a\"; endpoints = [ \"ftp://b\" ]; } );",
     "found \"ftp://b\" (it does not begin with http:// or https://), allowed: http://host[:port]"},
    {LISTEN "\nregions = ( { name = \"a\"; endpoints = [ \"http://u:hunter2@b\" ]; } );",
     "regions[0].endpoints[0]: found \"***@b\" (a user or a password would be ignored)"},
    {LISTEN REGION_WITH("") "tracing = { otlp_url = \"http://u:hunter2@c/v1\"; };",
     "tracing.otlp_url: found \"***@c/v1\" (a user or a password would be ignored)"},
    {LISTEN "\nregions = ( { name = \"a\"; endpoints = [ \"http://b\" ]; },\n"
            "{ name = \"a\"; endpoints = [ \"http://c\" ]; } );",
     "t.conf:3: regions[1].name: found \"a\", which names regions[0] already"},
    {LISTEN REGION_WITH("models = [ \"m\", \"m\" ];"),
     "regions[0].models[1]: found \"m\", allowed: an array"},
    {LISTEN REGION_WITH("models = [ \"\" ];"), "regions[0].models[0]: found \"\""},
    {LISTEN REGION_WITH("models = \"m\";"), "regions[0].models: found \"m\""},
    {LISTEN REGION_WITH("endpoint = \"m\";"),
     "endpoint: found an unknown key (did you mean endpoints?)"},
    /* redis */
    {LISTEN REGION_WITH("redis = \"http://r\";"),
     "regions[0].redis: found \"http://r\" (it does not begin with redis:// or rediss://)"},
    {LISTEN REGION_WITH("redis = \"redis://u:hunter2@r:0\";"),
     "regions[0].redis: found \"***@r:0\" (the port"},
    {LISTEN REGION_WITH("redis = \"redis://u@r\";"),
     "before the @ stands user:password or :password"},
    {LISTEN REGION_WITH("redis = \"redis://r\"; redis_user = \"u\";"),
     "regions[0].redis_user: found a user without redis_password"},
    {LISTEN REGION_WITH("redis_password = \"p\";"),
     "regions[0].redis_password: found one for no Redis"},
    {LISTEN REGION_WITH("redis = \"redis://:p@r\"; redis_password = \"p\";"),
     "regions[0].redis: found a password in the URL and"},
    {LISTEN REGION_WITH("redis = \"redis://:p%zz@r\";"), "regions[0].redis: found a % in the user"},
    {LISTEN REGION_WITH("redis_password = 12345;"),
     "redis_password: found something else than a string"},
    /* tls */
    {LISTEN "regions = ({ name = \"a\"; endpoints = [ \"https://b\" ]; "
            "tls = { ca = \"/dev/null\"; verify = false; }; });",
     "verify = false with a ca"},
    {LISTEN REGION_WITH("tls = { verify = false; };"),
     "regions[0].tls: found settings for TLS, but no endpoint"},
    {LISTEN REGION_WITH("redis = \"rediss://r\"; tls = { certificate = \"cert.pem\"; };"),
     "regions[0].tls: found a certificate without a key"},
    {LISTEN REGION_WITH("redis = \"rediss://r\"; tls = { ca = \"no.pem\"; };"),
     "regions[0].tls.ca: found"},
    {LISTEN REGION_WITH("redis = \"rediss://r\"; tls = { server_name = \"a b\"; };"),
     "tls.server_name: found"},
    /* load */
    {LISTEN REGION_WITH("exporters = [ 7 ];"), "regions[0].exporters[0]: found 7"},
    {LISTEN REGION_WITH("exporters = \"http://a:9400\";"),
     "regions[0].exporters: found \"http://a:9400\", allowed: an array of up to 1024 URLs"},
    {LISTEN REGION_WITH("exporters = [ \"http://a:9400/metrics\" ];"),
     "regions[0].exporters[0]: found \"http://a:9400/metrics\""},
    {LISTEN REGION_WITH("metrics = { path = \"metrics\"; };"),
     "regions[0].metrics.path: found \"metrics\", allowed: \"\", or a path that begins with /"},
    {LISTEN REGION_WITH("metrics = { exporter_path = \"\"; };"),
     "regions[0].metrics.exporter_path: found \"\""},
    {LISTEN REGION_WITH("metrics = { interval_ms = 10; };"),
     "regions[0].metrics.interval_ms: found 10, allowed: an integer from 100"},
    /* overrides */
    {LISTEN "\n" REGION_WITH("\nhealth = {\n fal = 3; };"),
     "t.conf:4: regions[0].health.fal: found an unknown"},
    {LISTEN REGION_WITH("limits = { queue_len = 1; };"),
     "found an unknown key (did you mean queue_length?), allowed: max_inflight_per_endpoint, "
     "queue_length, queue_timeout_ms"},
    {LISTEN REGION_WITH("limits = { header_bytes = 4096; };"),
     "regions[0].limits.header_bytes: found in a region, but it holds for the whole edge: write it "
     "in "
     "the top-level limits; allowed in a region: "
     "max_inflight_per_endpoint, "
     "queue_length, queue_timeout_ms"},
    {LISTEN REGION_WITH("limits = { buffer_total_bytes = 4096; };"),
     "limits.buffer_total_bytes: found in a"},
    {LISTEN REGION_WITH("limits = { max_connections = 4096; };"),
     "limits.max_connections: found in a region"},
};

static const struct bad_case combination_cases[] = {
    {LISTEN REGION "\nadmin = { token = \"file:secret-lines\"; };",
     "t.conf:2: admin.token: found a line end, a blank at an end"},
    {LISTEN REGION "\nadmin = { token = \" hunter2\"; };",
     "t.conf:2: admin.token: found a line end"},
    {LISTEN REGION "\ntracing = { authorization = \"Bearer a\\r\\nX: b\"; };",
     "t.conf:2: tracing.authorization: found a line end"},
    {LISTEN REGION "\nlimits = { buffer_bytes = 2000;\n buffer_total_bytes = 1000; };",
     "t.conf:2: limits.buffer_bytes: found 2000, allowed: at most limits.buffer_total_bytes, which "
     "is "
     "1000 (bytes)"},
    {LISTEN REGION_WITH("limits = { buffer_bytes = 1; };"),
     "regions[0].limits.buffer_bytes: found in a region, but it holds for the whole edge"},
    {LISTEN REGION_WITH("timeouts = { total_ms = 1; };"),
     "regions[0].timeouts.total_ms: found in a region, but it holds for the whole edge"},
    {LISTEN REGION "\ncache = { key_secret = \"short\"; };",
     "t.conf:2: cache.key_secret: found one of 5 bytes, allowed: at least 16"},
    {LISTEN REGION "\ncache = { tenant_header = \"X Tenant\"; };",
     "t.conf:2: cache.tenant_header: found \"X Tenant\", allowed: a header's name"},
    {LISTEN REGION "\ncache = { memory_bytes = 1000; };",
     "t.conf:2: cache.max_entry_bytes: found 1048576, allowed: at most cache.memory_bytes"},
    {LISTEN REGION "\nhealth = { generate = { interval_s = 30; }; };",
     "health.generate.model: found none with generate.interval_s = 30, allowed: the name of a"},
    {LISTEN "\n" REGION_WITH("health = { generate = { interval_s = 5; }; };"),
     "regions[0].health.generate.model: found none"},
    {LISTEN REGION "\nhealth = { interval_ms = 100; fast_interval_ms = 200; };",
     "t.conf:2: health.fast_interval_ms: found 200, allowed: at most interval_ms, which is 100"},
    {LISTEN REGION "\nrouting = { failover_deadline_s = 4; };",
     "t.conf:2: routing.failover_deadline_s: found settings that notice a vanished region a after "
     "4400 "
     "ms (interval_ms 1000 + fall 3 * the larger of timeout_ms 1000 and fast_interval_ms 500, + 10 "
     "% "
     "jitter), allowed: at most routing.failover_deadline_s, 4 s"},
    {LISTEN REGION "\n\nhealth = { timeout_ms = 10000; };",
     "t.conf:3: health: found settings that notice a "
     "vanished region a after 34100 ms"},
    {LISTEN "\n" REGION_WITH("\n\nhealth = { fall = 100; };"),
     "t.conf:4: regions[0].health: found settings"},
};

static void check_all(void **state, const struct bad_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        read_bad(*state, cases[i].text, cases[i].expected);
    }
}

static void test_parse_names_the_line_of_a_syntax_error(void **state)
{
    check_all(state, syntax_cases, ARRAY_LEN(syntax_cases));
}

static void test_parse_names_a_wrong_key_or_value_and_what_is_allowed(void **state)
{
    check_all(state, value_cases, ARRAY_LEN(value_cases));
}

static void test_parse_refuses_listeners_that_cannot_be(void **state)
{
    check_all(state, listener_cases, ARRAY_LEN(listener_cases));
}

static void test_parse_refuses_regions_that_cannot_be(void **state)
{
    check_all(state, region_cases, ARRAY_LEN(region_cases));
}

static void test_parse_refuses_impossible_combinations(void **state)
{
    check_all(state, combination_cases, ARRAY_LEN(combination_cases));
}

static void test_parse_refuses_a_nul_byte(void **state)
{
    struct folder *folder = *state;
    struct conf *conf = NULL;
    struct errbuf err;

    assert_int_equal(
        conf_read_text(STR_LIT("\n\0" LISTEN REGION), "t.conf", folder->path, &conf, &err),
        STATUS_INVALID);
    assert_non_null(strstr(err.text, "NUL byte"));
}

static void test_parse_reports_a_file_that_cannot_be_read(void **state)
{
    struct folder *folder = *state;
    struct conf *conf = NULL;
    struct errbuf err;

    assert_int_equal(conf_read_file("/nonexistent/x.conf", &conf, &err), STATUS_INVALID);
    assert_string_equal(err.text, "/nonexistent/x.conf: No such file or directory");
    assert_int_equal(conf_read_file(folder->path, &conf, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "Is a directory"));
    assert_null(conf);
}

static void test_parse_messages_never_hold_a_secret(void **state)
{
    struct folder *folder = *state;
    struct conf *conf = NULL;
    struct errbuf err;
    const char *const texts[] = {
        LISTEN REGION_WITH("redis = \"redis://u:hunter2@r:0\";"),
        LISTEN REGION_WITH("redis = \"redis://u:hunter2@@r\";"),
        LISTEN REGION_WITH("redis = \"redis://u:hunter2@r?x\";"),
        LISTEN REGION_WITH("redis = \"redi://u:hunter2@r\";"),
        LISTEN REGION_WITH("redis = \"redis://u:hunter2%@r\";"),
        LISTEN REGION_WITH("redis_password = \"hunter2\";"),
        LISTEN REGION "\nadmin = { token = \"file:secret\"; bind = \"x\"; };",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(conf_read_text(str_of(texts[i]), "t.conf", folder->path, &conf, &err),
                         STATUS_INVALID);
        assert_null(strstr(err.text, "hunter2"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_names_the_line_of_a_syntax_error),
        cmocka_unit_test(test_parse_names_a_wrong_key_or_value_and_what_is_allowed),
        cmocka_unit_test(test_parse_refuses_listeners_that_cannot_be),
        cmocka_unit_test(test_parse_refuses_regions_that_cannot_be),
        cmocka_unit_test(test_parse_refuses_impossible_combinations),
        cmocka_unit_test(test_parse_refuses_a_nul_byte),
        cmocka_unit_test(test_parse_reports_a_file_that_cannot_be_read),
        cmocka_unit_test(test_parse_messages_never_hold_a_secret),
    };

    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
