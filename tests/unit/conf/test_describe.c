/* SPDX-License-Identifier: MIT */
/* --print-config, conf/nearside.conf and docs/configuration.md. */
#include "conf_fixture.h"

#include <conf/schema_private.h>
#include <nearside/base/buf.h>
#include <nearside/conf/describe.h>

static char *described(const struct conf *conf)
{
    struct buf out;

    buf_init(&out);
    conf_describe(conf, &out);

    char *text = mem_strndup(buf_str(&out).ptr, buf_len(&out));

    buf_done(&out);
    return text;
}

/* What stands for a secret is refused as one: an operator puts the secrets back. */
static void put_secrets_back(char *text)
{
    for (char *at = strstr(text, "\"***\""); at != NULL; at = strstr(at, "\"***\"")) {
        memcpy(at, "\"abc\"", 5);
    }
}

/* What was described must parse, and describe itself in the same words. */
static void check_round_trip(const struct folder *folder, const char *text)
{
    struct conf *first = read_good(folder, text);
    char *once = described(first);
    char *filled = mem_strdup(once);

    put_secrets_back(filled);
    struct conf *second = read_good(folder, filled);
    char *twice = described(second);

    assert_string_equal(once, twice);
    mem_free(filled);
    conf_unref(first);
    conf_unref(second);
    mem_free(once);
    mem_free(twice);
}

static const char *const round_trips[] = {
    LISTEN REGION,
    /* every group away from its defaults */
    "edge = { id = \"e\"; workers = 5; drain_timeout_s = 1; };"
    "listeners = ( { bind = \":0\"; }, { bind = \"[::]:8443\"; tls = { certificate = \"cert.pem\";"
    " key = \"key.pem\"; client_ca = \"ca.pem\"; min_version = \"1.3\"; }; },"
    " { bind = \":2\"; tls = ( { certificate = \"cert.pem\"; key = \"key.pem\"; },"
    " { certificate = \"ca.pem\"; key = \"key.pem\"; } ); } );"
    "admin = { bind = \"\"; token = \"x\"; tls = { certificate = \"cert.pem\"; key = \"key.pem\";"
    " api_client_ca = \"ca.pem\"; min_version = \"1.3\"; }; };"
    "metrics = { path = \"/m\"; exporter_path = \"/e\"; interval_ms = 100; timeout_ms = 10; };"
    "log = { level = \"error\"; format = \"text\"; file = \"\"; access_file = "
    "\"q\\\"\\\\\\n\\x01.log\"; };"
    "routing = { latency_budget_ms = 0.1; hysteresis_ratio = 0.30000000000000004;"
    " balance = \"round_robin\"; };"
    "health = { path = \"/a\\\"b\"; interval_ms = 300; expect = \"200\"; match = \"o\\\"k\";"
    " generate = { model = \"m\"; interval_s = 7; }; };"
    "limits = { body_bytes = 1099511627776L; buffer_bytes = 4294967296L;"
    " buffer_total_bytes = 17592186044416L; };"
    "cache = { enabled = false; when = \"never\"; share = \"all\"; };"
    "regions = ( { name = \"a\"; endpoints = [ \"http://10.0.0.1\", \"https://[::1]:1/\" ];"
    " exporters = [ \"http://10.0.0.1:9400\", \"https://gpus\" ]; metrics = { path = \"\"; };"
    " redis = \"rediss://u:p@r/1\"; models = [ \"m\", \"n\\\"\" ];"
    " tls = { server_name = \"n\"; verify = false; certificate = \"cert.pem\"; key = \"key.pem\"; "
    "};"
    " health = { interval_ms = 200; fall = 4; generate = { timeout_ms = 90; }; }; timeouts = { "
    "idle_ms = 1; };"
    " limits = { queue_timeout_ms = 1; queue_length = 0; }; },"
    " { name = \"b\"; endpoints = [ \"http://b\" ]; redis = \"redis://r\"; redis_password = \"p\"; "
    "} );",
};

static void test_describe_reads_back_as_the_same_config(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(round_trips); i++) {
        check_round_trip(*state, round_trips[i]);
    }
}

static void test_describe_shows_no_secret(void **state)
{
    struct conf *conf =
        read_good(*state, LISTEN "admin = { token = \"hunter2\"; };"
                                 "regions = ( { name = \"a\"; endpoints = [ \"http://a\" ];"
                                 "redis = \"redis://hunter2:hunter2@r\"; } );");
    char *text = described(conf);

    assert_null(strstr(text, "hunter2"));
    assert_non_null(strstr(text, "token = \"***\";"));
    assert_non_null(strstr(text, "redis = \"redis://r\";"));
    assert_non_null(strstr(text, "redis_user = \"***\";"));
    assert_non_null(strstr(text, "redis_password = \"***\";"));
    mem_free(text);
    conf_unref(conf);
}

