/* SPDX-License-Identifier: MIT */
/*
 * Which region is *home*: the one that new requests prefer. Pure.
 *
 * Near regions (path latency at or under the budget, with a band of 5 ms each way for changing
 * class) come before far ones; among those the closest. The present home is kept unless it cannot
 * serve, or a challenger of its class is closer by max(hysteresis_ms, ratio x home's latency) and
 * the home is at least dwell_s old, and there were not two changes in the last minute already. A
 * home that went down is left at once, and so is a far one for a near one: the class has a band of
 * its own.
 */
#ifndef NEARSIDE_FLEET_HOME_H
#define NEARSIDE_FLEET_HOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOME_NONE (-1)

struct home_candidate {
    bool usable; /* up or degraded, not drained, has an endpoint that is up */
    bool known;  /* path latency is known */
    double latency_ms;
    bool near; /* class as of now, kept by home_class() */
};

struct home_rules {
    double budget_ms;
    double hysteresis_ms;
    double hysteresis_ratio;
    uint64_t dwell_ns; /* 0: changes are free, and are not counted */
};

/* So many changes a minute that hysteresis alone would allow: a path that swings slowly and widely
 * enough to pass both hysteresis and dwell still must not take the clients with it each time. */
#define HOME_CHANGES_PER_MINUTE 2

struct home_choice {
    int index;                                    /* HOME_NONE when no candidate is usable */
    uint64_t since_ns;                            /* when it became home */
    uint64_t changed_ns[HOME_CHANGES_PER_MINUTE]; /* by choice, newest first; 0: none */
};

/* Near or far with the class band: a region enters at or under budget - 5 ms (or, when it had no
 * class yet, at or under the budget) and leaves over budget + 5 ms. Budgets under 50 ms have a band
 * of a tenth of theirs. Unknown latency is far. */
bool home_class(bool was_near, bool had_class, bool known, double latency_ms, double budget_ms);

/* The home now, given the present one. Regions without a known latency come last, in order. */
struct home_choice home_choose(const struct home_candidate *candidates, size_t count,
                               struct home_choice present, const struct home_rules *rules,
                               uint64_t now_ns);

#endif
