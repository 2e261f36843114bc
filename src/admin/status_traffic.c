/* SPDX-License-Identifier: MIT */
/* /status.json: requests, cache, connections, limits; members are in docs/admin.md's order. */
#include "status_part_private.h"
#include "status_private.h"

#include "admin_private.h"
#include "member_private.h"

#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>

void status_add_requests(json_t *root, const struct status_part *from)
{
    json_t *requests = member_object(root, "requests");
    json_t *inflight;

    member_count(requests, "started", status_sum(METRIC_REQUESTS_STARTED, 0, 0));
    member_count(requests, "finished", status_sum(METRIC_REQUESTS_FINISHED, 0, 0));
    status_member_quotient(requests, "per_s", from->rates.answers_all, from->rates.seconds);
    inflight = member_object(requests, "inflight");
    member_count(inflight, "reading", status_sum(METRIC_INFLIGHT, METRIC_PHASE_READING, 0));
    member_count(inflight, "queued", status_sum(METRIC_INFLIGHT, METRIC_PHASE_QUEUED, 0));
    member_count(inflight, "waiting", status_sum(METRIC_INFLIGHT, METRIC_PHASE_WAITING, 0));
    member_count(inflight, "streaming", status_sum(METRIC_INFLIGHT, METRIC_PHASE_STREAMING, 0));
}

/* Every look-up begins in memory, so memory's hits and misses are all there are; Redis answers some
 * of the misses, and entries past their time do when no region can. */
void status_count_cache(struct status_cache *ret_cache)
{
    uint64_t memory_hits = status_sum(METRIC_CACHE, METRIC_TIER_MEMORY, METRIC_CACHE_HIT);
    uint64_t memory_misses = status_sum(METRIC_CACHE, METRIC_TIER_MEMORY, METRIC_CACHE_MISS);
    uint64_t redis_hits = status_sum(METRIC_CACHE, METRIC_TIER_REDIS, METRIC_CACHE_HIT);

    uint64_t stale = status_sum(METRIC_CACHE, METRIC_TIER_MEMORY, METRIC_CACHE_STALE) +
                     status_sum(METRIC_CACHE, METRIC_TIER_REDIS, METRIC_CACHE_STALE);
    uint64_t answered = redis_hits + stale;

    *ret_cache = (struct status_cache){
        .hits = memory_hits + answered,
        .misses = memory_misses > answered ? memory_misses - answered : 0,
        .stale = stale,
    };
}

void status_add_cache(json_t *root, const struct status_part *from)
{
    const struct admin_source *source = &from->admin->source;
    struct admin_cache memory_tier = {.bytes = 0};
    struct status_cache counts;
    json_t *cache = member_object(root, "cache");
    json_t *memory;

    source->cache(source->arg, &memory_tier);
    status_count_cache(&counts);
    member_bool(cache, "enabled", from->conf->cache.enabled);
    memory = member_object(cache, "memory");
    member_count(memory, "bytes", memory_tier.bytes);
    member_count(memory, "bytes_max", memory_tier.bytes_max);
    member_count(memory, "entries", memory_tier.entries);
    member_count(memory, "evictions", memory_tier.evictions);
    member_count(cache, "hits", counts.hits);
    member_count(cache, "misses", counts.misses);
    if (counts.hits + counts.misses > 0) {
        member_number(cache, "hit_ratio",
                      (double)counts.hits / (double)(counts.hits + counts.misses));
    } else {
        member_null(cache, "hit_ratio");
    }
    member_count(cache, "stale", counts.stale);
    member_count(cache, "saved_tokens",
                 status_sum(METRIC_CACHE_SAVED_TOKENS, METRIC_TOKENS_PROMPT, 0) +
                     status_sum(METRIC_CACHE_SAVED_TOKENS, METRIC_TOKENS_COMPLETION, 0));
    member_number(cache, "saved_seconds",
                  (double)status_sum(METRIC_CACHE_SAVED_SECONDS, 0, 1) / (double)NS_PER_S);
}

void status_add_connections(json_t *root)
{
    json_t *connections = member_object(root, "connections");

    member_count(connections, "clients", status_sum(METRIC_CLIENT_CONNECTIONS, 0, 0));
}

void status_add_limits_hit(json_t *root, const struct status_part *from)
{
    static const char *const words[] = {
#define X(suffix, word) [LIMIT_##suffix] = word,
        LIMITS(X)
#undef X
    };
    json_t *limits = member_object(root, "limits_hit");
    json_t *recent = member_object(root, "limits_hit_recently");

    for (unsigned limit = 0; limit < LIMIT_COUNT; limit++) {
        uint64_t count = status_sum(METRIC_LIMIT_HITS, limit, 0);

        if (count > 0) {
            member_count(limits, words[limit], count);
        }
        if (from->rates.limit_hits[limit] > 0) {
            member_count(recent, words[limit], from->rates.limit_hits[limit]);
        }
    }
}
