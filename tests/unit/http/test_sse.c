/* SPDX-License-Identifier: MIT */
/* Event streams: lines and events in any split, and what each API's events mean. */
#include "unit/http/guard_page.h"

#include <nearside/http/sse.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define S(text)                                                                                    \
    {                                                                                              \
        "" text, sizeof(text) - 1                                                                  \
    }
#define BYTES_MAX 65536

/* ---- streams ---- */

struct stream_case {
    const char *rule;
    struct str bytes;
    uint64_t events;
    uint64_t content;
    bool done;
    bool finished;
    bool failed;
    bool boundary;
};

#define ROLE "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}"
#define TOKEN_OF(words)                                                                            \
    "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" words "\"},\"finish_reason\":null}]}"
#define TOKEN  TOKEN_OF("Hi")
#define FINISH "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}"
#define USAGE  "{\"choices\":[],\"usage\":{\"total_tokens\":7}}"

static const struct stream_case stream_cases[] = {
    {"nothing", S(""), .boundary = true},
    {"one event", S("data: " TOKEN "\n\n"), 1, 1, .boundary = true},
    {"CR LF", S("data: " TOKEN "\r\n\r\n"), 1, 1, .boundary = true},
    {"CR", S("data: " TOKEN "\r\r"), 1, 1, .boundary = true},
    {"all line ends mixed", S("data: " TOKEN "\r\n\ndata: " TOKEN "\r\rdata: " TOKEN "\n\r"), 3, 3,
     .boundary = true},
    {"no space after the colon", S("data:" TOKEN "\n\n"), 1, 1, .boundary = true},
    {"only one space is dropped", S("data:  [DONE]\n\n"), 1, .done = true, .boundary = true},
    {"several data lines are one text",
     S("data: {\"choices\":[{\"delta\":\ndata: {\"content\":\ndata:\"x\"}}]}\n\n"), 1, 1,
     .boundary = true},
    {"a byte order mark in front",
     S("\xef\xbb\xbf"
       "data: " TOKEN "\n\n"),
     1, 1, .boundary = true},
    {"half a byte order mark spoils the line",
     S("\xef\xbb"
       "data: x\n\n"),
     .boundary = true},
    {"comments are no events", S(": ping\n\n:\n\n"), .boundary = true},
    {"a comment between lines", S("data: " TOKEN "\n: ping\n\n"), 1, 1, .boundary = true},
    {"a comment leaves the boundary", S(": ping\n"), .boundary = true},
    {"inside a comment is no boundary", S(": pi"), .boundary = false},
    {"inside data is no boundary", S("data: " TOKEN), .boundary = false},
    {"after data is no boundary", S("data: " TOKEN "\n"), .boundary = false},
    {"after an id is no boundary", S("id: 4\n"), .boundary = false},
    {"no data, no event", S("event: message\nid: 1\nretry: 10\n\n"), .boundary = true},
    {"data without a colon is an empty text", S("data\n\n"), 1, .boundary = true},
    {"a name that only begins with data", S("database: " TOKEN "\n\n"), .boundary = true},
    {"a name that data begins with", S("dat: " TOKEN "\n\n"), .boundary = true},
    {"names are small letters", S("DATA: " TOKEN "\n\n"), .boundary = true},
    {"space before the name", S(" data: " TOKEN "\n\n"), .boundary = true},
    {"an event cut by the end does not count", S("data: " TOKEN "\n\ndata: " TOKEN "\n"), 1, 1,
     .boundary = false},
    {"a whole chat",
     S("data: " ROLE "\n\ndata: " TOKEN "\n\n: keep\n\ndata: " TOKEN "\n\ndata: " FINISH
       "\n\ndata: " USAGE "\n\ndata: [DONE]\n\n"),
     6, 2, .done = true, .finished = true, .boundary = true},
    {"a chat that stops half-way", S("data: " ROLE "\n\ndata: " TOKEN "\n\n"), 2, 1,
     .boundary = true},
    {"tokens that differ in words alone",
     S("data: " TOKEN
       "\n\ndata: " TOKEN_OF("Salt \\\"and\\\" \\n bread") "\n\ndata: " TOKEN_OF("\\\\") "\n\n"),
     3, 3, .boundary = true},
    {"a token without words after one with", S("data: " TOKEN "\n\ndata: " TOKEN_OF("") "\n\n"), 2,
     1, .boundary = true},
    {"begins and ends like a token but is more",
     S("data: " TOKEN "\n\ndata: " TOKEN_OF(
         "Hi\"},\"finish_reason\":\"stop\"},{\"delta\":{\"content\":\"x") "\n\n"),
     2, 2, .finished = true, .boundary = true},
    {"a string that goes on behind the token's end",
     S("data: " TOKEN "\n\ndata: " TOKEN_OF("Hi\\") "\n\n"), 2, 2, .boundary = true},
    {"a token with an error on its second line",
     S("data: " TOKEN "\n\ndata: " TOKEN "\ndata: {\"error\":{\"code\":1}}\n\n"), 2, 1,
     .failed = true, .boundary = true},
    {"a token that is named an error afterwards",
     S("data: " TOKEN "\n\ndata: " TOKEN "\nevent: error\n\n"), 2, 1, .failed = true,
     .boundary = true},
    {"a line's end among a token's words",
     S("data: " TOKEN "\n\ndata: " TOKEN_OF("Hi\nevent: error\nid: ") "\n\n"), 2, 1, .failed = true,
     .boundary = true},
    {"a token's second line that is no data after one where it is",
     S("data: {\"choices\":[\ndata: {\"delta\":{\"content\":\"Hi\"}}]}\n\n"
       "data: {\"choices\":[\n{\"delta\":{\"content\":\"Yo\"}}]}\n\n"),
     2, 1, .boundary = true},
    {"tokens whose lines end otherwise",
     S("data: " TOKEN
       "\n\ndata: " TOKEN_OF("a") "\r\n\r\ndata: " TOKEN_OF("b") "\r\rdata: " TOKEN_OF("c") "\n\n"),
     4, 4, .boundary = true},
    {"an empty event like a token's beginning", S("data: " TOKEN "\n\ndata:\n\n"), 2, 1,
     .boundary = true},
    {"an error in the stream",
     S("data: " TOKEN "\n\ndata: {\"error\":{\"message\":\"out of memory\"}}\n\n"), 2, 1,
     .failed = true, .boundary = true},
    {"an error event", S("event: error\ndata: {\"message\":\"x\"}\n\n"), 1, .failed = true,
     .boundary = true},
    {"the last event name counts", S("event: error\nevent: ping\ndata: {}\n\n"), 1,
     .boundary = true},
    {"an event name is for one event", S("event: error\n\ndata: " TOKEN "\n\n"), 1, 1,
     .boundary = true},
    {"an event name without a colon", S("event: error\nevent\ndata: " TOKEN "\n\n"), 1, 1,
     .boundary = true},
    {"Anthropic",
     S("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[],"
       "\"stop_reason\":null}}\n\n"
       "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"content_block\":{"
       "\"type\":\"text\",\"text\":\"\"}}\n\n"
       "event: ping\ndata: {\"type\": \"ping\"}\n\n"
       "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{"
       "\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n"
       "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
       "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
       "\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n"
       "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
     7, 1, .done = true, .finished = true, .boundary = true},
    {"Anthropic's error",
     S("event: error\ndata: {\"type\": \"error\", \"error\": {\"type\": "
       "\"overloaded_error\"}}\n\n"),
     1, .failed = true, .boundary = true},
    {"responses",
     S("event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null,"
       "\"reasoning\":{\"effort\":null},\"text\":{\"format\":{}}}}\n\n"
       "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","
       "\"delta\":\"Hi\"}\n\n"
       "event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"text\":"
       "\"Hi\"}\n\n"
       "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{}}\n\n"),
     4, 1, .done = true, .finished = true, .boundary = true},
    {"responses, a long event name",
     S("event: response.function_call_arguments.delta\ndata: {\"delta\":\"{\"}\n\n"), 1, 1,
     .boundary = true},
    {"responses, cut short by a limit", S("data: {\"type\":\"response.incomplete\"}\n\n"), 1,
     .done = true, .finished = true, .boundary = true},
    {"responses, failed", S("data: {\"type\":\"response.failed\",\"response\":{}}\n\n"), 1,
     .done = true, .failed = true, .boundary = true},
};

static void check_stream(const struct stream_case *row, const struct sse *sse)
{
    if (sse->events != row->events || sse->content_events != row->content) {
        print_error("%s: %d events, %d with content\n", row->rule, (int)sse->events,
                    (int)sse->content_events);
    }
    assert_int_equal(sse->events, row->events);
    assert_int_equal(sse->content_events, row->content);
    assert_int_equal(sse->done, row->done);
    assert_int_equal(sse->finished, row->finished);
    assert_int_equal(sse->failed, row->failed);
    if (sse->at_boundary != row->boundary) {
        print_error("%s: boundary %d\n", row->rule, sse->at_boundary);
    }
    assert_int_equal(sse->at_boundary, row->boundary);
}

static void test_streams_in_one_piece(void **state)
{
    struct guard_page page;
    struct sse sse;

    (void)state;
    guard_page_init(&page, BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(stream_cases); i++) {
        sse_init(&sse);
        sse_feed(&sse, guard_page_put(&page, stream_cases[i].bytes));
        check_stream(&stream_cases[i], &sse);
    }
    guard_page_done(&page);
}

static void test_streams_in_every_two_pieces(void **state)
{
    struct guard_page page;
    struct sse sse;

    (void)state;
    guard_page_init(&page, BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(stream_cases); i++) {
        const struct str bytes = stream_cases[i].bytes;

        for (size_t cut = 0; cut <= bytes.len; cut++) {
            sse_init(&sse);
            sse_feed(&sse, guard_page_put(&page, str_slice(bytes, 0, cut)));
            sse_feed(&sse, guard_page_put(&page, str_slice(bytes, cut, bytes.len)));
            check_stream(&stream_cases[i], &sse);
        }
    }
    guard_page_done(&page);
}

static void test_streams_byte_by_byte(void **state)
{
    struct guard_page page;
    struct sse sse;

    (void)state;
    guard_page_init(&page, BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(stream_cases); i++) {
        sse_init(&sse);
        for (size_t at = 0; at < stream_cases[i].bytes.len; at++) {
            sse_feed(&sse, guard_page_put(&page, str_slice(stream_cases[i].bytes, at, at + 1)));
        }
        check_stream(&stream_cases[i], &sse);
    }
    guard_page_done(&page);
}

/* ---- events ---- */

struct content_case {
    const char *rule;
    const char *name;
    const char *data;
    bool content;
};

static const struct content_case content_cases[] = {
    {"content", "", TOKEN, true},
    {"empty content", "", ROLE, false},
    {"role only", "", "{\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}", false},
    {"content null", "", "{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}",
     false},
    {"content behind other members", "",
     "{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"refusal\":null,\"content\":\"x\"}}]}",
     true},
    {"white space everywhere", "", "{ \"choices\" : [ { \"delta\" : { \"content\" : \"x\" } } ] }",
     true},
    {"white space is content", "", "{\"choices\":[{\"delta\":{\"content\":\" \"}}]}", true},
    {"an escape is content", "", "{\"choices\":[{\"delta\":{\"content\":\"\\n\"}}]}", true},
    {"content in parts", "",
     "{\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}}]}", true},
    {"no parts", "", "{\"choices\":[{\"delta\":{\"content\":[ ]}}]}", false},
    {"finish", "", FINISH, false},
    {"usage", "", USAGE, false},
    {"done", "", "[DONE]", false},
    {"reasoning_content", "", "{\"choices\":[{\"delta\":{\"reasoning_content\":\"x\"}}]}", true},
    {"reasoning_content beside null content", "",
     "{\"choices\":[{\"delta\":{\"content\":null,\"reasoning_content\":\"x\"}}]}", true},
    {"empty reasoning_content", "", "{\"choices\":[{\"delta\":{\"reasoning_content\":\"\"}}]}",
     false},
    {"reasoning", "", "{\"choices\":[{\"delta\":{\"reasoning\":\"x\"}}]}", true},
    {"tool_calls", "", "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\"}]}}]}",
     true},
    {"no tool_calls", "", "{\"choices\":[{\"delta\":{\"content\":\"\",\"tool_calls\":[]}}]}",
     false},
    {"refusal", "", "{\"choices\":[{\"delta\":{\"refusal\":\"no\"}}]}", true},
    {"function_call", "", "{\"choices\":[{\"delta\":{\"function_call\":{\"name\":\"f\"}}}]}", true},
    {"function_call null", "", "{\"choices\":[{\"delta\":{\"function_call\":null}}]}", false},
    {"audio", "", "{\"choices\":[{\"delta\":{\"audio\":{\"data\":\"AA\"}}}]}", true},
    {"completion", "", "{\"choices\":[{\"text\":\"x\",\"index\":0}]}", true},
    {"empty completion", "",
     "{\"choices\":[{\"text\":\"\",\"index\":0,\"finish_reason\":\"stop\"}]}", false},
    {"the word in a string", "", "{\"choices\":[{\"delta\":{\"role\":\"content\"}}]}", false},
    {"a member inside of a string", "",
     "{\"choices\":[{\"delta\":{\"role\":\"\\\"content\\\":\\\"x\\\"\"}}]}", false},
    {"an error", "", "{\"error\":{\"message\":\"x\",\"content\":\"x\"}}", false},
    {"error null", "", "{\"error\":null,\"choices\":[{\"delta\":{\"content\":\"x\"}}]}", true},
    {"an answer about errors", "",
     "{\"choices\":[{\"delta\":{\"content\":\"{\\\"error\\\":{}}\"}}]}", true},
    {"vLLM's error", "", "{\"object\":\"error\",\"message\":\"x\",\"text\":\"y\"}", false},
    {"Anthropic's piece", "content_block_delta", "{\"delta\":{\"text\":\"x\"}}", true},
    {"Anthropic's piece by its type", "",
     "{\"type\":\"content_block_delta\",\"delta\":{\"text\":\"x\"}}", true},
    {"Anthropic's start", "message_start", "{\"message\":{\"content\":[1]}}", false},
    {"Anthropic's heartbeat", "ping", "{\"type\":\"ping\"}", false},
    {"a piece of a response", "response.output_text.delta", "{}", true},
    {"a piece of a response by its type", "",
     "{\"type\":\"response.reasoning_summary_text.delta\",\"delta\":\"x\"}", true},
    {"a response's item", "response.output_item.added", "{\"item\":{\"content\":[1]}}", false},
    {"AI SDK's text", "", "{\"type\":\"text-delta\",\"delta\":\"x\"}", true},
    {"llama.cpp's own", "", "{\"index\":0,\"content\":\"x\",\"stop\":false}", true},
    {"TGI's own", "", "{\"token\":{\"id\":1,\"text\":\"x\"},\"generated_text\":null}", true},
    {"Gemini", "", "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]}}]}", true},
    {"no JSON", "", "hello", false},
    {"nothing", "", "", false},
    {"half a string", "", "{\"cont", false},
};

static void test_events_with_content_are_told_from_those_without(void **state)
{
    struct guard_page page;

    (void)state;
    guard_page_init(&page, BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(content_cases); i++) {
        const struct content_case *row = &content_cases[i];
        const bool content =
            sse_data_is_content(str_of(row->name), guard_page_put(&page, str_of(row->data)));

        if (content != row->content) {
            print_error("%s\n", row->rule);
        }
        assert_int_equal(content, row->content);
    }
    guard_page_done(&page);
}

/* ---- events longer than the peek ---- */

static void feed_long(struct sse *sse, const char *before, size_t filler, const char *after)
{
    sse_init(sse);
    sse_feed(sse, STR_LIT("data: "));
    sse_feed(sse, str_of(before));
    for (size_t i = 0; i < filler; i++) {
        sse_feed(sse, STR_LIT("x"));
    }
    sse_feed(sse, str_of(after));
    sse_feed(sse, STR_LIT("\n\n"));
    assert_int_equal(sse->events, 1);
}

static void test_long_events_count_by_their_beginning(void **state)
{
    struct sse sse;

    (void)state;
    feed_long(&sse, "{\"choices\":[{\"delta\":{\"content\":\"", 5000, "\"}}]}");
    assert_int_equal(sse.content_events, 1);
    feed_long(&sse, "{\"id\":\"", 5000, "\",\"choices\":[{\"delta\":{\"content\":\"x\"}}]}");
    assert_int_equal(sse.content_events, 1);
    feed_long(&sse, "{\"choices\":[],\"usage\":{\"x\":\"", 5000, "\"}}");
    assert_int_equal(sse.content_events, 0);
    feed_long(&sse, "{\"choices\":[{\"delta\":{\"content\":\"\"}}],\"x\":\"", 5000, "\"}");
    assert_int_equal(sse.content_events, 0);
    feed_long(&sse, "{\"type\":\"response.created\",\"response\":{\"x\":\"", 5000, "\"}}");
    assert_int_equal(sse.content_events, 0);
    feed_long(&sse, "{\"error\":{\"message\":\"", 5000, "\"}}");
    assert_int_equal(sse.content_events, 0);
    assert_true(sse.failed);
}

static void test_a_peek_that_ends_inside_anything_is_no_trouble(void **state)
{
    static const char text[] = "{\"a\":\"\\\"\",\"choices\":[{\"delta\":{\"content\":\"x\\n\"},"
                               "\"finish_reason\":\"stop\"}]}";
    struct sse sse;

    (void)state;
    for (size_t filler = SSE_PEEK_MAX - sizeof(text) - 20; filler <= SSE_PEEK_MAX; filler++) {
        feed_long(&sse, "{\"id\":\"", filler, "\",\"choices\":[{\"delta\":{\"content\":\"x\"}}]}");
        assert_int_equal(sse.content_events, 1);
        feed_long(&sse, "[\"", filler, text);
    }
}

static void test_an_endless_event_name_is_cut(void **state)
{
    struct sse sse;

    (void)state;
    sse_init(&sse);
    sse_feed(&sse, STR_LIT("event: "));
    for (unsigned i = 0; i < 1000; i++) {
        sse_feed(&sse, STR_LIT("error"));
    }
    sse_feed(&sse, STR_LIT("\ndata: " TOKEN "\n\n"));
    assert_int_equal(sse.content_events, 1);
    assert_false(sse.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_in_one_piece),
        cmocka_unit_test(test_streams_in_every_two_pieces),
        cmocka_unit_test(test_streams_byte_by_byte),
        cmocka_unit_test(test_events_with_content_are_told_from_those_without),
        cmocka_unit_test(test_long_events_count_by_their_beginning),
        cmocka_unit_test(test_a_peek_that_ends_inside_anything_is_no_trouble),
        cmocka_unit_test(test_an_endless_event_name_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
