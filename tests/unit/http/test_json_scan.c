/* SPDX-License-Identifier: MIT */
/* The scan of JSON bodies: grammar (RFC 8259), what it finds, and the canonical form. */
#include "unit/http/guard_page.h"

#include <nearside/base/buf.h>
#include <nearside/http/json_scan.h>

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

struct scan_case {
    struct str text;
    enum json_scan_result result;
};

static const struct scan_case scan_cases[] = {
    {S("{}"), JSON_SCAN_OK},
    {S(" {} "), JSON_SCAN_OK},
    {S("{\"a\":1}"), JSON_SCAN_OK},
    {S("{\"a\":-0}"), JSON_SCAN_OK},
    {S("{\"a\":0}"), JSON_SCAN_OK},
    {S("{\"a\":-1}"), JSON_SCAN_OK},
    {S("{\"a\":123456789012345678901234567890}"), JSON_SCAN_OK},
    {S("{\"a\":0.5}"), JSON_SCAN_OK},
    {S("{\"a\":-0.0}"), JSON_SCAN_OK},
    {S("{\"a\":1e5}"), JSON_SCAN_OK},
    {S("{\"a\":1E5}"), JSON_SCAN_OK},
    {S("{\"a\":1e+5}"), JSON_SCAN_OK},
    {S("{\"a\":1e-5}"), JSON_SCAN_OK},
    {S("{\"a\":0e0}"), JSON_SCAN_OK},
    {S("{\"a\":1.5e300}"), JSON_SCAN_OK},
    {S("{\"a\":1e99999}"), JSON_SCAN_OK},
    {S("{\"a\":true}"), JSON_SCAN_OK},
    {S("{\"a\":false}"), JSON_SCAN_OK},
    {S("{\"a\":null}"), JSON_SCAN_OK},
    {S("{\"a\":\"\"}"), JSON_SCAN_OK},
    {S("{\"a\":\"b\"}"), JSON_SCAN_OK},
    {S("{\"\":1}"), JSON_SCAN_OK},
    {S("{\"a\":[]}"), JSON_SCAN_OK},
    {S("{\"a\":[ ]}"), JSON_SCAN_OK},
    {S("{\"a\":[1]}"), JSON_SCAN_OK},
    {S("{\"a\":[1,2,3]}"), JSON_SCAN_OK},
    {S("{\"a\":[1, \"b\", null, true, {}, []]}"), JSON_SCAN_OK},
    {S("{\"a\":{}}"), JSON_SCAN_OK},
    {S("{\"a\":{ }}"), JSON_SCAN_OK},
    {S("{\"a\":{\"b\":{\"c\":1}}}"), JSON_SCAN_OK},
    {S("{\"a\":1,\"b\":2}"), JSON_SCAN_OK},
    {S("{\"a\" : 1 , \"b\" : 2}"), JSON_SCAN_OK},
    {S("{\"a\":\"\\\"\"}"), JSON_SCAN_OK},
    {S("{\"a\":\"\\\\\"}"), JSON_SCAN_OK},
    {S("{\"a\":\"\\/\"}"), JSON_SCAN_OK},
    {S("{\"a\":\"\\b\\f\\n\\r\\t\"}"), JSON_SCAN_OK},
    {S("{\"a\":\"\\u0041\"}"), JSON_SCAN_OK},
    {S("{\"a\":\"\\u00e9\\uABCD\\uabcd\"}"), JSON_SCAN_OK},
    {S("{\"a\":\"\\ud83d\\ude00\"}"), JSON_SCAN_OK},
    {S("{\"a\":\"\\ud800\"}"), JSON_SCAN_OK},
    {S("{\"a\":\"\\udc00\\ud800\"}"), JSON_SCAN_OK},
    {S("{\"a\":\"\\u0000\"}"), JSON_SCAN_OK},
    {S("{\"a\":\"/\"}"), JSON_SCAN_OK},
    {S("{\"a\":\"'\"}"), JSON_SCAN_OK},
    {S("{\"a\":{\"a\":1,\"a\":2}}"), JSON_SCAN_OK},
    {S("{\"a\":{\"\\u0061\":1}}"), JSON_SCAN_OK},
    {S("{\"a\":\"0123456789abcdef0123456789abcdef0123456789abcdef\"}"), JSON_SCAN_OK},
    {S("{\"a\":\"0123456789abcde\\n0123456789abcdef\\\"0123456789abcdef\"}"), JSON_SCAN_OK},
    {S("{\"a\":[[[[[[[[[[]]]]]]]]]]}"), JSON_SCAN_OK},
    {S("{\"A\":1,\"a\":2}"), JSON_SCAN_OK},
    {S("{\"a\":1,\"a \":2}"), JSON_SCAN_OK},
    {S("\t\n\r {\t\"a\"\n:\r1 }\n"), JSON_SCAN_OK},
    {S("{\"a\":\"\xc3\xa9\"}"), JSON_SCAN_OK},
    {S("{\"\xc3\xa9\":1}"), JSON_SCAN_OK},
    {S("{\"a\":"
       "\"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe3\x81\xae\xe3\x83\x86\xe3\x82\xad\xe3\x82\xb9\xe3"
       "\x83\x88\"}"),
     JSON_SCAN_OK},
    {S("{\"a\":\"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\"}"), JSON_SCAN_OK},
    {S("{\"a\":"
       "\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f"
       "\xbf\xbf\"}"),
     JSON_SCAN_OK},                        /* the edges of UTF-8 */
    {S("{\"a\":\"\x7f\"}"), JSON_SCAN_OK}, /* DEL needs no escape */
    {S("[]"), JSON_SCAN_NO_OBJECT},
    {S("[1]"), JSON_SCAN_NO_OBJECT},
    {S("1"), JSON_SCAN_NO_OBJECT},
    {S("-1"), JSON_SCAN_NO_OBJECT},
    {S("\"a\""), JSON_SCAN_NO_OBJECT},
    {S("true"), JSON_SCAN_NO_OBJECT},
    {S("false"), JSON_SCAN_NO_OBJECT},
    {S("null"), JSON_SCAN_NO_OBJECT},
    {S(" null "), JSON_SCAN_NO_OBJECT},
    {S("0.1"), JSON_SCAN_NO_OBJECT},
    {S("\"\\u0041\""), JSON_SCAN_NO_OBJECT},
    {S("[{\"a\":1}]"), JSON_SCAN_NO_OBJECT},
    {S(""), JSON_SCAN_SYNTAX},
    {S("   "), JSON_SCAN_SYNTAX},
    {S("{"), JSON_SCAN_SYNTAX},
    {S("}"), JSON_SCAN_SYNTAX},
    {S("["), JSON_SCAN_SYNTAX},
    {S("]"), JSON_SCAN_SYNTAX},
    {S("{]"), JSON_SCAN_SYNTAX},
    {S("[}"), JSON_SCAN_SYNTAX},
    {S("{\"a\""), JSON_SCAN_SYNTAX},
    {S("{\"a\":"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1,"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1,}"), JSON_SCAN_SYNTAX},
    {S("{,}"), JSON_SCAN_SYNTAX},
    {S("{,\"a\":1}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1,,\"b\":2}"), JSON_SCAN_SYNTAX},
    {S("{\"a\" 1}"), JSON_SCAN_SYNTAX},
    {S("{\"a\"::1}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1 \"b\":2}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1;\"b\":2}"), JSON_SCAN_SYNTAX},
    {S("{a:1}"), JSON_SCAN_SYNTAX},
    {S("{'a':1}"), JSON_SCAN_SYNTAX},
    {S("{1:1}"), JSON_SCAN_SYNTAX},
    {S("{null:1}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1}}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1}x"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1} {\"b\":2}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1},"), JSON_SCAN_SYNTAX},
    {S("{\"a\":[1,]}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":[,1]}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":[1,,2]}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":[1 2]}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":[1}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":[1"), JSON_SCAN_SYNTAX},
    {S("{\"a\":["), JSON_SCAN_SYNTAX},
    {S("{\"a\":[]]}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":{]}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":{\"b\"}}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":{\"b\":}}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":{\"b\":1,}}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":01}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":-01}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":+1}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":-}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":--1}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1.}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":.5}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":-.5}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1.e5}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1e}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1e+}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1e-}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1e5.5}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1.5.5}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":0x1}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1_000}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":Infinity}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":-Infinity}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":NaN}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":nan}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1a}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":True}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":tru}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":truee}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":nul}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":nulll}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":fals}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":undefined}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"b}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"b\\\"}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"\\a\"}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"\\x41\"}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"\\u\"}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"\\u004\"}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"\\u004g\"}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"\\u 041\"}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"\\U0041\"}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"\\"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"\\u00"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"\\'\"}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":'b'}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1/*x*/}"), JSON_SCAN_SYNTAX},
    {S("// x\n{}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1}#"), JSON_SCAN_SYNTAX},
    {S("[1,2"), JSON_SCAN_SYNTAX},
    {S("[\"a"), JSON_SCAN_SYNTAX},
    {S("tru"), JSON_SCAN_SYNTAX},
    {S("nul"), JSON_SCAN_SYNTAX},
    {S("-"), JSON_SCAN_SYNTAX},
    {S("1."), JSON_SCAN_SYNTAX},
    {S("\"a"), JSON_SCAN_SYNTAX},
    {S("\"\\"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"\n\"}"), JSON_SCAN_SYNTAX}, /* control characters need an escape */
    {S("{\"a\":\"\t\"}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"\x00\"}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"0123456789abcdef\x1f\"}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":1}\x00"), JSON_SCAN_SYNTAX},
    {S("\x00"), JSON_SCAN_SYNTAX},
    {S("{\x0b\"a\":1}"), JSON_SCAN_SYNTAX}, /* vertical tab is no white space */
    {S("{\x0c\"a\":1}"), JSON_SCAN_SYNTAX},
    {S("{\xc2\xa0\"a\":1}"), JSON_SCAN_SYNTAX}, /* nor is U+00A0 */
    {S("\xef\xbb\xbf{}"), JSON_SCAN_SYNTAX},    /* a byte order mark */
    {S("{\"a\":\xff}"), JSON_SCAN_SYNTAX},
    {S("{\"a\":\"\x80\"}"), JSON_SCAN_UTF8}, /* a tail alone */
    {S("{\"a\":\"\xbf\"}"), JSON_SCAN_UTF8},
    {S("{\"a\":\"\xc0\x80\"}"), JSON_SCAN_UTF8}, /* overlong */
    {S("{\"a\":\"\xc1\xbf\"}"), JSON_SCAN_UTF8},
    {S("{\"a\":\"\xc2\"}"), JSON_SCAN_UTF8}, /* cut */
    {S("{\"a\":\"\xc2"
       "a\"}"),
     JSON_SCAN_UTF8},
    {S("{\"a\":\"\xe0\x80\x80\"}"), JSON_SCAN_UTF8}, /* overlong */
    {S("{\"a\":\"\xe0\x9f\xbf\"}"), JSON_SCAN_UTF8},
    {S("{\"a\":\"\xe1\x80\"}"), JSON_SCAN_UTF8}, /* cut */
    {S("{\"a\":\"\xe1\x80"
       "a\"}"),
     JSON_SCAN_UTF8},
    {S("{\"a\":\"\xe1"
       "a\x80\"}"),
     JSON_SCAN_UTF8},
    {S("{\"a\":\"\xed\xa0\x80\"}"), JSON_SCAN_UTF8}, /* a surrogate */
    {S("{\"a\":\"\xed\xbf\xbf\"}"), JSON_SCAN_UTF8},
    {S("{\"a\":\"\xf0\x80\x80\x80\"}"), JSON_SCAN_UTF8}, /* overlong */
    {S("{\"a\":\"\xf0\x8f\xbf\xbf\"}"), JSON_SCAN_UTF8},
    {S("{\"a\":\"\xf0\x90\x80\"}"), JSON_SCAN_UTF8}, /* cut */
    {S("{\"a\":\"\xf0\x90\x80"
       "a\"}"),
     JSON_SCAN_UTF8},
    {S("{\"a\":\"\xf4\x90\x80\x80\"}"), JSON_SCAN_UTF8}, /* over U+10FFFF */
    {S("{\"a\":\"\xf5\x80\x80\x80\"}"), JSON_SCAN_UTF8},
    {S("{\"a\":\"\xff\"}"), JSON_SCAN_UTF8},
    {S("{\"a\":\"\xfe\xff\"}"), JSON_SCAN_UTF8},
    {S("{\"a\":\"0123456789abcdef\xc3\"}"), JSON_SCAN_UTF8},
    {S("{\"\xff\":1}"), JSON_SCAN_UTF8},
    {S("{\"a\":\"\xe1\x80"), JSON_SCAN_UTF8},
    {S("[\"\xff\"]"), JSON_SCAN_UTF8},
    {S("{\"a\":1,\"a\":1}"), JSON_SCAN_DUPLICATE},
    {S("{\"a\":1,\"b\":2,\"a\":3}"), JSON_SCAN_DUPLICATE},
    {S("{\"\":1,\"\":2}"), JSON_SCAN_DUPLICATE},
    {S("{\"model\":\"x\",\"stream\":true,\"model\":\"y\"}"), JSON_SCAN_DUPLICATE},
    {S("{\"\\u0061\":1}"), JSON_SCAN_NAME},
    {S("{\"a\\\"\":1}"), JSON_SCAN_NAME},
    {S("{\"a\":1,\"b\\\\\":2}"), JSON_SCAN_NAME},
    {S("{\"\\n\":1}"), JSON_SCAN_NAME},
};

