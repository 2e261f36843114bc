/* SPDX-License-Identifier: MIT */
/* When free memory goes back to the kernel: see trim.h, and edge_on_trim_tick() for the act. */
#include "trim.h"

#include "edge.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/base/pages.h>
#include <nearside/cache/cache.h>
#include <nearside/cache/flight.h>
#include <nearside/obs/log.h>

static uint64_t slack_of(const struct trim_facts *facts)
{
    return facts->resident > facts->counted ? facts->resident - facts->counted : 0;
}

void trim_init(struct trim *trim, const struct trim_facts *facts)
{
    *trim = (struct trim){.floor = slack_of(facts),
                          .seen = slack_of(facts),
                          .tick_ms = TRIM_TICK_MS,
                          .last_ms = facts->now_ms,
                          .pause_ms = TRIM_PAUSE_MS};
}

bool trim_is_due(struct trim *trim, const struct trim_facts *facts)
{
    const uint64_t slack = slack_of(facts);
    const uint64_t share = facts->bound / TRIM_STEP_DIVIDE;
    const uint64_t step = share > TRIM_STEP_BYTES ? share : TRIM_STEP_BYTES;

    if (slack < trim->floor) {
        trim->floor = slack;
    }
    return slack - trim->floor > step && facts->now_ms - trim->last_ms >= trim->pause_ms;
}

void trim_done(struct trim *trim, const struct trim_facts *facts, uint64_t took_ms)
{
    trim_init(trim, facts);
    if (took_ms * TRIM_PAUSE_TIMES > trim->pause_ms) {
        trim->pause_ms = took_ms * TRIM_PAUSE_TIMES;
    }
}

uint64_t trim_next_look_ms(struct trim *trim, const struct trim_facts *facts)
{
    if (slack_of(facts) != trim->seen) {
        trim->tick_ms = TRIM_TICK_MS;
    } else if (trim->tick_ms < TRIM_IDLE_MS) {
        trim->tick_ms = trim->tick_ms * 2 < TRIM_IDLE_MS ? trim->tick_ms * 2 : TRIM_IDLE_MS;
    }
    trim->seen = slack_of(facts);
    return trim->tick_ms;
}

/* ---- the act ---- */

static struct trim_facts facts_now(const struct edge *edge)
{
    struct cache_stats stats;

    cache_stats(edge->cache, &stats);
    return (struct trim_facts){
        .resident = mem_resident_bytes(),
        .counted = stats.bytes + flights_bytes(cache_flights(edge->cache)) +
                   atomic_load_explicit(&edge->shared.buffered_bytes, memory_order_relaxed) +
                   pages_warm_bytes(),
        .bound = stats.bytes_max,
        .now_ms = clock_mono_ns() / NS_PER_MS,
    };
}

void edge_trim_start(struct edge *edge)
{
    const struct trim_facts facts = facts_now(edge);

    trim_init(&edge->trim, &facts);
    deadline_set_in_ms(&edge->trim_deadline, TRIM_TICK_MS);
}

void edge_on_trim_tick(struct deadline *deadline, void *arg)
{
    struct edge *edge = OBJ_CAST(arg, edge, EDGE_MAGIC);
    const bool has_cooled = pages_cool() > 0;
    const struct trim_facts before = facts_now(edge);
    uint64_t next_ms = trim_next_look_ms(&edge->trim, &before);

    if (trim_is_due(&edge->trim, &before)) {
        mem_trim();
        const struct trim_facts after = facts_now(edge);
        const uint64_t took_ms = after.now_ms - before.now_ms;
        trim_done(&edge->trim, &after, took_ms);
        next_ms = TRIM_TICK_MS;
        log_debug("memory_trimmed", "before=%llu after=%llu counted=%llu took_ms=%llu",
                  (unsigned long long)before.resident, (unsigned long long)after.resident,
                  (unsigned long long)after.counted, (unsigned long long)took_ms);
    } else if (has_cooled) {
        next_ms = TRIM_TICK_MS; /* there may be more */
    }
    deadline_set_in_ms(deadline, next_ms);
}
