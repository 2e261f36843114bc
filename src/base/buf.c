/* SPDX-License-Identifier: MIT */
/*
 * The byte queue's growth and its appenders. Bytes are moved to the front only when that costs no
 * more than what was consumed since the last move, so appending is O(1) amortised.
 */
#include <nearside/base/buf.h>

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>
#include <nearside/base/pages.h>

#include <stdio.h>

#define BUF_SIZE_FIRST 256

void buf_init(struct buf *buf)
{
    *buf = (struct buf){0};
}

void buf_init_try(struct buf *buf)
{
    *buf = (struct buf){.may_refuse = true};
}

void buf_init_large(struct buf *buf)
{
    *buf = (struct buf){.is_large = true};
}

/* Whether a block of `size` bytes has pages of its own. */
static bool is_paged(const struct buf *buf, size_t size)
{
    return buf->is_large && size >= BUF_PAGED_BYTES && size <= PAGES_BLOCK_MAX;
}

static void free_data(const struct buf *buf)
{
    if (is_paged(buf, buf->size)) {
        pages_free_warm(buf->data);
    } else {
        mem_free(buf->data);
    }
}

/* The bytes stand at the front and fit. False: memory is refused. */
static bool try_block(struct buf *buf, size_t size)
{
    const bool was_paged = is_paged(buf, buf->size);
    char *data;

    if (was_paged == is_paged(buf, size)) {
        data = was_paged ? pages_try_resize(buf->data, size) : mem_try_realloc(buf->data, size);
    } else {
        data = was_paged ? mem_try_alloc(size) : pages_try_alloc(size);
        if (data != NULL && buf->end > 0) {
            memcpy(data, buf->data, buf->end);
        }
        if (data != NULL) {
            free_data(buf);
        }
    }
    if (data != NULL) {
        buf->data = data;
        buf->size = size;
    }
    return data != NULL;
}

void buf_done(struct buf *buf)
{
    free_data(buf);
    *buf = (struct buf){.may_refuse = buf->may_refuse, .is_large = buf->is_large};
}

static void move_to_front(struct buf *buf)
{
    size_t len = buf_len(buf);

    if (buf->start == 0) {
        return;
    }
    memmove(buf->data, buf->data + buf->start, len);
    buf->start = 0;
    buf->end = len;
}

/* Make room without memory; else say how big the block has to be (0: room is made). */
static size_t size_wanted(struct buf *buf, size_t len)
{
    if (buf_room(buf) >= len) {
        return 0;
    }
    if (buf->size - buf_len(buf) >= len && buf_len(buf) <= buf->start) {
        move_to_front(buf);
        return 0;
    }

    size_t need = buf_len(buf) + len;
    size_t size = buf->size < BUF_SIZE_FIRST ? BUF_SIZE_FIRST : buf->size * 2;
    return size < need ? need : size;
}

bool buf_try_grow(struct buf *buf, size_t len)
{
    if (len > SIZE_MAX / 4) {
        return false;
    }
    size_t size = size_wanted(buf, len);

    if (size == 0) {
        return true;
    }
    move_to_front(buf);
    return try_block(buf, size);
}

bool buf_try_resize(struct buf *buf, size_t size)
{
    ASSERT(size >= buf_len(buf));
    move_to_front(buf);
    return try_block(buf, size);
}

void buf_grow(struct buf *buf, size_t len)
{
    ASSERT(len <= SIZE_MAX / 4);
    ASSERT(!buf->is_large);
    size_t size = size_wanted(buf, len);

    if (size != 0) {
        move_to_front(buf);
        buf->data = mem_realloc(buf->data, size);
        buf->size = size;
    }
}

/* False in a buffer that may be refused memory, from the first refusal on. */
static bool make_room(struct buf *buf, size_t len)
{
    if (buf->may_refuse) {
        buf->is_refused = buf->is_refused || !buf_reserve(buf, len);
        return !buf->is_refused;
    }
    buf_make_room(buf, len);
    return true;
}

