/* SPDX-License-Identifier: MIT */
/*
 * Connections to endpoints, kept open between requests: one pool per worker.
 *
 * The pool hands out connections that were idle and quiet when last looked at; it never promises
 * that they still work (the peer may close at any moment), so the user must be able to repeat a
 * request of which no byte has been answered. Newest first, so that surplus ones age out.
 *
 * Bounds: UPSTREAM_IDLE_MAX idle ones per endpoint, each idle for at most UPSTREAM_IDLE_MS and
 * used for at most UPSTREAM_AGE_MS, so that moves in DNS and in load balancers take effect.
 *
 * Thread: the worker's.
 */
#ifndef NEARSIDE_UPSTREAM_POOL_H
#define NEARSIDE_UPSTREAM_POOL_H

#include <nearside/base/addr.h>
#include <nearside/net/stream.h>
#include <nearside/obs/metric.h>

#include <stdbool.h>
#include <stdint.h>

#define UPSTREAM_IDLE_MAX 256
#define UPSTREAM_IDLE_MS  60000
#define UPSTREAM_AGE_MS   600000

struct endpoint_live;
struct loop;
struct pool;
struct tls_ctx;
struct upstream_conn;

struct upstream_target {
    struct endpoint_live *live; /* identity; a reference is taken */
    struct addr addr;
    struct tls_ctx *tls; /* NULL: plain. A pooled connection is used only with the same one */
    const char *server_name;
    unsigned region_slot;
};

struct pool *pool_new(struct loop *loop, struct metric_block *metrics);
/* Closes what is idle. No lease may be out. NULL is fine. */
void pool_free(struct pool *pool);

/* Lease an idle connection to the target whose events go to fn(arg) from now on, or NULL. */
struct upstream_conn *pool_take(struct pool *pool, const struct upstream_target *target,
                                stream_fn fn, void *arg);
/* Lease a new one: STREAM_EV_OPEN or STREAM_EV_FAILED comes on a later turn. */
struct upstream_conn *pool_connect(struct pool *pool, const struct upstream_target *target,
                                   stream_fn fn, void *arg);
/* Give a lease back for use by others: nothing is under way on it in either direction. */
void pool_put(struct upstream_conn *conn);
/* End a lease and close. `abort`: with a reset. */
void pool_close(struct upstream_conn *conn, bool abort);

struct stream *upstream_stream(const struct upstream_conn *conn);
/* Was it used for a request before? Then a close without an answer means stale, not broken. */
bool upstream_is_reused(const struct upstream_conn *conn);

/* Close the idle connections to that endpoint. */
void pool_drop(struct pool *pool, uint64_t endpoint_id);
/* Close the idle connections of endpoints for which keep(id) is false (gone, or down). */
void pool_sweep(struct pool *pool, bool (*keep)(uint64_t endpoint_id, void *arg), void *arg);

#endif
