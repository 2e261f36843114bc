/* SPDX-License-Identifier: MIT */
/*
 * Flights: who leads, who follows, who is told.
 *
 *     flights ── shard: lock, index ── flight ── leader
 *                                        │       log (flight_log.c)
 *                                        ├─ audience of loop 1: message, members
 *                                        └─ audience of loop 2 ...
 *
 * News costs the leader one message for each loop that has followers, and none while the last one
 * has not been taken; each loop then calls its own followers, FLIGHT_ROUND of them a turn. An
 * audience's list is touched on its loop alone, its count under the lock.
 *
 * A flight lives while it has members or messages under way. It can be joined while it is in the
 * index: until its end, its refusal, its break, its bound, or its desertion.
 *
 * Invariant: an OPEN flight without a leader but with followers has a message under way to one of
 * their loops; whoever takes that names the next leader.
 */
#include <nearside/cache/flight.h>

#include "flight_log_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/hash.h>
#include <nearside/base/mem.h>
#include <nearside/base/table.h>
#include <nearside/loop/loop.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/random.h>

#define SHARD_BITS   6
#define SHARD_COUNT  (1u << SHARD_BITS)
#define FLIGHT_ROUND 256 /* followers called per turn and loop */

struct shard {
    _Alignas(CACHE_LINE) pthread_mutex_t lock;
    struct table index;
};

struct flights {
    struct hash_key hash_key; /* so that nobody chooses prompts that share a chain */
    uint32_t followers_max;
    atomic_uint followers; /* of all flights */
    atomic_ullong held_bytes;
    atomic_ullong bytes_max;
    struct shard shards[SHARD_COUNT];
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
    struct flights *flights; /* borrowed: outlives this */
    struct shard *shard;     /* borrowed: part of flights; its lock is "the lock" */
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

static void on_news(struct loop_message *message, void *arg);

/* ---- with the lock held ---- */

static struct flight *find(const struct shard *shard, uint64_t hash, const struct cache_key *key)
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

static void unlist(struct flight *flight)
{
    if (flight->is_listed) {
        flight->is_listed = false;
        table_remove(&flight->shard->index, &flight->item);
    }
}

static struct flight_audience *audience_of(struct flight *flight, struct loop *loop)
{
    struct flight_audience *audience;
    struct list *link;

