/* SPDX-License-Identifier: MIT */
/* Which URLs `nearside top --admin` takes, and what it makes of them. */
#include "top/fetch_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
    const char *url;
    const char *host; /* NULL: refused */
    const char *port;
    bool is_tls;
} cases[] = {
    {"http://127.0.0.1:9901", "127.0.0.1", "9901", false},
    {"http://edge-1.example.net:80/", "edge-1.example.net", "80", false},
    {"edge-1", "edge-1", "9901", false},
    {"http://[::1]:9901", "::1", "9901", false},
    {"[fd00::7]", "fd00::7", "9901", false},
    {"", NULL, NULL, false},
    {"http://", NULL, NULL, false},
    {"http://:80", NULL, NULL, false},
    {"http://a:", NULL, NULL, false},
    {"http://a:0", NULL, NULL, false},
    {"http://a:65536", NULL, NULL, false},
    {"http://a:http", NULL, NULL, false},
    {"http://a/status.json", NULL, NULL, false},
    {"http://[::1", NULL, NULL, false},
    {"http://[::1]9901", NULL, NULL, false},
    {"http://a b", NULL, NULL, false},
    {"https://a", "a", "9901", true},
    {"https://[::1]:443/", "::1", "443", true},
    {"https://", NULL, NULL, false},
    {"https://http://a", NULL, NULL, false},
    {"ftp://a", NULL, NULL, false},
};

static void test_urls_by_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fetch_target target;
        struct errbuf err;
        enum status status = fetch_parse_url(cases[i].url, &target, &err);

        if (cases[i].host == NULL) {
            if (status != STATUS_INVALID) {
                fail_msg("%s is taken", cases[i].url);
            }
            continue;
        }
        assert_int_equal(status, STATUS_OK);
        assert_string_equal(target.host, cases[i].host);
        assert_string_equal(target.port, cases[i].port);
        assert_int_equal(target.is_tls, cases[i].is_tls);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_urls_by_table)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
