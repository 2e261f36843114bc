/* SPDX-License-Identifier: MIT */
/* Answers about a name, merged: small letters stand for IPv4 addresses, capitals for IPv6 ones, and
 * a digit at the end for a family whose question failed. */
#include "health/address_set_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct answers {
    const char *what;
    const char *answers; /* good ones, in order, separated by blanks */
    const char *want;    /* the set, in any order */
    bool want_changed;   /* by the last answer */
};

static const struct answers table[] = {
    {"first answer", "ab", "ab", true},
    {"the same again", "ab ab", "ab", false},
    {"in another order", "ab ba", "ab", false},
    {"one more", "ab abc", "abc", true},
    {"missing once stays", "ab a", "ab", false},
    {"missing twice goes", "ab a a", "a", true},
    {"missing, back, missing stays", "ab a ab a", "ab", false},
    {"replaced one by one", "a b b", "b", true},
    {"alternating answers add up", "ab cd ab cd", "abcd", false},
    {"a name that moved", "ab cd cd", "cd", true},
    {"a family that is gone goes", "aB a a", "a", true},
    {"a family that could not be asked for stays", "aB a6 a6 a6", "aB", false},
    {"so does the other", "aB B4 B4 B4", "aB", false},
    {"and counts on where it stood", "aB a a6 a6 a", "a", true},
    {"what is known of the other counts", "abC a6 a6", "aC", true},
};

static struct addr addr_of(char letter)
{
    struct addr addr;
    char text[32];
    bool is_v6 = letter >= 'A' && letter <= 'Z';
    int len = snprintf(text, sizeof(text), is_v6 ? "[fd00::%d]:0" : "10.0.0.%d:0", letter);

    ASSERT(addr_parse(str_make(text, (size_t)len), &addr));
    return addr;
}

static bool merge(struct address_set *set, struct str letters)
{
    struct addr addrs[16];
    char last = letters.ptr[letters.len - 1];
    int failed = last == '4' ? AF_INET : last == '6' ? AF_INET6 : 0;

    letters.len -= failed != 0;
    for (size_t i = 0; i < letters.len; i++) {
        addrs[i] = addr_of(letters.ptr[i]);
    }
    return address_set_merge(set, addrs, letters.len, failed);
}

static void test_answers_merge(void **state)
{
    struct address_set *set = mem_new(struct address_set);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct str rest = str_of(table[i].answers);
        struct str answer;
        bool changed = false;

        set->count = 0;
        while (str_next_item(&rest, ' ', &answer)) {
            changed = merge(set, answer);
        }
        if (changed != table[i].want_changed || set->count != strlen(table[i].want)) {
            fail_msg("%s: %zu addresses, changed %d", table[i].what, set->count, changed);
        }
        for (const char *letter = table[i].want; *letter != '\0'; letter++) {
            struct addr addr = addr_of(*letter);

            assert_true(address_set_has(set, &addr));
        }
    }
    mem_free(set);
}

static void test_the_set_is_bounded(void **state)
{
    struct address_set *set = mem_new(struct address_set);

    (void)state;
    for (unsigned i = 0; i < ADDRESS_SET_MAX + 10; i++) {
        struct addr addr;
        char text[32];
        int len = snprintf(text, sizeof(text), "10.0.%u.%u:0", i / 250, i % 250);

        assert_true(addr_parse(str_make(text, (size_t)len), &addr));
        memset(set->missing, 0, sizeof(set->missing));
        (void)address_set_merge(set, &addr, 1, 0);
    }
    assert_int_equal(set->count, ADDRESS_SET_MAX);
    mem_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_merge),
        cmocka_unit_test(test_the_set_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
