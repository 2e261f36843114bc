/* SPDX-License-Identifier: MIT */
/*
 * /metrics: the counted families, then gauges that are facts of the moment, computed here. Each is
 * one row of `families`; the text and its part of docs/metrics.md come from that table.
 */
#include "admin_private.h"

#include "process_private.h"
#include "status_private.h"

#include <nearside/admin/docs.h>
#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/fleet.h>
#include <nearside/fleet/home.h>
#include <nearside/fleet/load.h>
#include <nearside/fleet/peers.h>
#include <nearside/loop/loop.h>
#include <nearside/obs/log.h>
#include <nearside/obs/metric_text.h>

#include <stdio.h>
#include <string.h>

/* What one scrape is made of. */
struct scrape {
    struct buf *out;
    struct buf labels;
    const char *name; /* of the family under way */
    struct admin *admin;
    const struct conf *conf;
    const struct fleet_view *view;
    struct admin_cache cache;
    struct process_usage process;
};

struct computed {
    const char *name;
    enum metric_type type;
    const char *labels; /* for the docs; "-": none */
    const char *help;
    void (*write)(struct scrape *scrape);
};

/* ---- samples ---- */

static void sample(struct scrape *scrape, double value)
{
    metric_text_sample(scrape->out, scrape->name,
                       buf_len(&scrape->labels) == 0 ? "" : scrape->labels.data, value);
    buf_clear(&scrape->labels);
}

static void label(struct scrape *scrape, const char *key, const char *value)
{
    metric_text_label(&scrape->labels, key, str_of(value));
}

static void region_sample(struct scrape *scrape, const struct view_region *region, double value)
{
    label(scrape, "region", region->name);
    sample(scrape, value);
}

static double flag(bool on)
{
    return on ? 1.0 : 0.0;
}

/* ---- regions ---- */

static void write_path_latency(struct scrape *scrape)
{
    for (uint32_t i = 0; i < scrape->view->region_count; i++) {
        const struct view_region *region = &scrape->view->regions[i];

        if (region->latency_known) {
            region_sample(scrape, region, region->latency_ms / 1000.0);
        }
    }
}

static void write_region_near(struct scrape *scrape)
{
    for (uint32_t i = 0; i < scrape->view->region_count; i++) {
        region_sample(scrape, &scrape->view->regions[i], flag(scrape->view->regions[i].near));
    }
}

static void write_region_home(struct scrape *scrape)
{
    for (uint32_t i = 0; i < scrape->view->region_count; i++) {
        region_sample(scrape, &scrape->view->regions[i], flag((int)i == scrape->view->home));
    }
}

static void region_state_sample(struct scrape *scrape, const struct view_region *region,
                                const char *word)
{
    label(scrape, "region", region->name);
    label(scrape, "state", word);
    sample(scrape, flag(strcmp(word, status_region_word(region)) == 0));
}

static void write_region_state(struct scrape *scrape)
{
    for (uint32_t i = 0; i < scrape->view->region_count; i++) {
        const struct view_region *region = &scrape->view->regions[i];

        for (unsigned state = 0; state < REGION_STATE_COUNT; state++) {
            region_state_sample(scrape, region, region_state_word((enum region_state)state));
        }
        region_state_sample(scrape, region, "drained");
    }
}

static void write_redis_up(struct scrape *scrape)
{
    for (uint32_t i = 0; i < scrape->view->region_count; i++) {
        const struct view_region *region = &scrape->view->regions[i];

        if (region->conf->redis.url[0] != '\0') {
            region_sample(scrape, region, flag(region->redis_up));
        }
    }
}

static void write_llm_pending(struct scrape *scrape)
{
    for (uint32_t i = 0; i < scrape->view->region_count; i++) {
        const struct view_region *region = &scrape->view->regions[i];

        region_sample(scrape, region, (double)metric_sum(METRIC_PENDING, region->slot, 0, 0));
    }
}

/* ---- load, as pods and exporters tell it ---- */

static void write_region_load(struct scrape *scrape, enum load_signal signal)
{
    const struct admin_source *source = &scrape->admin->source;
    uint64_t now_ns = loop_now_ns(scrape->admin->loop);

    for (uint32_t i = 0; i < scrape->view->region_count; i++) {
        const struct view_region *region = &scrape->view->regions[i];
        struct load load;
        double value;

        load_of_region(source->loads(source->arg), region->slot, now_ns, &load);
        if (load_value(&load, signal, &value)) {
            region_sample(scrape, region, value);
        }
    }
}

static void write_engine_waiting(struct scrape *scrape)
{
    write_region_load(scrape, LOAD_WAITING);
}

static void write_engine_running(struct scrape *scrape)
{
    write_region_load(scrape, LOAD_RUNNING);
}

static void write_engine_kv_cache(struct scrape *scrape)
{
    write_region_load(scrape, LOAD_KV_CACHE);
}

