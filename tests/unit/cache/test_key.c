/* SPDX-License-Identifier: MIT */
/* Cache keys: which two requests share an answer and which never may. */
#include <nearside/base/digest.h>
#include <nearside/cache/key.h>
#include <nearside/http/head.h>
#include <nearside/http/json_scan.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* What is not given: POST, /v1/chat/completions, "Bearer a", no regions, no origin. */
struct request {
    const char *body;
    const char *method;
    const char *target;
    const char *authorization;
    const char *tenant_header;
    const char *secret;
    const char *regions;
    const char *origin;
    bool share_all;
};

struct pair {
    struct request a;
    struct request b;
};

static struct str given_or(const char *given, const char *usual)
{
    return str_of(given == NULL ? usual : given);
}

/* The API that a target belongs to, as the proxy finds it. */
static enum api api_of_target(struct str target)
{
    return api_of(HTTP_POST, str_slice(target, 0, str_find_char(target, '?')));
}

/* How a body arrives. */
struct arrival {
    size_t cut;         /* the first piece's length; the rest comes at once */
    bool want_first;    /* what comes in it is digested as it comes */
    bool want_the_rest; /* likewise */
};

static enum json_scan_result scan_in_pieces(struct str body, const struct arrival *arrival,
                                            struct json_scan *scan, struct cache_key_early *early)
{
    struct json_scanner scanner;
    char first[4096];
    size_t cut = arrival->cut < body.len ? arrival->cut : body.len;

    assert_true(cut <= sizeof(first));
    memcpy(first, body.ptr, cut); /* it will lie elsewhere then */
    json_scanner_start(&scanner, scan, CACHE_KEY_LONG_BYTES, cache_key_early_run, early);
    cache_key_early_want(early, arrival->want_first);
    (void)json_scanner_feed(&scanner, str_make(first, cut));
    memset(first, '!', sizeof(first));
    cache_key_early_want(early, arrival->want_the_rest);
    return json_scanner_end(&scanner, body);
}

static struct cache_key key_on_arrival(const struct request *request, const struct arrival *arrival)
{
    struct json_scan scan;
    struct cache_key key;
    struct cache_key_early early;
    struct digest *digest = digest_new();
    struct digest *early_digest = digest_new();
    struct cache_key_parts parts = {
        .method = given_or(request->method, "POST"),
        .target = given_or(request->target, "/v1/chat/completions"),
        .authorization = given_or(request->authorization, "Bearer a"),
        .share_all = request->share_all,
        .tenant_header = given_or(request->tenant_header, ""),
        .regions = given_or(request->regions, ""),
        .origin = given_or(request->origin, ""),
        .scan = &scan,
        .early = &early,
    };

    cache_key_early_init(&early, early_digest, false);
    assert_int_equal(scan_in_pieces(str_of(request->body), arrival, &scan, &early), JSON_SCAN_OK);
    parts.form = cache_form_of(api_of_target(parts.target), &scan);
    cache_key_make(digest, &parts, &key);
    cache_key_seal(digest, given_or(request->secret, ""), &key);
    digest_free(early_digest);
    digest_free(digest);
    return key;
}

static struct cache_key key_of(const struct request *request)
{
    return key_on_arrival(request, &(struct arrival){.cut = 0});
}

#define M "\"model\":\"m\""
#define P "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

#define USAGE(value) "\"stream\":true,\"stream_options\":{\"include_usage\":" value "}"

/* Two bodies of otherwise equal requests. */
#define BODIES(x, y)                                                                               \
    {                                                                                              \
        {.body = (x)}, {.body = (y)},                                                              \
    }

/* The same of an API whose answers cannot be turned into another form. */
#define MESSAGES(x, y)                                                                             \
    {                                                                                              \
        {.body = (x), .target = "/v1/messages"}, {.body = (y), .target = "/v1/messages"},          \
    }

