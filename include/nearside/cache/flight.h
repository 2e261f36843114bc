/* SPDX-License-Identifier: MIT */
/*
 * Identical requests in flight share one upstream request, across all workers.
 *
 * A flight is one answer on its way, known by its cache key. The first request that joins it leads:
 * it asks upstream and passes what it gets into the flight. Those that join later follow: they get
 * what has come already, then the rest as it comes. Bytes are copied once, into a log of
 * reference-counted segments that every follower reads where they lie, at its own pace.
 *
 *   OPEN ──publish──> FLOWING ──end──> ENDED        leader: publish, append..., end
 *    │ │                 └──leave, no memory──> BROKEN
 *    │ └──refuse, too many leaders lost──> REFUSED: every follower goes its own way
 *    └──leave──> OPEN, another follower leads
 *
 * A leader whose client has gone can go on for its followers (flight_detach()); it is told when the
 * last of them has left.
 *
 * The log is kept whole for those who join late while it fits the bounds. Past them nobody can
 * join any more and it is let go as it is read; a follower too far behind is then late (it has to
 * give up).
 *
 * Who is told: a member's callback runs on its own loop, on a later turn than any call here, once
 * for many changes. It says only that something is new.
 *
 * Locks: one for each shard of the table, guarding its flights. Nobody holds two. Messages are
 * posted under one, because a loop may only end once none of its requests is in a flight.
 *
 * Thread: struct flights: any; a member and its calls: its loop's.
 */
#ifndef NEARSIDE_CACHE_FLIGHT_H
#define NEARSIDE_CACHE_FLIGHT_H

#include <nearside/base/attr.h>
#include <nearside/base/list.h>
#include <nearside/base/str.h>
#include <nearside/cache/key.h>

#include <stdbool.h>
#include <stdint.h>

#define FLIGHT_FOLLOWERS_MAX 10000 /* of all flights together */
#define FLIGHT_LEADERS_MAX   3     /* that may fail one after the other before all go alone */
/* How far behind a log that is not kept a follower may be: this, or the log's bound if that is
 * more; and while all logs together are over theirs, only so much. */
#define FLIGHT_LAG_BYTES     1048576
#define FLIGHT_LAG_MIN_BYTES 65536

struct flight;
struct flight_audience;
struct flight_member;
struct flight_segment;
struct flights;
struct loop;

/* Something is new; never called from inside a flight_* call, nor after flight_leave(). The member
 * may be left in it. */
typedef void (*flight_fn)(struct flight_member *member, void *arg);

/* A place in a flight's log. */
struct flight_reader {
    struct flight_segment *at; /* ref held; NULL: none */
    size_t offset;             /* in `at` */
    uint64_t consumed;         /* bytes of the answer before it */
};

/* Embedded by value in a request; all fields are private. */
struct flight_member {
    struct flight *flight; /* ref held; NULL: in none */
    bool leads;
    struct list link; /* in its audience, while it follows */
    struct loop *loop;
    flight_fn fn;
    void *arg;
    struct flight_audience *audience;
    struct flight_reader reader;
};

/* What a follower must know of an answer before its first byte. */
struct flight_head {
    unsigned status;
    struct str fields; /* "name: value\r\n" lines, as in a cache entry */
    bool is_stream;    /* the body is an event stream */
    bool has_length;
    uint64_t length;
    int region_slot; /* that serves it; -1: none */
};

enum flight_state {
    FLIGHT_OPEN,    /* nothing has come yet */
    FLIGHT_FLOWING, /* the head is there, and bytes come */
    FLIGHT_ENDED,   /* all bytes are there: a complete answer */
    FLIGHT_BROKEN,  /* no more bytes will come: an incomplete answer */
    FLIGHT_REFUSED, /* not to be shared: ask upstream yourself */
    FLIGHT_FAILED,  /* the same; and asking came to nothing just now */
};

