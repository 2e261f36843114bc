/* SPDX-License-Identifier: MIT */
/*
 * An upgrade, the new program's half: start with what was inherited, prove to be ready, take over.
 *
 * Happy path:
 *   1. Start like any other, but accept nobody and stay silent towards other edges.
 *   2. When every endpoint has a verdict, or EDGE_OPEN_MS is over: "ready N"; again when N changes.
 *   3. On "go" accept clients, serve the admin page, say "open".
 *   4. When the channel closes, the old process has let its last request finish.
 *
 * If the channel closes before "go", the old process has died: somebody must serve, so this one
 * does. If there is no word in time, it ends: the old process may well be alive.
 */
#include "edge.h"

#include <nearside/base/assert.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/fleet.h>
#include <nearside/health/health.h>
#include <nearside/obs/log.h>

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static void take_over(struct edge *edge, const char *why)
{
    upgrade_move(edge, UPGRADE_NONE);
    deadline_cancel(&edge->open_deadline);
    health_set_silent(edge->health, false);
    edge_open(edge);
    log_info("took_over", "pid=%d version=%s why=%s", (int)getpid(), NEARSIDE_VERSION, why);
    upgrade_note(edge, true, "");
}

static void on_channel_closed(struct edge *edge)
{
    upgrade_channel_close(&edge->upgrade.elder);
    if (successor_stands_by(edge) && !edge->draining) {
        log_warn("predecessor_died", "serving=now");
        take_over(edge, "predecessor_died");
    } else {
        log_info("predecessor_ended", "version=%s", NEARSIDE_VERSION);
    }
}

static void on_channel(struct watch *watch, unsigned events, void *arg)
{
    struct edge *edge = OBJ_CAST(arg, edge, EDGE_MAGIC);
    char text[16];
    ssize_t len = recv(edge->upgrade.elder.fd, text, sizeof(text), MSG_DONTWAIT);

    (void)watch;
    (void)events;
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (len <= 0) {
        on_channel_closed(edge);
    } else if (edge->upgrade.state == UPGRADE_READY && !edge->draining &&
               str_eq(str_make(text, (size_t)len), STR_LIT("go"))) {
        take_over(edge, "asked");
        (void)upgrade_say(&edge->upgrade.elder,
                          "open"); /* not heard: the old process is gone, and its end seen */
    }
}

bool successor_stands_by(const struct edge *edge)
{
    return edge->upgrade.state == UPGRADE_STANDBY || edge->upgrade.state == UPGRADE_READY;
}

void successor_start(struct edge *edge)
{
    if (edge->upgrade.elder.fd < 0) {
        return;
    }
    upgrade_move(edge, UPGRADE_STANDBY);
    health_set_silent(edge->health, true);
    edge->upgrade.elder.watch =
        watch_level(edge->loop, edge->upgrade.elder.fd, WATCH_READ, on_channel, edge);
}

void successor_tell(struct edge *edge)
{
    uint32_t reached = upgrade_regions_reached(edge);

    if (edge->upgrade.state == UPGRADE_READY && reached == edge->upgrade.regions_told) {
        return;
    }
    if (edge->upgrade.state == UPGRADE_STANDBY) {
        upgrade_move(edge, UPGRADE_READY);
    }
    edge->upgrade.regions_told = reached;
    log_info("upgrade_ready", "regions=%u", reached);
    (void)upgrade_say(&edge->upgrade.elder, "ready %u",
                      reached); /* the channel's end says if nobody listens */
}
