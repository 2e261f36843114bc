/* SPDX-License-Identifier: MIT */
/* Gathers the JSON value of /status.json, part by part; members are in docs/admin.md's order. */
#include "status_private.h"

#include "admin_private.h"
#include "choice_private.h"
#include "member_private.h"
#include "recent_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/fleet.h>
#include <nearside/fleet/home.h>
#include <nearside/fleet/load.h>
#include <nearside/fleet/peers.h>
#include <nearside/loop/loop.h>
#include <nearside/obs/metric.h>

#include <string.h>

/* What one answer is made of. */
struct gathering {
    struct admin *admin;
    const struct conf *conf;
    const struct fleet_view *view;
    const struct peers *peers;
    struct recent_rates rates;
    const struct load_reports *loads;
    uint64_t now_ns;
};

static void member_age(json_t *object, const char *key, const struct gathering *from,
                       uint64_t since_ns)
{
    uint64_t age_ns = from->now_ns > since_ns ? from->now_ns - since_ns : 0;

    member_number(object, key, (double)age_ns / (double)NS_PER_S);
}

/* null: it is not so. */
static void member_age_or_null(json_t *object, const char *key, const struct gathering *from,
                               uint64_t since_ns)
{
    if (since_ns == 0) {
        member_null(object, key);
    } else {
        member_age(object, key, from, since_ns);
    }
}

/* A share or a rate of the last minute; null: there is nothing to divide by. */
static void member_quotient(json_t *object, const char *key, uint64_t part, double whole)
{
    if (whole > 0) {
        member_number(object, key, (double)part / whole);
    } else {
        member_null(object, key);
    }
}

static uint64_t sum_of(enum metric_family family, unsigned l0, unsigned l1)
{
    int64_t sum = metric_sum(family, l0, l1, 0);

    return sum > 0 ? (uint64_t)sum : 0; /* a sum over running threads may be off for a moment */
}

/* ---- the process ---- */

static void add_upgrade(json_t *edge, const struct admin_reload *last)
{
    json_t *upgrade;

    if (last == NULL) {
        member_null(edge, "last_upgrade");
        return;
    }
    upgrade = member_object(edge, "last_upgrade");
    member_bool(upgrade, "ok", last->ok);
    member_time(upgrade, "time", last->wall_ms);
    member_text_or_null(upgrade, "error", last->error);
}

static void add_edge(json_t *root, const struct gathering *from)
{
    const struct admin_source *source = &from->admin->source;
    const struct admin_reload *last = source->last_reload(source->arg);
    uint64_t started_ms = source->started_wall_ms(source->arg);
    uint64_t now_ms = clock_wall_ms();
    json_t *edge = member_object(root, "edge");
    json_t *reload;

    member_text(edge, "id", from->conf->edge.id);
    member_text(edge, "version", NEARSIDE_VERSION);
    member_number(edge, "uptime_s",
                  now_ms > started_ms ? (double)(now_ms - started_ms) / 1000.0 : 0.0);
    member_time(edge, "started", started_ms);
    member_time(edge, "time", now_ms);
    member_count(edge, "config_generation", from->conf->generation);
    member_text(edge, "config_path", from->conf->path);
    member_bool(edge, "suspect", from->peers->suspect);
    member_bool(edge, "draining", source->is_draining(source->arg));
    member_count(edge, "workers", from->admin->source.workers(from->admin->source.arg));
    member_count(edge, "workers_asked", from->conf->edge.workers);
    reload = member_object(edge, "last_reload");
    member_bool(reload, "ok", last->ok);
    member_time(reload, "time", last->wall_ms);
    member_text_or_null(reload, "error", last->error);
    add_upgrade(edge, source->last_upgrade(source->arg));
}

static void add_routing(json_t *root, const struct gathering *from)
{
    const struct conf_routing *conf = &from->conf->routing;
    json_t *routing = member_object(root, "routing");

    member_number(routing, "latency_budget_ms", conf->latency_budget_ms);
    member_count(routing, "failover_deadline_s", conf->failover_deadline_s);
    member_text(routing, "balance",
                conf->balance == CONF_BALANCE_ROUND_ROBIN ? "round_robin" : "least_pending");
}

