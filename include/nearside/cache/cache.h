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
/* A reload's new bound; evicts down to it. */
void cache_resize(struct cache *cache, uint64_t memory_bytes);
void cache_purge(struct cache *cache);

struct cache_stats {
    uint64_t bytes; /* as the allocator counts */
    uint64_t bytes_max;
    uint64_t entries;
    uint64_t evictions;
};
void cache_stats(struct cache *cache, struct cache_stats *ret_stats);

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

/* ---- look-up ---- */

enum cache_answer {
    CACHE_HIT, /* *ret_entry: the caller's reference */
    CACHE_MISS,
    CACHE_WAIT, /* Redis was asked; the callback will come */
};

/* `entry` is the callee's reference; NULL on a miss. Exactly once, unless cancelled. */
typedef void (*cache_found_fn)(struct cache_entry *entry, enum metric_tier tier, void *arg);

/* Ask memory only. */
struct cache_entry *cache_get_memory(struct cache_worker *worker,
                                     const struct cache_key *key) MUST_CHECK;
/* The same once more for a request that was told of a miss: only a hit is counted. */
struct cache_entry *cache_get_memory_again(struct cache_worker *worker,
                                           const struct cache_key *key) MUST_CHECK;

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
/* The proper end came: store in memory and in the region's Redis. True: something was stored. Frees
 * the fill. */
bool cache_fill_commit(struct cache_fill *fill, unsigned region_slot, uint32_t timeout_ms);
/* Cut, cancelled: forget. Frees the fill; NULL is fine. */
void cache_fill_abandon(struct cache_fill *fill);

/* Can the fill still be stored? */
bool cache_fill_is_good(const struct cache_fill *fill);
/* The fields it keeps, as in an entry, of one that is good. Valid until the fill changes. */
struct str cache_fill_fields(const struct cache_fill *fill);

/* Empty a region's Redis of our keys ("ns3:*"), in bounded steps; `done` may be NULL. */
void cache_purge_redis(struct cache_worker *worker, unsigned region_slot);

#endif
