/* SPDX-License-Identifier: MIT */
/*
 * When an endpoint counts as up or down: pure rules over runs of probes and failures in passing.
 *
 * Where prompts have to be answered first (rules.warmup), WARMING stands before each UP below:
 * threshold_warmed() goes on from there, misses and a refused connection lead to DOWN as ever.
 *
 *               pass                    fall misses, refused, SLOW_FALL, fall generations failed
 *     UNKNOWN ────────> UP ────────────────────────────────────────────────────────────> DOWN
 *        │              ^                                                                 │ ^
 *        │              └──── `needed` passes in a row, and generation works ─────────────┘ │
 *        └─────────────────────────── fall misses, refused ─────────────────────────────────┘
 *
 * Two tracks count apart, so that a /health that says 200 never excuses a hung engine: the health
 * probe (connect, TLS, status, match: one chain, any link's miss is a miss of the run, or an
 * endpoint that fails in turns would never be found out), and the tiny generation.
 *
 * Two rules are against flapping. A slow counter finds what never fails `fall` times in a row: each
 * miss while up adds one, only THRESHOLD_SLOW_CLEAR passes in a row clear it, THRESHOLD_SLOW_FALL
 * are the end (as gdnsd). And each fall within THRESHOLD_QUIET of the last doubles the passes
 * needed to come back, up to THRESHOLD_RISE_MAX; each quiet period takes one doubling back.
 *
 * One rule is for mercy: timeouts alone do not remove an endpoint that served real traffic within
 * the last interval, nor does the slow counter count them. Its /health may be starved, the endpoint
 * is not gone.
 */
#ifndef NEARSIDE_HEALTH_THRESHOLD_PRIVATE_H
#define NEARSIDE_HEALTH_THRESHOLD_PRIVATE_H

#include <nearside/base/clock.h>
#include <nearside/fleet/view.h>
#include <nearside/obs/metric.h>

#include <stdbool.h>
#include <stdint.h>

#define THRESHOLD_SLOW_FALL  10
#define THRESHOLD_SLOW_CLEAR 10
#define THRESHOLD_RISE_MAX   16
#define THRESHOLD_QUIET_NS   (600 * NS_PER_S)

enum probe_track { TRACK_HEALTH, TRACK_GENERATE, TRACK_COUNT };

enum probe_verdict {
    PROBE_NOTHING, /* says nothing about the endpoint */
    PROBE_PASS,
    PROBE_MISS,
    PROBE_TIMEOUT, /* a miss that traffic may excuse */
    PROBE_REFUSED, /* nobody listens: a verdict by itself */
};

/* What the present run, or the one that ended in DOWN, is made of. */
struct probe_run {
    uint32_t passes;   /* in a row */
    uint32_t misses;   /* in a row */
    uint32_t timeouts; /* of the misses */
    bool failed;       /* `fall` misses were reached, `rise` passes not yet */
};

struct threshold {
    enum endpoint_state state;
    bool flapped; /* the last fall was the slow counter's */
    struct probe_run runs[TRACK_COUNT];
    uint32_t slow;  /* misses while up since the last long run of passes */
    uint32_t falls; /* lately: each doubles what it takes to come back */
    uint64_t fell_ns;
};

struct threshold_rules {
    uint32_t fall;
    uint32_t rise;
    bool warmup; /* up only after threshold_warmed() */
};

struct probe_fact {
    enum probe_track track;
    enum probe_verdict verdict;
    bool had_traffic; /* a real request succeeded within the last interval */
    uint64_t now_ns;
};

/* The state after one more probe. */
enum endpoint_state threshold_probe(struct threshold *threshold, const struct probe_fact *fact,
                                    const struct threshold_rules *rules);
/* The state after a failure that a worker saw. A refused connection is a verdict; what others mean
 * is the breaker's to say, and no run of probes ends by them: else an endpoint that is down, or one
 * that has to clear its slow counter, would wait for traffic without a single failure. */
enum endpoint_state threshold_passive(struct threshold *threshold, enum outcome outcome,
                                      uint64_t now_ns);
/* It has answered its prompts: WARMING becomes UP, unless generations fail. */
void threshold_warmed(struct threshold *threshold);
/* Generations are not asked for any more: they say nothing. */
void threshold_forget_generate(struct threshold *threshold);

/* Passes in a row that it takes to come back from down. */
uint32_t threshold_needed(const struct threshold *threshold, const struct threshold_rules *rules);
/* Probe soon: the verdict on the track is changing (between misses, between passes, or not known
 * yet). */
bool threshold_is_changing(const struct threshold *threshold, enum probe_track track,
                           const struct threshold_rules *rules);

#endif
