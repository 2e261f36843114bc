/* SPDX-License-Identifier: MIT */
/*
 * Regions and endpoints through configs and changes of addresses, and what health says of them.
 *
 * Identity decides what is kept: when the set of endpoints changes, each wanted (host, address,
 * port) is first looked for among those that were there, and made anew only when it is not.
 */
#include "fleet_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/hash.h>
#include <nearside/base/mem.h>
#include <nearside/obs/log.h>
#include <nearside/obs/metric.h>

#include <string.h>

struct fleet *fleet_new(struct loop *loop, fleet_publish_fn publish, void *arg)
{
    struct fleet *fleet = mem_new(struct fleet);

    fleet->magic = FLEET_MAGIC;
    fleet->loop = loop;
    fleet->publish = publish;
    fleet->arg = arg;
    fleet->started_ns = loop_now_ns(loop);
    fleet->home.index = HOME_NONE;
    fleet->events.ring = mem_new_array(FLEET_EVENTS_MAX, struct fleet_event);
    table_init(&fleet->by_id);
    list_init(&fleet->drains);
    fleet_publish_init(fleet);
    return fleet;
}

/* ---- endpoints ---- */

static struct fleet_endpoint *endpoint_new(struct fleet *fleet, const struct conf_endpoint *conf,
                                           const struct addr *addr)
{
    struct fleet_endpoint *endpoint = mem_new(struct fleet_endpoint);

    endpoint->live = endpoint_live_new();
    endpoint->host = mem_strdup(conf->host);
    endpoint->addr = *addr;
    (void)addr_format(addr, endpoint->address); /* always fits */
    endpoint->state = ENDPOINT_UNKNOWN;
    endpoint->since_ns = loop_now_ns(fleet->loop);
    endpoint->reason = "";
    endpoint->breaker_reason = "";
    endpoint->drained_since_ns = fleet_endpoint_drained_since(fleet, endpoint);
    endpoint->drained = endpoint->drained_since_ns != 0;
    table_insert(&fleet->by_id, &endpoint->by_id, hash_u64(endpoint->live->id));
    fleet->roster++;
    return endpoint;
}

static void endpoint_free(struct fleet *fleet, struct fleet_endpoint *endpoint)
{
    if (endpoint == NULL) {
        return;
    }
    fleet->roster++;
    table_remove(&fleet->by_id, &endpoint->by_id);
    endpoint_live_unref(endpoint->live);
    mem_free(endpoint->host);
    mem_free(endpoint);
}

static struct fleet_endpoint *find_by_id(const struct fleet *fleet, uint64_t id)
{
    struct table_item *item = table_first(&fleet->by_id, hash_u64(id));

    while (item != NULL) {
        struct fleet_endpoint *endpoint = CONTAINER_OF(item, struct fleet_endpoint, by_id);

        if (endpoint->live->id == id) {
            return endpoint;
        }
        item = table_next(item);
    }
    return NULL;
}

static struct fleet_region *region_of(const struct fleet *fleet,
                                      const struct fleet_endpoint *endpoint)
{
    for (uint32_t i = 0; i < fleet->region_count; i++) {
        struct fleet_region *region = &fleet->regions[i];

        for (uint32_t e = 0; e < region->endpoint_count; e++) {
            if (region->endpoints[e] == endpoint) {
                return region;
            }
        }
    }
    ASSERT_UNREACHABLE("endpoint without a region");
}

/* ---- a region's set of endpoints ---- */

/* The set as it was, from which those that stay are taken, and the one that takes its place. */
struct exchange {
    struct fleet *fleet;
    struct fleet_endpoint **old; /* taken ones are NULL */
    uint32_t old_count;
    struct fleet_endpoint **kept;
    uint32_t kept_count;
    uint32_t added;
};

static struct fleet_endpoint *take_old(struct exchange *exchange, const char *host,
                                       const struct addr *addr)
{
    for (uint32_t i = 0; i < exchange->old_count; i++) {
        struct fleet_endpoint *endpoint = exchange->old[i];

        if (endpoint != NULL && addr_eq(&endpoint->addr, addr) &&
            strcmp(endpoint->host, host) == 0) {
            exchange->old[i] = NULL;
            return endpoint;
        }
    }
    return NULL;
}

