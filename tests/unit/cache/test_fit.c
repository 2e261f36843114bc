/* SPDX-License-Identifier: MIT */
/* Entries for requests of every form: which are used as they are, which are turned, which are a
 * miss; and what becomes of their fields. How bodies are turned is test_form.c's. */
#include "cache/entry_private.h"

#include <nearside/base/mem.h>
#include <nearside/cache/fit.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "form_text.h"

#define JSON_TYPE   "Content-Type: application/json\r\n"
#define STREAM_TYPE "Content-Type: text/event-stream; charset=utf-8\r\n"
#define STORED_MS   1234567890123
#define TTL_MS      3600000
#define BYTES_MAX   65536

#define USAGE "'usage':{'prompt_tokens':1,'completion_tokens':1,'total_tokens':2}"

#define PLAIN_HEAD                                                                                 \
    "{'id':'c','object':'chat.completion','created':1,'model':'m','choices':[{'index':0,"          \
    "'message':{'role':'assistant','content':'hi'},'finish_reason':'stop'}]"
#define PLAIN PLAIN_HEAD "," USAGE "}"

#define CHUNK(choices, rest)                                                                       \
    "data: {'id':'c','object':'chat.completion.chunk','created':1,'model':'m','choices':[" choices \
    "]" rest "}\n\n"
#define SPEECH(usage)                                                                              \
    CHUNK("{'index':0,'delta':{'role':'assistant','content':'hi'},'finish_reason':null}", usage)   \
    CHUNK("{'index':0,'delta':{},'finish_reason':'stop'}", usage)
#define STREAM       SPEECH("") "data: [DONE]\n\n"
#define STREAM_USAGE SPEECH(",'usage':null") CHUNK("", "," USAGE) "data: [DONE]\n\n"

static struct cache_entry *entry_of(const char *fields, const char *body, unsigned flags)
{
    struct entry_build build;
    struct buf quoted;

    buf_init(&quoted);
    append_quoted(&quoted, body);
    entry_build_init(&build);
    assert_true(entry_build_reserve(&build, ENTRY_HEAD_BYTES + strlen(fields) + buf_len(&quoted)));
    entry_build_append(&build, str_of(fields));
    entry_build_end_fields(&build);
    entry_build_append(&build, buf_str(&quoted));
    buf_done(&quoted);
    struct cache_entry_facts facts = {
        .flags = (uint8_t)flags,
        .stored_wall_ms = STORED_MS,
        .ttl_ms = TTL_MS,
        .generation_ms = 7,
        .prompt_tokens = 8,
        .completion_tokens = 9,
    };
    return entry_build_take(&build, &facts);
}

static struct cache_entry *stored_in(enum cache_form form)
{
    switch (form) {
    case CACHE_FORM_STREAM:
        return entry_of(STREAM_TYPE, STREAM, CACHE_ENTRY_STREAM);
    case CACHE_FORM_STREAM_USAGE:
        return entry_of(STREAM_TYPE, STREAM_USAGE, CACHE_ENTRY_STREAM | CACHE_ENTRY_USAGE);
    default:
        return entry_of(JSON_TYPE, PLAIN, 0);
    }
}

static void assert_text(struct str got, const char *want)
{
    struct buf quoted;

    buf_init(&quoted);
    append_quoted(&quoted, want);
    if (!str_eq(got, buf_str(&quoted))) {
        print_message("got: %.*s\n", STR_FMT(got));
    }
    assert_true(str_eq(got, buf_str(&quoted)));
    buf_done(&quoted);
}

/* ---- which are used, and how ---- */

enum answer { AS_IT_IS, TURNED, MISS };

struct fit_case {
    enum cache_form wanted;
    enum cache_form stored;
    enum answer answer;
};

