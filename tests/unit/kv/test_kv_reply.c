/* SPDX-License-Identifier: MIT */
/* Replies: each kind, cut at every byte; bytes that are no replies; limits. */
#include "kv/kv_reply_private.h"

#include <nearside/base/attr.h>
#include <nearside/base/mem.h>
#include <nearside/kv/kv.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct reply_case {
    const char *bytes;
    size_t len;
    enum kv_reply_kind kind;
    const char *text;
    size_t text_len;
    int64_t integer;
};

#define BYTES(lit) "" lit, sizeof(lit) - 1

static const struct reply_case reply_cases[] = {
    {BYTES("+OK\r\n"), KV_REPLY_STATUS, BYTES("OK"), 0},
    {BYTES("-NOAUTH Authentication required.\r\n"), KV_REPLY_ERROR,
     BYTES("NOAUTH Authentication required."), 0},
    {BYTES(":1234\r\n"), KV_REPLY_INTEGER, BYTES(""), 1234},
    {BYTES(":-1\r\n"), KV_REPLY_INTEGER, BYTES(""), -1},
    {BYTES("$-1\r\n"), KV_REPLY_NIL, BYTES(""), 0},
    {BYTES("*-1\r\n"), KV_REPLY_NIL, BYTES(""), 0},
    {BYTES("$0\r\n\r\n"), KV_REPLY_STRING, BYTES(""), 0},
    {BYTES("$5\r\na\0\r\nb\r\n"), KV_REPLY_STRING, BYTES("a\0\r\nb"), 0},
    {BYTES("*0\r\n"), KV_REPLY_ARRAY, BYTES(""), 0},
    {BYTES("*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"), KV_REPLY_ARRAY, BYTES(""), 0},
};

static void assert_reply(struct kv_reader *reader, const struct reply_case *want)
{
    struct kv_reply *reply = NULL;

    assert_int_equal(kv_reader_take(reader, &reply), KV_READ_REPLY);
    assert_int_equal(reply->kind, want->kind);
    assert_int_equal(reply->integer, want->integer);
    assert_int_equal(reply->text.len, want->text_len);
    assert_memory_equal(reply->text.ptr, want->text, want->text_len);
    kv_reply_free(reply);
    assert_int_equal(kv_reader_take(reader, &reply), KV_READ_MORE);
}

static void test_each_kind_is_read_and_asks_for_more_at_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(reply_cases); i++) {
        const struct reply_case *want = &reply_cases[i];

        for (size_t cut = 1; cut < want->len; cut++) {
            struct kv_reader *reader = kv_reader_new();
            struct kv_reply *reply;

            assert_true(kv_reader_feed(reader, want->bytes, cut));
            assert_int_equal(kv_reader_take(reader, &reply), KV_READ_MORE);
            assert_true(kv_reader_feed(reader, want->bytes + cut, want->len - cut));
            assert_reply(reader, want);
            kv_reader_free(reader);
        }
    }
}

static void test_items_of_arrays_are_found_at_their_places(void **state)
{
    static const char bytes[] = "*2\r\n$1\r\n7\r\n*3\r\n$1\r\na\r\n$-1\r\n:3\r\n";
    struct kv_reader *reader = kv_reader_new();
    struct kv_reply *reply;

    (void)state;
    assert_true(kv_reader_feed(reader, bytes, sizeof(bytes) - 1));
    assert_int_equal(kv_reader_take(reader, &reply), KV_READ_REPLY);
    assert_int_equal(reply->count, 2);
    assert_string_equal(reply->items[0]->text.ptr, "7");
    assert_int_equal(reply->items[1]->count, 3);
    assert_string_equal(reply->items[1]->items[0]->text.ptr, "a");
    assert_int_equal(reply->items[1]->items[1]->kind, KV_REPLY_NIL);
    assert_int_equal(reply->items[1]->items[2]->integer, 3);
    kv_reply_free(reply);
    kv_reader_free(reader);
}

static const char *const bad_cases[] = {
    "HTTP/1.1 400 Bad Request\r\n",
    "\r\n",
    "$-2\r\n",
    "$x\r\n",
    ":1x\r\n",
    "%1\r\n+a\r\n+b\r\n",                                     /* RESP3 */
    "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", /* too deep */
    "*65537\r\n",
    "*65530\r\n*7\r\n",
    "*2147483647\r\n",
    "*9223372036854775807\r\n",
};

