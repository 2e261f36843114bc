/* SPDX-License-Identifier: MIT */
/* Electing the home region: near before far, then the closest, and no change without a reason. */
#include <nearside/fleet/home.h>

#include <nearside/base/clock.h>

#include <math.h>
#include <string.h>

/* Half the width of the band in which a region keeps its class: 5 ms at the default budget of
 * 50 ms, less for small budgets, so that a region can always come back in. */
#define CLASS_BAND_MS    5.0
#define CLASS_BAND_RATIO 0.1

#define MINUTE_NS (60 * NS_PER_S)

bool home_class(bool was_near, bool had_class, bool known, double latency_ms, double budget_ms)
{
    double band = fmin(CLASS_BAND_MS, CLASS_BAND_RATIO * budget_ms);

    if (!known) {
        return false;
    }
    if (!had_class) {
        return latency_ms <= budget_ms;
    }
    return latency_ms <= (was_near ? budget_ms + band : budget_ms - band);
}

static bool is_better(const struct home_candidate *a, const struct home_candidate *b)
{
    if (a->near != b->near) {
        return a->near;
    }
    if (a->known != b->known) {
        return a->known;
    }
    return a->known && a->latency_ms < b->latency_ms;
}

static int find_best(const struct home_candidate *candidates, size_t count)
{
    int best = HOME_NONE;

    for (size_t i = 0; i < count; i++) {
        if (candidates[i].usable &&
            (best == HOME_NONE || is_better(&candidates[i], &candidates[best]))) {
            best = (int)i;
        }
    }
    return best;
}

/* Dwell, and the bound on changes a minute. */
static bool may_change(const struct home_choice *present, const struct home_rules *rules,
                       uint64_t now_ns)
{
    uint64_t oldest_ns = present->changed_ns[HOME_CHANGES_PER_MINUTE - 1];

    if (rules->dwell_ns == 0) {
        return true;
    }
    return now_ns >= present->since_ns + rules->dwell_ns &&
           (oldest_ns == 0 || now_ns >= oldest_ns + MINUTE_NS);
}

/* Must the present home, which can serve, give way to `best`? A better class wins at once (its band
 * is what keeps that steady), within a class hysteresis and dwell apply. */
static bool must_give_way(const struct home_candidate *home, const struct home_candidate *best,
                          const struct home_choice *present, const struct home_rules *rules,
                          uint64_t now_ns)
{
    double margin;

    if (best->near != home->near || best->known != home->known) {
        return true;
    }
    if (!home->known) {
        return false;
    }
    margin = fmax(rules->hysteresis_ms, rules->hysteresis_ratio * home->latency_ms);
    return best->latency_ms + margin < home->latency_ms && may_change(present, rules, now_ns);
}

/* Only changes made by choice count towards the bound: a home that was lost must not keep the
 * closest region from taking over again once it is back. */
static struct home_choice change_to(int index, const struct home_choice *present, bool by_choice,
                                    const struct home_rules *rules, uint64_t now_ns)
{
    struct home_choice next = *present;

    next.index = index;
    next.since_ns = now_ns;
    if (rules->dwell_ns != 0 && by_choice) {
        memmove(&next.changed_ns[1], &next.changed_ns[0],
                sizeof(next.changed_ns) - sizeof(next.changed_ns[0]));
        next.changed_ns[0] = now_ns;
    }
    return next;
}

struct home_choice home_choose(const struct home_candidate *candidates, size_t count,
                               struct home_choice present, const struct home_rules *rules,
                               uint64_t now_ns)
{
    int best = find_best(candidates, count);
    bool stays = present.index != HOME_NONE && (size_t)present.index < count &&
                 candidates[present.index].usable;

    if (best == present.index ||
        (stays &&
         !must_give_way(&candidates[present.index], &candidates[best], &present, rules, now_ns))) {
        return present;
    }
    return change_to(best, &present, stays, rules, now_ns);
}
