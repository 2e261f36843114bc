/* SPDX-License-Identifier: MIT */
/*
 * Which metrics pages are read, and when: that of every endpoint where metrics.path is set, and
 * that of every address of a region's exporters. Each has a reading of its own, timed start to
 * start with jitter, so that a fleet of edges does not knock at one moment.
 *
 * A page that cannot be read changes nothing but its reason; what it said last counts until it is
 * stale (three intervals and a timeout), then no more.
 */
#include "health_private.h"
#include "scraper_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/fleet/fleet.h>
#include <nearside/obs/log.h>

#include <string.h>

#define LOAD_WATCH_MAGIC 0x4c4f4144u
#define FIRST_WITHIN_MS  1000
#define KEEP_INTERVALS   3

struct load_watch {
    uint32_t magic;
    struct health *health;     /* borrowed */
    struct load_report report; /* in health->loads */
    uint64_t generation;
    uint32_t region_index;
    struct addr addr;
    const char *host; /* borrowed from health->conf */
    uint16_t port;
    bool tls;
    struct scraper *scraper; /* owned */
    struct deadline next;
    uint64_t started_ns;
};

/* A page that there should be. */
struct wanted {
    uint64_t endpoint_id; /* 0: an exporter's */
    unsigned slot;
    uint32_t region_index;
    struct addr addr;
    const char *host;
    uint16_t port;
    bool tls;
};

static const struct conf_region *region_of(const struct load_watch *watch)
{
    return &watch->health->conf->regions[watch->region_index];
}

/* ---- reading ---- */

static void log_change(const struct load_watch *watch, const char *reason)
{
    char address[ADDR_TEXT_LEN];

    if (strcmp(reason, watch->report.reason) == 0) {
        return;
    }
    (void)addr_format(&watch->addr, address);
    if (reason[0] == '\0') {
        log_info("load_read", "region=%s address=%s", region_of(watch)->name, address);
    } else {
        log_warn("load_unread", "region=%s address=%s reason=%s", region_of(watch)->name, address,
                 reason);
    }
}

static void on_read(enum scrape_end end, const struct load *load, void *arg)
{
    struct load_watch *watch = OBJ_CAST(arg, load_watch, LOAD_WATCH_MAGIC);
    const struct conf_metrics *conf = &region_of(watch)->metrics;
    struct metric_block *metrics = watch->health->metrics;
    const char *reason = scrape_end_word(end);

    log_change(watch, reason);
    watch->report.reason = reason;
    if (end == SCRAPE_OK) {
        watch->report.load = *load;
        watch->report.read_ns = loop_now_ns(watch->health->loop);
        watch->report.keep_ns =
            (KEEP_INTERVALS * (uint64_t)conf->interval_ms + conf->timeout_ms) * NS_PER_MS;
    } else if (end == SCRAPE_TOO_LONG) {
        metric_limit_hit(metrics, LIMIT_METRICS_PAGE);
    }
    metric_add(metrics, METRIC_LOAD_READS, watch->report.slot,
               end == SCRAPE_OK ? METRIC_SUCCESS : METRIC_FAILURE, 0, 1);
    deadline_set_ns(&watch->next,
                    watch->started_ns +
                        health_jitter_ms(watch->health, conf->interval_ms) * NS_PER_MS);
}

static void on_next(struct deadline *deadline, void *arg)
{
    struct load_watch *watch = OBJ_CAST(arg, load_watch, LOAD_WATCH_MAGIC);
    const struct conf_region *region = region_of(watch);
    struct scrape_target target = {
        .conf = watch->health->conf,
        .addr = watch->addr,
        .host = watch->host,
        .port = watch->port,
        .tls = watch->tls ? watch->health->region_tls[watch->region_index] : NULL,
        .server_name = watch->host,
        .path =
            watch->report.endpoint_id != 0 ? region->metrics.path : region->metrics.exporter_path,
        .timeout_ms = region->metrics.timeout_ms,
    };

    (void)deadline;
    watch->started_ns = loop_now_ns(watch->health->loop);
    scraper_start(watch->scraper, &target);
}

/* ---- which watches there are ---- */

static struct load_watch *watch_new(struct health *health, const struct wanted *wanted)
{
    struct load_watch *watch = mem_new(struct load_watch);

