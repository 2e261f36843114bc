/* SPDX-License-Identifier: MIT */
/* Heads and chunk heads as bytes. Nothing that would break a line gets out: it is a bug of ours. */
#include "scan_private.h"

#include <nearside/base/assert.h>
#include <nearside/http/h1.h>

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

/* Into room that is known to be there. Inline: a head is some thirty such pieces. */
static ALWAYS_INLINE char *put(char *at, struct str text)
{
    ASSERT(scan_copy(at, text.ptr, text.len));
    return at + text.len;
}

#define PUT_LIT(at, lit) ((char *)memcpy((at), "" lit, sizeof(lit) - 1) + sizeof(lit) - 1)

void h1_write_request_line(struct buf *out, struct str method, struct str target)
{
    const size_t len = method.len + target.len + sizeof("  HTTP/1.1\r\n") - 1;
    char *at;

    buf_make_room(out, len);
    at = put(buf_tail(out), method);
    at = PUT_LIT(at, " ");
    at = put(at, target);
    (void)PUT_LIT(at, " HTTP/1.1\r\n");
    buf_produced(out, len);
}

void h1_write_status_line(struct buf *out, unsigned version_minor, unsigned status)
{
    const struct str reason = str_of(http_reason(status));
    const size_t len = sizeof("HTTP/1.x 000 \r\n") - 1 + reason.len;
    char *at;

    ASSERT(version_minor <= 1 && status >= 100 && status <= 999);
    buf_make_room(out, len);
    at = PUT_LIT(buf_tail(out), "HTTP/1.");
    *at++ = (char)('0' + version_minor);
    *at++ = ' ';
    *at++ = (char)('0' + status / 100);
    *at++ = (char)('0' + status / 10 % 10);
    *at++ = (char)('0' + status % 10);
    *at++ = ' ';
    at = put(at, reason);
    (void)PUT_LIT(at, "\r\n");
    buf_produced(out, len);
}

/* Apart, so that the rest, which calls nobody, saves no registers. */
static NO_INLINE void grow_and_write_field(struct buf *out, struct str name, struct str value)
{
    buf_grow(out, name.len + value.len + 4);
    h1_write_field(out, name, value);
}

void h1_write_field(struct buf *out, struct str name, struct str value)
{
    const size_t len = name.len + value.len + 4;
    char *at;

    if (UNLIKELY(len > buf_room(out))) {
        grow_and_write_field(out, name, value);
        return;
    }
    at = put(buf_tail(out), name);
    at = PUT_LIT(at, ": ");
    at = put(at, value);
    (void)PUT_LIT(at, "\r\n");
    buf_produced(out, len);
}

void h1_write_end(struct buf *out)
{
    buf_append(out, "\r\n", 2);
}
