/* SPDX-License-Identifier: MIT */
/* The scan of JSON bodies against jansson, on generated texts and on such with one byte wrong. */
#include <nearside/base/buf.h>
#include <nearside/base/rng.h>
#include <nearside/http/json_scan.h>

#include <jansson.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void put_value(struct rng *rng, struct buf *out, unsigned depth);

static void put_space(struct rng *rng, struct buf *out)
{
    if (rng_below(rng, 4) == 0) {
        buf_append_char(out, " \n\t\r"[rng_below(rng, 4)]);
    }
}

static void put_string(struct rng *rng, struct buf *out)
{
    static const char *const pieces[] = {"a",
                                         "Zz9",
                                         " ",
                                         "\\n",
                                         "\\\"",
                                         "\\\\",
                                         "\\/",
                                         "\\u00e9",
                                         "\xc3\xa9",
                                         "\xe2\x82\xac",
                                         "0123456789abcdef",
                                         "\xf0\x9f\x98\x80",
                                         "{",
                                         "]"};
    uint64_t count = rng_below(rng, 5);

    buf_append_char(out, '"');
    for (; count > 0; count--) {
        buf_append_str(out, str_of(pieces[rng_below(rng, ARRAY_LEN(pieces))]));
    }
    buf_append_char(out, '"');
}

static void put_scalar(struct rng *rng, struct buf *out)
{
    static const char *const scalars[] = {"true", "false", "null",  "0",    "-1",
                                          "3.25", "1e3",   "-2E-2", "7e+1", "12345"};

    if (rng_below(rng, 2) == 0) {
        put_string(rng, out);
    } else {
        buf_append_str(out, str_of(scalars[rng_below(rng, ARRAY_LEN(scalars))]));
    }
}

static void put_container(struct rng *rng, struct buf *out, unsigned depth)
{
    const bool object = rng_below(rng, 2) == 0;
    const uint64_t count = rng_below(rng, 4);

    buf_append_char(out, object ? '{' : '[');
    put_space(rng, out);
    for (uint64_t i = 0; i < count; i++) {
        if (i > 0) {
            buf_append_char(out, ',');
            put_space(rng, out);
        }
        if (object) {
            put_string(rng, out);
            put_space(rng, out);
            buf_append_char(out, ':');
        }
        put_value(rng, out, depth + 1);
    }
    buf_append_char(out, object ? '}' : ']');
}

static void put_value(struct rng *rng, struct buf *out, unsigned depth)
{
    put_space(rng, out);
    if (depth < 5 && rng_below(rng, 3) != 0) {
        put_container(rng, out, depth);
    } else {
        put_scalar(rng, out);
    }
    put_space(rng, out);
}

/* One byte changed, put in or taken out, of the bytes that matter to a parser. No "d": with it,
 * \u escapes of lone surrogates would come about, which jansson refuses and we let through. */
static void spoil(struct rng *rng, struct buf *text)
{
    static const char bytes[] = "{}[],:\"\\ 019.eE+-tfnu\x80\xc3\xe2\xf0\xff\n\x01";
    const char byte = bytes[rng_below(rng, sizeof(bytes) - 1)];
    const size_t place = rng_below(rng, buf_len(text));
    struct buf spoilt;

    buf_init(&spoilt);
    buf_append_str(&spoilt, str_slice(buf_str(text), 0, place));
    if (rng_below(rng, 3) != 0) {
        buf_append_char(&spoilt, byte);
    }
    buf_append_str(&spoilt, str_slice(buf_str(text), place + rng_below(rng, 2), buf_len(text)));
    buf_clear(text);
    buf_append_str(text, buf_str(&spoilt));
    buf_done(&spoilt);
}

static void compare_with_jansson(struct str value, unsigned *accepted, unsigned *refused)
{
    static struct json_scan scan;
    struct buf text;
    json_error_t error;
    json_t *tree;
    bool good;

    buf_init(&text);
    buf_append(&text, "{\"x\":", 5);
    buf_append_str(&text, value);
    buf_append_char(&text, '}');
    tree = json_loadb(buf_str(&text).ptr, buf_len(&text), JSON_ALLOW_NUL, &error);
    good = json_scan(buf_str(&text), &scan) == JSON_SCAN_OK;
    /* jansson converts numbers and may find them too large; the grammar does not mind. */
    if (tree != NULL || json_error_code(&error) != json_error_numeric_overflow) {
        if (good != (tree != NULL)) {
            print_error("%.*s: jansson says %s\n", STR_FMT(buf_str(&text)),
                        tree != NULL ? "good" : error.text);
        }
        assert_int_equal(good, tree != NULL);
    }
    *accepted += good ? 1 : 0;
    *refused += good ? 0 : 1;
    json_decref(tree);
    buf_done(&text);
}

static void test_scan_and_jansson_agree_on_generated_texts(void **state)
{
    struct buf text;
    struct rng rng;
    unsigned accepted = 0;
    unsigned refused = 0;

    (void)state;
    buf_init(&text);
    rng_init_seed(&rng, 11);
    for (unsigned round = 0; round < 3000; round++) {
        buf_clear(&text);
        put_value(&rng, &text, 0);
        compare_with_jansson(buf_str(&text), &accepted, &refused);
        spoil(&rng, &text);
        compare_with_jansson(buf_str(&text), &accepted, &refused);
    }
    assert_true(accepted > 3000);
    assert_true(refused > 500);
    buf_done(&text);
}

static void on_piece(void *arg, const void *bytes, size_t len)
{
    struct buf *out = arg;

    buf_append(out, bytes, len);
}

static void put_canonical(struct str text, struct buf *out)
{
    static struct json_scan scan;

    buf_clear(out);
    assert_int_equal(json_scan(text, &scan), JSON_SCAN_OK);
    json_scan_canonical(&scan, NULL, on_piece, out);
}

/* Without its white space a body is the same to jansson, and has the same canonical form. */
static void test_canonical_form_keeps_the_meaning(void **state)
{
    struct buf text;
    struct buf once;
    struct buf twice;
    struct rng rng;

    (void)state;
    buf_init(&text);
    buf_init(&once);
    buf_init(&twice);
    rng_init_seed(&rng, 12);
    for (unsigned round = 0; round < 500; round++) {
        json_t *before;
        json_t *after;

        buf_clear(&text);
        buf_append(&text, "{ \"b\": ", 7);
        put_value(&rng, &text, 0);
        buf_append(&text, ", \"a\" :", 7);
        put_value(&rng, &text, 0);
        buf_append_char(&text, '}');
        put_canonical(buf_str(&text), &once);
        put_canonical(buf_str(&once), &twice);
        assert_true(str_eq(buf_str(&once), buf_str(&twice)));

        before = json_loadb(buf_str(&text).ptr, buf_len(&text), 0, NULL);
        after = json_loadb(buf_str(&once).ptr, buf_len(&once), 0, NULL);
        assert_non_null(before);
        assert_true(json_equal(before, after));
        json_decref(before);
        json_decref(after);
    }
    buf_done(&text);
    buf_done(&once);
    buf_done(&twice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan_and_jansson_agree_on_generated_texts),
        cmocka_unit_test(test_canonical_form_keeps_the_meaning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
