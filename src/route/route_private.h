/* SPDX-License-Identifier: MIT */
/* What the choice of a region and its explanation must agree on. Pure. */
#ifndef NEARSIDE_ROUTE_PRIVATE_H
#define NEARSIDE_ROUTE_PRIVATE_H

#include <nearside/conf/tree.h>
#include <nearside/route/route.h>

#include <stdbool.h>

/* The rare half of the two questions below. */
bool route_list_names(struct str list, const char *name);
bool route_list_serves(const struct conf_region *conf, struct str model);

/* Does the request's list of regions allow it? An empty list allows all. */
static inline bool route_names_region(const struct route_request *request,
                                      const struct view_region *region)
{
    return request->regions.len == 0 || route_list_names(request->regions, region->name);
}

static inline bool route_serves_model(const struct route_request *request,
                                      const struct view_region *region)
{
    return request->model.len == 0 || region->conf->model_count == 0 ||
           route_list_serves(region->conf, request->model);
}

/* Milliseconds of expected time to first token, as far as they are known. */
static inline double route_cost_ms(const struct view_region *region)
{
    return region->latency_known ? region->latency_ms : ROUTE_UNKNOWN_MS;
}

#endif
