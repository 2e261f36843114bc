/* SPDX-License-Identifier: MIT */
/*
 * The memory tier: entries by key in shards, under one bound on bytes.
 *
 *     cache ── held_bytes <= bytes_max          (one sum for all: a big entry may use the room of
 *       │                                        shards that hold little)
 *       ├─ shard 0: lock, index (hash table), order ── newest … oldest
 *       ├─ shard 1                                          ^ hand
 *       ...
 *
 * The bound is kept by paying first: a put adds its bytes to held_bytes, evicts until the sum is
 * within the bound, and only then inserts. So what the shards really hold never exceeds it. The
 * one thing paid after the fact is the growth of a shard's index, a few bytes an entry.
 *
 * Eviction is SIEVE (NSDI '24): new entries go to the front and stay in place; a hit only sets a
 * bit. The hand walks from old to new, clears set bits and evicts the first entry whose bit is
 * not set. Entries asked for once leave early, so a scan of new prompts does not wash out those
 * that are repeated.
 */
#include "memory_tier_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/hash.h>
#include <nearside/base/list.h>
#include <nearside/base/mem.h>
#include <nearside/base/table.h>
#include <nearside/cache/flight.h>
#include <nearside/cache/rule.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/random.h>

#define SHARD_BITS  6
#define SHARD_COUNT (1u << SHARD_BITS)

/* Evictions in one shard before the next one has its turn: keeps the shards even. */
#define EVICT_BATCH 16

/* Steps of the hand for one eviction; then the entry it stands on goes, hit or not. Bounds the time
 * under the lock when everything has been hit since the last round. */
#define SIEVE_STEPS_MAX 256

struct node {
    struct table_item item;
    struct list link; /* in the shard's order, or in a list of victims */
    struct cache_key key;
    struct cache_entry *entry; /* ref held */
    size_t bytes;              /* this node and the entry, as the allocator counts */
    bool visited;
};

struct shard {
    _Alignas(CACHE_LINE) pthread_mutex_t lock;
    struct table index;
    struct list order; /* newest first */
    struct list *hand; /* in order; the head itself: begin at the oldest */
    uint64_t bytes;    /* nodes, entries and the index */
    uint64_t evictions;
};

struct cache {
    struct hash_key hash_key; /* so that nobody chooses prompts that share a chain */
    _Atomic uint64_t bytes_max;
    _Atomic uint64_t held_bytes; /* of all shards, and of puts that are making room */
    _Atomic uint64_t fill_bytes;
    _Atomic uint64_t grace_ms;
    _Atomic uint64_t purges;
    _Atomic uint64_t redis_purged_wall_ms;                                    /* 0: never */
    struct flights *flights;                                                  /* owned */
    _Atomic enum kv_error redis_errors[METRIC_REGIONS_MAX][CACHE_REDIS_ACTS]; /* the latest */
    struct shard shards[SHARD_COUNT];
};

/* ---- one shard; the lock is held ---- */

static struct node *shard_find(struct shard *shard, uint64_t hash, const struct cache_key *key)
{
    struct table_item *item = table_first(&shard->index, hash);

    while (item != NULL) {
        struct node *node = CONTAINER_OF(item, struct node, item);
        if (memcmp(node->key.bytes, key->bytes, CACHE_KEY_BYTES) == 0) {
            return node;
        }
        item = table_next(item);
    }
    return NULL;
}

static void shard_take_out(struct cache *cache, struct shard *shard, struct node *node,
                           struct list *victims)
{
    if (shard->hand == &node->link) {
        shard->hand = node->link.prev;
    }
    table_remove(&shard->index, &node->item);
    list_remove(&node->link);
    list_push_back(victims, &node->link);
    shard->bytes -= node->bytes;
    atomic_fetch_sub(&cache->held_bytes, node->bytes);
}

static size_t index_bytes(const struct shard *shard)
{
    return shard->index.slots == NULL ? 0 : mem_size_of(shard->index.slots);
}

/* The index has changed its size. */
static void shard_recount_index(struct cache *cache, struct shard *shard, size_t before)
{
    size_t after = index_bytes(shard);

    shard->bytes += after - before; /* unsigned: wraps to a subtraction when it shrank */
    atomic_fetch_add(&cache->held_bytes, (uint64_t)after - (uint64_t)before);
}

static void shard_insert(struct cache *cache, struct shard *shard, struct node *node, uint64_t hash)
{
    size_t before = index_bytes(shard);

    table_insert(&shard->index, &node->item, hash);
    list_push_front(&shard->order, &node->link);
    shard->bytes += node->bytes;
    shard_recount_index(cache, shard, before);
}

