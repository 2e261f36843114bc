/* SPDX-License-Identifier: MIT */
/*
 * The leader's side of a shared answer: what it fetches for its own client goes to those who follow
 * as well (follow.c).
 *
 * Two things differ from a request that is alone:
 *
 *   its client leaves   While others wait, the request goes on without one ("detached":
 *                       request->client is NULL, what would be written is dropped). The worker
 *                       keeps it in worker->detached until the answer or the last follower is gone.
 *   its client is slow  While others wait, the endpoint is not paused: the client reads from the
 *                       flight's log like they do ("behind"), until it has caught up. Too far
 *                       behind a log that is not kept, it is cut off, as any of them would be.
 */
#include "request_private.h"

#include "client_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/cache/cache.h>

#define SHARE_SLICE_BYTES 131072 /* per write: half of what may wait unsent */

void share_begin(struct request *request)
{
    const struct http_head *answer = request->answer;

    if (!flight_leads(&request->flight)) {
        return;
    }
    if (request->fill == NULL || !cache_fill_is_good(request->fill)) {
        flight_refuse(&request->flight);
        return;
    }
    struct flight_head head = {
        .status = answer->status,
        .fields = cache_fill_fields(request->fill),
        .is_stream = request->sse != NULL,
        .has_length = answer->body == HTTP_BODY_LENGTH,
        .length = answer->content_length,
        .region_slot = request->served_slot,
    };
    flight_publish(&request->flight, &head);
}

void share_data(struct request *request, struct str bytes)
{
    /* Refused memory ends the flight. This request's own answer goes on, unless its client reads
     * from there. */
    if (flight_leads(&request->flight) && !flight_append(&request->flight, bytes) &&
        request->is_behind) {
        request_on_failure(request, OUTCOME_LOCAL_LIMIT);
    }
}

void share_end(struct request *request)
{
    if (flight_leads(&request->flight)) {
        flight_end(&request->flight);
    }
}

/* ---- a client that has gone ---- */

bool share_outlives_client(struct request *request)
{
    return request->client != NULL && flight_leads(&request->flight) &&
           (request->state == REQUEST_QUEUED || request->state == REQUEST_ATTEMPT ||
            request->state == REQUEST_RELAY) &&
           flight_detach(&request->flight);
}

void share_let_client_go(struct request *request)
{
    struct worker *worker = request->worker;
    struct client_conn *client = request->client;

    access_log_request(request, loop_now_ns(worker->loop));
    request->is_logged = true;
    request->is_behind = false;
    request->client = NULL;
    request_uncount(request);
    request->out_of_time = false; /* total_ms was its client's; each follower has its own */
    if (request->state == REQUEST_QUEUED) {
        deadline_set_ns(&request->deadline, request->queue_until_ns);
    } else {
        deadline_cancel(&request->deadline);
    }
    list_push_back(&worker->detached, &request->detached_link);
    exchange_resume(&request->exchange);
    client_request_done(client);
}

bool share_detach(struct request *request)
{
    if (!share_outlives_client(request)) {
        return false;
    }
    share_let_client_go(request);
    return true;
}

bool share_is_pointless(const struct request *request)
{
    return request->client == NULL && !flight_leads(&request->flight);
}

/* ---- a client that is slow ---- */

/* From now on the client reads from the log, and the endpoint is not paused for it. */
static void fall_behind(struct request *request)
{
    flight_hold(&request->flight, false);
    flight_read_from_now(&request->flight);
    request->is_behind = true;
}

bool share_spares_pause(struct request *request)
{
    if (!flight_leads(&request->flight)) {
        return false;
    }
    if (!flight_has_followers(&request->flight)) {
        flight_hold(&request->flight, true); /* the first follower ends the pause */
        return false;
    }
    fall_behind(request);
    return true;
}

bool share_catch_up(struct request *request)
{
    struct str bytes = flight_peek(&request->flight);

    while (bytes.len > 0 && !request->client->paused_source) {
        bytes = str_slice(bytes, 0, SHARE_SLICE_BYTES);
        client_reply_data(request->client, bytes);
        if (client_reply_flush(request->client) == CLIENT_GONE) {
            return false;
        }
        flight_consume(&request->flight, bytes.len);
        bytes = flight_peek(&request->flight);
    }
    if (bytes.len > 0) {
        /* The log of a large answer is let go as it is read: it must not grow without end. Nobody
         * can join it any more. */
        if (flight_leads(&request->flight) && flight_is_late(&request->flight) &&
            !flight_has_followers(&request->flight)) {
            exchange_pause(&request->exchange);
        }
        return false;
    }
    request->is_behind = false;
    flight_read_no_more(&request->flight);
    exchange_resume(&request->exchange);
    return true;
}

bool share_is_held_up(const struct request *request)
{
    return request->is_behind && flight_leads(&request->flight) &&
           flight_is_late(&request->flight) && flight_has_followers(&request->flight);
}

/* ---- news ---- */

void share_on_news(struct request *request)
{
    if (flight_is_deserted(&request->flight)) {
        ASSERT(request->client == NULL);
        request_leave(request, OUTCOME_CLIENT_GONE);
        request_finish(request);
        return;
    }
    /* The client is slow, and now it is not alone. */
    if (request->state == REQUEST_RELAY && request->exchange.paused && !request->is_behind) {
        fall_behind(request);
        exchange_resume(&request->exchange);
    } else {
        flight_hold(&request->flight, false); /* it went on by itself */
    }
}
