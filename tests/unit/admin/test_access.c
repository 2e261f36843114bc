/* SPDX-License-Identifier: MIT */
/* Who may change something: the token, the bind address, Origin and Host. */
#include "admin/access_private.h"

#include <nearside/base/attr.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BASIC "Basic c2VjcmV0"

static void test_a_token_matches_itself_alone(void **state)
{
    static const char *const others[] = {"",        "s",      "secre", "secret ",
                                         "secrets", "Secret", "secrez"};

    (void)state;
    assert_true(token_matches("secret", "secret"));
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_false(token_matches(others[i], "secret"));
    }
}

struct access_case {
    const char *what;
    struct access_facts facts;
    enum access_verdict verdict;
};

/* With a token whoever knows it may, from anywhere. */
static const struct access_case token_cases[] = {
    {"nothing sent", {"secret", true, NULL, NULL, NULL, "127.0.0.1"}, ACCESS_TOKEN_MISSING},
    {"another scheme", {"secret", true, BASIC, NULL, NULL, "127.0.0.1"}, ACCESS_TOKEN_MISSING},
    {"wrong", {"secret", true, "Bearer guess", NULL, NULL, "127.0.0.1"}, ACCESS_TOKEN_WRONG},
    {"empty", {"secret", true, "Bearer ", NULL, NULL, "127.0.0.1"}, ACCESS_TOKEN_WRONG},
    {"wrong, own header", {"secret", true, NULL, "guess", NULL, "127.0.0.1"}, ACCESS_TOKEN_WRONG},
    {"right", {"secret", true, "Bearer secret", NULL, NULL, "127.0.0.1"}, ACCESS_GRANTED},
    {"scheme in other case", {"secret", true, "bearer secret", NULL, NULL, "a"}, ACCESS_GRANTED},
    {"right, own header", {"secret", true, NULL, "secret", NULL, "127.0.0.1"}, ACCESS_GRANTED},
    {"another scheme beside it", {"secret", true, BASIC, "secret", NULL, "a"}, ACCESS_GRANTED},
    {"from outside", {"secret", false, "Bearer secret", NULL, NULL, "e.test"}, ACCESS_GRANTED},
    {"a page from elsewhere",
     {"secret", false, "Bearer secret", NULL, "http://evil.test", "edge.test"},
     ACCESS_OTHER_ORIGIN},
    {"the page itself",
     {"secret", false, "Bearer secret", NULL, "https://edge.test:9901", "edge.test:9901"},
     ACCESS_GRANTED},
};

/* Without one only this machine may, and no page of another origin. */
static const struct access_case open_cases[] = {
    {"loopback", {"", true, NULL, NULL, NULL, "127.0.0.1:9901"}, ACCESS_GRANTED},
    {"a token nobody asked for", {"", true, "Bearer x", NULL, NULL, "127.0.0.1"}, ACCESS_GRANTED},
    {"localhost", {"", true, NULL, NULL, NULL, "LocalHost:9901"}, ACCESS_GRANTED},
    {"IPv6", {"", true, NULL, NULL, NULL, "[::1]:9901"}, ACCESS_GRANTED},
    {"IPv6 without a port", {"", true, NULL, NULL, NULL, "[::1]"}, ACCESS_GRANTED},
    {"bound to all addresses", {"", false, NULL, NULL, NULL, "127.0.0.1"}, ACCESS_NOT_LOOPBACK},
    {"a name", {"", true, NULL, NULL, NULL, "rebound.test:9901"}, ACCESS_NAMED_HOST},
    {"a name like an address",
     {"", true, NULL, NULL, NULL, "127.0.0.1.evil.test"},
     ACCESS_NAMED_HOST},
    {"a name like localhost",
     {"", true, NULL, NULL, NULL, "localhost.evil.test"},
     ACCESS_NAMED_HOST},
    {"no Host", {"", true, NULL, NULL, NULL, NULL}, ACCESS_NAMED_HOST},
    {"an open bracket", {"", true, NULL, NULL, NULL, "[::1"}, ACCESS_NAMED_HOST},
    {"own page", {"", true, NULL, NULL, "http://127.0.0.1:9901", "127.0.0.1:9901"}, ACCESS_GRANTED},
    {"page of another port",
     {"", true, NULL, NULL, "http://localhost:3000", "localhost:9901"},
     ACCESS_OTHER_ORIGIN},
    {"page of another host",
     {"", true, NULL, NULL, "http://evil.test", "127.0.0.1:9901"},
     ACCESS_OTHER_ORIGIN},
    {"page without an origin",
     {"", true, NULL, NULL, "null", "127.0.0.1:9901"},
     ACCESS_OTHER_ORIGIN},
    {"rebound page",
     {"", true, NULL, NULL, "http://rebound.test:9901", "rebound.test:9901"},
     ACCESS_NAMED_HOST},
};

static void check(const struct access_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum access_verdict verdict = access_check(&cases[i].facts);

        if (verdict != cases[i].verdict) {
            fail_msg("%s: verdict %d, not %d", cases[i].what, (int)verdict, (int)cases[i].verdict);
        }
    }
}

static void test_with_a_token_set_the_token_decides(void **state)
{
    (void)state;
    check(token_cases, ARRAY_LEN(token_cases));
}

static void test_without_a_token_only_this_machine_and_no_foreign_page_may(void **state)
{
    (void)state;
    check(open_cases, ARRAY_LEN(open_cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_token_matches_itself_alone),
        cmocka_unit_test(test_with_a_token_set_the_token_decides),
        cmocka_unit_test(test_without_a_token_only_this_machine_and_no_foreign_page_may),
    };

    return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
