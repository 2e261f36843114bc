/* SPDX-License-Identifier: MIT */
#include <nearside/base/rng.h>
#include <nearside/http/date.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

struct date_case {
    uint64_t seconds;
    const char *text;
};

static const struct date_case date_cases[] = {
    {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
    {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* RFC 9110 5.6.7 */
    {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
    {1795342830, "Sun, 22 Nov 2026 10:20:30 GMT"},
    {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"}, /* 2100 has no leap day */
    {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
};

static void test_dates_are_written_and_read_back(void **state)
{
    char out[HTTP_DATE_LEN];
    uint64_t wall_ms = 1;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(date_cases); i++) {
        http_date_format(date_cases[i].seconds * 1000 + 999, out);
        assert_string_equal(out, date_cases[i].text);
        assert_true(http_date_parse(str_of(date_cases[i].text), &wall_ms));
        assert_int_equal(wall_ms, date_cases[i].seconds * 1000);
    }
}

static void test_dates_agree_with_the_c_library(void **state)
{
    struct rng rng;

    (void)state;
    rng_init_seed(&rng, 3);
    for (unsigned i = 0; i < 20000; i++) {
        const time_t seconds = (time_t)rng_below(&rng, 253402300800ULL);
        char expected[64];
        char out[HTTP_DATE_LEN];
        struct tm parts;
        uint64_t wall_ms = 0;

        assert_non_null(gmtime_r(&seconds, &parts));
        assert_int_not_equal(
            strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &parts), 0);
        http_date_format((uint64_t)seconds * 1000, out);
        assert_string_equal(out, expected);
        assert_true(http_date_parse(str_of(out), &wall_ms));
        assert_int_equal(wall_ms, (uint64_t)seconds * 1000);
    }
}

static void test_a_date_past_the_last_year_is_written_as_its_end(void **state)
{
    char out[HTTP_DATE_LEN];

    (void)state;
    http_date_format(UINT64_MAX, out);
    assert_string_equal(out, "Fri, 31 Dec 9999 23:59:59 GMT");
}

static void test_what_is_no_fixdate_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Xxx, 06 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nox 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1999 08:49:37 GMT",
        "Sun, 29 Feb 2100 08:49:37 GMT",
        "Sun, 06 Nov 1969 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
    };
    uint64_t wall_ms = 77;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(http_date_parse(str_of(bad[i]), &wall_ms));
        assert_int_equal(wall_ms, 77);
    }
}

struct retry_case {
    const char *value;
    bool usable;
    uint64_t wait_ms;
};

static void test_retry_after_is_seconds_or_a_date_up_to_five_minutes(void **state)
{
    static const struct retry_case cases[] = {
        {"0", true, 0},
        {"2", true, 2000},
        {" 120 ", true, 120000},
        {"300", true, 300000},
        {"301", true, 300000},
        {"99999999999999999999999999", true, 300000},
        {"Sun, 06 Nov 1994 08:49:47 GMT", true, 10000},
        {"Sun, 06 Nov 1994 08:49:27 GMT", true, 0},
        {"Sun, 06 Nov 1995 08:49:37 GMT", true, 300000},
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {"1.5", false, 0},
        {"soon", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t wait_ms = 0;

        assert_int_equal(http_retry_after_ms(str_of(cases[i].value), 784111777000ULL, &wait_ms),
                         cases[i].usable);
        assert_int_equal(wait_ms, cases[i].wait_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dates_are_written_and_read_back),
        cmocka_unit_test(test_dates_agree_with_the_c_library),
        cmocka_unit_test(test_a_date_past_the_last_year_is_written_as_its_end),
        cmocka_unit_test(test_what_is_no_fixdate_is_refused),
        cmocka_unit_test(test_retry_after_is_seconds_or_a_date_up_to_five_minutes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
