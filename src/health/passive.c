/* SPDX-License-Identifier: MIT */
/*
 * What workers see in passing, on its way to the control thread.
 *
 * Most reports say that all is well again, and cost two loads and an addition. What matters sets
 * bits in the endpoint's `told`; who finds none set posts the endpoint's one message. So a burst of
 * a thousand failures is one message, and the queue is bounded by the number of endpoints. Of
 * outcomes that fall together the last is kept, but for a refused connection, which is a verdict of
 * its own.
 */
#include "health_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/fleet/fleet.h>

#define FULL_MS_DEFAULT 1000
#define FULL_MS_MAX     60000

/* Successes refresh last_success_ns at most this often: it is shared by all workers. */
#define SUCCESS_GRAIN_NS (100 * NS_PER_MS)
/* So often a fresh connection's connect time is worth a sample. */
#define SAMPLE_GRAIN_NS (100 * NS_PER_MS)

enum {
    TOLD_FAILURE = 1,
    TOLD_REFUSED = 2,
    TOLD_CONNECT = 4,
    TOLD_RTT = 8,
    TOLD_TRIAL_PASSED = 16,
    TOLD_TRIAL_FAILED = 32,
};

/* What an outcome does to the endpoint, by its class (docs/health.md has the whole table). */
struct effect {
    bool is_hard;   /* one more in a row */
    bool is_failed; /* counts against the success rate, and the next probe comes now */
    bool is_full;   /* no room for a while; counts against the endpoint's rate, not its region's */
};

static const struct effect effects[OUTCOME_CLASS_COUNT] = {
    [OUTCOME_CLASS_CAPACITY] = {.is_full = true},
    [OUTCOME_CLASS_TRANSIENT] = {.is_failed = true},
    [OUTCOME_CLASS_FAULT] = {.is_hard = true, .is_failed = true},
    [OUTCOME_CLASS_CORRUPT] = {.is_hard = true, .is_failed = true},
};

uint64_t passive_full_ms(uint64_t retry_after_ms)
{
    if (retry_after_ms == 0) {
        return FULL_MS_DEFAULT;
    }
    return retry_after_ms < FULL_MS_MAX ? retry_after_ms : FULL_MS_MAX;
}

/* ---- on the control thread ---- */

static void observe_us(struct health *health, struct endpoint_live *live, atomic_uint *us)
{
    unsigned value = atomic_load_explicit(us, memory_order_relaxed);

    if (value > 0) {
        fleet_observe_latency(health->fleet, live->id, LATENCY_TCP_INFO, (double)value / 1000.0);
    }
}

static void hear_samples(struct health *health, struct endpoint_live *live, unsigned told)
{
    if ((told & TOLD_CONNECT) != 0) {
        /* A bound from above: it holds the worker's own delay in noticing. */
        observe_us(health, live, &live->told_connect_us);
    }
    if ((told & TOLD_RTT) != 0) {
        observe_us(health, live, &live->told_rtt_us);
    }
}

static void hear_failures(struct health *health, struct endpoint_live *live, unsigned told)
{
    struct target *target = target_find(health, live->id);

    if (target == NULL) {
        return; /* gone from the fleet meanwhile */
    }
    if ((told & (TOLD_TRIAL_PASSED | TOLD_TRIAL_FAILED)) != 0) {
        guard_on_trial(target, (told & TOLD_TRIAL_FAILED) == 0);
    }
    if ((told & TOLD_REFUSED) != 0) {
        target_on_failure(target, OUTCOME_CONNECT_REFUSED);
    }
    if ((told & TOLD_FAILURE) != 0) {
        unsigned outcome = atomic_load_explicit(&live->told_outcome, memory_order_relaxed);

        target_on_failure(target, (enum outcome)outcome);
    }
    if ((told & (TOLD_REFUSED | TOLD_FAILURE)) != 0) {
        guard_hurry(health);
    }
}

static void on_told(struct loop_message *message, void *arg)
{
    struct health *health = OBJ_CAST(arg, health, HEALTH_MAGIC);
    struct endpoint_live *live = CONTAINER_OF(message, struct endpoint_live, message);
    /* From here on the message may be posted again. */
    unsigned told = atomic_exchange_explicit(&live->told, 0, memory_order_acq_rel);

    if (!health->ended) {
        hear_samples(health, live, told);
        hear_failures(health, live, told);
    }
    endpoint_live_unref(live);
}

/* ---- on any thread ---- */

