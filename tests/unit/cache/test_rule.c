/* SPDX-License-Identifier: MIT */
/* What may be looked up, answered and stored, by table. */
#include <nearside/cache/rule.h>
#include <nearside/http/h1.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const struct h1_limits limits = {.head_bytes = 4096, .uri_bytes = 1024, .fields = 32};

/* A request's Cache-Control from the lines of its head. */
static struct cache_control control_of(const char *lines)
{
    char text[1024];
    struct http_head head;
    struct cache_control control;
    size_t used;
    int len = snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);

    assert_int_equal(h1_parse_request(str_make(text, (size_t)len), &limits, &head, &used),
                     H1_COMPLETE);
    cache_control_parse(&head, &control);
    return control;
}

/* The views in the head point into `text`. */
static void parse_response(char *text, size_t size, const char *start_and_lines,
                           struct http_head *ret_head)
{
    size_t used;
    int len = snprintf(text, size, "HTTP/1.1 %s\r\n", start_and_lines);

    assert_int_equal(
        h1_parse_response(str_make(text, (size_t)len), &limits, HTTP_POST, ret_head, &used),
        H1_COMPLETE);
}

/* A table's failure must say which row. */
static void note_row(const char *row, bool is_good)
{
    if (!is_good) {
        print_message("row: %s\n", row);
    }
}

/* ---- the API of a path ---- */

struct api_case {
    enum http_method method;
    const char *path;
    enum api api;
};

static const struct api_case api_cases[] = {
    {HTTP_POST, "/v1/chat/completions", API_CHAT},
    {HTTP_POST, "/v1/completions", API_COMPLETIONS},
    {HTTP_POST, "/v1/embeddings", API_EMBEDDINGS},
    {HTTP_POST, "/v1/responses", API_RESPONSES},
    {HTTP_POST, "/v1/messages", API_MESSAGES},
    {HTTP_GET, "/v1/chat/completions", API_NONE},
    {HTTP_PUT, "/v1/responses", API_NONE},
    {HTTP_METHOD_OTHER, "/v1/responses", API_NONE},
    {HTTP_POST, "/v1/chat/completions/", API_NONE},
    {HTTP_POST, "/v1/chat/Completions", API_NONE},
    {HTTP_POST, "/v1/chat", API_NONE},
    {HTTP_POST, "/v1/responses/resp_1", API_NONE},
    {HTTP_POST, "/v1/messages/count_tokens", API_NONE},
    {HTTP_POST, "/v1/models", API_NONE},
    {HTTP_POST, "/", API_NONE},
    {HTTP_POST, "", API_NONE},
};

static void test_api_is_known_by_method_and_exact_path(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(api_cases); i++) {
        enum api api = api_of(api_cases[i].method, str_of(api_cases[i].path));
        note_row(api_cases[i].path, api == api_cases[i].api);
        assert_int_equal(api, api_cases[i].api);
    }
}

/* ---- a request's Cache-Control ---- */

struct control_case {
    const char *lines;
    struct cache_control control;
};

#define AGE(s) .has_max_age = true, .max_age_s = (s)