static void test_what_is_no_reply_or_too_much_is_refused_with_a_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_cases); i++) {
        struct kv_reader *reader = kv_reader_new();
        struct kv_reply *reply;

        assert_true(kv_reader_feed(reader, bad_cases[i], strlen(bad_cases[i])));
        assert_int_equal(kv_reader_take(reader, &reply), KV_READ_BAD);
        assert_true(strlen(kv_reader_error(reader)) > 0);
        kv_reader_free(reader);
    }
}

static void test_a_string_that_never_ends_is_refused_at_the_limit(void **state)
{
    struct kv_reader *reader = kv_reader_new();
    char *block = mem_zero(1, 1048576);
    enum kv_read answer = KV_READ_MORE;
    struct kv_reply *reply;
    size_t fed = 0;

    (void)state;
    assert_true(kv_reader_feed(reader, BYTES("$9223372036854775807\r\n")));
    while (answer == KV_READ_MORE && fed < 2 * (size_t)KV_REPLY_BYTES_MAX) {
        assert_true(kv_reader_feed(reader, block, 1048576));
        fed += 1048576;
        answer = kv_reader_take(reader, &reply);
    }
    assert_int_equal(answer, KV_READ_BAD);
    assert_int_equal(fed, KV_REPLY_BYTES_MAX);
    assert_string_equal(kv_reader_error(reader), "a reply is too long");
    mem_free(block);
    kv_reader_free(reader);
}

/* hiredis looks for the end of a line from its start each time: that must not go on for long. */
static void test_a_line_that_never_ends_is_refused_soon(void **state)
{
    static const char *const begins[] = {
        "+", "-", ":", "$", "*", "$\r", "*2\r\n+a\r\n-", "*1\r\n*1\r\n$", "*1\r\n:"};
    char block[1000];

    (void)state;
    memset(block, 'x', sizeof(block));
    for (size_t i = 0; i < ARRAY_LEN(begins); i++) {
        struct kv_reader *reader = kv_reader_new();
        struct kv_reply *reply;
        enum kv_read answer = KV_READ_MORE;
        size_t fed = 0;

        assert_true(kv_reader_feed(reader, begins[i], strlen(begins[i])));
        for (; answer == KV_READ_MORE && fed < 2 * KV_REPLY_LINE_MAX; fed += sizeof(block)) {
            assert_true(kv_reader_feed(reader, block, sizeof(block)));
            answer = kv_reader_take(reader, &reply);
        }
        assert_int_equal(answer, KV_READ_BAD);
        assert_in_range(fed, KV_REPLY_LINE_MAX - 1, KV_REPLY_LINE_MAX + sizeof(block));
        assert_string_equal(kv_reader_error(reader), "a line of a reply is too long");
        kv_reader_free(reader);
    }
}

static void test_a_long_line_that_ends_is_a_reply(void **state)
{
    struct kv_reader *reader = kv_reader_new();
    char *line = mem_zero(1, KV_REPLY_LINE_MAX);
    struct kv_reply *reply;

    (void)state;
    memset(line, 'x', KV_REPLY_LINE_MAX);
    assert_true(kv_reader_feed(reader, BYTES("-")));
    assert_true(kv_reader_feed(reader, line, KV_REPLY_LINE_MAX - 1));
    assert_int_equal(kv_reader_take(reader, &reply), KV_READ_MORE);
    assert_true(kv_reader_feed(reader, BYTES("\r")));
    assert_int_equal(kv_reader_take(reader, &reply), KV_READ_MORE);
    assert_true(kv_reader_feed(reader, BYTES("\n")));
    assert_int_equal(kv_reader_take(reader, &reply), KV_READ_REPLY);
    assert_int_equal(reply->text.len, KV_REPLY_LINE_MAX - 1);
    kv_reply_free(reply);
    mem_free(line);
    kv_reader_free(reader);
}

