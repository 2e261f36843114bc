/* SPDX-License-Identifier: MIT */
/*
 * Looking an answer up: memory at once, then a region's Redis.
 *
 * Happy path of a Redis look-up:
 *   1. GET under the caller's deadline.
 *   2. The value is unpacked and checked to be an entry of ours, still alive and not purged.
 *   3. If fresh it goes into memory; to the caller in any case.
 *
 * It can fail by: no Redis, a Redis known to be down (a miss at once); deadline, loss, an error, a
 * value that is no entry, one that is too old, the region's Redis replaced by a new view. All are
 * a miss, by lookup_finish(), once; nothing here ever fails a request.
 *
 *     ASKED ──reply, deadline, loss──> finished        (kv calls back)
 *       └──Redis replaced──> LOST ──next task──> finished
 */
#include <nearside/cache/cache.h>

#include "entry_private.h"
#include "memory_tier_private.h"
#include "pack_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/cache/rule.h>
#include <nearside/conf/tree.h>

#define LOOKUP_MAGIC 0x636c6b70u

struct cache_lookup {
    uint32_t magic;
    struct list link; /* in the slot's lookups, until lost */
    struct cache_worker *worker;
    struct redis_slot *slot;    /* borrowed: part of the worker */
    struct kv_request *request; /* borrowed: under way; NULL once lost */
    struct loop_task lost;
    struct cache_key key;
    uint64_t started_ns;
    uint64_t purges; /* when it began */
    cache_found_fn found;
    void *arg;
};

/* ---- a worker's part ---- */

struct cache_worker *cache_worker_new(struct cache *cache, struct loop *loop,
                                      struct metric_block *metrics)
{
    struct cache_worker *worker = mem_new(struct cache_worker);

    worker->cache = cache;
    worker->loop = loop;
    worker->metrics = metrics;
    worker->pack = pack_new();
    worker->block_max = KV_REPLY_BYTES_MAX; /* no reply is longer */
    redis_slots_init(worker);
    redis_stores_init(worker);
    return worker;
}

void cache_worker_set_conf(struct cache_worker *worker, const struct conf_cache *conf)
{
    worker->block_max = ENTRY_HEAD_BYTES + conf->max_entry_bytes;
    worker->pack_min = conf->redis_compress_bytes;
}

void cache_worker_free(struct cache_worker *worker)
{
    if (worker == NULL) {
        return;
    }
    redis_stores_done(worker);
    redis_slots_done(worker);
    pack_free(worker->pack);
    loop_defer_free(worker->loop, worker); /* kv's end-of-turn work may still name a slot */
}

/* ---- memory ---- */

struct cache_entry *cache_get_memory(struct cache_worker *worker, const struct cache_key *key)
{
    return cache_memory_get(worker->cache, key, clock_wall_ms());
}

/* What the answer had cost, and now did not. */
static void count_saved(struct cache_worker *worker, const struct cache_entry *entry)
{
    struct cache_entry_facts facts;

    cache_entry_facts(entry, &facts);
    metric_add(worker->metrics, METRIC_CACHE_SAVED_TOKENS, METRIC_TOKENS_PROMPT, 0, 0,
               facts.prompt_tokens);
    metric_add(worker->metrics, METRIC_CACHE_SAVED_TOKENS, METRIC_TOKENS_COMPLETION, 0, 0,
               facts.completion_tokens);
    metric_observe_ns(worker->metrics, METRIC_CACHE_SAVED_SECONDS, 0,
                      facts.generation_ms * NS_PER_MS);
}

void cache_count_use(struct cache_worker *worker, enum metric_tier tier, enum cache_use use,
                     const struct cache_entry *entry)
{
    static const enum metric_cache_result results[] = {
        [CACHE_USE_NONE] = METRIC_CACHE_MISS,
        [CACHE_USE_HIT] = METRIC_CACHE_HIT,
        [CACHE_USE_STALE] = METRIC_CACHE_STALE,
    };

    cache_count(worker, tier, results[use]);
    if (use != CACHE_USE_NONE) {
        count_saved(worker, entry);
    }
}

bool cache_keep_in_memory(struct cache_worker *worker, const struct cache_key *key,
                          struct cache_entry *entry, uint64_t purges)
{
    if (!cache_memory_is_on(worker->cache)) {
        return false;
    }
    bool is_kept = cache_memory_put(worker->cache, key, entry, purges);
    cache_count(worker, METRIC_TIER_MEMORY, is_kept ? METRIC_CACHE_STORE : METRIC_CACHE_REJECT);
    return is_kept;
}

/* ---- Redis ---- */

static void lookup_free(struct cache_lookup *lookup)
{
    list_remove(&lookup->link);
    loop_task_cancel(&lookup->lost);
    lookup->magic = 0;
    loop_defer_free(lookup->worker->loop, lookup);
}

/* The one way a look-up ends that is not cancelled. */
static void lookup_finish(struct cache_lookup *lookup, struct cache_entry *entry)
{
    cache_found_fn found = lookup->found;
    void *arg = lookup->arg;

    lookup_free(lookup);
    found(entry, METRIC_TIER_REDIS, arg);
}

