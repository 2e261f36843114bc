/* SPDX-License-Identifier: MIT */
/*
 * Stored answers in their other form: chunks that look alike, usage cut out of a stream, generated
 * answers there and back again, and numbers.
 */
#include <nearside/base/rng.h>
#include <nearside/cache/form.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "form_text.h"

/* ---- chunks that repeat the one before but for a text ---- */

struct repeat_case {
    const char *name;
    enum api api;
    const char *chunks[CHUNKS_MAX];
    const char *text; /* of the first choice */
};

#define TEXT(text) "{'object':'text_completion','choices':[{'index':0,'text':'" text "'}]}"
#define TEXT_END                                                                                   \
    "{'object':'text_completion','choices':[{'index':0,'text':'','finish_reason':'stop'}],"        \
    "'usage':{}}"
#define TEXT_OF(index, text)                                                                       \
    "{'object':'text_completion','choices':[{'index':" index ",'text':'" text "'}]}"

static const struct repeat_case repeat_cases[] = {
    {"the same again", API_COMPLETIONS, {TEXT("a"), TEXT("a"), TEXT(""), TEXT_END, DONE}, "aa"},
    {"escapes",
     API_COMPLETIONS,
     {TEXT("a"), TEXT("\\n\\\\"), TEXT("\\'"), TEXT("\\u0041"), TEXT_END, DONE},
     "a\n\\\"A"},
    {"a pattern with escapes",
     API_COMPLETIONS,
     {TEXT("\\'b\\'"), TEXT("c"), TEXT_END, DONE},
     "\"b\"c"},
    {"two choices by turns",
     API_COMPLETIONS,
     {TEXT_OF("0", "a"), TEXT_OF("1", "x"), TEXT_OF("1", "y"), TEXT_OF("0", "b"), TEXT_OF("0", "c"),
      "{'object':'text_completion','choices':[{'index':1,'text':'',"
      "'finish_reason':'stop'}]}",
      "{'object':'text_completion','choices':[{'index':0,'text':'','finish_reason':'stop'}]}",
      "{'object':'text_completion','choices':[],'usage':{}}", DONE},
     "abc"},
    {"the name stands there as a text, too",
     API_COMPLETIONS,
     {"{'object':'text_completion','id':'text','choices':[{'index':0,'text':'a'}]}",
      "{'object':'text_completion','id':'text','choices':[{'index':0,'text':'b'}]}", TEXT_END,
      DONE},
     "ab"},
    {"the name stands there twice",
     API_COMPLETIONS,
     {"{'object':'text_completion','timings':{'text':'x'},'choices':[{'index':0,'text':'a'}]}",
      "{'object':'text_completion','timings':{'text':'y'},'choices':[{'index':0,'text':'a'}]}",
      TEXT_END, DONE},
     "aa"},
    {"a name in escapes",
     API_COMPLETIONS,
     {"{'object':'text_completion','timings':{'text':'x'},'choices':[{'index':0,"
      "'te\\u0078t':'a'}]}",
      "{'object':'text_completion','timings':{'text':'y'},'choices':[{'index':0,"
      "'te\\u0078t':'a'}]}",
      TEXT_END, DONE},
     "aa"},
    {"a name elsewhere only",
     API_COMPLETIONS,
     {"{'object':'text_completion','timings':{'text':'x'},'choices':[{'index':0}]}",
      "{'object':'text_completion','timings':{'text':'y'},'choices':[{'index':0}]}", TEXT_END,
      DONE},
     ""},
    {"more than a text between the same ends",
     API_COMPLETIONS,
     {TEXT("a"), TEXT("b','stop_reason':'x"), TEXT("c"), TEXT_END, DONE},
     "abc"},
};