static const struct fit_case fit_cases[] = {
    {CACHE_FORM_PLAIN, CACHE_FORM_PLAIN, AS_IT_IS},
    {CACHE_FORM_PLAIN, CACHE_FORM_STREAM, MISS}, /* it does not tell its usage */
    {CACHE_FORM_PLAIN, CACHE_FORM_STREAM_USAGE, TURNED},
    {CACHE_FORM_STREAM, CACHE_FORM_PLAIN, TURNED},
    {CACHE_FORM_STREAM, CACHE_FORM_STREAM, AS_IT_IS},
    {CACHE_FORM_STREAM, CACHE_FORM_STREAM_USAGE, TURNED},
    {CACHE_FORM_STREAM_USAGE, CACHE_FORM_PLAIN, TURNED},
    {CACHE_FORM_STREAM_USAGE, CACHE_FORM_STREAM, MISS},
    {CACHE_FORM_STREAM_USAGE, CACHE_FORM_STREAM_USAGE, AS_IT_IS},
    {CACHE_FORM_FIXED, CACHE_FORM_PLAIN, AS_IT_IS},
    {CACHE_FORM_FIXED, CACHE_FORM_STREAM, AS_IT_IS},
    {CACHE_FORM_FIXED, CACHE_FORM_STREAM_USAGE, AS_IT_IS},
};

static enum answer answer_to(const struct fit_case *row, enum api api)
{
    struct cache_entry *entry = stored_in(row->stored);
    struct cache_entry *fitting =
        cache_entry_fit(cache_entry_ref(entry), api, row->wanted, BYTES_MAX);
    enum answer answer = fitting == NULL ? MISS : fitting == entry ? AS_IT_IS : TURNED;

    cache_entry_unref(fitting);
    cache_entry_unref(entry);
    return answer;
}

static void test_fit_uses_turns_or_refuses_an_entry_by_its_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fit_cases); i++) {
        enum answer answer = answer_to(&fit_cases[i], API_CHAT);
        if (answer != fit_cases[i].answer) {
            print_message("row %zu\n", i);
        }
        assert_int_equal(answer, fit_cases[i].answer);
    }
}

static void test_fit_turns_nothing_of_an_api_it_does_not_know(void **state)
{
    static const enum api apis[] = {API_EMBEDDINGS, API_RESPONSES, API_MESSAGES, API_NONE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fit_cases) * ARRAY_LEN(apis); i++) {
        const struct fit_case *row = &fit_cases[i / ARRAY_LEN(apis)];
        enum answer want = row->answer == AS_IT_IS ? AS_IT_IS : MISS;
        assert_int_equal(answer_to(row, apis[i % ARRAY_LEN(apis)]), want);
    }
}

/* ---- what a turned entry is ---- */

struct turn_case {
    enum cache_form wanted;
    enum cache_form stored;
    const char *fields;
    const char *body; /* NULL: not compared byte for byte */
};

static const struct turn_case turn_cases[] = {
    {CACHE_FORM_PLAIN, CACHE_FORM_STREAM_USAGE, JSON_TYPE, NULL},
    {CACHE_FORM_STREAM, CACHE_FORM_PLAIN, STREAM_TYPE, NULL},
    {CACHE_FORM_STREAM, CACHE_FORM_STREAM_USAGE, STREAM_TYPE, STREAM},
    {CACHE_FORM_STREAM_USAGE, CACHE_FORM_PLAIN, STREAM_TYPE, NULL},
};

/* It can be stored and read back; it says of itself what it is; its time goes on. */
static void test_fit_makes_an_entry_of_the_wanted_form_and_the_same_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(turn_cases); i++) {
        const struct turn_case *row = &turn_cases[i];
        struct cache_entry *turned =
            cache_entry_fit(stored_in(row->stored), API_CHAT, row->wanted, BYTES_MAX);
        struct cache_entry *copy = cache_entry_from_bytes(cache_entry_bytes(turned));

        assert_non_null(copy);
        assert_text(cache_entry_fields(copy), row->fields);
        assert_int_equal(cache_entry_is_stream(copy), row->wanted != CACHE_FORM_PLAIN);
        assert_int_equal(cache_entry_has_usage(copy), row->wanted == CACHE_FORM_STREAM_USAGE);
        assert_int_equal(cache_entry_stored_wall_ms(copy), STORED_MS);
        assert_int_equal(cache_entry_ttl_ms(copy), TTL_MS);
        if (row->body != NULL) {
            assert_text(cache_entry_body(copy), row->body);
        }
        /* What was turned needs no more turning. */
        assert_ptr_equal(cache_entry_fit(copy, API_CHAT, row->wanted, BYTES_MAX), copy);
        cache_entry_unref(copy);
        cache_entry_unref(turned);
    }
}

