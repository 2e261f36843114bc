/* SPDX-License-Identifier: MIT */
/* /status.json: regions and their endpoints; members are in docs/admin.md's order. */
#include "status_part_private.h"
#include "status_private.h"

#include "admin_private.h"
#include "choice_private.h"
#include "member_private.h"

#include <nearside/conf/tree.h>
#include <nearside/fleet/fleet.h>
#include <nearside/fleet/load.h>
#include <nearside/fleet/peers.h>

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
static void add_endpoint_load(json_t *object, const struct status_part *from,
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
        status_member_age(load, "age_s", from, report->read_ns);
    } else {
        member_null(load, "age_s");
    }
    member_text(load, "reason", report->reason);
}

static void add_region_load(json_t *object, const struct status_part *from,
                            const struct view_region *region)
{
    struct load load;

    load_of_region(from->loads, region->slot, from->now_ns, &load);
    add_load_signals(member_object(object, "load"), &load);
}

static void add_endpoint(json_t *endpoints, const struct status_part *from,
                         const struct view_endpoint *endpoint)
{
    json_t *item = item_object(endpoints);

    member_text(item, "address", endpoint->address);
    member_text(item, "host", endpoint->host);
    member_text(item, "state", status_endpoint_word(endpoint));
    member_text(item, "measured_state", endpoint_state_word(endpoint->state));
    member_bool(item, "drained", endpoint->drained);
    status_member_age_or_null(item, "drained_since_s", from, endpoint->drained_since_ns);
    member_text(item, "reason", endpoint->reason);
    member_text(item, "breaker", breaker_state_word(endpoint->breaker));
    status_member_age(item, "since_s", from, endpoint->since_ns);
    member_number(item, "weight", (double)endpoint->weight);
    member_count(item, "pending", atomic_load(&endpoint->live->pending));
    member_count(item, "inflight", atomic_load(&endpoint->live->inflight));
    member_count(item, "requests", atomic_load(&endpoint->live->requests));
    add_endpoint_load(item, from, endpoint);
}

static void add_endpoints(json_t *object, const struct status_part *from,
                          const struct view_region *region)
{
    json_t *endpoints = member_array(object, "endpoints");

    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        add_endpoint(endpoints, from, &region->endpoints[i]);
    }
}

/* Nothing about it where none is configured. */
static void add_redis_refusal(json_t *redis, const struct status_part *from,
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

static void add_redis(json_t *object, const struct status_part *from,
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

static void add_ttfts(json_t *object, const struct status_part *from,
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

static void add_shares(json_t *object, const struct status_part *from,
                       const struct view_region *region)
{
    const struct recent_rates *rates = &from->rates;

    status_member_quotient(object, "requests_per_s", rates->answers[region->slot], rates->seconds);
    status_member_quotient(object, "share", rates->answers[region->slot],
                           (double)rates->answers_by_regions);
}

static void add_verdict(json_t *object, const struct status_part *from, uint32_t index)
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
        sum += status_sum(METRIC_REQUESTS, region->slot, status_class);
    }
    return sum;
}

/* Live edges' votes, this one's included: for the eye and for alerts, it decides nothing. */
static void add_fleet_view(json_t *object, const struct status_part *from,
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

static void add_region(json_t *regions, const struct status_part *from, uint32_t index)
{
    const struct view_region *region = &from->view->regions[index];
    json_t *item = item_object(regions);

    member_text(item, "name", region->name);
    member_text(item, "state", status_region_word(region));
    member_text(item, "measured_state", region_state_word(region->state));
    member_bool(item, "drained", region->drained);
    status_member_age_or_null(item, "drained_since_s", from, region->drained_since_ns);
    member_bool(item, "usable", region->usable);
    add_verdict(item, from, index);
    member_text(item, "breaker", breaker_state_word(region->breaker));
    member_bool(item, "near", region->near);
    member_text(item, "tls_verify", tls_verify_word(region->conf));
    add_latency(item, region);
    status_member_age(item, "since_s", from, region->since_ns);
    member_number(item, "weight", (double)region->weight);
    member_count(item, "pending", status_sum(METRIC_PENDING, region->slot, 0));
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

void status_add_regions(json_t *root, const struct status_part *from)
{
    json_t *regions = member_array(root, "regions");

    for (uint32_t i = 0; i < from->view->region_count; i++) {
        add_region(regions, from, i);
    }
}
