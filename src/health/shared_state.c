/* SPDX-License-Identifier: MIT */
/*
 * What edges tell each other through the regions' Redis, and what comes of it here.
 *
 * Advice by construction: nothing a peer says sets a state. Its "down" for a region that is up here
 * makes this edge probe at once; its latency stands in until the first sample of our own; its count
 * is shown beside ours. Operators' drains alone are orders, and carry an epoch each.
 *
 *   each second, and at once on a change   every link exchanges (shared_link.c)
 *   each SHARED_LOOK_MS                    changes are noticed, old reports forgotten
 *
 * With every Redis gone, reports age out within PEER_FRESH_MS, drains stay as they were, and this
 * edge goes on by what it sees itself.
 */
#include "shared_private.h"

#include "health_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/fleet/fleet.h>
#include <nearside/obs/log.h>

#include <stdio.h>
#include <string.h>

static void on_look(struct deadline *deadline, void *arg);
static void on_ready_due(struct deadline *deadline, void *arg);
static void on_operator(bool is_region, struct str name, bool drained, void *arg);

struct shared *shared_new(struct health *health)
{
    struct shared *shared = mem_new(struct shared);

    shared->health = health;
    shared->epoch = clock_wall_ms();
    list_init(&shared->links);
    shared_drains_init(&shared->drains);
    peers_init(&shared->peers);
    buf_init(&shared->report);
    deadline_init(&shared->look, health->loop, on_look, shared);
    deadline_init(&shared->ready_due, health->loop, on_ready_due, shared);
    fleet_listen_drains(health->fleet, on_operator, shared);
    return shared;
}

void shared_free(struct shared *shared)
{
    ASSERT(list_is_empty(&shared->links));
    fleet_listen_drains(shared->health->fleet, NULL, NULL);
    deadline_done(&shared->look);
    deadline_done(&shared->ready_due);
    shared_drains_done(&shared->drains);
    peers_done(&shared->peers);
    buf_done(&shared->report);
    mem_free(shared);
}

void shared_set_silent(struct shared *shared, bool silent)
{
    shared->silent = silent;
    if (!silent) {
        shared_links_hurry(&shared->links);
    }
}

struct str shared_report_now(struct shared *shared)
{
    buf_clear(&shared->report);
    if (shared->silent) {
        return STR_EMPTY;
    }
    shared_report_write(fleet_view_now(shared->health->fleet), shared->epoch, ++shared->sequence,
                        &shared->report);
    return buf_str(&shared->report);
}

/* ---- the start: drains are known before the doors open ---- */

static bool wants_redis(const struct conf *conf)
{
    for (uint32_t i = 0; i < conf->region_count; i++) {
        if (conf->regions[i].redis.url[0] != '\0') {
            return true;
        }
    }
    return false;
}

static uint32_t wanted_links(const struct conf *conf)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < conf->region_count; i++) {
        count += conf->regions[i].redis.url[0] != '\0';
    }
    return count;
}

static void on_ready_due(struct deadline *deadline, void *arg)
{
    struct shared *shared = arg;

    (void)deadline;
    if (!shared->is_ready) {
        shared->is_ready = true;
        if (shared->ready != NULL) {
            shared->ready(shared->ready_arg);
        }
    }
}

void shared_on_settled(struct shared *shared)
{
    if (!shared->is_ready &&
        shared_links_settled(&shared->links) == wanted_links(shared->health->conf)) {
        deadline_set_in_ms(&shared->ready_due, 0);
    }
}

void shared_sync(struct shared *shared)
{
    bool any = wants_redis(shared->health->conf);

    if (!shared->is_ready && !deadline_is_set(&shared->ready_due)) {
        deadline_set_in_ms(&shared->ready_due, any ? SHARED_WAIT_MS : 0);
    }
    if (any && !deadline_is_set(&shared->look)) {
        deadline_set_in_ms(&shared->look, SHARED_LOOK_MS);
    }
    shared_drains_apply(&shared->drains, shared->health->fleet);
}

/* ---- operators ---- */

static void on_operator(bool is_region, struct str name, bool drained, void *arg)
{
    struct shared *shared = arg;
    const struct conf *conf = shared->health->conf;

    if (conf == NULL) {
        return; /* before the first config there is nobody to act on */
    }
    shared_drains_act(&shared->drains, is_region, name, drained, conf->edge.id, clock_wall_ms());
    shared_links_hurry(&shared->links);
}

/* ---- peers' reports ---- */

/* Somebody else does not reach what we do: look now, with our own eyes. */
static void suspect_region(struct shared *shared, const struct view_region *region, uint32_t index,
                           const char *edge)
{
    struct health *health = shared->health;
    char reason[PEER_NAME_SIZE + 32];
    struct list *item;

    LIST_FOREACH (item, &health->target_list) {
        struct target *target = LIST_ITEM(item, struct target, link);

        if (target->region_index == index) {
            target_hurry(target);
        }
    }
    (void)snprintf(reason, sizeof(reason), "down at %s", edge);
    metric_inc(health->metrics, METRIC_PEER_SUSPICIONS, region->slot);
    log_info("peer_suspicion", "region=%s edge=%s", region->name, edge);
    fleet_note(health->fleet, "peer_suspicion", region->name, region_state_word(region->state),
               "probe", reason);
}

static bool sees_down(const struct peer *peer, const char *region)
{
    const struct peer_region *seen = peer_region(peer, region);

    return seen != NULL && seen->state == REGION_DOWN;
}