static const struct pair equal[] = {
    /* the same bytes */
    BODIES("{}", "{}"),
    BODIES("{" M "}", "{" M "}"),
    BODIES("{" M "," P "}", "{" M "," P "}"),
    /* white space between tokens */
    BODIES("{}", "{ }"),
    BODIES("{}", " {} "),
    BODIES("{}", "\r\n\t{\n}\n"),
    BODIES("{" M "}", "{ \"model\" : \"m\" }"),
    BODIES("{" M "}", "\n{\n  \"model\": \"m\"\n}\n"),
    BODIES("{\"a\":[1,2,3]}", "{\"a\":[ 1 ,\t2 ,\r\n3 ]}"),
    BODIES("{\"a\":{\"b\":{\"c\":[]}}}", "{\"a\": {\"b\": {\"c\": [ ]}}}"),
    BODIES("{\"a\":{}}", "{\"a\":{ }}"),
    BODIES("{\"a\":null}", "{\"a\" :null }"),
    BODIES("{\"a\":true,\"b\":false}", "{\"a\": true, \"b\": false}"),
    BODIES("{\"a\":\"x y\"}", "{ \"a\" :\t\"x y\" }"),
    BODIES("{\"a\":\"\\\" \"}", "{ \"a\": \"\\\" \" }"),
    BODIES("{" M "," P "}",
           "{\"model\":\"m\", \"messages\": [ { \"role\" : \"user\", \"content\": \"hi\" } ] }"),
    /* order of top-level members */
    BODIES("{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}"),
    BODIES("{\"a\":1,\"b\":2,\"c\":3}", "{\"c\":3,\"a\":1,\"b\":2}"),
    BODIES("{" M "," P "}", "{" P "," M "}"),
    BODIES("{\"a\":1,\"aa\":2}", "{\"aa\":2,\"a\":1}"),
    BODIES("{\"temperature\":0,\"seed\":1," M "}", "{" M ",\"seed\":1,\"temperature\":0}"),
    BODIES("{\"b\":[1],\"a\":{}}", "{ \"a\": {}, \"b\": [ 1 ] }"),
    /* members that do not change the answer */
    BODIES("{" M "}", "{" M ",\"user\":\"u\"}"),
    BODIES("{" M ",\"user\":\"u\"}", "{" M ",\"user\":\"v\"}"),
    BODIES("{" M "}", "{\"user\":null," M "}"),
    BODIES("{" M "}", "{" M ",\"metadata\":{\"trace\":\"1\"}}"),
    BODIES("{" M ",\"metadata\":{\"k\":1}}", "{" M ",\"metadata\":{\"k\":2}}"),
    BODIES("{\"metadata\":[]," M ",\"user\":1}", "{" M "}"),
    /* the plain form, however it is said */
    BODIES("{" M "}", "{" M ",\"stream\":false}"),
    BODIES("{" M "}", "{" M ",\"stream\":null}"),
    BODIES("{" M ",\"stream\":null}", "{\"stream\":false," M "}"),
    BODIES("{" M "}", "{" M ",\"stream\":false,\"stream_options\":{\"include_usage\":true}}"),
    BODIES("{" M "}", "{" M ",\"stream_options\":null}"),
    /* the streamed form */
    BODIES("{" M ",\"stream\":true}", "{\"stream\":true," M "}"),
    BODIES("{" M ",\"stream\":true}", "{" M ", \"stream\" : true }"),
    BODIES("{" M ",\"stream\":true}", "{" M ",\"stream\":true,\"stream_options\":null}"),
    BODIES("{\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
           "{\"stream_options\":{ \"include_usage\": true },\"stream\":true}"),
    BODIES("{\"stream\":true,\"user\":\"u\"}", "{\"stream\":true,\"metadata\":{}}"),
    /* one entry serves all forms that can be turned into each other */
    BODIES("{" M "," P "}", "{" P ",\"stream\":true," M "}"),
    BODIES("{" M ",\"stream\":true}", "{" M ",\"stream\":false}"),
    BODIES("{" M "," USAGE("true") "}", "{" M "}"),
    BODIES("{" M "," USAGE("true") "}", "{" M "," USAGE("false") "}"),
    BODIES("{" M ",\"stream\":true}", "{" M "," USAGE("true") "}"),
    {{.body = "{}", .target = "/v1/completions"},
     {.body = "{" USAGE("true") "}", .target = "/v1/completions"}},
    /* ... and others in their own way only */
    MESSAGES("{" M "}", "{" M ",\"stream\":false,\"stream_options\":{}}"),
    MESSAGES("{" M ",\"stream\":true}", "{\"stream\": true," M ",\"stream_options\":null}"),
    BODIES("{\"stream\":1}", "{\"stream\": 1}"),
    /* the other parts */
    {{.body = "{}", .method = "POST"}, {.body = "{}"}},
    {{.body = "{}", .target = "/v1/embeddings"}, {.body = " {}", .target = "/v1/embeddings"}},
    {{.body = "{}", .authorization = "Bearer b"}, {.body = "{} ", .authorization = "Bearer b"}},
    {{.body = "{}", .authorization = ""}, {.body = "{ }", .authorization = ""}},
    {{.body = "{}", .share_all = true, .authorization = "Bearer a"},
     {.body = "{}", .share_all = true, .authorization = "Bearer b"}},
    {{.body = "{}", .share_all = true, .tenant_header = "X-Tenant"},
     {.body = "{}", .share_all = true}},
    {{.body = "{}", .tenant_header = "X-Tenant"}, {.body = "{}", .tenant_header = "x-tenant"}},
    {{.body = "{}", .secret = "0123456789abcdef"}, {.body = "{ }", .secret = "0123456789abcdef"}},
    {{.body = "{}", .secret = ""}, {.body = "{}"}},
    {{.body = "{}", .share_all = true, .authorization = ""},
     {.body = "{}", .share_all = true, .authorization = "Bearer b"}},
    {{.body = "{}", .regions = "eu"}, {.body = "{ }", .regions = "eu"}},
    {{.body = "{}", .origin = "https://a"}, {.body = "{ }", .origin = "https://a"}},
};