static void test_fit_gives_the_same_plain_answer_from_a_stream_as_was_split(void **state)
{
    struct cache_entry *entry = stored_in(CACHE_FORM_PLAIN);
    json_t *want = parse_quoted(PLAIN);

    (void)state;
    entry = cache_entry_fit(entry, API_CHAT, CACHE_FORM_STREAM_USAGE, BYTES_MAX);
    entry = cache_entry_fit(entry, API_CHAT, CACHE_FORM_PLAIN, BYTES_MAX);
    json_t *got = parse(cache_entry_body(entry));
    assert_same_json("there and back", got, want);
    json_decref(got);
    json_decref(want);
    cache_entry_unref(entry);
}

static void test_fit_keeps_the_fields_that_do_not_speak_of_the_bytes(void **state)
{
    struct cache_entry *entry = entry_of("Server: vllm\r\n"
                                         "content-type: application/json; charset=utf-8\r\n"
                                         "Date: Sun, 22 Nov 2026 10:20:30 GMT\r\n"
                                         "ETag: \"a\"\r\n"
                                         "Content-MD5: a\r\n"
                                         "Digest: sha-256=a\r\n"
                                         "Content-Digest: sha-256=:a:\r\n"
                                         "Repr-Digest: sha-256=:a:\r\n"
                                         "Accept-Ranges: bytes\r\n"
                                         "Content-Type: again\r\n"
                                         "Content-Language: en\r\n"
                                         "Access-Control-Allow-Origin: *\r\n",
                                         PLAIN, 0);

    (void)state;
    entry = cache_entry_fit(entry, API_CHAT, CACHE_FORM_STREAM, BYTES_MAX);
    assert_text(cache_entry_fields(entry), STREAM_TYPE "Server: vllm\r\n"
                                                       "Date: Sun, 22 Nov 2026 10:20:30 GMT\r\n"
                                                       "Content-Language: en\r\n"
                                                       "Access-Control-Allow-Origin: *\r\n");
    cache_entry_unref(entry);
}

/* ---- what is a miss ---- */

static void assert_miss(struct cache_entry *entry, enum cache_form wanted, size_t bytes_max)
{
    assert_null(cache_entry_fit(entry, API_CHAT, wanted, bytes_max));
}

static void test_fit_is_a_miss_where_turning_is_not_exact(void **state)
{
    static const unsigned both = CACHE_ENTRY_STREAM | CACHE_ENTRY_USAGE;

    (void)state;
    assert_miss(entry_of(JSON_TYPE, "not JSON", 0), CACHE_FORM_STREAM, BYTES_MAX);
    assert_miss(entry_of(JSON_TYPE, PLAIN_HEAD ",'odd':1," USAGE "}", 0), CACHE_FORM_STREAM,
                BYTES_MAX);
    assert_miss(entry_of(JSON_TYPE, PLAIN_HEAD "}", 0), CACHE_FORM_STREAM_USAGE, BYTES_MAX);
    assert_miss(entry_of(STREAM_TYPE, SPEECH(""), both), CACHE_FORM_PLAIN, BYTES_MAX);
    assert_miss(entry_of(STREAM_TYPE, STREAM, both), CACHE_FORM_PLAIN, BYTES_MAX);
}

/* Some servers tell usage unasked. */
static void test_fit_merges_a_stream_that_tells_its_usage_without_being_asked(void **state)
{
    struct cache_entry *entry = entry_of(STREAM_TYPE, STREAM_USAGE, CACHE_ENTRY_STREAM);

    (void)state;
    entry = cache_entry_fit(entry, API_CHAT, CACHE_FORM_PLAIN, BYTES_MAX);
    assert_non_null(entry);
    cache_entry_unref(entry);
}