static void tell(struct health *health, struct endpoint_live *live, unsigned bits)
{
    if (atomic_fetch_or_explicit(&live->told, bits, memory_order_acq_rel) == 0) {
        (void)endpoint_live_ref(live); /* given back in on_told() */
        loop_post(health->loop, &live->message, on_told, health);
    }
}

static void note_success(struct endpoint_live *live, uint64_t now_ns)
{
    atomic_fetch_add_explicit(&live->answered, 1, memory_order_relaxed);
    if (atomic_load_explicit(&live->failures, memory_order_relaxed) != 0) {
        atomic_store_explicit(&live->failures, 0, memory_order_relaxed);
    }
    if (atomic_load_explicit(&live->last_success_ns, memory_order_relaxed) + SUCCESS_GRAIN_NS <
        now_ns) {
        atomic_store_explicit(&live->last_success_ns, now_ns, memory_order_relaxed);
    }
}

static void note_full(struct endpoint_live *live, const struct attempt_report *report)
{
    atomic_fetch_add_explicit(&live->turned_away, 1, memory_order_relaxed);
    atomic_store_explicit(&live->full_until_ns,
                          report->now_ns + passive_full_ms(report->retry_after_ms) * NS_PER_MS,
                          memory_order_relaxed);
}

static unsigned note_failure(struct endpoint_live *live, const struct attempt_report *report,
                             bool is_hard)
{
    if (report->begun_ns < atomic_load_explicit(&live->judged_from_ns, memory_order_relaxed)) {
        return 0; /* the late end of what was forgiven */
    }
    atomic_fetch_add_explicit(&live->failed, 1, memory_order_relaxed);
    if (is_hard) {
        atomic_fetch_add_explicit(&live->failures, 1, memory_order_relaxed);
    }
    if (report->unopened) {
        atomic_fetch_add_explicit(&live->unopened, 1, memory_order_relaxed);
    }
    if (report->outcome == OUTCOME_CONNECT_REFUSED) {
        return TOLD_REFUSED;
    }
    atomic_store_explicit(&live->told_outcome, (unsigned)report->outcome, memory_order_relaxed);
    return TOLD_FAILURE;
}

static uint32_t to_us(uint64_t ns)
{
    uint64_t us = ns / NS_PER_US;

    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* Whoever took a TCP_INFO sample has checked the grain already; connect times are checked here. */
static unsigned note_samples(struct endpoint_live *live, const struct attempt_report *report)
{
    unsigned bits = 0;

    if (report->rtt_us > 0) {
        atomic_store_explicit(&live->told_rtt_us, report->rtt_us, memory_order_relaxed);
        bits |= TOLD_RTT;
    }
    if (report->tcp_open_ns > 0 &&
        atomic_load_explicit(&live->next_sample_ns, memory_order_relaxed) <= report->now_ns) {
        atomic_store_explicit(&live->next_sample_ns, report->now_ns + SAMPLE_GRAIN_NS,
                              memory_order_relaxed);
        atomic_store_explicit(&live->told_connect_us, to_us(report->tcp_open_ns),
                              memory_order_relaxed);
        bits |= TOLD_CONNECT;
    }
    return bits;
}

void health_report_trial(struct health *health, struct endpoint_live *live, enum outcome outcome)
{
    const struct effect *effect = &effects[outcome_class(outcome)];

    if (outcome == OUTCOME_OK) {
        tell(health, live, TOLD_TRIAL_PASSED);
    } else if (effect->is_full || effect->is_failed) {
        tell(health, live, TOLD_TRIAL_FAILED);
    } else {
        endpoint_live_return_trial(live);
    }
}

void health_report(struct health *health, const struct attempt_report *report)
{
    struct endpoint_live *live = report->live;
    const struct effect *effect = &effects[outcome_class(report->outcome)];
    unsigned bits = 0;

    if (report->outcome == OUTCOME_OK) {
        note_success(live, report->now_ns);
    } else if (effect->is_full) {
        note_full(live, report);
    } else if (effect->is_failed) {
        bits = note_failure(live, report, effect->is_hard);
    }
    if (report->tcp_open_ns > 0 &&
        atomic_load_explicit(&live->unopened, memory_order_relaxed) != 0) {
        atomic_store_explicit(&live->unopened, 0, memory_order_relaxed);
    }
    if (report->rtt_us > 0 || report->tcp_open_ns > 0) {
        bits |= note_samples(live, report);
    }
    if (bits != 0) {
        tell(health, live, bits);
    }
}