static void test_texts_are_judged_by_the_grammar(void **state)
{
    static struct json_scan scan;
    struct guard_page page;

    (void)state;
    guard_page_init(&page, BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(scan_cases); i++) {
        const enum json_scan_result result =
            json_scan(guard_page_put(&page, scan_cases[i].text), &scan);

        if (result != scan_cases[i].result) {
            print_error("%s: %s\n", scan_cases[i].text.ptr, json_scan_word(result));
        }
        assert_int_equal(result, scan_cases[i].result);
    }
    guard_page_done(&page);
}

/* In two pieces cut at `cut`, and lying elsewhere when the second has come; or byte by byte. */
static enum json_scan_result scan_in_pieces(struct str text, size_t cut, struct json_scan *scan)
{
    static char elsewhere[BYTES_MAX];
    struct json_scanner scanner;

    json_scanner_start(&scanner, scan, 0, NULL, NULL);
    memcpy(elsewhere, text.ptr, text.len);
    if (cut == SIZE_MAX) {
        for (size_t len = 0; len < text.len; len++) {
            (void)json_scanner_feed(&scanner, str_make(elsewhere, len));
        }
    } else {
        (void)json_scanner_feed(&scanner, str_make(elsewhere, cut));
    }
    memset(elsewhere, '!', sizeof(elsewhere));
    return json_scanner_end(&scanner, text);
}

