/* SPDX-License-Identifier: MIT */
/* Addresses: what is accepted, what is refused, and the way back to text. */
#include <nearside/base/addr.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/un.h>

static const struct {
    struct str text;
    const char *formatted;
} good_cases[] = {
    {STR_LIT("10.0.0.1:80"), "10.0.0.1:80"},
    {STR_LIT("0.0.0.0:0"), "0.0.0.0:0"},
    {STR_LIT("255.255.255.255:65535"), "255.255.255.255:65535"},
    {STR_LIT("[::1]:8080"), "[::1]:8080"},
    {STR_LIT("[2001:DB8:0:0::1]:1"), "[2001:db8::1]:1"},
    {STR_LIT("[::ffff:10.0.0.1]:443"), "[::ffff:10.0.0.1]:443"},
    {STR_LIT("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
};

static const struct str bad_cases[] = {
    STR_LIT(""),
    STR_LIT(":"),
    STR_LIT(":80"),
    STR_LIT("10.0.0.1"),
    STR_LIT("10.0.0.1:"),
    STR_LIT("10.0.0.1:65536"),
    STR_LIT("10.0.0.1:000080"),
    STR_LIT("10.0.0.1:-1"),
    STR_LIT("10.0.0.1: 80"),
    STR_LIT("10.0.0.1:80 "),
    STR_LIT("10.0.0:80"),
    STR_LIT("10.0.0.256:80"),
    STR_LIT("10.0.0.01:80"),
    STR_LIT("0x0a.0.0.1:80"),
    STR_LIT("10.0.0.1\0:80"),
    STR_LIT("localhost:80"),
    STR_LIT("::1:80"),
    STR_LIT("[::1]"),
    STR_LIT("[::1]80"),
    STR_LIT("[::1"),
    STR_LIT("[]:80"),
    STR_LIT("[10.0.0.1]:80"),
    STR_LIT("[:::1]:80"),
    STR_LIT("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:80"),
};

static void test_addr_parse_takes_literals_with_a_port(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good_cases); i++) {
        struct addr addr;
        char text[ADDR_TEXT_LEN];

        assert_true(addr_parse(good_cases[i].text, &addr));
        assert_int_equal(addr_format(&addr, text), strlen(good_cases[i].formatted));
        assert_string_equal(text, good_cases[i].formatted);
    }
}

static void test_addr_parse_refuses_the_rest_and_leaves_the_result_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_cases); i++) {
        struct addr addr = {.len = 77};

        assert_false(addr_parse(bad_cases[i], &addr));
        assert_int_equal(addr.len, 77);
    }
}

static void test_addr_parse_ip_takes_brackets_round_v6_only(void **state)
{
    (void)state;
    struct addr addr;
    char text[ADDR_TEXT_LEN];

    assert_true(addr_parse_ip(STR_LIT("::1"), 9, &addr));
    assert_true(addr_parse_ip(STR_LIT("[::1]"), 9, &addr));
    assert_int_equal(addr_format_ip(&addr, text), 3);
    assert_string_equal(text, "::1");
    assert_int_equal(addr_port(&addr), 9);
    assert_false(addr_parse_ip(STR_LIT("[10.0.0.1]"), 9, &addr));
    assert_false(addr_parse_ip(STR_LIT("["), 9, &addr));
}

static void test_addr_eq_looks_at_family_address_and_port(void **state)
{
    (void)state;
    struct addr a;
    struct addr b;
    struct addr mapped;
    struct addr none = {0};

    assert_true(addr_parse(STR_LIT("10.0.0.1:80"), &a));
    assert_true(addr_parse(STR_LIT("10.0.0.1:81"), &b));
    assert_true(addr_parse(STR_LIT("[::ffff:10.0.0.1]:80"), &mapped));
    assert_false(addr_eq(&a, &b));
    addr_set_port(&b, 80);
    assert_true(addr_eq(&a, &b));
    assert_false(addr_eq(&a, &mapped));
    assert_false(addr_eq(&a, &none));
    assert_true(addr_eq(&none, &none));
}

static void test_addr_overlaps_where_one_listener_is_in_the_way_of_the_other(void **state)
{
    static const struct {
        const char *a;
        const char *b;
        bool overlaps;
    } cases[] = {
        {"10.0.0.1:80", "10.0.0.1:80", true},  {"10.0.0.1:80", "0.0.0.0:80", true},
        {"10.0.0.1:80", "10.0.0.2:80", false}, {"10.0.0.1:80", "0.0.0.0:81", false},
        {"0.0.0.0:80", "[::]:80", false},      {"[::1]:80", "[::]:80", true},
        {"[::1]:80", "[::2]:80", false},
    };
    struct addr none = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct addr a;
        struct addr b;

        assert_true(addr_parse(str_of(cases[i].a), &a));
        assert_true(addr_parse(str_of(cases[i].b), &b));
        assert_int_equal(addr_overlaps(&a, &b), cases[i].overlaps);
        assert_int_equal(addr_overlaps(&b, &a), cases[i].overlaps);
        assert_false(addr_overlaps(&a, &none));
    }
}

