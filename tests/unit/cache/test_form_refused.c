/* SPDX-License-Identifier: MIT */
/* Stored answers that may not be turned into their other form, and streams that are cut, foreign
 * or oddly framed. */
#include <nearside/cache/form.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "form_text.h"

static const char plain_with_call[] = PLAIN_CHAT(
    "{'index':0,'message':{'role':'assistant','content':'Let me see what the weather is like in "
    "the town that you have named','tool_calls':[{'id':'call_1','type':'function','function':{"
    "'name':'get','arguments':'{}'}}]},'finish_reason':'tool_calls'}");

/* ---- what may not be turned ---- */

struct refused_stream {
    const char *name;
    enum form_result result;
    const char *chunks[CHUNKS_MAX];
};

#define HEAD(choice)                                                                               \
    "{'id':'c','object':'chat.completion.chunk','created':1,'model':'m','choices':[" choice "]}"
#define HI  HEAD("{'index':0,'delta':{'role':'assistant','content':'Hi'},'finish_reason':null}")
#define END HEAD("{'index':0,'delta':{},'finish_reason':'stop'}")
#define USAGE                                                                                      \
    "{'id':'c','object':'chat.completion.chunk','created':1,'model':'m','choices':[],"             \
    "'usage':{'total_tokens':2}}"
#define DELTA(delta) HEAD("{'index':0,'delta':{" delta "},'finish_reason':null}")
#define CALL(call)   DELTA("'tool_calls':[{" call "}]")

static const struct refused_stream refused_streams[] = {
    {"no usage", FORM_INEXACT, {HI, END, DONE}},
    {"no [DONE]", FORM_INVALID, {HI, END, USAGE}},
    {"no finish_reason", FORM_INVALID, {HI, USAGE, DONE}},
    {"a choice missing",
     FORM_INVALID,
     {HEAD("{'index':1,'delta':{},'finish_reason':'stop'}"), USAGE, DONE}},
    {"no choices", FORM_INVALID, {USAGE, DONE}},
    {"nothing", FORM_INVALID, {NULL}},
    {"error member", FORM_INVALID, {HI, "{'error':{'message':'x'}}", END, USAGE, DONE}},
    {"error object", FORM_INVALID, {HI, "{'object':'error','message':'x'}", DONE}},
    {"not JSON", FORM_INVALID, {HI, "{'id'", END, USAGE, DONE}},
    {"not an object", FORM_INVALID, {HI, "['a']", END, USAGE, DONE}},
    {"an event behind [DONE]", FORM_INVALID, {HI, END, USAGE, DONE, HI}},
    {"text behind the end", FORM_INVALID, {END, HI, USAGE, DONE}},
    {"two ends",
     FORM_INVALID,
     {HI, END, HEAD("{'index':0,'delta':{},'finish_reason':'length'}"), USAGE, DONE}},
    {"usage of the first of two choices",
     FORM_INEXACT,
     {HI, HEAD("{'index':1,'delta':{'content':'a'},'finish_reason':'stop'}"),
      "{'id':'c','object':'chat.completion.chunk','created':1,'model':'m','choices':[{'index':0,"
      "'delta':{},'finish_reason':'stop'}],'usage':{'total_tokens':2}}",
      DONE}},
    {"usage that is not the last", FORM_INEXACT, {HI, USAGE, END, DONE}},
    {"another model on the way",
     FORM_INEXACT,
     {HI,
      "{'id':'c','object':'chat.completion.chunk','created':1,'model':'n','choices':[{'index':0,"
      "'delta':{},'finish_reason':'stop'}]}",
      USAGE, DONE}},
    {"another object", FORM_INEXACT, {"{'object':'text_completion','choices':[]}", DONE}},
    {"an unknown member", FORM_INEXACT, {HI, "{'choices':[],'citations':['x']}", DONE}},
    {"an unknown member of a choice",
     FORM_INEXACT,
     {HEAD("{'index':0,'delta':{},'content_filter_results':{}}"), END, USAGE, DONE}},
    {"audio", FORM_INEXACT, {HI, DELTA("'audio':{'id':'a'}"), END, USAGE, DONE}},
    {"annotations", FORM_INEXACT, {HI, DELTA("'annotations':[{}]"), END, USAGE, DONE}},
    {"content in parts", FORM_INEXACT, {DELTA("'content':[{'type':'text'}]"), END, USAGE, DONE}},
    {"an integer past 64 bits",
     FORM_INEXACT,
     {HI, END, "{'choices':[],'usage':{'total_tokens':9223372036854775808}}", DONE}},
    {"a member twice", FORM_INEXACT, {HI, DELTA("'content':'a','content':'b'"), DONE}},
    {"a call without an index",
     FORM_INEXACT,
     {CALL("'id':'a','type':'function','function':{'name':'f','arguments':''}"), END, USAGE, DONE}},
    {"a call without an id",
     FORM_INEXACT,
     {CALL("'index':0,'type':'function','function':{'name':'f','arguments':''}"), END, USAGE,
      DONE}},
    {"two ids of one call",
     FORM_INEXACT,
     {CALL("'index':0,'id':'a','type':'function','function':{'name':'f','arguments':''}"),
      CALL("'index':0,'id':'b'"), END, USAGE, DONE}},
    {"a name said twice",
     FORM_INEXACT,
     {CALL("'index':0,'id':'a','type':'function','function':{'name':'f','arguments':''}"),
      CALL("'index':0,'function':{'name':'f'}"), END, USAGE, DONE}},
    {"the second call without the first",
     FORM_INEXACT,
     {CALL("'index':1,'id':'a','type':'function','function':{'name':'f','arguments':''}"), END,
      USAGE, DONE}},
    {"too many calls", FORM_INEXACT, {CALL("'index':128,'id':'a'"), END, USAGE, DONE}},
    {"too many choices",
     FORM_INEXACT,
     {HEAD("{'index':128,'delta':{},'finish_reason':'stop'}"), USAGE, DONE}},
    {"a custom tool",
     FORM_INEXACT,
     {CALL("'index':0,'id':'a','type':'custom','custom':{'name':'f','input':''}"), END, USAGE,
      DONE}},
    {"logprobs of an unknown kind",
     FORM_INEXACT,
     {HEAD("{'index':0,'delta':{},'logprobs':{'audio':[]},'finish_reason':'stop'}"), USAGE, DONE}},
};

