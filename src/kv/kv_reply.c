/* SPDX-License-Identifier: MIT */
/*
 * hiredis's reader with our own objects: a reply that is too long, has too many items or meets
 * a refusal of memory ends in KV_READ_BAD, never in growth.
 */
#include "kv_reply_private.h"

#include <nearside/base/mem.h>
#include <nearside/kv/kv.h>

#include <hiredis/hiredis.h>

#include <string.h>

struct kv_reader {
    redisReplyObjectFunctions makers; /* hiredis wants it writable, so it cannot be a constant */
    redisReader *resp;                /* owned */
    size_t waiting_bytes;             /* fed since the last whole reply */
    size_t item_count;                /* announced by the arrays of the reply being built */
    const char *error;                /* NULL: what hiredis says */
};

void kv_reply_free(struct kv_reply *reply)
{
    if (reply == NULL) {
        return;
    }
    for (size_t i = 0; i < reply->count; i++) {
        kv_reply_free(reply->items[i]); /* at most 7 deep: hiredis refuses more */
    }
    mem_free(reply->items);
    mem_free(reply);
}

/* ---- what hiredis calls to build a reply; NULL makes it give up ---- */

/* One object, its bytes behind it, hung into the array it belongs to. */
static struct kv_reply *make_reply(const redisReadTask *task, enum kv_reply_kind kind,
                                   const char *bytes, size_t len)
{
    struct kv_reply *reply = mem_try_alloc(sizeof(*reply) + len + 1);
    char *text;

    if (reply == NULL) {
        return NULL;
    }
    text = (char *)(reply + 1);
    if (len > 0) {
        memcpy(text, bytes, len);
    }
    text[len] = '\0';
    *reply = (struct kv_reply){.kind = kind, .text = str_make(text, len)};
    if (task->parent != NULL) {
        ((struct kv_reply *)task->parent->obj)->items[task->idx] = reply;
    }
    return reply;
}

static void *make_text(const redisReadTask *task, char *bytes, size_t len)
{
    static const enum kv_reply_kind kinds[] = {
        [REDIS_REPLY_STRING] = KV_REPLY_STRING,
        [REDIS_REPLY_STATUS] = KV_REPLY_STATUS,
        [REDIS_REPLY_ERROR] = KV_REPLY_ERROR,
    };

    return make_reply(task, kinds[task->type], bytes, len);
}

/* Take a reply that is given up out of the array it was hung into. */
static void unhang(const redisReadTask *task)
{
    if (task->parent != NULL) {
        ((struct kv_reply *)task->parent->obj)->items[task->idx] = NULL;
    }
}

static void *make_array(const redisReadTask *task, int count)
{
    struct kv_reader *reader = task->privdata;
    struct kv_reply *reply;

    /* What is announced counts, not what came: ten bytes can announce a gigabyte. */
    if ((size_t)count > KV_REPLY_ITEMS_MAX - reader->item_count) {
        reader->error = "a reply has too many items";
        return NULL;
    }
    reader->item_count += (size_t)count;
    reply = make_reply(task, KV_REPLY_ARRAY, "", 0);
    if (reply == NULL || count <= 0) {
        return reply;
    }
    reply->items = mem_try_alloc((size_t)count * sizeof(reply->items[0]));
    if (reply->items == NULL) {
        unhang(task);
        mem_free(reply);
        return NULL;
    }
    memset(reply->items, 0, (size_t)count * sizeof(reply->items[0]));
    reply->count = (size_t)count;
    return reply;
}

static void *make_integer(const redisReadTask *task, long long value)
{
    struct kv_reply *reply = make_reply(task, KV_REPLY_INTEGER, "", 0);

    if (reply != NULL) {
        reply->integer = value;
    }
    return reply;
}

static void *make_nil(const redisReadTask *task)
{
    return make_reply(task, KV_REPLY_NIL, "", 0);
}

static void free_object(void *object)
{
    kv_reply_free(object);
}

/* ---- the reader ---- */

struct kv_reader *kv_reader_new(void)
{
    struct kv_reader *reader = mem_new(struct kv_reader);

    reader->makers = (redisReplyObjectFunctions){
        .createString = make_text,
        .createArray = make_array,
        .createInteger = make_integer,
        .createNil = make_nil,
        .freeObject = free_object,
    };
    reader->resp = redisReaderCreateWithFunctions(&reader->makers);
    if (reader->resp != NULL) {
        reader->resp->privdata = reader;
    }
    return reader;
}

void kv_reader_free(struct kv_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    if (reader->resp != NULL) {
        redisReaderFree(reader->resp);
    }
    mem_free(reader);
}

bool kv_reader_feed(struct kv_reader *reader, const char *bytes, size_t len)
{
    reader->waiting_bytes += len;
    return reader->resp != NULL && redisReaderFeed(reader->resp, bytes, len) == REDIS_OK;
}

/* What is there of the line that the reader waits for; 0 when it waits for the rest of a string. */
static size_t waiting_line_len(const redisReader *resp)
{
    struct str unread = str_make(resp->buf + resp->pos, resp->len - resp->pos);
    struct str head = str_slice(unread, 0, KV_REPLY_LINE_MAX);

    /* The head of a string is not taken before all of its bytes are there. */
    if (unread.len > 0 && resp->rstack[resp->ridx].type == REDIS_REPLY_STRING &&
        str_find(head, STR_LIT("\r\n")) < head.len) {
        return 0;
    }
    return unread.len;
}

/* More is needed for a whole reply: may it come? */
static enum kv_read check_waiting(struct kv_reader *reader)
{
    if (reader->waiting_bytes > KV_REPLY_BYTES_MAX) {
        reader->error = "a reply is too long";
        return KV_READ_BAD;
    }
    if (waiting_line_len(reader->resp) > KV_REPLY_LINE_MAX) {
        reader->error = "a line of a reply is too long";
        return KV_READ_BAD;
    }
    return KV_READ_MORE;
}

enum kv_read kv_reader_take(struct kv_reader *reader, struct kv_reply **ret_reply)
{
    void *reply = NULL;

    if (redisReaderGetReply(reader->resp, &reply) != REDIS_OK) {
        return KV_READ_BAD;
    }
    if (reply == NULL) {
        return check_waiting(reader);
    }
    reader->waiting_bytes = reader->resp->len - reader->resp->pos;
    reader->item_count = 0;
    *ret_reply = reply;
    return KV_READ_REPLY;
}

const char *kv_reader_error(const struct kv_reader *reader)
{
    if (reader->error != NULL) {
        return reader->error;
    }
    return reader->resp == NULL ? "no memory" : reader->resp->errstr;
}