static const struct control_case control_cases[] = {
    {"", {.no_cache = false}},
    {"Cache-Control: no-cache\r\n", {.no_cache = true}},
    {"cache-control: NO-Cache\r\n", {.no_cache = true}},
    {"Cache-Control: no-store\r\n", {.no_store = true}},
    {"Cache-Control: only-if-cached\r\n", {.only_if_cached = true}},
    {"Cache-Control: max-age=60\r\n", {AGE(60)}},
    {"Cache-Control: max-age=\"60\"\r\n", {AGE(60)}},
    {"Cache-Control: max-age=0\r\n", {AGE(0)}},
    {"Cache-Control: Max-Age = 60\r\n", {AGE(60)}},
    {"Cache-Control: no-cache, no-store\r\n", {.no_cache = true, .no_store = true}},
    {"Cache-Control: no-cache\r\nCache-Control: no-store\r\n",
     {.no_cache = true, .no_store = true}},
    {"Cache-Control: ,, only-if-cached ,max-age=5,\r\n", {.only_if_cached = true, AGE(5)}},
    {"Cache-Control: max-age=60, max-age=5\r\n", {AGE(5)}},
    {"Cache-Control: max-age=5, max-age=x\r\n", {AGE(5)}},
    {"Cache-Control: max-age=18446744073709551615\r\n", {AGE(UINT64_MAX)}},
    /* rubbish asks for nothing */
    {"Cache-Control: max-age\r\n", {.no_cache = false}},
    {"Cache-Control: max-age=\r\n", {.no_cache = false}},
    {"Cache-Control: max-age=-1\r\n", {.no_cache = false}},
    {"Cache-Control: max-age=1.5\r\n", {.no_cache = false}},
    {"Cache-Control: max-age=1h\r\n", {.no_cache = false}},
    {"Cache-Control: max-age=18446744073709551616\r\n", {.no_cache = false}},
    {"Cache-Control: nocache\r\n", {.no_cache = false}},
    {"Cache-Control: x-no-cache, no-cachex\r\n", {.no_cache = false}},
    {"Cache-Control: =\r\n", {.no_cache = false}},
    {"Pragma: no-cache\r\n", {.no_cache = false}},
    {"X-Cache-Control: no-cache\r\n", {.no_cache = false}},
};

static void test_cache_control_honours_what_it_knows_and_ignores_the_rest(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(control_cases); i++) {
        struct cache_control got = control_of(control_cases[i].lines);
        const struct cache_control *want = &control_cases[i].control;
        bool is_good = got.no_cache == want->no_cache && got.no_store == want->no_store &&
                       got.only_if_cached == want->only_if_cached &&
                       got.has_max_age == want->has_max_age && got.max_age_s == want->max_age_s;
        note_row(control_cases[i].lines, is_good);
        assert_true(is_good);
    }
}

/* ---- plans ---- */

struct plan_case {
    const char *why;
    struct conf_cache conf;
    enum http_method method;
    const char *path;
    const char *control;
    const char *body; /* NULL: not usable */
    bool lookup;
    bool store;
    const char *bypass; /* "": none */
};

#define ALWAYS                                                                                     \
    {                                                                                              \
        .enabled = true, .when = CONF_CACHE_ALWAYS                                                 \
    }
#define DETERMINISTIC                                                                              \
    {                                                                                              \
        .enabled = true, .when = CONF_CACHE_DETERMINISTIC                                          \
    }
#define CHAT         HTTP_POST, "/v1/chat/completions"
#define RESPONSES    HTTP_POST, "/v1/responses"
#define HIT          true, true, ""
#define BYPASS(word) false, false, word