static void assert_same_scan(const struct json_scan *a, const struct json_scan *b)
{
    assert_int_equal(a->member_count, b->member_count);
    for (uint32_t i = 0; i < a->member_count; i++) {
        assert_ptr_equal(a->members[i].name.ptr, b->members[i].name.ptr);
        assert_int_equal(a->members[i].name.len, b->members[i].name.len);
        assert_ptr_equal(a->members[i].value.ptr, b->members[i].value.ptr);
        assert_int_equal(a->members[i].value.len, b->members[i].value.len);
        assert_int_equal(a->members[i].compact_len, b->members[i].compact_len);
        assert_int_equal(a->members[i].spaced, b->members[i].spaced);
    }
    assert_true(str_eq(a->model, b->model));
    assert_int_equal(a->stream, b->stream);
    assert_int_equal(a->temperature_is_zero, b->temperature_is_zero);
    assert_int_equal(a->has_seed, b->has_seed);
    assert_int_equal(a->store, b->store);
}

static void test_a_text_in_pieces_is_judged_like_the_whole(void **state)
{
    static struct json_scan whole;
    static struct json_scan pieces;
    struct guard_page page;

    (void)state;
    guard_page_init(&page, BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(scan_cases); i++) {
        const struct str text = guard_page_put(&page, scan_cases[i].text);
        const enum json_scan_result result = json_scan(text, &whole);

        for (size_t cut = 0; cut <= text.len + 1; cut++) {
            const size_t place = cut > text.len ? SIZE_MAX : cut;
            const enum json_scan_result again = scan_in_pieces(text, place, &pieces);

            if (again != result) {
                print_error("%s cut at %zu: %s\n", scan_cases[i].text.ptr, cut,
                            json_scan_word(again));
            }
            assert_int_equal(again, result);
            if (result == JSON_SCAN_OK) {
                assert_same_scan(&whole, &pieces);
            }
        }
    }
    guard_page_done(&page);
}

