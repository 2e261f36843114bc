/* SPDX-License-Identifier: MIT */
/*
 * Opening the doors.
 *
 * They open once every endpoint has a first verdict and the operators' drains have been read from
 * Redis (half a second is waited for that), or after EDGE_OPEN_MS: a connection that comes earlier
 * waits in the kernel's queue, so the first requests are routed by what was measured and not by
 * chance.
 */
#include "edge.h"

#include <nearside/base/assert.h>
#include <nearside/fleet/fleet.h>

static bool all_probed(const struct fleet_view *view)
{
    for (uint32_t r = 0; r < view->region_count; r++) {
        if (view->regions[r].endpoint_count == 0) {
            return false; /* its name is still being resolved */
        }
        for (uint32_t e = 0; e < view->regions[r].endpoint_count; e++) {
            enum endpoint_state state = view->regions[r].endpoints[e].state;
            if (state == ENDPOINT_UNKNOWN || state == ENDPOINT_WARMING) {
                return false;
            }
        }
    }
    return true;
}

void edge_open(struct edge *edge)
{
    edge_open_doors(edge);
    edge_serve_admin(edge);
    inheritance_done(edge->inheritance);
    service_serving(edge);
}

/* Enough is known to serve well, or was waited for long enough. */
static void open_or_tell(struct edge *edge)
{
    if (successor_stands_by(edge)) {
        successor_tell(edge);
    } else if (!edge->doors_open) {
        edge_open(edge);
    }
}

void edge_open_when_known(struct edge *edge, const struct fleet_view *view)
{
    if (!edge->doors_open && edge->shared_read && deadline_is_set(&edge->open_deadline) &&
        all_probed(view)) {
        deadline_cancel(&edge->open_deadline);
        open_or_tell(edge);
    } else if (edge->upgrade.state == UPGRADE_READY) {
        successor_tell(edge);
    }
}

void edge_on_shared_read(void *arg)
{
    struct edge *edge = OBJ_CAST(arg, edge, EDGE_MAGIC);

    edge->shared_read = true;
    edge_open_when_known(edge, fleet_view_now(edge->fleet));
}

void edge_on_open_deadline(struct deadline *deadline, void *arg)
{
    (void)deadline;
    open_or_tell(OBJ_CAST(arg, edge, EDGE_MAGIC));
}
