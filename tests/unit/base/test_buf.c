/* SPDX-License-Identifier: MIT */
/* The byte queue: growth, refusal, JSON escaping. */
#include <nearside/base/buf.h>
#include <nearside/base/mem.h>
#include <nearside/base/pages.h>
#include <nearside/base/rng.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_content(const struct buf *buf, struct str expected)
{
    assert_int_equal(buf_len(buf), expected.len);
    assert_memory_equal(buf_str(buf).ptr, expected.ptr, expected.len);
}

static void test_buf_appends_and_consumes_in_order(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf);
    assert_int_equal(buf_str(&buf).len, 0);
    buf_append_str(&buf, STR_LIT("HTTP/1.1 "));
    buf_append_u64(&buf, 200);
    buf_append_char(&buf, ' ');
    buf_printf(&buf, "%s", "OK");
    assert_content(&buf, STR_LIT("HTTP/1.1 200 OK"));
    buf_consume(&buf, 9);
    assert_content(&buf, STR_LIT("200 OK"));
    buf_consume(&buf, 6);
    assert_int_equal(buf.end, 0);
    buf_trim(&buf);
    assert_null(buf.data);
    buf_done(&buf);
}

static void test_buf_writes_numbers_of_all_sizes(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf);
    buf_append_u64(&buf, 0);
    buf_append_char(&buf, ' ');
    buf_append_u64(&buf, UINT64_MAX);
    assert_content(&buf, STR_LIT("0 18446744073709551615"));
    buf_done(&buf);
}

static void test_buf_prints_text_longer_than_its_room(void **state)
{
    (void)state;
    struct buf buf;
    char text[5000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    buf_init(&buf);
    buf_printf(&buf, "<%s>", text);
    assert_int_equal(buf_len(&buf), sizeof(text) + 1);
    assert_int_equal(buf_str(&buf).ptr[sizeof(text)], '>');
    buf_done(&buf);
}

static void test_buf_refused_growth_changes_nothing(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf);
    buf_append_str(&buf, STR_LIT("kept"));
    mem_try_fail_after(1);
    assert_false(buf_reserve(&buf, 1 << 20));
    assert_content(&buf, STR_LIT("kept"));
    assert_false(buf_reserve(&buf, SIZE_MAX));
    assert_true(buf_reserve(&buf, 1 << 20));
    assert_true(buf_room(&buf) >= 1 << 20);
    assert_content(&buf, STR_LIT("kept"));
    buf_done(&buf);
}

static void test_buf_that_may_be_refused_tells_that_something_is_missing(void **state)
{
    (void)state;
    struct buf buf;

    buf_init_try(&buf);
    buf_append_str(&buf, STR_LIT("kept"));
    assert_false(buf_is_refused(&buf));
    mem_try_fail_after(1);
    buf_printf(&buf, "%01000d", 7);
    assert_true(buf_is_refused(&buf));
    assert_content(&buf, STR_LIT("kept"));
    buf_append_char(&buf, 'x'); /* there is memory again, but a hole */
    buf_printf(&buf, "x");
    assert_content(&buf, STR_LIT("kept"));
    buf_clear(&buf);
    assert_true(buf_is_refused(&buf));
    buf_done(&buf);
    assert_false(buf_is_refused(&buf));
    mem_try_fail_after(1);
    buf_append_char(&buf, 'x');
    assert_true(buf_is_refused(&buf)); /* what may be refused stays so */
    buf_done(&buf);
}

/* A queue that always holds little must stay small, however much passes through it. */
static void test_buf_reuses_consumed_room(void **state)
{
    (void)state;
    struct buf buf;
    struct rng rng;
    uint8_t written = 0;
    uint8_t read = 0;

    buf_init(&buf);
    rng_init_seed(&rng, 1);
    for (int turn = 0; turn < 20000; turn++) {
        uint64_t count = rng_below(&rng, 100);
        for (uint64_t i = 0; i < count; i++) {
            buf_append_char(&buf, (char)written++);
        }
        uint64_t keep = rng_below(&rng, 64);
        while (buf_len(&buf) > keep) {
            assert_int_equal((uint8_t)buf_str(&buf).ptr[0], read++);
            buf_consume(&buf, 1);
        }
    }
    assert_true(buf.size <= 512);
    buf_done(&buf);
}