static void add_home(json_t *root, const struct gathering *from)
{
    const struct fleet_view *view = from->view;

    if (view->home == HOME_NONE) {
        member_null(root, "home");
        member_null(root, "home_since_s");
        return;
    }
    member_text(root, "home", view->regions[view->home].name);
    member_age(root, "home_since_s", from, view->home_since_ns);
}

/* Why it was made the home: what the last event of that kind says. */
static void on_event_of_home(const struct fleet_event *event, void *arg)
{
    const struct fleet_event **last = arg;

    if (strcmp(event->kind, "home") == 0) {
        *last = event;
    }
}

static void add_choice(json_t *root, const struct gathering *from)
{
    const struct fleet_view *view = from->view;
    const struct fleet_event *last = NULL;
    json_t *choice = member_object(root, "choice");
    int next = choice_next(view);
    char why[CHOICE_WHY_LEN];

    fleet_events(from->admin->fleet, on_event_of_home, &last);
    member_text_or_null(choice, "from", last == NULL ? "" : last->from);
    member_text_or_null(choice, "reason", last == NULL ? "" : last->reason);
    if (view->home == HOME_NONE) {
        member_text(choice, "why", "no region can serve");
    } else {
        choice_why(view, (uint32_t)view->home, why);
        member_text(choice, "why", why);
    }
    member_text_or_null(choice, "next", next == HOME_NONE ? "" : view->regions[next].name);
}

/* ---- regions ---- */

const char *status_region_word(const struct view_region *region)
{
    return region->drained ? "drained" : region_state_word(region->state);
}

const char *status_endpoint_word(const struct view_endpoint *endpoint)
{
    return endpoint->drained ? "drained" : endpoint_state_word(endpoint->state);
}

static void member_load(json_t *object, const char *key, const struct load *load,
                        enum load_signal signal)
{
    double value;

    if (load_value(load, signal, &value)) {
        member_number(object, key, value);
    } else {
        member_null(object, key);
    }
}

static void add_load_signals(json_t *object, const struct load *load)
{
    member_load(object, "waiting", load, LOAD_WAITING);
    member_load(object, "running", load, LOAD_RUNNING);
    member_load(object, "kv_cache", load, LOAD_KV_CACHE);
    member_load(object, "gpu", load, LOAD_GPU);
}

/* What the endpoint's own page says: null where it is not read. */
static void add_endpoint_load(json_t *object, const struct gathering *from,
                              const struct view_endpoint *endpoint)
{
    const struct load_report *report = load_reports_find(from->loads, endpoint->live->id);
    static const struct load nothing;
    json_t *load;

    if (report == NULL) {
        member_null(object, "load");
        return;
    }
    load = member_object(object, "load");
    add_load_signals(load, load_report_is_fresh(report, from->now_ns) ? &report->load : &nothing);
    if (report->read_ns != 0) {
        member_age(load, "age_s", from, report->read_ns);
    } else {
        member_null(load, "age_s");
    }
    member_text(load, "reason", report->reason);
}

static void add_region_load(json_t *object, const struct gathering *from,
                            const struct view_region *region)
{
    struct load load;

    load_of_region(from->loads, region->slot, from->now_ns, &load);
    add_load_signals(member_object(object, "load"), &load);
}

static void add_endpoint(json_t *endpoints, const struct gathering *from,
                         const struct view_endpoint *endpoint)
{
    json_t *item = item_object(endpoints);

    member_text(item, "address", endpoint->address);
    member_text(item, "host", endpoint->host);
    member_text(item, "state", status_endpoint_word(endpoint));
    member_text(item, "measured_state", endpoint_state_word(endpoint->state));
    member_bool(item, "drained", endpoint->drained);
    member_age_or_null(item, "drained_since_s", from, endpoint->drained_since_ns);
    member_text(item, "reason", endpoint->reason);
    member_text(item, "breaker", breaker_state_word(endpoint->breaker));
    member_age(item, "since_s", from, endpoint->since_ns);
    member_number(item, "weight", (double)endpoint->weight);
    member_count(item, "pending", atomic_load(&endpoint->live->pending));
    member_count(item, "inflight", atomic_load(&endpoint->live->inflight));
    member_count(item, "requests", atomic_load(&endpoint->live->requests));
    add_endpoint_load(item, from, endpoint);
}

