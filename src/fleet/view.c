/* SPDX-License-Identifier: MIT */
/* Sharing and end of a published view, and the words for its states. */
#include <nearside/fleet/view.h>

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>

const char *endpoint_state_word(enum endpoint_state state)
{
    static const char *const words[ENDPOINT_STATE_COUNT] = {
        [ENDPOINT_UNKNOWN] = "unknown",
        [ENDPOINT_WARMING] = "warming",
        [ENDPOINT_UP] = "up",
        [ENDPOINT_DOWN] = "down",
    };

    ASSERT(state < ENDPOINT_STATE_COUNT);
    return words[state];
}

const char *breaker_state_word(enum breaker_state state)
{
    static const char *const words[BREAKER_STATE_COUNT] = {
        [BREAKER_CLOSED] = "closed",
        [BREAKER_OPEN] = "open",
        [BREAKER_TRIAL] = "trial",
    };

    ASSERT(state < BREAKER_STATE_COUNT);
    return words[state];
}

const char *region_state_word(enum region_state state)
{
    static const char *const words[REGION_STATE_COUNT] = {
        [REGION_UNKNOWN] = "unknown",
        [REGION_UP] = "up",
        [REGION_DEGRADED] = "degraded",
        [REGION_DOWN] = "down",
    };

    ASSERT(state < REGION_STATE_COUNT);
    return words[state];
}

struct fleet_view *fleet_view_ref(struct fleet_view *view)
{
    unsigned before = atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);

    ASSERT(before > 0);
    return view;
}

/* Regions and endpoints lie in the view's own block (fleet/publish.c). */
void fleet_view_unref(struct fleet_view *view)
{
    if (view == NULL || atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (uint32_t r = 0; r < view->region_count; r++) {
        for (uint32_t e = 0; e < view->regions[r].endpoint_count; e++) {
            endpoint_live_unref(view->regions[r].endpoints[e].live);
        }
    }
    conf_unref(view->conf);
    mem_free(view);
}

const struct view_endpoint *fleet_view_find(const struct fleet_view *view, uint64_t id,
                                            int *ret_region)
{
    for (uint32_t r = 0; r < view->region_count; r++) {
        const struct view_region *region = &view->regions[r];

        for (uint32_t e = 0; e < region->endpoint_count; e++) {
            if (region->endpoints[e].live->id == id) {
                *ret_region = (int)r;
                return &region->endpoints[e];
            }
        }
    }
    return NULL;
}
