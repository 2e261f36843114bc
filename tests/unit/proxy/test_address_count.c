/* SPDX-License-Identifier: MIT */
/* Connections by client address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <nearside/base/addr.h>

#include <pthread.h>

#include "proxy/address_count_private.h"

static struct addr address(const char *text)
{
    struct addr addr = {.len = 0};

    assert_true(addr_parse_ip(str_of(text), 1234, &addr));
    return addr;
}

static int set_up(void **state)
{
    *state = address_counts_new();
    return 0;
}

static int tear_down(void **state)
{
    address_counts_free(*state); /* asserts that nothing is left */
    return 0;
}

static void test_the_limit_holds_for_each_address_alone(void **state)
{
    struct addr a = address("10.0.0.1");
    struct addr b = address("10.0.0.2");

    assert_true(address_counts_take(*state, &a, 2));
    assert_true(address_counts_take(*state, &a, 2));
    assert_false(address_counts_take(*state, &a, 2));
    assert_true(address_counts_take(*state, &b, 2));
    address_counts_give(*state, &a);
    assert_true(address_counts_take(*state, &a, 2));
    address_counts_give(*state, &a);
    address_counts_give(*state, &a);
    address_counts_give(*state, &b);
}

static void test_the_port_does_not_make_another_client(void **state)
{
    struct addr a = address("10.0.0.1");
    struct addr again = address("10.0.0.1");

    addr_set_port(&again, 4321);
    assert_true(address_counts_take(*state, &a, 1));
    assert_false(address_counts_take(*state, &again, 1));
    address_counts_give(*state, &again);
}

/* `a` and `same` are one client, `other` is another. */
static void check_same(struct address_counts *counts, const char *a_text, const char *same_text,
                       const char *other_text)
{
    struct addr a = address(a_text);
    struct addr same = address(same_text);
    struct addr other = address(other_text);

    assert_true(address_counts_take(counts, &a, 1));
    assert_false(address_counts_take(counts, &same, 1));
    assert_true(address_counts_take(counts, &other, 1));
    address_counts_give(counts, &same);
    address_counts_give(counts, &other);
}

static void test_an_ipv6_network_counts_as_one(void **state)
{
    check_same(*state, "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1");
}

static void test_an_ipv4_address_in_ipv6_clothes_is_itself(void **state)
{
    check_same(*state, "192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2");
}

static void test_no_limit_still_counts(void **state)
{
    struct addr a = address("10.0.0.1");

    assert_true(address_counts_take(*state, &a, 0));
    assert_false(address_counts_take(*state, &a, 1));
    address_counts_give(*state, &a);
}

static void *take_and_give(void *arg)
{
    for (unsigned i = 0; i < 20000; i++) {
        struct addr addr = address(i % 2 == 0 ? "10.0.0.1" : "10.0.0.2");

        if (address_counts_take(arg, &addr, 3)) {
            address_counts_give(arg, &addr);
        }
    }
    return NULL;
}

static void test_threads_leave_no_count_behind(void **state)
{
    pthread_t threads[4];

    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, *state), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_the_limit_holds_for_each_address_alone),
        TEST(test_the_port_does_not_make_another_client),
        TEST(test_an_ipv6_network_counts_as_one),
        TEST(test_an_ipv4_address_in_ipv6_clothes_is_itself),
        TEST(test_no_limit_still_counts),
        TEST(test_threads_leave_no_count_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