static void add_endpoints(json_t *object, const struct gathering *from,
                          const struct view_region *region)
{
    json_t *endpoints = member_array(object, "endpoints");

    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        add_endpoint(endpoints, from, &region->endpoints[i]);
    }
}

/* Nothing about it where none is configured. */
static void add_redis_refusal(json_t *redis, const struct gathering *from,
                              const struct view_region *region, bool is_configured)
{
    const struct admin_source *source = &from->admin->source;
    struct admin_redis refusal = {.error = NULL};

    if (is_configured) {
        source->redis(source->arg, region->slot, &refusal);
    }
    if (refusal.error == NULL) {
        member_null(redis, "error");
        member_null(redis, "error_command");
        member_null(redis, "advice");
        return;
    }
    member_text(redis, "error", refusal.error);
    member_text(redis, "error_command", refusal.command);
    member_text(redis, "advice", refusal.advice);
}

static void add_redis(json_t *object, const struct gathering *from,
                      const struct view_region *region)
{
    json_t *redis = member_object(object, "redis");
    bool is_configured = region->conf->redis.url[0] != '\0';
    char address[ADDR_TEXT_LEN];

    member_bool(redis, "configured", is_configured);
    member_bool(redis, "up", is_configured && region->redis_up);
    if (is_configured && region->redis_known) {
        (void)addr_format(&region->redis_addr, address);
        member_text(redis, "address", address);
    } else {
        member_null(redis, "address");
    }
    add_redis_refusal(redis, from, region, is_configured);
}

static void add_latency(json_t *object, const struct view_region *region)
{
    if (!region->latency_known) {
        member_null(object, "path_latency_ms");
        member_null(object, "latency_source");
        return;
    }
    member_number(object, "path_latency_ms", region->latency_ms);
    member_text(object, "latency_source",
                region->latency_is_prior   ? "peers"
                : region->latency_is_probe ? "probe"
                                           : "tcp");
}

static void add_ttft(json_t *object, const char *key, double seconds)
{
    if (seconds > 0) {
        member_number(object, key, seconds * 1000.0);
    } else {
        member_null(object, key); /* nothing counted yet */
    }
}

static void add_ttfts(json_t *object, const struct gathering *from,
                      const struct view_region *region)
{
    const struct recent *recent = &from->admin->recent;

    add_ttft(object, "ttft_p50_ms", metric_quantile(METRIC_TTFT_SECONDS, region->slot, 0.5));
    add_ttft(object, "ttft_p99_ms", metric_quantile(METRIC_TTFT_SECONDS, region->slot, 0.99));
    add_ttft(object, "ttft_recent_p50_ms", recent_ttft(recent, region->slot, 0.5));
    add_ttft(object, "ttft_recent_p99_ms", recent_ttft(recent, region->slot, 0.99));
}

static uint64_t region_inflight(const struct view_region *region)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        sum += atomic_load(&region->endpoints[i].live->inflight);
    }
    return sum;
}

static void add_shares(json_t *object, const struct gathering *from,
                       const struct view_region *region)
{
    const struct recent_rates *rates = &from->rates;

    member_quotient(object, "requests_per_s", rates->answers[region->slot], rates->seconds);
    member_quotient(object, "share", rates->answers[region->slot],
                    (double)rates->answers_by_regions);
}

static void add_verdict(json_t *object, const struct gathering *from, uint32_t index)
{
    char why[CHOICE_WHY_LEN];

    member_text(object, "verdict", choice_verdict_word(choice_of(from->view, index)));
    choice_why(from->view, index, why);
    member_text(object, "why", why);
}

