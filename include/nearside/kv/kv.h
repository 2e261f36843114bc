/* SPDX-License-Identifier: MIT */
/*
 * Keys and values in a region's Redis over one pipelined connection (hiredis's formatter and
 * reader over net/stream). It connects by itself when first used and again after a loss, with
 * backoff; a command on a connection that is not ready yet waits for it within its own deadline.
 *
 * Redis slow, frozen or gone never blocks and never grows memory: every command has a deadline,
 * the number and bytes of commands under way are bounded, and beyond that they fail at once. When
 * `KV_BREAKER_FALLS` commands in a row time out or fail, the breaker opens: commands fail at once
 * until a trial succeeds (PING after backoff, 100 ms doubling to 5 s, and whenever a lost
 * connection is back; it is given as long as the most impatient of those commands, and only an
 * answer within that time counts as a success). An answer is not a failure, unless it is that Redis
 * cannot serve anybody now (LOADING, BUSY, MASTERDOWN, CLUSTERDOWN). docs/redis.md has the whole
 * story.
 *
 * Thread: the loop that made it.
 */
#ifndef NEARSIDE_KV_KV_H
#define NEARSIDE_KV_KV_H

#include <nearside/base/addr.h>
#include <nearside/base/attr.h>
#include <nearside/base/str.h>
#include <nearside/obs/metric.h>

#include <stdbool.h>
#include <stdint.h>

#define KV_BREAKER_FALLS     3
#define KV_PENDING_MAX       1024     /* commands under way */
#define KV_PENDING_BYTES     16777216 /* of commands not yet written; so no value is longer */
#define KV_REPLY_BYTES_MAX   67108864
#define KV_COMMAND_WORDS_MAX 512  /* of kv_command() */
#define KV_ITEMS_MAX         8192 /* of its reply */
#define KV_SWEEP_STEP_MS     10000

struct conf_redis;
struct kv;
struct kv_request;
struct loop;
struct tls_ctx;

enum kv_result {
    KV_OK,
    KV_MISS,    /* no such key */
    KV_TIMEOUT, /* the command's deadline passed */
    KV_DOWN,    /* connection lost, not to be had, or the breaker is open */
    KV_FULL,    /* KV_PENDING_* reached */
    KV_REFUSED, /* Redis answered with an error: kv_last_error() */
    KV_RESULT_COUNT
};

const char *kv_result_word(enum kv_result result);

/* What to connect to. `addr` is already resolved; the strings are copied. */
struct kv_target {
    struct addr addr;
    const char *server_name; /* for TLS */
    struct tls_ctx *tls;     /* NULL: plain; a reference is taken */
    const char *user;
    const char *password;
    uint32_t database;
};

/* `value` (KV_OK of a get) is borrowed for the call. Called exactly once per command that was not
 * cancelled, never before the starter returns. */
typedef void (*kv_done_fn)(enum kv_result result, struct str value, void *arg);

/* The reply of a kv_command(): a string, a status or a number is one item (the number as
 * decimal text), a list of strings its items, nil none. Any other list, or one over KV_ITEMS_MAX,
 * is KV_REFUSED. Items are borrowed for the call. */
typedef void (*kv_items_fn)(enum kv_result result, const struct str *items, size_t count,
                            void *arg);

struct kv *kv_new(struct loop *loop, const struct kv_target *target);
/* Commands under way are dropped without a callback. NULL is fine. */
void kv_free(struct kv *kv);

/* GET. `timeout_ms` > 0. */
struct kv_request *kv_get(struct kv *kv, struct str key, uint32_t timeout_ms, kv_done_fn done,
                          void *arg);
/* SET key value PX ttl_ms (> 0). Bytes are copied. With `done` NULL (fire and forget) it returns
 * NULL, and is dropped when half of the bounds are used up: asking goes before storing. */
struct kv_request *kv_set(struct kv *kv, struct str key, struct str value, uint64_t ttl_ms,
                          uint32_t timeout_ms, kv_done_fn done, void *arg);
/* PING: is it there? Not stopped by an open breaker; success in good time closes it. No failure of
 * one opens it. */
struct kv_request *kv_ping(struct kv *kv, uint32_t timeout_ms, kv_done_fn done, void *arg);
/* Delete every key that matches `pattern` (glob), scanned in steps of 500, UNLINK. `done` gets
 * the number of deleted keys as decimal text. It ends as KV_TIMEOUT after `timeout_ms`, or when
 * Redis lets a step wait for KV_SWEEP_STEP_MS. */
struct kv_request *kv_delete_matching(struct kv *kv, struct str pattern, uint32_t timeout_ms,
                                      kv_done_fn done, void *arg);
/* Any command of `count` words (copied) that has one flat reply. */
struct kv_request *kv_command(struct kv *kv, const struct str *words, size_t count,
                              uint32_t timeout_ms, kv_items_fn done, void *arg);
/* The callback will not come; the command may still be carried out. Not for a request that has
 * called back: that one is gone. */
void kv_cancel(struct kv_request *request);

bool kv_is_up(const struct kv *kv); /* connected, and the breaker is closed */
/* A command is not even given, for it is not up; so long it would have waited. While the breaker is
 * open that is what trials are given: what was too little then may be enough now. */
void kv_expect(struct kv *kv, uint32_t timeout_ms);
/* Last reason for not being up, or Redis's last error text. Never NULL. */
const char *kv_last_error(const struct kv *kv);
/* The same as a kind. KV_ERROR_NONE: it has not been used yet. */
enum kv_error kv_last_error_kind(const struct kv *kv);

/* What Redis means by an error reply ("OOM command not allowed ..."), and what an operator can do
 * about it: a sentence, without quotes. */
enum kv_error kv_error_of(struct str text);
const char *kv_error_advice(enum kv_error error);

#endif