static void test_addr_from_sockaddr_takes_ip_of_full_length_only(void **state)
{
    (void)state;
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct addr v4;
    struct addr copy;

    assert_true(addr_parse(STR_LIT("10.0.0.1:80"), &v4));
    assert_true(addr_from_sockaddr(&v4.sa.any, sizeof(struct sockaddr_storage), &copy));
    assert_int_equal(copy.len, sizeof(struct sockaddr_in));
    assert_true(addr_eq(&v4, &copy));
    assert_false(addr_from_sockaddr(&v4.sa.any, sizeof(struct sockaddr_in) - 1, &copy));
    assert_false(addr_from_sockaddr(&v4.sa.any, 0, &copy));
    assert_false(addr_from_sockaddr((struct sockaddr *)(void *)&local, sizeof(local), &copy));
}

static const struct {
    struct str text;
    bool loopback;
} loopback_cases[] = {
    {STR_LIT("127.0.0.1:1"), true},
    {STR_LIT("127.255.0.9:1"), true},
    {STR_LIT("128.0.0.1:1"), false},
    {STR_LIT("0.0.0.0:1"), false},
    {STR_LIT("[::1]:1"), true},
    {STR_LIT("[::]:1"), false},
    {STR_LIT("[::ffff:127.0.0.1]:1"), true},
    {STR_LIT("[::ffff:10.0.0.1]:1"), false},
};

static void test_addr_is_loopback_knows_all_its_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(loopback_cases); i++) {
        struct addr addr;

        assert_true(addr_parse(loopback_cases[i].text, &addr));
        assert_int_equal(addr_is_loopback(&addr), loopback_cases[i].loopback);
    }
}

static void test_addr_without_an_address_formats_as_a_dash(void **state)
{
    (void)state;
    struct addr none = {0};
    char text[ADDR_TEXT_LEN];

    assert_int_equal(addr_format(&none, text), 1);
    assert_string_equal(text, "-");
    assert_int_equal(addr_port(&none), 0);
    assert_false(addr_is_loopback(&none));
}

static const struct {
    struct str block;
    struct str ip;
    bool inside;
} block_cases[] = {
    {STR_LIT("10.0.0.0/8"), STR_LIT("10.255.0.1"), true},
    {STR_LIT("10.0.0.0/8"), STR_LIT("11.0.0.1"), false},
    {STR_LIT("10.0.0.0/9"), STR_LIT("10.127.255.255"), true},
    {STR_LIT("10.0.0.0/9"), STR_LIT("10.128.0.0"), false},
    {STR_LIT("192.0.2.7"), STR_LIT("192.0.2.7"), true},
    {STR_LIT("192.0.2.7/32"), STR_LIT("192.0.2.6"), false},
    {STR_LIT("0.0.0.0/0"), STR_LIT("203.0.113.1"), true},
    {STR_LIT("0.0.0.0/0"), STR_LIT("2001:db8::1"), false},
    {STR_LIT("::/0"), STR_LIT("2001:db8::1"), true},
    {STR_LIT("10.0.0.0/8"), STR_LIT("::ffff:10.1.2.3"), true},
    {STR_LIT("::ffff:10.0.0.0/104"), STR_LIT("10.1.2.3"), true},
    {STR_LIT("2001:db8::/33"), STR_LIT("2001:db8:7fff::"), true},
    {STR_LIT("2001:db8::/33"), STR_LIT("2001:db8:8000::"), false},
    {STR_LIT("::1"), STR_LIT("::1"), true},
};

static void test_addr_block_holds_what_begins_with_its_prefix(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(block_cases); i++) {
        struct addr_block block;
        struct addr addr;

        assert_true(addr_block_parse(block_cases[i].block, &block));
        assert_true(addr_parse_ip(block_cases[i].ip, 80, &addr));
        assert_int_equal(addr_block_has(&block, &addr), block_cases[i].inside);
    }
}

static void test_addr_block_parse_refuses_slips(void **state)
{
    static const struct str slips[] = {
        STR_LIT(""),
        STR_LIT("/8"),
        STR_LIT("10.0.0.0/"),
        STR_LIT("10.0.0.0/33"),
        STR_LIT("10.0.0.1/8"),
        STR_LIT("10.0.0.0/-"),
        STR_LIT("10.0.0/8"),
        STR_LIT("::/129"),
        STR_LIT("::1/64"),
        STR_LIT("a"),
        STR_LIT("10.0.0.0/08x"),
        STR_LIT("10.0.0.0 /8"),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(slips); i++) {
        struct addr_block block;

        assert_false(addr_block_parse(slips[i], &block));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addr_parse_takes_literals_with_a_port),
        cmocka_unit_test(test_addr_parse_refuses_the_rest_and_leaves_the_result_alone),
        cmocka_unit_test(test_addr_parse_ip_takes_brackets_round_v6_only),
        cmocka_unit_test(test_addr_eq_looks_at_family_address_and_port),
        cmocka_unit_test(test_addr_overlaps_where_one_listener_is_in_the_way_of_the_other),
        cmocka_unit_test(test_addr_from_sockaddr_takes_ip_of_full_length_only),
        cmocka_unit_test(test_addr_is_loopback_knows_all_its_forms),
        cmocka_unit_test(test_addr_block_holds_what_begins_with_its_prefix),
        cmocka_unit_test(test_addr_block_parse_refuses_slips),
        cmocka_unit_test(test_addr_without_an_address_formats_as_a_dash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
