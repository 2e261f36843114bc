/* SPDX-License-Identifier: MIT */
/*
 * The circuit breaker of one Redis, and the waits between attempts: values and rules alone, no
 * clock and no I/O, so that tests can walk through them.
 *
 *          KV_BREAKER_FALLS failures in a row
 *   CLOSED ─────────────────────────────────> OPEN ──┐ a trial fails: a longer wait
 *     ^                                        │ ^───┘
 *     └────────────────────────────────────────┘ any success
 */
#ifndef NEARSIDE_KV_BREAKER_PRIVATE_H
#define NEARSIDE_KV_BREAKER_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

/* A Redis that restarts is back within some hundred ms; one that is gone is asked 12 times a
 * minute, which costs nothing and finds it soon enough. */
#define KV_BACKOFF_FIRST_MS 100
#define KV_BACKOFF_MAX_MS   5000

/* Wait before attempt number `attempt` (0: the first), ms: doubling from the first to the
 * maximum, and spread by `random` over 75 to 125 % so that many edges do not come at once. */
uint64_t kv_backoff_ms(unsigned attempt, uint64_t random);

struct kv_breaker {
    bool is_open;
    unsigned falls;            /* failures since the last success */
    unsigned trials;           /* since it opened */
    uint32_t trial_timeout_ms; /* what the command that opened it was given */
};

/* Note the end of a command. True when this one opened or closed the breaker. */
bool kv_breaker_failure(struct kv_breaker *breaker, uint32_t timeout_ms);
bool kv_breaker_success(struct kv_breaker *breaker);

/* It is open: how long to wait before the next trial. */
uint64_t kv_breaker_wait_ms(struct kv_breaker *breaker, uint64_t random);

#endif
