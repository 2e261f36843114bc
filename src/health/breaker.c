/* SPDX-License-Identifier: MIT */
/* The rules of breaker_private.h. */
#include "breaker_private.h"

void breaker_window_add(struct breaker_window *window, const struct breaker_counts *counts,
                        uint64_t now_ns)
{
    uint64_t second = now_ns / NS_PER_S + 1;
    size_t place = second % BREAKER_BUCKETS;

    if (window->buckets[place].second != second) {
        window->buckets[place].second = second;
        window->buckets[place].counts = (struct breaker_counts){.good = 0};
    }
    window->buckets[place].counts.good += counts->good;
    window->buckets[place].counts.failed += counts->failed;
    window->buckets[place].counts.turned_away += counts->turned_away;
}

struct breaker_counts breaker_window_sum(const struct breaker_window *window, uint64_t now_ns)
{
    uint64_t second = now_ns / NS_PER_S + 1;
    struct breaker_counts sum = {.good = 0};

    for (size_t i = 0; i < BREAKER_BUCKETS; i++) {
        const struct breaker_counts *counts = &window->buckets[i].counts;

        if (window->buckets[i].second + BREAKER_BUCKETS > second) {
            sum.good += counts->good;
            sum.failed += counts->failed;
            sum.turned_away += counts->turned_away;
        }
    }
    return sum;
}

static bool rate_is_bad(uint64_t good, uint64_t bad, uint64_t samples_min)
{
    return good + bad >= samples_min && (double)good < BREAKER_RATE * (double)(good + bad);
}

bool breaker_endpoint_is_bad(uint32_t hard_in_row, const struct breaker_counts *counts)
{
    return hard_in_row >= BREAKER_HARD ||
           rate_is_bad(counts->good, counts->failed + counts->turned_away, BREAKER_SAMPLES);
}

/* All endpoints have failed often enough to be put aside one by one, or the region has failed
 * BREAKER_HARD_REGION times without a success between. */
bool breaker_region_is_bad(uint32_t hard_in_row, uint32_t endpoint_count,
                           const struct breaker_counts *counts)
{
    bool all_fail =
        hard_in_row >= BREAKER_HARD ||
        (hard_in_row > 0 && (uint64_t)hard_in_row * endpoint_count >= BREAKER_HARD_REGION);

    return (endpoint_count > 0 && all_fail) ||
           rate_is_bad(counts->good, counts->failed, BREAKER_SAMPLES_REGION);
}

void breaker_trip(struct breaker *breaker, double unit, uint64_t now_ns)
{
    uint64_t ms = BREAKER_BACKOFF_MS;

    if (now_ns - breaker->tripped_ns > BREAKER_FORGET_NS) {
        breaker->trips = 0;
    }
    for (uint32_t i = 0; i < breaker->trips && ms < BREAKER_BACKOFF_MS_MAX; i++) {
        ms *= 2;
    }
    ms = ms < BREAKER_BACKOFF_MS_MAX ? ms : BREAKER_BACKOFF_MS_MAX;
    ms += (uint64_t)((double)ms * BREAKER_JITTER * unit);
    breaker->state = BREAKER_OPEN;
    breaker->trips++;
    breaker->tripped_ns = now_ns;
    breaker->until_ns = now_ns + ms * NS_PER_MS;
}

void breaker_close(struct breaker *breaker)
{
    breaker->state = BREAKER_CLOSED;
}

bool breaker_tick(struct breaker *breaker, bool trial_is_taken, uint64_t now_ns)
{
    if (breaker->state == BREAKER_CLOSED || now_ns < breaker->until_ns) {
        return false;
    }
    if (breaker->state == BREAKER_OPEN) {
        breaker->state = BREAKER_TRIAL;
        breaker->until_ns = now_ns + BREAKER_IDLE_NS;
        return true;
    }
    if (trial_is_taken) {
        return false;
    }
    breaker->state = BREAKER_CLOSED;
    return true;
}