/* No object is whole before its last brace. */
static void test_a_cut_object_is_never_good(void **state)
{
    static struct json_scan scan;
    struct guard_page page;

    (void)state;
    guard_page_init(&page, BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(scan_cases); i++) {
        const struct str text = str_trim(scan_cases[i].text);

        for (size_t cut = 0; scan_cases[i].result == JSON_SCAN_OK && cut + 2 < text.len; cut++) {
            assert_int_not_equal(json_scan(guard_page_put(&page, str_slice(text, 0, cut)), &scan),
                                 JSON_SCAN_OK);
        }
    }
    guard_page_done(&page);
}

/* ---- limits ---- */

static void put_nested(struct buf *out, char open, char close, unsigned depth)
{
    buf_clear(out);
    buf_append(out, "{\"a\":", 5);
    for (unsigned i = 1; i < depth; i++) {
        buf_append_char(out, open);
        if (open == '{' && i + 1 < depth) {
            buf_append(out, "\"b\":", 4);
        }
    }
    for (unsigned i = 1; i < depth; i++) {
        buf_append_char(out, close);
    }
    buf_append_char(out, '}');
}

static void test_depth_is_bounded(void **state)
{
    static struct json_scan scan;
    struct buf text;

    (void)state;
    buf_init(&text);
    put_nested(&text, '[', ']', JSON_SCAN_DEPTH_MAX);
    assert_int_equal(json_scan(buf_str(&text), &scan), JSON_SCAN_OK);
    put_nested(&text, '[', ']', JSON_SCAN_DEPTH_MAX + 1);
    assert_int_equal(json_scan(buf_str(&text), &scan), JSON_SCAN_DEPTH);
    put_nested(&text, '{', '}', JSON_SCAN_DEPTH_MAX);
    assert_int_equal(json_scan(buf_str(&text), &scan), JSON_SCAN_OK);
    put_nested(&text, '{', '}', JSON_SCAN_DEPTH_MAX + 1);
    assert_int_equal(json_scan(buf_str(&text), &scan), JSON_SCAN_DEPTH);
    buf_clear(&text);
    for (unsigned i = 0; i < 100000; i++) {
        buf_append_char(&text, '[');
    }
    assert_int_equal(json_scan(buf_str(&text), &scan), JSON_SCAN_DEPTH);
    buf_done(&text);
}

