/* SPDX-License-Identifier: MIT */
/*
 * A reload in two halves. The first builds everything that can fail: the file, certificates, new
 * sockets, log files. Any failure there leaves the old world as it was. The second commits, and
 * cannot fail.
 *
 *   read ─> validate ─> certificates ─> sockets ─> log files ║ commit ─> workers ─> fleet ─> health
 *      any failure: nothing changed, log, metric, page       ║
 */
#include "edge.h"
#include "privilege.h"

#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/cache/cache.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/fleet.h>
#include <nearside/health/health.h>
#include <nearside/net/tls_ctx.h>
#include <nearside/obs/log.h>
#include <nearside/obs/metric.h>
#include <nearside/proxy/world.h>
#include <nearside/trace/trace.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a reload has built and not committed yet. */
struct change {
    struct conf *conf;
    struct world *world;
    struct edge_listener *listeners;
    struct log_change *log;
    struct tls_ctx *admin_tls;
    int admin_fd; /* -1: the admin listener stays, or goes */
    bool admin_moves;
};

static void change_drop(struct change *change)
{
    if (change->listeners != NULL) {
        edge_listeners_free(change->listeners, change->conf->listener_count);
    }
    log_abandon(change->log);
    if (change->admin_fd >= 0) {
        (void)close(change->admin_fd);
    }
    tls_ctx_unref(change->admin_tls);
    world_unref(change->world);
    conf_unref(change->conf);
}

static enum status build_admin(struct edge *edge, struct change *change, struct errbuf *err)
{
    const struct conf_admin *conf = &change->conf->admin;

    if (edge_load_admin_tls(change->conf, &change->admin_tls, err) != STATUS_OK) {
        return STATUS_FAILED;
    }
    change->admin_moves = strcmp(conf->bind, edge->admin_bind) != 0;
    if (!change->admin_moves || conf->bind[0] == '\0') {
        return STATUS_OK;
    }
    if (admin_bind(&conf->addr, admin_socket(edge->admin), &change->admin_fd, err) != STATUS_OK) {
        err_wrap(err, "admin");
        return STATUS_FAILED;
    }
    return STATUS_OK;
}

static bool slot_is_of(unsigned slot, const struct conf *conf)
{
    const char *name = metric_region_name(slot);

    return name != NULL && conf_find_region(conf, str_of(name)) != NULL;
}

/* Counters are kept by region name for the life of the process, in METRIC_REGIONS_MAX slots. */
static enum status check_slots(const struct conf *conf, struct errbuf *err)
{
    uint32_t known = 0;
    uint32_t taken = 0;

