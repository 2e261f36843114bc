/* SPDX-License-Identifier: MIT */
/*
 * The circuit breaker of one Redis, and the waits between attempts: values and rules alone, no
 * clock and no I/O, so that tests can walk through them.
 *
 *          KV_BREAKER_FALLS failures in a row
 *   CLOSED ─────────────────────────────────> OPEN ──┐ a trial fails: a longer wait
 *     ^                                        │ ^───┘
 *     └────────────────────────────────────────┘ an answer as quick as those should have been
 *
 * An answer that took longer than the failed commands were given is no success: a slow Redis that
 * answers patient commands still costs the impatient ones their time.
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
    unsigned falls;  /* failures since the last success */
    unsigned trials; /* since it opened */
    uint32_t
        patience_ms; /* the least that one of these failures was given; what a trial is given */
};

/* Note the end of a command: it failed and had been given `timeout_ms`, or was answered after
 * `took_ms`. True when this one opened or closed the breaker. */
bool kv_breaker_failure(struct kv_breaker *breaker, uint32_t timeout_ms);
bool kv_breaker_success(struct kv_breaker *breaker, uint32_t took_ms);

/* So long a command would wait now, were it let through: while it is open, trials are given that.
 */
void kv_breaker_expect(struct kv_breaker *breaker, uint32_t timeout_ms);

/* It is open: how long to wait before the next trial. */
uint64_t kv_breaker_wait_ms(struct kv_breaker *breaker, uint64_t random);

#endif
