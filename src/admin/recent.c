/* SPDX-License-Identifier: MIT */
/* A ring of samples; the metric blocks are summed here, the rest is arithmetic. */
#include "recent_private.h"

#include <nearside/base/clock.h>

static uint64_t sum_of(enum metric_family family, unsigned l0, unsigned l1)
{
    int64_t sum = metric_sum(family, l0, l1, 0);

    return sum > 0 ? (uint64_t)sum : 0; /* a sum over running threads may be off for a moment */
}

static uint64_t answers_of(unsigned slot)
{
    uint64_t sum = 0;

    for (unsigned status_class = 0; status_class < METRIC_CLASSES; status_class++) {
        sum += sum_of(METRIC_REQUESTS, slot, status_class);
    }
    return sum;
}

/* Slots without a name have counted nothing. */
static void read_counters(struct recent_sample *sample)
{
    for (unsigned slot = 0; slot < METRIC_REGIONS_MAX; slot++) {
        bool is_used = metric_region_name(slot) != NULL;

        sample->answers[slot] = is_used ? answers_of(slot) : 0;
        sample->latency_us[slot] = RECENT_UNKNOWN;
        sample->pending[slot] = is_used ? (uint32_t)sum_of(METRIC_PENDING, slot, 0) : 0;
    }
    sample->answers[METRIC_REGION_NONE] = answers_of(METRIC_REGION_NONE);
    for (unsigned limit = 0; limit < LIMIT_COUNT; limit++) {
        sample->limit_hits[limit] = sum_of(METRIC_LIMIT_HITS, limit, 0);
    }
}

static void take_marks(struct recent *recent)
{
    struct recent_marks *marks = &recent->marks[recent->mark_count % RECENT_MARKS];

    for (unsigned slot = 0; slot < METRIC_REGIONS_MAX; slot++) {
        if (metric_region_name(slot) != NULL) {
            metric_mark(METRIC_TTFT_SECONDS, slot, &marks->ttft[slot]);
        }
    }
    recent->mark_count++;
}

double recent_ttft(const struct recent *recent, unsigned slot, double quantile)
{
    /* The oldest that is kept: where the next one will go, once the ring is full. */
    size_t oldest =
        recent->mark_count < RECENT_MARKS ? 0 : (size_t)(recent->mark_count % RECENT_MARKS);

    return slot >= METRIC_REGIONS_MAX
               ? 0
               : metric_quantile_since(METRIC_TTFT_SECONDS, slot, &recent->marks[oldest].ttft[slot],
                                       quantile);
}

void recent_take(struct recent *recent, const struct fleet_view *view, uint64_t now_ns)
{
    struct recent_sample *sample = &recent->samples[recent->count % RECENT_SAMPLES];

    sample->at_ns = now_ns;
    if (recent->count % RECENT_MARK_EVERY == 0) {
        take_marks(recent);
    }
    read_counters(sample);
    for (uint32_t i = 0; i < view->region_count; i++) {
        const struct view_region *region = &view->regions[i];

        if (region->latency_known && region->slot < METRIC_REGIONS_MAX) {
            sample->latency_us[region->slot] = (uint32_t)(region->latency_ms * 1000.0);
        }
    }
    recent->count++;
}

const struct recent_sample *recent_at(const struct recent *recent, uint64_t back)
{
    if (back >= recent->count || back >= RECENT_SAMPLES) {
        return NULL;
    }
    return &recent->samples[(recent->count - 1 - back) % RECENT_SAMPLES];
}

static const struct recent_sample *window_start(const struct recent *recent, uint64_t now_ns)
{
    const struct recent_sample *start = NULL;
    const struct recent_sample *sample;

    for (uint64_t back = 0; (sample = recent_at(recent, back)) != NULL; back++) {
        start = sample;
        if (now_ns - sample->at_ns >= RECENT_WINDOW_S * NS_PER_S) {
            break;
        }
    }
    return start;
}

static uint64_t grown(uint64_t now, uint64_t then)
{
    return now > then ? now - then : 0;
}

void recent_rates(const struct recent *recent, uint64_t now_ns, struct recent_rates *ret_rates)
{
    const struct recent_sample *start = window_start(recent, now_ns);
    struct recent_sample now;

    *ret_rates = (struct recent_rates){.seconds = 0};
    if (start == NULL || now_ns <= start->at_ns) {
        return;
    }
    read_counters(&now);
    ret_rates->seconds = (double)(now_ns - start->at_ns) / (double)NS_PER_S;
    for (unsigned slot = 0; slot <= METRIC_REGIONS_MAX; slot++) {
        ret_rates->answers[slot] = grown(now.answers[slot], start->answers[slot]);
        ret_rates->answers_all += ret_rates->answers[slot];
    }
    ret_rates->answers_by_regions = ret_rates->answers_all - ret_rates->answers[METRIC_REGION_NONE];
    for (unsigned limit = 0; limit < LIMIT_COUNT; limit++) {
        ret_rates->limit_hits[limit] = grown(now.limit_hits[limit], start->limit_hits[limit]);
    }
}