static void test_streams_that_are_not_whole_or_not_known_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused_streams); i++) {
        const struct refused_stream *row = &refused_streams[i];
        struct buf events;
        struct buf plain;

        buf_init(&events);
        buf_init(&plain);
        append_chunks(&events, row->chunks);
        enum form_result result =
            form_stream_to_plain(API_CHAT, buf_str(&events), &without_usage, &plain);
        note(row->name, result == row->result);
        assert_int_equal(result, row->result);
        assert_int_equal(buf_len(&plain), 0);
        buf_done(&events);
        buf_done(&plain);
    }
}

struct refused_plain {
    const char *name;
    enum form_result result;
    const char *plain;
};

#define MESSAGE(members)                                                                           \
    PLAIN_CHAT("{'index':0,'message':{'role':'assistant'," members "},'finish_reason':'stop'}")

static const struct refused_plain refused_plains[] = {
    {"an error", FORM_INVALID, "{'error':{'message':'x'}}"},
    {"not JSON", FORM_INVALID, "{"},
    {"a list", FORM_INVALID, "[]"},
    {"no choices", FORM_INVALID, PLAIN_CHAT("")},
    {"no message", FORM_INVALID, PLAIN_CHAT("{'index':0,'finish_reason':'stop'}")},
    {"no end", FORM_INVALID,
     PLAIN_CHAT("{'index':0,'message':{'role':'assistant','content':'a'},'finish_reason':null}")},
    {"no usage", FORM_INEXACT,
     "{'object':'chat.completion','choices':[{'index':0,'message':{'role':'assistant',"
     "'content':'a'},'finish_reason':'stop'}]}"},
    {"a wrong index", FORM_INEXACT,
     PLAIN_CHAT("{'index':1,'message':{'role':'assistant','content':'a'},'finish_reason':'stop'}")},
    {"content in parts", FORM_INEXACT, MESSAGE("'content':[{'type':'text','text':'a'}]")},
    {"audio", FORM_INEXACT, MESSAGE("'content':null,'audio':{'id':'a'}")},
    {"annotations", FORM_INEXACT, MESSAGE("'content':'a','annotations':[{}]")},
    {"two reasonings", FORM_INEXACT, MESSAGE("'reasoning':'a','reasoning_content':'b'")},
    {"arguments as an object", FORM_INEXACT,
     MESSAGE("'tool_calls':[{'id':'a','type':'function','function':{'name':'f',"
             "'arguments':{}}}]")},
    {"an unknown member", FORM_INEXACT,
     "{'object':'chat.completion','citations':['a'],'usage':{},'choices':[{'index':0,'message':{"
     "'role':'assistant','content':'a'},'finish_reason':'stop'}]}"},
    {"OpenAI's metadata", FORM_INEXACT,
     "{'object':'chat.completion','metadata':{'a':'b'},'usage':{},'choices':[{'index':0,"
     "'message':{'role':'assistant','content':'a'},'finish_reason':'stop'}]}"},
    {"prompt logprobs", FORM_INEXACT,
     "{'object':'chat.completion','prompt_logprobs':[null],'usage':{},'choices':[{'index':0,"
     "'message':{'role':'assistant','content':'a'},'finish_reason':'stop'}]}"},
    {"a delta beside the message", FORM_INEXACT,
     PLAIN_CHAT("{'index':0,'message':{'role':'assistant','content':'a'},'delta':null,"
                "'finish_reason':'stop'}")},
    {"lists of unequal length", FORM_INEXACT,
     PLAIN_CHAT("{'index':0,'message':{'role':'assistant','content':'a'},'logprobs':{"
                "'tokens':['a'],'token_logprobs':[]},'finish_reason':'stop'}")},
};

