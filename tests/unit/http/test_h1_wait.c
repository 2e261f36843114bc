/* SPDX-License-Identifier: MIT */
/* Heads in pieces: found whole as soon as they are, refused soon, and never parsed over and over.
 */
#include <nearside/http/h1.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONG_HEAD_BYTES 65536

static const struct h1_limits limits = {
    .head_bytes = LONG_HEAD_BYTES, .uri_bytes = 16384, .fields = HTTP_FIELDS_MAX};

struct outcome {
    enum h1_result result;
    size_t at;     /* bytes there when it was known */
    size_t parsed; /* bytes given to the parser, all calls together */
};

/* What a connection does with a head that comes `piece` bytes at a time. */
static struct outcome feed(struct str input, size_t piece)
{
    static struct http_head head;
    struct h1_wait wait = {.looked = 0};
    struct outcome outcome = {.result = H1_NEED_MORE};

    while (outcome.result == H1_NEED_MORE && outcome.at < input.len) {
        struct str so_far;
        size_t used;

        outcome.at = outcome.at + piece < input.len ? outcome.at + piece : input.len;
        so_far = str_slice(input, 0, outcome.at);
        if (h1_wait_is_over(&wait, so_far, &limits)) {
            outcome.parsed += so_far.len;
            outcome.result = h1_parse_request(so_far, &limits, &head, &used);
        }
    }
    return outcome;
}

static const struct str good_heads[] = {
    STR_LIT("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    STR_LIT("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    STR_LIT("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    STR_LIT("GET / HTTP/1.0\r\n\r\n"),
    STR_LIT("POST / HTTP/1.1\r\nHost: a\r\nX:\t y\t\r\nContent-Length: 5\r\n\r\n"),
};

static void test_a_head_is_whole_at_its_last_byte_however_it_was_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good_heads); i++) {
        for (size_t piece = 1; piece <= good_heads[i].len; piece++) {
            const struct outcome outcome = feed(good_heads[i], piece);

            assert_int_equal(outcome.result, H1_COMPLETE);
            assert_int_equal(outcome.at, good_heads[i].len);
        }
    }
}

/* The byte that is wrong stands last but one, so that a parser that waits for more would hang. */
static const struct str settled_heads[] = {
    STR_LIT("GET / HTTP/1.1\r\nHost: a\n"),
    STR_LIT("GET / HTTP/1.1\r\nHost: a\rx"),
    STR_LIT("GET / HTTP/1.1\r\nHost: \0"),
    STR_LIT("GET / HTTP/1.1\nx"),
    STR_LIT("GET / HTTP/1.1\r\nHost: a\r\n\rx"),
    STR_LIT("GET / HTTP/1.1\r\nHost: a\x7f"),
    STR_LIT("\x16\x03\x01"),
};

static void test_a_byte_no_head_may_hold_is_refused_when_it_comes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(settled_heads); i++) {
        const struct outcome outcome = feed(settled_heads[i], 1);

        assert_int_not_equal(outcome.result, H1_NEED_MORE);
        assert_int_not_equal(outcome.result, H1_COMPLETE);
    }
}

static void test_a_fault_of_grammar_is_refused_before_the_head_has_doubled(void **state)
{
    const struct str input =
        STR_LIT("GET / HTTP/1.1\r\nHost : aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");

    (void)state;
    assert_int_equal(feed(input, 1).result, H1_BAD_FIELD);
}

static void test_a_long_head_of_single_bytes_costs_a_few_times_its_length(void **state)
{
    static char text[LONG_HEAD_BYTES];
    int len = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n");
    struct outcome outcome;

    (void)state;
    for (unsigned i = 0; i < 90; i++) {
        len += snprintf(text + len, sizeof(text) - (size_t)len, "X-%u: %0700d\r\n", i, 1);
    }
    len += snprintf(text + len, sizeof(text) - (size_t)len, "\r\n");
    outcome = feed(str_make(text, (size_t)len), 1);
    assert_int_equal(outcome.result, H1_COMPLETE);
    assert_true(outcome.parsed < 3 * (size_t)len);
}

static void test_the_limit_is_told_when_it_is_reached(void **state)
{
    static char text[LONG_HEAD_BYTES + 1];
    struct outcome outcome;

    (void)state;
    memset(text, 'a', sizeof(text));
    memcpy(text, "GET / HTTP/1.1\r\nX: ", 19);
    outcome = feed(str_make(text, sizeof(text)), 1);
    assert_int_equal(outcome.result, H1_TOO_LARGE);
    assert_int_equal(outcome.at, LONG_HEAD_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_head_is_whole_at_its_last_byte_however_it_was_cut),
        cmocka_unit_test(test_a_byte_no_head_may_hold_is_refused_when_it_comes),
        cmocka_unit_test(test_a_fault_of_grammar_is_refused_before_the_head_has_doubled),
        cmocka_unit_test(test_a_long_head_of_single_bytes_costs_a_few_times_its_length),
        cmocka_unit_test(test_the_limit_is_told_when_it_is_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