static const struct plan_case plan_cases[] = {
    {"chat", ALWAYS, CHAT, "", "{}", HIT},
    {"completions", ALWAYS, HTTP_POST, "/v1/completions", "", "{}", HIT},
    {"embeddings", ALWAYS, HTTP_POST, "/v1/embeddings", "", "{}", HIT},
    {"responses", ALWAYS, RESPONSES, "", "{}", HIT},
    {"messages", ALWAYS, HTTP_POST, "/v1/messages", "", "{}", HIT},
    {"stream", ALWAYS, CHAT, "", "{\"stream\":true}", HIT},

    {"get", ALWAYS, HTTP_GET, "/v1/models", "", NULL, BYPASS("method")},
    {"get on an API", ALWAYS, HTTP_GET, "/v1/responses", "", "{}", BYPASS("method")},
    {"another path", ALWAYS, HTTP_POST, "/v1/models", "", "{}", BYPASS("path")},
    {"no JSON", ALWAYS, CHAT, "", NULL, BYPASS("body")},

    {"off", {.enabled = false}, CHAT, "", "{}", BYPASS("policy")},
    {"off beats always",
     {.enabled = false, .when = CONF_CACHE_ALWAYS},
     CHAT,
     "",
     "{\"seed\":1}",
     BYPASS("policy")},
    {"never", {.enabled = true, .when = CONF_CACHE_NEVER}, CHAT, "", "{}", BYPASS("policy")},

    {"random", DETERMINISTIC, CHAT, "", "{}", BYPASS("policy")},
    {"hot", DETERMINISTIC, CHAT, "", "{\"temperature\":0.1}", BYPASS("policy")},
    {"cold", DETERMINISTIC, CHAT, "", "{\"temperature\":0}", HIT},
    {"cold, written long", DETERMINISTIC, CHAT, "", "{\"temperature\":0.0}", HIT},
    {"seed", DETERMINISTIC, CHAT, "", "{\"seed\":7}", HIT},
    {"seed null", DETERMINISTIC, CHAT, "", "{\"seed\":null}", BYPASS("policy")},
    {"embeddings have no dice", DETERMINISTIC, HTTP_POST, "/v1/embeddings", "", "{}", HIT},

    {"no-store", ALWAYS, CHAT, "Cache-Control: no-store\r\n", "{}", BYPASS("request")},
    {"no-cache still stores", ALWAYS, CHAT, "Cache-Control: no-cache\r\n", "{}", false, true,
     "request"},
    {"max-age=0 too", ALWAYS, CHAT, "Cache-Control: max-age=0\r\n", "{}", false, true, "request"},
    {"max-age", ALWAYS, CHAT, "Cache-Control: max-age=9\r\n", "{}", HIT},
    {"only-if-cached", ALWAYS, CHAT, "Cache-Control: only-if-cached\r\n", "{}", true, false, ""},
    {"both no-cache and no-store", ALWAYS, CHAT, "Cache-Control: no-cache, no-store\r\n", "{}",
     BYPASS("request")},
    {"policy before request", DETERMINISTIC, CHAT, "Cache-Control: no-store\r\n", "{}",
     BYPASS("policy")},

    {"store", ALWAYS, RESPONSES, "", "{\"store\":true}", BYPASS("request")},
    {"store on chat", ALWAYS, CHAT, "", "{\"store\":true}", BYPASS("request")},
    {"not store", ALWAYS, RESPONSES, "", "{\"store\":false}", HIT},
    {"conversation", ALWAYS, RESPONSES, "", "{\"conversation\":\"c\"}", BYPASS("request")},
    {"conversation null", ALWAYS, RESPONSES, "", "{\"conversation\":null}", HIT},
    {"conversation elsewhere", ALWAYS, CHAT, "", "{\"conversation\":\"c\"}", HIT},
    {"background", ALWAYS, RESPONSES, "", "{\"background\":true}", BYPASS("request")},
    {"background false", ALWAYS, RESPONSES, "", "{\"background\":false}", HIT},
};

static bool words_match(const char *word, const char *wanted)
{
    return word == NULL ? *wanted == '\0' : strcmp(word, wanted) == 0;
}

static void test_plan_follows_method_path_body_policy_and_request(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plan_cases); i++) {
        const struct plan_case *row = &plan_cases[i];
        struct json_scan scan;
        bool scan_ok = row->body != NULL && json_scan(str_of(row->body), &scan) == JSON_SCAN_OK;
        struct cache_control control = control_of(row->control);
        struct cache_plan plan =
            cache_plan_request(&row->conf, row->method, api_of(row->method, str_of(row->path)),
                               &control, scan_ok, &scan);
        bool is_good = plan.lookup == row->lookup && plan.store == row->store &&
                       words_match(plan.bypass, row->bypass);
        note_row(row->why, is_good);
        assert_true(is_good);
    }
}

/* ---- responses ---- */

struct store_case {
    const char *head;
    bool may;
};

#define OK_200  "200 OK\r\n"
#define JSON    "Content-Type: application/json\r\n"
#define SSE     "Content-Type: text/event-stream\r\n"
#define LEN     "Content-Length: 2\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