static void test_plain_answers_that_are_not_whole_or_not_known_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused_plains); i++) {
        const struct refused_plain *row = &refused_plains[i];
        struct buf plain;
        struct buf events;

        buf_init(&plain);
        buf_init(&events);
        append_quoted(&plain, row->plain);
        enum form_result result =
            form_plain_to_stream(API_CHAT, buf_str(&plain), &with_usage, &events);
        note(row->name, result == row->result);
        assert_int_equal(result, row->result);
        assert_int_equal(buf_len(&events), 0);
        buf_done(&plain);
        buf_done(&events);
    }
}

static void test_other_apis_keep_their_form(void **state)
{
    static const enum api apis[] = {API_NONE, API_EMBEDDINGS, API_RESPONSES, API_MESSAGES};
    struct str embeddings = STR_LIT("{\"object\":\"list\",\"data\":[]}");
    struct buf out;

    (void)state;
    buf_init(&out);
    for (size_t i = 0; i < ARRAY_LEN(apis); i++) {
        assert_int_equal(form_plain_to_stream(apis[i], embeddings, &without_usage, &out),
                         FORM_INEXACT);
        assert_int_equal(form_stream_to_plain(apis[i], embeddings, &without_usage, &out),
                         FORM_INEXACT);
        assert_int_equal(form_stream_filter_usage(apis[i], embeddings, &without_usage, &out),
                         FORM_INEXACT);
    }
    buf_done(&out);
}

static void test_output_stays_within_its_bound(void **state)
{
    struct buf plain;
    struct buf events;
    struct buf out;

    (void)state;
    buf_init(&plain);
    buf_init(&events);
    buf_init(&out);
    append_quoted(&plain, plain_with_call);
    assert_int_equal(form_plain_to_stream(API_CHAT, buf_str(&plain), &with_usage, &events),
                     FORM_OK);
    size_t whole = buf_len(&events);
    for (size_t max = 0; max < whole; max += 7) {
        struct form_wish wish = {.include_usage = true, .bytes_max = max};
        assert_int_equal(form_plain_to_stream(API_CHAT, buf_str(&plain), &wish, &out),
                         FORM_INEXACT);
        assert_int_equal(buf_len(&out), 0);
    }
    struct form_wish tight = {.bytes_max = 20};
    assert_int_equal(form_stream_to_plain(API_CHAT, buf_str(&events), &tight, &out), FORM_INEXACT);
    assert_int_equal(form_stream_filter_usage(API_CHAT, buf_str(&events), &tight, &out),
                     FORM_INEXACT);
    assert_int_equal(buf_len(&out), 0);
    buf_done(&plain);
    buf_done(&events);
    buf_done(&out);
}