/* The entry to evict, or NULL when there is none. */
static struct node *shard_sieve(struct shard *shard)
{
    struct list *at = shard->hand;

    if (list_is_empty(&shard->order)) {
        return NULL;
    }
    for (unsigned step = 0;; step++, at = at->prev) {
        if (at == &shard->order) {
            at = at->prev;
        }
        struct node *node = LIST_ITEM(at, struct node, link);
        if (!node->visited || step == SIEVE_STEPS_MAX) {
            shard->hand = at;
            return node;
        }
        node->visited = false;
    }
}

/* Make the index as small as its present population allows. */
static void shard_reindex(struct cache *cache, struct shard *shard)
{
    size_t before = index_bytes(shard);
    struct list *link;

    table_done(&shard->index);
    LIST_FOREACH (link, &shard->order) {
        struct node *node = LIST_ITEM(link, struct node, link);
        table_insert(&shard->index, &node->item, node->item.hash);
    }
    shard_recount_index(cache, shard, before);
}

/* ---- all shards; no lock is held ---- */

static void free_nodes(struct list *victims)
{
    while (!list_is_empty(victims)) {
        struct node *node = LIST_ITEM(list_first(victims), struct node, link);
        list_remove(&node->link);
        cache_entry_unref(node->entry);
        mem_free(node);
    }
}

static bool is_over(struct cache *cache)
{
    return atomic_load(&cache->held_bytes) > atomic_load(&cache->bytes_max);
}

/* Evict a batch, while there is need. Returns how many went. */
static unsigned evict_from(struct cache *cache, struct shard *shard)
{
    struct list victims;
    unsigned count = 0;

    list_init(&victims);
    pthread_mutex_lock(&shard->lock);
    while (count < EVICT_BATCH && is_over(cache)) {
        struct node *node = shard_sieve(shard);
        if (node == NULL) {
            break;
        }
        shard_take_out(cache, shard, node, &victims);
        shard->evictions++;
        count++;
    }
    pthread_mutex_unlock(&shard->lock);
    free_nodes(&victims);
    return count;
}

/* Evict until the sum is within the bound, beginning with shard `first`. False: nothing is left to
 * evict and it still is not (others are making room for theirs). */
static bool make_room(struct cache *cache, size_t first)
{
    unsigned empty = 0;

    for (size_t i = first; is_over(cache); i++) {
        unsigned count = evict_from(cache, &cache->shards[i % SHARD_COUNT]);
        empty = count == 0 ? empty + 1 : 0;
        if (empty == SHARD_COUNT) {
            return !is_over(cache);
        }
    }
    return true;
}

/* The index inside a shard uses the low bits. */
static size_t shard_number(uint64_t hash)
{
    return (size_t)(hash >> (64 - SHARD_BITS));
}

/* What answers that are under way may hold together, in fills and once more in flights. */
static uint64_t under_way_max(uint64_t bytes_max)
{
    uint64_t share = bytes_max / CACHE_FILLS_SHARE;

    return share < CACHE_FILLS_MIN_BYTES ? CACHE_FILLS_MIN_BYTES : share;
}

/* ---- the edge's part ---- */

struct cache *cache_new(uint64_t memory_bytes)
{
    struct cache *cache = mem_zero_aligned(CACHE_LINE, sizeof(*cache));
    ssize_t got = getrandom(&cache->hash_key, sizeof(cache->hash_key), 0);

    ASSERT(got == (ssize_t)sizeof(cache->hash_key));
    atomic_init(&cache->bytes_max, memory_bytes);
    atomic_init(&cache->held_bytes, 0);
    atomic_init(&cache->fill_bytes, 0);
    atomic_init(&cache->grace_ms, 0);
    atomic_init(&cache->purges, 0);
    atomic_init(&cache->redis_purged_wall_ms, 0);
    cache->flights = flights_new(under_way_max(memory_bytes), FLIGHT_FOLLOWERS_MAX);
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_init(&shard->lock, NULL);
        table_init(&shard->index);
        list_init(&shard->order);
        shard->hand = &shard->order;
    }
    return cache;
}

