/* SPDX-License-Identifier: MIT */
/*
 * Prometheus text exposition (version 0.0.4): the counted families of metric.h, and helpers for
 * gauges that the scraper computes.
 */
#ifndef NEARSIDE_OBS_METRIC_TEXT_H
#define NEARSIDE_OBS_METRIC_TEXT_H

#include <nearside/base/buf.h>
#include <nearside/obs/metric.h>

/* All families of METRIC_FAMILIES. Shown with their zeros: the series of families without a region
 * label, and counters and gauges by region alone, for each region that has a slot. Other series
 * (histograms of a region, products of a region with something else) appear once counted. */
void metric_text_families(struct buf *out);

/* "# HELP" and "# TYPE" of a computed family, then its samples. `labels` is the inside of the
 * braces ("region=\"us-east\"") or "". Use metric_text_label() for values from config. */
void metric_text_head(struct buf *out, const char *name, enum metric_type type, const char *help);
void metric_text_sample(struct buf *out, const char *name, const char *labels, double value);
/* Append key="escaped value" (with a comma in front if `labels` is not empty). Afterwards
 * labels->data is NUL-terminated, fit for metric_text_sample(). */
void metric_text_label(struct buf *labels, const char *key, struct str value);

/* The reference page docs/metrics.md (Markdown) for the counted families. */
void metric_text_docs(struct buf *out);

#endif
