/* SPDX-License-Identifier: MIT */
/*
 * The end: readiness fails, workers stop accepting and let requests finish for
 * edge.drain_timeout_s; then whatever is left is ended. A second signal ends at once. After an
 * upgrade the same, but that another process accepts.
 */
#include "edge.h"

#include <nearside/base/assert.h>
#include <nearside/conf/tree.h>
#include <nearside/health/health.h>
#include <nearside/obs/log.h>

void edge_drain(struct edge *edge)
{
    uint32_t timeout_s = edge->conf->edge.drain_timeout_s;

    if (edge->told_to_stop) {
        log_warn("stopping_now", "why=second_signal");
        loop_stop(edge->loop);
        return;
    }
    edge->told_to_stop = true;
    if (edge->draining) {
        log_info("draining", "what=\"it was replaced, and ends with its last request\"");
        return;
    }
    edge->draining = true;
    log_info("draining", "timeout_s=%u", timeout_s);
    service_stopping(edge);
    upgrade_abandon(edge);
    edge_listeners_close(edge);
    deadline_cancel(&edge->open_deadline);
    for (uint32_t i = 0; i < edge->worker_count; i++) {
        worker_send_drain(edge->workers[i]);
    }
    deadline_set_in_ms(&edge->drain_deadline, timeout_s * 1000ULL);
}

void edge_hand_over(struct edge *edge)
{
    uint32_t timeout_s = edge->conf->edge.drain_timeout_s;

    edge->draining = true;
    admin_serve(edge->admin, -1, "", false);
    health_set_silent(edge->health, true);
    edge_listeners_close(edge);
    for (uint32_t i = 0; i < edge->worker_count; i++) {
        worker_send_hand_over(edge->workers[i]);
    }
    deadline_set_in_ms(&edge->drain_deadline, timeout_s * 1000ULL);
    log_info("handed_over", "pid=%d timeout_s=%u", (int)edge->upgrade.successor, timeout_s);
}

void edge_on_drain_deadline(struct deadline *deadline, void *arg)
{
    struct edge *edge = OBJ_CAST(arg, edge, EDGE_MAGIC);

    (void)deadline;
    log_warn("drain_timeout", "timeout_s=%u", edge->conf->edge.drain_timeout_s);
    loop_stop(edge->loop);
}

void edge_on_drained(void *arg)
{
    struct edge *edge = OBJ_CAST(arg, edge, EDGE_MAGIC);

    edge->drained_workers++;
    if (edge->drained_workers == edge->worker_count && edge->draining) {
        loop_stop(edge->loop);
    }
}
