/* SPDX-License-Identifier: MIT */
/*
 * When an endpoint counts as up or down: runs of probe results and of failures seen in passing.
 *
 * A refused connection is a verdict by itself: nobody listens there, so the next request would fail
 * as well. Everything else may be bad luck and has to repeat itself.
 */
#include <nearside/health/health.h>

static enum endpoint_state go_down(struct threshold *threshold)
{
    threshold->passes = 0;
    threshold->state = ENDPOINT_DOWN;
    return ENDPOINT_DOWN;
}

static enum endpoint_state after_pass(struct threshold *threshold, uint32_t rise)
{
    threshold->misses = 0;
    threshold->passes++;
    if (threshold->state != ENDPOINT_DOWN || threshold->passes >= rise) {
        threshold->state = ENDPOINT_UP;
    }
    return threshold->state;
}

enum endpoint_state threshold_probe(struct threshold *threshold, enum probe_verdict verdict,
                                    uint32_t fall, uint32_t rise)
{
    if (verdict == PROBE_PASS) {
        return after_pass(threshold, rise);
    }
    threshold->passes = 0;
    threshold->misses++;
    if (verdict == PROBE_REFUSED || threshold->misses >= fall) {
        return go_down(threshold);
    }
    return threshold->state;
}

enum endpoint_state threshold_passive(struct threshold *threshold, enum outcome outcome,
                                      uint32_t failures_in_row)
{
    if (!outcome_is_blamed(outcome)) {
        return threshold->state;
    }
    threshold->passes = 0;
    if (outcome == OUTCOME_CONNECT_REFUSED || failures_in_row >= HEALTH_PASSIVE_FALL) {
        return go_down(threshold);
    }
    return threshold->state;
}

bool threshold_is_changing(const struct threshold *threshold)
{
    switch (threshold->state) {
    case ENDPOINT_UP:
        return threshold->misses > 0;
    case ENDPOINT_DOWN:
        return threshold->passes > 0;
    default:
        return true;
    }
}
