/* SPDX-License-Identifier: MIT */
/*
 * Latencies in buckets that are 1/64 wide: any quantile within 1.6 %, in fixed memory.
 */
#ifndef LOAD_HISTOGRAM_H
#define LOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_BUCKETS  (64u << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
};

void histogram_add(struct histogram *histogram, uint64_t ns);

/* The smallest latency that the share `quantile` (0..1) does not exceed. 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

#endif
