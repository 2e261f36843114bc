/* SPDX-License-Identifier: MIT */
/* Chunked bodies (RFC 9112 7.1): whole, in every two parts, and byte by byte. */
#include "unit/http/guard_page.h"

#include <nearside/base/mem.h>
#include <nearside/http/h1.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define S(text)                                                                                    \
    {                                                                                              \
        "" text, sizeof(text) - 1                                                                  \
    }
#define BYTES_MAX 65536

struct chunked_case {
    const char *rule;
    struct str bytes;
    enum h1_result result;
    const char *data;
    size_t rest; /* bytes behind the end */
};

static const struct chunked_case cases[] = {
    {"one chunk", S("5\r\nhello\r\n0\r\n\r\n"), H1_COMPLETE, "hello", 0},
    {"no data", S("0\r\n\r\n"), H1_COMPLETE, "", 0},
    {"two chunks", S("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"), H1_COMPLETE, "hello!", 0},
    {"upper and lower hex", S("A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n"), H1_COMPLETE,
     "01234567890123456789a", 0},
    {"zeros in front", S("0000000000000001\r\nx\r\n00\r\n\r\n"), H1_COMPLETE, "x", 0},
    {"data that looks like framing", S("7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n"), H1_COMPLETE,
     "0\r\n\r\n\r\n", 0},
    {"the next message is left", S("1\r\nx\r\n0\r\n\r\nGET /"), H1_COMPLETE, "x", 5},
    {"7.1.1: extension", S("1;a=b\r\nx\r\n0;last\r\n\r\n"), H1_COMPLETE, "x", 0},
    {"7.1.1: quoted extension", S("1;a=\"b;\xc3\xa9\t\"\r\nx\r\n0\r\n\r\n"), H1_COMPLETE, "x", 0},
    {"7.1.1: several", S("1;a;b=c;d=\"\\\"\"\r\nx\r\n0\r\n\r\n"), H1_COMPLETE, "x", 0},
    {"7.1.2: trailers", S("1\r\nx\r\n0\r\nA: b\r\nC-d:\r\n\r\n"), H1_COMPLETE, "x", 0},
    {"7.1.2: framing in trailers is dropped with them",
     S("0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), H1_COMPLETE, "", 0},
    {"not over yet", S("5\r\nhel"), H1_NEED_MORE, "hel", 0},
    {"last chunk without its end", S("1\r\nx\r\n0\r\n"), H1_NEED_MORE, "x", 0},
    {"trailer without its end", S("0\r\nA: b\r\n"), H1_NEED_MORE, "", 0},
    {"the largest size", S("ffffffffffffffff\r\nx"), H1_NEED_MORE, "x", 0},

    {"no size", S("\r\n"), H1_BAD_CHUNK, "", 0},
    {"no size but an extension", S(";a\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"space before the size", S(" 1\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"minus", S("-1\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"plus", S("+1\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"0x", S("0x1\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"no hex digit", S("g\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"17 digits", S("00000000000000001\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"overflow", S("10000000000000001\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"underscore", S("1_0\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"white space without an extension", S("1 \r\nx\r\n0\r\n\r\n"), H1_BAD_CHUNK, "", 0},
    {"2.2: bare LF after the size", S("1\nx\r\n0\r\n\r\n"), H1_BAD_CHUNK, "", 0},
    {"2.2: bare CR after the size", S("1\rx\r\n0\r\n\r\n"), H1_BAD_CHUNK, "", 0},
    {"7.1.1: white space before an extension", S("1 ;a\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"7.1.1: white space within an extension", S("1;a =b\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"7.1.1: extension without a name", S("1;\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"7.1.1: extension with an empty value", S("1;a=\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"7.1.1: something after a quoted value", S("1;a=\"b\"c\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"7.1.1: quoted value that goes on over the line", S("1;a=\"b\r\nx\""), H1_BAD_CHUNK, "", 0},
    {"2.2: bare LF in an extension", S("1;a\nx\r\n0\r\n\r\n"), H1_BAD_CHUNK, "", 0},
    {"2.2: bare CR in an extension", S("1;a\rb\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"NUL in an extension", S("1;a\0\r\nx\r\n"), H1_BAD_CHUNK, "", 0},
    {"2.2: bare LF after data", S("1\r\nx\n0\r\n\r\n"), H1_BAD_CHUNK, "x", 0},
    {"2.2: bare CR after data", S("1\r\nx\r0\r\n\r\n"), H1_BAD_CHUNK, "x", 0},
    {"more data than told", S("1\r\nxy\r\n0\r\n\r\n"), H1_BAD_CHUNK, "x", 0},
    {"less data than told", S("3\r\nx\r\n0\r\n\r\n"), H1_BAD_CHUNK, "x\r\n", 0},
    {"2.2: bare LF at the end", S("0\r\n\n"), H1_BAD_TRAILER, "", 0},
    {"2.2: bare CR at the end", S("0\r\n\rx"), H1_BAD_TRAILER, "", 0},
    {"5.1: space before the colon", S("0\r\nA : b\r\n\r\n"), H1_BAD_TRAILER, "", 0},
    {"5.2: folded trailer", S("0\r\nA: b\r\n c\r\n\r\n"), H1_BAD_TRAILER, "", 0},
    {"5.1: no name", S("0\r\n: b\r\n\r\n"), H1_BAD_TRAILER, "", 0},
    {"5: no colon", S("0\r\nA\r\n\r\n"), H1_BAD_TRAILER, "", 0},
    {"2.2: bare LF in a trailer", S("0\r\nA: b\nC: d\r\n\r\n"), H1_BAD_TRAILER, "", 0},
    {"5.5: NUL in a trailer", S("0\r\nA: \0\r\n\r\n"), H1_BAD_TRAILER, "", 0},
    {"the next message is no trailer", S("0\r\nGET / HTTP/1.1\r\n"), H1_BAD_TRAILER, "", 0},
};

struct outcome {
    enum h1_result result;
    size_t used;
    size_t data_len;
    char data[256];
};

/* What a caller does: parse until the input is used up or the answer is final. */
static void feed(struct h1_chunked *chunked, struct str input, struct outcome *outcome)
{
    size_t at = 0;

    while (at < input.len && outcome->result == H1_NEED_MORE) {
        struct str data;
        size_t used = 0;

        outcome->result = h1_chunked_parse(chunked, str_slice(input, at, input.len), &used, &data);
        assert_true(outcome->data_len + data.len <= sizeof(outcome->data));
        memcpy(outcome->data + outcome->data_len, data.ptr, data.len);
        outcome->data_len += data.len;
        assert_true(used > 0 || outcome->result != H1_NEED_MORE);
        at += used;
        outcome->used += used;
    }
}

static void check(const struct chunked_case *row, const struct outcome *outcome)
{
    if (outcome->result != row->result) {
        print_error("%s: %s\n", row->rule, h1_result_word(outcome->result));
    }
    assert_int_equal(outcome->result, row->result);
    assert_true(str_eq(str_make(outcome->data, outcome->data_len), str_of(row->data)));
    if (row->result == H1_COMPLETE) {
        assert_int_equal(outcome->used, row->bytes.len - row->rest);
    }
}

static void test_bodies_in_one_piece(void **state)
{
    struct guard_page page;

    (void)state;
    guard_page_init(&page, BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct h1_chunked chunked;
        struct outcome outcome = {.result = H1_NEED_MORE};

        h1_chunked_init(&chunked);
        feed(&chunked, guard_page_put(&page, cases[i].bytes), &outcome);
        check(&cases[i], &outcome);
    }
    guard_page_done(&page);
}

static void test_bodies_in_every_two_pieces(void **state)
{
    struct guard_page page;

    (void)state;
    guard_page_init(&page, BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct str bytes = cases[i].bytes;

        for (size_t cut = 0; cut <= bytes.len; cut++) {
            struct h1_chunked chunked;
            struct outcome outcome = {.result = H1_NEED_MORE};

            h1_chunked_init(&chunked);
            feed(&chunked, guard_page_put(&page, str_slice(bytes, 0, cut)), &outcome);
            feed(&chunked, guard_page_put(&page, str_slice(bytes, cut, bytes.len)), &outcome);
            check(&cases[i], &outcome);
        }
    }
    guard_page_done(&page);
}

static void test_bodies_byte_by_byte(void **state)
{
    struct guard_page page;

    (void)state;
    guard_page_init(&page, BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct str bytes = cases[i].bytes;
        struct h1_chunked chunked;
        struct outcome outcome = {.result = H1_NEED_MORE};

        h1_chunked_init(&chunked);
        for (size_t at = 0; at < bytes.len; at++) {
            feed(&chunked, guard_page_put(&page, str_slice(bytes, at, at + 1)), &outcome);
        }
        check(&cases[i], &outcome);
    }
    guard_page_done(&page);
}

static void test_the_answer_stays_after_the_end(void **state)
{
    struct h1_chunked chunked;
    struct str data;
    size_t used = 0;

    (void)state;
    h1_chunked_init(&chunked);
    assert_int_equal(h1_chunked_parse(&chunked, STR_LIT("0\r\n\r\n"), &used, &data), H1_COMPLETE);
    assert_int_equal(h1_chunked_parse(&chunked, STR_LIT("1\r\n"), &used, &data), H1_COMPLETE);
    assert_int_equal(used, 0);
    assert_int_equal(data.len, 0);

    h1_chunked_init(&chunked);
    assert_int_equal(h1_chunked_parse(&chunked, STR_LIT("x"), &used, &data), H1_BAD_CHUNK);
    assert_int_equal(h1_chunked_parse(&chunked, STR_LIT("0\r\n\r\n"), &used, &data), H1_BAD_CHUNK);
}

/* Feed `text` `count` times; the answer at the end or at the first fault. */
static enum h1_result repeat(struct h1_chunked *chunked, struct str text, unsigned count)
{
    enum h1_result result = H1_NEED_MORE;

    for (unsigned i = 0; i < count && result == H1_NEED_MORE; i++) {
        size_t at = 0;

        while (at < text.len && result == H1_NEED_MORE) {
            struct str data;
            size_t used = 0;

            result = h1_chunked_parse(chunked, str_slice(text, at, text.len), &used, &data);
            at += used;
        }
    }
    return result;
}

static void test_chunks_of_one_byte_may_go_on_for_ever(void **state)
{
    struct h1_chunked chunked;

    (void)state;
    h1_chunked_init(&chunked);
    assert_int_equal(repeat(&chunked, STR_LIT("1\r\nx\r\n"), 200000), H1_NEED_MORE);
    assert_int_equal(repeat(&chunked, STR_LIT("0001;a=b\r\nx\r\n"), 200000), H1_NEED_MORE);
}

static void test_framing_without_data_is_bounded(void **state)
{
    struct h1_chunked chunked;
    char fat[600];
    int len;

    (void)state;
    memset(fat, 'x', sizeof(fat));
    len = snprintf(fat, sizeof(fat), "1;%0500d\r\nx\r\n", 0);
    h1_chunked_init(&chunked);
    assert_int_equal(repeat(&chunked, str_make(fat, (size_t)len), 20), H1_NEED_MORE);
    assert_int_equal(repeat(&chunked, str_make(fat, (size_t)len), 20), H1_BAD_CHUNK);
}

static void test_a_size_line_is_bounded(void **state)
{
    struct h1_chunked chunked;

    (void)state;
    h1_chunked_init(&chunked);
    assert_int_equal(repeat(&chunked, STR_LIT("1;"), 1), H1_NEED_MORE);
    assert_int_equal(repeat(&chunked, STR_LIT("x"), 1022), H1_NEED_MORE);
    assert_int_equal(repeat(&chunked, STR_LIT("x"), 1), H1_BAD_CHUNK);
}

static void test_trailers_are_bounded(void **state)
{
    struct h1_chunked chunked;

    (void)state;
    h1_chunked_init(&chunked);
    assert_int_equal(repeat(&chunked, STR_LIT("0\r\n"), 1), H1_NEED_MORE);
    assert_int_equal(repeat(&chunked, STR_LIT("A: 5678\r\n"), 910), H1_NEED_MORE);
    assert_int_equal(repeat(&chunked, STR_LIT("A: 5678\r\n"), 1), H1_BAD_TRAILER);
}

static void test_large_chunks_come_as_one_run(void **state)
{
    struct h1_chunked chunked;
    char *text = mem_alloc(BYTES_MAX);
    const size_t head = (size_t)snprintf(text, BYTES_MAX, "8000\r\n");
    struct str data;
    size_t used = 0;

    (void)state;
    memset(text + head, 'x', 0x8000);
    memcpy(text + head + 0x8000, "\r\n0\r\n\r\n", 7);
    h1_chunked_init(&chunked);
    assert_int_equal(h1_chunked_parse(&chunked, str_make(text, head + 0x8000 + 7), &used, &data),
                     H1_COMPLETE);
    assert_ptr_equal(data.ptr, text + head);
    assert_int_equal(data.len, 0x8000);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies_in_one_piece),
        cmocka_unit_test(test_bodies_in_every_two_pieces),
        cmocka_unit_test(test_bodies_byte_by_byte),
        cmocka_unit_test(test_the_answer_stays_after_the_end),
        cmocka_unit_test(test_chunks_of_one_byte_may_go_on_for_ever),
        cmocka_unit_test(test_framing_without_data_is_bounded),
        cmocka_unit_test(test_a_size_line_is_bounded),
        cmocka_unit_test(test_trailers_are_bounded),
        cmocka_unit_test(test_large_chunks_come_as_one_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
