/* SPDX-License-Identifier: MIT */
/* traceparent: what is one, what is none, and that writing gives back what was read. */
#include <nearside/http/trace_context.h>

#include "unit/http/guard_page.h"

#include <nearside/base/attr.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define TRACE     "0af7651916cd43dd8448eb211c80319c"
#define SPAN      "b7ad6b7169203331"
#define BYTES_MAX 128
#define GOOD      "00-" TRACE "-" SPAN "-01"

struct context_case {
    const char *value;
    bool good;
    bool sampled;
};

static const struct context_case cases[] = {
    {GOOD, true, true},
    {"00-" TRACE "-" SPAN "-00", true, false},
    {"00-" TRACE "-" SPAN "-02", true, false},
    {"00-" TRACE "-" SPAN "-ff", true, true},
    {"01-" TRACE "-" SPAN "-01", true, true},
    {"01-" TRACE "-" SPAN "-01-more", true, true},
    {"cc-" TRACE "-" SPAN "-01-", true, true},
    {"", false, false},
    {"-", false, false},
    {"ff-" TRACE "-" SPAN "-01", false, false},
    {"00-" TRACE "-" SPAN "-01-", false, false},
    {"00-" TRACE "-" SPAN "-01-more", false, false},
    {"01-" TRACE "-" SPAN "-01more", false, false},
    {"00-" TRACE "-" SPAN "-1", false, false},
    {"00-" TRACE "-" SPAN "-0g", false, false},
    {"0-" TRACE "-" SPAN "-01", false, false},
    {"0x-" TRACE "-" SPAN "-01", false, false},
    {" " GOOD, false, false},
    {GOOD " ", false, false},
    {"00_" TRACE "-" SPAN "-01", false, false},
    {"00-" TRACE "_" SPAN "-01", false, false},
    {"00-" TRACE "-" SPAN "_01", false, false},
    {"00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01", false, false},
    {"00-" TRACE "-B7AD6B7169203331-01", false, false},
    {"00-00000000000000000000000000000000-" SPAN "-01", false, false},
    {"00-" TRACE "-0000000000000000-01", false, false},
    {"00-0af7651916cd43dd8448eb211c80319-" SPAN "-01x", false, false},
    {"00-" TRACE "-b7ad6b716920333-0123", false, false},
};

static void test_a_context_is_read_strictly(void **state)
{
    struct guard_page page;

    (void)state;
    guard_page_init(&page, BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trace_context context;
        struct str input = guard_page_put(&page, str_of(cases[i].value));

        if (trace_context_parse(input, &context) != cases[i].good) {
            fail_msg("%s", cases[i].value);
        }
        if (cases[i].good) {
            assert_int_equal(context.sampled, cases[i].sampled);
            assert_int_equal(context.trace_id[0], 0x0a);
            assert_int_equal(context.span_id[7], 0x31);
        }
    }
    guard_page_done(&page);
}

static void test_no_cut_is_a_context(void **state)
{
    struct guard_page page;
    struct trace_context context;

    (void)state;
    guard_page_init(&page, BYTES_MAX);
    for (size_t cut = 0; cut < strlen(GOOD); cut++) {
        assert_false(trace_context_parse(guard_page_put(&page, str_make(GOOD, cut)), &context));
    }
    guard_page_done(&page);
}

static void test_what_is_written_is_what_was_read(void **state)
{
    struct trace_context context;
    char out[TRACE_CONTEXT_LEN + 1];

    (void)state;
    assert_true(trace_context_parse(STR_LIT("cc-" TRACE "-" SPAN "-03-future"), &context));
    trace_context_write(&context, out);
    assert_string_equal(out, GOOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_context_is_read_strictly),
        cmocka_unit_test(test_no_cut_is_a_context),
        cmocka_unit_test(test_what_is_written_is_what_was_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
