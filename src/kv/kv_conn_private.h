/* SPDX-License-Identifier: MIT */
/*
 * One pipelined connection to a Redis: it connects when first used and again after each loss,
 * logs in, writes commands in batches and gives the replies to whom they belong.
 *
 * No deadlines of single commands and no counting here: that is kv.c's. A command nobody waits
 * for any more is abandoned; if it has been written, its place in the order of replies is kept.
 */
#ifndef NEARSIDE_KV_CONN_PRIVATE_H
#define NEARSIDE_KV_CONN_PRIVATE_H

#include "kv_pipeline_private.h"

#include <nearside/base/attr.h>
#include <nearside/base/str.h>
#include <nearside/kv/kv.h>

#include <stdbool.h>
#include <stddef.h>

struct kv_conn;
struct loop;

/* What the owner is told. Neither is called from inside a kv_conn_* or kv_command_* call. */
struct kv_conn_events {
    void (*ready)(void *arg);
    /* After the commands under way have ended. `why` is borrowed for the call. */
    void (*lost)(const char *why, void *arg);
};

/* `events` must outlive the connection. Nothing is sent before the first command. */
struct kv_conn *kv_conn_new(struct loop *loop, const struct kv_target *target,
                            const struct kv_conn_events *events, void *arg);
/* Commands under way end without a call. */
void kv_conn_free(struct kv_conn *conn);

bool kv_conn_is_ready(const struct kv_conn *conn);
/* Lost or refused, and not yet due to be tried again: commands must not be submitted. */
bool kv_conn_is_down(const struct kv_conn *conn);
/* Of commands not fully written. */
size_t kv_conn_unsent_bytes(const struct kv_conn *conn);

/* Queue a command of `count` words (copied); it is written at the end of the turn, or when the
 * connection is ready. NULL when memory is refused. The listener is told its end, not before this
 * returns: KV_OK and a reply; KV_DOWN when the connection is lost, KV_REFUSED when Redis refused
 * the login. The command is gone then. */
struct kv_command *kv_conn_submit(struct kv_conn *conn, const struct str *words, size_t count,
                                  struct kv_listener listener) MUST_CHECK;
/* Nobody waits for it any more; its listener is not told. */
void kv_conn_abandon(struct kv_conn *conn, struct kv_command *command);

#endif
