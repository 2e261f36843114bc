/* SPDX-License-Identifier: MIT */
/*
 * The rules of threshold_private.h.
 *
 * A refused connection is a verdict by itself: nobody listens there, so the next request would fail
 * as well. Everything else may be bad luck and has to repeat itself.
 */
#include "threshold_private.h"

static void go_down(struct threshold *threshold, uint64_t now_ns)
{
    threshold->runs[TRACK_HEALTH].passes = 0;
    threshold->slow = 0;
    if (threshold->state == ENDPOINT_UP) {
        uint64_t quiet = (now_ns - threshold->fell_ns) / THRESHOLD_QUIET_NS;

        threshold->falls -= quiet < threshold->falls ? (uint32_t)quiet : threshold->falls;
        threshold->falls++;
        threshold->fell_ns = now_ns;
    }
    threshold->state = ENDPOINT_DOWN;
}

uint32_t threshold_needed(const struct threshold *threshold, const struct threshold_rules *rules)
{
    uint32_t needed = rules->rise;

    for (uint32_t i = 1; i < threshold->falls && needed < THRESHOLD_RISE_MAX; i++) {
        needed *= 2;
    }
    if (needed > THRESHOLD_RISE_MAX) {
        needed = THRESHOLD_RISE_MAX;
    }
    return needed < rules->rise ? rules->rise : needed; /* a rise beyond the cap stays as it is */
}

/* May it come up, as far as the other track and the run of passes go? */
static bool is_recovered(const struct threshold *threshold, const struct threshold_rules *rules)
{
    if (threshold->runs[TRACK_GENERATE].failed || threshold->runs[TRACK_HEALTH].passes == 0) {
        return false;
    }
    return threshold->state != ENDPOINT_DOWN ||
           threshold->runs[TRACK_HEALTH].passes >= threshold_needed(threshold, rules);
}

static void after_pass(struct threshold *threshold, enum probe_track track,
                       const struct threshold_rules *rules)
{
    struct probe_run *run = &threshold->runs[track];

    run->misses = 0;
    run->timeouts = 0;
    run->passes += run->passes < UINT32_MAX;
    run->failed = run->failed && run->passes < rules->rise;
    if (track == TRACK_HEALTH && run->passes >= THRESHOLD_SLOW_CLEAR) {
        threshold->slow = 0;
    }
    if (threshold->state != ENDPOINT_UP && is_recovered(threshold, rules)) {
        threshold->state = rules->warmup ? ENDPOINT_WARMING : ENDPOINT_UP;
    }
}

static void after_miss(struct threshold *threshold, const struct probe_fact *fact,
                       const struct threshold_rules *rules)
{
    struct probe_run *run = &threshold->runs[fact->track];
    bool is_up = threshold->state == ENDPOINT_UP;
    bool refused = fact->verdict == PROBE_REFUSED && fact->track == TRACK_HEALTH;

    run->passes = 0;
    run->misses += run->misses < UINT32_MAX;
    run->timeouts += fact->verdict == PROBE_TIMEOUT && run->timeouts < UINT32_MAX;
    if (is_up && fact->had_traffic && run->timeouts == run->misses) {
        return;
    }
    threshold->slow += is_up && fact->track == TRACK_HEALTH && threshold->slow < UINT32_MAX;
    run->failed = run->failed || run->misses >= rules->fall;
    if (refused || run->misses >= rules->fall) {
        threshold->flapped = is_up ? false : threshold->flapped;
        go_down(threshold, fact->now_ns);
    } else if (threshold->slow >= THRESHOLD_SLOW_FALL) {
        threshold->flapped = true;
        go_down(threshold, fact->now_ns);
    }
}

enum endpoint_state threshold_probe(struct threshold *threshold, const struct probe_fact *fact,
                                    const struct threshold_rules *rules)
{
    if (fact->verdict == PROBE_PASS) {
        after_pass(threshold, fact->track, rules);
    } else if (fact->verdict != PROBE_NOTHING) {
        after_miss(threshold, fact, rules);
    }
    return threshold->state;
}

enum endpoint_state threshold_passive(struct threshold *threshold, enum outcome outcome,
                                      uint64_t now_ns)
{
    if (outcome == OUTCOME_CONNECT_REFUSED) {
        threshold->flapped = false;
        go_down(threshold, now_ns);
    }
    return threshold->state;
}

void threshold_warmed(struct threshold *threshold)
{
    if (threshold->state == ENDPOINT_WARMING && !threshold->runs[TRACK_GENERATE].failed) {
        threshold->state = ENDPOINT_UP;
    }
}

void threshold_forget_generate(struct threshold *threshold)
{
    threshold->runs[TRACK_GENERATE] = (struct probe_run){.passes = 0};
}

bool threshold_is_changing(const struct threshold *threshold, enum probe_track track,
                           const struct threshold_rules *rules)
{
    const struct probe_run *run = &threshold->runs[track];

    if (track == TRACK_GENERATE) {
        return run->failed || run->misses > 0;
    }
    switch (threshold->state) {
    case ENDPOINT_UP:
    case ENDPOINT_WARMING:
        return run->misses > 0;
    case ENDPOINT_DOWN:
        return run->passes > 0 && run->passes < threshold_needed(threshold, rules);
    default:
        return true;
    }
}
