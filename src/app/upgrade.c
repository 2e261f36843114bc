/* SPDX-License-Identifier: MIT */
/*
 * SIGUSR2, the old program's half: start the program file as it is now, leave it the listening
 * sockets, and go once it serves.
 *
 * Happy path:
 *   1. Start the program, with what it inherits (launch.c).
 *   2. It reads its config, starts workers and probes, and says "ready N": it reaches N regions.
 *   3. If that is good enough, answer "go". It accepts clients, and says "open".
 *   4. Hand over: stop accepting, let requests finish for edge.drain_timeout_s, end.
 * Between 3 and 4 both accept from the same sockets, so no connection is refused or reset. The new
 * program may be replaced in its turn while this one still lets requests finish: when it ends in
 * order it says so (UPGRADE_STOPPED), and its end is then none of this one's business.
 *
 * It can fail by: the program file cannot be run, the new process ends (bad config, old file, bad
 * certificate), it reaches none of the regions that are reached here, the deadline. Each is one
 * call of fail(): the new process is ended, log, metric, event; this one was in service all along.
 */
#include "edge.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/fleet.h>
#include <nearside/obs/log.h>
#include <nearside/obs/metric.h>

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHANNEL_TEXT_MAX 256
#define REASON_MAX       512

struct upgrade_row {
    const char *name;
    unsigned allowed;
};

#define TO(x) (1u << UPGRADE_##x)

static const struct upgrade_row rows[UPGRADE_STATE_COUNT] = {
    [UPGRADE_NONE] = {"none", TO(STARTING) | TO(STANDBY)},
    [UPGRADE_STARTING] = {"starting", TO(OPENING) | TO(NONE)},
    [UPGRADE_OPENING] = {"opening", TO(REPLACED) | TO(NONE)},
    [UPGRADE_REPLACED] = {"replaced", 0},
    [UPGRADE_STANDBY] = {"standby", TO(READY) | TO(NONE)},
    [UPGRADE_READY] = {"ready", TO(NONE)},
};

static void on_channel(struct watch *watch, unsigned events, void *arg);
static void on_deadline(struct deadline *deadline, void *arg);

/* ---- what both sides use ---- */

void upgrade_move(struct edge *edge, enum upgrade_state next)
{
    struct upgrade *upgrade = &edge->upgrade;

    ASSERT((rows[upgrade->state].allowed & (1u << next)) != 0);
    log_debug("upgrade_move", "from=%s to=%s", rows[upgrade->state].name, rows[next].name);
    upgrade->state = next;
    if (next == UPGRADE_NONE || next == UPGRADE_REPLACED) {
        deadline_cancel(&upgrade->deadline);
    } else {
        deadline_set_in_ms(&upgrade->deadline, edge->conf->edge.upgrade_timeout_s * 1000ULL);
    }
}

bool upgrade_say(const struct upgrade_channel *channel, const char *format, ...)
{
    char text[CHANNEL_TEXT_MAX];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ASSERT(len > 0 && (size_t)len < sizeof(text));
    return send(channel->fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) == len;
}

void upgrade_note(struct edge *edge, bool ok, const char *error)
{
    struct upgrade *upgrade = &edge->upgrade;

    upgrade->tried = true;
    upgrade->last = (struct admin_reload){.ok = ok, .wall_ms = clock_wall_ms()};
    (void)snprintf(upgrade->last.error, sizeof(upgrade->last.error), "%s", error);
    metric_inc(edge->metrics, METRIC_UPGRADES, ok ? METRIC_SUCCESS : METRIC_FAILURE);
    fleet_note(edge->fleet, "upgrade", "", "", ok ? "ok" : "failed", error);
}

uint32_t upgrade_regions_reached(struct edge *edge)
{
    const struct fleet_view *view = fleet_view_now(edge->fleet);
    uint32_t reached = 0;

    for (uint32_t i = 0; i < view->region_count; i++) {
        reached += view->regions[i].endpoint_up_count > 0;
    }
    return reached;
}

bool upgrade_is_good(uint32_t reached_here, uint32_t reached_there)
{
    return reached_there > 0 || reached_here == 0;
}

void upgrade_channel_close(struct upgrade_channel *channel)
{
    watch_free(channel->watch);
    channel->watch = NULL;
    if (channel->fd >= 0) {
        (void)close(channel->fd);
    }
    channel->fd = -1;
}

/* ---- the end of an attempt ---- */

/* It has ended, or does now: this waits for no more than the kernel. */
static int reap(struct upgrade *upgrade)
{
    int how = 0;

    if (upgrade->successor > 0) {
        (void)kill(upgrade->successor, SIGKILL);
        (void)waitpid(upgrade->successor, &how, 0);
    }
    upgrade->successor = 0;
    return how;
}

static void fail(struct edge *edge, const char *why)
{
    char quoted[REASON_MAX * 2];

    (void)reap(&edge->upgrade);
    upgrade_channel_close(&edge->upgrade.younger);
    upgrade_move(edge, UPGRADE_NONE);
    log_error("upgrade_failed", "program=\"%s\" error=\"%s\"", edge->program,
              log_quote(str_of(why), quoted, sizeof(quoted)));
    upgrade_note(edge, false, why);
}

static void on_ended(struct edge *edge)
{
    char why[REASON_MAX];
    int how = reap(&edge->upgrade);

    if (WIFEXITED(how)) {
        (void)snprintf(why, sizeof(why),
                       "the new process ended with code %d before it served; its own message is "
                       "on standard error",
                       WEXITSTATUS(how));
    } else {
        (void)snprintf(why, sizeof(why), "the new process was ended by signal %d before it served",
                       WIFSIGNALED(how) ? WTERMSIG(how) : 0);
    }
    fail(edge, why);
}

