/* SPDX-License-Identifier: MIT */
/*
 * The table of flights that can be joined, in shards, and the birth and death of each. A flight
 * lives while it has members or messages under way, in the index or not.
 */
#include "flight_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <sys/random.h>

/* ---- the edge's part ---- */

struct flights *flights_new(uint64_t bytes_max, uint32_t followers_max)
{
    struct flights *flights = mem_zero_aligned(CACHE_LINE, sizeof(*flights));
    ssize_t got = getrandom(&flights->hash_key, sizeof(flights->hash_key), 0);

    ASSERT(got == (ssize_t)sizeof(flights->hash_key));
    flights->followers_max = followers_max;
    atomic_init(&flights->followers, 0);
    atomic_init(&flights->held_bytes, 0);
    atomic_init(&flights->bytes_max, bytes_max);
    for (size_t i = 0; i < FLIGHT_SHARDS; i++) {
        pthread_mutex_init(&flights->shards[i].lock, NULL);
        table_init(&flights->shards[i].index);
    }
    return flights;
}

void flights_free(struct flights *flights)
{
    if (flights == NULL) {
        return;
    }
    ASSERT(atomic_load(&flights->followers) == 0 && atomic_load(&flights->held_bytes) == 0);
    for (size_t i = 0; i < FLIGHT_SHARDS; i++) {
        ASSERT(flights->shards[i].index.count == 0);
        table_done(&flights->shards[i].index);
        pthread_mutex_destroy(&flights->shards[i].lock);
    }
    mem_free(flights);
}

void flights_resize(struct flights *flights, uint64_t bytes_max)
{
    atomic_store_explicit(&flights->bytes_max, bytes_max, memory_order_relaxed);
}

uint32_t flights_count(struct flights *flights)
{
    size_t count = 0;

    for (size_t i = 0; i < FLIGHT_SHARDS; i++) {
        pthread_mutex_lock(&flights->shards[i].lock);
        count += flights->shards[i].index.count;
        pthread_mutex_unlock(&flights->shards[i].lock);
    }
    return (uint32_t)count;
}

uint64_t flights_bytes(const struct flights *flights)
{
    return atomic_load_explicit(&flights->held_bytes, memory_order_relaxed);
}

/* ---- one flight ---- */

struct flight_shard *flights_shard(struct flights *flights, const struct cache_key *key,
                                   uint64_t *ret_hash)
{
    *ret_hash = cache_key_hash(&flights->hash_key, key);
    /* The index inside a shard uses the low bits. */
    return &flights->shards[*ret_hash >> (64 - FLIGHT_SHARD_BITS)];
}

struct flight *flight_find(const struct flight_shard *shard, uint64_t hash,
                           const struct cache_key *key)
{
    struct table_item *item = table_first(&shard->index, hash);

    while (item != NULL) {
        struct flight *flight = CONTAINER_OF(item, struct flight, item);
        if (memcmp(flight->key.bytes, key->bytes, CACHE_KEY_BYTES) == 0) {
            return flight;
        }
        item = table_next(item);
    }
    return NULL;
}

struct flight *flight_new(struct flights *flights, struct flight_shard *shard,
                          const struct cache_key *key, uint64_t hash, uint64_t bytes_max)
{
    struct flight *flight = mem_new(struct flight);

    flight->key = *key;
    flight->flights = flights;
    flight->shard = shard;
    flight->bytes_max = bytes_max;
    list_init(&flight->audiences);
    atomic_init(&flight->state, FLIGHT_OPEN);
    atomic_init(&flight->lag_max, UINT64_MAX);
    flight_log_init(&flight->log, &flights->held_bytes);
    flight->is_listed = true;
    table_insert(&shard->index, &flight->item, hash);
    return flight;
}

void flight_free(struct flight *flight)
{
    struct list *link;
    struct list *after;

    LIST_FOREACH_SAFE (link, after, &flight->audiences) {
        mem_free(LIST_ITEM(link, struct flight_audience, link));
    }
    flight_log_done(&flight->log);
    mem_free(flight->fields);
    mem_free(flight);
}

void flight_unlist(struct flight *flight)
{
    if (flight->is_listed) {
        flight->is_listed = false;
        table_remove(&flight->shard->index, &flight->item);
    }
}

bool flight_unref(struct flight *flight)
{
    ASSERT(flight->refs > 0);
    flight->refs--;
    if (flight->refs > 0) {
        return false;
    }
    flight_unlist(flight);
    return true;
}
