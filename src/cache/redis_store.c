/* SPDX-License-Identifier: MIT */
/*
 * Writing to Redis: entries wait for the end of the turn, are packed a piece at a time, and go to
 * the Redis of the region that answered, and to others as replicas. Nobody waits for any of it.
 *
 *     fill ──> job: an entry and where it goes ──(packed, a piece a turn)──> a store at each Redis
 *
 * The answer that is stored has been sent by then: packing costs its client nothing, and the others
 * at most the time of one piece.
 *
 * Bounds: jobs and a Redis's stores together hold at most half of what kv takes, so that storing
 * never stands in the way of asking; replicas get half of that, so that they are dropped first.
 */
#include "pack_private.h"
#include "worker_private.h"

#include "memory_tier_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>

#define STORE_MAGIC 0x63727374u

#define STORES_MAX      (KV_PENDING_MAX / 2)
#define STORE_BYTES_MAX (KV_PENDING_BYTES / 2)
#define REPLICA_SHARE   2 /* of the two above */

/* A turn's work: about 0.2 ms. */
#define PACK_TURN_BYTES 65536

_Static_assert(METRIC_REGIONS_MAX <= 64, "a bit for each region");

struct store_job {
    struct list link;
    struct cache_key key;
    struct cache_entry *entry; /* ref held */
    uint64_t slots;            /* bits */
    uint32_t timeout_ms;
    bool is_begun; /* half packed */
};

struct redis_store {
    uint32_t magic;
    struct list link;
    struct redis_slot *slot; /* borrowed: its owner */
    size_t bytes;
};

static uint64_t bit(unsigned slot)
{
    return 1ULL << slot;
}

/* ---- at one Redis ---- */

static void store_end(struct redis_store *store)
{
    struct redis_slot *slot = store->slot;

    list_remove(&store->link);
    slot->store_bytes -= store->bytes;
    slot->store_count--;
    store->magic = 0;
    loop_defer_free(slot->worker->loop, store);
}

void redis_stores_drop(struct redis_slot *slot)
{
    while (!list_is_empty(&slot->stores)) {
        store_end(LIST_ITEM(list_first(&slot->stores), struct redis_store, link));
    }
}

static void on_stored(enum kv_result result, struct str value, void *arg)
{
    struct redis_store *store = OBJ_CAST(arg, redis_store, STORE_MAGIC);
    struct redis_slot *slot = store->slot;

    (void)value;
    store_end(store);
    redis_slot_note(slot, CACHE_REDIS_SET, result);
    if (result == KV_OK) {
        cache_count(slot->worker, METRIC_TIER_REDIS, METRIC_CACHE_STORE);
    }
}

static void send_to(struct redis_slot *slot, const struct store_job *job, struct str value,
                    uint64_t ttl_ms)
{
    struct redis_store *store = mem_new(struct redis_store);
    char text[CACHE_KEY_TEXT_LEN];

    store->magic = STORE_MAGIC;
    store->slot = slot;
    store->bytes = value.len;
    list_push_back(&slot->stores, &store->link);
    slot->store_bytes += value.len;
    slot->store_count++;
    cache_key_text(&job->key, text);
    (void)kv_set(slot->kv, str_make(text, CACHE_KEY_TEXT_LEN - 1), value, ttl_ms, job->timeout_ms,
                 on_stored, store); /* never cancelled: the kv drops it when it goes */
}

/* ---- jobs ---- */

static void job_end(struct cache_worker *worker, struct store_job *job)
{
    if (job->is_begun) {
        pack_end(worker->pack);
    }
    list_remove(&job->link);
    worker->job_bytes -= cache_entry_bytes(job->entry).len;
    worker->job_count--;
    cache_entry_unref(job->entry);
    mem_free(job);
}

/* What is left of its time, and the grace after it. 0: nothing, or it was purged. */
static uint64_t ttl_in_redis_ms(const struct cache_worker *worker, const struct cache_entry *entry)
{
    uint64_t grace_ms = cache_entry_grace_ms(entry, cache_grace_ms(worker->cache));
    uint64_t end = cache_entry_stored_wall_ms(entry) + cache_entry_ttl_ms(entry) + grace_ms;
    uint64_t now = clock_wall_ms();

    return end > now && !cache_is_purged(worker->cache, entry) ? end - now : 0;
}

