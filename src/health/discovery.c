/* SPDX-License-Identifier: MIT */
/*
 * Names to addresses, again and again: one lookup per name of an endpoint, a Redis, an exporter.
 *
 * Happy path:
 *   1. Ask at once when a config brings the name.
 *   2. Merge the answer into the known addresses; tell the fleet what changed.
 *   3. Ask again when the TTL (5 s .. 300 s, +-10 %) is over, or sooner when an endpoint of that
 *      name went down.
 *
 * A failure changes nothing: the last good addresses stay in use however long it lasts, and it is
 * asked again after 5 s. Likewise those of one family, when its question fails and the other's does
 * not. The log says when failing begins and when it ends.
 *
 *   WAITING (deadline) ──> ASKING (query) ──> WAITING
 */
#include "address_set_private.h"
#include "health_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/dns/resolver.h>
#include <nearside/fleet/fleet.h>
#include <nearside/obs/log.h>
#include <nearside/obs/metric.h>

#include <string.h>

#define LOOKUP_MAGIC     0x4c4f4f4bu
#define LOOKUP_TTL_S     5
#define LOOKUP_TTL_S_MAX 300
#define LOOKUP_RETRY_MS  5000

/* What a name's addresses are for. */
enum lookup_use { LOOKUP_ENDPOINT, LOOKUP_REDIS, LOOKUP_EXPORTER };

struct lookup {
    uint32_t magic;
    struct list link;
    struct health *health; /* borrowed */
    uint64_t generation;
    char *region_name; /* owned */
    char *host;        /* owned */
    uint16_t port;
    enum lookup_use use;
    uint32_t region_index; /* in health->conf */
    uint32_t endpoint_index;
    struct dns_query *query; /* under way, or NULL */
    struct deadline next;
    uint64_t started_ns;
    bool failing;
    struct address_set set;
    struct addr redis_addr; /* the one in use */
};

static void ask(struct lookup *lookup);

static void on_next(struct deadline *deadline, void *arg)
{
    (void)deadline;
    ask(OBJ_CAST(arg, lookup, LOOKUP_MAGIC));
}

static void lookup_free(struct lookup *lookup)
{
    list_remove(&lookup->link);
    if (lookup->query != NULL) {
        dns_cancel(lookup->query);
    }
    deadline_done(&lookup->next);
    mem_free(lookup->region_name);
    mem_free(lookup->host);
    lookup->magic = 0;
    loop_defer_free(lookup->health->loop, lookup);
}

/* ---- answers ---- */

static void tell_endpoints(struct lookup *lookup)
{
    fleet_set_addresses(lookup->health->fleet, lookup->region_index, lookup->endpoint_index,
                        lookup->set.addrs, lookup->set.count);
    health_sync(lookup->health);
}

/* Stays with the address in use while the name still has it. */
static void tell_redis(struct lookup *lookup)
{
    if (lookup->redis_addr.len == 0 || !address_set_has(&lookup->set, &lookup->redis_addr)) {
        lookup->redis_addr = lookup->set.addrs[0];
    }
    fleet_set_redis_addr(lookup->health->fleet, lookup->region_index, &lookup->redis_addr);
    redis_watch_sync(lookup->health);
}

static void on_good(struct lookup *lookup, const struct addr *addrs, size_t count, uint32_t ttl_s,
                    int failed_family)
{
    uint32_t least_s = ttl_s < LOOKUP_TTL_S ? LOOKUP_TTL_S : ttl_s;
    uint32_t wait_s = least_s > LOOKUP_TTL_S_MAX ? LOOKUP_TTL_S_MAX : least_s;

    if (lookup->failing) {
        lookup->failing = false;
        log_info("dns_recovered", "region=%s host=%s", lookup->region_name, lookup->host);
    }
    deadline_set_in_ms(&lookup->next, health_jitter_ms(lookup->health, wait_s * 1000U));
    if (!address_set_merge(&lookup->set, addrs, count, failed_family)) {
        return;
    }
    switch (lookup->use) {
    case LOOKUP_ENDPOINT:
        tell_endpoints(lookup);
        break;
    case LOOKUP_REDIS:
        tell_redis(lookup);
        break;
    case LOOKUP_EXPORTER:
        load_watch_sync(lookup->health);
        break;
    }
}

static void on_bad(struct lookup *lookup, enum dns_result result)
{
    if (!lookup->failing) {
        lookup->failing = true;
        log_warn("dns_failed", "region=%s host=%s result=%s known=%zu", lookup->region_name,
                 lookup->host, dns_result_word(result), lookup->set.count);
    }
    deadline_set_in_ms(&lookup->next, health_jitter_ms(lookup->health, LOOKUP_RETRY_MS));
    if (lookup->set.count == 0 && lookup->use == LOOKUP_ENDPOINT) {
        tell_endpoints(lookup); /* that there are none: the region need not wait for a verdict */
    }
}

static void on_answer(enum dns_result result, const struct addr *addrs, size_t count,
                      uint32_t ttl_s, void *arg)
{
    struct lookup *lookup = OBJ_CAST(arg, lookup, LOOKUP_MAGIC);
    uint32_t limit = lookup->health->conf->limits.dns_addresses;
    int failed_family = dns_failed_family(lookup->query);

    lookup->query = NULL;
    if (count > limit) {
        metric_limit_hit(lookup->health->metrics, LIMIT_DNS_ADDRESSES);
        log_warn("dns_too_many", "region=%s host=%s addresses=%zu used=%u", lookup->region_name,
                 lookup->host, count, limit);
        count = limit; /* sorted: the same ones each time */
    }
    if (result == DNS_OK && count > 0) {
        on_good(lookup, addrs, count, ttl_s, failed_family);
    } else {
        on_bad(lookup, result);
    }
}