    LIST_FOREACH (link, &flight->audiences) {
        audience = LIST_ITEM(link, struct flight_audience, link);
        if (audience->loop == loop) {
            return audience;
        }
    }
    audience = mem_new(struct flight_audience);
    audience->flight = flight;
    audience->loop = loop;
    list_init(&audience->members);
    list_push_back(&flight->audiences, &audience->link);
    return audience;
}

/* Only to a loop with a member in the flight: it still runs. */
static void tell(struct flight_audience *audience)
{
    audience->has_news = true;
    if (!audience->is_posted) {
        audience->is_posted = true;
        audience->flight->refs++;
        loop_post(audience->loop, &audience->message, on_news, audience);
    }
}

static void tell_followers(struct flight *flight)
{
    struct list *link;

    LIST_FOREACH (link, &flight->audiences) {
        struct flight_audience *audience = LIST_ITEM(link, struct flight_audience, link);
        if (audience->count > 0) {
            tell(audience);
        }
    }
}

/* Have some follower's loop name the next leader. */
static void seek_leader(struct flight *flight)
{
    struct list *link;

    LIST_FOREACH (link, &flight->audiences) {
        struct flight_audience *audience = LIST_ITEM(link, struct flight_audience, link);
        if (audience->count > 0) {
            tell(audience);
            return;
        }
    }
}

static enum flight_state state_of(const struct flight *flight)
{
    return atomic_load_explicit(&flight->state, memory_order_acquire);
}

/* The only place that changes flight->state. A settled flight takes no new members. */
static void flight_move(struct flight *flight, enum flight_state next)
{
    static const unsigned allowed[] = {
        [FLIGHT_OPEN] = (1u << FLIGHT_FLOWING) | (1u << FLIGHT_REFUSED),
        [FLIGHT_FLOWING] = (1u << FLIGHT_ENDED) | (1u << FLIGHT_BROKEN),
        [FLIGHT_ENDED] = 0,
        [FLIGHT_BROKEN] = 0,
        [FLIGHT_REFUSED] = 0,
    };

    ASSERT((allowed[state_of(flight)] & (1u << next)) != 0);
    atomic_store_explicit(&flight->state, next, memory_order_release);
    if (next != FLIGHT_FLOWING) {
        unlist(flight);
    }
    tell_followers(flight);
}

static void add_follower(struct flight *flight, struct flight_member *member)
{
    flight_reader_begin(&member->reader, &flight->log);
    list_push_back(&member->audience->members, &member->link);
    member->audience->count++;
    atomic_fetch_add_explicit(&flight->followers, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&flight->flights->followers, 1, memory_order_relaxed);
}

static void drop_follower(struct flight *flight, struct flight_member *member)
{
    list_remove(&member->link);
    member->audience->count--;
    atomic_fetch_sub_explicit(&flight->followers, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&flight->flights->followers, 1, memory_order_relaxed);
}

static void name_leader(struct flight *flight, struct flight_member *member)
{
    flight->leader = member;
    flight->is_detached = false;
    flight->is_held = false;
    member->leads = true;
}

static bool has_followers(const struct flight *flight)
{
    return atomic_load_explicit(&flight->followers, memory_order_relaxed) > 0;
}

/* The leader is no longer one, and did not end the answer. */
static void lose_leader(struct flight *flight)
{
    flight->leader = NULL;
    flight->is_held = false;
    if (state_of(flight) == FLIGHT_FLOWING) {
        flight_move(flight, FLIGHT_BROKEN);
    } else if (!has_followers(flight)) {
        unlist(flight);
    } else if (++flight->leaders_lost == FLIGHT_LEADERS_MAX) {
        flight_move(flight, FLIGHT_REFUSED);
    } else {
        seek_leader(flight);
    }
}

static void lose_follower(struct flight *flight, struct flight_member *member)
{
    drop_follower(flight, member);
    if (!has_followers(flight) && flight->leader != NULL && flight->is_detached) {
        atomic_store_explicit(&flight->is_deserted, true, memory_order_relaxed);
        unlist(flight);
        tell(flight->leader->audience);
    }
}

/* True: that was the last reference, and the caller is to call flight_free() without the lock. */
static bool unref(struct flight *flight)
{
    ASSERT(flight->refs > 0);
    flight->refs--;
    if (flight->refs > 0) {
        return false;
    }
    unlist(flight);
    return true;
}

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
    for (size_t i = 0; i < SHARD_COUNT; i++) {
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
    for (size_t i = 0; i < SHARD_COUNT; i++) {
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

    for (size_t i = 0; i < SHARD_COUNT; i++) {
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

static struct flight *flight_new(struct flights *flights, struct shard *shard,
                                 const struct cache_key *key, uint64_t bytes_max)
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
    return flight;
}

static void flight_free(struct flight *flight)
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

/* ---- joining and leaving ---- */

void flight_member_init(struct flight_member *member, struct loop *loop, flight_fn fn, void *arg)
{
    *member = (struct flight_member){.loop = loop, .fn = fn, .arg = arg};
    list_init(&member->link);
}

static void enter(struct flight *flight, struct flight_member *member)
{
    member->flight = flight;
    member->audience = audience_of(flight, member->loop);
    member->leads = false;
    flight->refs++;
}

enum flight_part flight_join(struct flights *flights, const struct cache_key *key,
                             uint64_t bytes_max, struct flight_member *member)
{
    uint64_t hash = hash_bytes(&flights->hash_key, key->bytes, CACHE_KEY_BYTES);
    struct shard *shard = &flights->shards[hash >> (64 - SHARD_BITS)];
    enum flight_part part = FLIGHT_NOT;
    struct flight *flight;

    ASSERT(loop_is_home(member->loop) && member->flight == NULL && member->reader.at == NULL);
    pthread_mutex_lock(&shard->lock);
    flight = find(shard, hash, key);
    if (flight == NULL) {
        flight = flight_new(flights, shard, key, bytes_max);
        flight->is_listed = true;
        table_insert(&shard->index, &flight->item, hash);
        enter(flight, member);
        name_leader(flight, member);
        part = FLIGHT_LEAD;
    } else if (atomic_load_explicit(&flights->followers, memory_order_relaxed) <
               flights->followers_max) {
        enter(flight, member);
        add_follower(flight, member);
        if (state_of(flight) != FLIGHT_OPEN) {
            tell(member->audience);
        }
        if (flight->is_held) {
            tell(flight->leader->audience);
        }
        part = FLIGHT_FOLLOW;
    }
    pthread_mutex_unlock(&shard->lock);
    return part;
}

/* Out of the flight, which is locked until here. */
static void exit_and_unlock(struct flight *flight, struct flight_member *member)
{
    bool is_last = unref(flight);

    pthread_mutex_unlock(&flight->shard->lock);
    member->flight = NULL;
    member->audience = NULL;
    if (is_last) {
        flight_free(flight);
    }
}

void flight_leave(struct flight_member *member)
{
    struct flight *flight = member->flight;

    flight_reader_done(&member->reader);
    if (flight == NULL) {
        return;
    }
    ASSERT(loop_is_home(member->loop));
    pthread_mutex_lock(&flight->shard->lock);
    if (flight->leader == member) {
        lose_leader(flight);
    } else {
        lose_follower(flight, member);
    }
    exit_and_unlock(flight, member);
}

/* ---- news, on an audience's loop ---- */

/* Under the lock. Who leads and is to be told, or NULL. */
static struct flight_member *leader_to_tell(struct flight *flight, struct flight_audience *audience)
{
    struct list *first = list_first(&audience->members);

    if (flight->leader != NULL) {
        bool is_told = atomic_load_explicit(&flight->is_deserted, memory_order_relaxed) ||
                       (flight->is_held && has_followers(flight));
        return is_told && flight->leader->audience == audience ? flight->leader : NULL;
    }
    if (state_of(flight) != FLIGHT_OPEN || !has_followers(flight)) {
        return NULL;
    }
    if (first == NULL) {
        seek_leader(flight); /* all of these have left meanwhile */
        return NULL;
    }
    struct flight_member *heir = LIST_ITEM(first, struct flight_member, link);
    drop_follower(flight, heir);
    flight_reader_done(&heir->reader); /* nothing has come, or there would be no heir */
    name_leader(flight, heir);
    return heir;
}

/* Call up to FLIGHT_ROUND members; each goes to the end of the list, so the next round begins with
 * those not called yet. */
static void call_members(struct flight_audience *audience)
{
    for (unsigned i = 0; i < FLIGHT_ROUND && audience->left > 0; i++, audience->left--) {
        struct list *first = list_first(&audience->members);
        if (first == NULL) {
            audience->left = 0;
            return;
        }
        struct flight_member *member = LIST_ITEM(first, struct flight_member, link);
        list_remove(first);
        list_push_back(&audience->members, first);
        member->fn(member, member->arg);
    }
}

static void on_news(struct loop_message *message, void *arg)
{
    struct flight_audience *audience = arg;
    struct flight *flight = audience->flight;
    struct flight_member *leader;
    bool is_last;

    (void)message;
    pthread_mutex_lock(&flight->shard->lock);
    audience->is_posted = false;
    leader = leader_to_tell(flight, audience);
    if (audience->has_news) {
        audience->has_news = false;
        audience->left = audience->count;
    }
    pthread_mutex_unlock(&flight->shard->lock);

    if (leader != NULL) {
        leader->fn(leader, leader->arg);
    }
    call_members(audience);

    pthread_mutex_lock(&flight->shard->lock);
    if (audience->left > 0 && !audience->is_posted && audience->count > 0) {
        audience->is_posted = true;
        loop_post(audience->loop, message, on_news, audience); /* the reference passes */
        is_last = false;
    } else {
        is_last = unref(flight);
    }
    pthread_mutex_unlock(&flight->shard->lock);
    if (is_last) {
        flight_free(flight);
    }
}

/* ---- a follower ---- */

enum flight_state flight_state(const struct flight_member *member)
{
    return state_of(member->flight);
}

const struct flight_head *flight_head(const struct flight_member *member)
{
    enum flight_state state = state_of(member->flight);

    return state == FLIGHT_OPEN || state == FLIGHT_REFUSED ? NULL : &member->flight->head;
}

struct str flight_peek(struct flight_member *member)
{
    return flight_reader_peek(&member->reader);
}

void flight_consume(struct flight_member *member, size_t len)
{
    flight_reader_consume(&member->reader, len);
}

bool flight_is_late(const struct flight_member *member)
{
    const struct flight *flight = member->flight;
    uint64_t produced = atomic_load_explicit(&flight->produced, memory_order_relaxed);

    return produced - member->reader.consumed >
           atomic_load_explicit(&flight->lag_max, memory_order_relaxed);
}

/* ---- the leader ---- */

static struct flight *led_by(const struct flight_member *member)
{
    ASSERT(flight_leads(member) && loop_is_home(member->loop));
    return member->flight;
}

void flight_publish(struct flight_member *member, const struct flight_head *head)
{
    struct flight *flight = led_by(member);

    flight->fields = mem_strndup(head->fields.ptr, head->fields.len);
    flight->head = *head;
    flight->head.fields = str_make(flight->fields, head->fields.len);
    pthread_mutex_lock(&flight->shard->lock);
    flight_move(flight, FLIGHT_FLOWING);
    pthread_mutex_unlock(&flight->shard->lock);
}

static bool is_kept(const struct flight *flight)
{
    return atomic_load_explicit(&flight->lag_max, memory_order_relaxed) == UINT64_MAX;
}

/* Under the lock. Past a bound the log is no longer kept, so nobody can join. */
static void check_bounds(struct flight *flight, uint64_t produced)
{
    struct flights *flights = flight->flights;
    bool is_crowded =
        flights_bytes(flights) > atomic_load_explicit(&flights->bytes_max, memory_order_relaxed);

    if (is_kept(flight) && (produced > flight->bytes_max || is_crowded)) {
        unlist(flight);
        flight_log_let_go(&flight->log);
        atomic_store_explicit(&flight->lag_max,
                              is_crowded ? FLIGHT_LAG_MIN_BYTES : flight->bytes_max,
                              memory_order_relaxed);
    }
}

/* The leader's part is over, in `state`. */
static void settle(struct flight_member *member, enum flight_state state)
{
    struct flight *flight = led_by(member);

    pthread_mutex_lock(&flight->shard->lock);
    flight->leader = NULL;
    flight->is_held = false;
    flight_move(flight, state);
    exit_and_unlock(flight, member);
}

bool flight_append(struct flight_member *member, struct str bytes)
{
    struct flight *flight = led_by(member);
    uint64_t produced = atomic_load_explicit(&flight->produced, memory_order_relaxed) + bytes.len;

    if (!is_kept(flight) && !has_followers(flight) && member->reader.at == NULL) {
        return true; /* nobody reads, and nobody will */
    }
    if (!flight_log_append(&flight->log, bytes)) {
        settle(member, FLIGHT_BROKEN);
        return false;
    }
    pthread_mutex_lock(&flight->shard->lock);
    atomic_store_explicit(&flight->produced, produced, memory_order_relaxed);
    check_bounds(flight, produced);
    tell_followers(flight);
    pthread_mutex_unlock(&flight->shard->lock);
    return true;
}

void flight_end(struct flight_member *member)
{
    settle(member, FLIGHT_ENDED);
}

void flight_refuse(struct flight_member *member)
{
    settle(member, FLIGHT_REFUSED);
}

bool flight_detach(struct flight_member *member)
{
    struct flight *flight = led_by(member);
    bool is_awaited;

    flight_reader_done(&member->reader);
    pthread_mutex_lock(&flight->shard->lock);
    is_awaited = has_followers(flight);
    flight->is_detached = is_awaited;
    pthread_mutex_unlock(&flight->shard->lock);
    return is_awaited;
}

bool flight_is_deserted(const struct flight_member *member)
{
    return flight_leads(member) &&
           atomic_load_explicit(&member->flight->is_deserted, memory_order_relaxed);
}

bool flight_has_followers(const struct flight_member *member)
{
    return has_followers(led_by(member));
}

void flight_hold(struct flight_member *member, bool is_held)
{
    struct flight *flight = led_by(member);

    pthread_mutex_lock(&flight->shard->lock);
    flight->is_held = is_held;
    if (is_held && has_followers(flight)) {
        tell(member->audience);
    }
    pthread_mutex_unlock(&flight->shard->lock);
}

void flight_read_no_more(struct flight_member *member)
{
    flight_reader_done(&member->reader);
}

void flight_read_from_now(struct flight_member *member)
{
    struct flight *flight = led_by(member);

    flight_reader_tail(&member->reader, &flight->log,
                       atomic_load_explicit(&flight->produced, memory_order_relaxed));
}