static const struct pair unequal[] = {
    /* what is asked */
    BODIES("{\"model\":\"m\"}", "{\"model\":\"n\"}"),
    BODIES("{\"model\":\"m\"}", "{\"model\":\"M\"}"),
    BODIES("{\"model\":\"m\"}", "{\"model\":\"m \"}"),
    BODIES("{\"model\":\"m\"}", "{\"Model\":\"m\"}"),
    BODIES("{\"model\":\"m\"}", "{}"),
    BODIES("{" M "}", "{" M "," P "}"),
    BODIES("{\"prompt\":\"a b\"}", "{\"prompt\":\"a  b\"}"),
    BODIES("{\"prompt\":\"a b\"}", "{\"prompt\":\"ab\"}"),
    BODIES("{\"prompt\":\"a\"}", "{\"prompt\":[\"a\"]}"),
    BODIES("{\"prompt\":\"1\"}", "{\"prompt\":1}"),
    BODIES("{\"prompt\":null}", "{}"),
    BODIES("{\"messages\":[1,2]}", "{\"messages\":[2,1]}"),
    BODIES("{\"messages\":[1,2]}", "{\"messages\":[12]}"),
    BODIES("{\"messages\":[[1],2]}", "{\"messages\":[1,[2]]}"),
    BODIES("{\"messages\":[{\"role\":\"user\"}]}", "{\"messages\":[{\"role\":\"system\"}]}"),
    BODIES("{\"messages\":[{\"a\":1,\"b\":2}]}", "{\"messages\":[{\"b\":2,\"a\":1}]}"),
    BODIES("{\"messages\":[]}", "{\"messages\":[{}]}"),
    /* how */
    BODIES("{\"temperature\":0}", "{\"temperature\":1}"),
    BODIES("{\"temperature\":0}", "{}"),
    BODIES("{\"temperature\":0.7}", "{\"temperature\":0.70001}"),
    BODIES("{\"seed\":1}", "{\"seed\":2}"),
    BODIES("{\"max_tokens\":1}", "{\"max_tokens\":11}"),
    BODIES("{\"top_p\":1}", "{\"top_k\":1}"),
    BODIES("{\"a\":1,\"b\":2}", "{\"a\":2,\"b\":1}"),
    BODIES("{\"a\":true}", "{\"a\":false}"),
    BODIES("{\"a\":\"true\"}", "{\"a\":true}"),
    BODIES("{\"tools\":[]}", "{\"tools\":[{}]}"),
    BODIES("{\"n\":1}", "{\"n\":2}"),
    BODIES("{\"response_format\":{\"type\":\"json_object\"}}",
           "{\"response_format\":{\"type\":\"text\"}}"),
    /* names that only look like those left out */
    BODIES("{\"users\":1}", "{}"),
    BODIES("{\"User\":1}", "{}"),
    BODIES("{\"a\":{\"user\":1}}", "{\"a\":{}}"),
    BODIES("{\"a\":{\"metadata\":1}}", "{\"a\":{\"metadata\":2}}"),
    BODIES("{\"a\":{\"stream\":true}}", "{\"a\":{\"stream\":false}}"),
    /* in which form */
    MESSAGES("{\"stream\":true}", "{}"),
    MESSAGES("{\"stream\":true}", "{\"stream\":false}"),
    MESSAGES("{\"stream\":true}", "{\"stream\":null}"),
    MESSAGES("{" USAGE("true") "}", "{\"stream\":true}"),
    {{.body = "{}", .target = "/v1/embeddings"},
     {.body = "{\"stream\":true}", .target = "/v1/embeddings"}},
    BODIES("{\"stream\":1}", "{}"),
    BODIES("{\"stream\":1}", "{\"stream\":true}"),
    BODIES("{\"stream\":\"true\"}", "{\"stream\":true}"),
    BODIES("{\"stream\":\"stream\"}", "{\"stream\":true}"),
    BODIES("{\"stream\":\"plain\"}", "{}"),
    BODIES("{\"stream\":\"true\"}", "{\"stream\":1}"),
    BODIES("{" USAGE("null") "}", "{\"stream\":true}"),
    BODIES("{" USAGE("true,\"continuous_usage_stats\":true") "}", "{" USAGE("true") "}"),
    BODIES("{\"stream\":true,\"stream_options\":{}}", "{\"stream\":true}"),
    /* how, where to and by whom */
    {{.body = "{}"}, {.body = "{}", .method = "PUT"}},
    {{.body = "{}"}, {.body = "{}", .target = "/v1/completions"}},
    {{.body = "{}"}, {.body = "{}", .target = "/v1/chat/completions?a=1"}},
    {{.body = "{}", .target = "/v1/x?a=1"}, {.body = "{}", .target = "/v1/x?a=2"}},
    {{.body = "{}", .target = "/v1/x?"}, {.body = "{}", .target = "/v1/x"}},
    {{.body = "{}"}, {.body = "{}", .authorization = "Bearer b"}},
    {{.body = "{}"}, {.body = "{}", .authorization = ""}},
    {{.body = "{}", .authorization = "Bearer a"}, {.body = "{}", .authorization = "bearer a"}},
    {{.body = "{}", .authorization = ""}, {.body = "{}", .share_all = true}},
    {{.body = "{}"}, {.body = "{}", .share_all = true}},
    /* who is a tenant */
    {{.body = "{}"}, {.body = "{}", .tenant_header = "X-Tenant"}},
    {{.body = "{}", .tenant_header = "X-Team"}, {.body = "{}", .tenant_header = "X-Tenant"}},
    {{.body = "{}", .tenant_header = "X", .authorization = "a"},
     {.body = "{}", .tenant_header = "X", .authorization = "b"}},
    {{.body = "{}", .tenant_header = "x", .authorization = "a"},
     {.body = "{}", .tenant_header = "xa", .authorization = ""}},
    {{.body = "{}", .tenant_header = "x"}, {.body = "{}", .share_all = true}},
    /* the secret */
    {{.body = "{}"}, {.body = "{}", .secret = "0123456789abcdef"}},
    {{.body = "{}", .secret = "0123456789abcdeg"}, {.body = "{}", .secret = "0123456789abcdef"}},
    {{.body = "{}", .secret = "0123456789abcdef"},
     {.body = "{\"a\":1}", .secret = "0123456789abcdef"}},
    {{.body = "{}", .secret = "0123456789abcdef", .authorization = "a"},
     {.body = "{}", .secret = "0123456789abcdef", .authorization = "b"}},
    {{.body = "{}", .share_all = true},
     {.body = "{}", .share_all = true, .secret = "0123456789abcdef"}},
    {{.body = "{}"}, {.body = "{}", .regions = "eu"}},
    {{.body = "{}", .regions = "eu"}, {.body = "{}", .regions = "us"}},
    {{.body = "{}"}, {.body = "{}", .origin = "https://a"}},
    {{.body = "{}", .origin = "https://a"}, {.body = "{}", .origin = "https://b"}},
    /* parts do not run together */
    {{.body = "{}", .method = "a", .target = "bc"}, {.body = "{}", .method = "ab", .target = "c"}},
    {{.body = "{}", .method = "ab", .target = ""}, {.body = "{}", .method = "", .target = "ab"}},
    {{.body = "{}", .target = "/key", .authorization = "x"},
     {.body = "{}", .target = "/", .authorization = "keyx"}},
    {{.body = "{}", .authorization = "a", .regions = "b"},
     {.body = "{}", .authorization = "ab", .regions = ""}},
    {{.body = "{}", .regions = "a", .origin = ""}, {.body = "{}", .regions = "", .origin = "a"}},
    {{.body = "{\"stream_options\":{}}", .origin = "stream"},
     {.body = "{\"stream\":true,\"stream_options\":{}}"}},
    /* the options' object and the body's do not run together either */
    BODIES("{\"stream\":true,\"stream_options\":1}", "{\"stream\":true,\"strean_options\":1}"),
};

