/* SPDX-License-Identifier: MIT */
/* Whose request it is: the configured header, else the credentials; in doubt, nobody's. */
#include <nearside/cache/tenant.h>
#include <nearside/http/h1.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define A "Authorization: Bearer a\r\n"
#define K "x-api-key: k\r\n"
#define T "X-Tenant: t\r\n"

struct tenant_case {
    const char *header;
    const char *fields;
    bool is_sure;
    const char *value;
    const char *told_by;
};

static const struct tenant_case cases[] = {
    /* the credentials */
    {"Authorization", "", true, "", ""},
    {"Authorization", A, true, "Bearer a", ""},
    {"authorization", A, true, "Bearer a", ""},
    {"Authorization", K, true, "k", ""},
    {"Authorization", "x-api-key:\r\n" A, true, "Bearer a", ""},
    {"Authorization", T, true, "", ""},
    {"Authorization", "Authorization:\r\n" K, true, "k", ""},
    /* a header of the operator's */
    {"X-Tenant", T, true, "t", "X-Tenant"},
    {"x-tenant", T, true, "t", "x-tenant"},
    {"X-Tenant", A T K, true, "t", "X-Tenant"},
    {"X-Tenant", A, true, "Bearer a", ""},
    {"X-Tenant", K, true, "k", ""},
    {"X-Tenant", "X-Tenant:\r\n" A, true, "Bearer a", ""},
    {"X-Tenant", "", true, "", ""},
    {"x-api-key", K A, true, "k", "x-api-key"},
    /* told twice */
    {"Authorization", A A, false, NULL, NULL},
    {"Authorization", A "authorization: Bearer b\r\n", false, NULL, NULL},
    {"Authorization", K K, false, NULL, NULL},
    {"Authorization", A K K, false, NULL, NULL},
    {"Authorization", K A, false, NULL, NULL},
    {"X-Tenant", K A, false, NULL, NULL},
    {"X-Tenant", T T, false, NULL, NULL},
    {"X-Tenant", "X-Tenant:\r\n" T, false, NULL, NULL},
    {"X-Tenant", T A A, true, "t", "X-Tenant"},
    {"X-Tenant", A A, false, NULL, NULL},
};

static void parse(const char *fields, struct http_head *ret_head)
{
    static const struct h1_limits limits = {.head_bytes = 4096, .uri_bytes = 64, .fields = 32};
    static char text[1024]; /* the head's views lie in it */
    size_t used;

    snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
    assert_int_equal(h1_parse_request(str_of(text), &limits, ret_head, &used), H1_COMPLETE);
}

static void assert_text(struct str text, const char *wanted)
{
    assert_int_equal(text.len, strlen(wanted));
    assert_memory_equal(text.len == 0 ? "" : text.ptr, wanted, text.len);
}

static void test_tenant_is_told_by_one_field_or_by_none(void **state)
{
    static struct http_head head;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cache_tenant tenant = {.value = STR_EMPTY};

        parse(cases[i].fields, &head);
        bool is_sure = cache_tenant_of(&head, str_of(cases[i].header), &tenant);
        if (is_sure != cases[i].is_sure) {
            print_message("row: %s with %s\n", cases[i].header, cases[i].fields);
        }
        assert_int_equal(is_sure, cases[i].is_sure);
        assert_text(tenant.value, cases[i].is_sure ? cases[i].value : "");
        assert_text(tenant.header, cases[i].is_sure ? cases[i].told_by : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tenant_is_told_by_one_field_or_by_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
