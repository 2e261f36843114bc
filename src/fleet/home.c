/* SPDX-License-Identifier: MIT */
/* Electing the home region: near before far, then the closest, and no change without a reason. */
#include <nearside/fleet/home.h>

#include <math.h>

/* Half the width of the band in which a region keeps its class: 5 ms at the default budget of
 * 50 ms, less for small budgets, so that a region can always come back in. */
#define CLASS_BAND_MS    5.0
#define CLASS_BAND_RATIO 0.1

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

/* Must the present home, which can serve, give way to `best`? A better class wins at once (its band
 * is what keeps that steady), within a class hysteresis and dwell apply. */
static bool must_give_way(const struct home_candidate *present, const struct home_candidate *best,
                          const struct home_rules *rules, uint64_t age_ns)
{
    double margin;

    if (best->near != present->near || best->known != present->known) {
        return true;
    }
    if (!present->known) {
        return false;
    }
    margin = fmax(rules->hysteresis_ms, rules->hysteresis_ratio * present->latency_ms);
    return age_ns >= rules->dwell_ns && best->latency_ms + margin < present->latency_ms;
}

struct home_choice home_choose(const struct home_candidate *candidates, size_t count,
                               struct home_choice present, const struct home_rules *rules,
                               uint64_t now_ns)
{
    int best = find_best(candidates, count);
    bool stays = present.index != HOME_NONE && (size_t)present.index < count &&
                 candidates[present.index].usable;

    if (stays) {
        uint64_t age_ns = now_ns > present.since_ns ? now_ns - present.since_ns : 0;

        if (best == present.index ||
            !must_give_way(&candidates[present.index], &candidates[best], rules, age_ns)) {
            return present;
        }
    } else if (best == HOME_NONE && present.index == HOME_NONE) {
        return present;
    }
    return (struct home_choice){.index = best, .since_ns = now_ns};
}
