/* SPDX-License-Identifier: MIT */
/*
 * Answers past their time, for when no region can give one (cache.grace_s).
 *
 * A look-up that finds an entry past its time is a miss, and the entry is kept aside. It answers
 * only when asking upstream has come to nothing: no region to ask, or every attempt failed before
 * its answer began. A full region is not a failing one, and our own shortages are nobody's.
 *
 * While every region is down, one request at a time tries all the same: the one that leads the
 * flight. The others are answered at once. When it fails, those who wait for it are answered too.
 */
#include "request_private.h"

#include "worker_private.h"

#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>

/* Within its grace, and new enough for what the request asks for. */
static bool may_answer(const struct request *request, const struct cache_entry *entry)
{
    uint64_t grace_ms = cache_entry_grace_ms(entry, cache_grace_ms(request->worker->deps.cache));

    return !request->control.only_if_cached &&
           cache_is_fresh(&request->control, cache_entry_stored_wall_ms(entry),
                          cache_entry_ttl_ms(entry) + grace_ms, clock_wall_ms());
}

void stale_keep(struct request *request, struct cache_entry *entry, enum metric_tier tier)
{
    bool is_newer = request->stale == NULL ||
                    cache_entry_stored_wall_ms(entry) > cache_entry_stored_wall_ms(request->stale);

    if (!is_newer || !may_answer(request, entry)) {
        cache_entry_unref(entry);
        return;
    }
    cache_entry_unref(request->stale);
    request->stale = entry;
    request->stale_tier = tier;
}

void stale_drop(struct request *request)
{
    cache_entry_unref(request->stale);
    request->stale = NULL;
}

bool stale_is_ready(struct request *request)
{
    if (request->stale == NULL || request->client == NULL) {
        return false;
    }
    request->stale = lookup_fit(request, request->stale);
    return request->stale != NULL;
}

bool stale_answer(struct request *request)
{
    struct cache_entry *entry;

    if (!stale_is_ready(request)) {
        if (request->stale != NULL && flight_leads(&request->flight)) {
            flight_fail(&request->flight); /* its client has gone; its followers have not */
        }
        return false;
    }
    entry = request->stale;
    request->stale = NULL;
    request->out_of_time = false; /* total_ms was for the wait, and has ended it */
    if (flight_leads(&request->flight)) {
        flight_fail(&request->flight);
    }
    follow_leave(request);
    lookup_reply(request, entry, request->stale_tier, CACHE_USE_STALE);
    return true;
}

bool stale_instead_of(struct request *request, enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_FULL:
    case OUTCOME_LOCAL_LIMIT:
    case OUTCOME_CLIENT_GONE:
        return false;
    default:
        /* Time that passed in a queue is a full region's. */
        return (request->attempts > 0 || request->state == REQUEST_FOLLOW) && stale_answer(request);
    }
}

bool stale_instead_of_waiting(struct request *request)
{
    struct route_choice choice;

    if (request->stale == NULL) {
        return false;
    }
    choice = request_peek(request);
    return (choice.region == ROUTE_NOBODY || choice.reason == ROUTE_PANIC) && stale_answer(request);
}
