/* SPDX-License-Identifier: MIT */
/* When to stop asking a Redis, and when to try again. Pure rules. */
#include "kv_breaker_private.h"

#include <nearside/kv/kv.h>

uint64_t kv_backoff_ms(unsigned attempt, uint64_t random)
{
    uint64_t wait_ms = KV_BACKOFF_FIRST_MS;

    while (attempt > 0 && wait_ms < KV_BACKOFF_MAX_MS) {
        wait_ms *= 2;
        attempt--;
    }
    if (wait_ms > KV_BACKOFF_MAX_MS) {
        wait_ms = KV_BACKOFF_MAX_MS;
    }
    return wait_ms - wait_ms / 4 + random % (wait_ms / 2 + 1);
}

bool kv_breaker_failure(struct kv_breaker *breaker, uint32_t timeout_ms)
{
    if (breaker->is_open) {
        return false; /* sent before it opened, or a trial: nothing new */
    }
    if (breaker->falls == 0 || timeout_ms < breaker->patience_ms) {
        breaker->patience_ms = timeout_ms;
    }
    breaker->falls++;
    if (breaker->falls < KV_BREAKER_FALLS) {
        return false;
    }
    breaker->is_open = true;
    breaker->trials = 0;
    return true;
}

bool kv_breaker_success(struct kv_breaker *breaker, uint32_t took_ms)
{
    bool was_open = breaker->is_open;

    if (breaker->falls > 0 && took_ms > breaker->patience_ms) {
        return false;
    }
    breaker->is_open = false;
    breaker->falls = 0;
    return was_open;
}

void kv_breaker_expect(struct kv_breaker *breaker, uint32_t timeout_ms)
{
    if (breaker->is_open) {
        breaker->patience_ms = timeout_ms;
    }
}

uint64_t kv_breaker_wait_ms(struct kv_breaker *breaker, uint64_t random)
{
    uint64_t wait_ms = kv_backoff_ms(breaker->trials, random);

    breaker->trials++;
    return wait_ms;
}
