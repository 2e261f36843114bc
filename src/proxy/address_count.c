/* SPDX-License-Identifier: MIT */
/* Connections or requests by client address: a hash table in shards, each with its lock. */
#include "address_count_private.h"

#include <nearside/base/addr.h>
#include <nearside/base/assert.h>
#include <nearside/base/hash.h>
#include <nearside/base/mem.h>
#include <nearside/base/rng.h>
#include <nearside/base/table.h>

#include <pthread.h>
#include <string.h>

#define SHARD_BITS 6 /* workers that accept at the same moment rarely meet */
#define SHARDS     (1 << SHARD_BITS)

/* Family, then an IPv4 address or an IPv6 /64. */
struct address_key {
    uint8_t bytes[9];
};

struct address_entry {
    struct table_item item;
    struct address_key key;
    uint32_t count;
};

struct address_shard {
    pthread_mutex_t lock; /* guards the table */
    struct table table;
};

struct address_counts {
    struct hash_key hash_key; /* random: a peer cannot choose collisions */
    struct address_shard shards[SHARDS];
};

struct address_counts *address_counts_new(void)
{
    struct address_counts *counts = mem_new(struct address_counts);
    struct rng rng;

    rng_init(&rng);
    counts->hash_key = (struct hash_key){.k0 = rng_next(&rng), .k1 = rng_next(&rng)};
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&counts->shards[i].lock, NULL);
        table_init(&counts->shards[i].table);
    }
    return counts;
}

void address_counts_free(struct address_counts *counts)
{
    if (counts == NULL) {
        return;
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        ASSERT(counts->shards[i].table.count == 0);
        table_done(&counts->shards[i].table);
        pthread_mutex_destroy(&counts->shards[i].lock);
    }
    mem_free(counts);
}

static struct address_key key_of(const struct addr *addr)
{
    const struct in6_addr *v6 = &addr->sa.v6.sin6_addr;
    struct address_key key = {.bytes = {4}};

    if (addr->sa.any.sa_family == AF_INET) {
        memcpy(key.bytes + 1, &addr->sa.v4.sin_addr, sizeof(addr->sa.v4.sin_addr));
    } else if (IN6_IS_ADDR_V4MAPPED(v6)) {
        /* As proxies that listen on both write it: their /64 is the whole of IPv4. */
        memcpy(key.bytes + 1, v6->s6_addr + 12, sizeof(addr->sa.v4.sin_addr));
    } else {
        key.bytes[0] = 6;
        memcpy(key.bytes + 1, v6, 8);
    }
    return key;
}

/* By the hash's highest bits: within its shard the table goes by the lowest. */
static struct address_shard *shard_of(struct address_counts *counts, uint64_t hash)
{
    return &counts->shards[hash >> (64 - SHARD_BITS)];
}

static struct address_entry *find(const struct address_shard *shard, const struct address_key *key,
                                  uint64_t hash)
{
    struct table_item *item = table_first(&shard->table, hash);

    for (; item != NULL; item = table_next(item)) {
        struct address_entry *entry = CONTAINER_OF(item, struct address_entry, item);
        if (memcmp(&entry->key, key, sizeof(*key)) == 0) {
            return entry;
        }
    }
    return NULL;
}

bool address_counts_take(struct address_counts *counts, const struct addr *addr, uint32_t limit)
{
    struct address_key key = key_of(addr);
    uint64_t hash = hash_bytes(&counts->hash_key, &key, sizeof(key));
    struct address_shard *shard = shard_of(counts, hash);
    struct address_entry *entry;
    bool taken;

    pthread_mutex_lock(&shard->lock);
    entry = find(shard, &key, hash);
    taken = limit == 0 || entry == NULL || entry->count < limit;
    if (taken && entry == NULL) {
        entry = mem_new(struct address_entry);
        entry->key = key;
        table_insert(&shard->table, &entry->item, hash);
    }
    if (taken) {
        entry->count++;
    }
    pthread_mutex_unlock(&shard->lock);
    return taken;
}

void address_counts_give(struct address_counts *counts, const struct addr *addr)
{
    struct address_key key = key_of(addr);
    uint64_t hash = hash_bytes(&counts->hash_key, &key, sizeof(key));
    struct address_shard *shard = shard_of(counts, hash);
    struct address_entry *entry;

    pthread_mutex_lock(&shard->lock);
    entry = find(shard, &key, hash);
    ASSERT(entry != NULL && entry->count > 0);
    entry->count--;
    if (entry->count == 0) {
        table_remove(&shard->table, &entry->item);
        mem_free(entry);
    }
    pthread_mutex_unlock(&shard->lock);
}
