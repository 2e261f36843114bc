/* SPDX-License-Identifier: MIT */
/*
 * What an attempt counts on its endpoint, and gives back: pending until the first content byte,
 * in flight until the end. attempt_end() is the one place that gives back, and harmless when
 * nothing is counted, so that every way out may call it.
 */
#include "request_private.h"

#include "explain_private.h"
#include "worker_private.h"

#include <nearside/base/clock.h>
#include <nearside/fleet/view.h>
#include <nearside/health/health.h>
#include <nearside/net/stream.h>
#include <nearside/upstream/pool.h>

#define RTT_SAMPLE_NS (100 * NS_PER_MS) /* per endpoint: enough for an EWMA over seconds */
/* Per worker: a large region's latency is the median of its endpoints', and each sample is a system
 * call, a message and a wake-up of the control thread. */
#define RTT_WORKER_NS (20 * NS_PER_MS)

void request_hold_pending(struct request *request, unsigned slot)
{
    request_drop_pending(request);
    request->pending_held = true;
    request->pending_slot = slot;
    metric_inc(request->worker->metrics, METRIC_PENDING, slot);
}

void request_drop_pending(struct request *request)
{
    if (request->pending_held) {
        request->pending_held = false;
        metric_add(request->worker->metrics, METRIC_PENDING, request->pending_slot, 0, 0, -1);
    }
}

bool attempt_claim(struct request *request)
{
    const struct view_region *region = &request->view->regions[request->choice.region];
    const struct view_endpoint *endpoint = &region->endpoints[request->choice.endpoint];

    if (region->breaker != BREAKER_TRIAL && endpoint->breaker != BREAKER_TRIAL) {
        return true;
    }
    request->on_trial = endpoint_live_take_trial(endpoint->live);
    return request->on_trial;
}

static void report_trial(struct request *request, enum outcome outcome)
{
    if (request->on_trial) {
        request->on_trial = false;
        health_report_trial(request->worker->deps.health, request->counted, outcome);
    }
}

void attempt_begin(struct request *request, const struct view_endpoint *endpoint, unsigned slot)
{
    struct endpoint_live *live = endpoint->live;

    request->counted = endpoint_live_ref(live);
    request->counted_pending = true;
    request->attempt_slot = slot;
    request->attempt_ns = loop_now_ns(request->worker->loop);
    request->dialled = false;
    request->tcp_open_ns = 0;
    request->rtt_us = 0;
    request->retry_after_ms = 0;
    memcpy(request->served_endpoint, endpoint->address, sizeof(request->served_endpoint));
    atomic_fetch_add_explicit(&live->pending, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&live->inflight, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&live->requests, 1, memory_order_relaxed);
    request_hold_pending(request, slot);
}

void attempt_has_content(struct request *request)
{
    if (request->answer_outcome == OUTCOME_OK) {
        report_trial(request, OUTCOME_OK); /* it works: a stream may go on for minutes */
    }
    if (request->counted_pending) {
        request->counted_pending = false;
        atomic_fetch_sub_explicit(&request->counted->pending, 1, memory_order_relaxed);
    }
    request_drop_pending(request);
}

void attempt_sample_rtt(struct request *request)
{
    struct endpoint_live *live = request->counted;
    struct worker *worker = request->worker;
    uint64_t now_ns = loop_now_ns(worker->loop);
    unsigned long long due = atomic_load_explicit(&live->next_sample_ns, memory_order_relaxed);
    uint32_t rtt_us = 0;
    uint32_t min_rtt_us = 0;

    if (now_ns >= worker->next_rtt_ns && now_ns >= due &&
        atomic_compare_exchange_strong_explicit(&live->next_sample_ns, &due, now_ns + RTT_SAMPLE_NS,
                                                memory_order_relaxed, memory_order_relaxed) &&
        stream_rtt_us(upstream_stream(request->exchange.conn), &rtt_us, &min_rtt_us)) {
        request->rtt_us = rtt_us;
        worker->next_rtt_ns = now_ns + RTT_WORKER_NS;
    }
}

/* A second endpoint that fails the same request in the same way says something about the request,
 * not about itself: it is not blamed. */
static enum outcome outcome_to_report(const struct request *request, enum outcome outcome)
{
    if (outcome == OUTCOME_STATUS_5XX && request->failed_5xx) {
        return OUTCOME_CLIENT_GONE; /* the client's own doing: says nothing */
    }
    return outcome;
}

void attempt_end(struct request *request, enum outcome outcome)
{
    struct worker *worker = request->worker;
    struct endpoint_live *live = request->counted;
    uint64_t now_ns = loop_now_ns(worker->loop);

    if (live == NULL) {
        return;
    }
    struct attempt_report report = {
        .live = live,
        .outcome = outcome_to_report(request, outcome),
        .retry_after_ms = request->retry_after_ms,
        .begun_ns = request->attempt_ns,
        .unopened = request->dialled && request->tcp_open_ns == 0,
        .tcp_open_ns = request->tcp_open_ns,
        .rtt_us = request->rtt_us,
        .now_ns = now_ns,
    };
    explain_note_attempt(request, outcome, now_ns);
    report_trial(request, report.outcome);
    attempt_has_content(request);
    atomic_fetch_sub_explicit(&live->inflight, 1, memory_order_relaxed);
    metric_add(worker->metrics, METRIC_ATTEMPTS, request->attempt_slot, outcome, 0, 1);
    health_report(worker->deps.health, &report);
    request->failed_5xx = request->failed_5xx || outcome == OUTCOME_STATUS_5XX;
    request->counted = NULL;
    endpoint_live_unref(live);
}
