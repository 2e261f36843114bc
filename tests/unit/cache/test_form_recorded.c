/* SPDX-License-Identifier: MIT */
/*
 * Both forms of the answers in tests/corpus/answers: each must give the other, or be refused where
 * the corpus says that it cannot. integration/test_cache_recorded.py asks the same of the program,
 * with an assembler of its own.
 */
#include <nearside/cache/form.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "form_text.h"

#define FOLDER   "tests/corpus/answers/" /* tests run from the top of the tree */
#define FILE_MAX ((size_t)64 * 1024)

struct pair {
    const char *name;
    enum api api;
    bool to_plain; /* whether it can be exact, as below */
    bool to_stream;
    bool without_usage;
    bool has_stream;
    struct buf plain;
    struct buf stream;
};

typedef void (*pair_fn)(const struct pair *pair);

/* ---- the corpus ---- */

static bool read_file(const char *name, const char *ending, struct buf *out)
{
    char path[256];
    static char content[FILE_MAX];

    (void)snprintf(path, sizeof(path), FOLDER "%s%s", name, ending);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return false;
    }
    size_t len = fread(content, 1, sizeof(content), file);
    (void)fclose(file);
    assert_true(len > 0 && len < sizeof(content));
    buf_append_str(out, (struct str){content, len});
    return true;
}

static const char *member(const json_t *row, const char *name)
{
    const char *text = json_string_value(json_object_get(row, name));

    return text == NULL ? "" : text;
}

static void each_pair(pair_fn check)
{
    json_error_t error;
    json_t *rows = json_load_file(FOLDER "index.json", 0, &error);
    size_t index;
    const json_t *row;

    assert_true(json_array_size(rows) > 0);
    json_array_foreach(rows, index, row)
    {
        struct pair pair = {.name = member(row, "name"),
                            .api = api_of(HTTP_POST, str_of(member(row, "path"))),
                            .to_plain = strcmp(member(row, "stream_to_plain"), "exact") == 0,
                            .to_stream = strcmp(member(row, "plain_to_stream"), "exact") == 0,
                            .without_usage = strcmp(member(row, "without_usage"), "exact") == 0};
        buf_init(&pair.plain);
        buf_init(&pair.stream);
        assert_true(read_file(pair.name, ".json", &pair.plain));
        pair.has_stream = read_file(pair.name, ".sse", &pair.stream);
        check(&pair);
        buf_done(&pair.plain);
        buf_done(&pair.stream);
    }
    json_decref(rows);
}

/* ---- what the two forms do not both say: DIFFERENCES in integration/env/recorded.py ---- */

static void drop_nulls(json_t *value)
{
    const char *name;
    json_t *one;
    void *next;
    size_t index;

    json_object_foreach_safe(value, next, name, one)
    {
        if (json_is_null(one)) {
            (void)json_object_del(value, name);
        } else {
            drop_nulls(one);
        }
    }
    json_array_foreach(value, index, one)
    {
        drop_nulls(one);
    }
}

static void drop_call_indexes(json_t *message)
{
    size_t index;
    json_t *call;

    json_array_foreach(json_object_get(message, "tool_calls"), index, call)
    {
        (void)json_object_del(call, "index");
    }
}

static json_t *meaning(struct str text)
{
    json_t *answer = parse(text);
    size_t index;
    json_t *choice;

    (void)json_object_del(answer, "metadata");
    drop_nulls(answer);
    drop_empty_lists(answer);
    json_array_foreach(json_object_get(answer, "choices"), index, choice)
    {
        json_t *message = json_object_get(choice, "message");
        drop_call_indexes(message);
        if (message != NULL && json_object_get(message, "content") == NULL) {
            (void)json_object_set_new(message, "content", json_string(""));
        }
    }
    return answer;
}

static void assert_same_meaning(const char *name, const struct buf *got, const struct buf *expected)
{
    json_t *said = meaning(buf_str(got));
    json_t *wanted = meaning(buf_str(expected));

    assert_same_json(name, said, wanted);
    json_decref(said);
    json_decref(wanted);
}

static void assert_turned(const char *name, enum form_result result, bool is_exact,
                          const struct buf *out)
{
    note(name, (result == FORM_OK) == is_exact);
    assert_int_equal(result == FORM_OK, is_exact);
    assert_int_equal(buf_len(out) > 0, is_exact);
}

/* ---- the properties ---- */

static void check_to_plain(const struct pair *pair)
{
    struct buf plain;

    if (!pair->has_stream) {
        return;
    }
    buf_init(&plain);
    assert_turned(pair->name,
                  form_stream_to_plain(pair->api, buf_str(&pair->stream), &without_usage, &plain),
                  pair->to_plain, &plain);
    if (pair->to_plain) {
        assert_same_meaning(pair->name, &plain, &pair->plain);
    }
    buf_done(&plain);
}

static void test_a_stream_gives_the_plain_answer_or_nothing(void **state)
{
    (void)state;
    each_pair(check_to_plain);
}

static void check_to_stream(const struct pair *pair)
{
    struct buf events;
    struct buf back;

    buf_init(&events);
    buf_init(&back);
    assert_turned(pair->name,
                  form_plain_to_stream(pair->api, buf_str(&pair->plain), &with_usage, &events),
                  pair->to_stream, &events);
    if (pair->to_stream) {
        assert_int_equal(form_stream_to_plain(pair->api, buf_str(&events), &with_usage, &back),
                         FORM_OK);
        assert_same_meaning(pair->name, &back, &pair->plain);
    }
    buf_done(&events);
    buf_done(&back);
}

static void test_a_plain_answer_gives_a_stream_that_says_it_or_nothing(void **state)
{
    (void)state;
    each_pair(check_to_stream);
}

static void check_without_usage(const struct pair *pair)
{
    struct buf events;

    if (!pair->has_stream) {
        return;
    }
    buf_init(&events);
    enum form_result result =
        form_stream_filter_usage(pair->api, buf_str(&pair->stream), &without_usage, &events);
    assert_turned(pair->name, result, pair->without_usage, &events);
    buf_append_char(&events, '\0');
    assert_null(strstr(events.data, "\"usage\""));
    buf_done(&events);
}

static void test_usage_leaves_a_stream_without_a_trace(void **state)
{
    (void)state;
    each_pair(check_without_usage);
}

static void check_cuts(const struct pair *pair)
{
    struct str whole = buf_str(&pair->stream);
    struct buf out;

    for (size_t len = 0; pair->to_plain && len + 2 < whole.len; len++) { /* but the blank line */
        struct str cut = {whole.ptr, len};
        buf_init(&out);
        enum form_result result = form_stream_to_plain(pair->api, cut, &without_usage, &out);
        note(pair->name, result != FORM_OK);
        assert_int_not_equal(result, FORM_OK);
        buf_done(&out);
    }
}

static void test_no_stream_that_was_cut_gives_an_answer(void **state)
{
    (void)state;
    each_pair(check_cuts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stream_gives_the_plain_answer_or_nothing),
        cmocka_unit_test(test_a_plain_answer_gives_a_stream_that_says_it_or_nothing),
        cmocka_unit_test(test_usage_leaves_a_stream_without_a_trace),
        cmocka_unit_test(test_no_stream_that_was_cut_gives_an_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