static void test_depth_and_number_of_values_are_bounded(void **state)
{
    struct buf plain;
    struct buf out;

    (void)state;
    buf_init(&plain);
    buf_init(&out);
    for (unsigned i = 0; i < 100000; i++) {
        buf_append_str(&plain, STR_LIT("{\"a\":"));
    }
    assert_int_equal(form_plain_to_stream(API_CHAT, buf_str(&plain), &without_usage, &out),
                     FORM_INEXACT);
    buf_clear(&plain);
    buf_append_str(&plain, STR_LIT("{\"a\":[0"));
    for (unsigned i = 0; i < FORM_NODES_MAX; i++) {
        buf_append_str(&plain, STR_LIT(",0"));
    }
    buf_append_str(&plain, STR_LIT("]}"));
    assert_int_equal(form_plain_to_stream(API_CHAT, buf_str(&plain), &without_usage, &out),
                     FORM_INEXACT);
    buf_done(&plain);
    buf_done(&out);
}

/* ---- event streams as bytes ---- */

struct bytes_case {
    const char *name;
    enum form_result result;
    const char *events;
};

#define ONE                                                                                        \
    "{'object':'text_completion','choices':[{'index':0,'text':'a','finish_reason':'stop'}],"       \
    "'usage':{}}"

static const struct bytes_case bytes_cases[] = {
    {"LF", FORM_OK, "data: " ONE "\n\ndata: [DONE]\n\n"},
    {"CR LF", FORM_OK, "data: " ONE "\r\n\r\ndata: [DONE]\r\n\r\n"},
    {"CR", FORM_OK, "data: " ONE "\r\rdata: [DONE]\r\r"},
    {"no space", FORM_OK, "data:" ONE "\n\ndata:[DONE]\n\n"},
    {"a byte order mark", FORM_OK,
     "\xEF\xBB\xBF"
     "data: " ONE "\n\ndata: [DONE]\n\n"},
    {"comments and other fields", FORM_OK,
     ": ping\n\nid: 7\nretry: 9\n: x\nevent: message\ndata: " ONE "\n\n\n: ping\n\n"
     "data: [DONE]\n\n: bye\n\n"},
    {"data in three lines", FORM_OK,
     "data: {'object':'text_completion',\ndata: 'choices':[{'index':0,'text':'a',\n"
     "data: 'finish_reason':'stop'}],'usage':{}}\n\ndata: [DONE]\n\n"},
    {"an end without a blank line", FORM_OK, "data: " ONE "\n\ndata: [DONE]"},
    {"an event named error", FORM_INVALID, "event: error\ndata: " ONE "\n\ndata: [DONE]\n\n"},
    {"a field named error", FORM_INVALID, "error: {}\n\ndata: " ONE "\n\ndata: [DONE]\n\n"},
    {"an event of another name", FORM_INEXACT, "event: x\ndata: " ONE "\n\ndata: [DONE]\n\n"},
    {"cut in its end", FORM_INVALID, "data: " ONE "\n\ndata: [DON"},
};

static void test_event_streams_are_read_as_the_standard_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bytes_cases); i++) {
        struct buf events;
        struct buf out;

        buf_init(&events);
        buf_init(&out);
        append_quoted(&events, bytes_cases[i].events);
        enum form_result result =
            form_stream_to_plain(API_COMPLETIONS, buf_str(&events), &without_usage, &out);
        note(bytes_cases[i].name, result == bytes_cases[i].result);
        assert_int_equal(result, bytes_cases[i].result);
        buf_done(&events);
        buf_done(&out);
    }
}

static void test_a_cut_stream_is_never_whole(void **state)
{
    static const char *const chunks[CHUNKS_MAX] = {HI, END, USAGE, DONE};
    struct buf events;
    struct buf out;

    (void)state;
    buf_init(&events);
    buf_init(&out);
    append_chunks(&events, chunks);
    for (size_t len = 0; len < buf_len(&events) - 2; len++) { /* "[DONE]" alone will do */
        struct str part = str_slice(buf_str(&events), 0, len);
        assert_int_equal(form_stream_to_plain(API_CHAT, part, &without_usage, &out), FORM_INVALID);
        assert_int_equal(form_stream_filter_usage(API_CHAT, part, &without_usage, &out),
                         FORM_INVALID);
    }
    buf_done(&events);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_that_are_not_whole_or_not_known_are_refused),
        cmocka_unit_test(test_plain_answers_that_are_not_whole_or_not_known_are_refused),
        cmocka_unit_test(test_other_apis_keep_their_form),
        cmocka_unit_test(test_output_stays_within_its_bound),
        cmocka_unit_test(test_depth_and_number_of_values_are_bounded),
        cmocka_unit_test(test_event_streams_are_read_as_the_standard_says),
        cmocka_unit_test(test_a_cut_stream_is_never_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