static void put_members(struct buf *out, unsigned count)
{
    buf_clear(out);
    buf_append_char(out, '{');
    for (unsigned i = 0; i < count; i++) {
        buf_printf(out, "%s\"m%u\":%u", i == 0 ? "" : ",", i, i);
    }
    buf_append_char(out, '}');
}

static void test_members_are_bounded(void **state)
{
    static struct json_scan scan;
    struct buf text;

    (void)state;
    buf_init(&text);
    put_members(&text, JSON_SCAN_MEMBERS_MAX);
    assert_int_equal(json_scan(buf_str(&text), &scan), JSON_SCAN_OK);
    assert_int_equal(scan.member_count, JSON_SCAN_MEMBERS_MAX);
    put_members(&text, JSON_SCAN_MEMBERS_MAX + 1);
    assert_int_equal(json_scan(buf_str(&text), &scan), JSON_SCAN_MEMBERS);
    buf_done(&text);
}

static void test_top_level_names_are_bounded(void **state)
{
    static struct json_scan scan;
    struct buf text;

    (void)state;
    buf_init(&text);
    buf_printf(&text, "{\"%0128d\":1}", 0);
    assert_int_equal(json_scan(buf_str(&text), &scan), JSON_SCAN_OK);
    buf_clear(&text);
    buf_printf(&text, "{\"%0129d\":1}", 0);
    assert_int_equal(json_scan(buf_str(&text), &scan), JSON_SCAN_NAME);
    buf_clear(&text);
    buf_printf(&text, "{\"a\":{\"%0999d\":1}}", 0);
    assert_int_equal(json_scan(buf_str(&text), &scan), JSON_SCAN_OK);
    buf_done(&text);
}

/* ---- what it finds ---- */

struct found_case {
    struct str text;
    const char *model;
    enum json_tristate stream;
    bool zero;
    bool seed;
    bool store;
};

static const struct found_case found_cases[] = {
    {S("{}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"model\":\"m-1\",\"stream\":true}"), "m-1", JSON_SCAN_TRUE, false, false, false},
    {S("{ \"stream\" : false , \"model\" : \"m\" }"), "m", JSON_SCAN_FALSE, false, false, false},
    {S("{\"model\":\"a\\/b\"}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"model\":\"m\",\"x\":\"\\n\"}"), "m", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"x\":{\"\\n\":\"\\n\"},\"model\":\"m\"}"), "m", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"model\":\"m\",\"x\":\"\\n\"}"), "m", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"x\":{\"\\n\":\"\\n\"},\"model\":\"m\"}"), "m", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"model\":\"\xc3\xa9\"}"), "\xc3\xa9", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"model\":\"\"}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"model\":7}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"model\":[\"m\"]}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"x\":{\"model\":\"m\",\"stream\":true,\"seed\":1}}"), "", JSON_SCAN_ABSENT, false, false,
     false},
    {S("{\"stream\":\"true\"}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"stream\":1}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"stream\":null}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"temperature\":0}"), "", JSON_SCAN_ABSENT, true, false, false},
    {S("{\"temperature\":0.0}"), "", JSON_SCAN_ABSENT, true, false, false},
    {S("{\"temperature\":-0.00}"), "", JSON_SCAN_ABSENT, true, false, false},
    {S("{\"temperature\":0e7}"), "", JSON_SCAN_ABSENT, true, false, false},
    {S("{\"temperature\":0.1}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"temperature\":1}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"temperature\":1e-999}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"temperature\":\"0\"}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"temperature\":null}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"seed\":42}"), "", JSON_SCAN_ABSENT, false, true, false},
    {S("{\"seed\":-1}"), "", JSON_SCAN_ABSENT, false, true, false},
    {S("{\"seed\":null}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"seed\":\"1\"}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"store\":true}"), "", JSON_SCAN_ABSENT, false, false, true},
    {S("{\"store\":false}"), "", JSON_SCAN_ABSENT, false, false, false},
    {S("{\"store\":1}"), "", JSON_SCAN_ABSENT, false, false, false},
};

