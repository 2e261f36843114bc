/* SPDX-License-Identifier: MIT */
/* JSON as tests of cache/form write it: with ' for ", so that it can be read. Include behind
 * cmocka.h. */
#ifndef NEARSIDE_TESTS_UNIT_CACHE_FORM_TEXT_H
#define NEARSIDE_TESTS_UNIT_CACHE_FORM_TEXT_H

#include <nearside/cache/form.h>

#include <stdlib.h>

#include <jansson.h>

#define CHUNKS_MAX 12
#define DONE       "[DONE]"

static const struct form_wish with_usage = {.include_usage = true, .bytes_max = 1 << 20};
static const struct form_wish without_usage = {.include_usage = false, .bytes_max = 1 << 20};

/* ---- helpers ---- */

static inline void append_quoted(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        buf_append_char(out, *text == '\'' ? '"' : *text);
    }
}

static inline void append_chunks(struct buf *out, const char *const chunks[CHUNKS_MAX])
{
    for (unsigned i = 0; i < CHUNKS_MAX && chunks[i] != NULL; i++) {
        buf_append_str(out, STR_LIT("data: "));
        append_quoted(out, chunks[i]);
        buf_append_str(out, STR_LIT("\n\n"));
    }
}

static inline json_t *parse(struct str text)
{
    json_error_t error;
    json_t *value = json_loadb(text.ptr, text.len, JSON_ALLOW_NUL, &error);

    if (value == NULL) {
        print_message("not JSON (%s): %.*s\n", error.text, STR_FMT(text));
    }
    assert_non_null(value);
    return value;
}

static inline json_t *parse_quoted(const char *text)
{
    struct buf quoted;

    buf_init(&quoted);
    append_quoted(&quoted, text);
    json_t *value = parse(buf_str(&quoted));
    buf_done(&quoted);
    return value;
}

static inline void assert_same_json(const char *what, const json_t *got, const json_t *expected)
{
    if (!json_equal(got, expected)) {
        char *got_text = json_dumps(got, 0);
        char *expected_text = json_dumps(expected, 0);
        print_message("%s\n got      %s\n expected %s\n", what, got_text, expected_text);
        free(got_text);
        free(expected_text);
    }
    assert_true(json_equal(got, expected));
}

static inline void note(const char *what, bool is_good)
{
    if (!is_good) {
        print_message("row: %s\n", what);
    }
}

/* An empty list leaves no trace in a stream. */
static inline void drop_empty_lists(json_t *answer)
{
    static const char *const names[] = {"tool_calls", "annotations"};
    size_t index;
    json_t *choice;

    json_array_foreach(json_object_get(answer, "choices"), index, choice)
    {
        json_t *message = json_object_get(choice, "message");
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            json_t *list = json_object_get(message, names[i]);
            if (json_is_array(list) && json_array_size(list) == 0) {
                json_object_del(message, names[i]);
            }
        }
    }
}

static inline void assert_round_trip(const char *name, enum api api, struct str plain)
{
    struct buf events;
    struct buf back;

    buf_init(&events);
    buf_init(&back);
    enum form_result result = form_plain_to_stream(api, plain, &with_usage, &events);
    note(name, result == FORM_OK);
    assert_int_equal(result, FORM_OK);
    result = form_stream_to_plain(api, buf_str(&events), &with_usage, &back);
    note(name, result == FORM_OK);
    assert_int_equal(result, FORM_OK);

    json_t *expected = parse(plain);
    json_t *got = parse(buf_str(&back));
    drop_empty_lists(expected);
    assert_same_json(name, got, expected);
    json_decref(expected);
    json_decref(got);
    buf_done(&events);
    buf_done(&back);
}

#define PLAIN_CHAT(choice)                                                                         \
    "{'id':'c','object':'chat.completion','created':1,'model':'m','choices':[" choice "],"         \
    "'usage':{'prompt_tokens':1,'completion_tokens':1,'total_tokens':2}}"

#endif