static void test_fit_is_a_miss_where_the_turned_body_is_over_the_bound(void **state)
{
    struct cache_entry *entry = stored_in(CACHE_FORM_PLAIN);
    struct cache_entry *turned =
        cache_entry_fit(cache_entry_ref(entry), API_CHAT, CACHE_FORM_STREAM, BYTES_MAX);
    size_t len = cache_entry_body(turned).len;

    (void)state;
    cache_entry_unref(turned);
    assert_miss(cache_entry_ref(entry), CACHE_FORM_STREAM, len - 1);
    turned = cache_entry_fit(entry, API_CHAT, CACHE_FORM_STREAM, len);
    assert_non_null(turned);
    cache_entry_unref(turned);
}

/* A plain answer of so many bytes of text. */
static struct cache_entry *entry_of_text(size_t text_len)
{
    char *body = mem_alloc(text_len + 512);
    char *text = mem_alloc(text_len + 1);

    memset(text, 'a', text_len);
    text[text_len] = '\0';
    snprintf(body, text_len + 512,
             "{'object':'chat.completion','choices':[{'index':0,'message':{'role':'assistant',"
             "'content':'%s'},'finish_reason':'stop'}]}",
             text);
    struct cache_entry *entry = entry_of(JSON_TYPE, body, 0);
    mem_free(text);
    mem_free(body);
    return entry;
}

/* The work is done between two turns of a loop, whatever max_entry_bytes says. */
static void test_fit_turns_no_body_over_its_own_bound(void **state)
{
    struct cache_entry *entry = entry_of_text(200000);

    (void)state;
    entry = cache_entry_fit(entry, API_CHAT, CACHE_FORM_STREAM, SIZE_MAX);
    assert_non_null(entry);
    assert_true(cache_entry_body(entry).len <= CACHE_FIT_BYTES_MAX);
    cache_entry_unref(entry);
    assert_miss(entry_of_text(CACHE_FIT_BYTES_MAX - 1024), CACHE_FORM_STREAM, SIZE_MAX);
    assert_miss(entry_of_text(CACHE_FIT_BYTES_MAX), CACHE_FORM_STREAM, SIZE_MAX);
}

/* From Redis anything may come, also an answer that is a few times larger in its other form. */
static void test_fit_takes_a_body_of_its_own_bound_and_none_that_is_larger(void **state)
{
    struct buf body;

    (void)state;
    buf_init(&body);
    append_quoted(&body, SPEECH(",'usage':null"));
    while (buf_len(&body) < CACHE_FIT_BYTES_MAX) {
        buf_append_str(&body, STR_LIT(": ping\n\n"));
    }
    append_quoted(&body, CHUNK("", "," USAGE) "data: [DONE]\n\n");
    buf_append_char(&body, '\0');
    struct cache_entry *large = entry_of(STREAM_TYPE, buf_str(&body).ptr, CACHE_ENTRY_STREAM);
    assert_miss(large, CACHE_FORM_PLAIN, SIZE_MAX);
    buf_done(&body);
}

static void test_fit_is_a_miss_when_memory_is_refused(void **state)
{
    struct cache_entry *entry = stored_in(CACHE_FORM_STREAM_USAGE);

    (void)state;
    /* Only what is asked for with leave to refuse counts: the block of the new entry. */
    mem_try_fail_after(1);
    assert_miss(entry, CACHE_FORM_PLAIN, BYTES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fit_uses_turns_or_refuses_an_entry_by_its_form),
        cmocka_unit_test(test_fit_turns_nothing_of_an_api_it_does_not_know),
        cmocka_unit_test(test_fit_makes_an_entry_of_the_wanted_form_and_the_same_time),
        cmocka_unit_test(test_fit_gives_the_same_plain_answer_from_a_stream_as_was_split),
        cmocka_unit_test(test_fit_keeps_the_fields_that_do_not_speak_of_the_bytes),
        cmocka_unit_test(test_fit_is_a_miss_where_turning_is_not_exact),
        cmocka_unit_test(test_fit_merges_a_stream_that_tells_its_usage_without_being_asked),
        cmocka_unit_test(test_fit_is_a_miss_where_the_turned_body_is_over_the_bound),
        cmocka_unit_test(test_fit_turns_no_body_over_its_own_bound),
        cmocka_unit_test(test_fit_takes_a_body_of_its_own_bound_and_none_that_is_larger),
        cmocka_unit_test(test_fit_is_a_miss_when_memory_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
