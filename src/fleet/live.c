/* SPDX-License-Identifier: MIT */
/* Birth, sharing and end of an endpoint's live counters. */
#include <nearside/fleet/live.h>

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

struct endpoint_live *endpoint_live_new(void)
{
    /* Rule 11: ids are unique in the process because they travel between threads and views. */
    static atomic_ullong last_id;
    struct endpoint_live *live = mem_zero_aligned(CACHE_LINE, sizeof(*live));

    atomic_init(&live->refs, 1);
    live->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
    return live;
}

bool endpoint_live_take_trial(struct endpoint_live *live)
{
    unsigned open = TRIAL_OPEN;

    return atomic_compare_exchange_strong_explicit(&live->trial, &open, TRIAL_TAKEN,
                                                   memory_order_acq_rel, memory_order_relaxed);
}

void endpoint_live_return_trial(struct endpoint_live *live)
{
    unsigned taken = TRIAL_TAKEN;

    /* When the control thread has ended the trial meanwhile, there is nothing to return. */
    (void)atomic_compare_exchange_strong_explicit(&live->trial, &taken, TRIAL_OPEN,
                                                  memory_order_acq_rel, memory_order_relaxed);
}

struct endpoint_live *endpoint_live_ref(struct endpoint_live *live)
{
    unsigned before = atomic_fetch_add_explicit(&live->refs, 1, memory_order_relaxed);

    ASSERT(before > 0);
    return live;
}

void endpoint_live_unref(struct endpoint_live *live)
{
    unsigned before;

    if (live == NULL) {
        return;
    }
    before = atomic_fetch_sub_explicit(&live->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1) {
        ASSERT(atomic_load_explicit(&live->inflight, memory_order_relaxed) == 0);
        ASSERT(atomic_load_explicit(&live->pending, memory_order_relaxed) == 0);
        mem_free(live);
    }
}
