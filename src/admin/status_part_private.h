/* SPDX-License-Identifier: MIT */
/*
 * The parts of /status.json, and what they share:
 *
 *   status_json.c     the process, routing, home, other edges; all of it together
 *   status_region.c   regions and their endpoints
 *   status_traffic.c  requests, cache, connections, limits
 *   status_event.c    events
 *
 * Thread: control.
 */
#ifndef NEARSIDE_ADMIN_STATUS_PART_PRIVATE_H
#define NEARSIDE_ADMIN_STATUS_PART_PRIVATE_H

#include "recent_private.h"

#include <nearside/obs/metric.h>

#include <jansson.h>
#include <stdint.h>

struct admin;
struct conf;
struct fleet_view;
struct load_reports;
struct peers;

/* What one answer is made of; everything is borrowed for its time. */
struct status_part {
    struct admin *admin;
    const struct conf *conf;
    const struct fleet_view *view;
    const struct peers *peers;
    struct recent_rates rates;
    const struct load_reports *loads;
    uint64_t now_ns;
};

void status_add_regions(json_t *root, const struct status_part *from);

void status_add_requests(json_t *root, const struct status_part *from);
void status_add_cache(json_t *root, const struct status_part *from);
void status_add_connections(json_t *root);
void status_add_limits_hit(json_t *root, const struct status_part *from);

/* ---- members, in status_json.c ---- */

/* Seconds since `since_ns` of the loop's clock. */
void status_member_age(json_t *object, const char *key, const struct status_part *from,
                       uint64_t since_ns);
/* null where `since_ns` is 0: it is not so. */
void status_member_age_or_null(json_t *object, const char *key, const struct status_part *from,
                               uint64_t since_ns);
/* A share or a rate of the last minute; null: there is nothing to divide by. */
void status_member_quotient(json_t *object, const char *key, uint64_t part, double whole);
/* A number of all threads; never below 0, though the sum may be off while they run. */
uint64_t status_sum(enum metric_family family, unsigned l0, unsigned l1);

#endif