/* A table's failure must say which row. */
static void note_pair(const struct pair *pair, bool is_good)
{
    if (!is_good) {
        print_message("%s and %s\n", pair->a.body, pair->b.body);
    }
}

static void test_key_is_the_same_for_requests_that_share_an_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(equal); i++) {
        struct cache_key a = key_of(&equal[i].a);
        struct cache_key b = key_of(&equal[i].b);
        note_pair(&equal[i], memcmp(&a, &b, sizeof(a)) == 0);
        assert_memory_equal(a.bytes, b.bytes, CACHE_KEY_BYTES);
    }
}

static void test_key_differs_for_requests_that_do_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(unequal); i++) {
        struct cache_key a = key_of(&unequal[i].a);
        struct cache_key b = key_of(&unequal[i].b);
        note_pair(&unequal[i], memcmp(&a, &b, sizeof(a)) != 0);
        assert_memory_not_equal(a.bytes, b.bytes, CACHE_KEY_BYTES);
    }
}

/* Prompts of every length about the one from which they go in by their own digest, with white space
 * and without. */
static void test_key_of_a_long_member_does_not_depend_on_white_space(void **state)
{
    char prompt[2200];
    char tight[2400];
    char spaced[2400];

    (void)state;
    for (size_t len = 1; len < sizeof(prompt); len += 7) {
        memset(prompt, 'p', len);
        snprintf(tight, sizeof(tight), "{\"p\":[\"%.*s\",1],\"z\":[1,2]}", (int)len, prompt);
        snprintf(spaced, sizeof(spaced), "{\"z\": [1 ,\n2], \"p\": [ \"%.*s\" , 1 ] }", (int)len,
                 prompt);

        struct cache_key a = key_of(&(struct request){.body = tight});
        struct cache_key b = key_of(&(struct request){.body = spaced});
        assert_memory_equal(a.bytes, b.bytes, CACHE_KEY_BYTES);
    }
}