enum flight_part {
    FLIGHT_LEAD,   /* ask upstream, and publish what comes */
    FLIGHT_FOLLOW, /* wait for news */
    FLIGHT_NOT,    /* there is no room for another follower: go alone */
};

/* ---- the edge's part ---- */

/* `bytes_max`: of all logs together. */
struct flights *flights_new(uint64_t bytes_max, uint32_t followers_max);
/* No member may be left, and no loop that had one may still run. NULL is fine. */
void flights_free(struct flights *flights);
void flights_resize(struct flights *flights, uint64_t bytes_max);
/* Flights that can be joined, and what all logs hold (also of those that cannot). */
uint32_t flights_count(struct flights *flights);
uint64_t flights_bytes(const struct flights *flights);

/* ---- any member ---- */

void flight_member_init(struct flight_member *member, struct loop *loop, flight_fn fn, void *arg);
/* Join the flight of that key, or begin one. `bytes_max` bounds the log of a new one. */
enum flight_part flight_join(struct flights *flights, const struct cache_key *key,
                             uint64_t bytes_max, struct flight_member *member) MUST_CHECK;
/* Leave; harmless when in none. A leader that leaves an answer that has begun breaks it; before
 * that, a follower leads on. */
void flight_leave(struct flight_member *member);

static inline bool flight_is_joined(const struct flight_member *member)
{
    return member->flight != NULL;
}
/* A follower becomes the leader by itself; news tells. */
static inline bool flight_leads(const struct flight_member *member)
{
    return member->flight != NULL && member->leads;
}

/* ---- a follower ---- */

/* Ask this first, then read: once it is ENDED or BROKEN, what can be read is all there will be. */
enum flight_state flight_state(const struct flight_member *member);
/* REFUSED or FAILED: there is nothing to follow. */
static inline bool flight_is_off(const struct flight_member *member)
{
    enum flight_state state = flight_state(member);

    return state == FLIGHT_REFUSED || state == FLIGHT_FAILED;
}
/* From FLOWING on; valid while joined. NULL when the flight never got that far. */
const struct flight_head *flight_head(const struct flight_member *member);
/* The next bytes, as many as lie together; empty when none are there. Valid until consumed. */
struct str flight_peek(struct flight_member *member);
void flight_consume(struct flight_member *member, size_t len);
/* Too far behind a log that is no longer kept: leave. */
bool flight_is_late(const struct flight_member *member);

/* ---- the leader ---- */

/* The answer begins: `head` is copied. Followers hear of it with what is done next: the first bytes
 * appended, the end, or the leader's leaving. Memory refused: flight_refuse() instead, the leader's
 * own answer goes on. */
void flight_publish(struct flight_member *member, const struct flight_head *head);
/* More of its body. False: memory was refused; the flight is broken, and left. */
bool flight_append(struct flight_member *member, struct str bytes) MUST_CHECK;
/* It is complete. The flight is left. Store the answer before, so that it is in one or the other.
 */
void flight_end(struct flight_member *member);
/* This answer is not to be shared (nothing was published yet). The flight is left. */
void flight_refuse(struct flight_member *member);

/* No region can answer, and the leader has something else to answer with; those who follow may
 * have, too. Nothing was published. The flight is left. */
void flight_fail(struct flight_member *member);

/* The leader's client has gone. True: others wait for the answer; go on, and look for
 * flight_is_deserted() at news. False: nobody does; leave. */
bool flight_detach(struct flight_member *member) MUST_CHECK;
/* A detached leader's last follower has left. */
bool flight_is_deserted(const struct flight_member *member);

/* The leader holds its upstream back because its own client is slow: with news of a follower it
 * should not. */
bool flight_has_followers(const struct flight_member *member);
void flight_hold(struct flight_member *member, bool is_held);
/* Read from here on, as a follower does; works on after flight_end(), until flight_leave(). */
void flight_read_from_now(struct flight_member *member);
void flight_read_no_more(struct flight_member *member);

#endif
