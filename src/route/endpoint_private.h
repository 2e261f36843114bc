/* SPDX-License-Identifier: MIT */
/* Which endpoint of one region: eligibility, room, and the balance policy. Pure. */
#ifndef NEARSIDE_ROUTE_ENDPOINT_PRIVATE_H
#define NEARSIDE_ROUTE_ENDPOINT_PRIVATE_H

#include <nearside/conf/tree.h>
#include <nearside/route/route.h>

/* How bad things are: which endpoint states may be chosen at all. */
enum route_tier {
    TIER_USABLE,  /* up */
    TIER_UNKNOWN, /* no verdict yet */
    TIER_TRIPPED, /* up by probes, whatever breakers say */
    TIER_PANIC,   /* any */
    TIER_COUNT
};

/* Endpoints by what this request has seen of them, in the order they are considered. */
enum route_group {
    GROUP_NEW,
    GROUP_TRIED, /* before the last attempt */
    GROUP_LAST,  /* by the last attempt */
    GROUP_COUNT
};

struct endpoint_search {
    const struct route_request *request;
    enum route_tier tier;
    enum route_group group;
    enum conf_balance balance;
    uint64_t now_ns;
    struct rng *rng;
};

/* An index, or ROUTE_NOBODY; then *ret_full says whether some would do but have no room. The cost
 * does not grow with the region: up to ENDPOINT_SCAN_MAX all are compared, above that a sample. */
int endpoint_choose(const struct view_region *region, const struct endpoint_search *search,
                    bool *ret_full);

/* Is there a trial for this request in a region whose breaker lets one through? */
bool endpoint_has_trial(const struct view_region *region, const struct route_request *request);

#define ENDPOINT_SCAN_MAX   64
#define ENDPOINT_SAMPLE_MAX 8

#endif