static void write_gpu(struct scrape *scrape)
{
    for (uint32_t i = 0; i < scrape->view->region_count; i++) {
        const struct view_region *region = &scrape->view->regions[i];
        double percent;

        if (admin_gpu_percent(scrape->admin, region, &percent)) {
            region_sample(scrape, region, percent);
        }
    }
}

/* ---- endpoints ---- */

static void endpoint_state_sample(struct scrape *scrape, const struct view_region *region,
                                  const struct view_endpoint *endpoint, const char *word)
{
    label(scrape, "region", region->name);
    label(scrape, "endpoint", endpoint->address);
    label(scrape, "state", word);
    sample(scrape, flag(strcmp(word, status_endpoint_word(endpoint)) == 0));
}

/* Two names of a region may stand for one address: its series is written once. */
static bool is_repeated(const struct view_region *region, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (addr_eq(&region->endpoints[i].addr, &region->endpoints[index].addr)) {
            return true;
        }
    }
    return false;
}

static void write_endpoint_state(struct scrape *scrape)
{
    for (uint32_t r = 0; r < scrape->view->region_count; r++) {
        const struct view_region *region = &scrape->view->regions[r];

        for (uint32_t e = 0; e < region->endpoint_count; e++) {
            if (is_repeated(region, e)) {
                continue;
            }
            for (unsigned state = 0; state < ENDPOINT_STATE_COUNT; state++) {
                endpoint_state_sample(scrape, region, &region->endpoints[e],
                                      endpoint_state_word((enum endpoint_state)state));
            }
            endpoint_state_sample(scrape, region, &region->endpoints[e], "drained");
        }
    }
}

/* ---- certificates ---- */

static void on_certificate(const char *kind, const char *name, int64_t expires_at_s, void *arg)
{
    struct scrape *scrape = arg;

    label(scrape, "kind", kind);
    label(scrape, "name", name);
    sample(scrape, (double)expires_at_s);
}

static void write_certificates(struct scrape *scrape)
{
    const struct admin_source *source = &scrape->admin->source;

    source->certificates(source->arg, on_certificate, scrape);
}

/* ---- cache, config, process ---- */

static void write_cache_bytes(struct scrape *scrape)
{
    sample(scrape, (double)scrape->cache.bytes);
}

static void write_cache_bytes_max(struct scrape *scrape)
{
    sample(scrape, (double)scrape->cache.bytes_max);
}

static void write_cache_entries(struct scrape *scrape)
{
    sample(scrape, (double)scrape->cache.entries);
}

static void write_cache_evictions(struct scrape *scrape)
{
    sample(scrape, (double)scrape->cache.evictions);
}

static void write_peers(struct scrape *scrape)
{
    const struct admin_source *source = &scrape->admin->source;

    sample(scrape, (double)source->peers(source->arg)->count);
}

static void write_suspect(struct scrape *scrape)
{
    const struct admin_source *source = &scrape->admin->source;

    sample(scrape, flag(source->peers(source->arg)->suspect));
}

static void write_generation(struct scrape *scrape)
{
    sample(scrape, (double)scrape->conf->generation);
}

static void write_reload_ok(struct scrape *scrape)
{
    const struct admin_source *source = &scrape->admin->source;

    sample(scrape, flag(source->last_reload(source->arg)->ok));
}

static void write_uptime(struct scrape *scrape)
{
    const struct admin_source *source = &scrape->admin->source;

    sample(scrape, (double)(clock_mono_ns() - source->started_ns(source->arg)) / (double)NS_PER_S);
}

static void write_log_dropped(struct scrape *scrape)
{
    sample(scrape, (double)log_dropped());
}

static void write_build_info(struct scrape *scrape)
{
    label(scrape, "version", NEARSIDE_VERSION);
    sample(scrape, 1.0);
}

static void write_memory(struct scrape *scrape)
{
    sample(scrape, (double)scrape->process.resident_bytes);
}

static void write_cpu(struct scrape *scrape)
{
    sample(scrape, scrape->process.cpu_seconds);
}

static void write_worker_cpu(struct scrape *scrape)
{
    const struct admin_source *source = &scrape->admin->source;

    for (uint32_t i = 0; i < source->workers(source->arg); i++) {
        char index[16];
        (void)snprintf(index, sizeof(index), "%u", i);
        label(scrape, "worker", index);
        sample(scrape, (double)source->worker_cpu_ns(source->arg, i) / (double)NS_PER_S);
    }
}

static void write_open_fds(struct scrape *scrape)
{
    sample(scrape, (double)scrape->process.open_fds);
}

/* ---- the table ---- */