static const struct store_case store_cases[] = {
    {OK_200 JSON LEN, true},
    {OK_200 JSON CHUNKED, true},
    {OK_200 SSE CHUNKED, true},
    {OK_200 LEN "Content-Type: application/json; charset=utf-8\r\n", true},
    {OK_200 LEN "content-type: Application/JSON ;charset=utf-8\r\n", true},
    {OK_200 CHUNKED "Content-Type: text/event-stream; charset=utf-8\r\n", true},
    /* status */
    {"201 Created\r\n" JSON LEN, false},
    {"202 Accepted\r\n" JSON LEN, false},
    {"206 Partial Content\r\n" JSON LEN, false},
    {"301 Moved Permanently\r\n" JSON LEN, false},
    {"400 Bad Request\r\n" JSON LEN, false},
    {"429 Too Many Requests\r\n" JSON LEN, false},
    {"500 Internal Server Error\r\n" JSON LEN, false},
    {"503 Service Unavailable\r\n" JSON LEN, false},
    /* the end */
    {OK_200 JSON, false},
    {OK_200 SSE, false},
    {OK_200 JSON "Content-Length: 0\r\n", false},
    /* the type */
    {OK_200 LEN "Content-Type: text/html\r\n", false},
    {OK_200 LEN "Content-Type: text/plain\r\n", false},
    {OK_200 LEN "Content-Type: application/jsonp\r\n", false},
    {OK_200 LEN, false},
    /* Set-Cookie */
    {OK_200 JSON LEN "Set-Cookie: a=b\r\n", false},
    {OK_200 SSE CHUNKED "Set-Cookie: a=b\r\n", false},
    /* Cache-Control */
    {OK_200 JSON LEN "Cache-Control: public\r\n", true},
    {OK_200 JSON LEN "Cache-Control: max-age=60\r\n", true},
    {OK_200 JSON LEN "Cache-Control: no-store\r\n", false},
    {OK_200 JSON LEN "Cache-Control: public\r\nCache-Control: No-Store\r\n", false},
    {OK_200 JSON LEN "Cache-Control: private\r\n", false},
    {OK_200 JSON LEN "Cache-Control: private=\"x-a, x-b\"\r\n", false},
    {OK_200 JSON LEN "Cache-Control: max-age=0, private, must-revalidate\r\n", false},
    {OK_200 JSON LEN "Cache-Control: no-cache\r\n", false},
    {OK_200 JSON LEN "Cache-Control: no-cache=\"x-a\"\r\n", false},
    {OK_200 SSE CHUNKED "Cache-Control: no-cache\r\n", true},
    {OK_200 SSE CHUNKED "Cache-Control: no-cache, no-transform\r\n", true},
    {OK_200 SSE CHUNKED "Cache-Control: no-cache, no-store\r\n", false},
    {OK_200 SSE CHUNKED "Cache-Control: no-store\r\n", false},
    {OK_200 SSE CHUNKED "Cache-Control: private\r\n", false},
    {OK_200 SSE CHUNKED "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n", true},
    /* Vary */
    {OK_200 JSON LEN "Vary: Accept-Encoding\r\n", true},
    {OK_200 JSON LEN "Vary: origin, accept-encoding\r\n", true},
    {OK_200 JSON LEN "Vary: *\r\n", false},
    {OK_200 JSON LEN "Vary: Authorization\r\n", false},
    {OK_200 JSON LEN "Vary: Origin, Accept\r\n", false},
    {OK_200 JSON LEN "Vary: Origin\r\nVary: Cookie\r\n", false},
    {OK_200 JSON LEN "Vary: \r\n", true},
    /* Content-Encoding */
    {OK_200 JSON LEN "Content-Encoding: gzip\r\n", false},
    {OK_200 JSON LEN "Content-Encoding: br\r\n", false},
    {OK_200 JSON LEN "Content-Encoding: identity\r\n", true},
};

static void test_response_is_stored_only_when_whole_shareable_and_an_answer(void **state)
{
    char text[1024];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(store_cases); i++) {
        struct http_head head;
        parse_response(text, sizeof(text), store_cases[i].head, &head);
        bool may = cache_may_store_head(&head);
        note_row(store_cases[i].head, may == store_cases[i].may);
        assert_int_equal(may, store_cases[i].may);
    }
}

struct ttl_case {
    const char *head;
    uint64_t ttl_ms;
    uint64_t want_ms;
};