static uint64_t region_requests(const struct view_region *region)
{
    uint64_t sum = 0;

    for (unsigned status_class = 0; status_class < METRIC_CLASSES; status_class++) {
        sum += sum_of(METRIC_REQUESTS, region->slot, status_class);
    }
    return sum;
}

/* Live edges' votes, this one's included: for the eye and for alerts, it decides nothing. */
static void add_fleet_view(json_t *object, const struct gathering *from,
                           const struct view_region *region)
{
    struct peers_votes votes = peers_votes(from->peers, region->name);
    json_t *view = member_object(object, "fleet_view");

    votes.up += region->state == REGION_UP || region->state == REGION_DEGRADED;
    votes.down += region->state == REGION_DOWN;
    member_count(view, "up", votes.up);
    member_count(view, "down", votes.down);
}

/* "off": certificates and names are not checked, by the config. */
static const char *tls_verify_word(const struct conf_region *conf)
{
    bool speaks = conf->redis.tls;

    for (uint32_t i = 0; i < conf->endpoint_count; i++) {
        speaks = speaks || conf->endpoints[i].tls;
    }
    return !speaks ? "none" : conf->tls.verify ? "on" : "off";
}

static void add_region(json_t *regions, const struct gathering *from, uint32_t index)
{
    const struct view_region *region = &from->view->regions[index];
    json_t *item = item_object(regions);

    member_text(item, "name", region->name);
    member_text(item, "state", status_region_word(region));
    member_text(item, "measured_state", region_state_word(region->state));
    member_bool(item, "drained", region->drained);
    member_age_or_null(item, "drained_since_s", from, region->drained_since_ns);
    member_bool(item, "usable", region->usable);
    add_verdict(item, from, index);
    member_text(item, "breaker", breaker_state_word(region->breaker));
    member_bool(item, "near", region->near);
    member_text(item, "tls_verify", tls_verify_word(region->conf));
    add_latency(item, region);
    member_age(item, "since_s", from, region->since_ns);
    member_number(item, "weight", (double)region->weight);
    member_count(item, "pending", sum_of(METRIC_PENDING, region->slot, 0));
    member_count(item, "inflight", region_inflight(region));
    member_count(item, "requests", region_requests(region));
    add_shares(item, from, region);
    member_count(item, "detect_refused_ms", conf_detect_refused_ms(&region->conf->health));
    member_count(item, "detect_vanished_ms", conf_detect_vanished_ms(&region->conf->health));
    member_count(item, "detect_hung_ms", conf_detect_hung_ms(&region->conf->health));
    add_ttfts(item, from, region);
    add_region_load(item, from, region);
    add_fleet_view(item, from, region);
    add_redis(item, from, region);
    add_endpoints(item, from, region);
}

static void add_regions(json_t *root, const struct gathering *from)
{
    json_t *regions = member_array(root, "regions");

    for (uint32_t i = 0; i < from->view->region_count; i++) {
        add_region(regions, from, i);
    }
}

/* ---- other edges ---- */

static void add_peer_region(json_t *regions, const struct peer_region *region)
{
    json_t *item = item_object(regions);

    member_text(item, "name", region->name);
    member_text(item, "state", region_state_word(region->state));
    if (region->latency_known) {
        member_number(item, "path_latency_ms", region->latency_ms);
    } else {
        member_null(item, "path_latency_ms");
    }
    member_count(item, "pending", region->pending);
    member_count(item, "inflight", region->inflight);
}

static void add_peers(json_t *root, const struct gathering *from)
{
    json_t *peers = member_array(root, "peers");
    struct list *each;

    LIST_FOREACH (each, &from->peers->all) {
        const struct peer *peer = LIST_ITEM(each, struct peer, link);
        uint64_t age_ns = from->now_ns > peer->seen_ns ? from->now_ns - peer->seen_ns : 0;
        json_t *item = item_object(peers);
        json_t *regions;

        member_text(item, "edge", peer->edge);
        member_count(item, "age_ms", age_ns / NS_PER_MS);
        regions = member_array(item, "regions");
        for (uint32_t i = 0; i < peer->region_count; i++) {
            add_peer_region(regions, &peer->regions[i]);
        }
    }
}