void cache_purge(struct cache *cache)
{
    atomic_fetch_add(&cache->purges, 1); /* first: who puts looks at it under the shard's lock */
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &cache->shards[i];
        struct list victims;

        list_init(&victims);
        pthread_mutex_lock(&shard->lock);
        while (!list_is_empty(&shard->order)) {
            struct node *node = LIST_ITEM(list_first(&shard->order), struct node, link);
            shard_take_out(cache, shard, node, &victims);
        }
        shard_reindex(cache, shard);
        pthread_mutex_unlock(&shard->lock);
        free_nodes(&victims);
    }
}

void cache_purge_all(struct cache *cache)
{
    /* First, or what memory loses would come back from there. */
    atomic_store(&cache->redis_purged_wall_ms, clock_wall_ms());
    cache_purge(cache);
}

uint64_t cache_purges(const struct cache *cache)
{
    return atomic_load(&cache->purges);
}

bool cache_is_purged(const struct cache *cache, const struct cache_entry *entry)
{
    return cache_entry_stored_wall_ms(entry) <= atomic_load(&cache->redis_purged_wall_ms);
}

void cache_free(struct cache *cache)
{
    if (cache == NULL) {
        return;
    }
    cache_purge(cache);
    ASSERT(atomic_load(&cache->held_bytes) == 0);
    ASSERT(atomic_load(&cache->fill_bytes) == 0);
    flights_free(cache->flights);
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        pthread_mutex_destroy(&cache->shards[i].lock);
    }
    mem_free(cache);
}

struct flights *cache_flights(struct cache *cache)
{
    return cache->flights;
}

void cache_resize(struct cache *cache, uint64_t memory_bytes)
{
    if (atomic_exchange(&cache->bytes_max, memory_bytes) == memory_bytes) {
        return;
    }
    flights_resize(cache->flights, under_way_max(memory_bytes));
    (void)make_room(cache, 0); /* false: puts under way evict on, each for itself */

    /* Indexes do not shrink by themselves; left large, they would eat a much smaller bound. */
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        shard_reindex(cache, shard);
        pthread_mutex_unlock(&shard->lock);
    }
}

void cache_set_grace(struct cache *cache, uint64_t grace_ms)
{
    atomic_store_explicit(&cache->grace_ms, grace_ms, memory_order_relaxed);
}

uint64_t cache_grace_ms(const struct cache *cache)
{
    return atomic_load_explicit(&cache->grace_ms, memory_order_relaxed);
}

void cache_stats(struct cache *cache, struct cache_stats *ret_stats)
{
    struct cache_stats stats = {.bytes_max = atomic_load(&cache->bytes_max)};

    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        stats.bytes += shard->bytes;
        stats.entries += shard->index.count;
        stats.evictions += shard->evictions;
        pthread_mutex_unlock(&shard->lock);
    }
    *ret_stats = stats;
}

/* ---- get and put ---- */

bool cache_is_alive(const struct cache *cache, const struct cache_entry *entry,
                    uint64_t now_wall_ms)
{
    static const struct cache_control none = {.no_cache = false};
    uint64_t grace_ms = cache_entry_grace_ms(entry, cache_grace_ms(cache));

    return cache_is_fresh(&none, cache_entry_stored_wall_ms(entry),
                          cache_entry_ttl_ms(entry) + grace_ms, now_wall_ms);
}

struct cache_entry *cache_memory_get(struct cache *cache, const struct cache_key *key,
                                     uint64_t now_wall_ms)
{
    uint64_t hash = cache_key_hash(&cache->hash_key, key);
    struct shard *shard = &cache->shards[shard_number(hash)];
    struct cache_entry *entry = NULL;
    struct list victims;

    list_init(&victims);
    pthread_mutex_lock(&shard->lock);
    struct node *node = shard_find(shard, hash, key);
    if (node != NULL && cache_is_alive(cache, node->entry, now_wall_ms)) {
        node->visited = true;
        entry = cache_entry_ref(node->entry);
    } else if (node != NULL) {
        shard_take_out(cache, shard, node, &victims);
    }
    pthread_mutex_unlock(&shard->lock);
    free_nodes(&victims);
    return entry;
}

/* Does `old`, or NULL, answer better than `node` would? */
static bool is_better(const struct node *old, const struct node *node, uint64_t now_wall_ms)
{
    static const struct cache_control none = {.no_cache = false};

    if (old == NULL) {
        return false;
    }
    uint64_t stored_wall_ms = cache_entry_stored_wall_ms(old->entry);
    return stored_wall_ms > cache_entry_stored_wall_ms(node->entry) &&
           cache_is_fresh(&none, stored_wall_ms, cache_entry_ttl_ms(old->entry), now_wall_ms);
}