static void test_chunks_that_look_alike_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(repeat_cases); i++) {
        const struct repeat_case *row = &repeat_cases[i];
        struct buf events;
        struct buf plain;

        buf_init(&events);
        buf_init(&plain);
        append_chunks(&events, row->chunks);
        enum form_result result =
            form_stream_to_plain(row->api, buf_str(&events), &without_usage, &plain);
        note(row->name, result == FORM_OK);
        assert_int_equal(result, FORM_OK);
        json_t *got = parse(buf_str(&plain));
        json_t *choice = json_array_get(json_object_get(got, "choices"), 0);
        const char *text = json_string_value(json_object_get(choice, "text"));
        note(row->name, strcmp(text, row->text) == 0);
        assert_string_equal(text, row->text);
        json_decref(got);
        buf_done(&events);
        buf_done(&plain);
    }
}

/* ---- usage filtered out ---- */

static void assert_filtered(const char *events, const char *expected)
{
    struct buf quoted;
    struct buf expected_quoted;
    struct buf out;

    buf_init(&quoted);
    buf_init(&expected_quoted);
    buf_init(&out);
    append_quoted(&quoted, events);
    append_quoted(&expected_quoted, expected);
    assert_int_equal(form_stream_filter_usage(API_CHAT, buf_str(&quoted), &without_usage, &out),
                     FORM_OK);
    buf_append_char(&out, '\0');
    buf_append_char(&expected_quoted, '\0');
    assert_string_equal(out.data, expected_quoted.data);
    buf_done(&quoted);
    buf_done(&expected_quoted);
    buf_done(&out);
}

static void test_the_filter_takes_usage_away_and_nothing_else(void **state)
{
    (void)state;
    assert_filtered(": ping\n\n"
                    "data:  {'choices':[{'index':0}],  'x':0.1,'usage':null}\r\n\r\n"
                    "data:  {'choices' : [ ] }\n\n"
                    "data: {'choices':[{'index':1}],'usage':{'total_tokens':1}}\n\n"
                    "data: {'choices':[],'usage':{'total_tokens':1}}\n\n"
                    "data: [DONE]\n\n",
                    ": ping\n\n"
                    "data:  {'choices':[{'index':0}],  'x':0.1}\n\n"
                    "data:  {'choices' : [ ] }\n\n"
                    "data: {'choices':[{'index':1}]}\n\n"
                    "data: [DONE]\n\n");
}

static void test_the_filter_takes_usage_out_of_any_place(void **state)
{
    (void)state;
    assert_filtered("data: {'usage':null,'choices':[{'index':0}]}\n\n"
                    "data: { 'usage' : {'a':[1,'}']} , 'choices' : [{'index':0}] }\n\n"
                    "data: {'choices':[{'delta':{'usage':1}}] , 'usage':null , 'x':1}\n\n"
                    "data: { 'usage':null }\n\n"
                    "data: {'choices':[ ],'usage':{}}\n\n"
                    "data: {'choices':[{}],\ndata: 'usage':null}\n\n"
                    "data: [DONE]\n\n",
                    "data: {'choices':[{'index':0}]}\n\n"
                    "data: { 'choices' : [{'index':0}] }\n\n"
                    "data: {'choices':[{'delta':{'usage':1}}] , 'x':1}\n\n"
                    "data: {  }\n\n"
                    "data: {'choices':[{}]}\n\n"
                    "data: [DONE]\n\n");
    assert_filtered("data: {'usage':null,\ndata: 'choices':\ndata: [{}]}\n\ndata: [DONE]\n\n",
                    "data: {'choices': [{}]}\n\ndata: [DONE]\n\n");
}

/* The second mark begins the name of a field; alone it would be a mark. */
static void test_the_filter_keeps_a_byte_order_mark(void **state)
{
    static const char events[] = "\xEF\xBB\xBF\xEF\xBB\xBF"
                                 "data: x\n\ndata: [DONE]\n\n";

    (void)state;
    assert_filtered(events, events);
}

static void test_the_filter_loses_no_timings(void **state)
{
    struct buf quoted;
    struct buf out;

    (void)state;
    buf_init(&quoted);
    buf_init(&out);
    append_quoted(&quoted, "data: {'choices':[],'usage':{},'timings':{'a':1}}\n\ndata: [DONE]\n\n");
    assert_int_equal(form_stream_filter_usage(API_CHAT, buf_str(&quoted), &without_usage, &out),
                     FORM_INEXACT);
    assert_int_equal(buf_len(&out), 0);
    buf_done(&quoted);
    buf_done(&out);
}