    for (unsigned slot = 0; slot < METRIC_REGIONS_MAX; slot++) {
        known += slot_is_of(slot, conf);
        taken += metric_region_name(slot) != NULL;
    }
    if (taken + (conf->region_count - known) > METRIC_REGIONS_MAX) {
        err_set(err,
                "regions: this process has known %u region names; with the new ones there "
                "would be more than %u: restart it",
                taken, METRIC_REGIONS_MAX);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

/* A change of user waits for a restart, which must not fail for it. Without a change nobody is
 * looked up: that may ask a server, and this thread has probes to send. */
static enum status check_user(const struct edge *edge, const struct conf *conf, struct errbuf *err)
{
    const struct conf_edge *running = &edge->begun->edge;
    struct privilege unused;

    if (strcmp(conf->edge.user, running->user) == 0 &&
        strcmp(conf->edge.group, running->group) == 0) {
        return STATUS_OK;
    }
    return privilege_resolve(conf, &unused, err);
}

/* What the config asks for, and may be refused. */
static enum status obtain(struct edge *edge, struct change *change, struct errbuf *err)
{
    struct log_conf log;
    enum status status = check_slots(change->conf, err);

    if (status == STATUS_OK) {
        status = check_user(edge, change->conf, err);
    }
    if (status == STATUS_OK) {
        status = world_new(change->conf, edge->world, &change->world, err);
    }
    if (status == STATUS_OK) {
        status = edge_bind(edge, change->conf, &change->listeners, err);
    }
    if (status == STATUS_OK) {
        status = build_admin(edge, change, err);
    }
    if (status == STATUS_OK) {
        edge_log_conf(change->conf, &log);
        status = log_prepare(&log, &change->log, err);
    }
    return status;
}

static enum status build(struct edge *edge, struct change *change, struct errbuf *err)
{
    enum status status = edge_read_conf(edge->options, &change->conf, err);

    if (status != STATUS_OK) {
        return status;
    }
    status = obtain(edge, change, err);
    if (status != STATUS_OK) {
        edge_name_file(edge->options, err);
    }
    return status;
}

static void commit_admin(struct edge *edge, struct change *change)
{
    const struct conf_admin *conf = &change->conf->admin;

    admin_set_tls(edge->admin, change->admin_tls, conf->tls.api_client_ca[0] != '\0');
    tls_ctx_unref(edge->admin_tls);
    edge->admin_tls = change->admin_tls;
    if (change->admin_moves) {
        admin_serve(edge->admin, change->admin_fd, conf->token, addr_is_loopback(&conf->addr));
        change->admin_fd = -1;
        mem_free(edge->admin_bind);
        edge->admin_bind = mem_strdup(conf->bind);
    } else {
        admin_set_token(edge->admin, conf->token);
    }
}

/* From here on nothing can fail. The workers get the world before the view that may need it. */
static void commit(struct edge *edge, struct change *change)
{
    struct conf *old_conf = edge->conf;
    struct world *old_world = edge->world;

    change->conf->generation = old_conf->generation + 1;
    log_commit(change->log);
    edge->conf = change->conf;
    edge->world = change->world;
    for (uint32_t i = 0; i < edge->worker_count; i++) {
        worker_send_world(edge->workers[i], edge->world);
    }
    edge_listeners_commit(edge, change->listeners, edge->conf->listener_count);
    cache_set_grace(edge->cache, edge->conf->cache.grace_s * 1000ULL);
    fleet_apply(edge->fleet, edge->conf);
    health_apply(edge->health, edge->conf, edge->world->region_tls);
    cache_resize(edge->cache, edge->conf->cache.enabled ? edge->conf->cache.memory_bytes : 0);
    trace_apply(edge->trace, edge->conf);
    commit_admin(edge, change);
    edge_warn_restart(edge);
    edge_warn_certificates(edge);
    edge_warn_unverified(edge);
    world_unref(old_world);
    conf_unref(old_conf);
}

static bool reload(struct edge *edge)
{
    struct change change = {.admin_fd = -1};
    struct errbuf err = {.text = ""};
    bool ok;

    if (edge->draining) {
        err_set(&err, "draining: the process is about to end");
        ok = false;
    } else if (upgrade_is_under_way(edge)) {
        err_set(&err, "an upgrade of the program is under way; the new one reads the file anyway");
        ok = false;
    } else {
        ok = build(edge, &change, &err) == STATUS_OK;
    }
    edge->last_reload = (struct admin_reload){.ok = ok, .wall_ms = clock_wall_ms()};
    metric_inc(edge->metrics, METRIC_RELOADS, ok ? METRIC_SUCCESS : METRIC_FAILURE);
    if (!ok) {
        char quoted[1024];
        (void)snprintf(edge->last_reload.error, sizeof(edge->last_reload.error), "%s", err.text);
        log_warn("reload_failed", "error=\"%s\"",
                 log_quote(str_of(err.text), quoted, sizeof(quoted)));
        fleet_note(edge->fleet, "reload", "", "", "failed", err.text);
        change_drop(&change);
        return false;
    }
    commit(edge, &change);
    log_info("reloaded", "generation=%llu regions=%u", (unsigned long long)edge->conf->generation,
             edge->conf->region_count);
    fleet_note(edge->fleet, "reload", "", "", "ok", "");
    return true;
}

bool edge_reload(struct edge *edge)
{
    bool serves = edge->doors_open && !edge->draining;
    bool ok;

    if (serves) {
        service_reloading();
    }
    ok = reload(edge);
    if (serves) {
        service_serving(edge);
    }
    return ok;
}
