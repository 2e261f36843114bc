/* SPDX-License-Identifier: MIT */
/*
 * The state of the edge as one JSON value, described in docs/admin.md. The status page is drawn
 * from the same value, so the two cannot disagree.
 */
#ifndef NEARSIDE_ADMIN_STATUS_PRIVATE_H
#define NEARSIDE_ADMIN_STATUS_PRIVATE_H

#include <nearside/base/buf.h>

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct admin;
struct view_endpoint;
struct view_region;

/* Events that /status.json and the page show; /events.json has all that are kept. */
#define STATUS_EVENTS_MAX 50

/* The caller drops the reference. */
json_t *status_build(struct admin *admin);
/* The newest `max` events, newest last. */
json_t *status_build_events(struct admin *admin, size_t max);

void status_write_json(struct admin *admin, struct buf *out);
void status_write_events(struct admin *admin, struct buf *out);

/* State words with the operator's in front: a drained one is "drained". */
const char *status_region_word(const struct view_region *region);
const char *status_endpoint_word(const struct view_endpoint *endpoint);

/* Look-ups in the cache: those answered from either tier, and those from neither. */
struct status_cache {
    uint64_t hits; /* `stale` ones, too */
    uint64_t misses;
    uint64_t stale; /* past their time, because no region could answer */
};
void status_count_cache(struct status_cache *ret_cache);

#endif
