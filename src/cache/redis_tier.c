/* SPDX-License-Identifier: MIT */
/*
 * The Redis tier: which Redis a region has, and what is written there. Reading is in lookup.c.
 *
 * A slot's kv is made when the view first names a Redis, but connects only when first used, so a
 * worker that never serves a region keeps no connection there. A change of address or credentials
 * makes a new one; look-ups under way on the old one end as misses, stores are forgotten.
 *
 * Stores under way are bounded apart from look-ups, to half of what kv takes, so that storing never
 * stands in the way of asking.
 */
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/obs/log.h>

#define SLOT_MAGIC  0x63727364u
#define STORE_MAGIC 0x63727374u

#define STORES_MAX      (KV_PENDING_MAX / 2)
#define STORE_BYTES_MAX (KV_PENDING_BYTES / 2)

/* Entries stored together must not expire together: their time in Redis varies by a tenth. One that
 * outlives its own time there is found, and refused, by the look-up. */
#define TTL_JITTER_SHARE 10

/* A purge scans the whole of Redis in steps; a million keys take seconds. */
#define PURGE_TIMEOUT_MS 60000

struct redis_store {
    uint32_t magic;
    struct list link;
    struct redis_slot *slot; /* borrowed: its owner */
    size_t bytes;
};

/* ---- slots ---- */

void redis_slots_init(struct cache_worker *worker)
{
    for (unsigned i = 0; i < METRIC_REGIONS_MAX; i++) {
        struct redis_slot *slot = &worker->redis[i];
        slot->magic = SLOT_MAGIC;
        slot->worker = worker;
        slot->region_slot = i;
        list_init(&slot->lookups);
        list_init(&slot->stores);
    }
}

static void store_end(struct redis_store *store)
{
    struct redis_slot *slot = store->slot;

    list_remove(&store->link);
    slot->store_bytes -= store->bytes;
    slot->store_count--;
    store->magic = 0;
    loop_defer_free(slot->worker->loop, store);
}

/* A slot without a Redis is fine. */
static void slot_close(struct redis_slot *slot)
{
    kv_free(slot->kv); /* drops its commands without a callback */
    slot->kv = NULL;
    cache_lookups_lose(&slot->lookups);
    while (!list_is_empty(&slot->stores)) {
        store_end(LIST_ITEM(list_first(&slot->stores), struct redis_store, link));
    }
    mem_free(slot->host);
    mem_free(slot->user);
    mem_free(slot->password);
    slot->host = NULL;
    slot->user = NULL;
    slot->password = NULL;
    slot->tls = NULL;
    slot->is_purging = false;
    slot->has_failed = false;
}

void redis_slots_done(struct cache_worker *worker)
{
    for (unsigned i = 0; i < METRIC_REGIONS_MAX; i++) {
        ASSERT(list_is_empty(&worker->redis[i].lookups));
        slot_close(&worker->redis[i]);
    }
}

static void slot_open(struct redis_slot *slot, const struct conf_redis *conf,
                      const struct addr *addr, struct tls_ctx *tls)
{
    struct kv_target target = {
        .addr = *addr,
        .server_name = conf->host,
        .tls = tls,
        .user = conf->user,
        .password = conf->password,
        .database = conf->database,
    };

    slot->addr = *addr;
    slot->host = mem_strdup(conf->host);
    slot->user = mem_strdup(conf->user);
    slot->password = mem_strdup(conf->password);
    slot->database = conf->database;
    slot->tls = tls;
    slot->kv = kv_new(slot->worker->loop, &target);
}

static bool slot_matches(const struct redis_slot *slot, const struct conf_redis *conf,
                         const struct addr *addr, const struct tls_ctx *tls)
{
    return slot->kv != NULL && addr_eq(&slot->addr, addr) && slot->tls == tls &&
           slot->database == conf->database && strcmp(slot->host, conf->host) == 0 &&
           strcmp(slot->user, conf->user) == 0 && strcmp(slot->password, conf->password) == 0;
}

void cache_worker_set_redis(struct cache_worker *worker, unsigned region_slot,
                            const struct conf_redis *conf, const struct addr *addr,
                            struct tls_ctx *tls)
{
    ASSERT(loop_is_home(worker->loop) && region_slot < METRIC_REGIONS_MAX);
    struct redis_slot *slot = &worker->redis[region_slot];
    bool is_wanted = conf != NULL && addr != NULL && addr->len > 0;

    if (is_wanted && slot_matches(slot, conf, addr, tls)) {
        return;
    }
    slot_close(slot);
    if (is_wanted) {
        slot_open(slot, conf, addr, tls);
    }
}

struct redis_slot *redis_slot_find(struct cache_worker *worker, unsigned region_slot)
{
    if (region_slot >= METRIC_REGIONS_MAX || worker->redis[region_slot].kv == NULL) {
        return NULL;
    }
    return &worker->redis[region_slot];
}

