/* SPDX-License-Identifier: MIT */
/* Whom X-Forwarded-For names, which names are claims about the client, what in Via is a loop. */
#include <proxy/forwarded_private.h>

#include <nearside/conf/tree.h>
#include <nearside/http/h1.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

static const struct h1_limits limits = {.head_bytes = 8192, .uri_bytes = 512, .fields = 50};

/* The head of a request with these lines; valid until the next one. */
static const struct http_head *head_of(const char *lines)
{
    static char text[8192];
    static struct http_head head;
    size_t used;
    const int len = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);

    assert_int_equal(h1_parse_request(str_make(text, (size_t)len), &limits, &head, &used),
                     H1_COMPLETE);
    return &head;
}

static const struct {
    const char *peer;
    const char *lines;
    const char *client;
    bool trusted;
} client_cases[] = {
    {"192.0.2.1", "X-Forwarded-For: 203.0.113.9\r\n", "192.0.2.1", false},
    {"10.0.0.1", "", "10.0.0.1", true},
    {"10.0.0.1", "X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9", true},
    {"10.0.0.1", "X-Forwarded-For: 1.1.1.1, 203.0.113.9\r\n", "203.0.113.9", true},
    {"10.0.0.1", "X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.2.2.2\r\n", "203.0.113.9", true},
    {"10.0.0.1", "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 10.2.2.2\r\n", "203.0.113.9",
     true},
    {"10.0.0.1", "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 198.51.100.1\r\n",
     "198.51.100.1", true},
    {"10.0.0.1", "X-Forwarded-For: 10.3.3.3, 10.2.2.2\r\n", "10.3.3.3", true},
    {"10.0.0.1", "X-Forwarded-For: 203.0.113.9:4711\r\n", "203.0.113.9", true},
    {"10.0.0.1", "X-Forwarded-For: [2001:db8::1]:4711\r\n", "2001:db8::1", true},
    {"10.0.0.1", "X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1", true},
    {"10.0.0.1", "X-Forwarded-For: 203.0.113.9, unknown\r\n", "10.0.0.1", true},
    {"10.0.0.1", "X-Forwarded-For: 203.0.113.9,, ,10.2.2.2,\r\n", "203.0.113.9", true},
    {"10.0.0.1", "X-Forwarded-For: 203.0.113.9, 1.2.3.4.5, 10.2.2.2\r\n", "10.2.2.2", true},
    {"10.0.0.1", "X-Forwarded-For: ,\r\n", "10.0.0.1", true},
    {"10.0.0.1", "Connection: x-forwarded-for\r\nX-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9",
     true},
    {"::ffff:10.0.0.1", "X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9", true},
    {"fd00::7", "X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9", true},
    {"fd01::7", "X-Forwarded-For: 203.0.113.9\r\n", "fd01::7", false},
};

static void test_the_client_is_the_rightmost_address_that_is_no_proxy_of_ours(void **state)
{
    struct conf_block blocks[2];
    const struct conf_blocks trusted = {.items = blocks, .count = ARRAY_LEN(blocks)};

    (void)state;
    assert_true(addr_block_parse(STR_LIT("10.0.0.0/8"), &blocks[0].block));
    assert_true(addr_block_parse(STR_LIT("fd00::/16"), &blocks[1].block));
    for (size_t i = 0; i < ARRAY_LEN(client_cases); i++) {
        struct addr peer;
        struct addr client;
        char text[ADDR_TEXT_LEN];

        assert_true(addr_parse_ip(str_of(client_cases[i].peer), 99, &peer));
        assert_int_equal(forwarded_client(head_of(client_cases[i].lines), &peer, &trusted, &client),
                         client_cases[i].trusted);
        (void)addr_format_ip(&client, text);
        assert_string_equal(text, client_cases[i].client);
    }
}

