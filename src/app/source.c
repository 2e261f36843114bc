/* SPDX-License-Identifier: MIT */
/*
 * The admin listener: its socket and start, and what it asks the process for (struct
 * admin_source). All of that runs on the control thread, so it reads the edge as it is.
 */
#include "edge.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>
#include <nearside/cache/cache.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/fleet.h>
#include <nearside/health/health.h>
#include <nearside/kv/kv.h>
#include <nearside/proxy/explain.h>

static struct conf *source_conf(void *arg)
{
    return ((struct edge *)arg)->conf;
}

static const struct admin_reload *source_last_reload(void *arg)
{
    return &((struct edge *)arg)->last_reload;
}

static const struct admin_reload *source_last_upgrade(void *arg)
{
    const struct upgrade *upgrade = &((struct edge *)arg)->upgrade;

    return upgrade->tried ? &upgrade->last : NULL;
}

static void source_cache(void *arg, struct admin_cache *ret_cache)
{
    struct cache_stats stats;

    cache_stats(((struct edge *)arg)->cache, &stats);
    *ret_cache = (struct admin_cache){
        .bytes = stats.bytes,
        .bytes_max = stats.bytes_max,
        .entries = stats.entries,
        .evictions = stats.evictions,
    };
}

/* What cannot be asked for is worse than what cannot be stored. */
static void source_redis(void *arg, unsigned region_slot, struct admin_redis *ret_redis)
{
    const struct cache *cache = ((struct edge *)arg)->cache;
    enum kv_error get = cache_redis_error(cache, region_slot, CACHE_REDIS_GET);
    enum kv_error set = cache_redis_error(cache, region_slot, CACHE_REDIS_SET);
    enum kv_error error = get != KV_ERROR_NONE ? get : set;

    if (error == KV_ERROR_NONE) {
        *ret_redis = (struct admin_redis){.error = NULL};
        return;
    }
    *ret_redis = (struct admin_redis){
        .error = kv_error_word(error),
        .command = error == get ? "get" : "set",
        .advice = kv_error_advice(error),
    };
}

static bool source_is_draining(void *arg)
{
    return ((struct edge *)arg)->draining;
}

static uint32_t source_workers(void *arg)
{
    return ((struct edge *)arg)->worker_count;
}

static uint64_t source_worker_cpu_ns(void *arg, uint32_t index)
{
    return worker_cpu_ns(((struct edge *)arg)->workers[index]);
}

static uint64_t source_started(void *arg)
{
    return ((struct edge *)arg)->started_wall_ms;
}

static uint64_t source_started_ns(void *arg)
{
    return ((struct edge *)arg)->started_ns;
}

static bool source_reload(void *arg)
{
    return edge_reload(OBJ_CAST(arg, edge, EDGE_MAGIC));
}

static void source_purge(void *arg, bool redis)
{
    struct edge *edge = OBJ_CAST(arg, edge, EDGE_MAGIC);
    struct fleet_view *view = fleet_view_now(edge->fleet);

    if (!redis) {
        cache_purge(edge->cache);
        return;
    }
    cache_purge_all(edge->cache);
    if (edge->workers[0] == NULL) {
        return; /* the process is ending */
    }
    for (uint32_t i = 0; i < view->region_count; i++) {
        if (view->regions[i].conf->redis.url[0] != '\0') {
            worker_send_purge_redis(edge->workers[0], view->regions[i].slot);
        }
    }
}

static const struct peers *source_peers(void *arg)
{
    return health_peers(((struct edge *)arg)->health);
}

static const struct load_reports *source_loads(void *arg)
{
    return health_loads(((struct edge *)arg)->health);
}

/* Ids may repeat, also over workers: the newest is meant. */
static bool source_explain(void *arg, struct str id, struct buf *out)
{
    struct edge *edge = OBJ_CAST(arg, edge, EDGE_MAGIC);
    struct explain_record newest = {.started_wall_ms = 0};
    struct explain_record record;
    bool found = false;

    for (uint32_t i = 0; i < edge->worker_count; i++) {
        if (edge->workers[i] != NULL && worker_explain(edge->workers[i], id, &record) &&
            record.started_wall_ms >= newest.started_wall_ms) {
            newest = record;
            found = true;
        }
    }
    if (found) {
        explain_write_json(&newest, out);
    }
    return found;
}

/* ---- the listener ---- */

enum status edge_bind_admin(struct edge *edge, int *ret_fd, struct errbuf *err)
{
    const struct conf_admin *conf = &edge->conf->admin;
    uint32_t count;
    int *sockets;

    if (inheritance_take(edge->inheritance, INHERITED_ADMIN, conf->bind, &sockets, &count)) {
        *ret_fd = sockets[0];
        mem_free(sockets);
        return STATUS_OK;
    }
    /* Left under another `bind`: the old program closes it when this one takes over. */
    if (admin_bind(&conf->addr, inheritance_peek(edge->inheritance, INHERITED_ADMIN), ret_fd,
                   err) != STATUS_OK) {
        err_wrap(err, "admin");
        return STATUS_FAILED;
    }
    return STATUS_OK;
}

void edge_serve_admin(struct edge *edge)
{
    const struct conf_admin *conf = &edge->conf->admin;

    /* Until it hands over, the old program's page stays. */
    if (edge->admin_fd >= 0 && !successor_stands_by(edge)) {
        admin_serve(edge->admin, edge->admin_fd, conf->token, addr_is_loopback(&conf->addr));
        edge->admin_fd = -1;
    }
}

void edge_start_admin(struct edge *edge)
{
    struct admin_source source = {
        .arg = edge,
        .metrics = edge->metrics,
        .conf = source_conf,
        .last_reload = source_last_reload,
        .last_upgrade = source_last_upgrade,
        .cache = source_cache,
        .redis = source_redis,
        .is_draining = source_is_draining,
        .workers = source_workers,
        .worker_cpu_ns = source_worker_cpu_ns,
        .started_wall_ms = source_started,
        .started_ns = source_started_ns,
        .reload = source_reload,
        .purge = source_purge,
        .explain = source_explain,
        .peers = source_peers,
        .loads = source_loads,
        .certificates = edge_certificates,
    };
    const struct conf_admin *conf = &edge->conf->admin;

    edge->admin = admin_new(edge->loop, edge->fleet, &source);
    admin_set_tls(edge->admin, edge->admin_tls, conf->tls.api_client_ca[0] != '\0');
    edge->admin_bind = mem_strdup(conf->bind);
    edge_serve_admin(edge);
}
