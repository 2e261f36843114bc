/* SPDX-License-Identifier: MIT */
/* Heads and chunk heads as bytes. Nothing that would break a line gets out: it is a bug of ours. */
#include "scan_private.h"

#include <nearside/base/assert.h>
#include <nearside/http/h1.h>

static void assert_fits_line(struct str text)
{
    ASSERT(text.len == 0 || scan_value(text.ptr, text.ptr + text.len) == text.ptr + text.len);
}

char *h1_chunk_head(size_t len, char *end)
{
    static const char digits[] = "0123456789abcdef";
    char *at = end;

    ASSERT(len > 0);
    *--at = '\n';
    *--at = '\r';
    while (len > 0) {
        *--at = digits[len & 0xf];
        len >>= 4;
    }
    return at;
}

void h1_write_request_line(struct buf *out, struct str method, struct str target)
{
    assert_fits_line(method);
    assert_fits_line(target);
    buf_append_str(out, method);
    buf_append(out, " ", 1);
    buf_append_str(out, target);
    buf_append(out, " HTTP/1.1\r\n", 11);
}

void h1_write_status_line(struct buf *out, unsigned version_minor, unsigned status)
{
    char start[] = "HTTP/1.x 000 ";

    ASSERT(version_minor <= 1 && status >= 100 && status <= 999);
    start[7] = (char)('0' + version_minor);
    start[9] = (char)('0' + status / 100);
    start[10] = (char)('0' + status / 10 % 10);
    start[11] = (char)('0' + status % 10);
    buf_append(out, start, sizeof(start) - 1);
    buf_append_str(out, str_of(http_reason(status)));
    buf_append(out, "\r\n", 2);
}

static char *put(char *at, struct str text)
{
    if (text.len > 0) {
        memcpy(at, text.ptr, text.len);
    }
    return at + text.len;
}

void h1_write_field(struct buf *out, struct str name, struct str value)
{
    const size_t len = name.len + value.len + 4;
    char *at;

    buf_make_room(out, len);
    at = buf_tail(out);
    at = put(at, name);
    at = put(at, STR_LIT(": "));
    at = put(at, value);
    (void)put(at, STR_LIT("\r\n"));
    assert_fits_line(str_make(buf_tail(out), len - 2));
    buf_produced(out, len);
}

void h1_write_end(struct buf *out)
{
    buf_append(out, "\r\n", 2);
}