/* kv heals by itself, commands or none; so after a failure it is enough to look. */
bool redis_slot_is_open(struct redis_slot *slot)
{
    if (slot->has_failed && kv_is_up(slot->kv)) {
        slot->has_failed = false;
    }
    return !slot->has_failed;
}

void redis_slot_note(struct redis_slot *slot, enum kv_result result)
{
    struct cache_worker *worker = slot->worker;

    switch (result) {
    case KV_OK:
    case KV_MISS:
        return; /* what it means depends on what was asked */
    case KV_TIMEOUT:
        cache_count(worker, METRIC_TIER_REDIS, METRIC_CACHE_TIMEOUT);
        break;
    case KV_FULL:
        metric_limit_hit(worker->metrics, LIMIT_REDIS_PENDING);
        cache_count(worker, METRIC_TIER_REDIS, METRIC_CACHE_ERROR);
        return; /* our own bound: it may be asked again at once */
    case KV_DOWN:
    case KV_REFUSED:
    case KV_RESULT_COUNT:
        cache_count(worker, METRIC_TIER_REDIS, METRIC_CACHE_ERROR);
        break;
    }
    slot->has_failed = !kv_is_up(slot->kv);
}

/* ---- storing ---- */

static void on_stored(enum kv_result result, struct str value, void *arg)
{
    struct redis_store *store = OBJ_CAST(arg, redis_store, STORE_MAGIC);
    struct redis_slot *slot = store->slot;

    (void)value;
    store_end(store);
    redis_slot_note(slot, result);
    if (result == KV_OK) {
        cache_count(slot->worker, METRIC_TIER_REDIS, METRIC_CACHE_STORE);
    }
}

/* What is left of the entry's time, more or less. 0: nothing. */
static uint64_t ttl_in_redis_ms(struct rng *rng, const struct cache_entry *entry)
{
    uint64_t now = clock_wall_ms();
    uint64_t end = cache_entry_stored_wall_ms(entry) + cache_entry_ttl_ms(entry);
    uint64_t left = end > now ? end - now : 0;
    uint64_t swing = left / TTL_JITTER_SHARE;

    return left - swing + rng_below(rng, 2 * swing + 1);
}

static bool has_room(const struct redis_slot *slot, size_t bytes)
{
    return slot->store_count < STORES_MAX && bytes <= STORE_BYTES_MAX &&
           slot->store_bytes <= STORE_BYTES_MAX - bytes;
}

bool redis_store(struct redis_slot *slot, const struct cache_key *key,
                 const struct cache_entry *entry, uint32_t timeout_ms)
{
    struct cache_worker *worker = slot->worker;
    struct str bytes = cache_entry_bytes(entry);
    uint64_t ttl_ms = ttl_in_redis_ms(&worker->rng, entry);
    char text[CACHE_KEY_TEXT_LEN];

    if (!redis_slot_is_open(slot) || ttl_ms == 0) {
        return false;
    }
    if (!has_room(slot, bytes.len)) {
        metric_limit_hit(worker->metrics, LIMIT_REDIS_PENDING);
        cache_count(worker, METRIC_TIER_REDIS, METRIC_CACHE_REJECT);
        return false;
    }

    struct redis_store *store = mem_new(struct redis_store);
    store->magic = STORE_MAGIC;
    store->slot = slot;
    store->bytes = bytes.len;
    list_push_back(&slot->stores, &store->link);
    slot->store_bytes += bytes.len;
    slot->store_count++;
    cache_key_text(key, text);
    (void)kv_set(slot->kv, str_make(text, CACHE_KEY_TEXT_LEN - 1), bytes, ttl_ms, timeout_ms,
                 on_stored, store); /* never cancelled: the kv drops it when it goes */
    return true;
}

/* ---- purging ---- */

static void on_purged(enum kv_result result, struct str value, void *arg)
{
    struct redis_slot *slot = OBJ_CAST(arg, redis_slot, SLOT_MAGIC);
    const char *region = metric_region_name(slot->region_slot);

    slot->is_purging = false;
    if (result == KV_OK) {
        log_info("cache_redis_purged", "region=%s keys=%.*s", region == NULL ? "" : region,
                 STR_FMT(value));
    } else {
        log_warn("cache_redis_purge_failed", "region=%s reason=%s", region == NULL ? "" : region,
                 kv_result_word(result));
    }
}

void cache_purge_redis(struct cache_worker *worker, unsigned region_slot)
{
    struct redis_slot *slot = redis_slot_find(worker, region_slot);

    ASSERT(loop_is_home(worker->loop));
    if (slot == NULL || slot->is_purging) {
        return;
    }
    slot->is_purging = true;
    (void)kv_delete_matching(slot->kv, STR_LIT(CACHE_KEY_VERSION ":*"), PURGE_TIMEOUT_MS, on_purged,
                             slot); /* never cancelled: the kv drops it when it goes */
}
