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

/* Path latency rests on handshakes: one is due this often, whoever keeps connections open. */
#define HANDSHAKE_MS 5000
/* And so often a round trip, for paths on which TCP ends nearer than the pods. */
#define ROUND_TRIP_MS 10000

static void probe_now(struct target *target);
static void on_probed(const struct probe_result *result, void *arg);
static void on_next_generate(struct deadline *deadline, void *arg);
static void follow_generate(struct target *target);
static uint64_t pace_ms(const struct target *target);

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
    target->prober = prober_new(health->loop, on_probed, target_on_sample, target);
    deadline_init(&target->next, health->loop, on_next, target);
    deadline_init(&target->next_generate, health->loop, on_next_generate, target);
    warmup_init(target);
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
    health_quicken(target->health, &target->next, pace_ms(target));
    follow_generate(target);
    warmup_follow(target);
}

void target_free(struct target *target)
{
    list_remove(&target->link);
    table_remove(&target->health->targets, &target->by_id);
    deadline_done(&target->next);
    deadline_done(&target->next_generate);
    prober_free(target->prober);
    prober_free(target->generator);
    warmup_end(target);
    deadline_done(&target->next_warm);
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

struct threshold_rules target_rules(const struct target *target)
{
    const struct conf_region *region = target->region;

    return (struct threshold_rules){.fall = region->health.fall,
                                    .rise = region->health.rise,
                                    .warmup = region->warmup.requests > 0 && !target->is_warm};
}

static uint64_t pace_ms(const struct target *target)
{
    const struct conf_health *conf = &target->region->health;
    struct threshold_rules rules = target_rules(target);

    return threshold_is_changing(&target->threshold, TRACK_HEALTH, &rules) ? conf->fast_interval_ms
                                                                           : conf->interval_ms;
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

struct probe_target target_probe(const struct target *target)
{
    const struct conf_region *region = target->region;

    return (struct probe_target){
        .conf = target->health->conf,
        .addr = target->addr,
        .host = target->host,
        .port = target->port,
        .tls = target->tls ? target->health->region_tls[target->region_index] : NULL,
        .server_name = target->host,
        .health = &region->health};
}

static void probe_now(struct target *target)
{
    uint64_t now_ns = loop_now_ns(target->health->loop);
    struct probe_target what = target_probe(target);

    what.want_handshake = is_older(target->handshake_ns, now_ns, HANDSHAKE_MS);
    what.want_round_trip = is_older(target->round_trip_ns, now_ns, ROUND_TRIP_MS);
    target->started_ns = now_ns;
    prober_start(target->prober, &what);
}

/* ---- verdicts ---- */

void target_on_sample(enum latency_source source, double ms, void *arg)
{
    struct target *target = OBJ_CAST(arg, target, TARGET_MAGIC);

    if (source == LATENCY_CONNECT) {
        target->handshake_ns = loop_now_ns(target->health->loop);
    } else if (source == LATENCY_PROBE) {
        target->round_trip_ns = loop_now_ns(target->health->loop);
    }
    fleet_observe_latency(target->health->fleet, target->live->id, source, ms);
}

/* Tell the fleet, and take care of what a change means for the breaker and the name. */
static void conclude(struct target *target, enum endpoint_state before, const char *reason)
{
    enum endpoint_state after = target->threshold.state;

    if (after == before) {
        return;
    }
    guard_on_state(target);
    if (after == ENDPOINT_DOWN) {
        target->is_warm = false; /* it may come back as another process */
        discovery_hurry(target->health, target->host);
    }
    fleet_set_endpoint_state(target->health->fleet, target->live->id, after, reason);
    warmup_follow(target);
}

/* Did a real request succeed since the last probe was due? */
static bool had_traffic(const struct target *target, uint64_t now_ns)
{
    uint64_t success_ns =
        atomic_load_explicit(&target->live->last_success_ns, memory_order_relaxed);

    return success_ns != 0 && now_ns < success_ns + target->region->health.interval_ms * NS_PER_MS;
}

static void count(const struct target *target, const struct probe_result *result,
                  enum probe_track track)
{
    const struct probe_end_row *row = probe_end_row(result->end);
    bool is_4xx = result->end == PROBE_END_STATUS && result->status < 500;
    bool failed = row->verdict != PROBE_PASS && row->verdict != PROBE_NOTHING;
    struct metric_block *metrics = target->health->metrics;

    metric_add(metrics, METRIC_PROBES, target->region_slot,
               is_4xx ? OUTCOME_MALFORMED : row->outcome, 0, 1);
    if (failed) {
        metric_add(metrics, METRIC_PROBE_FAILURES, target->region_slot,
                   track == TRACK_GENERATE ? PROBE_CLASS_GENERATE : row->class, 0, 1);
    }
}

static void log_first_miss(const struct target *target, const struct probe_result *result,
                           enum probe_track track)
{
    const struct probe_end_row *row = probe_end_row(result->end);

    if (result->end == PROBE_END_LOCAL) {
        log_warn(row->word, "region=%s endpoint=%s", target->region->name, target->address);
    } else if (row->verdict == PROBE_NOTHING) {
        log_info(row->word, "region=%s endpoint=%s status=%u", target->region->name,
                 target->address, result->status);
    } else if (row->verdict != PROBE_PASS && target->threshold.runs[track].misses == 0) {
        log_info("probe_missed", "region=%s endpoint=%s class=%s reason=%s status=%u",
                 target->region->name, target->address,
                 probe_class_word(track == TRACK_GENERATE ? PROBE_CLASS_GENERATE : row->class),
                 row->word, result->status);
    }
}

static const char *reason_of(const struct target *target, const struct probe_result *result,
                             enum probe_track track)
{
    enum probe_verdict verdict = probe_end_row(result->end)->verdict;

    if (verdict != PROBE_PASS && track == TRACK_GENERATE) {
        return "probe_generate";
    }
    if (verdict != PROBE_PASS && target->threshold.flapped) {
        return "probe_flapping";
    }
    return probe_end_row(result->end)->word;
}

static void judge(struct target *target, const struct probe_result *result, enum probe_track track)
{
    enum endpoint_state before = target->threshold.state;
    uint64_t now_ns = loop_now_ns(target->health->loop);
    struct threshold_rules rules = target_rules(target);
    struct probe_fact fact = {.track = track,
                              .verdict = probe_end_row(result->end)->verdict,
                              .had_traffic = had_traffic(target, now_ns),
                              .now_ns = now_ns};

    count(target, result, track);
    log_first_miss(target, result, track);
    (void)threshold_probe(&target->threshold, &fact, &rules); /* kept in it */
    conclude(target, before, reason_of(target, result, track));
}

static void on_probed(const struct probe_result *result, void *arg)
{
    struct target *target = OBJ_CAST(arg, target, TARGET_MAGIC);

    judge(target, result, TRACK_HEALTH);
    schedule(target);
}

void target_on_warmed(struct target *target)
{
    enum endpoint_state before = target->threshold.state;

    target->is_warm = true; /* also where a failed generation keeps it from coming up yet */
    threshold_warmed(&target->threshold);
    conclude(target, before, "warmed");
    warmup_follow(target);
}

void target_on_failure(struct target *target, enum outcome outcome)
{
    enum endpoint_state before = target->threshold.state;

    (void)threshold_passive(&target->threshold, outcome,
                            loop_now_ns(target->health->loop)); /* kept in it */
    conclude(target, before, outcome_word(outcome));
    target_hurry(target);
}

/* ---- generations ---- */

/* In the usual pace or, while the verdict on the engine is open, in that of health probes. */
static void schedule_generate(struct target *target, uint64_t started_ns)
{
    const struct conf_health *conf = &target->region->health;
    struct threshold_rules rules = target_rules(target);
    uint64_t pace_ms = threshold_is_changing(&target->threshold, TRACK_GENERATE, &rules)
                           ? conf->interval_ms
                           : conf->generate.interval_s * 1000ULL;

    if (conf->generate.interval_s > 0) {
        deadline_set_ns(&target->next_generate,
                        started_ns + health_jitter_ms(target->health, pace_ms) * NS_PER_MS);
    }
}

static void on_generated(const struct probe_result *result, void *arg)
{
    struct target *target = OBJ_CAST(arg, target, TARGET_MAGIC);

    if (target->region->health.generate.interval_s == 0) {
        return; /* a reload has ended them meanwhile */
    }
    judge(target, result, TRACK_GENERATE);
    schedule_generate(target, target->generated_ns);
}

static void on_next_generate(struct deadline *deadline, void *arg)
{
    struct target *target = OBJ_CAST(arg, target, TARGET_MAGIC);
    const struct conf_generate *conf = &target->region->health.generate;
    struct probe_target what = target_probe(target);

    (void)deadline;
    what.prompt = (struct probe_prompt){
        .path = conf->path, .model = conf->model, .timeout_ms = conf->timeout_ms};
    if (target->generator == NULL) {
        target->generator =
            prober_new(target->health->loop, on_generated, target_on_sample, target);
    }
    target->generated_ns = loop_now_ns(target->health->loop);
    prober_start(target->generator, &what);
}

/* Begin or end generations as the config says. The first one comes within an interval, at random:
 * a fleet of pods must not be asked all at once. */
static void follow_generate(struct target *target)
{
    const struct conf_generate *generate = &target->region->health.generate;
    bool is_busy = target->generator != NULL && prober_is_busy(target->generator);

    if (generate->interval_s == 0) {
        deadline_cancel(&target->next_generate);
        threshold_forget_generate(&target->threshold);
    } else if (!is_busy && !deadline_is_set(&target->next_generate)) {
        deadline_set_in_ms(&target->next_generate,
                           rng_below(&target->health->rng, generate->interval_s * 1000ULL));
    } else {
        health_quicken(target->health, &target->next_generate, generate->interval_s * 1000ULL);
    }
}
