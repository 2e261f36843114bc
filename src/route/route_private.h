/* SPDX-License-Identifier: MIT */
/* What the choice of a region and its explanation must agree on. Pure. */
#ifndef NEARSIDE_ROUTE_PRIVATE_H
#define NEARSIDE_ROUTE_PRIVATE_H

#include <nearside/route/route.h>

#include <stdbool.h>

/* Does the request's list of regions allow it? An empty list allows all. */
bool route_names_region(const struct route_request *request, const struct view_region *region);
bool route_serves_model(const struct route_request *request, const struct view_region *region);
/* Milliseconds of expected time to first token, as far as they are known. */
double route_cost_ms(const struct view_region *region);

#endif