/* The entry in a value, put into memory too if it is still fresh; NULL when it is none, too old or
 * from before a purge. */
static struct cache_entry *take_value(struct cache_lookup *lookup, struct str value)
{
    static const struct cache_control none = {.no_cache = false};
    struct cache_worker *worker = lookup->worker;
    uint64_t now_wall_ms = clock_wall_ms();
    struct cache_entry *entry = pack_open(worker->pack, value, worker->block_max);

    if (entry == NULL) {
        cache_count(worker, METRIC_TIER_REDIS, METRIC_CACHE_ERROR);
        return NULL;
    }
    if (!cache_is_alive(worker->cache, entry, now_wall_ms) ||
        cache_is_purged(worker->cache, entry)) {
        cache_count(worker, METRIC_TIER_REDIS, METRIC_CACHE_MISS);
        cache_entry_unref(entry);
        return NULL;
    }
    if (cache_is_fresh(&none, cache_entry_stored_wall_ms(entry), cache_entry_ttl_ms(entry),
                       now_wall_ms)) {
        /* Not kept: it answers all the same. */
        (void)cache_keep_in_memory(worker, &lookup->key, entry, lookup->purges);
    }
    return entry;
}

/* Time that a request waited; commands that were never sent do not count. */
static void observe_latency(const struct cache_lookup *lookup, enum kv_result result)
{
    if (result != KV_DOWN && result != KV_FULL) {
        metric_observe_ns(lookup->worker->metrics, METRIC_REDIS_SECONDS, lookup->slot->region_slot,
                          clock_mono_ns() - lookup->started_ns);
    }
}

static void on_reply(enum kv_result result, struct str value, void *arg)
{
    struct cache_lookup *lookup = OBJ_CAST(arg, cache_lookup, LOOKUP_MAGIC);
    struct cache_entry *entry = NULL;

    lookup->request = NULL;
    observe_latency(lookup, result);
    redis_slot_note(lookup->slot, CACHE_REDIS_GET, result);
    if (result == KV_OK) {
        entry = take_value(lookup, value);
    } else if (result == KV_MISS) {
        cache_count(lookup->worker, METRIC_TIER_REDIS, METRIC_CACHE_MISS);
    }
    lookup_finish(lookup, entry);
}

static void on_lost(struct loop_task *task, void *arg)
{
    struct cache_lookup *lookup = OBJ_CAST(arg, cache_lookup, LOOKUP_MAGIC);

    (void)task;
    cache_count(lookup->worker, METRIC_TIER_REDIS, METRIC_CACHE_ERROR);
    lookup_finish(lookup, NULL);
}

void cache_lookups_lose(struct list *lookups)
{
    while (!list_is_empty(lookups)) {
        struct cache_lookup *lookup = LIST_ITEM(list_first(lookups), struct cache_lookup, link);
        list_remove(&lookup->link);
        lookup->request = NULL;
        loop_task_queue(lookup->worker->loop, &lookup->lost);
    }
}

static struct cache_lookup *lookup_start(struct redis_slot *slot, const struct cache_key *key,
                                         uint32_t timeout_ms, cache_found_fn found, void *arg)
{
    struct cache_lookup *lookup = mem_new(struct cache_lookup);
    char text[CACHE_KEY_TEXT_LEN];

    lookup->magic = LOOKUP_MAGIC;
    lookup->worker = slot->worker;
    lookup->slot = slot;
    lookup->key = *key;
    lookup->started_ns = clock_mono_ns();
    lookup->purges = cache_purges(slot->worker->cache);
    lookup->found = found;
    lookup->arg = arg;
    loop_task_init(&lookup->lost, on_lost, lookup);
    list_push_back(&slot->lookups, &lookup->link);
    cache_key_text(key, text);
    lookup->request =
        kv_get(slot->kv, str_make(text, CACHE_KEY_TEXT_LEN - 1), timeout_ms, on_reply, lookup);
    return lookup;
}

enum cache_answer cache_get_redis(struct cache_worker *worker, const struct cache_key *key,
                                  unsigned region_slot, uint32_t timeout_ms, cache_found_fn found,
                                  void *arg, struct cache_lookup **ret_lookup)
{
    struct redis_slot *slot = redis_slot_find(worker, region_slot);

    ASSERT(loop_is_home(worker->loop));
    if (slot == NULL) {
        return CACHE_MISS;
    }
    if (!redis_slot_is_open(slot)) {
        kv_expect(slot->kv, timeout_ms);
        cache_count(worker, METRIC_TIER_REDIS, METRIC_CACHE_ERROR);
        return CACHE_MISS;
    }
    *ret_lookup = lookup_start(slot, key, timeout_ms, found, arg);
    return CACHE_WAIT;
}

void cache_lookup_cancel(struct cache_lookup *lookup)
{
    ASSERT(lookup->magic == LOOKUP_MAGIC && loop_is_home(lookup->worker->loop));
    if (lookup->request != NULL) {
        kv_cancel(lookup->request);
    }
    lookup_free(lookup);
}
