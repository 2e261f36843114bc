/* SPDX-License-Identifier: MIT */
/*
 * A worker: one thread with its loop, listeners, client connections, pools, Redis
 * connections and counter block. What it owns it owns for life.
 *
 * The control thread talks to it only through the messages below; each is carried out between two
 * turns, in the order sent.
 */
#ifndef NEARSIDE_PROXY_WORKER_H
#define NEARSIDE_PROXY_WORKER_H

#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>
#include <nearside/base/str.h>
#include <nearside/obs/metric.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct address_counts;
struct cache;
struct explain_record;
struct fleet_view;
struct health;
struct loop;
struct trace;
struct worker;
struct world;

/* Counts that all workers share (rule 36): limits that hold for the edge as a whole. */
struct proxy_shared {
    atomic_ullong buffered_bytes;               /* bodies kept, against limits.buffer_total_bytes */
    struct address_counts *clients;             /* owned; see proxy_shared_init() */
    struct address_counts *askers;              /* owned: the same of requests */
    unsigned descriptors;                       /* the process may have open; 0: no limit */
    atomic_uint connections;                    /* against limits.max_connections */
    atomic_uint handshakes;                     /* against limits.max_handshakes */
    atomic_uint queued[METRIC_REGIONS_MAX];     /* by region slot, against limits.queue_length */
    atomic_uint queue_turn[METRIC_REGIONS_MAX]; /* index + 1 of the worker that was served last */
};

/* Before the first worker, and after the last. `descriptors`: see the member. */
void proxy_shared_init(struct proxy_shared *shared, unsigned descriptors);
void proxy_shared_done(struct proxy_shared *shared);

struct worker_deps {
    struct cache *cache;         /* NULL never; outlives the workers */
    struct health *health;       /* outlives the workers */
    struct trace *trace;         /* NULL: no spans; outlives the workers */
    struct proxy_shared *shared; /* outlives the workers */
    uint32_t worker_count;       /* how many share the edge's limits */
    struct loop *control;        /* where `drained` is posted */
    void (*drained)(void *arg);  /* on the control thread: no connection is left after a drain */
    /* On the worker's thread: there is room; have worker_wake_queue() called for all others. */
    void (*wake_queues)(unsigned index, void *arg);
    void *arg;
};

/* The view and the world are what it starts with (references are taken). */
struct worker *worker_new(unsigned index, const struct worker_deps *deps, struct world *world,
                          struct fleet_view *view);
enum status worker_start(struct worker *worker, struct errbuf *err) MUST_CHECK;

/* A listening socket for listener `index` of the world, besides those it has; ownership of `fd`
 * passes. The order of a reload: worker_send_world(), then a socket for each listener that is new.
 */
void worker_send_listener(struct worker *worker, uint32_t index, int fd);
/* Requests that begin from now on use `world`. Listeners that it no longer has are closed. */
void worker_send_world(struct worker *worker, struct world *world);
void worker_send_view(struct worker *worker, struct fleet_view *view);
/* Accept no more, close idle connections, end each busy one after its answer. */
void worker_send_drain(struct worker *worker);
/* The same, when another process has the listening sockets too: what waits in the kernel's queue is
 * left to it, and an idle client has some seconds for a next request, which is answered with
 * "Connection: close", so that none is cut off in the moment it asks. */
void worker_send_hand_over(struct worker *worker);
/* Has it turned since the last call? Asks it to turn once more. The first call says yes. */
bool worker_turns(struct worker *worker);
/* There may be room for what is queued: look soon. Thread: any, while the worker is not freed. */
void worker_wake_queue(struct worker *worker);
/* Delete this edge's keys in the Redis of a region. */
void worker_send_purge_redis(struct worker *worker, unsigned region_slot);

/* What it remembers of the newest request of that id (proxy/explain.h). Thread: any, until
 * worker_free(). */
bool worker_explain(struct worker *worker, struct str id, struct explain_record *ret_record);

/* CPU time its thread has used, 0 if it does not run. Thread: the one that started it. */
uint64_t worker_cpu_ns(const struct worker *worker);

/* End it now, whatever is under way; waits for the thread. */
void worker_stop(struct worker *worker);
void worker_free(struct worker *worker);

#endif