static void test_members_that_matter_are_found_at_the_top_only(void **state)
{
    static struct json_scan scan;
    struct guard_page page;

    (void)state;
    guard_page_init(&page, BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(found_cases); i++) {
        const struct found_case *row = &found_cases[i];

        assert_int_equal(json_scan(guard_page_put(&page, row->text), &scan), JSON_SCAN_OK);
        assert_true(str_eq(scan.model, str_of(row->model)));
        assert_int_equal(scan.stream, row->stream);
        assert_int_equal(scan.temperature_is_zero, row->zero);
        assert_int_equal(scan.has_seed, row->seed);
        assert_int_equal(scan.store, row->store);
    }
    guard_page_done(&page);
}

static void test_members_are_views_of_the_text(void **state)
{
    static struct json_scan scan;
    const struct str text = STR_LIT("{ \"a\" : [1, 2] , \"b\":{\"c\":\" \"}, \"d\":3 }");

    (void)state;
    assert_int_equal(json_scan(text, &scan), JSON_SCAN_OK);
    assert_int_equal(scan.member_count, 3);
    assert_true(str_eq(scan.members[0].name, STR_LIT("a")));
    assert_true(str_eq(scan.members[0].value, STR_LIT("[1, 2]")));
    assert_true(scan.members[0].spaced);
    assert_true(str_eq(scan.members[1].value, STR_LIT("{\"c\":\" \"}")));
    assert_false(scan.members[1].spaced);
    assert_true(str_eq(scan.members[2].value, STR_LIT("3")));
    assert_ptr_equal(scan.members[0].value.ptr, text.ptr + 8);
}

struct told {
    struct buf bytes;
    uint32_t index;
};

static void on_run(void *arg, uint32_t index, const struct json_member *member, struct str run)
{
    struct told *told = arg;

    if (buf_str(&told->bytes).len == 0) {
        assert_true(member->compact_len >= 8);
        told->index = index;
    }
    assert_int_equal(index, told->index);
    buf_append_str(&told->bytes, run);
}

/* Of the short member nothing, of the long one what comes from eight bytes on. */
static void test_runs_are_told_of_long_members_once_they_are(void **state)
{
    static struct json_scan scan;
    const struct str text = STR_LIT("{\"a\":[1, 2],\"b\":[1, 22, 333, 44, 5],\"c\":7}");
    struct json_scanner scanner;
    struct told told;

    (void)state;
    buf_init(&told.bytes);
    json_scanner_start(&scanner, &scan, 8, on_run, &told);
    assert_int_equal(json_scanner_end(&scanner, text), JSON_SCAN_OK);
    assert_int_equal(told.index, 1);
    assert_true(str_eq(buf_str(&told.bytes), STR_LIT("333,44,5]")));
    buf_done(&told.bytes);
}

/* ---- the canonical form ---- */

static void on_piece(void *arg, const void *bytes, size_t len)
{
    struct buf *out = arg;

    buf_append(out, bytes, len);
}

static const char *const skip[] = {"stream", "user", NULL};

static void canonical(struct str text, struct buf *out)
{
    static struct json_scan scan;

    buf_clear(out);
    assert_int_equal(json_scan(text, &scan), JSON_SCAN_OK);
    json_scan_canonical(&scan, skip, on_piece, out);
}

struct pair_case {
    struct str a;
    struct str b;
    bool equal;
};

