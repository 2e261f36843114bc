/* SPDX-License-Identifier: MIT */
/* Verdicts on the speed of clients. */
#include "pace_private.h"

#include <nearside/base/clock.h>

#include <stdbool.h>

/* Whole milliseconds, so that nothing overflows: rates to 1e9, windows to a day. */
static bool is_slow(uint64_t bytes, uint64_t window_ns, uint64_t rate)
{
    return bytes * 1000 < rate * (window_ns / NS_PER_MS);
}

void pace_begin(struct pace *pace, uint64_t now_ns)
{
    *pace = (struct pace){.since_ns = now_ns, .last_ns = now_ns};
}

void pace_add(struct pace *pace, uint64_t now_ns, uint64_t bytes)
{
    pace->last_ns = now_ns;
    pace->bytes += bytes;
}

uint64_t pace_due_ns(const struct pace *pace, uint64_t window_ns, uint64_t rate)
{
    return (rate == 0 ? pace->last_ns : pace->since_ns) + window_ns;
}

enum pace_verdict pace_judge(struct pace *pace, uint64_t now_ns, uint64_t window_ns, uint64_t rate)
{
    if (now_ns >= pace->last_ns + window_ns) {
        return PACE_IDLE;
    }
    if (rate == 0 || now_ns < pace->since_ns + window_ns) {
        return PACE_GOOD;
    }
    if (is_slow(pace->bytes, window_ns, rate)) {
        return PACE_SLOW;
    }
    pace->since_ns = now_ns;
    pace->bytes = 0;
    return PACE_GOOD;
}

void take_pace_begin(struct take_pace *pace, uint64_t count)
{
    *pace = (struct take_pace){.first = count, .last = count};
}

enum pace_verdict take_pace_judge(struct take_pace *pace, uint64_t count, uint64_t window_ns,
                                  uint64_t rate)
{
    pace->quiet = count == pace->last ? (uint8_t)(pace->quiet + 1) : 0;
    pace->last = count;
    if (pace->quiet == PACE_QUARTERS) {
        return PACE_IDLE;
    }
    pace->looks++;
    if (pace->looks < PACE_QUARTERS) {
        return PACE_GOOD;
    }
    if (is_slow(count - pace->first, window_ns, rate)) {
        return PACE_SLOW;
    }
    pace->looks = 0;
    pace->first = count;
    return PACE_GOOD;
}
