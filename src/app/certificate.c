/* SPDX-License-Identifier: MIT */
/* The certificates that this edge shows: to clients, to operators, to endpoints; and their ends. */
#include "edge.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>
#include <nearside/net/tls_ctx.h>
#include <nearside/obs/log.h>
#include <nearside/proxy/world.h>

#define WARN_DAYS     14
#define SECONDS_A_DAY 86400

enum status edge_load_admin_tls(const struct conf *conf, struct tls_ctx **ret_tls,
                                struct errbuf *err)
{
    if (conf->admin.bind[0] == '\0' || conf->admin.tls.certificate[0] == '\0') {
        *ret_tls = NULL;
        return STATUS_OK;
    }
    if (tls_ctx_new_admin(&conf->admin.tls, ret_tls, err) != STATUS_OK) {
        err_wrap(err, "admin %s", conf->admin.bind);
        return STATUS_FAILED;
    }
    return STATUS_OK;
}

static void tell(const struct tls_ctx *tls, const char *kind, const char *name,
                 admin_certificate_fn each, void *each_arg)
{
    if (tls != NULL && tls_ctx_expires_at(tls) != 0) {
        each(kind, name, tls_ctx_expires_at(tls), each_arg);
    }
}

void edge_certificates(void *arg, admin_certificate_fn each, void *each_arg)
{
    const struct edge *edge = OBJ_CAST(arg, edge, EDGE_MAGIC);
    const struct conf *conf = edge->conf;

    for (uint32_t i = 0; i < conf->listener_count; i++) {
        tell(edge->world->listener_tls[i], "listener", conf->listeners[i].bind, each, each_arg);
    }
    tell(edge->admin_tls, "admin", conf->admin.bind, each, each_arg);
    for (uint32_t i = 0; i < conf->region_count; i++) {
        tell(edge->world->region_tls[i], "region", conf->regions[i].name, each, each_arg);
    }
}

static void warn(const char *kind, const char *name, int64_t expires_at_s, void *arg)
{
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    int64_t days = (expires_at_s - now_s) / SECONDS_A_DAY;

    (void)arg;
    if (expires_at_s <= now_s) {
        log_error("certificate_expired", "kind=%s name=%s days_ago=%lld", kind, name,
                  (long long)-days);
    } else if (days < WARN_DAYS) {
        log_warn("certificate_expires", "kind=%s name=%s days=%lld", kind, name, (long long)days);
    }
}

void edge_warn_certificates(struct edge *edge)
{
    edge_certificates(edge, warn, NULL);
}
