/* SPDX-License-Identifier: MIT */
/*
 * One endpoint under watch: when it is probed, and what follows from the answers and from what
 * workers saw.
 *
 * Probes are timed start to start, so that a slow answer does not thin them out; the next one
 * begins after the last has ended, at the earliest. Between verdicts they come at the fast pace.
 */
#include "health_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/hash.h>
#include <nearside/base/mem.h>
#include <nearside/fleet/fleet.h>
#include <nearside/obs/log.h>

#define TARGET_MAGIC 0x54415247u

/* Path latency rests on handshakes: one is due this often, whoever keeps connections open. */
#define HANDSHAKE_MS 5000
/* And so often a round trip, for paths on which TCP ends nearer than the pods. */
#define ROUND_TRIP_MS 10000

static void probe_now(struct target *target);
static void on_probed(const struct probe_result *result, void *arg);
static void on_sample(enum latency_source source, double ms, void *arg);

static void on_next(struct deadline *deadline, void *arg)
{
    (void)deadline;
    probe_now(OBJ_CAST(arg, target, TARGET_MAGIC));
}

struct target *target_new(struct health *health, const struct view_endpoint *endpoint)
{
    struct target *target = mem_new(struct target);

    target->magic = TARGET_MAGIC;
    target->health = health;
    target->live = endpoint_live_ref(endpoint->live);
    target->threshold.state = endpoint->state;
    target->prober = prober_new(health->loop, on_probed, on_sample, target);
    deadline_init(&target->next, health->loop, on_next, target);
    deadline_set_in_ms(&target->next, 0);
    table_insert(&health->targets, &target->by_id, hash_u64(target->live->id));
    list_push_back(&health->target_list, &target->link);
    return target;
}

void target_update(struct target *target, const struct view_endpoint *endpoint,
                   const struct conf_region *region, uint32_t region_index, unsigned region_slot)
{
    target->region = region;
    target->region_index = region_index;
    target->region_slot = region_slot;
    target->addr = endpoint->addr;
    memcpy(target->address, endpoint->address, sizeof(target->address));
    target->host = endpoint->host;
    target->port = endpoint->port;
    target->tls = endpoint->tls;
}

void target_free(struct target *target)
{
    list_remove(&target->link);
    table_remove(&target->health->targets, &target->by_id);
    deadline_done(&target->next);
    prober_free(target->prober);
    endpoint_live_unref(target->live);
    target->magic = 0;
    loop_defer_free(target->health->loop, target);
}

struct target *target_find(const struct health *health, uint64_t endpoint_id)
{
    struct table_item *item = table_first(&health->targets, hash_u64(endpoint_id));

    while (item != NULL) {
        struct target *target = CONTAINER_OF(item, struct target, by_id);

        if (target->live->id == endpoint_id) {
            return target;
        }
        item = table_next(item);
    }
    return NULL;
}

/* ---- schedule ---- */

static uint64_t pace_ms(const struct target *target)
{
    const struct conf_health *conf = &target->region->health;

    return threshold_is_changing(&target->threshold) ? conf->fast_interval_ms : conf->interval_ms;
}

static void schedule(struct target *target)
{
    uint64_t wait_ms = health_jitter_ms(target->health, pace_ms(target));

    /* A time that has passed already means: at once. */
    deadline_set_ns(&target->next, target->started_ns + wait_ms * NS_PER_MS);
}

/* Sooner than scheduled, but not faster than the fast pace. */
void target_hurry(struct target *target)
{
    uint64_t due_ns = target->started_ns + target->region->health.fast_interval_ms * NS_PER_MS;

    if (!prober_is_busy(target->prober) && due_ns < target->next.due_ns) {
        deadline_set_ns(&target->next, due_ns);
    }
}

static bool is_older(uint64_t at_ns, uint64_t now_ns, uint64_t age_ms)
{
    return at_ns == 0 || now_ns - at_ns >= age_ms * NS_PER_MS;
}

static void probe_now(struct target *target)
{
    uint64_t now_ns = loop_now_ns(target->health->loop);
    const struct conf_region *region = target->region;
    const char *server_name = region->tls.server_name;
    struct probe_target what = {
        .conf = target->health->conf,
        .addr = target->addr,
        .host = target->host,
        .port = target->port,
        .tls = target->tls ? target->health->region_tls[target->region_index] : NULL,
        .server_name = server_name[0] != '\0' ? server_name : target->host,
        .health = &region->health,
        .want_handshake = is_older(target->handshake_ns, now_ns, HANDSHAKE_MS),
        .want_round_trip = is_older(target->round_trip_ns, now_ns, ROUND_TRIP_MS)};

    target->started_ns = now_ns;
    prober_start(target->prober, &what);
}