static bool is_kept(const struct exchange *exchange, const char *host, const struct addr *addr)
{
    for (uint32_t i = 0; i < exchange->kept_count; i++) {
        if (addr_eq(&exchange->kept[i]->addr, addr) && strcmp(exchange->kept[i]->host, host) == 0) {
            return true;
        }
    }
    return false;
}

static void want(struct exchange *exchange, const struct fleet_region *region, uint32_t spec,
                 const struct addr *addr)
{
    const struct conf_endpoint *conf = &region->conf->endpoints[spec];
    struct fleet_endpoint *endpoint;

    if (is_kept(exchange, conf->host, addr)) {
        return; /* the same twice: one endpoint */
    }
    if (exchange->kept_count == FLEET_ENDPOINTS_MAX) {
        log_warn("endpoint_ignored", "region=%s host=%s limit=%d", region->name, conf->host,
                 FLEET_ENDPOINTS_MAX);
        return;
    }
    endpoint = take_old(exchange, conf->host, addr);
    if (endpoint == NULL) {
        endpoint = endpoint_new(exchange->fleet, conf, addr);
        exchange->added++;
    }
    endpoint->spec = spec;
    endpoint->tls = conf->tls;
    exchange->kept[exchange->kept_count++] = endpoint;
}

static struct exchange exchange_begin(struct fleet *fleet, struct fleet_region *region)
{
    struct exchange exchange = {.fleet = fleet,
                                .old = region->endpoints,
                                .old_count = region->endpoint_count,
                                .kept =
                                    mem_new_array(FLEET_ENDPOINTS_MAX, struct fleet_endpoint *)};

    return exchange;
}

/* Free what was not kept. Returns how many were freed. */
static uint32_t exchange_end(struct exchange *exchange, struct fleet_region *region)
{
    uint32_t gone = 0;

    for (uint32_t i = 0; i < exchange->old_count; i++) {
        if (exchange->old[i] != NULL) {
            log_info("endpoint_removed", "region=%s endpoint=%s host=%s", region->name,
                     exchange->old[i]->address, exchange->old[i]->host);
            endpoint_free(exchange->fleet, exchange->old[i]);
            gone++;
        }
    }
    mem_free(exchange->old);
    region->endpoints =
        mem_realloc(exchange->kept, (exchange->kept_count + 1U) * sizeof(struct fleet_endpoint *));
    region->endpoint_count = exchange->kept_count;
    return gone;
}

/* ---- configs ---- */

static struct fleet_region *find_region(struct fleet_region *regions, uint32_t count,
                                        const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (regions[i].name != NULL && strcmp(regions[i].name, name) == 0) {
            return &regions[i];
        }
    }
    return NULL;
}

/* Endpoints of the new config: given addresses, and for a name those it had before. */
static void adopt_endpoints(struct fleet *fleet, struct fleet_region *region)
{
    struct exchange exchange = exchange_begin(fleet, region);

    for (uint32_t spec = 0; spec < region->conf->endpoint_count; spec++) {
        const struct conf_endpoint *conf = &region->conf->endpoints[spec];

        region->answered[spec] = conf->is_address;
        if (conf->is_address) {
            want(&exchange, region, spec, &conf->addr);
            continue;
        }
        for (uint32_t i = 0; i < exchange.old_count; i++) {
            const struct fleet_endpoint *old = exchange.old[i];

            if (old != NULL && addr_port(&old->addr) == conf->port &&
                strcmp(old->host, conf->host) == 0) {
                struct addr addr = old->addr;

                region->answered[spec] = true;
                want(&exchange, region, spec, &addr);
            }
        }
    }
    (void)exchange_end(&exchange, region); /* the reload as a whole is the event */
}

static bool same_redis(const struct conf_redis *a, const struct conf_redis *b)
{
    return strcmp(a->host, b->host) == 0 && a->port == b->port && a->tls == b->tls &&
           a->database == b->database;
}

