/* SPDX-License-Identifier: MIT */
/*
 * Who is told that something is new in a flight, and who leads next.
 *
 * News costs the leader one message for each loop that has followers, and none while the last one
 * has not been taken; each loop then calls its own followers, FLIGHT_ROUND of them a turn. An
 * audience's list is touched on its loop alone, its count under the lock.
 *
 * Invariant: an OPEN flight without a leader but with followers has a message under way to one of
 * their loops; whoever takes that names the next leader.
 */
#include "flight_private.h"

#include <nearside/base/mem.h>

#define FLIGHT_ROUND 256 /* followers called per turn and loop */

static void on_news(struct loop_message *message, void *arg);

/* ---- with the lock held ---- */

struct flight_audience *flight_audience_of(struct flight *flight, struct loop *loop)
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

void flight_tell(struct flight_audience *audience)
{
    audience->has_news = true;
    if (!audience->is_posted) {
        audience->is_posted = true;
        audience->flight->refs++;
        loop_post(audience->loop, &audience->message, on_news, audience);
    }
}

void flight_tell_followers(struct flight *flight)
{
    struct list *link;

    LIST_FOREACH (link, &flight->audiences) {
        struct flight_audience *audience = LIST_ITEM(link, struct flight_audience, link);
        if (audience->count > 0) {
            flight_tell(audience);
        }
    }
}

void flight_seek_leader(struct flight *flight)
{
    struct list *link;

    LIST_FOREACH (link, &flight->audiences) {
        struct flight_audience *audience = LIST_ITEM(link, struct flight_audience, link);
        if (audience->count > 0) {
            flight_tell(audience);
            return;
        }
    }
}

/* ---- news, on an audience's loop ---- */

/* Under the lock. Who leads and is to be told, or NULL. */
static struct flight_member *leader_to_tell(struct flight *flight, struct flight_audience *audience)
{
    struct list *first = list_first(&audience->members);

    if (flight->leader != NULL) {
        bool is_told = atomic_load_explicit(&flight->is_deserted, memory_order_relaxed) ||
                       (flight->is_held && flight_is_followed(flight));
        return is_told && flight->leader->audience == audience ? flight->leader : NULL;
    }
    if (flight_state_now(flight) != FLIGHT_OPEN || !flight_is_followed(flight)) {
        return NULL;
    }
    if (first == NULL) {
        flight_seek_leader(flight); /* all of these have left meanwhile */
        return NULL;
    }
    struct flight_member *heir = LIST_ITEM(first, struct flight_member, link);
    flight_drop_follower(flight, heir);
    flight_reader_done(&heir->reader); /* nothing has come, or there would be no heir */
    flight_name_leader(flight, heir);
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
        is_last = flight_unref(flight);
    }
    pthread_mutex_unlock(&flight->shard->lock);
    if (is_last) {
        flight_free(flight);
    }
}
