/* SPDX-License-Identifier: MIT */
/*
 * What the members of a flight do: join, lead, follow, leave.
 *
 * A flight can be joined while it is in the index: until its end, its refusal, its break, its
 * bound, or its desertion. The leader alone writes the log and the head; what it publishes becomes
 * visible with `state` and `produced`.
 */
#include "flight_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <string.h>

/* ---- with the lock held ---- */

/* The only place that changes flight->state. A settled flight takes no new members. FLOWING is no
 * news by itself: the first bytes come with it, or the end, and a follower woken twice would send
 * twice. */
static void flight_move(struct flight *flight, enum flight_state next)
{
    static const unsigned allowed[] = {
        [FLIGHT_OPEN] = (1u << FLIGHT_FLOWING) | (1u << FLIGHT_REFUSED) | (1u << FLIGHT_FAILED),
        [FLIGHT_FLOWING] = (1u << FLIGHT_ENDED) | (1u << FLIGHT_BROKEN),
        [FLIGHT_ENDED] = 0,
        [FLIGHT_BROKEN] = 0,
        [FLIGHT_REFUSED] = 0,
        [FLIGHT_FAILED] = 0,
    };

    ASSERT((allowed[flight_state_now(flight)] & (1u << next)) != 0);
    atomic_store_explicit(&flight->state, next, memory_order_release);
    if (next != FLIGHT_FLOWING) {
        flight_unlist(flight);
        flight_tell_followers(flight);
    }
}

static void add_follower(struct flight *flight, struct flight_member *member)
{
    flight_reader_begin(&member->reader, &flight->log);
    list_push_back(&member->audience->members, &member->link);
    member->audience->count++;
    atomic_fetch_add_explicit(&flight->followers, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&flight->flights->followers, 1, memory_order_relaxed);
}

void flight_drop_follower(struct flight *flight, struct flight_member *member)
{
    list_remove(&member->link);
    member->audience->count--;
    atomic_fetch_sub_explicit(&flight->followers, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&flight->flights->followers, 1, memory_order_relaxed);
}

void flight_name_leader(struct flight *flight, struct flight_member *member)
{
    flight->leader = member;
    flight->is_detached = false;
    flight->is_held = false;
    member->leads = true;
}

/* The leader is no longer one, and did not end the answer. */
static void lose_leader(struct flight *flight)
{
    flight->leader = NULL;
    flight->is_held = false;
    if (flight_state_now(flight) == FLIGHT_FLOWING) {
        flight_move(flight, FLIGHT_BROKEN);
    } else if (!flight_is_followed(flight)) {
        flight_unlist(flight);
    } else if (++flight->leaders_lost == FLIGHT_LEADERS_MAX) {
        flight_move(flight, FLIGHT_REFUSED);
    } else {
        flight_seek_leader(flight);
    }
}

static void lose_follower(struct flight *flight, struct flight_member *member)
{
    flight_drop_follower(flight, member);
    if (!flight_is_followed(flight) && flight->leader != NULL && flight->is_detached) {
        atomic_store_explicit(&flight->is_deserted, true, memory_order_relaxed);
        flight_unlist(flight);
        flight_tell(flight->leader->audience);
    }
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
    member->audience = flight_audience_of(flight, member->loop);
    member->leads = false;
    flight->refs++;
}

enum flight_part flight_join(struct flights *flights, const struct cache_key *key,
                             uint64_t bytes_max, struct flight_member *member)
{
    uint64_t hash;
    struct flight_shard *shard = flights_shard(flights, key, &hash);
    enum flight_part part = FLIGHT_NOT;
    struct flight *flight;

    ASSERT(loop_is_home(member->loop) && member->flight == NULL && member->reader.at == NULL);
    pthread_mutex_lock(&shard->lock);
    flight = flight_find(shard, hash, key);
    if (flight == NULL) {
        flight = flight_new(flights, shard, key, hash, bytes_max);
        enter(flight, member);
        flight_name_leader(flight, member);
        part = FLIGHT_LEAD;
    } else if (atomic_load_explicit(&flights->followers, memory_order_relaxed) <
               flights->followers_max) {
        enter(flight, member);
        add_follower(flight, member);
        if (flight_state_now(flight) != FLIGHT_OPEN) {
            flight_tell(member->audience);
        }
        if (flight->is_held) {
            flight_tell(flight->leader->audience);
        }
        part = FLIGHT_FOLLOW;
    }
    pthread_mutex_unlock(&shard->lock);
    return part;
}

/* Out of the flight, which is locked until here. */
static void exit_and_unlock(struct flight *flight, struct flight_member *member)
{
    bool is_last = flight_unref(flight);

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

/* ---- a follower ---- */

enum flight_state flight_state(const struct flight_member *member)
{
    return flight_state_now(member->flight);
}

const struct flight_head *flight_head(const struct flight_member *member)
{
    bool is_begun = flight_state_now(member->flight) != FLIGHT_OPEN && !flight_is_off(member);

    return is_begun ? &member->flight->head : NULL;
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

    /* Bytes can be read a moment before `produced` counts them. */
    return produced > member->reader.consumed &&
           produced - member->reader.consumed >
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

    flight->fields = mem_try_alloc(head->fields.len);
    if (flight->fields == NULL) {
        flight_refuse(member);
        return;
    }
    if (head->fields.len > 0) {
        memcpy(flight->fields, head->fields.ptr, head->fields.len);
    }
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
    uint64_t all_max = atomic_load_explicit(&flights->bytes_max, memory_order_relaxed);
    bool is_crowded = flights_bytes(flights) > all_max;
    uint64_t lag_max = flight->bytes_max > FLIGHT_LAG_BYTES ? flight->bytes_max : FLIGHT_LAG_BYTES;

    if (!is_crowded && produced <= flight->bytes_max && is_kept(flight)) {
        return;
    }
    if (is_kept(flight)) {
        flight_unlist(flight);
        flight_log_let_go(&flight->log);
    }
    atomic_store_explicit(&flight->lag_max, is_crowded ? FLIGHT_LAG_MIN_BYTES : lag_max,
                          memory_order_relaxed);
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

    if (!is_kept(flight) && !flight_is_followed(flight) && member->reader.at == NULL) {
        return true; /* nobody reads, and nobody will */
    }
    if (!flight_log_append(&flight->log, bytes)) {
        settle(member, FLIGHT_BROKEN);
        return false;
    }
    pthread_mutex_lock(&flight->shard->lock);
    atomic_store_explicit(&flight->produced, produced, memory_order_relaxed);
    check_bounds(flight, produced);
    flight_tell_followers(flight);
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

void flight_fail(struct flight_member *member)
{
    settle(member, FLIGHT_FAILED);
}

bool flight_detach(struct flight_member *member)
{
    struct flight *flight = led_by(member);
    bool is_awaited;

    flight_reader_done(&member->reader);
    pthread_mutex_lock(&flight->shard->lock);
    is_awaited = flight_is_followed(flight);
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
    return flight_is_followed(led_by(member));
}

void flight_hold(struct flight_member *member, bool is_held)
{
    struct flight *flight = led_by(member);

    pthread_mutex_lock(&flight->shard->lock);
    flight->is_held = is_held;
    if (is_held && flight_is_followed(flight)) {
        flight_tell(member->audience);
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