/* The lock is held. Insert a node that is paid for, in place of its namesake. */
static void shard_replace(struct cache *cache, struct shard *shard, struct node *old,
                          struct node *node, uint64_t hash, struct list *victims)
{
    if (old != NULL) {
        node->visited = old->visited;
        shard_take_out(cache, shard, old, victims);
    }
    shard_insert(cache, shard, node, hash);
}

/* Put a node that is paid for in its place. False: it must not be there. */
static bool place(struct cache *cache, struct node *node, uint64_t hash, uint64_t purges)
{
    struct shard *shard = &cache->shards[shard_number(hash)];
    uint64_t now_wall_ms = clock_wall_ms();
    struct list victims;

    list_init(&victims);
    pthread_mutex_lock(&shard->lock);
    struct node *old = shard_find(shard, hash, &node->key);
    bool is_wanted = cache_purges(cache) == purges && !is_better(old, node, now_wall_ms);
    if (is_wanted) {
        shard_replace(cache, shard, old, node, hash, &victims);
    }
    pthread_mutex_unlock(&shard->lock);
    free_nodes(&victims);
    return is_wanted;
}

/* A node that was not put, and what was paid for it. */
static void take_back(struct cache *cache, struct node *node)
{
    atomic_fetch_sub(&cache->held_bytes, node->bytes);
    cache_entry_unref(node->entry);
    mem_free(node);
}

bool cache_memory_put(struct cache *cache, const struct cache_key *key, struct cache_entry *entry,
                      uint64_t purges)
{
    uint64_t hash = cache_key_hash(&cache->hash_key, key);
    struct node *node = mem_new(struct node);
    size_t bytes = mem_size_of(node) + cache_entry_memory(entry);

    if (bytes > atomic_load(&cache->bytes_max) / CACHE_ENTRY_SHARE) {
        mem_free(node);
        return false;
    }
    list_init(&node->link);
    node->key = *key;
    node->entry = cache_entry_ref(entry);
    node->bytes = bytes;
    atomic_fetch_add(&cache->held_bytes, bytes);
    if (!make_room(cache, shard_number(hash)) || !place(cache, node, hash, purges)) {
        take_back(cache, node);
        return false;
    }
    /* The index may have grown. Not from this shard first: the new entry may be the only one there
     * that nobody has asked for yet. */
    (void)make_room(cache, shard_number(hash) + 1);
    return true;
}

bool cache_memory_is_on(const struct cache *cache)
{
    return atomic_load(&cache->bytes_max) > 0;
}

uint64_t cache_memory_audit(struct cache *cache)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &cache->shards[i];
        struct list *link;

        pthread_mutex_lock(&shard->lock);
        bytes += index_bytes(shard);
        LIST_FOREACH (link, &shard->order) {
            struct node *node = LIST_ITEM(link, struct node, link);
            bytes += mem_size_of(node) + cache_entry_memory(node->entry);
        }
        pthread_mutex_unlock(&shard->lock);
    }
    return bytes;
}

/* ---- how it is with the regions' Redis ---- */

enum kv_error cache_redis_note(struct cache *cache, unsigned region_slot, enum cache_redis_act act,
                               enum kv_error error)
{
    _Atomic enum kv_error *at = &cache->redis_errors[region_slot][act];

    /* Most of the time all is well, and stays so: no cache line is fought over. */
    if (atomic_load_explicit(at, memory_order_relaxed) == error) {
        return error;
    }
    return atomic_exchange_explicit(at, error, memory_order_relaxed);
}

enum kv_error cache_redis_error(const struct cache *cache, unsigned region_slot,
                                enum cache_redis_act act)
{
    return region_slot >= METRIC_REGIONS_MAX
               ? KV_ERROR_NONE
               : atomic_load_explicit(&cache->redis_errors[region_slot][act], memory_order_relaxed);
}

/* ---- what fills hold ---- */

bool cache_fills_lease(struct cache *cache, uint64_t bytes)
{
    uint64_t limit = under_way_max(atomic_load(&cache->bytes_max));
    uint64_t before = atomic_fetch_add(&cache->fill_bytes, bytes);

    if (bytes > limit || before > limit - bytes) {
        atomic_fetch_sub(&cache->fill_bytes, bytes);
        return false;
    }
    return true;
}

void cache_fills_return(struct cache *cache, uint64_t bytes)
{
    uint64_t before = atomic_fetch_sub(&cache->fill_bytes, bytes);

    ASSERT(before >= bytes);
}
