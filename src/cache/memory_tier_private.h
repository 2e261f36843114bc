/* SPDX-License-Identifier: MIT */
/*
 * The memory tier as the rest of cache/ sees it. `struct cache` is the tier.
 *
 * Locks: one for each shard, guarding its index, its order and its sums. Nobody holds two at once,
 * and no memory is freed and no entry copied under one. Thread: any.
 */
#ifndef NEARSIDE_CACHE_MEMORY_TIER_PRIVATE_H
#define NEARSIDE_CACHE_MEMORY_TIER_PRIVATE_H

#include <nearside/base/attr.h>
#include <nearside/cache/cache.h>

#include <stdbool.h>
#include <stdint.h>

/* An entry may take at most this share of the bound, so that one giant cannot empty the tier. */
#define CACHE_ENTRY_SHARE 8

/* Answers being collected are memory too: together at most half of the tier's bound, and at least
 * this, so that a small tier (or none, with Redis alone) still collects. */
#define CACHE_FILLS_SHARE     2
#define CACHE_FILLS_MIN_BYTES 16777216

/* Within its time, or within its grace after it. */
bool cache_is_alive(const struct cache *cache, const struct cache_entry *entry,
                    uint64_t now_wall_ms);

/* The entry, referenced for the caller, or NULL. One that is not alive is dropped. */
struct cache_entry *cache_memory_get(struct cache *cache, const struct cache_key *key,
                                     uint64_t now_wall_ms) MUST_CHECK;

/* Keep `entry` (a reference is taken) in place of any under `key` but a fresh one that was stored
 * later: that one answers better than what a Redis may have. `purges` is what
 * cache_purges() said when it began: a purge since then is not undone. False: not kept. */
bool cache_memory_put(struct cache *cache, const struct cache_key *key, struct cache_entry *entry,
                      uint64_t purges);

bool cache_memory_is_on(const struct cache *cache);

/* How often memory was purged. */
uint64_t cache_purges(const struct cache *cache);
/* Was it stored before Redis was purged? By the wall clocks of those who stored and purged. */
bool cache_is_purged(const struct cache *cache, const struct cache_entry *entry);

/* Set what a region's Redis last refused; returns what it was before. Thread: any. */
enum kv_error cache_redis_note(struct cache *cache, unsigned region_slot, enum cache_redis_act act,
                               enum kv_error error);

/* What all shards hold, asked of the allocator again, block by block: an audit for tests, to be
 * equal to cache_stats()'s bytes. Takes as long as there are entries. */
uint64_t cache_memory_audit(struct cache *cache);

/* Lease `bytes` of what all fills together may hold. False: not now. */
bool cache_fills_lease(struct cache *cache, uint64_t bytes) MUST_CHECK;
void cache_fills_return(struct cache *cache, uint64_t bytes);

#endif