static void adopt_redis(struct fleet_region *region, const struct conf_region *old)
{
    const struct conf_redis *redis = &region->conf->redis;

    if (old == NULL || !same_redis(&old->redis, redis)) {
        region->redis_known = redis->is_address && redis->url[0] != '\0';
        region->redis_addr = redis->addr;
        region->redis_up = false;
    }
}

/* `out` takes over what the region of that name had, if there was one. */
static void adopt_region(struct fleet *fleet, struct fleet_region *out, struct fleet_region *old,
                         const struct conf_region *conf)
{
    const struct conf_region *old_conf = NULL;

    if (old != NULL) {
        *out = *old;
        old_conf = old->conf;
        old->name = NULL; /* moved */
        mem_free(out->answered);
    } else {
        out->name = mem_strdup(conf->name);
        out->slot = metric_region_slot(str_of(conf->name));
        out->since_ns = loop_now_ns(fleet->loop);
        out->endpoints = mem_new_array(1, struct fleet_endpoint *);
    }
    out->conf = conf;
    out->answered = mem_new_array(conf->endpoint_count, bool);
    out->drained_since_ns = fleet_region_name_drained_since(fleet, conf->name);
    out->drained = out->drained_since_ns != 0;
    adopt_redis(out, old_conf);
    adopt_endpoints(fleet, out);
}

static void region_done(struct fleet *fleet, struct fleet_region *region)
{
    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        endpoint_free(fleet, region->endpoints[i]);
    }
    mem_free(region->endpoints);
    mem_free(region->answered);
    mem_free(region->name);
}

/* Where the home's region stands in the new config; it keeps its age. */
static int home_index_in(const struct fleet *fleet, struct fleet_region *regions, uint32_t count)
{
    const struct fleet_region *found = NULL;

    if (fleet->home.index != HOME_NONE) {
        found = find_region(regions, count, fleet->regions[fleet->home.index].conf->name);
    }
    return found == NULL ? HOME_NONE : (int)(found - regions);
}

void fleet_apply(struct fleet *fleet, struct conf *conf)
{
    struct fleet_region *regions = mem_new_array(conf->region_count, struct fleet_region);
    struct conf *old_conf = fleet->conf;

    ASSERT(loop_is_home(fleet->loop));
    ASSERT(conf->region_count <= METRIC_REGIONS_MAX);
    for (uint32_t i = 0; i < conf->region_count; i++) {
        const struct conf_region *region = &conf->regions[i];

        adopt_region(fleet, &regions[i],
                     find_region(fleet->regions, fleet->region_count, region->name), region);
    }
    fleet->home.index = home_index_in(fleet, regions, conf->region_count);
    for (uint32_t i = 0; i < fleet->region_count; i++) {
        if (fleet->regions[i].name != NULL) {
            log_info("region_removed", "region=%s", fleet->regions[i].name);
            region_done(fleet, &fleet->regions[i]);
        }
    }
    mem_free(fleet->regions);
    fleet->regions = regions;
    fleet->region_count = conf->region_count;
    fleet->conf = conf_ref(conf);
    conf_unref(old_conf);
    for (uint32_t i = 0; i < fleet->region_count; i++) {
        fleet_region_recount(fleet, &fleet->regions[i], "reload");
    }
    fleet_publish_now(fleet);
}

void fleet_free(struct fleet *fleet)
{
    if (fleet == NULL) {
        return;
    }
    fleet_publish_done(fleet);
    for (uint32_t i = 0; i < fleet->region_count; i++) {
        region_done(fleet, &fleet->regions[i]);
    }
    mem_free(fleet->regions);
    fleet_drains_free(fleet);
    table_done(&fleet->by_id);
    conf_unref(fleet->conf);
    mem_free(fleet->events.ring);
    fleet->magic = 0;
    mem_free(fleet);
}

/* ---- names ---- */

