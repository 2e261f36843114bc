/* SPDX-License-Identifier: MIT */
/*
 * Build the edge floor by floor, run it, and take it down again in the reverse order.
 */
#include "crash.h"
#include "edge.h"
#include "privilege.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/cache/cache.h>
#include <nearside/cache/form.h>
#include <nearside/conf/parse.h>
#include <nearside/conf/tree.h>
#include <nearside/dns/resolver.h>
#include <nearside/fleet/fleet.h>
#include <nearside/health/health.h>
#include <nearside/kv/kv.h>
#include <nearside/net/tls_ctx.h>
#include <nearside/obs/log.h>
#include <nearside/proxy/explain.h>
#include <nearside/proxy/world.h>
#include <nearside/trace/trace.h>

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum status edge_read_conf(const struct options *options, struct conf **ret_conf,
                           struct errbuf *err)
{
    if (options->file != NULL) {
        return conf_read_file(options->file, ret_conf, err);
    }
    return conf_from_args(options->region_count, options->regions, ret_conf, err);
}

void edge_name_file(const struct options *options, struct errbuf *err)
{
    if (options->file != NULL) {
        err_wrap(err, "%s", options->file);
    }
}

void edge_log_conf(const struct conf *conf, struct log_conf *ret_log)
{
    static const struct {
        const char *word;
        enum log_level level;
    } levels[] = {
        {"error", LOG_LEVEL_ERROR},
        {"warn", LOG_LEVEL_WARN},
        {"info", LOG_LEVEL_INFO},
        {"debug", LOG_LEVEL_DEBUG},
    };

    *ret_log = (struct log_conf){
        .level = LOG_LEVEL_INFO,
        .format = strcmp(conf->log.format, "text") == 0 ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON,
        .file = conf->log.file,
        .access_file = conf->log.access_file,
        .edge_id = conf->edge.id,
    };
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (strcmp(levels[i].word, conf->log.level) == 0) {
            ret_log->level = levels[i].level;
        }
    }
}

/* ---- what others call ---- */

static void on_view(struct fleet_view *view, void *arg)
{
    struct edge *edge = OBJ_CAST(arg, edge, EDGE_MAGIC);

    for (uint32_t i = 0; i < edge->worker_count; i++) {
        if (edge->workers[i] != NULL) {
            worker_send_view(edge->workers[i], view);
        }
    }
    edge_open_when_known(edge, view);
}

/* Workers are told by each other; none is freed before all have ended. */
static void on_room(unsigned index, void *arg)
{
    struct edge *edge = OBJ_CAST(arg, edge, EDGE_MAGIC);

    for (uint32_t i = 0; i < edge->worker_count; i++) {
        if (i != index && edge->workers[i] != NULL) {
            worker_wake_queue(edge->workers[i]);
        }
    }
}

/* ---- building ---- */

/* As many descriptors as the process may have; returns their number, 0: no limit. */
static unsigned raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= UINT32_MAX) {
        return 0;
    }
    return (unsigned)limit.rlim_cur;
}

static enum status start_workers(struct edge *edge, struct errbuf *err)
{
    struct worker_deps deps = {
        .cache = edge->cache,
        .health = edge->health,
        .trace = edge->trace,
        .shared = &edge->shared,
        .worker_count = edge->worker_count,
        .control = edge->loop,
        .drained = edge_on_drained,
        .wake_queues = on_room,
        .arg = edge,
    };
    sigset_t all;
    sigset_t before;
    enum status status = STATUS_OK;

