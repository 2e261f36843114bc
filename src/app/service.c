/* SPDX-License-Identifier: MIT */
/*
 * What the service manager is told, when: ready once clients are accepted, reloading, stopping, the
 * new main process after an upgrade. The watchdog is fed only while every worker turns: a worker
 * that hangs holds its clients for ever, and nobody else would notice.
 */
#include "edge.h"
#include "notify.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>
#include <nearside/obs/log.h>

/* Fed this often within the time that the manager waits. */
#define WATCHDOG_SHARE 3

static bool all_turn(struct edge *edge)
{
    bool all = true;

    for (uint32_t i = 0; i < edge->worker_count; i++) {
        if (!worker_turns(edge->workers[i])) {
            log_error("worker_stuck", "worker=%u watchdog_ms=%llu", i,
                      (unsigned long long)(edge->watchdog_us / 1000));
            all = false;
        }
    }
    return all;
}

static void on_watchdog(struct deadline *deadline, void *arg)
{
    struct edge *edge = OBJ_CAST(arg, edge, EDGE_MAGIC);

    if (!successor_stands_by(edge) && all_turn(edge)) { /* the old process feeds until then */
        (void)notify_send("WATCHDOG=1"); /* what is not taken is missed, and acted on */
    }
    deadline_set_ns(deadline, loop_now_ns(edge->loop) + edge->watchdog_us * 1000 / WATCHDOG_SHARE);
}

void service_init(struct edge *edge)
{
    deadline_init(&edge->watchdog, edge->loop, on_watchdog, edge);
}

void service_start(struct edge *edge)
{
    edge->watchdog_us = notify_watchdog_us();
    if (edge->watchdog_us > 0) {
        deadline_set_in_ms(&edge->watchdog, 0);
    }
}

void service_serving(const struct edge *edge)
{
    if (!notify_send("READY=1\nSTATUS=%u regions, config generation %llu%s",
                     edge->conf->region_count, (unsigned long long)edge->conf->generation,
                     edge->last_reload.ok ? "" : "; the last reload failed, see the log")) {
        log_warn("notify_failed", "what=ready");
    }
}

void service_reloading(void)
{
    (void)notify_send("RELOADING=1\nMONOTONIC_USEC=%llu",
                      (unsigned long long)(clock_mono_ns() / 1000));
}

void service_stopping(const struct edge *edge)
{
    if (successor_stands_by(edge)) {
        return; /* the service goes on in the old process */
    }
    (void)notify_send("STOPPING=1\nSTATUS=requests in flight finish");
}

void service_replaced(pid_t successor)
{
    if (!notify_send("MAINPID=%d", (int)successor)) {
        log_warn("notify_failed", "what=main_pid");
    }
}
