/* SPDX-License-Identifier: MIT */
/* What a worker owns; for the files of proxy/ alone. */
#ifndef NEARSIDE_PROXY_WORKER_PRIVATE_H
#define NEARSIDE_PROXY_WORKER_PRIVATE_H

#include <nearside/base/buf.h>
#include <nearside/base/list.h>
#include <nearside/base/rng.h>
#include <nearside/http/head.h>
#include <nearside/http/json_scan.h>
#include <nearside/loop/loop.h>
#include <nearside/proxy/worker.h>
#include <nearside/proxy/world.h>
#include <nearside/route/route.h>

#include <pthread.h>
#include <sys/uio.h>

#define WORKER_MAGIC           0x776f726bu
#define WORKER_READ_BYTES      65536 /* one read; also the most that one TLS or TCP read gives */
#define WORKER_FREE_REQUESTS   512   /* kept for use again */
#define WORKER_PIECES_MAX      64    /* runs of body bytes in one write */

struct cache_worker;
struct client_conn;
struct digest;
struct listener;
struct pool;

/* What goes to one client in one write; filled and flushed within one callback. */
struct client_batch {
    struct client_conn *conn; /* whose; NULL when empty */
    struct iovec pieces[WORKER_PIECES_MAX];
    int count;
    size_t bytes;
};

struct worker_listener {
    struct list link;
    struct worker *worker;
    struct listener *listener;
    char *bind; /* as in the config: its identity */
    uint32_t index;
};

struct worker {
    uint32_t magic;
    unsigned index;
    char name[16];
    struct worker_deps deps;
    struct loop *loop;
    pthread_t thread;
    bool started;
    struct metric_block *metrics;

    struct world *world;     /* ref held */
    struct fleet_view *view; /* ref held */
    struct pool *pool;
    struct cache_worker *cache;
    struct retry_budget retry_budget;
    struct rng rng;
    struct digest *digest;

    struct list listeners;   /* of worker_listener.link */
    struct list connections; /* of client_conn.link */
    uint32_t connection_count;
    struct list waiting; /* of request.link: attempts without a content byte yet */
    struct list queued[METRIC_REGIONS_MAX]; /* of request.link, oldest first, by region slot */
    uint32_t queued_count;
    struct deadline queue_tick;
    struct loop_task queue_task;
    bool draining;
    bool drained_told;

    struct list free_requests; /* of request.link */
    uint32_t free_request_count;

    /* scratch: valid within one callback */
    char *client_bytes;   /* WORKER_READ_BYTES */
    char *upstream_bytes; /* WORKER_READ_BYTES */
    struct http_head client_head;
    struct http_head upstream_head;
    struct json_scan scan;
    struct buf reply_head;   /* not yet in a write */
    struct buf request_head;
    struct client_batch batch;
};

#endif