static const struct arrival arrivals[] = {
    {.want_first = true, .want_the_rest = true},
    {.want_first = true},
    {.want_the_rest = true},
    {.want_first = false},
};

static void assert_key_at_every_cut(const struct request *request, size_t step)
{
    struct cache_key whole = key_of(request);

    for (size_t cut = 0; cut <= strlen(request->body); cut += step) {
        for (size_t i = 0; i < ARRAY_LEN(arrivals); i++) {
            struct arrival arrival = arrivals[i];
            arrival.cut = cut;
            struct cache_key key = key_on_arrival(request, &arrival);
            assert_memory_equal(key.bytes, whole.bytes, CACHE_KEY_BYTES);
        }
    }
}

static void test_key_does_not_depend_on_how_the_body_arrives(void **state)
{
    char prompt[1500];
    char body[4096];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(equal); i++) {
        assert_key_at_every_cut(&equal[i].b, 1);
    }
    memset(prompt, 'p', sizeof(prompt));
    snprintf(body, sizeof(body),
             "{\"model\" : \"m\", \"user\": \"%.*s\", \"prompt\" : [ \"%.*s\", {\"a\" : 1.5e3} ] }",
             1100, prompt, (int)sizeof(prompt), prompt);
    assert_key_at_every_cut(&(struct request){.body = body}, 7);
}