static void on_deadline(struct deadline *deadline, void *arg)
{
    struct edge *edge = OBJ_CAST(arg, edge, EDGE_MAGIC);
    char why[REASON_MAX];

    (void)deadline;
    if (successor_stands_by(edge)) {
        log_error("upgrade_given_up", "why=\"the old process does not answer\"");
        loop_stop(edge->loop);
        return;
    }
    (void)snprintf(why, sizeof(why),
                   "the new process was not ready within edge.upgrade_timeout_s (%u s)%s",
                   edge->conf->edge.upgrade_timeout_s,
                   edge->upgrade.regions_told == 0 ? "; it has reached no region" : "");
    fail(edge, why);
}

/* ---- the conversation ---- */

/* "ready N" */
static void on_ready(struct edge *edge, struct str number)
{
    uint64_t reached;

    if (edge->upgrade.state != UPGRADE_STARTING || !str_to_u64(number, &reached)) {
        return;
    }
    edge->upgrade.regions_told = (uint32_t)reached;
    if (!upgrade_is_good(upgrade_regions_reached(edge), (uint32_t)reached)) {
        log_warn("upgrade_waits", "why=\"the new process reaches no region yet\"");
        return;
    }
    upgrade_move(edge, UPGRADE_OPENING);
    if (!upgrade_say(&edge->upgrade.younger, "go")) {
        fail(edge, "the new process does not listen");
    }
}

static void on_open(struct edge *edge)
{
    if (edge->upgrade.state != UPGRADE_OPENING) {
        return;
    }
    upgrade_move(edge, UPGRADE_REPLACED);
    service_replaced(edge->upgrade.successor);
    edge_hand_over(edge);
}

static void on_channel(struct watch *watch, unsigned events, void *arg)
{
    struct edge *edge = OBJ_CAST(arg, edge, EDGE_MAGIC);
    char text[CHANNEL_TEXT_MAX];
    ssize_t len = recv(edge->upgrade.younger.fd, text, sizeof(text), MSG_DONTWAIT);
    struct str word = str_make(text, len > 0 ? (size_t)len : 0);

    (void)watch;
    (void)events;
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (len <= 0 && edge->upgrade.state == UPGRADE_REPLACED) {
        log_error("successor_ended", "pid=%d", (int)edge->upgrade.successor);
        upgrade_channel_close(&edge->upgrade.younger);
    } else if (len <= 0) {
        on_ended(edge);
    } else if (str_starts(word, STR_LIT("ready "))) {
        on_ready(edge, str_slice(word, strlen("ready "), word.len));
    } else if (str_eq(word, STR_LIT("open"))) {
        on_open(edge);
    } else if (str_eq(word, STR_LIT(UPGRADE_STOPPED)) && edge->upgrade.state == UPGRADE_REPLACED) {
        upgrade_channel_close(&edge->upgrade.younger); /* as it should: replaced too, or told to */
    }
}

static const char *refusal(const struct edge *edge)
{
    if (edge->upgrade.state == UPGRADE_STARTING || edge->upgrade.state == UPGRADE_OPENING) {
        return "an upgrade is under way";
    }
    if (edge->draining) {
        return "draining: the process is about to end";
    }
    return edge->doors_open ? NULL : "not serving yet";
}

void upgrade_start(struct edge *edge)
{
    struct upgrade *upgrade = &edge->upgrade;
    const char *why = refusal(edge);
    char text[REASON_MAX];
    int error;

    if (why != NULL) {
        log_warn("upgrade_refused", "why=\"%s\"", why);
        return;
    }
    upgrade->regions_told = 0;
    upgrade_move(edge, UPGRADE_STARTING);
    if (!launch(edge, &error)) {
        char buffer[128];
        (void)snprintf(text, sizeof(text), "%s cannot be run: %s",
                       edge->program[0] == '\0' ? edge->options->argv[0] : edge->program,
                       strerror_r(error, buffer, sizeof(buffer)));
        fail(edge, text);
        return;
    }
    upgrade->younger.watch =
        watch_level(edge->loop, upgrade->younger.fd, WATCH_READ, on_channel, edge);
    log_info("upgrade_started", "program=\"%s\" pid=%d", edge->program, (int)upgrade->successor);
    fleet_note(edge->fleet, "upgrade", "", "", "started", edge->program);
}

void upgrade_abandon(struct edge *edge)
{
    if (upgrade_is_under_way(edge) && !successor_stands_by(edge)) {
        fail(edge, "this process was told to stop");
    }
}

bool upgrade_is_under_way(const struct edge *edge)
{
    return edge->upgrade.state != UPGRADE_NONE && edge->upgrade.state != UPGRADE_REPLACED;
}

void upgrade_init(struct edge *edge)
{
    edge->upgrade.younger.fd = -1;
    edge->upgrade.elder.fd = edge->inheritance->channel;
    deadline_init(&edge->upgrade.deadline, edge->loop, on_deadline, edge);
}

void upgrade_deaf(struct edge *edge)
{
    watch_free(edge->upgrade.elder.watch);
    watch_free(edge->upgrade.younger.watch);
    edge->upgrade.elder.watch = NULL;
    edge->upgrade.younger.watch = NULL;
}

void upgrade_done(struct edge *edge)
{
    upgrade_deaf(edge);
    if (edge->upgrade.elder.fd >= 0) {
        /* The kernel closes it, with this process's end: what the old one sees of an end before
         * that it would take for a hang, and would not hear the exit code. */
        (void)upgrade_say(&edge->upgrade.elder, UPGRADE_STOPPED);
    }
    upgrade_channel_close(&edge->upgrade.younger);
    deadline_done(&edge->upgrade.deadline);
}