    /* Signals are the control thread's. */
    (void)sigfillset(&all);
    crash_leave_open(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    for (uint32_t i = 0; i < edge->worker_count && status == STATUS_OK; i++) {
        edge->workers[i] = worker_new(i, &deps, edge->world, fleet_view_now(edge->fleet));
        status = worker_start(edge->workers[i], err);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

/* What may take root: ports, certificates. */
static enum status start_privileged(struct edge *edge, struct errbuf *err)
{
    const struct conf_admin *admin = &edge->conf->admin;
    struct edge_listener *listeners;

    if (world_new(edge->conf, NULL, &edge->world, err) != STATUS_OK ||
        edge_load_admin_tls(edge->conf, &edge->admin_tls, err) != STATUS_OK ||
        edge_bind(edge, edge->conf, &listeners, err) != STATUS_OK) {
        return STATUS_FAILED;
    }
    edge_listeners_commit(edge, listeners, edge->conf->listener_count);
    return admin->bind[0] == '\0' ? STATUS_OK : edge_bind_admin(edge, &edge->admin_fd, err);
}

/* The parts that may refuse: certificates, ports, rights, files. Log files are opened by the user
 * that will have to open them again. */
static enum status start_fallible(struct edge *edge, struct errbuf *err)
{
    struct privilege privilege;
    struct log_conf log;
    enum status status = privilege_resolve(edge->conf, &privilege, err);

    if (status != STATUS_OK) {
        return status;
    }
    privilege_lock();
    if (start_privileged(edge, err) != STATUS_OK ||
        privilege_drop(&privilege, edge->conf->edge.core_dumps, err) != STATUS_OK) {
        return STATUS_FAILED;
    }
    edge_log_conf(edge->conf, &log);
    if (log_start(&log, err) != STATUS_OK ||
        resolver_new(edge->loop, &edge->resolver, err) != STATUS_OK) {
        return STATUS_FAILED;
    }
    return STATUS_OK;
}

/* Drains hold from the first view on. */
static void restore_drains(struct edge *edge)
{
    for (uint32_t i = 0; i < edge->inheritance->count; i++) {
        const struct inherited *item = &edge->inheritance->items[i];
        struct str text = str_of(item->text);
        size_t space = str_find_char(text, ' ');
        if (item->kind == INHERITED_DRAIN) {
            fleet_remember_drain(edge->fleet, str_eq(str_slice(text, 0, space), STR_LIT("region")),
                                 str_slice(text, space + 1, text.len), true);
        }
    }
}

static bool was_warm(const char *region, const char *address, void *arg)
{
    const struct inheritance *inheritance = arg;
    char *text = mem_printf("%s %s", region, address);
    bool found = false;

    for (uint32_t i = 0; i < inheritance->count && !found; i++) {
        found = inheritance->items[i].kind == INHERITED_WARM &&
                str_eq(str_of(inheritance->items[i].text), str_of(text));
    }
    mem_free(text);
    return found;
}

static void start_fleet(struct edge *edge)
{
    edge->fleet = fleet_new(edge->loop, on_view, edge);
    restore_drains(edge);
    fleet_apply(edge->fleet, edge->conf);
    edge->health = health_new(edge->loop, edge->fleet, edge->resolver, edge->metrics);
    health_when_shared(edge->health, edge_on_shared_read, edge);
    health_know_warm(edge->health, was_warm, edge->inheritance);
}

enum status edge_start(struct edge *edge, const struct options *options, struct conf *conf,
                       struct inheritance *inheritance, struct errbuf *err)
{
    enum status status;

    *edge = (struct edge){
        .magic = EDGE_MAGIC, .options = options, .inheritance = inheritance, .admin_fd = -1};
    edge->conf = conf_ref(conf);
    edge->conf->generation = 1;
    edge->begun = conf_ref(conf);
    edge->program = launch_program(options->argv[0]);
    edge->started_wall_ms = clock_wall_ms();
    edge->started_ns = clock_mono_ns();
    edge->last_reload = (struct admin_reload){.ok = true, .wall_ms = edge->started_wall_ms};
    crash_report_on_stderr();
    form_setup();
    proxy_shared_init(&edge->shared, raise_descriptor_limit());
    edge->loop = loop_new("control");
    edge->metrics = metric_block_new();
    deadline_init(&edge->open_deadline, edge->loop, edge_on_open_deadline, edge);
    deadline_init(&edge->drain_deadline, edge->loop, edge_on_drain_deadline, edge);
    deadline_init(&edge->trim_deadline, edge->loop, edge_on_trim_tick, edge);
    upgrade_init(edge);
    service_init(edge);
    edge->worker_count = conf->edge.workers;
    edge->workers = mem_new_array(edge->worker_count, struct worker *);
    status = start_fallible(edge, err);
    if (status != STATUS_OK) {
        edge_name_file(options, err);
        return status;
    }
    edge->cache = cache_new(conf->cache.enabled ? conf->cache.memory_bytes : 0);
    cache_set_grace(edge->cache, conf->cache.grace_s * 1000ULL);
    edge->trace = trace_new(edge->loop, edge->resolver, edge->metrics);
    trace_apply(edge->trace, edge->conf);
    start_fleet(edge);
    successor_start(edge);
    edge_start_admin(edge);
    if (start_workers(edge, err) != STATUS_OK) {
        return STATUS_FAILED;
    }
    health_apply(edge->health, edge->conf, edge->world->region_tls);
    signals_start(edge);
    deadline_set_in_ms(&edge->open_deadline, EDGE_OPEN_MS);
    edge_trim_start(edge);
    log_info("started", "version=%s workers=%u regions=%u config=\"%s\"", NEARSIDE_VERSION,
             edge->worker_count, edge->conf->region_count, edge->conf->path);
    edge_warn_certificates(edge);
    edge_warn_unverified(edge);
    edge_warn_descriptors(edge);
    edge_warn_rights(edge);
    service_start(edge);
    fleet_note(edge->fleet, "start", "", "", NEARSIDE_VERSION, "");
    return STATUS_OK;
}

enum status edge_run(struct edge *edge)
{
    loop_run(edge->loop);
    return edge->doors_open || edge->draining ? STATUS_OK : STATUS_FAILED;
}

static void on_last_message(struct loop_message *message, void *arg)
{
    mem_free(message);
    loop_stop(arg);
}

/* What the workers told before they ended is heard while those it is for still live. */
static void hear_the_rest(struct edge *edge)
{
    loop_post(edge->loop, mem_new(struct loop_message), on_last_message, edge->loop);
    loop_run(edge->loop);
}

static void end_workers(struct edge *edge)
{
    /* The loop turns a few times more, and these speak to workers. */
    deadline_cancel(&edge->watchdog);
    deadline_cancel(&edge->open_deadline);
    deadline_cancel(&edge->drain_deadline);
    deadline_cancel(&edge->upgrade.deadline);
    upgrade_deaf(edge);
    for (uint32_t i = 0; i < edge->worker_count; i++) {
        if (edge->workers[i] != NULL) {
            worker_stop(edge->workers[i]);
        }
    }
    hear_the_rest(edge);
    for (uint32_t i = 0; i < edge->worker_count; i++) {
        if (edge->workers[i] != NULL) {
            worker_free(edge->workers[i]);
            edge->workers[i] = NULL; /* a view may still be published */
        }
    }
    hear_the_rest(edge);
}

void edge_free(struct edge *edge)
{
    bool ran = signals_stop(edge);

    end_workers(edge);
    admin_free(edge->admin);
    health_free(edge->health);
    trace_free(edge->trace);
    fleet_free(edge->fleet);
    resolver_free(edge->resolver);
    edge_listeners_free(edge->listeners, edge->listener_count);
    if (edge->admin_fd >= 0) {
        (void)close(edge->admin_fd);
    }
    upgrade_done(edge);
    deadline_done(&edge->watchdog);
    deadline_done(&edge->open_deadline);
    deadline_done(&edge->drain_deadline);
    deadline_done(&edge->trim_deadline);
    loop_free(edge->loop);
    cache_free(edge->cache);
    proxy_shared_done(&edge->shared);
    mem_free(edge->workers);
    mem_free(edge->admin_bind);
    mem_free(edge->program);
    tls_ctx_unref(edge->admin_tls);
    world_unref(edge->world);
    conf_unref(edge->begun);
    conf_unref(edge->conf);
    if (ran) {
        log_info("stopped", "version=%s", NEARSIDE_VERSION);
    }
    log_stop();
}
