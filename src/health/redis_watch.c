/* SPDX-License-Identifier: MIT */
/*
 * Is a region's Redis there? One connection of the control thread's own per region, a PING each
 * second. For the status page and for whoever wants to spare a look-up; the workers have breakers
 * of their own and trust those.
 *
 * One lost connection means down; a late answer only when the next is late as well.
 */
#include "health_private.h"
#include "shared_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/fleet/fleet.h>
#include <nearside/kv/kv.h>
#include <nearside/net/tls_ctx.h>

#include <math.h>
#include <string.h>

#define REDIS_WATCH_MAGIC     0x52454457u
#define PING_INTERVAL_MS      1000
#define PING_TIMEOUT_LEAST_MS 250
#define PING_TIMEOUT_MAX_MS   5000
#define LATE_MAX              2

struct redis_watch {
    uint32_t magic;
    struct list link;
    struct health *health; /* borrowed */
    uint64_t generation;
    char *region_name;     /* owned */
    uint32_t region_index; /* in health->conf */
    struct addr addr;
    struct tls_ctx *tls; /* ref held; NULL: plain */
    char *user;          /* owned */
    char *password;      /* owned */
    uint32_t database;
    struct kv *kv;              /* owned */
    struct shared_link *shared; /* owned; over the same connection */
    struct kv_request *ping;    /* under way, or NULL */
    struct deadline next;
    uint64_t started_ns;
    unsigned late; /* in a row */
};

static void on_pong(enum kv_result result, struct str value, void *arg)
{
    struct redis_watch *watch = OBJ_CAST(arg, redis_watch, REDIS_WATCH_MAGIC);
    struct fleet *fleet = watch->health->fleet;

    (void)value;
    watch->ping = NULL;
    watch->late = result == KV_TIMEOUT ? watch->late + 1 : 0;
    if (result == KV_OK) {
        fleet_set_redis_up(fleet, watch->region_index, true, "ping");
    } else if (result != KV_TIMEOUT || watch->late >= LATE_MAX) {
        const char *why = result == KV_TIMEOUT ? kv_result_word(result) : kv_last_error(watch->kv);

        fleet_set_redis_up(fleet, watch->region_index, false,
                           why[0] != '\0' ? why : kv_result_word(result));
    }
    deadline_set_ns(&watch->next, watch->started_ns + PING_INTERVAL_MS * NS_PER_MS);
}

/* The cache's own patience and the way there and back, within sane bounds. */
static uint32_t ping_timeout_ms(const struct redis_watch *watch)
{
    const struct fleet_view *view = fleet_view_now(watch->health->fleet);
    const struct view_region *region = &view->regions[watch->region_index];
    double way_ms = region->latency_known ? region->latency_ms : 0;
    double ms = (double)watch->health->conf->cache.redis_timeout_ms + way_ms;

    return (uint32_t)fmin(PING_TIMEOUT_MAX_MS, fmax(PING_TIMEOUT_LEAST_MS, ms));
}

static void on_next(struct deadline *deadline, void *arg)
{
    struct redis_watch *watch = OBJ_CAST(arg, redis_watch, REDIS_WATCH_MAGIC);

    (void)deadline;
    watch->started_ns = loop_now_ns(watch->health->loop);
    watch->ping = kv_ping(watch->kv, ping_timeout_ms(watch), on_pong, watch);
}

static void watch_end(struct redis_watch *watch)
{
    list_remove(&watch->link);
    if (watch->ping != NULL) {
        kv_cancel(watch->ping);
    }
    shared_link_free(watch->shared);
    kv_free(watch->kv);
    deadline_done(&watch->next);
    tls_ctx_unref(watch->tls);
    mem_free(watch->region_name);
    mem_free(watch->user);
    mem_free(watch->password);
    watch->magic = 0;
    loop_defer_free(watch->health->loop, watch);
}

static struct tls_ctx *tls_of(const struct health *health, uint32_t region_index)
{
    return health->conf->regions[region_index].redis.tls ? health->region_tls[region_index] : NULL;
}

static void watch_begin(struct health *health, uint32_t region_index, const struct addr *addr)
{
    const struct conf_region *region = &health->conf->regions[region_index];
    struct redis_watch *watch = mem_new(struct redis_watch);
    struct kv_target target = {.addr = *addr,
                               .server_name = region->redis.host,
                               .tls = tls_of(health, region_index),
                               .user = region->redis.user,
                               .password = region->redis.password,
                               .database = region->redis.database};

    watch->magic = REDIS_WATCH_MAGIC;
    watch->health = health;
    watch->generation = health->generation;
    watch->region_name = mem_strdup(region->name);
    watch->region_index = region_index;
    watch->addr = *addr;
    watch->tls = target.tls == NULL ? NULL : tls_ctx_ref(target.tls);
    watch->user = mem_strdup(target.user);
    watch->password = mem_strdup(target.password);
    watch->database = target.database;
    watch->kv = kv_new(health->loop, &target);
    watch->shared = shared_link_new(health, region->name, watch->kv);
    deadline_init(&watch->next, health->loop, on_next, watch);
    deadline_set_in_ms(&watch->next, 0);
    list_push_back(&health->redis_watches, &watch->link);
}

/* Does it watch what region `region_index` has now? */
static bool still_fits(const struct redis_watch *watch, uint32_t region_index,
                       const struct addr *addr)
{
    const struct health *health = watch->health;
    const struct conf_redis *redis = &health->conf->regions[region_index].redis;

    return addr_eq(&watch->addr, addr) && watch->tls == tls_of(health, region_index) &&
           watch->database == redis->database && strcmp(watch->user, redis->user) == 0 &&
           strcmp(watch->password, redis->password) == 0;
}

static struct redis_watch *find(struct health *health, const char *region_name)
{
    struct list *item;

    LIST_FOREACH (item, &health->redis_watches) {
        struct redis_watch *watch = LIST_ITEM(item, struct redis_watch, link);

        if (strcmp(watch->region_name, region_name) == 0) {
            return watch;
        }
    }
    return NULL;
}

static void follow(struct health *health, uint32_t region_index, const struct view_region *region)
{
    struct redis_watch *watch = find(health, region->name);

    if (region->conf->redis.url[0] == '\0' || !region->redis_known) {
        return;
    }
    if (watch != NULL && still_fits(watch, region_index, &region->redis_addr)) {
        watch->region_index = region_index;
        watch->generation = health->generation;
        return;
    }
    if (watch != NULL) {
        watch_end(watch);
    }
    watch_begin(health, region_index, &region->redis_addr);
}

void redis_watch_sync(struct health *health)
{
    const struct fleet_view *view = fleet_view_now(health->fleet);
    struct list *item;
    struct list *after;

    health->generation++;
    for (uint32_t i = 0; i < view->region_count; i++) {
        follow(health, i, &view->regions[i]);
    }
    LIST_FOREACH_SAFE (item, after, &health->redis_watches) {
        struct redis_watch *watch = LIST_ITEM(item, struct redis_watch, link);

        if (watch->generation != health->generation) {
            watch_end(watch);
        }
    }
}

void redis_watch_stop(struct health *health)
{
    struct list *first;

    while ((first = list_first(&health->redis_watches)) != NULL) {
        watch_end(LIST_ITEM(first, struct redis_watch, link));
    }
}
