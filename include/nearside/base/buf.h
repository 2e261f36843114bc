/* SPDX-License-Identifier: MIT */
/*
 * A byte queue in one block: bytes are appended at the end and consumed from the front.
 *
 *     data                 data + start      data + end          data + size
 *      | consumed (reusable) |  buf_str()       |  free             |
 *
 * Growth is bounded by the caller: buf_reserve() may be refused by memory, buf_append() never
 * fails and is for what we produce ourselves. What a peer sizes and many small appends make goes
 * into a buffer of buf_init_try(): there an append may be refused; it adds nothing then, nor does
 * any after it, and buf_is_refused() tells at the end. An empty buffer holds no memory after
 * buf_trim().
 *
 * A buffer of buf_init_large() has pages of its own (pages.h) while its block is BUF_PAGED_BYTES to
 * PAGES_BLOCK_MAX long, and leaves them warm. It grows by what may be refused only.
 */
#ifndef NEARSIDE_BASE_BUF_H
#define NEARSIDE_BASE_BUF_H

#include <nearside/base/assert.h>
#include <nearside/base/attr.h>
#include <nearside/base/str.h>

#include <stdarg.h>
#include <stdbool.h>

struct buf {
    char *data; /* owned */
    size_t start;
    size_t end;
    size_t size;
    bool may_refuse;
    bool is_refused;
    bool is_large;
};

#define BUF_PAGED_BYTES 131072

void buf_init(struct buf *buf);
void buf_init_try(struct buf *buf);
void buf_init_large(struct buf *buf);
void buf_done(struct buf *buf); /* leaves an empty, usable buffer */

static inline size_t buf_len(const struct buf *buf)
{
    return buf->end - buf->start;
}

/* An append was refused: what is here is not whole. For good, whatever is cleared or consumed. */
static inline bool buf_is_refused(const struct buf *buf)
{
    return buf->is_refused;
}

static inline struct str buf_str(const struct buf *buf)
{
    return str_make(buf->data == NULL ? "" : buf->data + buf->start, buf->end - buf->start);
}

/* Where the next bytes go and how many fit without growing. */
static inline char *buf_tail(struct buf *buf)
{
    return buf->data + buf->end;
}
static inline size_t buf_room(const struct buf *buf)
{
    return buf->size - buf->end;
}

/* Room for at least `len` more bytes at the end. False when memory is refused. */
bool buf_try_grow(struct buf *buf, size_t len) MUST_CHECK;
MUST_CHECK static inline bool buf_reserve(struct buf *buf, size_t len)
{
    return LIKELY(len <= buf_room(buf)) || buf_try_grow(buf, len);
}

/* A block of `size` bytes and no more, at least what is there. False when memory is refused. */
bool buf_try_resize(struct buf *buf, size_t size) MUST_CHECK;

/* Room likewise for what is our own and small, or was reserved before: never refused. */
void buf_grow(struct buf *buf, size_t len);
static inline void buf_make_room(struct buf *buf, size_t len)
{
    if (UNLIKELY(len > buf_room(buf))) {
        buf_grow(buf, len);
    }
}

/* After writing to buf_tail(). */
static inline void buf_produced(struct buf *buf, size_t len)
{
    ASSERT(len <= buf_room(buf));
    buf->end += len;
}

void buf_consume(struct buf *buf, size_t len); /* forget bytes at the front */
void buf_clear(struct buf *buf);               /* empty, memory kept */

/* If empty, give the memory back. */
static inline void buf_trim(struct buf *buf)
{
    if (buf->data != NULL && buf_len(buf) == 0) {
        buf_done(buf);
    }
}

/* Give memory back down to a block of `size` bytes, if what is held fits into one. */
void buf_fit(struct buf *buf, size_t size);

/* Append; memory is never refused (mem_ rules), but in a buffer of buf_init_try(). Inline for what
 * fits, as nearly everything does: a literal is then a store or two. */
void buf_grow_and_append(struct buf *buf, const void *bytes, size_t len);
static inline void buf_append(struct buf *buf, const void *bytes, size_t len)
{
    if (UNLIKELY(len > buf_room(buf) || buf->is_refused)) {
        buf_grow_and_append(buf, bytes, len);
    } else if (len > 0) {
        memcpy(buf_tail(buf), bytes, len);
        buf->end += len;
    }
}
static inline void buf_append_str(struct buf *buf, struct str text)
{
    buf_append(buf, text.ptr, text.len);
}
static inline void buf_append_char(struct buf *buf, char c)
{
    buf_append(buf, &c, 1);
}
void buf_append_u64(struct buf *buf, uint64_t value); /* decimal */
void buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *buf, const char *format, va_list args) PRINTF_LIKE(2, 0);

/* Append `text` as the inside of a JSON string (no quotes): ", \, control characters and bytes
 * that are not UTF-8 are escaped; bad bytes become U+FFFD. */
void buf_append_json(struct buf *buf, struct str text);

#endif
