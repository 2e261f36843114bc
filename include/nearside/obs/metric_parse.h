/* SPDX-License-Identifier: MIT */
/*
 * Prometheus text exposition, read: one line of it at a time. Pure; views point into the line.
 *
 * OpenMetrics differs in what is skipped here alone (exemplars behind `#`, `# EOF`), so both forms
 * are understood. Timestamps are checked and dropped: whoever asked knows when.
 */
#ifndef NEARSIDE_OBS_METRIC_PARSE_H
#define NEARSIDE_OBS_METRIC_PARSE_H

#include <nearside/base/str.h>

enum metric_line {
    METRIC_LINE_SAMPLE,
    METRIC_LINE_NOTHING, /* empty, or a comment (HELP and TYPE are comments) */
    METRIC_LINE_BAD
};

struct metric_sample {
    struct str name;
    struct str labels; /* the inside of the braces, well formed; empty: none */
    double value;      /* may be an infinity or no number at all */
};

/* Read one line, without its line end. `ret_sample` is touched for METRIC_LINE_SAMPLE only. */
enum metric_line metric_parse_line(struct str line, struct metric_sample *ret_sample) MUST_CHECK;

/* Does the sample have the label `key` with that value? Values with escapes never match: what is
 * looked for here has none. */
bool metric_sample_has(const struct metric_sample *sample, struct str key, struct str value);

#endif