void fleet_set_addresses(struct fleet *fleet, uint32_t region_index, uint32_t endpoint_index,
                         const struct addr *addrs, size_t count)
{
    struct fleet_region *region;
    struct exchange exchange;
    uint32_t gone;

    ASSERT(region_index < fleet->region_count);
    region = &fleet->regions[region_index];
    ASSERT(endpoint_index < region->conf->endpoint_count);
    region->answered[endpoint_index] = true;
    exchange = exchange_begin(fleet, region);
    for (uint32_t spec = 0; spec < region->conf->endpoint_count; spec++) {
        for (size_t i = 0; spec == endpoint_index && i < count; i++) {
            struct addr addr = addrs[i];

            addr_set_port(&addr, region->conf->endpoints[spec].port);
            want(&exchange, region, spec, &addr);
        }
        for (uint32_t i = 0; spec != endpoint_index && i < exchange.old_count; i++) {
            if (exchange.old[i] != NULL && exchange.old[i]->spec == spec) {
                struct addr addr = exchange.old[i]->addr;

                want(&exchange, region, spec, &addr);
            }
        }
    }
    gone = exchange_end(&exchange, region);
    if (gone > 0 || exchange.added > 0) {
        log_info("addresses_changed", "region=%s host=%s added=%u removed=%u", region->name,
                 region->conf->endpoints[endpoint_index].host, exchange.added, gone);
        fleet_note(fleet, "addresses", region->name, "", "",
                   region->conf->endpoints[endpoint_index].host);
    }
    fleet_region_recount(fleet, region, "dns");
    fleet_touch(fleet);
}

void fleet_set_redis_addr(struct fleet *fleet, uint32_t region_index, const struct addr *addr)
{
    struct fleet_region *region;
    struct addr with_port = *addr;

    ASSERT(region_index < fleet->region_count);
    region = &fleet->regions[region_index];
    addr_set_port(&with_port, region->conf->redis.port);
    if (!region->redis_known || !addr_eq(&region->redis_addr, &with_port)) {
        region->redis_known = true;
        region->redis_addr = with_port;
        fleet_touch(fleet);
    }
}

void fleet_set_redis_up(struct fleet *fleet, uint32_t region_index, bool up, const char *why)
{
    struct fleet_region *region;

    ASSERT(region_index < fleet->region_count);
    region = &fleet->regions[region_index];
    if (region->redis_up == up) {
        return;
    }
    region->redis_up = up;
    log_info(up ? "redis_up" : "redis_down", "region=%s reason=\"%s\"", region->name, why);
    fleet_note(fleet, "redis_state", region->name, up ? "down" : "up", up ? "up" : "down", why);
    fleet_touch(fleet);
}

/* ---- what health writes ---- */

static const char *state_event(enum endpoint_state state)
{
    static const char *const events[ENDPOINT_STATE_COUNT] = {
        [ENDPOINT_UNKNOWN] = "endpoint_unknown",
        [ENDPOINT_WARMING] = "endpoint_warming",
        [ENDPOINT_UP] = "endpoint_up",
        [ENDPOINT_DOWN] = "endpoint_down",
    };

    return events[state];
}

/* The only place that changes endpoint->state. */
static void endpoint_move(struct fleet *fleet, struct fleet_region *region,
                          struct fleet_endpoint *endpoint, enum endpoint_state next,
                          const char *reason)
{
    enum endpoint_state before = endpoint->state;
    uint64_t now_ns = loop_now_ns(fleet->loop);

    if ((before == ENDPOINT_DOWN || before == ENDPOINT_WARMING) && next == ENDPOINT_UP) {
        endpoint->ramp_since_ns = now_ns;
    } else if (next == ENDPOINT_DOWN) {
        endpoint->ramp_since_ns = 0;
    }
    fleet->roster++;
    endpoint->state = next;
    endpoint->since_ns = now_ns;
    log_info(state_event(next), "region=%s endpoint=%s from=%s reason=%s", region->name,
             endpoint->address, endpoint_state_word(before), reason);
    fleet_event_add(fleet, &(struct fleet_change){.kind = "endpoint_state",
                                                  .region = region->name,
                                                  .endpoint = endpoint->address,
                                                  .from = endpoint_state_word(before),
                                                  .to = endpoint_state_word(next),
                                                  .reason = reason});
    fleet_region_recount(fleet, region, reason);
}

