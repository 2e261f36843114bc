/* SPDX-License-Identifier: MIT */
/*
 * What workers count on an endpoint while requests run: the atomics that threads share (rule 36).
 *
 * One object per endpoint identity (region, host, address, port) for as long as anything refers to
 * it; views, attempts and pooled connections hold references. Counts go up and down only through
 * struct attempt-like owners whose end function gives back what they took, so that the counts
 * return to zero whatever happens.
 *
 * Thread: any.
 */
#ifndef NEARSIDE_FLEET_LIVE_H
#define NEARSIDE_FLEET_LIVE_H

#include <nearside/base/attr.h>
#include <nearside/loop/loop.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct endpoint_live {
    /* What the choice of an endpoint and every attempt touch: one line. */
    _Alignas(CACHE_LINE) atomic_uint refs;
    atomic_uint pending;  /* sent here, no content byte yet */
    atomic_uint inflight; /* not finished: pending or streaming */
    atomic_uint failures; /* hard failures in a row, as the workers saw them */
    atomic_uint unopened; /* connections in a row that could not be made, whatever kept ones do */
    atomic_uint trial;    /* enum endpoint_trial */
    atomic_ullong last_success_ns;
    atomic_ullong full_until_ns;  /* 429 or 503 + Retry-After: no room until then */
    atomic_ullong next_sample_ns; /* TCP_INFO samples are taken at most every 100 ms */
    atomic_ullong requests;       /* attempts begun, for the status page */
    uint64_t id;                  /* unique in the process; never used again */

    /* How attempts ended, ever: the control thread reads the differences (health/breaker). */
    atomic_ullong answered;
    atomic_ullong failed;
    atomic_ullong turned_away;
    atomic_ullong judged_from_ns; /* attempts begun before this fail unheard: a clean sheet */

    /* What health_report() tells the control thread, coalesced: `message` is under way (and holds
     * a reference) while `told` is not 0, so an endpoint has one message queued at most. */
    _Alignas(CACHE_LINE) atomic_uint told; /* bits private to health/passive.c */
    atomic_uint told_outcome;
    atomic_uint told_rtt_us;
    atomic_uint told_connect_us;
    struct loop_message message;
};

/* The one real request that a tripped breaker lets through. The control thread opens the permit;
 * the worker that takes it reports how it went, or gives it back. */
enum endpoint_trial { TRIAL_NONE, TRIAL_OPEN, TRIAL_TAKEN };

/* True for exactly one caller per permit. */
bool endpoint_live_take_trial(struct endpoint_live *live) MUST_CHECK;
/* The request came to nothing that the endpoint could help: somebody else may. */
void endpoint_live_return_trial(struct endpoint_live *live);

struct endpoint_live *endpoint_live_new(void); /* one reference, the caller's */
struct endpoint_live *endpoint_live_ref(struct endpoint_live *live);
void endpoint_live_unref(struct endpoint_live *live); /* NULL is fine */

#endif
