/* SPDX-License-Identifier: MIT */
/* The keys of session tickets turn over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <nearside/base/clock.h>

#include <string.h>

#include "net/tls_ticket_private.h"

#define TERM_NS (TICKET_KEY_S * NS_PER_S)
#define T0      (1000 * NS_PER_S)

static int set_up(void **state)
{
    *state = ticket_keys_new();
    return 0;
}

static int tear_down(void **state)
{
    ticket_keys_free(*state);
    return 0;
}

static struct ticket_key issue_at(struct ticket_keys *keys, uint64_t now_ns)
{
    struct ticket_key key;

    assert_true(ticket_keys_issue(keys, now_ns, &key));
    return key;
}

static enum ticket_find find_at(struct ticket_keys *keys, uint64_t now_ns,
                                const struct ticket_key *key)
{
    struct ticket_key found;
    enum ticket_find answer = ticket_keys_find(keys, now_ns, key->name, &found);

    if (answer != TICKET_UNKNOWN) {
        assert_memory_equal(&found, key, sizeof(found));
    }
    return answer;
}

static void test_a_key_issues_for_its_term(void **state)
{
    struct ticket_key first = issue_at(*state, T0);
    struct ticket_key same = issue_at(*state, T0 + TERM_NS - 1);
    struct ticket_key next = issue_at(*state, T0 + TERM_NS);

    assert_memory_equal(&first, &same, sizeof(first));
    assert_memory_not_equal(first.name, next.name, sizeof(first.name));
    assert_memory_not_equal(first.cipher, next.cipher, sizeof(first.cipher));
    assert_memory_not_equal(first.mac, next.mac, sizeof(first.mac));
}

static void test_an_old_key_is_accepted_for_one_more_term_and_renewed(void **state)
{
    struct ticket_key first = issue_at(*state, T0);

    assert_int_equal(find_at(*state, T0 + 1, &first), TICKET_CURRENT);
    (void)issue_at(*state, T0 + TERM_NS);
    assert_int_equal(find_at(*state, T0 + TERM_NS, &first), TICKET_OLD);
    assert_int_equal(find_at(*state, T0 + 2 * TERM_NS - 1, &first), TICKET_OLD);
    assert_int_equal(find_at(*state, T0 + 2 * TERM_NS, &first), TICKET_UNKNOWN);
}

static void test_a_key_ages_though_nobody_asks(void **state)
{
    struct ticket_key first = issue_at(*state, T0);

    assert_int_equal(find_at(*state, T0 + 2 * TERM_NS, &first), TICKET_UNKNOWN);
}

static void test_a_made_up_name_finds_nothing(void **state)
{
    struct ticket_key key = issue_at(*state, T0);

    key.name[0] ^= 1;
    assert_int_equal(find_at(*state, T0, &key), TICKET_UNKNOWN);
    memset(key.name, 0, sizeof(key.name));
    assert_int_equal(find_at(*state, T0, &key), TICKET_UNKNOWN);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_a_key_issues_for_its_term),
        TEST(test_an_old_key_is_accepted_for_one_more_term_and_renewed),
        TEST(test_a_key_ages_though_nobody_asks),
        TEST(test_a_made_up_name_finds_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
