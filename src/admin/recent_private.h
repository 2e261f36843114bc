/* SPDX-License-Identifier: MIT */
/*
 * What the edge did of late: samples of counters and latencies, taken by the control thread, so
 * that the status page has rates, shares and a curve the moment it is opened.
 *
 * The counters are for ever; here are their differences over the last RECENT_WINDOW_S seconds.
 */
#ifndef NEARSIDE_ADMIN_RECENT_PRIVATE_H
#define NEARSIDE_ADMIN_RECENT_PRIVATE_H

#include <nearside/fleet/view.h>
#include <nearside/obs/metric.h>

#include <stdbool.h>
#include <stdint.h>

#define RECENT_STEP_MS  2000
#define RECENT_SAMPLES  150 /* five minutes */
#define RECENT_WINDOW_S 60  /* rates and shares are over so much */

/* One moment. Latencies are in units of 1 us, so that a sample is small: RECENT_UNKNOWN when there
 * was none. */
#define RECENT_UNKNOWN UINT32_MAX
struct recent_sample {
    uint64_t at_ns;
    uint64_t answers[METRIC_REGIONS_MAX + 1]; /* by slot; the last: without a region */
    uint32_t latency_us[METRIC_REGIONS_MAX];
    uint32_t pending[METRIC_REGIONS_MAX];
    uint64_t limit_hits[LIMIT_COUNT];
};

/* Histograms are larger, so fewer of them are kept. */
#define RECENT_MARK_EVERY 5 /* samples: 10 s */
#define RECENT_MARKS      (RECENT_WINDOW_S * 1000 / (RECENT_STEP_MS * RECENT_MARK_EVERY))
struct recent_marks {
    struct metric_mark ttft[METRIC_REGIONS_MAX]; /* by slot */
};

struct recent {
    uint64_t count; /* ever taken */
    struct recent_sample samples[RECENT_SAMPLES];
    uint64_t mark_count; /* ever taken */
    struct recent_marks marks[RECENT_MARKS];
};

/* Take one. */
void recent_take(struct recent *recent, const struct fleet_view *view, uint64_t now_ns);

/* The sample `back` steps ago, 0 the newest. NULL: none was taken then, or it is gone. */
const struct recent_sample *recent_at(const struct recent *recent, uint64_t back);

/* Differences between now and the sample that is RECENT_WINDOW_S old, or the oldest there is. */
struct recent_rates {
    double seconds; /* 0: nothing to compare with */
    uint64_t answers[METRIC_REGIONS_MAX + 1];
    uint64_t answers_all;
    uint64_t answers_by_regions; /* without those that needed none */
    uint64_t limit_hits[LIMIT_COUNT];
};
void recent_rates(const struct recent *recent, uint64_t now_ns, struct recent_rates *ret_rates);

/* A quantile of the time to first token at the region of that slot, over about the last
 * RECENT_WINDOW_S, in seconds; 0 when there was no answer. */
double recent_ttft(const struct recent *recent, unsigned slot, double quantile);

#endif