    watch->magic = LOAD_WATCH_MAGIC;
    watch->health = health;
    watch->addr = wanted->addr;
    watch->report.endpoint_id = wanted->endpoint_id;
    watch->report.slot = wanted->slot;
    watch->report.reason = "";
    load_reports_add(&health->loads, &watch->report);
    watch->scraper = scraper_new(health->loop, on_read, watch);
    deadline_init(&watch->next, health->loop, on_next, watch);
    deadline_set_in_ms(&watch->next, rng_below(&health->rng, FIRST_WITHIN_MS));
    return watch;
}

static void watch_end(struct load_watch *watch)
{
    load_reports_remove(&watch->health->loads, &watch->report);
    scraper_free(watch->scraper);
    deadline_done(&watch->next);
    watch->magic = 0;
    loop_defer_free(watch->health->loop, watch);
}

static bool is_of(struct load_report *report, const struct wanted *wanted)
{
    const struct load_watch *watch = CONTAINER_OF(report, struct load_watch, report);

    return report->endpoint_id == wanted->endpoint_id && report->slot == wanted->slot &&
           addr_eq(&watch->addr, &wanted->addr);
}

static struct load_watch *find(struct health *health, const struct wanted *wanted)
{
    struct list *item;

    if (wanted->endpoint_id != 0) {
        struct load_report *report = load_reports_find(&health->loads, wanted->endpoint_id);

        return report == NULL ? NULL : CONTAINER_OF(report, struct load_watch, report);
    }
    LIST_FOREACH (item, &health->loads.all) {
        struct load_report *report = LIST_ITEM(item, struct load_report, link);

        if (is_of(report, wanted)) {
            return CONTAINER_OF(report, struct load_watch, report);
        }
    }
    return NULL;
}

static void follow(struct health *health, const struct wanted *wanted)
{
    struct load_watch *watch = find(health, wanted);

    if (watch == NULL) {
        watch = watch_new(health, wanted);
    }
    watch->generation = health->generation;
    watch->region_index = wanted->region_index;
    watch->host = wanted->host;
    watch->port = wanted->port;
    watch->tls = wanted->tls;
    health_quicken(health, &watch->next, region_of(watch)->metrics.interval_ms);
}

static void follow_endpoints(struct health *health, const struct view_region *region,
                             uint32_t region_index)
{
    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        const struct view_endpoint *endpoint = &region->endpoints[i];
        struct wanted wanted = {.endpoint_id = endpoint->live->id,
                                .slot = region->slot,
                                .region_index = region_index,
                                .addr = endpoint->addr,
                                .host = endpoint->host,
                                .port = endpoint->port,
                                .tls = endpoint->tls};

        follow(health, &wanted);
    }
}

static void follow_exporter(struct health *health, const struct view_region *region,
                            uint32_t region_index, const struct conf_endpoint *exporter)
{
    const struct addr *addrs = &exporter->addr;
    size_t count = 1;
    struct wanted wanted = {.slot = region->slot,
                            .region_index = region_index,
                            .host = exporter->host,
                            .port = exporter->port,
                            .tls = exporter->tls};

    if (!exporter->is_address) {
        count = discovery_exporter(health, region_index, exporter, &addrs);
    }
    for (size_t i = 0; i < count; i++) {
        wanted.addr = addrs[i];
        addr_set_port(&wanted.addr, exporter->port);
        follow(health, &wanted);
    }
}

void load_watch_sync(struct health *health)
{
    const struct fleet_view *view = fleet_view_now(health->fleet);
    struct list *item;
    struct list *after;

    health->generation++;
    for (uint32_t i = 0; i < view->region_count; i++) {
        const struct view_region *region = &view->regions[i];

        if (region->conf->metrics.path[0] != '\0') {
            follow_endpoints(health, region, i);
        }
        for (uint32_t e = 0; e < region->conf->exporter_count; e++) {
            follow_exporter(health, region, i, &region->conf->exporters[e]);
        }
    }
    LIST_FOREACH_SAFE (item, after, &health->loads.all) {
        struct load_watch *watch =
            CONTAINER_OF(LIST_ITEM(item, struct load_report, link), struct load_watch, report);

        if (watch->generation != health->generation) {
            watch_end(watch);
        }
    }
}

void load_watch_stop(struct health *health)
{
    struct list *first;

    while ((first = list_first(&health->loads.all)) != NULL) {
        watch_end(
            CONTAINER_OF(LIST_ITEM(first, struct load_report, link), struct load_watch, report));
    }
    load_reports_done(&health->loads);
}
