/* SPDX-License-Identifier: MIT */
/* /history.json: the path latencies of the last minutes, for the curves of the status page. */
#include "status_private.h"

#include "admin_private.h"
#include "member_private.h"
#include "recent_private.h"

#include <nearside/base/assert.h>
#include <nearside/fleet/fleet.h>

static void add_latencies(json_t *region, const struct recent *recent, unsigned slot)
{
    json_t *latencies = member_array(region, "path_latency_ms");

    for (uint64_t back = RECENT_SAMPLES; back > 0; back--) {
        const struct recent_sample *sample = recent_at(recent, back - 1);
        uint32_t us = sample == NULL ? RECENT_UNKNOWN : sample->latency_us[slot];

        if (sample != NULL) {
            item_number_or_null(latencies, us != RECENT_UNKNOWN, (double)us / 1000.0);
        }
    }
}

void status_write_history(struct admin *admin, struct buf *out)
{
    const struct fleet_view *view = fleet_view_now(admin->fleet);
    json_t *root = json_object();
    json_t *regions;

    ASSERT(root != NULL);
    member_number(root, "interval_s", RECENT_STEP_MS / 1000.0);
    regions = member_array(root, "regions");
    for (uint32_t i = 0; i < view->region_count; i++) {
        json_t *item = item_object(regions);

        member_text(item, "name", view->regions[i].name);
        if (view->regions[i].slot < METRIC_REGIONS_MAX) {
            add_latencies(item, &admin->recent, view->regions[i].slot);
        }
    }
    member_write(root, out);
}