static const struct computed families[] = {
    {"nearside_region_path_latency_seconds", METRIC_GAUGE, "`region`",
     "Network round trip from this edge to the region, without model time. Absent: not known yet.",
     write_path_latency},
    {"nearside_region_state", METRIC_GAUGE, "`region` `state`",
     "1 for the state the region is in: unknown, up, degraded, down or drained; 0 for the others.",
     write_region_state},
    {"nearside_region_near", METRIC_GAUGE, "`region`",
     "1 when the region is near: its path latency is within the budget.", write_region_near},
    {"nearside_region_home", METRIC_GAUGE, "`region`", "1 for the region that new requests prefer.",
     write_region_home},
    {"nearside_endpoint_state", METRIC_GAUGE, "`region` `endpoint` `state`",
     "1 for the state the endpoint is in: unknown, warming, up, down or drained; 0 for the others.",
     write_endpoint_state},
    {"nearside_redis_up", METRIC_GAUGE, "`region`",
     "1 when the region's Redis answers. Absent: none is configured.", write_redis_up},
    {"nearside_engine_waiting_requests", METRIC_GAUGE, "`region`",
     "Requests that wait in the region's engines, as their metrics pages say; of all their "
     "clients. "
     "Absent: not told, or stale.",
     write_engine_waiting},
    {"nearside_engine_running_requests", METRIC_GAUGE, "`region`",
     "Requests that the region's engines work on, likewise.", write_engine_running},
    {"nearside_engine_kv_cache_usage_ratio", METRIC_GAUGE, "`region`",
     "Use of the engines' KV caches, 0 to 1, the mean over them, likewise.", write_engine_kv_cache},
    {"nearside_certificate_expiry_seconds", METRIC_GAUGE, "`kind` `name`",
     "When the certificate expires, seconds since 1970. `kind` is listener, admin or region (shown "
     "to its endpoints), `name` the bind or the region; of several certificates the first to "
     "expire.",
     write_certificates},
    {"nearside_peers", METRIC_GAUGE, "-",
     "Other edges that reported through the regions' Redis within the last 3 seconds.",
     write_peers},
    {"nearside_edge_suspect", METRIC_GAUGE, "-",
     "1 when this edge sees every region down while others do not.", write_suspect},
    {"nearside_cache_bytes", METRIC_GAUGE, "-", "Bytes held by the cache in memory.",
     write_cache_bytes},
    {"nearside_cache_max_bytes", METRIC_GAUGE, "-", "Bytes the cache in memory may hold.",
     write_cache_bytes_max},
    {"nearside_cache_entries", METRIC_GAUGE, "-", "Answers held by the cache in memory.",
     write_cache_entries},
    {"nearside_cache_evictions_total", METRIC_COUNTER, "-",
     "Answers that left the cache in memory for want of room.", write_cache_evictions},
    {"nearside_config_generation", METRIC_GAUGE, "-",
     "Number of the configuration in force: 1 at the start, one more with each reload.",
     write_generation},
    {"nearside_config_last_reload_successful", METRIC_GAUGE, "-",
     "1 when the last attempt to load a configuration succeeded.", write_reload_ok},
    {"nearside_uptime_seconds", METRIC_GAUGE, "-", "Time since the process started.", write_uptime},
    {"nearside_worker_cpu_seconds_total", METRIC_COUNTER, "`worker`",
     "CPU time of a worker's thread. One that takes a second each second has no time left: "
     "requests wait in the kernel, where no other metric sees them.",
     write_worker_cpu},
    {"nearside_log_dropped_total", METRIC_COUNTER, "-",
     "Log lines dropped because they came faster than they could be written.", write_log_dropped},
    {"nearside_build_info", METRIC_GAUGE, "`version`", "1, with the version as a label.",
     write_build_info},
    {"llm_pending_requests", METRIC_GAUGE, "`region`",
     "The same as nearside_pending_requests, under the name autoscalers of LLM servers look for.",
     write_llm_pending},
    {"dcgm_gpu_utilization", METRIC_GAUGE, "`region`",
     "Use of the region's GPUs in percent, the mean over those that exporters and engines tell of. "
     "Absent: not told, or stale.",
     write_gpu},
    {"process_resident_memory_bytes", METRIC_GAUGE, "-", "Resident memory of the process.",
     write_memory},
    {"process_cpu_seconds_total", METRIC_COUNTER, "-", "User and system CPU time spent.",
     write_cpu},
    {"process_open_fds", METRIC_GAUGE, "-", "Open file descriptors.", write_open_fds},
};

void admin_metrics(struct admin *admin, struct buf *out)
{
    struct scrape scrape = {
        .out = out,
        .admin = admin,
        .conf = admin->source.conf(admin->source.arg),
        .view = fleet_view_now(admin->fleet),
    };

    buf_init(&scrape.labels);
    admin->source.cache(admin->source.arg, &scrape.cache);
    process_read_usage(&scrape.process);
    metric_text_families(out);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        scrape.name = families[i].name;
        metric_text_head(out, families[i].name, families[i].type, families[i].help);
        families[i].write(&scrape);
    }
    buf_done(&scrape.labels);
}

void admin_metrics_docs(struct buf *out)
{
    buf_append_str(out, STR_LIT("\nThe following are not counted but computed at each scrape.\n\n"
                                "| name | type | labels | meaning |\n|---|---|---|---|\n"));
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        buf_printf(out, "| `%s` | %s | %s | %s |\n", families[i].name,
                   families[i].type == METRIC_COUNTER ? "counter" : "gauge", families[i].labels,
                   families[i].help);
    }
}