/* ---- traffic ---- */

static void add_requests(json_t *root, const struct gathering *from)
{
    json_t *requests = member_object(root, "requests");
    json_t *inflight;

    member_count(requests, "started", sum_of(METRIC_REQUESTS_STARTED, 0, 0));
    member_count(requests, "finished", sum_of(METRIC_REQUESTS_FINISHED, 0, 0));
    member_quotient(requests, "per_s", from->rates.answers_all, from->rates.seconds);
    inflight = member_object(requests, "inflight");
    member_count(inflight, "reading", sum_of(METRIC_INFLIGHT, METRIC_PHASE_READING, 0));
    member_count(inflight, "queued", sum_of(METRIC_INFLIGHT, METRIC_PHASE_QUEUED, 0));
    member_count(inflight, "waiting", sum_of(METRIC_INFLIGHT, METRIC_PHASE_WAITING, 0));
    member_count(inflight, "streaming", sum_of(METRIC_INFLIGHT, METRIC_PHASE_STREAMING, 0));
}

/* Every look-up begins in memory, so memory's hits and misses are all there are; Redis answers some
 * of the misses, and entries past their time do when no region can. */
void status_count_cache(struct status_cache *ret_cache)
{
    uint64_t memory_hits = sum_of(METRIC_CACHE, METRIC_TIER_MEMORY, METRIC_CACHE_HIT);
    uint64_t memory_misses = sum_of(METRIC_CACHE, METRIC_TIER_MEMORY, METRIC_CACHE_MISS);
    uint64_t redis_hits = sum_of(METRIC_CACHE, METRIC_TIER_REDIS, METRIC_CACHE_HIT);

    uint64_t stale = sum_of(METRIC_CACHE, METRIC_TIER_MEMORY, METRIC_CACHE_STALE) +
                     sum_of(METRIC_CACHE, METRIC_TIER_REDIS, METRIC_CACHE_STALE);
    uint64_t answered = redis_hits + stale;

    *ret_cache = (struct status_cache){
        .hits = memory_hits + answered,
        .misses = memory_misses > answered ? memory_misses - answered : 0,
        .stale = stale,
    };
}

static void add_cache(json_t *root, const struct gathering *from)
{
    const struct admin_source *source = &from->admin->source;
    struct admin_cache memory_tier = {.bytes = 0};
    struct status_cache counts;
    json_t *cache = member_object(root, "cache");
    json_t *memory;

    source->cache(source->arg, &memory_tier);
    status_count_cache(&counts);
    member_bool(cache, "enabled", from->conf->cache.enabled);
    memory = member_object(cache, "memory");
    member_count(memory, "bytes", memory_tier.bytes);
    member_count(memory, "bytes_max", memory_tier.bytes_max);
    member_count(memory, "entries", memory_tier.entries);
    member_count(memory, "evictions", memory_tier.evictions);
    member_count(cache, "hits", counts.hits);
    member_count(cache, "misses", counts.misses);
    if (counts.hits + counts.misses > 0) {
        member_number(cache, "hit_ratio",
                      (double)counts.hits / (double)(counts.hits + counts.misses));
    } else {
        member_null(cache, "hit_ratio");
    }
    member_count(cache, "stale", counts.stale);
    member_count(cache, "saved_tokens",
                 sum_of(METRIC_CACHE_SAVED_TOKENS, METRIC_TOKENS_PROMPT, 0) +
                     sum_of(METRIC_CACHE_SAVED_TOKENS, METRIC_TOKENS_COMPLETION, 0));
    member_number(cache, "saved_seconds",
                  (double)sum_of(METRIC_CACHE_SAVED_SECONDS, 0, 1) / (double)NS_PER_S);
}

static void add_connections(json_t *root)
{
    json_t *connections = member_object(root, "connections");

    member_count(connections, "clients", sum_of(METRIC_CLIENT_CONNECTIONS, 0, 0));
}

