/* SPDX-License-Identifier: MIT */
/* Views: comparing, searching, cutting, numbers. */
#include <nearside/base/str.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_str_compares_without_case_only_in_ascii(void **state)
{
    (void)state;
    assert_true(str_eq_nocase(STR_LIT("Content-LENGTH"), STR_LIT("content-length")));
    assert_false(str_eq_nocase(STR_LIT("content-length"), STR_LIT("content_length")));
    assert_false(str_eq_nocase(STR_LIT("abc"), STR_LIT("ab")));
    /* '@' and '`' differ by the case bit but are no letters. */
    assert_false(str_eq_nocase(STR_LIT("@"), STR_LIT("`")));
    assert_false(str_eq_nocase(STR_LIT("\xc3\x84"), STR_LIT("\xc3\xa4")));
    assert_true(str_eq(str_make(NULL, 0), STR_EMPTY));
}

static void test_str_starts_and_ends(void **state)
{
    (void)state;
    assert_true(str_starts(STR_LIT("/v1/chat"), STR_LIT("/v1/")));
    assert_false(str_starts(STR_LIT("/v1"), STR_LIT("/v1/")));
    assert_true(str_starts(STR_LIT("x"), STR_EMPTY));
    assert_true(str_ends(STR_LIT("a.pem"), STR_LIT(".pem")));
    assert_false(str_ends(STR_LIT("pem"), STR_LIT(".pem")));
}

static void test_str_find_returns_the_length_when_there_is_none(void **state)
{
    (void)state;
    assert_int_equal(str_find(STR_LIT("data: [DONE]"), STR_LIT("[DONE]")), 6);
    assert_int_equal(str_find(STR_LIT("data: [DONE"), STR_LIT("[DONE]")), 11);
    assert_int_equal(str_find(STR_LIT("ab"), STR_LIT("abc")), 2);
    assert_int_equal(str_find(str_make(NULL, 0), STR_LIT("a")), 0);
    assert_int_equal(str_find_char(STR_LIT("a:b"), ':'), 1);
    assert_int_equal(str_find_char(STR_LIT("ab"), ':'), 2);
    assert_int_equal(str_find_char(str_make(NULL, 0), ':'), 0);
}

static void test_str_slice_clamps_to_the_view(void **state)
{
    (void)state;
    assert_true(str_eq(str_slice(STR_LIT("abcdef"), 2, 4), STR_LIT("cd")));
    assert_true(str_eq(str_slice(STR_LIT("abc"), 1, 99), STR_LIT("bc")));
    assert_int_equal(str_slice(STR_LIT("abc"), 7, 99).len, 0);
    assert_int_equal(str_slice(STR_LIT("abc"), 2, 1).len, 0);
}

static void test_str_trim_takes_blanks_off_both_ends(void **state)
{
    (void)state;
    assert_true(str_eq(str_trim(STR_LIT(" \ta b\t ")), STR_LIT("a b")));
    assert_int_equal(str_trim(STR_LIT(" \t ")).len, 0);
    assert_true(str_eq(str_trim(STR_LIT("\r\n")), STR_LIT("\r\n")));
}

static void test_str_next_item_skips_empty_items(void **state)
{
    (void)state;
    struct str rest = STR_LIT(" a, ,b ,,\tc,");
    struct str item = STR_EMPTY;

    assert_true(str_next_item(&rest, ',', &item));
    assert_true(str_eq(item, STR_LIT("a")));
    assert_true(str_next_item(&rest, ',', &item));
    assert_true(str_eq(item, STR_LIT("b")));
    assert_true(str_next_item(&rest, ',', &item));
    assert_true(str_eq(item, STR_LIT("c")));
    assert_false(str_next_item(&rest, ',', &item));
    assert_true(str_eq(item, STR_LIT("c")));
}

static const struct {
    struct str text;
    bool ok;
    uint64_t value;
} number_cases[] = {
    {STR_LIT("0"), true, 0},
    {STR_LIT("007"), true, 7},
    {STR_LIT("18446744073709551615"), true, UINT64_MAX},
    {STR_LIT("18446744073709551616"), false, 0},
    {STR_LIT("99999999999999999999999"), false, 0},
    {STR_LIT(""), false, 0},
    {STR_LIT("+1"), false, 0},
    {STR_LIT("-1"), false, 0},
    {STR_LIT(" 1"), false, 0},
    {STR_LIT("1 "), false, 0},
    {STR_LIT("1\0"), false, 0},
    {STR_LIT("0x1"), false, 0},
};

static void test_str_to_u64_takes_whole_decimal_numbers_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(number_cases); i++) {
        uint64_t value = 42;
        assert_int_equal(str_to_u64(number_cases[i].text, &value), number_cases[i].ok);
        assert_int_equal(value, number_cases[i].ok ? number_cases[i].value : 42);
    }
}

static void test_str_hex_is_lower_case(void **state)
{
    (void)state;
    char out[9];

    str_hex("\x00\x9f\xff\x10", 4, out);
    assert_string_equal(out, "009fff10");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str_compares_without_case_only_in_ascii),
        cmocka_unit_test(test_str_starts_and_ends),
        cmocka_unit_test(test_str_find_returns_the_length_when_there_is_none),
        cmocka_unit_test(test_str_slice_clamps_to_the_view),
        cmocka_unit_test(test_str_trim_takes_blanks_off_both_ends),
        cmocka_unit_test(test_str_next_item_skips_empty_items),
        cmocka_unit_test(test_str_to_u64_takes_whole_decimal_numbers_only),
        cmocka_unit_test(test_str_hex_is_lower_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
