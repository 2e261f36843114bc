/* SPDX-License-Identifier: MIT */
/*
 * The breaker: what real traffic says, whatever probes say. One per endpoint and one per region.
 *
 *               5 hard failures in a row, or under 80 % success in 10 s
 *      CLOSED ──────────────────────────────────────────────────────────> OPEN <──┐
 *         ^                                                   backoff over │       │ it failed
 *         │                                                                v       │
 *         └──── the one real request succeeded, or nobody asked ──────── TRIAL ────┘
 *
 * The backoff is BREAKER_BACKOFF_MS, doubled with each trip up to BREAKER_BACKOFF_MS_MAX, and up to
 * half of it more at random, so that edges do not try all at once. BREAKER_FORGET_NS without a
 * trip forgets the doublings.
 *
 * Pure values: the time and the random number are given.
 */
#ifndef NEARSIDE_HEALTH_BREAKER_PRIVATE_H
#define NEARSIDE_HEALTH_BREAKER_PRIVATE_H

#include <nearside/base/clock.h>
#include <nearside/fleet/view.h>

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_BUCKETS        10 /* of one second */
#define BREAKER_HARD           5  /* failures in a row */
#define BREAKER_HARD_REGION    20 /* in a row over a region's endpoints, at most */
#define BREAKER_SAMPLES        10 /* fewer say nothing about a rate */
#define BREAKER_SAMPLES_REGION 20
#define BREAKER_RATE           0.8
#define BREAKER_BACKOFF_MS     1000
#define BREAKER_BACKOFF_MS_MAX 60000
#define BREAKER_JITTER         0.5
#define BREAKER_FORGET_NS      (300 * NS_PER_S)
#define BREAKER_IDLE_NS        (60 * NS_PER_S) /* a trial nobody took */

/* How attempts ended. */
struct breaker_counts {
    uint64_t good;
    uint64_t failed;      /* faults, broken answers, no first token in time */
    uint64_t turned_away; /* 429, or 503 with Retry-After */
};

/* The last ten seconds, exactly: a bucket belongs to one second. */
struct breaker_window {
    struct {
        uint64_t second; /* plus one; 0: never used */
        struct breaker_counts counts;
    } buckets[BREAKER_BUCKETS];
};

void breaker_window_add(struct breaker_window *window, const struct breaker_counts *counts,
                        uint64_t now_ns);
struct breaker_counts breaker_window_sum(const struct breaker_window *window, uint64_t now_ns);

struct breaker {
    enum breaker_state state;
    uint32_t trips; /* lately: each doubles the backoff */
    uint64_t tripped_ns;
    uint64_t until_ns; /* OPEN: when the trial begins; TRIAL: when it ends if nobody asks */
};

/* An endpoint: being full counts as a failure here, for a pod that turns requests away in a
 * millisecond must not attract them. */
bool breaker_endpoint_is_bad(uint32_t hard_in_row, const struct breaker_counts *counts);
/* A region, from its `endpoint_count` endpoints in play. `hard_in_row`: of the endpoint that has
 * fewest. Being full is no failure of a region: requests spill by endpoint, and a region at its
 * limit must not lose what it does serve. */
bool breaker_region_is_bad(uint32_t hard_in_row, uint32_t endpoint_count,
                           const struct breaker_counts *counts);

/* `unit`: a random number, 0 .. 1. */
void breaker_trip(struct breaker *breaker, double unit, uint64_t now_ns);
void breaker_close(struct breaker *breaker);
/* Time passes. True when that changed the state. */
bool breaker_tick(struct breaker *breaker, bool trial_is_taken, uint64_t now_ns);

#endif
