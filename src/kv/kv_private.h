/* SPDX-License-Identifier: MIT */
/*
 * What the files of this folder share: a request (what the caller waits for) and how it ends.
 * A request has one command under way at a time; most have one in all.
 */
#ifndef NEARSIDE_KV_PRIVATE_H
#define NEARSIDE_KV_PRIVATE_H

#include "kv_conn_private.h"

#include <nearside/base/list.h>
#include <nearside/kv/kv.h>
#include <nearside/loop/loop.h>

#include <stdint.h>

enum kv_kind {
    KV_KIND_GET,
    KV_KIND_SET,
    KV_KIND_PING,
    KV_KIND_DELETE_MATCHING,
    KV_KIND_COMMAND,
    KV_KIND_COUNT
};

/* Where a deletion of many keys stands. */
struct kv_sweep {
    char *pattern; /* owned */
    size_t pattern_len;
    char *cursor;           /* owned; "0" again: the scan has come round */
    struct kv_reply *found; /* owned; what the last SCAN gave */
    size_t next;            /* index of the first found key not yet deleted */
    uint64_t deleted;
    char text[24]; /* `deleted` for the callback */
};

/* Who waits for a request, and how long. */
struct kv_waiter {
    uint32_t timeout_ms;
    kv_done_fn done; /* NULL: nobody wants to know, or `items` does */
    void *arg;
    kv_items_fn items; /* of KV_KIND_COMMAND */
};

struct kv_request {
    uint32_t magic;
    enum kv_kind kind;
    struct list link; /* in kv->active, kv->finished or kv->batch */
    struct kv *kv;    /* borrowed: its owner */
    struct kv_waiter waiter;
    struct deadline deadline;
    uint64_t end_ns;            /* of all its commands */
    uint32_t patience_ms;       /* with each of them */
    uint64_t begun_ns;          /* the one under way */
    struct kv_command *command; /* borrowed: the one under way, or NULL */
    enum kv_result result;
    struct str value;       /* for the callback; lies in reply or sweep */
    struct kv_reply *reply; /* owned */
    struct kv_sweep sweep;
    struct str *items; /* owned; of KV_KIND_COMMAND's reply, whose bytes they are in */
    size_t item_count;
    char number[24]; /* text of a reply that is one number */
};

/* Send one more command for the request, and set its deadline. False when memory is refused. */
bool kv_request_submit(struct kv_request *request, const struct str *words,
                       size_t count) MUST_CHECK;
/* The request has its result; `reply` (may be NULL) becomes its own. The callback comes at the
 * end of the turn. */
void kv_request_finish(struct kv_request *request, enum kv_result result, struct kv_reply *reply);
/* Keep for kv_last_error() what Redis said instead of what was wanted. */
void kv_request_note_refusal(struct kv_request *request, const struct kv_reply *reply);

/* kv_items.c: lay out a reply as items. False: not a flat one, or too long. */
bool kv_items_take(struct kv_request *request, const struct kv_reply *reply) MUST_CHECK;

/* kv_sweep.c: SCAN, UNLINK, SCAN ... until the cursor is 0 again. */
bool kv_sweep_start(struct kv_request *request, struct str pattern) MUST_CHECK;
void kv_sweep_reply(struct kv_request *request, struct kv_reply *reply); /* takes the reply */
void kv_sweep_done(struct kv_sweep *sweep);

#endif
