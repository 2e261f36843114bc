/* SPDX-License-Identifier: MIT */
/*
 * Gathers the JSON value of /status.json, part by part (status_part_private.h says where each is
 * made); members are in docs/admin.md's order.
 */
#include "status_part_private.h"
#include "status_private.h"

#include "admin_private.h"
#include "choice_private.h"
#include "member_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/fleet.h>
#include <nearside/fleet/home.h>
#include <nearside/fleet/peers.h>
#include <nearside/loop/loop.h>

#include <string.h>

/* ---- what the parts share ---- */

void status_member_age(json_t *object, const char *key, const struct status_part *from,
                       uint64_t since_ns)
{
    uint64_t age_ns = from->now_ns > since_ns ? from->now_ns - since_ns : 0;

    member_number(object, key, (double)age_ns / (double)NS_PER_S);
}

void status_member_age_or_null(json_t *object, const char *key, const struct status_part *from,
                               uint64_t since_ns)
{
    if (since_ns == 0) {
        member_null(object, key);
    } else {
        status_member_age(object, key, from, since_ns);
    }
}

void status_member_quotient(json_t *object, const char *key, uint64_t part, double whole)
{
    if (whole > 0) {
        member_number(object, key, (double)part / whole);
    } else {
        member_null(object, key);
    }
}

uint64_t status_sum(enum metric_family family, unsigned l0, unsigned l1)
{
    int64_t sum = metric_sum(family, l0, l1, 0);

    return sum > 0 ? (uint64_t)sum : 0; /* a sum over running threads may be off for a moment */
}

/* ---- the process ---- */

static void add_upgrade(json_t *edge, const struct admin_reload *last)
{
    json_t *upgrade;

    if (last == NULL) {
        member_null(edge, "last_upgrade");
        return;
    }
    upgrade = member_object(edge, "last_upgrade");
    member_bool(upgrade, "ok", last->ok);
    member_time(upgrade, "time", last->wall_ms);
    member_text_or_null(upgrade, "error", last->error);
}

static void add_edge(json_t *root, const struct status_part *from)
{
    const struct admin_source *source = &from->admin->source;
    const struct admin_reload *last = source->last_reload(source->arg);
    json_t *edge = member_object(root, "edge");
    json_t *reload;

    member_text(edge, "id", from->conf->edge.id);
    member_text(edge, "version", NEARSIDE_VERSION);
    member_number(edge, "uptime_s",
                  (double)(clock_mono_ns() - source->started_ns(source->arg)) / (double)NS_PER_S);
    member_time(edge, "started", source->started_wall_ms(source->arg));
    member_time(edge, "time", clock_wall_ms());
    member_count(edge, "config_generation", from->conf->generation);
    member_text(edge, "config_path", from->conf->path);
    member_bool(edge, "suspect", from->peers->suspect);
    member_bool(edge, "draining", source->is_draining(source->arg));
    member_count(edge, "workers", from->admin->source.workers(from->admin->source.arg));
    member_count(edge, "workers_asked", from->conf->edge.workers);
    reload = member_object(edge, "last_reload");
    member_bool(reload, "ok", last->ok);
    member_time(reload, "time", last->wall_ms);
    member_text_or_null(reload, "error", last->error);
    add_upgrade(edge, source->last_upgrade(source->arg));
}

static void add_routing(json_t *root, const struct status_part *from)
{
    const struct conf_routing *conf = &from->conf->routing;
    json_t *routing = member_object(root, "routing");

    member_number(routing, "latency_budget_ms", conf->latency_budget_ms);
    member_count(routing, "failover_deadline_s", conf->failover_deadline_s);
    member_text(routing, "balance",
                conf->balance == CONF_BALANCE_ROUND_ROBIN ? "round_robin" : "least_pending");
}

static void add_home(json_t *root, const struct status_part *from)
{
    const struct fleet_view *view = from->view;

    if (view->home == HOME_NONE) {
        member_null(root, "home");
        member_null(root, "home_since_s");
        return;
    }
    member_text(root, "home", view->regions[view->home].name);
    status_member_age(root, "home_since_s", from, view->home_since_ns);
}

/* Why it was made the home: what the last event of that kind says. */
static void on_event_of_home(const struct fleet_event *event, void *arg)
{
    const struct fleet_event **last = arg;

    if (strcmp(event->kind, "home") == 0) {
        *last = event;
    }
}

static void add_choice(json_t *root, const struct status_part *from)
{
    const struct fleet_view *view = from->view;
    const struct fleet_event *last = NULL;
    json_t *choice = member_object(root, "choice");
    int next = choice_next(view);
    char why[CHOICE_WHY_LEN];

    fleet_events(from->admin->fleet, on_event_of_home, &last);
    member_text_or_null(choice, "from", last == NULL ? "" : last->from);
    member_text_or_null(choice, "reason", last == NULL ? "" : last->reason);
    if (view->home == HOME_NONE) {
        member_text(choice, "why", "no region can serve");
    } else {
        choice_why(view, (uint32_t)view->home, why);
        member_text(choice, "why", why);
    }
    member_text_or_null(choice, "next", next == HOME_NONE ? "" : view->regions[next].name);
}

/* ---- other edges ---- */

static void add_peer_region(json_t *regions, const struct peer_region *region)
{
    json_t *item = item_object(regions);

    member_text(item, "name", region->name);
    member_text(item, "state", region_state_word(region->state));
    if (region->latency_known) {
        member_number(item, "path_latency_ms", region->latency_ms);
    } else {
        member_null(item, "path_latency_ms");
    }
    member_count(item, "pending", region->pending);
    member_count(item, "inflight", region->inflight);
}

static void add_peers(json_t *root, const struct status_part *from)
{
    json_t *peers = member_array(root, "peers");
    struct list *each;

    LIST_FOREACH (each, &from->peers->all) {
        const struct peer *peer = LIST_ITEM(each, struct peer, link);
        uint64_t age_ns = from->now_ns > peer->seen_ns ? from->now_ns - peer->seen_ns : 0;
        json_t *item = item_object(peers);
        json_t *regions;

        member_text(item, "edge", peer->edge);
        member_count(item, "age_ms", age_ns / NS_PER_MS);
        regions = member_array(item, "regions");
        for (uint32_t i = 0; i < peer->region_count; i++) {
            add_peer_region(regions, &peer->regions[i]);
        }
    }
}

/* ---- all of it ---- */

json_t *status_build(struct admin *admin)
{
    struct status_part from = {
        .admin = admin,
        .conf = admin->source.conf(admin->source.arg),
        .view = fleet_view_now(admin->fleet),
        .peers = admin->source.peers(admin->source.arg),
        .loads = admin->source.loads(admin->source.arg),
        .now_ns = loop_now_ns(admin->loop),
    };
    json_t *root = json_object();

    ASSERT(root != NULL);
    recent_rates(&admin->recent, from.now_ns, &from.rates);
    add_edge(root, &from);
    add_routing(root, &from);
    add_home(root, &from);
    add_choice(root, &from);
    status_add_regions(root, &from);
    add_peers(root, &from);
    status_add_requests(root, &from);
    status_add_cache(root, &from);
    status_add_connections(root);
    status_add_limits_hit(root, &from);
    ASSERT(json_object_set_new(root, "events", status_build_events(admin, STATUS_EVENTS_MAX)) == 0);
    return root;
}

void status_write_json(struct admin *admin, struct buf *out)
{
    member_write(status_build(admin), out);
}