/* More long members than are digested as they come. */
static void test_key_of_many_long_members_does_not_depend_on_their_order(void **state)
{
    static const char names[] = "abcdefghijklmnop";
    char prompt[1200];
    static char body[2][32768];

    (void)state;
    memset(prompt, 'p', sizeof(prompt));
    for (size_t i = 0; i < sizeof(names) - 1; i++) {
        size_t back = sizeof(names) - 2 - i;
        char lead = i == 0 ? '{' : ',';
        snprintf(body[0] + strlen(body[0]), 1300, "%c\"%c\":\"%c%.*s\"", lead, names[i], names[i],
                 (int)sizeof(prompt), prompt);
        snprintf(body[1] + strlen(body[1]), 1300, "%c\"%c\":\"%c%.*s\"", lead, names[back],
                 names[back], (int)sizeof(prompt), prompt);
    }
    strcat(body[0], "}");
    strcat(body[1], "}");
    struct arrival early = {.cut = 0, .want_first = true, .want_the_rest = true};
    struct cache_key a = key_on_arrival(&(struct request){.body = body[0]}, &early);
    struct cache_key b = key_on_arrival(&(struct request){.body = body[1]}, &early);
    struct cache_key late = key_of(&(struct request){.body = body[1]});
    assert_memory_equal(a.bytes, b.bytes, CACHE_KEY_BYTES);
    assert_memory_equal(a.bytes, late.bytes, CACHE_KEY_BYTES);
    *strstr(body[1], "ap") = 'x'; /* within a's value */
    late = key_of(&(struct request){.body = body[1]});
    assert_memory_not_equal(a.bytes, late.bytes, CACHE_KEY_BYTES);
}

/* ---- forms ---- */

struct form_case {
    const char *body;
    enum cache_form form; /* of a chat or completion; others are all fixed */
};

#define OPTIONS(text) "{\"stream\":true,\"stream_options\":" text "}"

