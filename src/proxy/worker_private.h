/* SPDX-License-Identifier: MIT */
/* What a worker owns; for the files of proxy/ alone. */
#ifndef NEARSIDE_PROXY_WORKER_PRIVATE_H
#define NEARSIDE_PROXY_WORKER_PRIVATE_H

#include "explain_private.h"
#include "outbox_private.h"

#include <nearside/base/buf.h>
#include <nearside/base/clock.h>
#include <nearside/base/list.h>
#include <nearside/base/rng.h>
#include <nearside/http/date.h>
#include <nearside/http/head.h>
#include <nearside/loop/loop.h>
#include <nearside/obs/log.h>
#include <nearside/proxy/worker.h>
#include <nearside/proxy/world.h>
#include <nearside/route/route.h>

#include <pthread.h>
#include <sys/uio.h>

#define WORKER_MAGIC         0x776f726bu
#define WORKER_HEAD_BYTES    4096  /* of an answer's head that always have room */
#define WORKER_READ_BYTES    65536 /* one read into a scratch */
#define WORKER_FRAME_ROOM    64    /* before and behind what is read, for our framing of it */
#define WORKER_FREE_REQUESTS 512   /* kept for use again */
#define WORKER_FREE_SCANS    64    /* likewise: bodies being read at once, mostly */
#define WORKER_PIECES_MAX    320   /* runs of body bytes in one write: a whole read of tokens */
#define WORKER_MOVES         256   /* waiting requests moved per turn */
#define WORKER_QUEUE_STEPS   64    /* queued requests let go per turn and region */
#define WORKER_QUEUE_TICK_MS 20

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
    char *bind;    /* as in the config: its identity, with */
    uint32_t rank; /* the number of earlier ones with the same text */
    uint32_t index;
};

struct worker {
    uint32_t magic;
    unsigned index;
    char name[16];
    struct worker_deps deps;
    struct loop *loop;
    pthread_t thread;
    bool started; /* its thread runs */
    struct metric_block *metrics;

    struct world *world;      /* ref held */
    struct fleet_view *view;  /* ref held */
    struct world *view_world; /* ref held: the one of the view's config, whose TLS contexts are
                                 those of the view's regions; a new view comes after its world */
    struct pool *pool;
    struct cache_worker *cache;
    struct retry_budget retry_budget;
    struct rng rng;
    uint64_t next_rtt_ns;               /* before it no connection's RTT is asked for */
    uint32_t turns[METRIC_REGIONS_MAX]; /* of round_robin, by region slot */
    struct digest *digest;

    struct list listeners;   /* of worker_listener.link */
    struct list connections; /* of client_conn.link */
    uint32_t connection_count;
    struct list detached;  /* of request.detached_link: go on without a client, for others */
    struct list streaming; /* of request.link: answers under way, past the commit point */
    struct list waiting;   /* of request.link: attempts without a content byte yet */
    struct list queued[METRIC_REGIONS_MAX]; /* of request.link, oldest first, by region slot */
    uint32_t queued_count;
    uint32_t queued_here[METRIC_REGIONS_MAX]; /* how many stand in queued[] */
    struct loop_message queue_wake;           /* posted while queue_wake_sent */
    atomic_bool queue_wake_sent;
    struct deadline queue_tick;
    struct loop_task queue_task;
    struct loop_task drain_task; /* tell that no connection is left */
    bool draining;
    bool tearing_down;         /* nothing is kept for use again */
    bool handing_over;         /* draining, and another process accepts */
    struct loop_message pulse; /* posted while pulse_asked */
    atomic_bool pulse_asked;
    bool somebody_was_down; /* in the view before */
    bool drained_told;
    struct loop_task move_task; /* waiting requests left to be moved */
    struct log_rate accept_log;
    uint64_t date_s;
    char date[HTTP_DATE_LEN];
    struct clock_text access_time; /* of the last access line */

    struct explain_ring explain; /* read by the control thread too */

    struct list free_requests; /* of request.link */
    uint32_t free_request_count;
    struct list free_scans; /* of body_scan.link */
    uint32_t free_scan_count;

    /* scratch: valid within one callback */
    char *client_bytes;   /* WORKER_READ_BYTES */
    char *upstream_bytes; /* WORKER_READ_BYTES; WORKER_FRAME_ROOM before and behind them */
    struct http_head client_head;
    struct http_head upstream_head;
    struct buf reply_head; /* not yet in a write */
    struct buf request_head;
    struct buf access_line;
    struct client_batch batch;

    struct outbox outbox; /* within one batch of events */
};

/* worker.c */
struct str worker_date(struct worker *worker); /* now, as an HTTP date; valid until the next call */
double worker_budget_floor(const struct worker *worker); /* retries per second, this worker's */
int worker_region_index(const struct worker *worker, int slot); /* in the newest view */
/* Of a region of the newest view; borrowed. */
struct tls_ctx *worker_region_tls(const struct worker *worker, const char *name);

/* A request has ended: its room in the region of `slot` (-1: none) goes to the next in a queue,
 * here or at another worker. */
void worker_pass_room(struct worker *worker, int slot);

/* worker_view.c */
void worker_take_view(struct worker *worker, struct fleet_view *view); /* the reference passes */
void worker_on_move_task(struct loop_task *task, void *arg);
void worker_follow_redis(struct worker *worker);

#endif
