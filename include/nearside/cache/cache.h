/* SPDX-License-Identifier: MIT */
/*
 * The prompt cache behind one look-up: memory in the edge (shared by all workers), then the Redis
 * of the region that would serve the request. A hit in Redis fills memory. Redis slow or gone is a
 * miss and nothing else; writes to it are fire-and-forget.
 *
 * cache/ does not know upstreams: it answers hit or miss; the proxy fetches and feeds a fill.
 *
 * struct cache: the edge's; thread: any. struct cache_worker and what it makes: one worker's.
 */
#ifndef NEARSIDE_CACHE_CACHE_H
#define NEARSIDE_CACHE_CACHE_H

#include <nearside/base/addr.h>
#include <nearside/base/attr.h>
#include <nearside/cache/entry.h>
#include <nearside/cache/key.h>
#include <nearside/obs/metric.h>

#include <stdbool.h>
#include <stdint.h>

struct cache;
struct cache_fill;
struct cache_lookup;
struct cache_worker;
struct conf_redis;
struct flights;
struct http_head;
struct loop;
struct tls_ctx;

/* ---- the edge's part: the memory tier ---- */

struct cache *cache_new(uint64_t memory_bytes);
void cache_free(struct cache *cache);
/* A reload's bound; evicts down to it, if it is another one. */
void cache_resize(struct cache *cache, uint64_t memory_bytes);
/* How long past its time an entry is kept, for when no region can answer. */
void cache_set_grace(struct cache *cache, uint64_t grace_ms);
uint64_t cache_grace_ms(const struct cache *cache);
/* Empty memory. An answer begun before is not stored when it ends, in either tier. */
void cache_purge(struct cache *cache);
/* The same, and what was stored before now is not taken from a Redis any more, whoever may write it
 * there again. cache_purge_redis() removes it. */
void cache_purge_all(struct cache *cache);

struct cache_stats {
    uint64_t bytes; /* as the allocator counts */
    uint64_t bytes_max;
    uint64_t entries;
    uint64_t evictions;
};
void cache_stats(struct cache *cache, struct cache_stats *ret_stats);

/* What a region's Redis is asked to do. A full or read-only one still answers look-ups. */
enum cache_redis_act { CACHE_REDIS_GET, CACHE_REDIS_SET, CACHE_REDIS_ACTS };

/* What a region's Redis last refused, by any worker, and has not done since; KV_ERROR_NONE: all is
 * well, as far as is known. */
enum kv_error cache_redis_error(const struct cache *cache, unsigned region_slot,
                                enum cache_redis_act act);

/* Answers on their way, that identical requests share. Bounded like the fills. */
struct flights *cache_flights(struct cache *cache);

/* ---- a worker's part ---- */

struct cache_worker *cache_worker_new(struct cache *cache, struct loop *loop,
                                      struct metric_block *metrics);
void cache_worker_free(struct cache_worker *worker);

/* Tell it a region's Redis, by metric slot (address resolved elsewhere). Called on each new view;
 * does nothing when nothing changed. `conf` NULL or `addr` NULL: none (a connection is closed). */
void cache_worker_set_redis(struct cache_worker *worker, unsigned region_slot,
                            const struct conf_redis *conf, const struct addr *addr,
                            struct tls_ctx *tls);

/* What of the config it needs; the rest comes with each call. */
struct conf_cache;
void cache_worker_set_conf(struct cache_worker *worker, const struct conf_cache *conf);

/* ---- look-up ---- */

enum cache_answer {
    CACHE_HIT, /* *ret_entry: the caller's reference */
    CACHE_MISS,
    CACHE_WAIT, /* Redis was asked; the callback will come */
};

/* `entry` is the callee's reference; NULL on a miss. Exactly once, unless cancelled. */
typedef void (*cache_found_fn)(struct cache_entry *entry, enum metric_tier tier, void *arg);

/* Ask memory only. What it gives, like Redis, may be past its time (see cache_set_grace()). The
 * caller says with cache_count_use() what became of it. */
struct cache_entry *cache_get_memory(struct cache_worker *worker,
                                     const struct cache_key *key) MUST_CHECK;

/* What a look-up in a tier came to, for the metrics. */
enum cache_use {
    CACHE_USE_NONE,  /* nothing there, or nothing that does for this request: a miss */
    CACHE_USE_HIT,   /* `entry` answers */
    CACHE_USE_STALE, /* ... past its time */
};
/* A miss of Redis without an entry is counted already. `entry` may be NULL for NONE. */
void cache_count_use(struct cache_worker *worker, enum metric_tier tier, enum cache_use use,
                     const struct cache_entry *entry);

/* Ask the Redis of a region; `timeout_ms` covers all of it. CACHE_MISS at once when it has none or
 * its breaker is open; else CACHE_WAIT and *ret_lookup. An entry found is put into memory too. */
enum cache_answer cache_get_redis(struct cache_worker *worker, const struct cache_key *key,
                                  unsigned region_slot, uint32_t timeout_ms, cache_found_fn found,
                                  void *arg, struct cache_lookup **ret_lookup) MUST_CHECK;
void cache_lookup_cancel(struct cache_lookup *lookup);

/* ---- fill ---- */

/* Begin to collect the answer to a request for `form`; NULL when it may not be kept
 * (cache_may_store_head). `max_bytes` bounds fields and body. */
struct cache_fill *cache_fill_start(struct cache_worker *worker, const struct cache_key *key,
                                    enum cache_form form, const struct http_head *response,
                                    uint64_t ttl_ms, uint64_t max_bytes);
/* More body. Past the bound the fill empties itself and will store nothing. */
void cache_fill_add(struct cache_fill *fill, struct str bytes);
/* What is known of the answer by its end. All zero: nothing. */
struct cache_fill_notes {
    uint64_t generation_ms;  /* the endpoint took */
    uint64_t content_events; /* of a stream: its tokens, if it does not tell its usage */
    /* Bit n: the Redis of the region in metric slot n gets it too (cache.replicate). */
    uint64_t replica_slots;
};
void cache_fill_note(struct cache_fill *fill, const struct cache_fill_notes *notes);
/* The proper end came: store in memory and in the region's Redis. True: something was stored. Frees
 * the fill. */
bool cache_fill_commit(struct cache_fill *fill, unsigned region_slot, uint32_t timeout_ms);
/* Cut, cancelled: forget. Frees the fill; NULL is fine. */
void cache_fill_abandon(struct cache_fill *fill);

/* Can the fill still be stored? */
bool cache_fill_is_good(const struct cache_fill *fill);
/* The fields it keeps, as in an entry, of one that is good. Valid until the fill changes. */
struct str cache_fill_fields(const struct cache_fill *fill);

/* Empty a region's Redis of our keys ("ns3:*"), in bounded steps; once more from the start if that
 * is under way. How it ends is logged. */
void cache_purge_redis(struct cache_worker *worker, unsigned region_slot);

#endif
