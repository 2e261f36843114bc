/* SPDX-License-Identifier: MIT */
/*
 * Collecting an answer while it passes, to store it when it has ended properly.
 *
 * Whatever goes wrong (too big, no memory, all fills together hold too much) empties the fill and
 * marks it; the answer itself never notices. The bytes are collected in the block the entry will
 * live in.
 */
#include <nearside/cache/cache.h>

#include "entry_private.h"
#include "memory_tier_private.h"
#include "worker_private.h"

#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/cache/rule.h>
#include <nearside/cache/usage.h>
#include <nearside/http/head.h>
#include <nearside/http/json_scan.h>

#define MS_PER_S 1000ULL

/* To ask for an upstream's own bound: longer than any. */
#define TTL_ENDLESS_MS (1ULL << 60)

/* The block grows by doubling from here: small answers (most) take one allocation. */
#define FILL_FIRST_BYTES 4096

/* Entries have 32-bit lengths; configured bounds are far below. */
#define FILL_MAX_BYTES 0x7fffffffULL

struct cache_fill {
    struct cache_worker *worker; /* borrowed: outlives its fills */
    struct cache_key key;
    struct entry_build build;
    uint64_t leased_bytes; /* of what all fills may hold */
    uint64_t block_max;    /* for head, fields and body */
    uint64_t ttl_ms;
    uint64_t ttl_max_ms; /* as the upstream says */
    uint64_t age_ms;     /* what the upstream says the answer had behind it */
    struct cache_fill_notes notes;
    uint64_t body_length; /* as announced; 0: not announced */
    uint64_t purges;      /* when it began */
    uint8_t flags;
    bool is_good;
};

static void fill_empty(struct cache_fill *fill)
{
    entry_build_done(&fill->build);
    cache_fills_return(fill->worker->cache, fill->leased_bytes);
    fill->leased_bytes = 0;
    fill->is_good = false;
}

static void fill_give_up(struct cache_fill *fill)
{
    metric_limit_hit(fill->worker->metrics, LIMIT_CACHE_ENTRY_BYTES);
    cache_count(fill->worker, METRIC_TIER_MEMORY, METRIC_CACHE_REJECT);
    fill_empty(fill);
}

/* Room for a block of `need` bytes in all, or the end of the fill. */
static bool fill_grow(struct cache_fill *fill, uint64_t need)
{
    uint64_t size = fill->build.size;

    if (need <= size) {
        return true;
    }
    if (need > fill->block_max) {
        return false;
    }
    size = size == 0 ? FILL_FIRST_BYTES : size * 2;
    size = size < need ? need : size;
    size = size > fill->block_max ? fill->block_max : size;
    if (!cache_fills_lease(fill->worker->cache, size - fill->build.size)) {
        return false;
    }
    fill->leased_bytes += size - fill->build.size;
    return entry_build_reserve(&fill->build, (size_t)size);
}

static void fill_append(struct cache_fill *fill, struct str bytes)
{
    if (!fill->is_good) {
        return;
    }
    if (fill_grow(fill, (uint64_t)fill->build.len + bytes.len)) {
        entry_build_append(&fill->build, bytes);
    } else {
        fill_give_up(fill);
    }
}

/* ---- fields ---- */

/* Fields that speak of one exchange or one caller, not of the answer. */
static bool is_of_the_moment(struct str name)
{
    static const char *const prefixes[] = {"x-nearside-", "x-ratelimit-", "anthropic-ratelimit-",
                                           "ratelimit"};

    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        struct str prefix = str_of(prefixes[i]);
        if (str_eq_nocase(str_slice(name, 0, prefix.len), prefix)) {
            return true;
        }
    }
    return str_eq_nocase(name, STR_LIT("alt-svc")) || str_eq_nocase(name, STR_LIT("request-id"));
}

static bool is_kept(const struct http_field *field)
{
    if (field->drop || http_name_is_hop(field->id)) {
        return false;
    }
    switch (field->id) {
    case HTTP_NAME_CONTENT_LENGTH:   /* the writer knows it */
    case HTTP_NAME_CONTENT_ENCODING: /* only "identity" gets here, which says nothing */
    case HTTP_NAME_AGE:              /* counted from the stored time */
    case HTTP_NAME_SET_COOKIE:
    case HTTP_NAME_RETRY_AFTER:
    case HTTP_NAME_CACHE_STATUS:
    case HTTP_NAME_PROXY_STATUS:
    case HTTP_NAME_VIA:
    case HTTP_NAME_TRACEPARENT:
    case HTTP_NAME_X_REQUEST_ID:
        return false;
    default:
        return !is_of_the_moment(field->name);
    }
}

static void fill_add_fields(struct cache_fill *fill, const struct http_head *response)
{
    for (uint32_t i = 0; i < response->field_count; i++) {
        const struct http_field *field = &response->fields[i];
        if (is_kept(field)) {
            fill_append(fill, field->name);
            fill_append(fill, STR_LIT(": "));
            fill_append(fill, field->value);
            fill_append(fill, STR_LIT("\r\n"));
        }
    }
}

static uint64_t age_of(const struct http_head *response)
{
    uint64_t age_s;

    if (!str_to_u64(http_head_value(response, HTTP_NAME_AGE), &age_s)) {
        return 0;
    }
    return age_s > UINT32_MAX ? UINT32_MAX * MS_PER_S : age_s * MS_PER_S;
}

