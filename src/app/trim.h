/* SPDX-License-Identifier: MIT */
/*
 * When free memory goes back to the kernel.
 *
 * Small answers of all sizes come and go in the memory tier (large ones have pages of their own),
 * so the allocator's free memory lies between what is used, and it gives back only what lies at its
 * end. Here it is told to give back every free page once that has become much.
 *
 * What is resident beyond what is counted (cached answers, those under way, kept bodies, pages that
 * lie warm) is the slack. Some of it is in use: connections, pools, tables. So the least slack seen
 * is the floor, and a trim is due when there is a step more than that; what a trim leaves is the
 * new floor.
 *
 * A trim takes the allocator's locks, one arena at a time. How long depends on how much there is:
 * the pause behind it is so many times that, so that trims take a twentieth of the time at most.
 *
 * Thread: values only.
 */
#ifndef NEARSIDE_APP_TRIM_H
#define NEARSIDE_APP_TRIM_H

#include <stdbool.h>
#include <stdint.h>

#define TRIM_TICK_MS     50      /* between two looks */
#define TRIM_IDLE_MS     1000    /* where nothing changes */
#define TRIM_PAUSE_MS    50      /* between two trims, at least */
#define TRIM_PAUSE_TIMES 20      /* what the last one took */
#define TRIM_STEP_BYTES  2097152 /* at least */
#define TRIM_STEP_DIVIDE 32      /* a 32nd of the cache's bound */

struct trim {
    uint64_t floor; /* bytes */
    uint64_t seen;  /* slack at the last look, bytes */
    uint64_t tick_ms;
    uint64_t last_ms;
    uint64_t pause_ms;
};

struct trim_facts {
    uint64_t resident;
    uint64_t counted; /* cached answers, those under way, kept bodies, warm pages */
    uint64_t bound;   /* cache.memory_bytes */
    uint64_t now_ms;  /* monotonic */
};

void trim_init(struct trim *trim, const struct trim_facts *facts);
/* Look at the facts; true: trim now, and say what came out by trim_done(). */
bool trim_is_due(struct trim *trim, const struct trim_facts *facts);
void trim_done(struct trim *trim, const struct trim_facts *facts, uint64_t took_ms);

/* When to look again, milliseconds from now: the longer nothing has changed the later, up to
 * TRIM_IDLE_MS. A look costs a tenth of a millisecond of an idle processor. */
uint64_t trim_next_look_ms(struct trim *trim, const struct trim_facts *facts);

#endif