static const struct ttl_case ttl_cases[] = {
    {OK_200 JSON LEN, 5000, 5000},
    {OK_200 JSON LEN "Cache-Control: public\r\n", 5000, 5000},
    {OK_200 JSON LEN "Cache-Control: max-age=3\r\n", 5000, 3000},
    {OK_200 JSON LEN "Cache-Control: max-age=5\r\n", 5500, 5000},
    {OK_200 JSON LEN "Cache-Control: max-age=6\r\n", 5000, 5000},
    {OK_200 JSON LEN "Cache-Control: max-age=18446744073709551615\r\n", 5000, 5000},
    {OK_200 JSON LEN "Cache-Control: max-age=9, s-maxage=2\r\n", 5000, 2000},
    {OK_200 JSON LEN "Cache-Control: s-maxage=4, max-age=2\r\n", 5000, 4000},
    {OK_200 JSON LEN "Cache-Control: max-age=0\r\n", 5000, 0},
    {OK_200 JSON LEN "Cache-Control: max-age=soon\r\n", 5000, 5000},
    {OK_200 SSE CHUNKED "Cache-Control: no-cache, max-age=0\r\n", 5000, 5000},
    {OK_200 SSE CHUNKED "Cache-Control: max-age=1\r\n", 5000, 1000},
};

static void test_response_may_shorten_its_time_but_not_lengthen_it(void **state)
{
    char text[1024];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ttl_cases); i++) {
        struct http_head head;
        parse_response(text, sizeof(text), ttl_cases[i].head, &head);
        uint64_t got = cache_response_ttl_ms(&head, ttl_cases[i].ttl_ms);
        note_row(ttl_cases[i].head, got == ttl_cases[i].want_ms);
        assert_int_equal(got, ttl_cases[i].want_ms);
    }
}

static void test_response_is_a_stream_by_its_media_type_alone(void **state)
{
    char text[1024];
    struct http_head head;

    (void)state;
    parse_response(text, sizeof(text), OK_200 CHUNKED "Content-Type: Text/Event-Stream;a=b\r\n",
                   &head);
    assert_true(cache_response_is_stream(&head));
    parse_response(text, sizeof(text), OK_200 CHUNKED "Content-Type: text/event-streams\r\n",
                   &head);
    assert_false(cache_response_is_stream(&head));
    parse_response(text, sizeof(text), OK_200 CHUNKED JSON, &head);
    assert_false(cache_response_is_stream(&head));
}

/* ---- freshness ---- */

struct fresh_case {
    const char *why;
    struct cache_control control;
    uint64_t stored_ms;
    uint64_t ttl_ms;
    uint64_t now_ms;
    bool is_fresh;
};

#define DAY 86400000ULL

static const struct fresh_case fresh_cases[] = {
    {"new", {.no_cache = false}, DAY, 1000, DAY, true},
    {"last moment", {.no_cache = false}, DAY, 1000, DAY + 999, true},
    {"over", {.no_cache = false}, DAY, 1000, DAY + 1000, false},
    {"long over", {.no_cache = false}, DAY, 1000, 9 * DAY, false},
    {"no time at all", {.no_cache = false}, DAY, 0, DAY, false},
    {"young enough", {AGE(5)}, DAY, 60000, DAY + 4999, true},
    {"too old for the request", {AGE(5)}, DAY, 60000, DAY + 5000, false},
    {"max-age over the entry's time", {AGE(100)}, DAY, 60000, DAY + 60000, false},
    {"max-age=0", {AGE(0)}, DAY, 60000, DAY, false},
    {"max-age=0 of a clock ahead", {AGE(0)}, DAY + 1, 60000, DAY, false},
    {"greatest max-age", {AGE(UINT64_MAX)}, DAY, 60000, DAY + 1, true},
    {"a clock a little ahead", {.no_cache = false}, DAY + 300000, 1000, DAY, true},
    {"a clock far ahead", {.no_cache = false}, DAY + 300001, 1000, DAY, false},
};