static void ask(struct lookup *lookup)
{
    ASSERT(lookup->query == NULL);
    lookup->started_ns = loop_now_ns(lookup->health->loop);
    lookup->query = dns_resolve(lookup->health->resolver, lookup->host, on_answer, lookup);
}

/* ---- which lookups there are ---- */

struct wanted {
    const char *host;
    uint16_t port;
    enum lookup_use use;
    uint32_t region_index;
    uint32_t endpoint_index;
};

static struct lookup *find(struct health *health, const struct wanted *wanted)
{
    const char *region_name = health->conf->regions[wanted->region_index].name;
    struct list *item;

    LIST_FOREACH (item, &health->lookups) {
        struct lookup *lookup = LIST_ITEM(item, struct lookup, link);

        if (lookup->use == wanted->use && lookup->port == wanted->port &&
            strcmp(lookup->host, wanted->host) == 0 &&
            strcmp(lookup->region_name, region_name) == 0) {
            return lookup;
        }
    }
    return NULL;
}

/* A name that stays keeps its addresses and its place in time; the fleet may have forgotten a
 * Redis (its other settings changed) and is told again. */
static void keep(struct lookup *lookup, const struct wanted *wanted)
{
    lookup->region_index = wanted->region_index;
    lookup->endpoint_index = wanted->endpoint_index;
    if (lookup->use == LOOKUP_REDIS && lookup->redis_addr.len != 0) {
        fleet_set_redis_addr(lookup->health->fleet, lookup->region_index, &lookup->redis_addr);
    }
}

static struct lookup *begin(struct health *health, const struct wanted *wanted)
{
    struct lookup *lookup = mem_new(struct lookup);

    lookup->magic = LOOKUP_MAGIC;
    lookup->health = health;
    lookup->region_name = mem_strdup(health->conf->regions[wanted->region_index].name);
    lookup->host = mem_strdup(wanted->host);
    lookup->port = wanted->port;
    lookup->use = wanted->use;
    lookup->region_index = wanted->region_index;
    lookup->endpoint_index = wanted->endpoint_index;
    deadline_init(&lookup->next, health->loop, on_next, lookup);
    list_push_back(&health->lookups, &lookup->link);
    ask(lookup);
    return lookup;
}

static void follow(struct health *health, const struct wanted *wanted)
{
    struct lookup *lookup = find(health, wanted);

    if (lookup != NULL) {
        keep(lookup, wanted);
    } else {
        lookup = begin(health, wanted);
    }
    lookup->generation = health->generation;
}

static void follow_region(struct health *health, uint32_t region_index)
{
    const struct conf_region *region = &health->conf->regions[region_index];

    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        const struct conf_endpoint *endpoint = &region->endpoints[i];

        if (!endpoint->is_address) {
            follow(health, &(struct wanted){.host = endpoint->host,
                                            .port = endpoint->port,
                                            .region_index = region_index,
                                            .endpoint_index = i});
        }
    }
    if (region->redis.url[0] != '\0' && !region->redis.is_address) {
        follow(health, &(struct wanted){.host = region->redis.host,
                                        .port = region->redis.port,
                                        .use = LOOKUP_REDIS,
                                        .region_index = region_index});
    }
    for (uint32_t i = 0; i < region->exporter_count; i++) {
        if (!region->exporters[i].is_address) {
            follow(health, &(struct wanted){.host = region->exporters[i].host,
                                            .port = region->exporters[i].port,
                                            .use = LOOKUP_EXPORTER,
                                            .region_index = region_index});
        }
    }
}

size_t discovery_exporter(struct health *health, uint32_t region_index,
                          const struct conf_endpoint *exporter, const struct addr **ret_addrs)
{
    struct wanted wanted = {.host = exporter->host,
                            .port = exporter->port,
                            .use = LOOKUP_EXPORTER,
                            .region_index = region_index};
    const struct lookup *lookup = find(health, &wanted);

    *ret_addrs = lookup == NULL ? NULL : lookup->set.addrs;
    return lookup == NULL ? 0 : lookup->set.count;
}

void discovery_sync(struct health *health)
{
    struct list *item;
    struct list *after;

    health->generation++;
    for (uint32_t i = 0; i < health->conf->region_count; i++) {
        follow_region(health, i);
    }
    LIST_FOREACH_SAFE (item, after, &health->lookups) {
        struct lookup *lookup = LIST_ITEM(item, struct lookup, link);

        if (lookup->generation != health->generation) {
            lookup_free(lookup);
        }
    }
}

void discovery_hurry(struct health *health, const char *host)
{
    uint64_t now_ns = loop_now_ns(health->loop);
    struct list *item;

    LIST_FOREACH (item, &health->lookups) {
        struct lookup *lookup = LIST_ITEM(item, struct lookup, link);
        bool rested = now_ns - lookup->started_ns >= LOOKUP_TTL_S * NS_PER_S;

        if (lookup->query == NULL && rested && lookup->use == LOOKUP_ENDPOINT &&
            strcmp(lookup->host, host) == 0) {
            deadline_set_in_ms(&lookup->next, 0);
        }
    }
}

void discovery_stop(struct health *health)
{
    struct list *first;

    while ((first = list_first(&health->lookups)) != NULL) {
        lookup_free(LIST_ITEM(first, struct lookup, link));
    }
}
