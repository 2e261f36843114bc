/* SPDX-License-Identifier: MIT */
/*
 * A stored answer for a request that wants it in some form, turned if it was stored in another.
 *
 *     wanted \ stored     plain          stream         stream with usage
 *     plain               as it is       merged         merged
 *     stream              split          as it is       usage left out
 *     stream with usage   split          none           as it is
 *     fixed               as it is       as it is       as it is
 *
 * Turning is exact or not done (cache/form.h). What a fixed form gets was stored for the same form,
 * since its key says so.
 *
 * Pure; thread: any.
 */
#ifndef NEARSIDE_CACHE_FIT_H
#define NEARSIDE_CACHE_FIT_H

#include <nearside/base/attr.h>
#include <nearside/cache/api.h>
#include <nearside/cache/entry.h>
#include <nearside/cache/key.h>

/* Of a body that is turned, before and after. It is done at each such hit, between two turns of a
 * loop: at this bound it takes 4 ms to merge or split, 25 ms to leave usage out. */
#define CACHE_FIT_BYTES_MAX 1048576

/* Takes the reference. The same entry, or a new one of which only the fields that speak of the
 * body's bytes differ, besides the body; `bytes_max` bounds its body. NULL: it does not do (a
 * miss), or no memory. */
struct cache_entry *cache_entry_fit(struct cache_entry *entry, enum api api, enum cache_form wanted,
                                    size_t bytes_max) MUST_CHECK;

#endif