static void test_describe_shows_unit_and_default_beside_the_value(void **state)
{
    struct conf *conf = read_good(*state, LISTEN REGION "health = { timeout_ms = 800; };");
    char *text = described(conf);

    assert_non_null(strstr(text, "timeout_ms = 800;                       # ms; default 1000\n"));
    mem_free(text);
    conf_unref(conf);
}

static void test_describe_shows_only_what_a_region_overrides(void **state)
{
    struct conf *conf = read_good(*state, LISTEN REGION_WITH("timeouts = { idle_ms = 5; };"));
    char *text = described(conf);
    const char *region = strstr(text, "regions = (");

    assert_non_null(region);
    assert_non_null(strstr(region, "idle_ms = 5;"));
    assert_null(strstr(region, "connect_ms"));
    assert_null(strstr(region, "health = {"));
    mem_free(text);
    conf_unref(conf);
}

static void check_names(const char *text, const struct conf_table *table)
{
    for (size_t i = 0; i < table->key_count; i++) {
        const struct conf_key *key = &table->keys[i];

        if (strstr(text, key->name) == NULL) {
            fail_msg("%s.%s is missing", table->name, key->name);
        }
        if (key->table != NULL) {
            check_names(text, key->table);
        }
    }
}

static void test_describe_example_shows_every_key_and_is_a_valid_file(void **state)
{
    char *text = described(NULL);
    struct conf *conf = read_good(*state, text);

    check_names(text, &conf_table_root);
    check_names(text, &conf_table_certificate);
    assert_int_equal(conf->region_count, 2);
    assert_true(conf->routing.hysteresis_ratio == 0.1);
    mem_free(text);
    conf_unref(conf);
}

static void test_describe_example_has_no_overlong_line_of_help(void **state)
{
    char *text = described(NULL);

    (void)state;
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n' ? 1 : 0;
        assert_true(strcspn(line, "\n") <= 100);
    }
    mem_free(text);
}

static void check_rows(const char *text, const struct conf_table *table)
{
    for (size_t i = 0; i < table->key_count; i++) {
        const struct conf_key *key = &table->keys[i];
        char *row = mem_printf("\n| `%s` | ", key->name);

        assert_non_null(strstr(text, row));
        assert_true(key->help[0] != '\0');
        mem_free(row);
    }
}

static void test_describe_docs_have_a_row_for_every_key(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out);
    conf_describe_docs(&out);

    char *text = mem_strndup(buf_str(&out).ptr, buf_len(&out));

    for (size_t i = 0; i < conf_table_root.key_count; i++) {
        check_rows(text, conf_table_root.keys[i].table);
    }
    check_rows(text, &conf_table_listener_tls);
    check_rows(text, &conf_table_certificate);
    assert_non_null(
        strstr(text, "| `hysteresis_ratio` | number | `0.1` | 0 to 1 | share | live | "));
    mem_free(text);
    buf_done(&out);
}

/* What an intro says of secrets is written by hand, and must not miss one. */
static void check_secrets(const char *intro, const struct conf_table *table)
{
    for (size_t i = 0; i < table->key_count; i++) {
        const struct conf_key *key = &table->keys[i];

        if (key->type == CONF_SECRET && strstr(intro, key->name) == NULL) {
            fail_msg("the introduction does not name the secret %s", key->name);
        }
        if (key->table != NULL) {
            check_secrets(intro, key->table);
        }
    }
}

static void test_describe_docs_name_every_secret_in_their_introduction(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out);
    conf_describe_docs(&out);

    struct str text = buf_str(&out);
    size_t end = str_find(text, STR_LIT("\n## "));

    assert_true(end < text.len);
    char *intro = mem_strndup(text.ptr, end);

    check_secrets(intro, &conf_table_root);
    mem_free(intro);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_describe_reads_back_as_the_same_config),
        cmocka_unit_test(test_describe_shows_no_secret),
        cmocka_unit_test(test_describe_shows_unit_and_default_beside_the_value),
        cmocka_unit_test(test_describe_shows_only_what_a_region_overrides),
        cmocka_unit_test(test_describe_example_shows_every_key_and_is_a_valid_file),
        cmocka_unit_test(test_describe_example_has_no_overlong_line_of_help),
        cmocka_unit_test(test_describe_docs_have_a_row_for_every_key),
        cmocka_unit_test(test_describe_docs_name_every_secret_in_their_introduction),
    };

    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