void buf_consume(struct buf *buf, size_t len)
{
    ASSERT(len <= buf_len(buf));
    buf->start += len;
    if (buf->start == buf->end) {
        buf_clear(buf);
    }
}

void buf_clear(struct buf *buf)
{
    buf->start = 0;
    buf->end = 0;
}

void buf_fit(struct buf *buf, size_t size)
{
    if (buf->size <= size || buf_len(buf) > size) {
        return;
    }
    move_to_front(buf);
    (void)try_block(buf, size); /* what cannot be made smaller stays as it is */
}

void buf_grow_and_append(struct buf *buf, const void *bytes, size_t len)
{
    if (make_room(buf, len)) {
        memcpy(buf_tail(buf), bytes, len);
        buf->end += len;
    }
}

void buf_append_u64(struct buf *buf, uint64_t value)
{
    char digits[20]; /* 2^64 - 1 has 20 */
    size_t first = sizeof(digits);

    do {
        first--;
        digits[first] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buf_append(buf, digits + first, sizeof(digits) - first);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(buf, format, args);
    va_end(args);
}

void buf_vprintf(struct buf *buf, const char *format, va_list args)
{
    va_list again;

    if (!make_room(buf, 128)) { /* enough for most lines, so that one pass does */
        return;
    }
    va_copy(again, args);
    int len = vsnprintf(buf_tail(buf), buf_room(buf), format, args);
    ASSERT(len >= 0);
    bool fits = (size_t)len < buf_room(buf);
    if (!fits && make_room(buf, (size_t)len + 1)) {
        fits = true;
        vsnprintf(buf_tail(buf), buf_room(buf), format, again);
    }
    va_end(again);
    buf->end += fits ? (size_t)len : 0;
}

static bool is_between(char c, uint8_t low, uint8_t high)
{
    return (uint8_t)c >= low && (uint8_t)c <= high;
}

/* Length of the well-formed UTF-8 sequence at the start of `s` (RFC 3629), 0 when there is none:
 * no overlong forms, no surrogates, nothing over U+10FFFF. */
static size_t utf8_len(struct str s)
{
    uint8_t first = (uint8_t)s.ptr[0];
    size_t len = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;

    if (first < 0x80) {
        return 1;
    }
    if (first < 0xc2 || first > 0xf4 || s.len < len || !is_between(s.ptr[1], low, high)) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if (!is_between(s.ptr[i], 0x80, 0xbf)) {
            return 0;
        }
    }
    return len;
}

/* Bytes that stand for themselves in a JSON string: printable ASCII without " and \ . */
static const bool is_plain_json[256] = {
    [0x20 ... '"' - 1] = true,
    ['"' + 1 ... '\\' - 1] = true,
    ['\\' + 1 ... 0x7e] = true,
};

static void append_json_control(struct buf *buf, char c)
{
    switch (c) {
    case '"':
        buf_append(buf, "\\\"", 2);
        break;
    case '\\':
        buf_append(buf, "\\\\", 2);
        break;
    case '\n':
        buf_append(buf, "\\n", 2);
        break;
    case '\r':
        buf_append(buf, "\\r", 2);
        break;
    case '\t':
        buf_append(buf, "\\t", 2);
        break;
    default:
        buf_printf(buf, "\\u%04x", (unsigned)(uint8_t)c);
        break;
    }
}

void buf_append_json(struct buf *buf, struct str text)
{
    size_t at = 0;

    while (at < text.len) {
        size_t run = at;
        while (run < text.len && is_plain_json[(uint8_t)text.ptr[run]]) {
            run++;
        }
        buf_append(buf, text.ptr + at, run - at);
        at = run;
        if (at == text.len) {
            return;
        }

        size_t len = utf8_len(str_slice(text, at, text.len));
        if (len == 0) {
            buf_append(buf, "\\ufffd", 6);
            len = 1;
        } else if (len == 1) {
            append_json_control(buf, text.ptr[at]);
        } else {
            buf_append(buf, text.ptr + at, len);
        }
        at += len;
    }
}
