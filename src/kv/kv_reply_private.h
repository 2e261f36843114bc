/* SPDX-License-Identifier: MIT */
/*
 * Redis's replies as values: bytes in, one reply after the other out, by hiredis's reader, which
 * builds our objects within our limits. RESP2.
 */
#ifndef NEARSIDE_KV_REPLY_PRIVATE_H
#define NEARSIDE_KV_REPLY_PRIVATE_H

#include <nearside/base/attr.h>
#include <nearside/base/str.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Replies nested in one reply. A SCAN of 500 gives some hundreds; the bound keeps the bookkeeping
 * of a reply that is all tiny items (64 bytes each) at a few MiB. */
#define KV_REPLY_ITEMS_MAX 65536

/* Of a line: a status, an error, a number, the head of a string or an array. The reader looks for
 * its end from its start with all that comes. */
#define KV_REPLY_LINE_MAX 65536

enum kv_reply_kind {
    KV_REPLY_NIL,
    KV_REPLY_INTEGER,
    KV_REPLY_STATUS, /* "+OK": in text */
    KV_REPLY_ERROR,  /* "-ERR ...": in text */
    KV_REPLY_STRING, /* in text; any bytes */
    KV_REPLY_ARRAY,  /* in items */
};

struct kv_reply {
    enum kv_reply_kind kind;
    int64_t integer;
    struct str text;         /* owned bytes */
    struct kv_reply **items; /* owned array of owned replies */
    size_t count;
};

void kv_reply_free(struct kv_reply *reply); /* NULL is fine */

/* Redis is there, but says with this error that it cannot serve anybody now: it is loading its
 * data, runs a script, has no master. Asking again soon is of no use. */
bool kv_error_is_unready(struct str text);

struct kv_reader;

enum kv_read {
    KV_READ_REPLY,
    KV_READ_MORE, /* not whole yet */
    KV_READ_BAD,  /* not RESP, or over a limit: kv_reader_error(); the reader is of no more use */
};

struct kv_reader *kv_reader_new(void);
void kv_reader_free(struct kv_reader *reader); /* NULL is fine */

/* Take over bytes from the peer. False when memory is refused. */
bool kv_reader_feed(struct kv_reader *reader, const char *bytes, size_t len) MUST_CHECK;
/* Take the next whole reply; it is the caller's. */
enum kv_read kv_reader_take(struct kv_reader *reader, struct kv_reply **ret_reply) MUST_CHECK;
const char *kv_reader_error(const struct kv_reader *reader);

#endif
