/* SPDX-License-Identifier: MIT */
/*
 * What autoscalers read, the same whichever way they ask: /metrics or Kubernetes' external metrics.
 */
#include "admin_private.h"

#include <nearside/base/clock.h>
#include <nearside/fleet/load.h>
#include <nearside/fleet/peers.h>
#include <nearside/loop/loop.h>
#include <nearside/obs/metric.h>

#include <math.h>

double admin_pending(struct admin *admin, const struct view_region *region)
{
    const struct peers *peers = admin->source.peers(admin->source.arg);
    int64_t here = metric_sum(METRIC_PENDING, region->slot, 0, 0);
    double sum = here > 0 ? (double)here : 0; /* a sum over running threads may be off by one */
    struct list *item;

    LIST_FOREACH (item, &peers->all) {
        const struct peer_region *there =
            peer_region(LIST_ITEM(item, struct peer, link), region->name);

        sum += there == NULL ? 0 : (double)there->pending;
    }
    return sum;
}

bool admin_gpu_percent(struct admin *admin, const struct view_region *region, double *ret_percent)
{
    struct load load;
    double share;

    load_of_region(admin->source.loads(admin->source.arg), region->slot, loop_now_ns(admin->loop),
                   &load);
    if (!load_value(&load, LOAD_GPU, &share)) {
        return false;
    }
    *ret_percent = round(share * 100.0 * 1000.0) / 1000.0; /* 55, not 55.00000000000001 */
    return true;
}
