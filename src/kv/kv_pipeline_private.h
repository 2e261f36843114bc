/* SPDX-License-Identifier: MIT */
/*
 * The commands of one connection in their order: which wait, which are to be written, which are
 * to be answered. Data alone, no I/O.
 *
 *     new ──> held ──(ready)──> unsent ──(written)──> sent ──(reply)──> gone
 *
 * A command nobody waits for any more is removed if Redis has seen nothing of it. Else it keeps
 * its place as a tombstone, so that the replies behind its own are not taken for it.
 */
#ifndef NEARSIDE_KV_PIPELINE_PRIVATE_H
#define NEARSIDE_KV_PIPELINE_PRIVATE_H

#include "kv_reply_private.h"

#include <nearside/base/attr.h>
#include <nearside/base/list.h>
#include <nearside/base/str.h>
#include <nearside/kv/kv.h>

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define KV_WORDS_MAX  512 /* of one command */
#define KV_PIECES_MAX 64  /* commands written at once */

struct kv_command;

/* The end of a command: KV_OK with a reply, which is the callee's then; else none. */
typedef void (*kv_command_fn)(enum kv_result result, struct kv_reply *reply, void *arg);

/* Who is told of the end. fn is NULL: nobody (a tombstone's). */
struct kv_listener {
    kv_command_fn fn;
    void *arg;
};

struct kv_pipeline {
    struct list held;    /* of struct kv_command, owned, like the others */
    struct list unsent;  /* the first may be half written */
    struct list sent;    /* in the order of their replies */
    size_t unsent_bytes; /* of held and unsent */
    size_t tombstones;
};

void kv_pipeline_init(struct kv_pipeline *pipeline);
/* Free all commands; nobody is told. */
void kv_pipeline_done(struct kv_pipeline *pipeline);

/* Add a command of `count` words (copied), held or to be written. NULL: memory is refused. */
struct kv_command *kv_pipeline_add(struct kv_pipeline *pipeline, const struct str *words,
                                   size_t count, struct kv_listener listener,
                                   bool is_held) MUST_CHECK;
/* What is held is to be written now. */
void kv_pipeline_release(struct kv_pipeline *pipeline);

/* Nobody waits for the command any more. True when it has become a tombstone. */
bool kv_pipeline_abandon(struct kv_pipeline *pipeline, struct kv_command *command);

/* The next bytes to write; returns the number of pieces, 0 when all is written. */
int kv_pipeline_gather(struct kv_pipeline *pipeline, struct iovec pieces[KV_PIECES_MAX]);
/* So many of them have gone. */
void kv_pipeline_written(struct kv_pipeline *pipeline, size_t len);

/* A reply has come: remove the command it is for. False: none is waited for. */
bool kv_pipeline_take_answered(struct kv_pipeline *pipeline, struct kv_listener *ret_listener);
/* Remove the oldest command, wherever it is. False: there is none. */
bool kv_pipeline_take_oldest(struct kv_pipeline *pipeline, struct kv_listener *ret_listener);

#endif
