/* SPDX-License-Identifier: MIT */
/* What metric_text.c needs to know of the registry: label dimensions, buckets, whole series. */
#ifndef NEARSIDE_OBS_METRIC_PRIVATE_H
#define NEARSIDE_OBS_METRIC_PRIVATE_H

#include <nearside/obs/metric.h>

#define METRIC_DIMS_MAX 3

/* One label: its key, how many values it has, and their words (NULL: not in use). */
struct metric_dim {
    const char *key;
    unsigned count;
    const char *(*word)(unsigned value);
    bool is_region;
};

/* The dimensions of a label set; unused ones have no key and one value. */
const struct metric_dim *metric_dims(enum metric_labels labels);

/*
 * Upper bounds of the histograms: one ladder for all families, from a proxy's own overhead to the
 * longest stream. A last bucket without a bound follows.
 */
#define METRIC_BUCKETS(X)                                                                          \
    X(50000, "5e-05")                                                                              \
    X(100000, "0.0001")                                                                            \
    X(250000, "0.00025")                                                                           \
    X(500000, "0.0005")                                                                            \
    X(1000000, "0.001")                                                                            \
    X(2500000, "0.0025")                                                                           \
    X(5000000, "0.005")                                                                            \
    X(10000000, "0.01")                                                                            \
    X(25000000, "0.025")                                                                           \
    X(50000000, "0.05")                                                                            \
    X(100000000, "0.1")                                                                            \
    X(250000000, "0.25")                                                                           \
    X(500000000, "0.5")                                                                            \
    X(1000000000, "1")                                                                             \
    X(2500000000, "2.5")                                                                           \
    X(5000000000, "5")                                                                             \
    X(10000000000, "10")                                                                           \
    X(30000000000, "30")                                                                           \
    X(60000000000, "60")                                                                           \
    X(120000000000, "120")                                                                         \
    X(300000000000, "300")                                                                         \
    X(600000000000, "600")

enum {
#define X(ns, text) +1
    METRIC_BOUND_COUNT = 0 METRIC_BUCKETS(X),
#undef X
    METRIC_BUCKET_COUNT = METRIC_BOUND_COUNT + 1
};

extern const char *const metric_bound_texts[METRIC_BOUND_COUNT];

/* A histogram's series, summed over all blocks. The count is the sum of the buckets, so that the
 * two always agree although threads go on counting. */
struct metric_histogram {
    uint64_t buckets[METRIC_BUCKET_COUNT]; /* each on its own, not cumulative */
    uint64_t count;
    uint64_t sum_ns;
};

void metric_read_histogram(enum metric_family family, unsigned l0, unsigned l1, unsigned l2,
                           struct metric_histogram *ret);

#endif