static const struct pair_case pair_cases[] = {
    {S("{}"), S(" { } "), true},
    {S("{\"a\":1}"), S("{ \"a\" : 1 }"), true},
    {S("{\"a\":1}"), S("{\"a\":1}\n"), true},
    {S("{\"a\":1,\"b\":2}"), S("{\"b\":2,\"a\":1}"), true},
    {S("{\"a\":1,\"b\":2,\"c\":3}"), S("{\"c\":3,\"a\":1,\"b\":2}"), true},
    {S("{\"a\":1,\"b\":2,\"c\":3}"), S("{ \"b\" :2,\n\"c\":\t3,\"a\":1}"), true},
    {S("{\"a\":[1,2]}"), S("{\"a\":[ 1 , 2 ]}"), true},
    {S("{\"a\":[]}"), S("{\"a\":[ ]}"), true},
    {S("{\"a\":{}}"), S("{\"a\":{\n}}"), true},
    {S("{\"a\":{\"b\":[1,{\"c\":2}]}}"), S("{\"a\": {\"b\": [1, {\"c\": 2}]}}"), true},
    {S("{\"a\":\"x y\"}"), S("{\"a\": \"x y\"}"), true},
    {S("{\"a\":[\"x y\",\" \"]}"), S("{\"a\": [\"x y\", \" \"]}"), true},
    {S("{\"a\":\"\\\"\"}"), S("{\"a\" :\"\\\"\"}"), true},
    {S("{\"a\":[\"\\\"\",\"b c\"]}"), S("{\"a\": [\"\\\"\", \"b c\"]}"), true},
    {S("{\"a\":[\"\\\\\",\"b c\"]}"), S("{\"a\": [\"\\\\\", \"b c\"]}"), true},
    {S("{\"a\":[\"\\\\\\\" ] \",\"b\"]}"), S("{\"a\": [\"\\\\\\\" ] \", \"b\"]}"), true},
    {S("{\"a\":true,\"b\":null}"), S("{\"b\": null,\r\n\"a\":true}"), true},
    {S("{\"a\":\"\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac\"}"),
     S("{\"a\":   \"\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac\"}"), true},
    {S("{\"a\":[\"\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac\"]}"),
     S("{\"a\":[ \"\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac\"]}"), true},
    {S("{\"\":1,\"a\":2}"), S("{\"a\":2,\"\":1}"), true},
    {S("{\"a\":1,\"ab\":2,\"b\":3}"), S("{\"b\":3,\"ab\":2,\"a\":1}"), true},
    {S("{\"A\":1,\"a\":2}"), S("{\"a\":2,\"A\":1}"), true},
    {S("{\"a\":-1.5e10}"), S("{\"a\":\n-1.5e10\n}"), true},
    {S("{\"a\":[[],[[]]]}"), S("{\"a\":[ [ ] , [ [ ] ] ]}"), true},
    {S("{\"a\":1}"), S("{\"a\":1,\"stream\":true}"), true},
    {S("{\"a\":1}"), S("{\"stream\":false,\"a\":1}"), true},
    {S("{\"a\":1,\"stream\":true}"), S("{\"a\":1,\"stream\":false}"), true},
    {S("{\"a\":1}"), S("{\"user\":\"x\",\"a\":1,\"stream\":[1, 2]}"), true},
    {S("{}"), S("{\"stream\":true}"), true},
    {S("{\"a\":1,\"b\":2}"), S("{\"b\":2,\"stream\":true,\"a\":1,\"user\":{\"x\": 1}}"), true},
    {S("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi there\"}]}"),
     S("{\"messages\": [{\"role\": \"user\", \"content\": \"Hi there\"}], \"model\": \"m\"}"),
     true},
    {S("{\"temperature\":0,\"model\":\"m\",\"messages\":[]}"),
     S("{\n  \"model\": \"m\",\n  \"messages\": [],\n  \"temperature\": 0\n}"), true},
    {S("{\"a\":1}"), S("{\"a\":2}"), false},
    {S("{\"a\":1}"), S("{\"b\":1}"), false},
    {S("{\"a\":1}"), S("{\"a\":\"1\"}"), false},
    {S("{\"a\":1}"), S("{\"a\":1.0}"), false},
    {S("{\"a\":1}"), S("{\"a\":1e0}"), false},
    {S("{\"a\":0}"), S("{\"a\":-0}"), false},
    {S("{\"a\":1}"), S("{}"), false},
    {S("{\"a\":1,\"b\":2}"), S("{\"a\":2,\"b\":1}"), false},
    {S("{\"a\":12}"), S("{\"a\":[1,2]}"), false},
    {S("{\"a\":[1,2]}"), S("{\"a\":[2,1]}"), false},
    {S("{\"a\":[1,2]}"), S("{\"a\":[12]}"), false},
    {S("{\"a\":[1]}"), S("{\"a\":[[1]]}"), false},
    {S("{\"a\":{\"b\":1,\"c\":2}}"), S("{\"a\":{\"c\":2,\"b\":1}}"), false},
    {S("{\"a\":\"x y\"}"), S("{\"a\":\"xy\"}"), false},
    {S("{\"a\":\"x y\"}"), S("{\"a\":\"x  y\"}"), false},
    {S("{\"a\":\" \"}"), S("{\"a\":\"\"}"), false},
    {S("{\"a\":[\"x y\"]}"), S("{\"a\":[\"xy\"]}"), false},
    {S("{\"a\":[\"x y\", 1]}"), S("{\"a\":[\"xy\", 1]}"), false},
    {S("{\"a\":\"\\n\"}"), S("{\"a\":\"n\"}"), false},
    {S("{\"a\":\"\\u0041\"}"), S("{\"a\":\"A\"}"), false},
    {S("{\"a\":\"\\u00e9\"}"), S("{\"a\":\"\xc3\xa9\"}"), false},
    {S("{\"a\":\"\\ud800\"}"), S("{\"a\":\"\\ud801\"}"), false},
    {S("{\"a\":\"\\u00E9\"}"), S("{\"a\":\"\\u00e9\"}"), false},
    {S("{\"a\":true}"), S("{\"a\":false}"), false},
    {S("{\"a\":null}"), S("{\"a\":\"null\"}"), false},
    {S("{\"a\":null}"), S("{}"), false},
    {S("{\"a\":[]}"), S("{\"a\":{}}"), false},
    {S("{\"a\":\"\"}"), S("{\"a\":[]}"), false},
    {S("{\"a\":\"1,\\\"b\\\":2\"}"), S("{\"a\":\"1\",\"b\":2}"), false},
    {S("{\"a\":\"\\\\\"}"), S("{\"a\":\"\\\\\\\\\"}"), false},
    {S("{\"A\":1}"), S("{\"a\":1}"), false},
    {S("{\"a\":1}"), S("{\"a \":1}"), false},
    {S("{\"a\":1}"), S("{\" a\":1}"), false},
    {S("{\"a\":1,\"streams\":true}"), S("{\"a\":1}"), false},
    {S("{\"a\":1,\"Stream\":true}"), S("{\"a\":1}"), false},
    {S("{\"a\":{\"stream\":true}}"), S("{\"a\":{\"stream\":false}}"), false},
    {S("{\"a\":{\"b\":1,\"b\":2}}"), S("{\"a\":{\"b\":2}}"), false},
    {S("{\"a\":\"\xc3\xa9\"}"), S("{\"a\":\"\xc3\xa8\"}"), false},
    {S("{\"a\":[\"\\\" x\"]}"), S("{\"a\":[\"\\\"x\"]}"), false},
    {S("{\"a\":[\"\\\\\",\" x\"]}"), S("{\"a\":[\"\\\\\",\"x\"]}"), false},
};