/* Among the items of an array too; its bytes have no line ends. */
static void test_a_long_string_is_not_taken_for_a_line(void **state)
{
    static const char *const begins[] = {"$1000000\r\n", "*2\r\n:1\r\n$1000000\r\n"};
    char block[1000];

    (void)state;
    memset(block, 'x', sizeof(block));
    for (size_t i = 0; i < ARRAY_LEN(begins); i++) {
        struct kv_reader *reader = kv_reader_new();
        struct kv_reply *reply;

        assert_true(kv_reader_feed(reader, begins[i], strlen(begins[i])));
        for (unsigned fed = 0; fed < 1000; fed++) {
            assert_int_equal(kv_reader_take(reader, &reply), KV_READ_MORE);
            assert_true(kv_reader_feed(reader, block, sizeof(block)));
        }
        assert_int_equal(kv_reader_take(reader, &reply), KV_READ_MORE);
        assert_true(kv_reader_feed(reader, BYTES("\r\n")));
        assert_int_equal(kv_reader_take(reader, &reply), KV_READ_REPLY);
        kv_reply_free(reply);
        kv_reader_free(reader);
    }
}

static void test_many_small_replies_are_not_one_long_one(void **state)
{
    struct kv_reader *reader = kv_reader_new();
    char *block = mem_zero(1, 1048576);
    struct kv_reply *reply;

    (void)state;
    for (size_t total = 0; total < (size_t)KV_REPLY_BYTES_MAX + 2 * 1048576; total += 1048576) {
        assert_true(kv_reader_feed(reader, BYTES("$1048576\r\n")));
        assert_true(kv_reader_feed(reader, block, 1048576));
        assert_true(kv_reader_feed(reader, BYTES("\r\n")));
        assert_int_equal(kv_reader_take(reader, &reply), KV_READ_REPLY);
        kv_reply_free(reply);
    }
    mem_free(block);
    kv_reader_free(reader);
}

static void test_a_refusal_of_memory_ends_the_reader_and_nothing_else(void **state)
{
    static const char bytes[] = "*2\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n";

    (void)state;
    for (unsigned nth = 1; nth <= 4; nth++) {
        struct kv_reader *reader = kv_reader_new();
        struct kv_reply *reply;

        mem_try_fail_after(nth);
        assert_true(kv_reader_feed(reader, bytes, sizeof(bytes) - 1));
        assert_int_equal(kv_reader_take(reader, &reply), KV_READ_BAD);
        kv_reader_free(reader);
    }
    mem_try_fail_after(0);
}

struct error_case {
    const char *text;
    bool is_unready;
};

static const struct error_case error_cases[] = {
    {"LOADING Redis is loading the dataset in memory", true},
    {"BUSY Redis is busy running a script.", true},
    {"MASTERDOWN Link with MASTER is down", true},
    {"CLUSTERDOWN The cluster is down", true},
    {"TRYAGAIN Multiple keys request during rehashing of slot", true},
    {"NOAUTH Authentication required.", false},
    {"NOPERM this user has no permissions", false},
    {"OOM command not allowed when used memory > 'maxmemory'.", false},
    {"READONLY You can't write against a read only replica.", false},
    {"MOVED 3999 127.0.0.1:6381", false},
    {"BUSYKEY Target key name already exists.", false},
    {"LOADING", false},
    {"", false},
};

static void test_errors_that_mean_ask_later_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(error_cases); i++) {
        assert_int_equal(kv_error_is_unready(str_of(error_cases[i].text)),
                         error_cases[i].is_unready);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_is_read_and_asks_for_more_at_every_cut),
        cmocka_unit_test(test_items_of_arrays_are_found_at_their_places),
        cmocka_unit_test(test_what_is_no_reply_or_too_much_is_refused_with_a_reason),
        cmocka_unit_test(test_a_string_that_never_ends_is_refused_at_the_limit),
        cmocka_unit_test(test_a_line_that_never_ends_is_refused_soon),
        cmocka_unit_test(test_a_long_line_that_ends_is_a_reply),
        cmocka_unit_test(test_a_long_string_is_not_taken_for_a_line),
        cmocka_unit_test(test_many_small_replies_are_not_one_long_one),
        cmocka_unit_test(test_a_refusal_of_memory_ends_the_reader_and_nothing_else),
        cmocka_unit_test(test_errors_that_mean_ask_later_are_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
