/* SPDX-License-Identifier: MIT */
/* What an answer to a probe says: one row, one answer. */
#include "health/probe_end_private.h"

#include <nearside/base/attr.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct health_case {
    unsigned status;
    const char *body;
    const char *match;
    enum probe_end want;
};

static void test_a_health_answer_is_judged_by_status_then_text(void **state)
{
    static const struct health_case cases[] = {
        {200, "", "", PROBE_END_OK},
        {299, "x", "", PROBE_END_OK},
        {300, "ready", "ready", PROBE_END_STATUS},
        {199, "", "", PROBE_END_STATUS},
        {200, "is ready now", "ready", PROBE_END_OK},
        {200, "ready", "ready", PROBE_END_OK},
        {200, "read", "ready", PROBE_END_MATCH},
        {200, "", "ready", PROBE_END_MATCH},
        {200, "READY", "ready", PROBE_END_MATCH},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct probe_answer answer = {.status = cases[i].status, .body = str_of(cases[i].body)};
        enum probe_end end = probe_judge_health(&answer, 200, 299, str_of(cases[i].match));

        if (end != cases[i].want) {
            fail_msg("case %zu: %s", i, probe_end_row(end)->word);
        }
    }
}

struct generate_case {
    unsigned status;
    bool is_event_stream;
    bool has_retry_after;
    const char *body;
    enum probe_end want;
};

#define TOKEN "data: {\"choices\":[{\"delta\":{\"content\":\"p\"}}]}\n\n"

static void test_a_generation_needs_a_token_to_be_good(void **state)
{
    static const struct generate_case cases[] = {
        {200, false, false, "{\"choices\":[{\"text\":\"p\"}]}", PROBE_END_OK},
        {201, false, false, " { \"id\" : 1, \"choices\" : [ {} ] } ", PROBE_END_OK},
        {200, false, false, "{\"content\":[{\"type\":\"text\"}]}", PROBE_END_OK},
        {200, false, false, "{\"output\":[{}]}", PROBE_END_OK},
        {200, false, false, "{\"choices\":[ ]}", PROBE_END_NO_TOKEN},
        {200, false, false, "{\"choices\":{}}", PROBE_END_NO_TOKEN},
        {200, false, false, "{\"error\":\"no\"}", PROBE_END_NO_TOKEN},
        {200, false, false, "{\"choices\":[{\"te", PROBE_END_NO_TOKEN},
        {200, false, false, "[]", PROBE_END_NO_TOKEN},
        {200, false, false, "ok", PROBE_END_NO_TOKEN},
        {200, false, false, "", PROBE_END_NO_TOKEN},
        {200, true, false, TOKEN, PROBE_END_OK},
        {200, true, false, "data: [DONE]\n\n", PROBE_END_OK},
        {200, true, false, ": ping\n\n", PROBE_END_NO_TOKEN},
        {200, true, false, "event: error\ndata: {\"error\":{}}\n\n", PROBE_END_NO_TOKEN},
        {200, true, false, "", PROBE_END_NO_TOKEN},
        {429, false, false, "", PROBE_END_DECLINED},
        {404, false, false, "", PROBE_END_DECLINED},
        {401, false, false, "", PROBE_END_DECLINED},
        {503, false, true, "", PROBE_END_DECLINED},
        {503, false, false, "", PROBE_END_STATUS},
        {500, false, true, "", PROBE_END_STATUS},
        {302, false, false, "", PROBE_END_STATUS},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct probe_answer answer = {.status = cases[i].status,
                                      .is_event_stream = cases[i].is_event_stream,
                                      .has_retry_after = cases[i].has_retry_after,
                                      .body = str_of(cases[i].body)};
        enum probe_end end = probe_judge_generate(&answer);

        if (end != cases[i].want) {
            fail_msg("case %zu: %s", i, probe_end_row(end)->word);
        }
    }
}

static void test_every_end_has_a_word_of_its_own_and_one_verdict(void **state)
{
    (void)state;
    for (unsigned a = 0; a < PROBE_END_COUNT; a++) {
        const struct probe_end_row *row = probe_end_row((enum probe_end)a);

        for (unsigned b = 0; b < a; b++) {
            assert_string_not_equal(row->word, probe_end_row((enum probe_end)b)->word);
        }
        assert_int_equal(row->verdict == PROBE_PASS, a == PROBE_END_OK);
        assert_int_equal(row->verdict == PROBE_REFUSED, a == PROBE_END_TCP_REFUSED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_health_answer_is_judged_by_status_then_text),
        cmocka_unit_test(test_a_generation_needs_a_token_to_be_good),
        cmocka_unit_test(test_every_end_has_a_word_of_its_own_and_one_verdict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
