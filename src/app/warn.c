/* SPDX-License-Identifier: MIT */
/* What is allowed, but that an operator should know: each is a line in the log, and no more. */
#include "edge.h"

#include <nearside/conf/tree.h>
#include <nearside/obs/log.h>

#include <string.h>
#include <unistd.h>

static void warn_unreadable(const char *what, const char *path)
{
    if (path[0] != '\0' && access(path, R_OK) != 0) {
        log_warn("reload_will_fail", "%s=%s what=\"edge.user cannot read it\"", what, path);
    }
}

/* What was read as root and will be read again by edge.user, at a reload. */
void edge_warn_rights(const struct edge *edge)
{
    const struct conf *conf = edge->conf;

    if (conf->edge.user[0] == '\0' && geteuid() == 0) {
        log_info("running_as_root", "what=\"edge.user names a user to become\"");
    }
    warn_unreadable("config", conf->path);
    warn_unreadable("key", conf->admin.tls.key);
    for (uint32_t i = 0; i < conf->listener_count; i++) {
        for (uint32_t c = 0; c < conf->listeners[i].tls.certificate_count; c++) {
            warn_unreadable("certificate", conf->listeners[i].tls.certificates[c].certificate);
            warn_unreadable("key", conf->listeners[i].tls.certificates[c].key);
        }
    }
    for (uint32_t i = 0; i < conf->region_count; i++) {
        warn_unreadable("ca", conf->regions[i].tls.ca);
        warn_unreadable("key", conf->regions[i].tls.key);
    }
}

/* A connection that is served takes two: the client's and the endpoint's. */
void edge_warn_descriptors(const struct edge *edge)
{
    const struct conf_limits *limits = &edge->conf->limits;
    uint64_t wanted = limits->max_connections + (uint64_t)limits->reserve_descriptors;

    if (edge->shared.descriptors != 0 && edge->shared.descriptors < wanted) {
        log_warn("descriptors_few",
                 "limit=%u max_connections=%u reserve=%u what=\"clients are refused before "
                 "max_connections is reached; raise the limit (ulimit -n, LimitNOFILE)\"",
                 edge->shared.descriptors, limits->max_connections, limits->reserve_descriptors);
    }
}

void edge_warn_unverified(const struct edge *edge)
{
    for (uint32_t i = 0; i < edge->conf->region_count; i++) {
        if (!edge->conf->regions[i].tls.verify) {
            log_warn("tls_unverified",
                     "region=%s what=\"tls.verify = false: anyone on the way can read and change "
                     "what goes to this region\"",
                     edge->conf->regions[i].name);
        }
    }
}

static void warn_text(const char *key, const char *running, const char *asked)
{
    if (strcmp(running, asked) != 0) {
        log_warn("reload_needs_restart", "key=%s running=\"%s\" asked=\"%s\"", key, running, asked);
    }
}

void edge_warn_restart(const struct edge *edge)
{
    const struct conf_edge *running = &edge->begun->edge;
    const struct conf_edge *asked = &edge->conf->edge;

    if (asked->workers != edge->worker_count) {
        log_warn("reload_needs_restart", "key=edge.workers running=%u asked=%u", edge->worker_count,
                 asked->workers);
    }
    warn_text("edge.user", running->user, asked->user);
    warn_text("edge.group", running->group, asked->group);
    warn_text("edge.core_dumps", running->core_dumps ? "true" : "false",
              asked->core_dumps ? "true" : "false");
}
