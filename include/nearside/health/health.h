/* SPDX-License-Identifier: MIT */
/*
 * Who is alive: active probes of every endpoint from the control thread, what workers saw in
 * passing, name resolution, and a watch on each region's Redis. Writes its verdicts to the fleet.
 *
 * Active: GET health.path on a kept connection, first at time 0, then every interval_ms
 * (start to start, jitter 10 %; fast_interval_ms while the verdict is changing), and a request for
 * one token now and then when health.generate says so. `fall` misses in a row make an endpoint
 * down, `rise` successes up again; a fresh one comes up with its first success.
 *
 * Passive: a refused connection takes the endpoint down at once; other failures go to the breakers,
 * one per endpoint and one per region, and make the next probe come now. 4xx never counts; 429 and
 * 503 with Retry-After mean full for that long, not broken; our own shortages never count.
 *
 * Thread: control, but for health_report().
 */
#ifndef NEARSIDE_HEALTH_HEALTH_H
#define NEARSIDE_HEALTH_HEALTH_H

#include <nearside/base/attr.h>
#include <nearside/fleet/view.h>
#include <nearside/obs/metric.h>

#include <stdint.h>

struct conf;
struct fleet;
struct health;
struct load_reports;
struct peers;
struct loop;
struct resolver;
struct tls_ctx;

/* `resolver` and `fleet` outlive it. */
struct health *health_new(struct loop *loop, struct fleet *fleet, struct resolver *resolver,
                          struct metric_block *metrics);
/* Ends all probes and look-ups. No thread may report any more; reports that are on their way are
 * dropped, so the loop need not be empty. NULL is fine. */
void health_free(struct health *health);

/* Follow a config that the fleet has just adopted: probes and look-ups for what is new, none for
 * what is gone; the rest goes on undisturbed. `region_tls[i]` is region i's client context (a
 * reference is taken). */
void health_apply(struct health *health, struct conf *conf, struct tls_ctx *const *region_tls);

/* Ask `is_warm` about each endpoint (its region's name, ADDRESS:PORT) when it is first seen: one
 * that is needs no warm-up before it counts as up for the first time. To be said before the first
 * health_apply(). */
void health_know_warm(struct health *health,
                      bool (*is_warm)(const char *region, const char *address, void *arg),
                      void *arg);

/* Call `fn` once, on a later turn, when operators' drains and other edges' reports have been read
 * from every Redis, or have been waited for half a second, after the first health_apply(). To be
 * said before that. */
void health_when_shared(struct health *health, void (*fn)(void *arg), void *arg);
/* While silent, no report of this edge is written to any Redis: another process of the same edge.id
 * speaks for it, before this one takes over or after it was replaced. Reading goes on, and so do
 * operators' drains. Not silent at first. */
void health_set_silent(struct health *health, bool silent);
/* What other edges report (fleet/peers.h); borrowed, changes with time. */
const struct peers *health_peers(const struct health *health);
/* What pods and exporters say about their load (fleet/load.h); borrowed, changes with time. */
const struct load_reports *health_loads(const struct health *health);

/* How an attempt on an endpoint ended, as a worker saw it. */
struct attempt_report {
    struct endpoint_live *live; /* borrowed for the call */
    enum outcome outcome;
    uint64_t retry_after_ms; /* OUTCOME_FULL: 0 when not given */
    uint64_t begun_ns;       /* of the attempt */
    bool unopened;           /* it needed a new connection, and that could not be made */
    uint64_t tcp_open_ns;    /* a fresh connection's TCP connect time; 0: none */
    uint32_t rtt_us;         /* TCP_INFO; 0: none taken */
    uint64_t now_ns;
};

/* Tell. A success after a success costs two atomic loads and an addition; what matters is posted to
 * the control thread. Thread: any. */
void health_report(struct health *health, const struct attempt_report *report);
/* Tell how the one request went that held live->trial: OK with its first byte of content, or what
 * it failed by. What says nothing about the endpoint gives the permit back. Call once per permit,
 * besides health_report(). Thread: any. */
void health_report_trial(struct health *health, struct endpoint_live *live, enum outcome outcome);

#endif