void fleet_set_endpoint_state(struct fleet *fleet, uint64_t endpoint_id, enum endpoint_state state,
                              const char *reason)
{
    struct fleet_endpoint *endpoint = find_by_id(fleet, endpoint_id);
    const char *kept = state == ENDPOINT_DOWN || state == ENDPOINT_WARMING ? reason : "";

    if (endpoint == NULL || (endpoint->state == state && strcmp(endpoint->reason, kept) == 0)) {
        return;
    }
    endpoint->reason = kept;
    if (endpoint->state != state) {
        endpoint_move(fleet, region_of(fleet, endpoint), endpoint, state, reason);
    }
    fleet_touch(fleet);
}

static const char *breaker_event(enum breaker_state state, bool is_region)
{
    static const char *const events[2][BREAKER_STATE_COUNT] = {
        {"endpoint_returned", "endpoint_put_aside", "endpoint_trial"},
        {"region_returned", "region_put_aside", "region_trial"},
    };

    return events[is_region][state];
}

static void note_breaker(struct fleet *fleet, const struct fleet_change *change,
                         enum breaker_state next)
{
    bool is_region = change->endpoint == NULL;

    if (is_region) {
        log_info(breaker_event(next, true), "region=%s from=%s reason=%s", change->region,
                 change->from, change->reason);
    } else {
        log_info(breaker_event(next, false), "region=%s endpoint=%s from=%s reason=%s",
                 change->region, change->endpoint, change->from, change->reason);
    }
    fleet_event_add(fleet, change);
    fleet_touch(fleet);
}

void fleet_set_endpoint_breaker(struct fleet *fleet, uint64_t endpoint_id,
                                enum breaker_state breaker, const char *reason)
{
    struct fleet_endpoint *endpoint = find_by_id(fleet, endpoint_id);
    enum breaker_state before;

    if (endpoint == NULL || endpoint->breaker == breaker) {
        return;
    }
    before = endpoint->breaker;
    endpoint->breaker = breaker;
    endpoint->breaker_reason = breaker == BREAKER_CLOSED ? "" : reason;
    if (breaker == BREAKER_CLOSED && endpoint->state == ENDPOINT_UP) {
        endpoint->ramp_since_ns = loop_now_ns(fleet->loop);
    }
    note_breaker(fleet,
                 &(struct fleet_change){.kind = "endpoint_breaker",
                                        .region = region_of(fleet, endpoint)->name,
                                        .endpoint = endpoint->address,
                                        .from = breaker_state_word(before),
                                        .to = breaker_state_word(breaker),
                                        .reason = reason},
                 breaker);
}

void fleet_set_region_breaker(struct fleet *fleet, uint32_t region_index,
                              enum breaker_state breaker, const char *reason)
{
    struct fleet_region *region;
    enum breaker_state before;

    ASSERT(region_index < fleet->region_count);
    region = &fleet->regions[region_index];
    before = region->breaker;
    if (before == breaker) {
        return;
    }
    region->breaker = breaker;
    if (breaker == BREAKER_CLOSED && region->state != REGION_DOWN) {
        region->ramp_since_ns = loop_now_ns(fleet->loop);
    }
    note_breaker(fleet,
                 &(struct fleet_change){.kind = "region_breaker",
                                        .region = region->name,
                                        .from = breaker_state_word(before),
                                        .to = breaker_state_word(breaker),
                                        .reason = reason},
                 breaker);
}

void fleet_observe_latency(struct fleet *fleet, uint64_t endpoint_id, enum latency_source source,
                           double ms)
{
    struct fleet_endpoint *endpoint = find_by_id(fleet, endpoint_id);

    /* The tick publishes what comes of it: latencies are smooth, and samples many. */
    if (endpoint != NULL) {
        latency_observe(&endpoint->latency, source, ms, loop_now_ns(fleet->loop));
    }
}
