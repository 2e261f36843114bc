/* SPDX-License-Identifier: MIT */
/* Any bytes as JSON: jansson must agree, and the canonical form must be its own. */
#include <nearside/base/assert.h>
#include <nearside/base/buf.h>
#include <nearside/http/json_scan.h>

#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_piece(void *arg, const void *bytes, size_t len)
{
    struct buf *out = arg;

    buf_append(out, bytes, len);
}

static void check_canonical(const struct json_scan *scan)
{
    static struct json_scan again;
    struct buf once;
    struct buf twice;

    buf_init(&once);
    buf_init(&twice);
    json_scan_canonical(scan, NULL, on_piece, &once);
    ASSERT(json_scan(buf_str(&once), &again) == JSON_SCAN_OK);
    ASSERT(again.member_count == scan->member_count);
    for (uint32_t i = 0; i < again.member_count; i++) {
        ASSERT(!again.members[i].spaced);
    }
    json_scan_canonical(&again, NULL, on_piece, &twice);
    ASSERT(str_eq(buf_str(&once), buf_str(&twice)));
    buf_done(&once);
    buf_done(&twice);
}

/* jansson refuses \u escapes of lone surrogates and numbers too large for C, which the grammar does
 * not, and takes a NUL behind the value for the end. Our other answers are limits it does not have.
 */
static void check_jansson(struct str text, enum json_scan_result result)
{
    const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    const bool good = result == JSON_SCAN_OK || result == JSON_SCAN_NO_OBJECT;
    const bool bad = result == JSON_SCAN_SYNTAX || result == JSON_SCAN_UTF8;
    json_error_t error;
    json_t *tree;

    if ((!good && !bad) || str_find(text, STR_LIT("\\u")) < text.len ||
        str_find_char(text, '\0') < text.len) {
        return;
    }
    tree = json_loadb(text.ptr, text.len, flags, &error);
    ASSERT(tree == NULL || good);
    ASSERT(tree != NULL || bad || json_error_code(&error) == json_error_numeric_overflow);
    json_decref(tree);
}

/* The same judgement when it comes in three pieces. */
static void check_pieces(struct str text, enum json_scan_result result)
{
    static struct json_scan scan;
    struct json_scanner scanner;
    const size_t cut = text.len == 0 ? 0 : (unsigned char)text.ptr[text.len - 1] % text.len;

    json_scanner_start(&scanner, &scan, 0, NULL, NULL);
    (void)json_scanner_feed(&scanner, str_slice(text, 0, cut / 2));
    (void)json_scanner_feed(&scanner, str_slice(text, 0, cut));
    ASSERT(json_scanner_end(&scanner, text) == result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_scan scan;
    const struct str text = str_make((const char *)data, size);
    const enum json_scan_result result = json_scan(text, &scan);

    if (result == JSON_SCAN_OK) {
        check_canonical(&scan);
    }
    check_pieces(text, result);
    check_jansson(text, result);
    return 0;
}