static const struct form_case form_cases[] = {
    {"{}", CACHE_FORM_PLAIN},
    {"{\"stream\":false}", CACHE_FORM_PLAIN},
    {"{\"stream\": null }", CACHE_FORM_PLAIN},
    {"{\"stream_options\":{\"include_usage\":true}}", CACHE_FORM_PLAIN},
    {"{\"stream\":false,\"stream_options\":5}", CACHE_FORM_PLAIN},
    {"{\"a\":{\"stream\":true}}", CACHE_FORM_PLAIN},
    {"{\"stream\":true}", CACHE_FORM_STREAM},
    {OPTIONS("null"), CACHE_FORM_STREAM},
    {OPTIONS("{\"include_usage\":false}"), CACHE_FORM_STREAM},
    {OPTIONS("{\"include_usage\":true}"), CACHE_FORM_STREAM_USAGE},
    {OPTIONS(" { \"include_usage\" :\ttrue } "), CACHE_FORM_STREAM_USAGE},
    {"{\"stream_options\":{\"include_usage\":true},\"stream\":true}", CACHE_FORM_STREAM_USAGE},
    {OPTIONS("{}"), CACHE_FORM_FIXED},
    {OPTIONS("{\"include_usage\":null}"), CACHE_FORM_FIXED},
    {OPTIONS("{\"include_usage\":1}"), CACHE_FORM_FIXED},
    {OPTIONS("{\"include_usage\":\"true\"}"), CACHE_FORM_FIXED},
    {OPTIONS("{\"include_usage\":{}}"), CACHE_FORM_FIXED},
    {OPTIONS("{\"Include_usage\":true}"), CACHE_FORM_FIXED},
    {OPTIONS("{\"include\\u005fusage\":true}"), CACHE_FORM_FIXED},
    {OPTIONS("{\"include_usage\":true,\"include_usage\":false}"), CACHE_FORM_FIXED},
    {OPTIONS("{\"include_usage\":true,\"include_obfuscation\":false}"), CACHE_FORM_FIXED},
    {OPTIONS("{\"continuous_usage_stats\":true}"), CACHE_FORM_FIXED},
    {OPTIONS("[]"), CACHE_FORM_FIXED},
    {OPTIONS("true"), CACHE_FORM_FIXED},
    {OPTIONS("\"\""), CACHE_FORM_FIXED},
    {"{\"stream\":1}", CACHE_FORM_FIXED},
    {"{\"stream\":0}", CACHE_FORM_FIXED},
    {"{\"stream\":\"true\"}", CACHE_FORM_FIXED},
    {"{\"stream\":\"\"}", CACHE_FORM_FIXED},
    {"{\"stream\":{}}", CACHE_FORM_FIXED},
    {"{\"stream\":1,\"stream_options\":{\"include_usage\":true}}", CACHE_FORM_FIXED},
};

static void test_form_is_what_stream_and_its_options_ask_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(form_cases); i++) {
        const struct form_case *row = &form_cases[i];
        struct json_scan scan;
        assert_int_equal(json_scan(str_of(row->body), &scan), JSON_SCAN_OK);
        if (cache_form_of(API_CHAT, &scan) != row->form) {
            print_message("row: %s\n", row->body);
        }
        assert_int_equal(cache_form_of(API_CHAT, &scan), row->form);
        assert_int_equal(cache_form_of(API_COMPLETIONS, &scan), row->form);
    }
}

static void test_form_of_an_api_whose_answers_cannot_be_turned_is_fixed(void **state)
{
    static const enum api apis[] = {API_EMBEDDINGS, API_RESPONSES, API_MESSAGES, API_NONE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(apis); i++) {
        for (size_t j = 0; j < ARRAY_LEN(form_cases); j++) {
            struct json_scan scan;
            assert_int_equal(json_scan(str_of(form_cases[j].body), &scan), JSON_SCAN_OK);
            assert_int_equal(cache_form_of(apis[i], &scan), CACHE_FORM_FIXED);
        }
    }
}

