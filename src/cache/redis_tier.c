/* SPDX-License-Identifier: MIT */
/*
 * The Redis tier: which Redis a region has, and how it is with it. Reading is in lookup.c, writing
 * in redis_store.c.
 *
 * A slot's kv is made when the view first names a Redis, but connects only when first used, so a
 * worker that never serves a region keeps no connection there. A change of address or credentials
 * makes a new one; look-ups under way on the old one end as misses, stores are forgotten.
 *
 * What a Redis refuses, and why, is logged once, by the first worker that meets it, and once when
 * it is over; a number counts each. Redis slow or gone is not logged here: health's own connection
 * says so.
 */
#include "memory_tier_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/obs/log.h>

#define SLOT_MAGIC 0x63727364u

/* A purge scans the whole of Redis in steps of 500 keys, two round trips each: two million keys at
 * 80 ms. A Redis that stops answering ends it much sooner (kv_sweep.c). */
#define PURGE_TIMEOUT_MS 600000

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

static void purge_failed(unsigned region_slot, enum kv_result why)
{
    const char *region = metric_region_name(region_slot);

    log_warn("cache_redis_purge_failed", "region=%s reason=%s", region == NULL ? "" : region,
             kv_result_word(why));
}

/* A slot without a Redis is fine. */
static void slot_close(struct redis_slot *slot)
{
    struct cache *cache = slot->worker->cache;

    if (slot->kv != NULL) {
        /* Another one's refusals are not this one's. */
        (void)cache_redis_note(cache, slot->region_slot, CACHE_REDIS_GET, KV_ERROR_NONE);
        (void)cache_redis_note(cache, slot->region_slot, CACHE_REDIS_SET, KV_ERROR_NONE);
    }
    if (slot->is_purging) {
        purge_failed(slot->region_slot, KV_DOWN);
    }
    kv_free(slot->kv); /* drops its commands without a callback */
    slot->kv = NULL;
    cache_lookups_lose(&slot->lookups);
    redis_stores_drop(slot);
    mem_free(slot->host);
    mem_free(slot->user);
    mem_free(slot->password);
    slot->host = NULL;
    slot->user = NULL;
    slot->password = NULL;
    slot->tls = NULL;
    slot->is_purging = false;
    slot->purge_again = false;
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

/* ---- what it refuses ---- */

static const char *act_word(enum cache_redis_act act)
{
    return act == CACHE_REDIS_GET ? "get" : "set";
}

/* Redis did what it was asked: whatever was wrong with that is over. */
static void note_served(struct redis_slot *slot, enum cache_redis_act act)
{
    struct cache *cache = slot->worker->cache;
    enum kv_error before = cache_redis_note(cache, slot->region_slot, act, KV_ERROR_NONE);

    if (before != KV_ERROR_NONE) {
        log_info("redis_serves", "region=%s command=%s after=%s",
                 metric_region_name(slot->region_slot), act_word(act), kv_error_word(before));
    }
}

/* Redis gave a reason for not doing it. */
static void note_refused(struct redis_slot *slot, enum cache_redis_act act, enum kv_error error)
{
    struct cache *cache = slot->worker->cache;

    if (cache_redis_note(cache, slot->region_slot, act, error) != error) {
        log_warn("redis_refuses", "region=%s command=%s error=%s said=\"%s\" advice=\"%s\"",
                 metric_region_name(slot->region_slot), act_word(act), kv_error_word(error),
                 kv_last_error(slot->kv), kv_error_advice(error));
    }
}

static void note_error(struct redis_slot *slot, enum cache_redis_act act)
{
    enum kv_error error = kv_last_error_kind(slot->kv);

    metric_add(slot->worker->metrics, METRIC_REDIS_ERRORS, slot->region_slot, (unsigned)error, 0,
               1);
    if (kv_error_is_said(error)) {
        note_refused(slot, act, error);
    }
}

void redis_slot_note(struct redis_slot *slot, enum cache_redis_act act, enum kv_result result)
{
    struct cache_worker *worker = slot->worker;

    switch (result) {
    case KV_OK:
    case KV_MISS:
        note_served(slot, act);
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
    note_error(slot, act);
    slot->has_failed = !kv_is_up(slot->kv);
}

/* ---- purging ---- */

static void on_purged(enum kv_result result, struct str value, void *arg)
{
    struct redis_slot *slot = OBJ_CAST(arg, redis_slot, SLOT_MAGIC);
    const char *region = metric_region_name(slot->region_slot);
    bool again = slot->purge_again;

    slot->is_purging = false;
    slot->purge_again = false;
    if (result == KV_OK) {
        log_info("cache_redis_purged", "region=%s keys=%.*s", region == NULL ? "" : region,
                 STR_FMT(value));
    } else {
        purge_failed(slot->region_slot, result);
    }
    if (again) {
        cache_purge_redis(slot->worker, slot->region_slot);
    }
}

void cache_purge_redis(struct cache_worker *worker, unsigned region_slot)
{
    struct redis_slot *slot = redis_slot_find(worker, region_slot);

    ASSERT(loop_is_home(worker->loop));
    if (slot == NULL) {
        purge_failed(region_slot, KV_DOWN);
        return;
    }
    if (slot->is_purging) {
        slot->purge_again = true; /* what the present one has passed may hold keys again */
        return;
    }
    slot->is_purging = true;
    (void)kv_delete_matching(slot->kv, STR_LIT(CACHE_KEY_VERSION ":*"), PURGE_TIMEOUT_MS, on_purged,
                             slot); /* never cancelled: the kv drops it when it goes */
}
