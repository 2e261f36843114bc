/* SPDX-License-Identifier: MIT */
/* The validation of UTF-8, wide and by character, against a decoder that thinks in code points. */
#include "http/utf8_private.h"
#include "unit/http/guard_page.h"

#include <nearside/base/rng.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LEN_MAX 96

/* The code point at `at`, and its length; 0: there is none. */
static size_t decode(const unsigned char *at, size_t left, uint32_t *ret_point)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t len = at[0] < 0x80   ? 1
                       : at[0] < 0xc0 ? 0
                       : at[0] < 0xe0 ? 2
                       : at[0] < 0xf0 ? 3
                       : at[0] < 0xf8 ? 4
                                      : 0;
    uint32_t point = len == 1 ? at[0] : at[0] & (0x7fu >> len);

    if (len == 0 || len > left) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (at[i] & 0x3f);
    }
    *ret_point = point;
    return point < least[len] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff) ? 0 : len;
}

/* How far the text is good and plain: where a JSON string would stop to think. */
static size_t good_slowly(struct str text)
{
    size_t at = 0;

    while (at < text.len) {
        uint32_t point;
        const size_t len = decode((const unsigned char *)text.ptr + at, text.len - at, &point);

        if (len == 0 || point < 0x20 || point == '"' || point == '\\') {
            break;
        }
        at += len;
    }
    return at;
}

static size_t good_as_the_scan(struct str text)
{
    const char *const end = text.ptr + text.len;
    const char *at = text.ptr;

    for (;;) {
        at = scan_text(at, end);
        if (at == end || (unsigned char)*at < 0x80) {
            break;
        }
        at = utf8_skip(at, end);
        if (at < end && (unsigned char)*at >= 0x80) {
            break;
        }
    }
    return (size_t)(at - text.ptr);
}

static void assert_agreed(struct guard_page *page, struct str text)
{
    const struct str guarded = guard_page_put(page, text);
    const size_t slow = good_slowly(guarded);
    const size_t fast = good_as_the_scan(guarded);

    if (slow != fast) {
        for (size_t i = 0; i < text.len; i++) {
            print_error("%02x ", (unsigned char)text.ptr[i]);
        }
        print_error(": good up to %zu, said %zu\n", slow, fast);
    }
    assert_int_equal(fast, slow);
}

/* Text of one kind, to a length. */
static size_t fill(char *out, size_t len, const char *character)
{
    const size_t step = strlen(character);
    size_t used = 0;

    while (used + step <= len) {
        memcpy(out + used, character, step);
        used += step;
    }
    return used;
}

static const char *const kinds[] = {
    "a", "\xc3\xa9", "\xe3\x81\x82", "\xed\x95\x9c", "\xe0\xb8\x81", "\xf0\x9f\x98\x80"};

/* One odd sequence amid text of each kind, at each place of a block. */
static void assert_agreed_everywhere(struct guard_page *page, struct str odd)
{
    char text[LEN_MAX];

    for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++) {
        for (size_t place = 0; place < 36; place += strlen(kinds[kind])) {
            size_t len = fill(text, place, kinds[kind]);
            memcpy(text + len, odd.ptr, odd.len);
            len += odd.len;
            assert_agreed(page, str_make(text, len));
            len += fill(text + len, 36, kinds[kind]);
            assert_agreed(page, str_make(text, len));
        }
    }
}

static void test_every_pair_of_bytes_is_judged_like_its_code_points(void **state)
{
    struct guard_page page;

    (void)state;
    guard_page_init(&page, LEN_MAX);
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second += first < 0x80 ? 37 : 1) {
            const char odd[2] = {(char)first, (char)second};
            assert_agreed_everywhere(&page, str_make(odd, sizeof(odd)));
        }
    }
    guard_page_done(&page);
}

static void test_edges_of_the_code_space_are_judged_like_their_code_points(void **state)
{
    static const char bytes[] = {0x00,       0x22,       0x41,       0x5c,       0x7f,
                                 (char)0x80, (char)0x8f, (char)0x90, (char)0x9f, (char)0xa0,
                                 (char)0xbf, (char)0xc0, (char)0xc2, (char)0xe1, (char)0xff};
    static const char leads[] = {(char)0xe0, (char)0xe1, (char)0xec, (char)0xed, (char)0xee,
                                 (char)0xef, (char)0xf0, (char)0xf1, (char)0xf4, (char)0xf5};
    struct guard_page page;

    (void)state;
    guard_page_init(&page, LEN_MAX);
    for (size_t lead = 0; lead < sizeof(leads); lead++) {
        for (size_t code = 0; code < sizeof(bytes) * sizeof(bytes) * sizeof(bytes); code++) {
            const char odd[4] = {leads[lead], bytes[code % sizeof(bytes)],
                                 bytes[code / sizeof(bytes) % sizeof(bytes)],
                                 bytes[code / sizeof(bytes) / sizeof(bytes)]};
            assert_agreed_everywhere(&page, str_make(odd, sizeof(odd)));
        }
    }
    guard_page_done(&page);
}

static void test_random_mixes_are_judged_like_their_code_points(void **state)
{
    struct guard_page page;
    struct rng rng;
    char text[LEN_MAX];

    (void)state;
    rng_init_seed(&rng, 8);
    guard_page_init(&page, LEN_MAX);
    for (unsigned turn = 0; turn < 300000; turn++) {
        size_t len = 0;

        while (len + 4 <= sizeof(text)) {
            const char *character = kinds[rng_below(&rng, ARRAY_LEN(kinds))];
            memcpy(text + len, character, strlen(character));
            len += strlen(character);
        }
        if (rng_below(&rng, 2) == 0) {
            text[rng_below(&rng, len)] = (char)rng_below(&rng, 256);
        }
        assert_agreed(&page, str_make(text, rng_below(&rng, len + 1)));
    }
    guard_page_done(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair_of_bytes_is_judged_like_its_code_points),
        cmocka_unit_test(test_edges_of_the_code_space_are_judged_like_their_code_points),
        cmocka_unit_test(test_random_mixes_are_judged_like_their_code_points),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