static void test_key_of_a_flight_differs_for_each_form_and_from_the_entrys(void **state)
{
    struct digest *digest = digest_new();
    struct cache_key keys[CACHE_FORM_COUNT + 1];

    (void)state;
    keys[CACHE_FORM_COUNT] = key_of(&(struct request){.body = "{}"});
    for (unsigned form = 0; form < CACHE_FORM_COUNT; form++) {
        cache_key_of_form(digest, &keys[CACHE_FORM_COUNT], (enum cache_form)form, &keys[form]);
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(keys[i].bytes, keys[j].bytes, CACHE_KEY_BYTES);
        }
    }
    digest_free(digest);
}

/* ---- what Redis sees ---- */

/* Computed apart from this code: sha256 over the parts as key.c's first lines say. */
#define KNOWN_KEY       "ns3:f87c89f8873502074da9c76f6c4b00a2d5a08138c8c2e1eeb2b2f0f6a2328f42"
#define KNOWN_KEY_FIXED "ns3:ba6dba06309cf239bde0e27dfd55517fbcd216674c697c7154aef84f70b156b9"
#define KNOWN_KEY_LONG  "ns3:8075f71200e2851ef96d3688c6724bac4803819c89880f8e23c8cbfab98cd9d7"

#define KNOWN_KEY_SEALED "ns3:5962494379b7f18520944b4648f525c145c11e5c0e641a548d0b0951a7a0338a"

/* The meaning of a key must not change by accident: Redis outlives a release. */
static void test_key_of_a_known_request_stays_what_it_was(void **state)
{
    char text[CACHE_KEY_TEXT_LEN];
    struct cache_key key = key_of(&(struct request){.body = "{" M "," P "}"});

    (void)state;
    cache_key_text(&key, text);
    assert_string_equal(text, KNOWN_KEY);
    key = key_of(&(struct request){.body = "{" M "," P "}", .target = "/v1/messages"});
    cache_key_text(&key, text);
    assert_string_equal(text, KNOWN_KEY_FIXED);

    char prompt[2001] = {0};
    char body[2100];
    memset(prompt, 'p', sizeof(prompt) - 1);
    snprintf(body, sizeof(body), "{\"prompt\":\"%s\"," M "}", prompt);
    key = key_of(&(struct request){.body = body});
    cache_key_text(&key, text);
    assert_string_equal(text, KNOWN_KEY_LONG);
}

/* Computed apart from this code: HMAC-SHA256 of KNOWN_KEY's bytes. */
static void test_key_sealed_with_a_secret_stays_what_it_was(void **state)
{
    char text[CACHE_KEY_TEXT_LEN];
    struct cache_key key =
        key_of(&(struct request){.body = "{" M "," P "}", .secret = "0123456789abcdef"});

    (void)state;
    cache_key_text(&key, text);
    assert_string_equal(text, KNOWN_KEY_SEALED);
}

static void test_key_text_is_the_version_and_64_hex_digits(void **state)
{
    struct cache_key key = {.bytes = {0x00, 0x0f, 0xf0, 0xff}};
    char text[CACHE_KEY_TEXT_LEN];

    (void)state;
    cache_key_text(&key, text);
    assert_string_equal(text,
                        "ns3:000ff0ff00000000000000000000000000000000000000000000000000000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_is_the_same_for_requests_that_share_an_answer),
        cmocka_unit_test(test_key_differs_for_requests_that_do_not),
        cmocka_unit_test(test_key_of_a_long_member_does_not_depend_on_white_space),
        cmocka_unit_test(test_key_does_not_depend_on_how_the_body_arrives),
        cmocka_unit_test(test_key_of_many_long_members_does_not_depend_on_their_order),
        cmocka_unit_test(test_form_is_what_stream_and_its_options_ask_for),
        cmocka_unit_test(test_form_of_an_api_whose_answers_cannot_be_turned_is_fixed),
        cmocka_unit_test(test_key_of_a_flight_differs_for_each_form_and_from_the_entrys),
        cmocka_unit_test(test_key_of_a_known_request_stays_what_it_was),
        cmocka_unit_test(test_key_sealed_with_a_secret_stays_what_it_was),
        cmocka_unit_test(test_key_text_is_the_version_and_64_hex_digits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