/* ---- generated answers ---- */

static json_t *random_text(struct rng *rng, size_t words_max)
{
    static const char *const words[] = {
        "a",      " ",  "word ",      "\n", "\xC3\xA9", "\xF0\x9F\x98\x80",
        "\"q\" ", "\\", "0123456789", "\t"};
    struct buf text;

    buf_init(&text);
    for (uint64_t count = rng_below(rng, words_max + 1); count > 0; count--) {
        buf_append_str(&text, str_of(words[rng_below(rng, ARRAY_LEN(words))]));
    }
    json_t *string = json_stringn(buf_str(&text).ptr, buf_len(&text));
    buf_done(&text);
    return string;
}

static json_t *random_calls(struct rng *rng)
{
    json_t *calls = json_array();

    for (uint64_t count = rng_below(rng, 4); count > 0; count--) {
        json_array_append_new(calls, json_pack("{s:s,s:s,s:{s:s,s:o}}", "id", "call", "type",
                                               "function", "function", "name", "f", "arguments",
                                               random_text(rng, 60)));
    }
    return calls;
}

/* Tokens that spell `text`, mostly; now and then one byte of it is another. */
static json_t *random_tokens(struct rng *rng, const json_t *text)
{
    json_t *tokens = json_array();
    const char *bytes = json_string_value(text);
    size_t len = json_string_length(text);

    for (size_t at = 0; at < len;) {
        size_t end = at + 1 + rng_below(rng, 20);
        end = end < len ? end : len;
        while (end < len && ((unsigned char)bytes[end] & 0xC0) == 0x80) {
            end++;
        }
        const char *from = rng_below(rng, 50) == 0 ? "\\xf0" : bytes + at;
        size_t token_len = from == bytes + at ? end - at : 4;
        json_array_append_new(tokens, json_pack("{s:s%,s:f}", "token", from, token_len, "logprob",
                                                -rng_unit(rng) * 20));
        at = end;
    }
    return tokens;
}

static json_t *random_choice(struct rng *rng, size_t index)
{
    json_t *message = json_pack("{s:s}", "role", "assistant");
    json_t *choice = json_pack("{s:I,s:o}", "index", (json_int_t)index, "message", message);
    json_t *calls = rng_below(rng, 3) == 0 ? random_calls(rng) : NULL;
    bool is_null = json_array_size(calls) > 0 && rng_below(rng, 2) == 0; /* beside calls alone */
    json_t *content = is_null ? json_null() : random_text(rng, 80);

    json_object_set_new(message, "content", content);
    if (rng_below(rng, 3) == 0) {
        json_object_set_new(message, "reasoning_content", random_text(rng, 80));
    }
    if (calls != NULL) {
        json_object_set_new(message, "tool_calls", calls);
    }
    if (rng_below(rng, 2) == 0) {
        json_t *tokens = json_is_string(content) ? random_tokens(rng, content) : json_array();
        json_object_set_new(choice, "logprobs",
                            json_pack("{s:o,s:n}", "content", tokens, "refusal"));
    }
    json_object_set_new(choice, "finish_reason", json_string("stop"));
    if (rng_below(rng, 2) == 0) {
        json_object_set_new(choice, "stop_reason", json_integer(7));
    }
    return choice;
}

static void random_answer(struct rng *rng, struct buf *out)
{
    json_t *choices = json_array();

    for (uint64_t count = 1 + rng_below(rng, 3); count > 0; count--) {
        json_array_append_new(choices, random_choice(rng, json_array_size(choices)));
    }
    json_t *answer =
        json_pack("{s:s,s:s,s:I,s:s,s:o,s:{s:I,s:f}}", "id", "chatcmpl-1", "object",
                  "chat.completion", "created", (json_int_t)1, "model", "m", "choices", choices,
                  "usage", "total_tokens", (json_int_t)3, "cost", rng_unit(rng));
    assert_non_null(answer);
    char *text = json_dumps(answer, JSON_REAL_PRECISION(17));
    buf_append_str(out, str_of(text));
    free(text);
    json_decref(answer);
}

