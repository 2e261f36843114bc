/* SPDX-License-Identifier: MIT */
/* Lines of Prometheus text: what they say, and what is none. */
#include <nearside/base/attr.h>
#include <nearside/obs/metric_parse.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "unit/http/guard_page.h"

#define LINE_MAX_BYTES 4096

static const struct {
    const char *line;
    enum metric_line kind;
    const char *name;
    const char *labels;
    double value;
} cases[] = {
    {"", METRIC_LINE_NOTHING, "", "", 0},
    {"  \t", METRIC_LINE_NOTHING, "", "", 0},
    {"\r", METRIC_LINE_NOTHING, "", "", 0},
    {"# HELP x what it is", METRIC_LINE_NOTHING, "", "", 0},
    {"#", METRIC_LINE_NOTHING, "", "", 0},
    {"# EOF", METRIC_LINE_NOTHING, "", "", 0},
    {"x 1", METRIC_LINE_SAMPLE, "x", "", 1},
    {"x 1\r", METRIC_LINE_SAMPLE, "x", "", 1},
    {"x\t1.5e3", METRIC_LINE_SAMPLE, "x", "", 1500},
    {"vllm:a_b9 3.0", METRIC_LINE_SAMPLE, "vllm:a_b9", "", 3},
    {"x{} 2", METRIC_LINE_SAMPLE, "x", "", 2},
    {"x{a=\"1\"} 2", METRIC_LINE_SAMPLE, "x", "a=\"1\"", 2},
    {"x{a=\"1\",} 2", METRIC_LINE_SAMPLE, "x", "a=\"1\",", 2},
    {"x { a = \"1\" , b=\"}\" } -1e-3 5", METRIC_LINE_SAMPLE, "x", " a = \"1\" , b=\"}\" ", -0.001},
    {"x{a=\"q\\\"}\\\\\"} 4 1700000000000", METRIC_LINE_SAMPLE, "x", "a=\"q\\\"}\\\\\"", 4},
    {"x 1 # {trace_id=\"9\"} 0.5", METRIC_LINE_SAMPLE, "x", "", 1},
    {"x +Inf", METRIC_LINE_SAMPLE, "x", "", INFINITY},
    {"x", METRIC_LINE_BAD, "", "", 0},
    {"x ", METRIC_LINE_BAD, "", "", 0},
    {"1x 2", METRIC_LINE_BAD, "", "", 0},
    {"x one", METRIC_LINE_BAD, "", "", 0},
    {"x 1 2 3", METRIC_LINE_BAD, "", "", 0},
    {"x 1 soon", METRIC_LINE_BAD, "", "", 0},
    {"x{a=1} 2", METRIC_LINE_BAD, "", "", 0},
    {"x{a=\"1\" 2", METRIC_LINE_BAD, "", "", 0},
    {"x{a=\"1} 2", METRIC_LINE_BAD, "", "", 0},
    {"x{a=\"1\\", METRIC_LINE_BAD, "", "", 0},
    {"x{a=\"1\"b=\"2\"} 3", METRIC_LINE_BAD, "", "", 0},
    {"x{,} 3", METRIC_LINE_BAD, "", "", 0},
    {"x{a:b=\"1\"} 3", METRIC_LINE_BAD, "", "", 0},
    {"<html>", METRIC_LINE_BAD, "", "", 0},
    {"{\"error\":\"no such path\"}", METRIC_LINE_BAD, "", "", 0},
    {"x 1111111111111111111111111111111111111111111111111111111111111111", METRIC_LINE_BAD, "", "",
     0},
};

static void test_a_line_says_what_it_says(void **state)
{
    struct guard_page page;

    (void)state;
    guard_page_init(&page, LINE_MAX_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct metric_sample sample = {.value = 0};
        struct str line = guard_page_put(&page, str_of(cases[i].line));

        assert_int_equal(metric_parse_line(line, &sample), cases[i].kind);
        assert_int_equal(sample.name.len, strlen(cases[i].name));
        assert_true(str_eq(sample.name, str_of(cases[i].name)));
        assert_true(str_eq(sample.labels, str_of(cases[i].labels)));
        assert_true(sample.value == cases[i].value);
    }
    guard_page_done(&page);
}

/* Whatever is missing at the end of a line, nothing behind it is read. */
static void test_a_line_may_be_cut_anywhere(void **state)
{
    struct guard_page page;

    (void)state;
    guard_page_init(&page, LINE_MAX_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t cut = 0; cut < strlen(cases[i].line); cut++) {
            struct metric_sample sample;
            struct str line = guard_page_put(&page, str_make(cases[i].line, cut));

            if (metric_parse_line(line, &sample) == METRIC_LINE_SAMPLE) {
                assert_true(sample.name.len > 0 && sample.name.len <= cut);
            }
        }
    }
    guard_page_done(&page);
}

static void test_a_number_that_is_none_is_told_as_such(void **state)
{
    struct metric_sample sample;

    (void)state;
    assert_int_equal(metric_parse_line(STR_LIT("x NaN"), &sample), METRIC_LINE_SAMPLE);
    assert_true(isnan(sample.value));
}

static void test_a_label_is_found_by_key_and_value(void **state)
{
    struct metric_sample sample;

    (void)state;
    assert_int_equal(
        metric_parse_line(STR_LIT("x{a=\"1\", type=\"waiting\",type2=\"w\"} 1"), &sample),
        METRIC_LINE_SAMPLE);
    assert_true(metric_sample_has(&sample, STR_LIT("type"), STR_LIT("waiting")));
    assert_true(metric_sample_has(&sample, STR_LIT("type2"), STR_LIT("w")));
    assert_false(metric_sample_has(&sample, STR_LIT("type"), STR_LIT("active")));
    assert_false(metric_sample_has(&sample, STR_LIT("typ"), STR_LIT("waiting")));
    assert_false(metric_sample_has(&sample, STR_LIT("b"), STR_LIT("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_says_what_it_says),
        cmocka_unit_test(test_a_line_may_be_cut_anywhere),
        cmocka_unit_test(test_a_number_that_is_none_is_told_as_such),
        cmocka_unit_test(test_a_label_is_found_by_key_and_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