static void test_claims_are_known_by_name_in_any_spelling(void **state)
{
    static const char *const claims[] = {
        "X-Forwarded-Port",
        "x_forwarded_for",
        "X-FORWARDED_Proto",
        "X-Real-IP",
        "x_real_ip",
        "True-Client-Ip",
        "Content_Length",
        "Transfer_Encoding",
        "X-Rewrite-URL",
        "X-Original-URL",
        "X-Forwarded",
        "X_Nearside_Regions",
        "CF-Connecting-IP",
        "X-Forwarded-Client-Cert-Chain-Of-Somebody",
        "x_forwarded_client_cert_chain_of_somebody",
    };
    static const char *const others[] = {"Accept",
                                         "X-Stainless-OS",
                                         "Cookie",
                                         "traceparent",
                                         "my_own",
                                         "X-Custom-Header",
                                         "Cache-Control",
                                         "x",
                                         "X-Somebody-Has-Forwarded-This-From-Afar"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        assert_false(forwarded_may_pass(str_of(claims[i]), false));
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_true(forwarded_may_pass(str_of(others[i]), false));
    }
}

static void test_a_trusted_peer_may_claim_but_not_disguise(void **state)
{
    (void)state;
    assert_true(forwarded_may_pass(STR_LIT("X-Real-IP"), true));
    assert_true(forwarded_may_pass(STR_LIT("X-Forwarded-Port"), true));
    assert_false(forwarded_may_pass(STR_LIT("X_Forwarded_For"), true));
    assert_false(forwarded_may_pass(STR_LIT("transfer_encoding"), true));
}

static void test_via_shows_a_loop_by_the_edges_own_id_or_too_many_of_us(void **state)
{
    char many[1024] = "Via: 1.1 nearside";

    (void)state;
    assert_false(forwarded_is_loop(head_of(""), "fra-1"));
    assert_false(forwarded_is_loop(head_of("Via: 1.1 nearside\r\n"), "fra-1"));
    assert_false(forwarded_is_loop(head_of("Via: 1.1 nearside (fra-2)\r\n"), "fra-1"));
    assert_false(forwarded_is_loop(head_of("Via: 1.1 fra-1, 1.1 vegur (fra-1)\r\n"), "fra-1"));
    assert_false(forwarded_is_loop(head_of("Via: 1.1 nearsider (fra-1)\r\n"), "fra-1"));
    assert_true(forwarded_is_loop(head_of("Via: 1.1 nearside (fra-1)\r\n"), "fra-1"));
    assert_true(forwarded_is_loop(head_of("Via: 1.0 x (a, b), 1.1 nearside(fra-1)\r\n"), "fra-1"));
    assert_true(
        forwarded_is_loop(head_of("Via: 1.1 x\r\nVia: HTTP/1.1 nearside (fra-1)\r\n"), "fra-1"));
    for (size_t i = 0; i < 16; i++) {
        (void)strcat(many, ", 1.1 nearside");
    }
    (void)strcat(many, "\r\n");
    assert_true(forwarded_is_loop(head_of(many), "fra-1"));
}

static void test_lists_are_extended_over_all_their_lines(void **state)
{
    const struct http_head *head = head_of("Via: 1.0 a\r\nX: y\r\nVia:\r\nVia: 1.1 b, 1.1 c\r\n");
    struct buf out;

    (void)state;
    buf_init(&out);
    forwarded_write_via(&out, head, "fra-1");
    assert_true(
        str_eq(buf_str(&out), STR_LIT("Via: 1.0 a, 1.1 b, 1.1 c, 1.1 nearside (fra-1)\r\n")));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_client_is_the_rightmost_address_that_is_no_proxy_of_ours),
        cmocka_unit_test(test_claims_are_known_by_name_in_any_spelling),
        cmocka_unit_test(test_a_trusted_peer_may_claim_but_not_disguise),
        cmocka_unit_test(test_via_shows_a_loop_by_the_edges_own_id_or_too_many_of_us),
        cmocka_unit_test(test_lists_are_extended_over_all_their_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
