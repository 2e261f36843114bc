/* SPDX-License-Identifier: MIT */
/*
 * What a worker has of the cache: the way into the shared memory tier, and a Redis for each region.
 * Thread: the worker's.
 */
#ifndef NEARSIDE_CACHE_WORKER_PRIVATE_H
#define NEARSIDE_CACHE_WORKER_PRIVATE_H

#include <nearside/base/addr.h>
#include <nearside/base/attr.h>
#include <nearside/base/list.h>
#include <nearside/cache/cache.h>
#include <nearside/kv/kv.h>
#include <nearside/loop/loop.h>
#include <nearside/obs/metric.h>

#include <stdbool.h>
#include <stdint.h>

/* A region's Redis. All zero but the lists and `worker`: the region has none. */
struct redis_slot {
    uint32_t magic;
    struct cache_worker *worker; /* borrowed: holds this */
    unsigned region_slot;
    struct kv *kv; /* owned */
    /* The target, to see whether a new view changes it. */
    struct addr addr;
    char *host; /* owned, like user and password */
    char *user;
    char *password;
    uint32_t database;
    struct tls_ctx *tls;  /* borrowed: kv holds a reference */
    struct list lookups;  /* of struct cache_lookup */
    struct list stores;   /* of struct redis_store, owned */
    uint64_t store_bytes; /* of stores */
    uint32_t store_count;
    bool is_purging;
    bool purge_again; /* asked for while one is under way */
    bool has_failed;  /* the last answer was none, and it was not up: do not ask until it is */
};

struct cache_worker {
    struct cache *cache;          /* borrowed: outlives the workers */
    struct loop *loop;            /* borrowed: outlives this */
    struct metric_block *metrics; /* borrowed: lives as long as the process */
    struct redis_slot redis[METRIC_REGIONS_MAX];

    /* what of the config it needs */
    size_t block_max;  /* bytes of an entry, its head included */
    uint64_t pack_min; /* bytes of a block that is packed for Redis; 0: none */

    /* entries on their way to Redis; redis_store.c */
    struct pack *pack;      /* owned */
    struct list store_jobs; /* of struct store_job, owned; the first may be half packed */
    uint64_t job_bytes;     /* of their entries */
    uint32_t job_count;
    struct loop_task store_task;
};

static inline void cache_count(struct cache_worker *worker, enum metric_tier tier,
                               enum metric_cache_result result)
{
    metric_add(worker->metrics, METRIC_CACHE, (unsigned)tier, (unsigned)result, 0, 1);
}

/* Put into memory, unless that was purged since there were `purges`, and count how that went.
 * False: not kept. */
bool cache_keep_in_memory(struct cache_worker *worker, const struct cache_key *key,
                          struct cache_entry *entry, uint64_t purges);

/* Where an entry goes, and how long its Redis may take. */
struct redis_store_plan {
    unsigned region_slot;
    uint64_t replica_slots;
    uint32_t timeout_ms;
};

/* ---- redis_tier.c ---- */

void redis_slots_init(struct cache_worker *worker);
void redis_slots_done(struct cache_worker *worker);

/* The slot of a region that has a Redis, else NULL. */
struct redis_slot *redis_slot_find(struct cache_worker *worker, unsigned region_slot);
/* May it be asked now? */
bool redis_slot_is_open(struct redis_slot *slot);
/* Note how a command ended, for redis_slot_is_open(), the metrics and the log. */
void redis_slot_note(struct redis_slot *slot, enum cache_redis_act act, enum kv_result result);

/* ---- redis_store.c ---- */

void redis_stores_init(struct cache_worker *worker);
void redis_stores_done(struct cache_worker *worker);

/* Send an entry, for what is left of its time, to the Redis of `region_slot` and to those of
 * `replica_slots` (bits), at the end of the turn or later: it is packed first. Replicas give way
 * when much is on its way. False: it goes nowhere. */
bool redis_store(struct cache_worker *worker, const struct cache_key *key,
                 struct cache_entry *entry, const struct redis_store_plan *plan);
/* The slot's Redis goes: forget what is under way there. */
void redis_stores_drop(struct redis_slot *slot);

/* ---- lookup.c ---- */

/* The Redis behind these look-ups is gone, without a word: end each as a miss, on a later turn. */
void cache_lookups_lose(struct list *lookups);

#endif
