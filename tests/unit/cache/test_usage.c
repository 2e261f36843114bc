/* SPDX-License-Identifier: MIT */
/* The tokens an answer tells, by table: the words of each API, and what only looks like them. */
#include <nearside/base/mem.h>
#include <nearside/cache/usage.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct usage_case {
    const char *body;
    bool is_told;
    uint32_t prompt;
    uint32_t completion;
};

static const struct usage_case cases[] = {
    /* chat completions, plain and streamed */
    {"{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":12,\"total_tokens\":21}}", true, 9, 12},
    {"{\"usage\" : {\n  \"completion_tokens\" : 12 ,\n  \"prompt_tokens\" :9}}", true, 9, 12},
    {"{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":12,"
     "\"completion_tokens_details\":{\"reasoning_tokens\":4}},\"x\":1}",
     true, 9, 12},
    {"data: {\"choices\":[],\"usage\":null}\n\n"
     "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n"
     "data: [DONE]\n\n",
     true, 3, 4},
    /* embeddings */
    {"{\"data\":[],\"usage\":{\"prompt_tokens\":5,\"total_tokens\":5}}", true, 5, 0},
    /* messages: the prompt's first, the last of the others counts */
    {"data: {\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n"
     "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\n",
     true, 25, 15},
    /* responses */
    {"{\"usage\":{\"input_tokens\":36,\"input_tokens_details\":{\"cached_tokens\":0},"
     "\"output_tokens\":87,\"total_tokens\":123}}",
     true, 36, 87},
    /* none */
    {"", false, 0, 0},
    {"{}", false, 0, 0},
    {"{\"usage\":null}", false, 0, 0},
    {"{\"usage\":{}}", false, 0, 0},
    {"{\"usage\":[]}", false, 0, 0},
    {"{\"usage\":\"prompt_tokens\"}", false, 0, 0},
    {"{\"usage\":{\"prompt_tokens\":null}}", false, 0, 0},
    {"{\"usage\":{\"prompt_tokens\":-1}}", false, 0, 0},
    {"{\"usage\":{\"prompt_tokens\":\"9\"}}", false, 0, 0},
    {"{\"usage\":{\"prompt_tokens\":99999999999999999999999}}", false, 0, 0},
    {"{\"usage\":{\"prompt_tokens\":100000001}}", false, 0, 0},
    {"{\"prompt_tokens\":9}", false, 0, 0},
    {"{\"usage\":{\"prompt_tokens\":9", false, 0, 0},
    {"{\"usage\":", false, 0, 0},
    {"{\"usage\"", false, 0, 0},
    /* what is said is no member */
    {"{\"content\":\"\\\"usage\\\":{\\\"prompt_tokens\\\":9}\"}", false, 0, 0},
    {"{\"content\":\"usage\",\"x\":{\"prompt_tokens\":9}}", false, 0, 0},
};

static void test_usage_is_what_each_api_tells(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cache_usage usage = {.prompt_tokens = 0};
        bool is_told = cache_usage_find(str_of(cases[i].body), &usage);

        if (is_told != cases[i].is_told || usage.prompt_tokens != cases[i].prompt ||
            usage.completion_tokens != cases[i].completion) {
            print_message("row: %s\n", cases[i].body);
        }
        assert_int_equal(is_told, cases[i].is_told);
        assert_int_equal(usage.prompt_tokens, cases[i].prompt);
        assert_int_equal(usage.completion_tokens, cases[i].completion);
    }
}

#define LONG_BYTES 1000000

/* Put `text` at `at` of a long body of nothing. */
static bool is_found_at(size_t at, struct cache_usage *ret_usage)
{
    static const char text[] = "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}";
    char *body = mem_alloc(LONG_BYTES);
    bool is_found;

    memset(body, ' ', LONG_BYTES);
    memcpy(body + at, text, sizeof(text) - 1);
    is_found = cache_usage_find(str_make(body, LONG_BYTES), ret_usage);
    mem_free(body);
    return is_found;
}

static void test_usage_of_a_long_answer_is_looked_for_at_both_ends(void **state)
{
    struct cache_usage usage;

    (void)state;
    assert_true(is_found_at(0, &usage));
    assert_true(is_found_at(LONG_BYTES - 100, &usage));
    assert_true(is_found_at(LONG_BYTES - CACHE_USAGE_LAST_BYTES, &usage));
    assert_false(is_found_at(LONG_BYTES / 2, &usage));
}

/* Braces that never close, over and over: the work stays linear (this would take minutes). */
static void test_usage_of_a_hostile_answer_costs_little(void **state)
{
    static const char piece[] = "\"usage\":{";
    struct cache_usage usage;
    size_t len = CACHE_USAGE_LAST_BYTES;
    char *body = mem_alloc(len);

    (void)state;
    for (size_t i = 0; i < len; i++) {
        body[i] = piece[i % (sizeof(piece) - 1)];
    }
    for (unsigned i = 0; i < 1000; i++) {
        assert_false(cache_usage_find(str_make(body, len), &usage));
    }
    mem_free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage_is_what_each_api_tells),
        cmocka_unit_test(test_usage_of_a_long_answer_is_looked_for_at_both_ends),
        cmocka_unit_test(test_usage_of_a_hostile_answer_costs_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
