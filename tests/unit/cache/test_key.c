/* SPDX-License-Identifier: MIT */
/* Cache keys: which two requests share an answer and which never may. */
#include <nearside/base/digest.h>
#include <nearside/cache/key.h>
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

static struct cache_key key_of(const struct request *request)
{
    struct json_scan scan;
    struct cache_key key;
    struct digest *digest = digest_new();
    struct cache_key_parts parts = {
        .method = given_or(request->method, "POST"),
        .target = given_or(request->target, "/v1/chat/completions"),
        .authorization = given_or(request->authorization, "Bearer a"),
        .share_all = request->share_all,
        .regions = given_or(request->regions, ""),
        .origin = given_or(request->origin, ""),
        .scan = &scan,
    };

    assert_int_equal(json_scan(str_of(request->body), &scan), JSON_SCAN_OK);
    cache_key_make(digest, &parts, &key);
    digest_free(digest);
    return key;
}

#define M "\"model\":\"m\""
#define P "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

/* Two bodies of otherwise equal requests. */
#define BODIES(x, y)                                                                               \
    {                                                                                              \
        {.body = (x)}, {.body = (y)},                                                              \
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
    BODIES("{\"stream\":1}", "{\"stream\": 1}"),
    /* the other parts */
    {{.body = "{}", .method = "POST"}, {.body = "{}"}},
    {{.body = "{}", .target = "/v1/embeddings"}, {.body = " {}", .target = "/v1/embeddings"}},
    {{.body = "{}", .authorization = "Bearer b"}, {.body = "{} ", .authorization = "Bearer b"}},
    {{.body = "{}", .authorization = ""}, {.body = "{ }", .authorization = ""}},
    {{.body = "{}", .share_all = true, .authorization = "Bearer a"},
     {.body = "{}", .share_all = true, .authorization = "Bearer b"}},
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
    BODIES("{\"stream\":true}", "{}"),
    BODIES("{\"stream\":true}", "{\"stream\":false}"),
    BODIES("{\"stream\":true}", "{\"stream\":null}"),
    BODIES("{\"stream\":1}", "{}"),
    BODIES("{\"stream\":1}", "{\"stream\":true}"),
    BODIES("{\"stream\":\"true\"}", "{\"stream\":true}"),
    BODIES("{\"stream\":\"stream\"}", "{\"stream\":true}"),
    BODIES("{\"stream\":\"plain\"}", "{}"),
    BODIES("{\"stream\":true}", "{\"stream\":true,\"stream_options\":{\"include_usage\":true}}"),
    BODIES("{\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
           "{\"stream\":true,\"stream_options\":{\"include_usage\":false}}"),
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

/* Prompts of every length meet the gathering of small pieces, with white space and without. */
static void test_key_does_not_depend_on_how_the_body_falls_into_pieces(void **state)
{
    char prompt[2200];
    char tight[2400];
    char spaced[2400];

    (void)state;
    for (size_t len = 1; len < sizeof(prompt); len += 7) {
        memset(prompt, 'p', len);
        snprintf(tight, sizeof(tight), "{\"p\":\"%.*s\",\"z\":[1,2]}", (int)len, prompt);
        snprintf(spaced, sizeof(spaced), "{\"z\": [1 ,\n2], \"p\": \"%.*s\" }", (int)len, prompt);

        struct cache_key a = key_of(&(struct request){.body = tight});
        struct cache_key b = key_of(&(struct request){.body = spaced});
        assert_memory_equal(a.bytes, b.bytes, CACHE_KEY_BYTES);
    }
}

/* Computed apart from this code: sha256 over the parts as key.c's first lines say. */
#define KNOWN_KEY "ns1:d22cb600f62bf68851ea8f2b8925f533fa05e70123339351f07d45dc2ada99d6"

/* The meaning of a key must not change by accident: Redis outlives a release. */
static void test_key_of_a_known_request_stays_what_it_was(void **state)
{
    char text[CACHE_KEY_TEXT_LEN];
    struct cache_key key = key_of(&(struct request){.body = "{" M "," P "}"});

    (void)state;
    cache_key_text(&key, text);
    assert_string_equal(text, KNOWN_KEY);
}

static void test_key_text_is_the_version_and_64_hex_digits(void **state)
{
    struct cache_key key = {.bytes = {0x00, 0x0f, 0xf0, 0xff}};
    char text[CACHE_KEY_TEXT_LEN];

    (void)state;
    cache_key_text(&key, text);
    assert_string_equal(text,
                        "ns1:000ff0ff00000000000000000000000000000000000000000000000000000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_is_the_same_for_requests_that_share_an_answer),
        cmocka_unit_test(test_key_differs_for_requests_that_do_not),
        cmocka_unit_test(test_key_does_not_depend_on_how_the_body_falls_into_pieces),
        cmocka_unit_test(test_key_of_a_known_request_stays_what_it_was),
        cmocka_unit_test(test_key_text_is_the_version_and_64_hex_digits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