static void test_generated_answers_come_back_as_the_same(void **state)
{
    struct rng rng;
    struct buf plain;

    (void)state;
    rng_init_seed(&rng, 20251123);
    buf_init(&plain);
    for (unsigned i = 0; i < 400; i++) {
        buf_clear(&plain);
        random_answer(&rng, &plain);
        assert_round_trip("generated", API_CHAT, buf_str(&plain));
    }
    buf_done(&plain);
}

static void test_filtering_is_the_same_as_not_asking_for_usage(void **state)
{
    struct rng rng;
    struct buf plain;
    struct buf with;
    struct buf without;
    struct buf filtered;

    (void)state;
    rng_init_seed(&rng, 4);
    buf_init(&plain);
    buf_init(&with);
    buf_init(&without);
    buf_init(&filtered);
    for (unsigned i = 0; i < 200; i++) {
        buf_clear(&plain);
        buf_clear(&with);
        buf_clear(&without);
        buf_clear(&filtered);
        random_answer(&rng, &plain);
        assert_int_equal(form_plain_to_stream(API_CHAT, buf_str(&plain), &with_usage, &with),
                         FORM_OK);
        assert_int_equal(form_plain_to_stream(API_CHAT, buf_str(&plain), &without_usage, &without),
                         FORM_OK);
        assert_int_equal(
            form_stream_filter_usage(API_CHAT, buf_str(&with), &without_usage, &filtered), FORM_OK);
        assert_true(str_eq(buf_str(&filtered), buf_str(&without)));
    }
    buf_done(&plain);
    buf_done(&with);
    buf_done(&without);
    buf_done(&filtered);
}

/* Reals in all shapes that 17 digits can have. */
static void test_numbers_read_back_as_the_same(void **state)
{
    static const char *const numbers[] = {
        "0.1",
        "-0.31725305700302124",
        "1e-05",
        "1.0",
        "-9999.0",
        "1e300",
        "5e-324",
        "123456789012345680.0",
        "-0.0",
        "0.30000000000000004",
        "9223372036854775807",
        "-9223372036854775808",
        "2.2250738585072014e-308",
        "1e22",
        "100000.0",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct buf events;
        struct buf plain;
        struct buf expected;

        buf_init(&events);
        buf_init(&plain);
        buf_init(&expected);
        buf_printf(&events,
                   "data: {\"object\":\"text_completion\",\"choices\":[{\"index\":0,\"text\":\"\","
                   "\"finish_reason\":\"stop\"}],\"usage\":{\"n\":%s}}\n\ndata: [DONE]\n\n",
                   numbers[i]);
        buf_printf(&expected,
                   "{\"object\":\"text_completion\",\"choices\":[{\"index\":0,\"text\":\"\","
                   "\"finish_reason\":\"stop\"}],\"usage\":{\"n\":%s}}",
                   numbers[i]);
        assert_int_equal(
            form_stream_to_plain(API_COMPLETIONS, buf_str(&events), &without_usage, &plain),
            FORM_OK);
        json_t *got = parse(buf_str(&plain));
        json_t *wanted = parse(buf_str(&expected));
        assert_same_json(numbers[i], got, wanted);
        json_decref(got);
        json_decref(wanted);
        buf_done(&events);
        buf_done(&plain);
        buf_done(&expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_that_look_alike_are_told_apart),
        cmocka_unit_test(test_the_filter_takes_usage_away_and_nothing_else),
        cmocka_unit_test(test_the_filter_takes_usage_out_of_any_place),
        cmocka_unit_test(test_the_filter_keeps_a_byte_order_mark),
        cmocka_unit_test(test_the_filter_loses_no_timings),
        cmocka_unit_test(test_generated_answers_come_back_as_the_same),
        cmocka_unit_test(test_filtering_is_the_same_as_not_asking_for_usage),
        cmocka_unit_test(test_numbers_read_back_as_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
