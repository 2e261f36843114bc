/* SPDX-License-Identifier: MIT */
/* URLs and bind addresses: tables of text and answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <conf/url_private.h>

#include <string.h>

struct good_url {
    const char *text;
    const char *host;
    uint16_t port;
    bool tls;
    bool is_address;
};

static const struct good_url http_good[] = {
    {"http://a", "a", 80, false, false},
    {"https://a.example.net", "a.example.net", 443, true, false},
    {"HTTPS://a/", "a", 443, true, false},
    {"http://my_pod-1.svc.cluster.local.:8000", "my_pod-1.svc.cluster.local.", 8000, false, false},
    {"http://10.0.0.1:65535", "10.0.0.1", 65535, false, true},
    {"http://[::1]", "::1", 80, false, true},
    {"https://[2001:db8::1]:1/", "2001:db8::1", 1, true, true},
};

static const char *const http_bad[] = {
    "",
    "a",
    "http:",
    "http://",
    "http:///",
    "http://:80",
    "http://a:",
    "http://a:0",
    "http://a:65536",
    "http://a:080808",
    "http://a:+1",
    "http://a:1:2",
    "http://a b",
    "http://a\n",
    "http://\xc3\xa9",
    "http://a/v1",
    "http://a//",
    "http://a?x",
    "http://a#x",
    "http://u@a",
    "http://u:p@a",
    "httpss://a",
    "redis://a",
    "http://::1",
    "http://[::1",
    "http://[::1]x",
    "http://[::1]]",
    "http://[10.0.0.1]",
    "http://[]",
    "http://[fe80::1%eth0]",
    "http://10.0.0.300",
    "http://10.0.0",
    "http://1",
    "http://a..b",
    "http://.a",
    "http://a,b",
    "http://*",
};

static void test_url_accepts_http_endpoints(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(http_good); i++) {
        const struct good_url *good = &http_good[i];
        struct conf_url url;
        const char *why = NULL;

        assert_true(conf_url_parse_http(str_of(good->text), &url, &why));
        assert_true(str_eq(url.host, str_of(good->host)));
        assert_int_equal(url.port, good->port);
        assert_int_equal(url.tls, good->tls);
        assert_int_equal(url.is_address, good->is_address);
    }
}

static void test_url_refuses_every_other_http_form_with_a_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(http_bad); i++) {
        struct conf_url url;
        const char *why = NULL;

        if (conf_url_parse_http(str_of(http_bad[i]), &url, &why)) {
            fail_msg("accepted: %s", http_bad[i]);
        }
        assert_non_null(why);
    }
}

static void test_url_refuses_hosts_and_labels_that_are_too_long(void **state)
{
    char label[65];
    char whole[260];

    (void)state;
    memset(label, 'a', sizeof(label));
    assert_true(conf_host_is_good(str_make(label, 63)));
    assert_false(conf_host_is_good(str_make(label, 64)));
    for (size_t i = 0; i < sizeof(whole); i++) {
        whole[i] = i % 2 == 0 ? 'a' : '.';
    }
    assert_true(conf_host_is_good(str_make(whole, 253)));
    assert_false(conf_host_is_good(str_make(whole, 255)));
}

struct good_redis {
    const char *text;
    const char *user;
    const char *password;
    const char *after;
    uint16_t port;
    uint32_t database;
    bool tls;
};

static const struct good_redis redis_good[] = {
    {"redis://r", "", "", "r", 6379, 0, false},
    {"redis://r/", "", "", "r/", 6379, 0, false},
    {"rediss://r:1/15", "", "", "r:1/15", 1, 15, true},
    {"redis://:p@r", "", "p", "r", 6379, 0, false},
    {"redis://u:p:q@[::1]:2/3", "u", "p:q", "[::1]:2/3", 2, 3, false},
};

static const char *const redis_bad[] = {
    "",
    "r",
    "http://r",
    "redis:/r",
    "redis://",
    "redis:///0",
    "redis://@",
    "redis://u@r",
    "redis://u:@r",
    "redis://:p@",
    "redis://r/x",
    "redis://r/1/2",
    "redis://r/-1",
    "redis://r/65536",
    "redis://r:0",
    "redis://a@b:c@r",
    "redis://r?db=1",
};

static void test_url_accepts_redis_with_and_without_secrets(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(redis_good); i++) {
        const struct good_redis *good = &redis_good[i];
        struct conf_url url;
        const char *why = NULL;

        assert_true(conf_url_parse_redis(str_of(good->text), &url, &why));
        assert_true(str_eq(url.user, str_of(good->user)));
        assert_true(str_eq(url.password, str_of(good->password)));
        assert_true(str_eq(url.after_user_info, str_of(good->after)));
        assert_int_equal(url.port, good->port);
        assert_int_equal(url.database, good->database);
        assert_int_equal(url.tls, good->tls);
    }
}

static void test_url_refuses_every_other_redis_form_with_a_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(redis_bad); i++) {
        struct conf_url url;
        const char *why = NULL;

        if (conf_url_parse_redis(str_of(redis_bad[i]), &url, &why)) {
            fail_msg("accepted: %s", redis_bad[i]);
        }
        assert_non_null(why);
    }
}

static void test_url_decodes_percent_escapes(void **state)
{
    char text[16];
    size_t len = 0;

    (void)state;
    assert_true(conf_url_decode(STR_LIT("a%40%3a%7Eb"), text, &len));
    assert_string_equal(text, "a@:~b");
    assert_int_equal(len, 5);
    assert_false(conf_url_decode(STR_LIT("a%4"), text, &len));
    assert_false(conf_url_decode(STR_LIT("a%"), text, &len));
    assert_false(conf_url_decode(STR_LIT("%g0"), text, &len));
    assert_false(conf_url_decode(STR_LIT("%00"), text, &len));
}

struct bind_case {
    const char *text;
    const char *address; /* NULL: refused */
};

static const struct bind_case binds[] = {
    {"0.0.0.0:8080", "0.0.0.0:8080"},
    {":8080", "0.0.0.0:8080"},
    {"[::]:8443", "[::]:8443"},
    {"127.0.0.1:0", "127.0.0.1:0"},
    {"", NULL},
    {"8080", NULL},
    {"127.0.0.1", NULL},
    {"127.0.0.1:", NULL},
    {"127.0.0.1:http", NULL},
    {"127.0.0.1:65536", NULL},
    {"localhost:80", NULL},
    {"*:80", NULL},
    {"::1:80", NULL},
    {"[]:80", NULL},
    {"[127.0.0.1]:80", NULL},
    {"[::1]80", NULL},
};

static void test_url_bind_is_an_address_and_a_port(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(binds); i++) {
        struct addr addr;
        struct addr expected;
        const char *why = NULL;
        bool wanted = binds[i].address != NULL;

        assert_int_equal(conf_bind_parse(str_of(binds[i].text), &addr, &why), wanted);
        assert_int_equal(why == NULL, wanted);
        assert_int_equal(wanted && addr_parse(str_of(binds[i].address), &expected) &&
                             addr_eq(&addr, &expected),
                         wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url_accepts_http_endpoints),
        cmocka_unit_test(test_url_refuses_every_other_http_form_with_a_reason),
        cmocka_unit_test(test_url_refuses_hosts_and_labels_that_are_too_long),
        cmocka_unit_test(test_url_accepts_redis_with_and_without_secrets),
        cmocka_unit_test(test_url_refuses_every_other_redis_form_with_a_reason),
        cmocka_unit_test(test_url_decodes_percent_escapes),
        cmocka_unit_test(test_url_bind_is_an_address_and_a_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
