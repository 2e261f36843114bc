/* SPDX-License-Identifier: MIT */
/* See histogram.h: a bucket is the value's highest bit and the six bits below it. */
#include "histogram.h"

#define SUB_COUNT (1u << HISTOGRAM_SUB_BITS)

static unsigned bucket_of(uint64_t ns)
{
    if (ns < SUB_COUNT) {
        return (unsigned)ns;
    }
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - HISTOGRAM_SUB_BITS;
    return ((shift + 1) << HISTOGRAM_SUB_BITS) + (unsigned)((ns >> shift) & (SUB_COUNT - 1));
}

static uint64_t top_of(unsigned bucket)
{
    if (bucket < SUB_COUNT) {
        return bucket;
    }
    unsigned shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t base = SUB_COUNT | (bucket & (SUB_COUNT - 1));
    return ((base + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    unsigned bucket = bucket_of(ns);

    histogram->counts[bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1]++;
    histogram->total++;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
    double wanted = quantile * (double)histogram->total;
    uint64_t seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && histogram->total > 0; i++) {
        seen += histogram->counts[i];
        if (seen > 0 && (double)seen >= wanted) {
            return top_of(i);
        }
    }
    return 0;
}