static void test_entry_is_fresh_within_its_time_and_the_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fresh_cases); i++) {
        const struct fresh_case *row = &fresh_cases[i];
        bool is_fresh = cache_is_fresh(&row->control, row->stored_ms, row->ttl_ms, row->now_ms);
        note_row(row->why, is_fresh == row->is_fresh);
        assert_int_equal(is_fresh, row->is_fresh);
    }
}

/* ---- past its time ---- */

static void test_rule_of_who_forbids_an_answer_past_its_time(void **state)
{
    static const struct {
        const char *control;
        bool is_strict;
    } rows[] = {
        {"max-age=60", false},        {"public, stale-if-error=5", false},
        {"must-revalidate", true},    {"max-age=60, Proxy-Revalidate", true},
        {"s-maxage=60", true},        {"must-revalidate=1", true},
        {"x-must-revalidate", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[1024];
        char lines[256];
        struct http_head head;

        snprintf(lines, sizeof(lines), "200 OK\r\nContent-Length: 2\r\nCache-Control: %s\r\n",
                 rows[i].control);
        parse_response(text, sizeof(text), lines, &head);
        note_row(rows[i].control, cache_response_is_strict(&head) == rows[i].is_strict);
        assert_int_equal(cache_response_is_strict(&head), rows[i].is_strict);
    }
}

/* ---- jitter ---- */

#define KEY_A ((const uint8_t[8]){1, 2, 3, 4, 5, 6, 7, 8})
#define KEY_B ((const uint8_t[8]){1, 2, 3, 4, 5, 6, 7, 9})

static void test_jitter_is_the_same_for_the_same_key_and_time(void **state)
{
    static const struct {
        uint64_t ttl_ms;
        uint64_t stored_wall_ms;
        uint64_t with_a;
        uint64_t with_b;
    } rows[] = {
        /* Computed apart from this code; other edges, of other versions, must agree. */
        {1000, 1700000000000, 903, 1016},
        {3600000, 1700000000000, 3313327, 3244272},
        {3600000, 1700000000001, 3572272, 3804133},
        {31536000000, 1700000000000, 33494949436, 32138190647},
        {9, 1700000000000, 9, 9}, /* a tenth of it is nothing */
        {1, 1700000000000, 1, 1},
        {0, 1700000000000, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(cache_jitter_ttl_ms(rows[i].ttl_ms, KEY_A, rows[i].stored_wall_ms),
                         rows[i].with_a);
        assert_int_equal(cache_jitter_ttl_ms(rows[i].ttl_ms, KEY_B, rows[i].stored_wall_ms),
                         rows[i].with_b);
    }
}

/* All of the tenth each way is used, about evenly. */
static void test_jitter_spreads_what_is_stored_together(void **state)
{
    unsigned counts[10] = {0};

    (void)state;
    for (uint32_t i = 0; i < 10000; i++) {
        uint8_t key[8] = {(uint8_t)i, (uint8_t)(i >> 8)};
        uint64_t ttl_ms = cache_jitter_ttl_ms(100000, key, 1700000000000);
        assert_in_range(ttl_ms, 90000, 110000);
        counts[(ttl_ms - 90000) / 2001]++;
    }
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        assert_in_range(counts[i], 850, 1150); /* 1000 expected, standard deviation 30 */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_is_known_by_method_and_exact_path),
        cmocka_unit_test(test_cache_control_honours_what_it_knows_and_ignores_the_rest),
        cmocka_unit_test(test_plan_follows_method_path_body_policy_and_request),
        cmocka_unit_test(test_response_is_stored_only_when_whole_shareable_and_an_answer),
        cmocka_unit_test(test_response_may_shorten_its_time_but_not_lengthen_it),
        cmocka_unit_test(test_response_is_a_stream_by_its_media_type_alone),
        cmocka_unit_test(test_entry_is_fresh_within_its_time_and_the_requests),
        cmocka_unit_test(test_rule_of_who_forbids_an_answer_past_its_time),
        cmocka_unit_test(test_jitter_is_the_same_for_the_same_key_and_time),
        cmocka_unit_test(test_jitter_spreads_what_is_stored_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