static void job_send(struct cache_worker *worker, struct store_job *job, struct str value)
{
    uint64_t ttl_ms = ttl_in_redis_ms(worker, job->entry);

    for (unsigned i = 0; i < METRIC_REGIONS_MAX && ttl_ms > 0; i++) {
        struct redis_slot *slot = (job->slots & bit(i)) == 0 ? NULL : redis_slot_find(worker, i);
        if (slot == NULL || !redis_slot_is_open(slot)) {
            continue;
        }
        metric_add(worker->metrics, METRIC_REDIS_STORED_BYTES, METRIC_STAGE_ENTRY, 0, 0,
                   (int64_t)cache_entry_bytes(job->entry).len);
        metric_add(worker->metrics, METRIC_REDIS_STORED_BYTES, METRIC_STAGE_SENT, 0, 0,
                   (int64_t)value.len);
        send_to(slot, job, value, ttl_ms);
    }
    job_end(worker, job);
}

/* One piece of the first job. */
static void job_step(struct cache_worker *worker, struct store_job *job)
{
    struct str block = cache_entry_bytes(job->entry);
    struct str value;

    if (!job->is_begun) {
        bool is_worth_it = worker->pack_min > 0 && block.len >= worker->pack_min;
        if (!is_worth_it || !pack_begin(worker->pack, block)) {
            job_send(worker, job, block);
            return;
        }
        job->is_begun = true;
    }
    switch (pack_step(worker->pack, PACK_TURN_BYTES, &value)) {
    case PACK_MORE:
        break;
    case PACK_DONE:
        job_send(worker, job, value);
        break;
    case PACK_USELESS:
        job_send(worker, job, block);
        break;
    }
}

/* Small ones go together, up to about a piece; the next turn goes on. */
static void on_store_task(struct loop_task *task, void *arg)
{
    struct cache_worker *worker = arg; /* Rule 28: the task is a part of it */
    size_t bytes = 0;

    while (!list_is_empty(&worker->store_jobs) && bytes < PACK_TURN_BYTES) {
        struct store_job *job = LIST_ITEM(list_first(&worker->store_jobs), struct store_job, link);
        bytes += cache_entry_bytes(job->entry).len;
        job_step(worker, job);
    }
    if (!list_is_empty(&worker->store_jobs)) {
        loop_task_queue(worker->loop, task);
    }
}

/* ---- what is taken on ---- */

static bool has_room(const struct cache_worker *worker, const struct redis_slot *slot,
                     uint64_t bytes, unsigned share)
{
    uint64_t held = worker->job_bytes + slot->store_bytes;

    return worker->job_count + slot->store_count < STORES_MAX / share &&
           bytes <= STORE_BYTES_MAX / share && held <= STORE_BYTES_MAX / share - bytes;
}

/* The slots of `wanted` that are open and have room. */
static uint64_t admit(struct cache_worker *worker, uint64_t wanted, uint64_t bytes, unsigned share)
{
    uint64_t slots = 0;

    for (unsigned i = 0; i < METRIC_REGIONS_MAX; i++) {
        struct redis_slot *slot = (wanted & bit(i)) == 0 ? NULL : redis_slot_find(worker, i);
        if (slot == NULL || !redis_slot_is_open(slot)) {
            continue;
        }
        if (has_room(worker, slot, bytes, share)) {
            slots |= bit(i);
        } else {
            metric_limit_hit(worker->metrics, LIMIT_REDIS_PENDING);
            cache_count(worker, METRIC_TIER_REDIS, METRIC_CACHE_REJECT);
        }
    }
    return slots;
}

bool redis_store(struct cache_worker *worker, const struct cache_key *key,
                 struct cache_entry *entry, const struct redis_store_plan *plan)
{
    uint64_t bytes = cache_entry_bytes(entry).len;
    uint64_t own = plan->region_slot < METRIC_REGIONS_MAX ? bit(plan->region_slot) : 0;
    uint64_t slots = admit(worker, own, bytes, 1) |
                     admit(worker, plan->replica_slots & ~own, bytes, REPLICA_SHARE);

    if (slots == 0 || ttl_in_redis_ms(worker, entry) == 0) {
        return false;
    }
    struct store_job *job = mem_new(struct store_job);
    job->key = *key;
    job->entry = cache_entry_ref(entry);
    job->slots = slots;
    job->timeout_ms = plan->timeout_ms;
    list_push_back(&worker->store_jobs, &job->link);
    worker->job_bytes += bytes;
    worker->job_count++;
    loop_task_queue(worker->loop, &worker->store_task);
    return true;
}

/* ---- life ---- */

void redis_stores_init(struct cache_worker *worker)
{
    list_init(&worker->store_jobs);
    loop_task_init(&worker->store_task, on_store_task, worker);
}

void redis_stores_done(struct cache_worker *worker)
{
    while (!list_is_empty(&worker->store_jobs)) {
        job_end(worker, LIST_ITEM(list_first(&worker->store_jobs), struct store_job, link));
    }
    loop_task_cancel(&worker->store_task);
}