/* Read the report; what it newly calls down and is up here is suspected. */
static void read_report(struct shared *shared, struct peer *peer, struct str text)
{
    const struct fleet_view *view = fleet_view_now(shared->health->fleet);
    bool was_down[METRIC_REGIONS_MAX];

    for (uint32_t i = 0; i < view->region_count; i++) {
        was_down[i] = sees_down(peer, view->regions[i].name);
    }
    if (!shared_report_read(text, peer)) {
        return;
    }
    for (uint32_t i = 0; i < view->region_count; i++) {
        const struct view_region *region = &view->regions[i];
        bool is_up = region->state == REGION_UP || region->state == REGION_DEGRADED;

        if (is_up && !was_down[i] && sees_down(peer, region->name)) {
            suspect_region(shared, region, i, peer->edge);
        }
    }
}

static bool is_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] <= ' ' || name.ptr[i] > '~') {
            return false;
        }
    }
    return name.len > 0 && name.len < PEER_NAME_SIZE;
}

/* NULL: too many. */
static struct peer *meet(struct shared *shared, struct str edge)
{
    char name[PEER_NAME_SIZE];
    struct peer *peer;

    memcpy(name, edge.ptr, edge.len);
    name[edge.len] = '\0';
    peer = peers_find(&shared->peers, name);
    if (peer == NULL) {
        peer = peers_add(&shared->peers, name);
        if (peer != NULL) {
            log_info("peer_seen", "edge=%s peers=%u", name, shared->peers.count);
        }
    }
    return peer;
}

/* The same report may stand in several Redises; the newest one counts, as old as it is. */
void shared_take_report(struct shared *shared, struct str edge, uint64_t age_ms, struct str text)
{
    uint64_t now_ns = loop_now_ns(shared->health->loop);
    uint64_t age_ns = age_ms * NS_PER_MS;
    uint64_t seen_ns = now_ns > age_ns ? now_ns - age_ns : 0;
    uint64_t epoch;
    uint64_t sequence;
    struct peer *peer;

    if (age_ms > PEER_FRESH_MS || !is_name(edge) || !shared_report_head(&text, &epoch, &sequence)) {
        return;
    }
    peer = meet(shared, edge);
    if (peer == NULL || epoch < peer->epoch ||
        (epoch == peer->epoch && sequence <= peer->sequence)) {
        return;
    }
    peer->epoch = epoch;
    peer->sequence = sequence;
    peer->seen_ns = seen_ns;
    read_report(shared, peer, text);
}

void shared_id_is_taken(struct shared *shared, uint64_t epoch)
{
    if (epoch > shared->epoch && !shared->id_taken && !shared->silent) {
        shared->id_taken = true;
        log_warn("edge_id_taken", "edge=%s", shared->health->conf->edge.id);
    }
}

/* ---- what follows ---- */

static void forget_old(struct shared *shared, uint64_t now_ns)
{
    struct list *item;
    struct list *after;

    LIST_FOREACH_SAFE (item, after, &shared->peers.all) {
        struct peer *peer = LIST_ITEM(item, struct peer, link);

        if (now_ns > peer->seen_ns + PEER_FRESH_MS * NS_PER_MS) {
            log_info("peer_lost", "edge=%s peers=%u", peer->edge, shared->peers.count - 1);
            peers_remove(&shared->peers, peer);
        }
    }
}

static void give_priors(struct shared *shared, const struct fleet_view *view)
{
    for (uint32_t i = 0; i < view->region_count; i++) {
        double ms;

        if (!view->regions[i].latency_known &&
            peers_latency(&shared->peers, view->regions[i].name, &ms)) {
            log_info("latency_prior", "region=%s latency_ms=%.1f", view->regions[i].name, ms);
            fleet_set_prior_latency(shared->health->fleet, i, ms);
        }
    }
}

static void judge_self(struct shared *shared, const struct fleet_view *view)
{
    bool suspect = peers_make_suspect(&shared->peers, view);

    if (suspect == shared->peers.suspect) {
        return;
    }
    shared->peers.suspect = suspect;
    log_warn("edge_suspect", "suspect=%s peers=%u", suspect ? "true" : "false",
             shared->peers.count);
    fleet_note(shared->health->fleet, "edge_suspect", "", suspect ? "no" : "yes",
               suspect ? "yes" : "no", "others see regions up that are all down here");
}

static bool states_changed(struct shared *shared, const struct fleet_view *view)
{
    bool changed = false;

    for (uint32_t i = 0; i < view->region_count; i++) {
        enum region_state *told = &shared->told[view->regions[i].slot];

        changed = changed || *told != view->regions[i].state;
        *told = view->regions[i].state;
    }
    return changed;
}

static void conclude(struct shared *shared)
{
    struct fleet *fleet = shared->health->fleet;

    shared_drains_apply(&shared->drains, fleet);
    forget_old(shared, loop_now_ns(shared->health->loop));
    give_priors(shared, fleet_view_now(fleet));
    judge_self(shared, fleet_view_now(fleet));
}

void shared_end_reading(struct shared *shared)
{
    conclude(shared);
}

static void on_look(struct deadline *deadline, void *arg)
{
    struct shared *shared = arg;

    deadline_set_in_ms(deadline, SHARED_LOOK_MS);
    conclude(shared);
    shared_drains_expire(&shared->drains, clock_wall_ms());
    if (states_changed(shared, fleet_view_now(shared->health->fleet))) {
        shared_links_hurry(&shared->links);
    }
}

/* ---- what others ask ---- */

void health_when_shared(struct health *health, void (*fn)(void *arg), void *arg)
{
    health->shared->ready = fn;
    health->shared->ready_arg = arg;
}

const struct peers *health_peers(const struct health *health)
{
    return &health->shared->peers;
}