static void test_canonical_forms_are_equal_exactly_when_the_bodies_mean_the_same(void **state)
{
    struct guard_page page;
    struct buf a;
    struct buf b;

    (void)state;
    guard_page_init(&page, BYTES_MAX);
    buf_init(&a);
    buf_init(&b);
    for (size_t i = 0; i < ARRAY_LEN(pair_cases); i++) {
        canonical(guard_page_put(&page, pair_cases[i].a), &a);
        canonical(guard_page_put(&page, pair_cases[i].b), &b);
        if (str_eq(buf_str(&a), buf_str(&b)) != pair_cases[i].equal) {
            print_error("%s %s\n", pair_cases[i].a.ptr, pair_cases[i].b.ptr);
        }
        assert_int_equal(str_eq(buf_str(&a), buf_str(&b)), pair_cases[i].equal);
    }
    buf_done(&a);
    buf_done(&b);
    guard_page_done(&page);
}

static void test_the_canonical_form_is_sorted_compact_json(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out);
    canonical(STR_LIT(" { \"b\" : [ 1 , \"x \\\" y\" ] , \"stream\" : true, \"\" : null, "
                      "\"ab\":{ \"z\" : 1, \"y\" : 2 }, \"a\":-0.0 } "),
              &out);
    assert_true(str_eq(buf_str(&out), STR_LIT("{\"\":null,\"a\":-0.0,\"ab\":{\"z\":1,\"y\":2},"
                                              "\"b\":[1,\"x \\\" y\"]}")));
    buf_done(&out);
}

struct pieces {
    size_t largest;
};

static void count_piece(void *arg, const void *bytes, size_t len)
{
    struct pieces *pieces = arg;

    (void)bytes;
    pieces->largest = len > pieces->largest ? len : pieces->largest;
}

static void test_a_large_value_is_fed_in_one_piece(void **state)
{
    static struct json_scan scan;
    struct pieces pieces = {.largest = 0};
    struct buf text;

    (void)state;
    buf_init(&text);
    buf_printf(&text, "{\"messages\":[{\"content\":\"%01000000d x\"}],\"model\":\"m\"}", 0);
    assert_int_equal(json_scan(buf_str(&text), &scan), JSON_SCAN_OK);
    json_scan_canonical(&scan, NULL, count_piece, &pieces);
    assert_true(pieces.largest > 1000000);
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_are_judged_by_the_grammar),
        cmocka_unit_test(test_a_text_in_pieces_is_judged_like_the_whole),
        cmocka_unit_test(test_a_cut_object_is_never_good),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_members_are_bounded),
        cmocka_unit_test(test_top_level_names_are_bounded),
        cmocka_unit_test(test_members_that_matter_are_found_at_the_top_only),
        cmocka_unit_test(test_members_are_views_of_the_text),
        cmocka_unit_test(test_runs_are_told_of_long_members_once_they_are),
        cmocka_unit_test(test_canonical_forms_are_equal_exactly_when_the_bodies_mean_the_same),
        cmocka_unit_test(test_the_canonical_form_is_sorted_compact_json),
        cmocka_unit_test(test_a_large_value_is_fed_in_one_piece),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
