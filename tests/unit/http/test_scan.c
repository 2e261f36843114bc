/* SPDX-License-Identifier: MIT */
/* The inner loops, vector and word form, against a byte loop at every place and length. */
#include "http/scan_private.h"
#include "unit/http/guard_page.h"

#include <nearside/base/rng.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LEN_MAX 80

typedef const char *(*scan_fn)(const char *at, const char *end);
typedef bool (*stops_fn)(char c);

struct scan_case {
    const char *name;
    scan_fn scan;
    scan_fn by_word;
    stops_fn stops;
};

static const struct scan_case scan_cases[] = {
    {"plain", scan_plain, scan_plain_by_word, scan_stops_plain},
    {"value", scan_value, scan_value_by_word, scan_stops_value},
    {"target", scan_target, scan_target_by_word, scan_stops_target},
    {"line", scan_line, scan_line_by_word, scan_stops_line},
    {"text", scan_text, scan_text_by_word, scan_stops_text},
    {"quote", scan_quote, scan_quote_by_word, scan_stops_quote},
};

static const char *scan_slowly(stops_fn stops, const char *at, const char *end)
{
    while (at < end && !stops(*at)) {
        at++;
    }
    return at;
}

static void check(const struct scan_case *row, struct str text)
{
    const char *end = text.ptr + text.len;
    const char *expected = scan_slowly(row->stops, text.ptr, end);

    assert_ptr_equal(row->scan(text.ptr, end), expected);
    assert_ptr_equal(row->by_word(text.ptr, end), expected);
}

static void check_copy(struct str text)
{
    static const char guard[8] = "########";
    char to[LEN_MAX + sizeof(guard)];
    const char *end = text.ptr + text.len;

    memcpy(to + text.len, guard, sizeof(guard));
    assert_int_equal(scan_copy(to, text.ptr, text.len),
                     scan_slowly(scan_stops_value, text.ptr, end) == end);
    assert_memory_equal(to, text.ptr, text.len);
    assert_memory_equal(to + text.len, guard, sizeof(guard));
}

/* Each byte value once at each place of lines of every length. */
static void test_scans_stop_at_the_first_byte_that_matters(void **state)
{
    struct guard_page page;
    char line[LEN_MAX];

    (void)state;
    guard_page_init(&page, LEN_MAX);
    for (size_t i = 0; i < ARRAY_LEN(scan_cases); i++) {
        for (size_t len = 0; len <= 40; len++) {
            memset(line, 'a', sizeof(line));
            check(&scan_cases[i], guard_page_put(&page, str_make(line, len)));
            for (size_t place = 0; place < len; place++) {
                for (unsigned byte = 0; byte < 256; byte++) {
                    line[place] = (char)byte;
                    check(&scan_cases[i], guard_page_put(&page, str_make(line, len)));
                }
                line[place] = 'a';
            }
        }
    }
    guard_page_done(&page);
}

static void test_copies_are_true_and_tell_of_each_byte_no_value_may_hold(void **state)
{
    struct guard_page page;
    char line[LEN_MAX];

    (void)state;
    guard_page_init(&page, LEN_MAX);
    for (size_t i = 0; i < LEN_MAX; i++) {
        line[i] = (char)('a' + i % 26);
    }
    for (size_t len = 0; len <= 50; len++) {
        check_copy(guard_page_put(&page, str_make(line, len)));
        for (size_t place = 0; place < len; place++) {
            const char kept = line[place];
            for (unsigned byte = 0; byte < 256; byte++) {
                line[place] = (char)byte;
                check_copy(guard_page_put(&page, str_make(line, len)));
            }
            line[place] = kept;
        }
    }
    guard_page_done(&page);
}

static void test_scans_agree_on_random_bytes(void **state)
{
    struct guard_page page;
    struct rng rng;
    char line[LEN_MAX];

    (void)state;
    guard_page_init(&page, LEN_MAX);
    rng_init_seed(&rng, 7);
    for (unsigned round = 0; round < 20000; round++) {
        const size_t len = rng_below(&rng, LEN_MAX + 1);

        for (size_t i = 0; i < len; i++) {
            const uint64_t pick = rng_next(&rng);
            line[i] = (char)(pick % 8 == 0 ? pick >> 8 : 'a' + pick / 8 % 26);
        }
        for (size_t i = 0; i < ARRAY_LEN(scan_cases); i++) {
            check(&scan_cases[i], guard_page_put(&page, str_make(line, len)));
        }
    }
    guard_page_done(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scans_stop_at_the_first_byte_that_matters),
        cmocka_unit_test(test_copies_are_true_and_tell_of_each_byte_no_value_may_hold),
        cmocka_unit_test(test_scans_agree_on_random_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