static void add_limits_hit(json_t *root, const struct gathering *from)
{
    static const char *const words[] = {
#define X(suffix, word) [LIMIT_##suffix] = word,
        LIMITS(X)
#undef X
    };
    json_t *limits = member_object(root, "limits_hit");
    json_t *recent = member_object(root, "limits_hit_recently");

    for (unsigned limit = 0; limit < LIMIT_COUNT; limit++) {
        uint64_t count = sum_of(METRIC_LIMIT_HITS, limit, 0);

        if (count > 0) {
            member_count(limits, words[limit], count);
        }
        if (from->rates.limit_hits[limit] > 0) {
            member_count(recent, words[limit], from->rates.limit_hits[limit]);
        }
    }
}

/* ---- events ---- */

struct event_list {
    json_t *array; /* borrowed */
    size_t skip;   /* older ones than are wanted */
};

static void on_event_counted(const struct fleet_event *event, void *arg)
{
    size_t *count = arg;

    (void)event;
    (*count)++;
}

/* What happened to whom and why, for people: "region_state of near: up -> down (refused)". */
static void add_event_text(json_t *item, const struct fleet_event *event)
{
    struct buf text;

    buf_init(&text);
    buf_append_str(&text, str_of(event->kind));
    if (event->region[0] != '\0') {
        buf_printf(&text, " of %s", event->region);
    }
    if (event->endpoint[0] != '\0') {
        buf_printf(&text, " %s", event->endpoint);
    }
    buf_append_char(&text, ':');
    if (event->from[0] != '\0') {
        buf_printf(&text, " %s ->", event->from);
    }
    buf_printf(&text, " %s", event->to);
    if (event->reason[0] != '\0') {
        buf_printf(&text, " (%s)", event->reason);
    }
    buf_append_char(&text, '\0');
    member_text(item, "text", buf_str(&text).ptr);
    buf_done(&text);
}

static void on_event(const struct fleet_event *event, void *arg)
{
    struct event_list *list = arg;
    json_t *item;

    if (list->skip > 0) {
        list->skip--;
        return;
    }
    item = item_object(list->array);
    member_count(item, "number", event->number);
    member_time(item, "time", event->wall_ms);
    member_text(item, "kind", event->kind);
    member_text(item, "region", event->region);
    member_text(item, "endpoint", event->endpoint);
    member_text(item, "from", event->from);
    member_text(item, "to", event->to);
    member_text(item, "reason", event->reason);
    add_event_text(item, event);
}

json_t *status_build_events(struct admin *admin, size_t max)
{
    struct event_list list = {.array = json_array()};
    size_t count = 0;

    ASSERT(list.array != NULL);
    fleet_events(admin->fleet, on_event_counted, &count);
    list.skip = count > max ? count - max : 0;
    fleet_events(admin->fleet, on_event, &list);
    return list.array;
}

/* ---- all of it ---- */

json_t *status_build(struct admin *admin)
{
    struct gathering from = {
        .admin = admin,
        .conf = admin->source.conf(admin->source.arg),
        .view = fleet_view_now(admin->fleet),
        .peers = admin->source.peers(admin->source.arg),
        .loads = admin->source.loads(admin->source.arg),
        .now_ns = loop_now_ns(admin->loop),
    };
    json_t *root = json_object();

    ASSERT(root != NULL);
    recent_rates(&admin->recent, from.now_ns, &from.rates);
    add_edge(root, &from);
    add_routing(root, &from);
    add_home(root, &from);
    add_choice(root, &from);
    add_regions(root, &from);
    add_peers(root, &from);
    add_requests(root, &from);
    add_cache(root, &from);
    add_connections(root);
    add_limits_hit(root, &from);
    ASSERT(json_object_set_new(root, "events", status_build_events(admin, STATUS_EVENTS_MAX)) == 0);
    return root;
}

void status_write_json(struct admin *admin, struct buf *out)
{
    member_write(status_build(admin), out);
}

void status_write_events(struct admin *admin, struct buf *out)
{
    json_t *root = json_object();

    ASSERT(root != NULL &&
           json_object_set_new(root, "events", status_build_events(admin, FLEET_EVENTS_MAX)) == 0);
    member_write(root, out);
}
