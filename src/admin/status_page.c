/* SPDX-License-Identifier: MIT */
/*
 * The status page: the frame (page/page.html) with the style, the script, the present status for
 * the script to begin with, and plain tables for those who run none. One answer, nothing from
 * outside.
 */
#include "admin_private.h"

#include "member_private.h"
#include "page_asset_private.h"
#include "page_plain_private.h"
#include "page_value_private.h"
#include "status_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/digest.h>
#include <nearside/base/mem.h>

#include <string.h>

/* JSON inside a script element: only a `<` could end it, and JSON has one only inside strings. */
static void write_status(struct buf *out, const json_t *root)
{
    struct buf text;
    struct str rest;

    buf_init(&text);
    member_dump(root, &text);
    rest = buf_str(&text);
    for (;;) {
        size_t end = str_find_char(rest, '<');

        buf_append_str(out, str_slice(rest, 0, end));
        if (end == rest.len) {
            break;
        }
        buf_append_str(out, STR_LIT("\\u003c"));
        rest = str_slice(rest, end + 1, rest.len);
    }
    buf_done(&text);
}

static void write_edge(struct buf *out, const json_t *root)
{
    page_escape(out, page_text_at(root, "edge/id"));
}

static void write_style(struct buf *out, const json_t *root)
{
    (void)root;
    buf_append_str(out, str_of(page_style));
}

static void write_script(struct buf *out, const json_t *root)
{
    (void)root;
    buf_append_str(out, str_of(page_script));
}

/* What the marks in the frame stand for. */
static const struct {
    struct str word;
    void (*write)(struct buf *out, const json_t *root);
} parts[] = {
    {{"edge", 4}, write_edge},     {{"style", 5}, write_style},   {{"plain", 5}, page_write_plain},
    {{"status", 6}, write_status}, {{"script", 6}, write_script},
};

static void write_part(struct buf *out, const json_t *root, struct str word)
{
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (str_eq(parts[i].word, word)) {
            parts[i].write(out, root);
            return;
        }
    }
    ASSERT_UNREACHABLE("a mark of the frame");
}

void admin_page(struct admin *admin, struct buf *out)
{
    json_t *root = status_build(admin);
    struct str rest = str_of(page_frame);

    for (;;) {
        size_t mark = str_find(rest, STR_LIT("{{"));
        size_t end;

        buf_append_str(out, str_slice(rest, 0, mark));
        if (mark == rest.len) {
            break;
        }
        rest = str_slice(rest, mark + 2, rest.len);
        end = str_find(rest, STR_LIT("}}"));
        write_part(out, root, str_slice(rest, 0, end));
        rest = str_slice(rest, end + 2, rest.len);
    }
    json_decref(root);
}

/* ---- its policy ---- */

#define BASE64_LEN(bytes) (((bytes) + 2) / 3 * 4)

/* Base64 of a SHA-256 sum: 43 digits and a `=`. */
static void sum_to_base64(const uint8_t sum[DIGEST_BYTES], char out[BASE64_LEN(DIGEST_BYTES) + 1])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = 0;

    for (size_t i = 0; i < DIGEST_BYTES; i += 3) {
        uint32_t bits = (uint32_t)sum[i] << 16;

        bits |= i + 1 < DIGEST_BYTES ? (uint32_t)sum[i + 1] << 8 : 0;
        bits |= i + 2 < DIGEST_BYTES ? (uint32_t)sum[i + 2] : 0;
        for (unsigned digit = 0; digit < 4; digit++) {
            out[len++] = digits[bits >> (18 - 6 * digit) & 63];
        }
    }
    out[len - 1] = '='; /* 32 bytes leave one place of the last four empty */
    out[len] = '\0';
}

static void hash_text(struct digest *digest, const char *text,
                      char out[BASE64_LEN(DIGEST_BYTES) + 1])
{
    uint8_t sum[DIGEST_BYTES];

    digest_start(digest);
    digest_add(digest, text, strlen(text));
    digest_finish(digest, sum);
    sum_to_base64(sum, out);
}

char *admin_page_policy(void)
{
    struct digest *digest = digest_new();
    char style[BASE64_LEN(DIGEST_BYTES) + 1];
    char script[BASE64_LEN(DIGEST_BYTES) + 1];

    hash_text(digest, page_style, style);
    hash_text(digest, page_script, script);
    digest_free(digest);
    return mem_printf("default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; "
                      "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                      "frame-ancestors 'none'; require-trusted-types-for 'script'; "
                      "trusted-types 'none'",
                      style, script);
}