static const struct {
    struct str text;
    const char *json;
} json_cases[] = {
    {STR_LIT("plain text"), "plain text"},
    {STR_LIT(""), ""},
    {STR_LIT("a\"b\\c"), "a\\\"b\\\\c"},
    {STR_LIT("\n\r\t\b\x01\x1f"), "\\n\\r\\t\\u0008\\u0001\\u001f"},
    {STR_LIT("nul\0end"), "nul\\u0000end"},
    {STR_LIT("\x7f"), "\\u007f"},
    {STR_LIT("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
    {STR_LIT("\xf4\x8f\xbf\xbf"), "\xf4\x8f\xbf\xbf"},             /* U+10FFFF */
    {STR_LIT("\x80"), "\\ufffd"},                                  /* lone continuation */
    {STR_LIT("\xc0\xaf"), "\\ufffd\\ufffd"},                       /* overlong '/' */
    {STR_LIT("\xe0\x80\xaf"), "\\ufffd\\ufffd\\ufffd"},            /* overlong, three bytes */
    {STR_LIT("\xf0\x80\x80\xaf"), "\\ufffd\\ufffd\\ufffd\\ufffd"}, /* overlong, four */
    {STR_LIT("\xed\xa0\x80"), "\\ufffd\\ufffd\\ufffd"},            /* surrogate */
    {STR_LIT("\xf4\x90\x80\x80"), "\\ufffd\\ufffd\\ufffd\\ufffd"}, /* over U+10FFFF */
    {STR_LIT("\xf5"), "\\ufffd"},
    {STR_LIT("\xff\xfe"), "\\ufffd\\ufffd"},
    {STR_LIT("a\xc3"), "a\\ufffd"}, /* cut at the end */
    {STR_LIT("\xe2\x82"), "\\ufffd\\ufffd"},
    {STR_LIT("\xc3\"x"), "\\ufffd\\\"x"}, /* a bad byte must not swallow the quote */
};

static void test_buf_gives_back_room_and_keeps_what_it_holds(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf);
    assert_true(buf_reserve(&buf, 100000));
    for (unsigned i = 0; i < 10000; i++) {
        buf_append_str(&buf, STR_LIT("0123456789"));
    }
    buf_fit(&buf, 5000);
    assert_int_equal(buf.size, 100000); /* it does not fit */
    buf_consume(&buf, 99995);
    buf_fit(&buf, 5000);
    assert_int_equal(buf.size, 5000);
    assert_content(&buf, STR_LIT("56789"));
    buf_fit(&buf, 8000);
    assert_int_equal(buf.size, 5000); /* never larger */
    buf_done(&buf);
}

static void fill_large(struct buf *buf, size_t len)
{
    assert_true(buf_reserve(buf, len));
    while (len-- > 0) {
        *buf_tail(buf) = (char)(buf->end * 7);
        buf_produced(buf, 1);
    }
}

static void check_large(const struct buf *buf, size_t len)
{
    assert_int_equal(buf_len(buf), len);
    for (size_t i = 0; i < len; i++) {
        assert_true(buf_str(buf).ptr[i] == (char)(i * 7));
    }
}

static void test_a_large_buf_keeps_its_bytes_from_block_to_block(void **state)
{
    (void)state;
    struct buf buf;

    buf_init_large(&buf);
    fill_large(&buf, 1000);
    fill_large(&buf, BUF_PAGED_BYTES);
    check_large(&buf, 1000 + BUF_PAGED_BYTES);
    fill_large(&buf, 1000000);
    check_large(&buf, 1001000 + BUF_PAGED_BYTES);
    assert_true(buf_reserve(&buf, PAGES_BLOCK_MAX)); /* longer than a block of pages may be */
    check_large(&buf, 1001000 + BUF_PAGED_BYTES);
    buf_fit(&buf, 2000000);
    assert_int_equal(buf.size, 2000000);
    check_large(&buf, 1001000 + BUF_PAGED_BYTES);
    buf.end = 500;
    buf_fit(&buf, 600);
    assert_int_equal(buf.size, 600);
    check_large(&buf, 500);
    buf_done(&buf);
}

static void test_a_large_buf_is_as_it_was_when_memory_is_refused(void **state)
{
    (void)state;
    struct buf buf;

    buf_init_large(&buf);
    fill_large(&buf, 1000);
    for (unsigned i = 0; i < 2; i++) { /* to pages, and from pages to more of them */
        const size_t len = buf_len(&buf);
        mem_try_fail_after(1);
        assert_false(buf_reserve(&buf, 2 * len + BUF_PAGED_BYTES));
        mem_try_fail_after(0);
        check_large(&buf, len);
        fill_large(&buf, BUF_PAGED_BYTES);
    }
    buf_done(&buf);
    assert_int_equal(buf_len(&buf), 0);
    assert_true(buf.is_large);
}

static void test_a_large_buf_leaves_its_pages_warm(void **state)
{
    (void)state;
    struct buf buf;

    while (pages_warm_bytes() > 0) {
        (void)pages_cool();
    }
    buf_init_large(&buf);
    assert_true(buf_try_resize(&buf, BUF_PAGED_BYTES - 1));
    buf_done(&buf);
    assert_int_equal(pages_warm_bytes(), 0);
    assert_true(buf_try_resize(&buf, BUF_PAGED_BYTES + 1));
    assert_int_equal(pages_warm_bytes(), 0);
    buf_done(&buf);
    assert_int_equal(pages_warm_bytes(), pages_whole(BUF_PAGED_BYTES + 1));
    assert_true(buf_try_resize(&buf, BUF_PAGED_BYTES));
    assert_int_equal(pages_warm_bytes(),
                     pages_whole(BUF_PAGED_BYTES + 1) - pages_whole(BUF_PAGED_BYTES));
    buf_done(&buf);
}

static void test_buf_json_escapes_everything_that_is_not_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(json_cases); i++) {
        struct buf buf;

        buf_init(&buf);
        buf_append_json(&buf, json_cases[i].text);
        assert_content(&buf, str_of(json_cases[i].json));
        buf_done(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_appends_and_consumes_in_order),
        cmocka_unit_test(test_buf_writes_numbers_of_all_sizes),
        cmocka_unit_test(test_buf_prints_text_longer_than_its_room),
        cmocka_unit_test(test_buf_refused_growth_changes_nothing),
        cmocka_unit_test(test_buf_that_may_be_refused_tells_that_something_is_missing),
        cmocka_unit_test(test_buf_reuses_consumed_room),
        cmocka_unit_test(test_buf_gives_back_room_and_keeps_what_it_holds),
        cmocka_unit_test(test_a_large_buf_keeps_its_bytes_from_block_to_block),
        cmocka_unit_test(test_a_large_buf_is_as_it_was_when_memory_is_refused),
        cmocka_unit_test(test_a_large_buf_leaves_its_pages_warm),
        cmocka_unit_test(test_buf_json_escapes_everything_that_is_not_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
