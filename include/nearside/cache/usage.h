/* SPDX-License-Identifier: MIT */
/*
 * The tokens that an answer says it took, for the metrics of what the cache saved. Read from its
 * bytes without building a tree, so it is an estimate by design: an answer that holds another
 * object called "usage" can mislead it, by no more than that object's numbers.
 *
 * Pure; thread: any.
 */
#ifndef NEARSIDE_CACHE_USAGE_H
#define NEARSIDE_CACHE_USAGE_H

#include <nearside/base/str.h>

#include <stdbool.h>
#include <stdint.h>

/* Looked at: where servers write it. Bounds the work on a long answer. */
#define CACHE_USAGE_FIRST_BYTES 8192  /* Messages tell the prompt's in their first event */
#define CACHE_USAGE_LAST_BYTES  65536 /* all others in the last, or at the end */

/* More than any model's context: it is not believed. */
#define CACHE_USAGE_TOKENS_MAX 100000000

struct cache_usage {
    uint32_t prompt_tokens;
    uint32_t completion_tokens;
};

/* Of a whole body, plain or an event stream. Where a number is told more than once the last one
 * counts. False: it tells none. */
bool cache_usage_find(struct str body, struct cache_usage *ret_usage);

#endif
