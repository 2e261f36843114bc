/* SPDX-License-Identifier: MIT */
/*
 * A flight as the files of it see one.
 *
 *     flights (flights.c) ── shard: lock, index ── flight (flight.c) ── leader
 *                                                    │       log (flight_log.c)
 *                                                    ├─ audience of loop 1: message, members
 *                                                    └─ audience of loop 2 ...  (flight_news.c)
 *
 * "Under the lock" means that of the flight's shard.
 */
#ifndef NEARSIDE_CACHE_FLIGHT_PRIVATE_H
#define NEARSIDE_CACHE_FLIGHT_PRIVATE_H

#include "flight_log_private.h"

#include <nearside/base/hash.h>
#include <nearside/base/table.h>
#include <nearside/cache/flight.h>
#include <nearside/loop/loop.h>

#include <pthread.h>
#include <stdatomic.h>

#define FLIGHT_SHARD_BITS 6
#define FLIGHT_SHARDS     (1u << FLIGHT_SHARD_BITS)

struct flight_shard {
    _Alignas(CACHE_LINE) pthread_mutex_t lock;
    struct table index;
};

struct flights {
    struct hash_key hash_key; /* so that nobody chooses prompts that share a chain */
    uint32_t followers_max;
    atomic_uint followers; /* of all flights */
    atomic_ullong held_bytes;
    atomic_ullong bytes_max;
    struct flight_shard shards[FLIGHT_SHARDS];
};

/* The followers of one flight on one loop. */
struct flight_audience {
    struct loop_message message;
    struct list link; /* in the flight's audiences */
    struct flight *flight;
    struct loop *loop;
    uint32_t count;      /* lock: members */
    bool is_posted;      /* lock: the message is under way, and holds a reference */
    bool has_news;       /* lock: since the last message was taken */
    struct list members; /* home: of flight_member.link; who was called last is at the end */
    uint32_t left;       /* home: members still to be called */
};

struct flight {
    struct table_item item;
    struct cache_key key;
    struct flights *flights;    /* borrowed: outlives this */
    struct flight_shard *shard; /* borrowed: part of flights; its lock is "the lock" */
    uint64_t bytes_max;

    /* lock */
    uint32_t refs;                /* members, messages under way */
    struct flight_member *leader; /* NULL: none now */
    struct list audiences;        /* of flight_audience.link, owned */
    uint32_t leaders_lost;
    bool is_listed; /* in the index */
    bool is_detached;
    bool is_held;

    /* written under the lock, read by any member */
    _Atomic enum flight_state state;
    atomic_uint followers;
    atomic_bool is_deserted;
    atomic_ullong produced;
    atomic_ullong lag_max; /* bytes; UINT64_MAX: the log is kept */

    /* the leader's; `log.first` only under the lock */
    struct flight_log log;
    struct flight_head head; /* fixed before FLOWING */
    char *fields;            /* owned: head.fields */
};

static inline enum flight_state flight_state_now(const struct flight *flight)
{
    return atomic_load_explicit(&flight->state, memory_order_acquire);
}

static inline bool flight_is_followed(const struct flight *flight)
{
    return atomic_load_explicit(&flight->followers, memory_order_relaxed) > 0;
}

/* ---- flights.c ---- */

/* Not locked. */
struct flight_shard *flights_shard(struct flights *flights, const struct cache_key *key,
                                   uint64_t *ret_hash);

/* Under the lock. */
struct flight *flight_find(const struct flight_shard *shard, uint64_t hash,
                           const struct cache_key *key);
struct flight *flight_new(struct flights *flights, struct flight_shard *shard,
                          const struct cache_key *key, uint64_t hash, uint64_t bytes_max);
void flight_unlist(struct flight *flight); /* it cannot be joined any more */
/* True: that was the last reference; then flight_free() is to be called, without the lock. */
bool flight_unref(struct flight *flight) MUST_CHECK;
void flight_free(struct flight *flight);

/* ---- flight_news.c: under the lock ---- */

struct flight_audience *flight_audience_of(struct flight *flight, struct loop *loop);
/* Only to a loop with a member in the flight: it still runs. */
void flight_tell(struct flight_audience *audience);
void flight_tell_followers(struct flight *flight);
/* Have some follower's loop name the next leader. */
void flight_seek_leader(struct flight *flight);

/* ---- flight.c: under the lock ---- */

void flight_drop_follower(struct flight *flight, struct flight_member *member);
void flight_name_leader(struct flight *flight, struct flight_member *member);

#endif