/* ---- verdicts ---- */

static void on_sample(enum latency_source source, double ms, void *arg)
{
    struct target *target = OBJ_CAST(arg, target, TARGET_MAGIC);

    if (source == LATENCY_CONNECT) {
        target->handshake_ns = loop_now_ns(target->health->loop);
    } else if (source == LATENCY_PROBE) {
        target->round_trip_ns = loop_now_ns(target->health->loop);
    }
    fleet_observe_latency(target->health->fleet, target->live->id, source, ms);
}

/* Tell the fleet, and take care of what a change means for the endpoint's own counters. */
static void conclude(struct target *target, enum endpoint_state before, const char *reason)
{
    enum endpoint_state after = target->threshold.state;

    if (before == ENDPOINT_DOWN && after == ENDPOINT_UP) {
        /* A clean sheet: one more failure must not count as the sixth in a row. */
        atomic_store_explicit(&target->live->failures, 0, memory_order_relaxed);
        target->held_until_ns = 0;
    }
    if (before != ENDPOINT_DOWN && after == ENDPOINT_DOWN) {
        discovery_hurry(target->health, target->host);
    }
    if (after != before) {
        fleet_set_endpoint_state(target->health->fleet, target->live->id, after, reason);
    }
}

static enum probe_verdict verdict_of(const struct probe_result *result)
{
    switch (result->outcome) {
    case OUTCOME_OK:
        return PROBE_PASS;
    case OUTCOME_CONNECT_REFUSED:
        return PROBE_REFUSED;
    default:
        return PROBE_MISS;
    }
}

static const char *reason_of(const struct probe_result *result)
{
    switch (result->outcome) {
    case OUTCOME_OK:
        return "probe_ok";
    case OUTCOME_STATUS_5XX:
        return "probe_status";
    case OUTCOME_MALFORMED:
        return result->status == 0 ? "malformed" : "probe_status";
    default:
        return outcome_word(result->outcome);
    }
}

static bool is_held(const struct target *target)
{
    return target->threshold.state == ENDPOINT_DOWN &&
           loop_now_ns(target->health->loop) < target->held_until_ns;
}

static void judge(struct target *target, const struct probe_result *result)
{
    const struct conf_health *conf = &target->region->health;
    enum endpoint_state before = target->threshold.state;
    enum probe_verdict verdict = verdict_of(result);

    if (verdict == PROBE_PASS && is_held(target)) {
        return;
    }
    if (verdict != PROBE_PASS && target->threshold.misses == 0) {
        log_info("probe_missed", "region=%s endpoint=%s outcome=%s status=%u", target->region->name,
                 target->address, outcome_word(result->outcome), result->status);
    }
    (void)threshold_probe(&target->threshold, verdict, conf->fall, conf->rise); /* kept in it */
    conclude(target, before, reason_of(result));
}

static void on_probed(const struct probe_result *result, void *arg)
{
    struct target *target = OBJ_CAST(arg, target, TARGET_MAGIC);

    metric_add(target->health->metrics, METRIC_PROBES, target->region_slot,
               (unsigned)result->outcome, 0, 1);
    if (result->outcome == OUTCOME_LOCAL_LIMIT) {
        log_warn("probe_local_limit", "region=%s endpoint=%s", target->region->name,
                 target->address);
    } else {
        judge(target, result);
    }
    schedule(target);
}

/* Its /health may be fine: keep it out for a while whatever probes say. */
static void hold(struct target *target)
{
    uint64_t now_ns = loop_now_ns(target->health->loop);

    if (now_ns - target->hold_last_ns > HEALTH_HOLD_FORGET_MS * NS_PER_MS) {
        target->hold_count = 0;
    }
    target->held_until_ns = now_ns + passive_hold_ms(target->hold_count) * NS_PER_MS;
    target->hold_last_ns = now_ns;
    target->hold_count++;
}

void target_on_failure(struct target *target, enum outcome outcome, uint32_t failures_in_row)
{
    enum endpoint_state before = target->threshold.state;

    (void)threshold_passive(&target->threshold, outcome, failures_in_row); /* kept in it */
    if (before != ENDPOINT_DOWN && target->threshold.state == ENDPOINT_DOWN &&
        outcome != OUTCOME_CONNECT_REFUSED) {
        hold(target);
    }
    conclude(target, before, outcome_word(outcome));
    target_hurry(target);
}