static uint8_t flags_of(const struct http_head *response, enum cache_form form)
{
    uint8_t flags = cache_response_is_strict(response) ? CACHE_ENTRY_STRICT : 0;

    if (cache_response_is_stream(response)) {
        flags |= CACHE_ENTRY_STREAM;
        flags |= form == CACHE_FORM_STREAM_USAGE ? CACHE_ENTRY_USAGE : 0;
    }
    return flags;
}

/* ---- a fill's life ---- */

struct cache_fill *cache_fill_start(struct cache_worker *worker, const struct cache_key *key,
                                    enum cache_form form, const struct http_head *response,
                                    uint64_t ttl_ms, uint64_t max_bytes)
{
    uint64_t ttl_left_ms = cache_response_ttl_ms(response, ttl_ms);
    uint64_t age_ms = age_of(response);

    if (!cache_may_store_head(response) || ttl_left_ms <= age_ms) {
        return NULL;
    }

    struct cache_fill *fill = mem_new(struct cache_fill);
    fill->worker = worker;
    fill->key = *key;
    fill->block_max = ENTRY_HEAD_BYTES + (max_bytes < FILL_MAX_BYTES ? max_bytes : FILL_MAX_BYTES);
    fill->ttl_ms = ttl_left_ms;
    fill->ttl_max_ms = cache_response_ttl_ms(response, TTL_ENDLESS_MS);
    fill->age_ms = age_ms;
    fill->body_length = response->body == HTTP_BODY_LENGTH ? response->content_length : 0;
    fill->purges = cache_purges(worker->cache);
    fill->flags = flags_of(response, form);
    fill->is_good = true;
    entry_build_init(&fill->build);

    if (fill->body_length > fill->block_max) {
        fill_give_up(fill);
        return fill;
    }
    fill_add_fields(fill, response);
    if (fill->is_good) {
        entry_build_end_fields(&fill->build);
    }
    return fill;
}

void cache_fill_add(struct cache_fill *fill, struct str bytes)
{
    fill_append(fill, bytes);
}

bool cache_fill_is_good(const struct cache_fill *fill)
{
    return fill->is_good;
}

struct str cache_fill_fields(const struct cache_fill *fill)
{
    return entry_build_fields(&fill->build);
}

/* An error that was said with a 200: its object stands where the answer should. */
static bool is_error(struct str body)
{
    struct json_scan scan;

    if (json_scan(body, &scan) != JSON_SCAN_OK) {
        return false;
    }
    for (uint32_t i = 0; i < scan.member_count; i++) {
        const struct json_member *member = &scan.members[i];

        if (str_eq(member->name, STR_LIT("error")) && !str_eq(member->value, STR_LIT("null"))) {
            return true;
        }
    }
    return false;
}

/* The proper end came; but an empty answer is none, and one of another length than announced was
 * not ended properly whatever the caller thinks. */
static bool is_complete(const struct cache_fill *fill)
{
    size_t body = entry_build_body_len(&fill->build);

    return fill->is_good && body > 0 && (fill->body_length == 0 || fill->body_length == body) &&
           ((fill->flags & CACHE_ENTRY_STREAM) != 0 || !is_error(entry_build_body(&fill->build)));
}

void cache_fill_note(struct cache_fill *fill, const struct cache_fill_notes *notes)
{
    fill->notes = *notes;
}

/* Never past what the upstream allows. */
static uint64_t jittered_ttl_ms(const struct cache_fill *fill, uint64_t stored_wall_ms)
{
    uint64_t ttl_ms = cache_jitter_ttl_ms(fill->ttl_ms, fill->key.bytes, stored_wall_ms);

    return ttl_ms < fill->ttl_max_ms ? ttl_ms : fill->ttl_max_ms;
}

static uint32_t bounded(uint64_t value)
{
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

static struct cache_entry *take_entry(struct cache_fill *fill)
{
    struct cache_usage usage = {.completion_tokens = bounded(fill->notes.content_events)};
    uint64_t stored_wall_ms = clock_wall_ms() - fill->age_ms;

    (void)cache_usage_find(entry_build_body(&fill->build), &usage);
    struct cache_entry_facts facts = {
        .flags = fill->flags,
        .stored_wall_ms = stored_wall_ms,
        .ttl_ms = jittered_ttl_ms(fill, stored_wall_ms),
        .generation_ms = bounded(fill->notes.generation_ms),
        .prompt_tokens = usage.prompt_tokens,
        .completion_tokens = usage.completion_tokens,
    };
    return entry_build_take(&fill->build, &facts);
}

bool cache_fill_commit(struct cache_fill *fill, unsigned region_slot, uint32_t timeout_ms)
{
    struct redis_store_plan plan = {
        .region_slot = region_slot,
        .replica_slots = fill->notes.replica_slots,
        .timeout_ms = timeout_ms,
    };

    if (!is_complete(fill) || cache_purges(fill->worker->cache) != fill->purges) {
        cache_fill_abandon(fill);
        return false;
    }

    struct cache_entry *entry = take_entry(fill);
    bool is_in_memory = cache_keep_in_memory(fill->worker, &fill->key, entry, fill->purges);
    bool is_in_redis = redis_store(fill->worker, &fill->key, entry, &plan);
    cache_entry_unref(entry);
    cache_fill_abandon(fill); /* what is left of it */
    return is_in_memory || is_in_redis;
}

void cache_fill_abandon(struct cache_fill *fill)
{
    if (fill == NULL) {
        return;
    }
    fill_empty(fill);
    mem_free(fill);
}
