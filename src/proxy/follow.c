/* SPDX-License-Identifier: MIT */
/*
 * A request whose answer another one is already fetching: it joins that flight and gets what comes.
 *
 * Happy path:
 *   1. After a miss, join the flight of key and form. Nobody there: lead it, ask upstream
 * (share.c).
 *   2. Else wait for the answer's head; write it.
 *   3. Pass on what has come and what comes, as fast as this client takes it.
 *   4. All of it is there and written: end.
 *
 * The leader may fail before its answer begins: then this request leads, or another follower. Its
 * answer may turn out not to be for sharing: then this request goes its own way. It may break off:
 * then this answer does, visibly. A client that falls too far behind an answer too large to be kept
 * is cut off, because the others do not wait for it.
 *
 * Waits: news of the flight; room at the client; the deadline total_ms.
 */
#include "request_private.h"

#include "client_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/conf/tree.h>

#define FOLLOW_SLICE_BYTES 131072 /* per write: half of what may wait unsent */

static void on_news(struct flight_member *member, void *arg)
{
    struct request *request = OBJ_CAST(arg, request, REQUEST_MAGIC);

    if (flight_leads(member) && request->state != REQUEST_FOLLOW) {
        share_on_news(request);
    } else {
        request_drive(request);
    }
}

/* ---- joining ---- */

static void count_follower(struct request *request, bool follows)
{
    if (request->follows != follows) {
        request->follows = follows;
        metric_add(request->worker->metrics, METRIC_CACHE_FOLLOWERS, 0, 0, 0, follows ? 1 : -1);
    }
}

static void begin_to_follow(struct request *request)
{
    if (stale_instead_of_waiting(request)) {
        return;
    }
    count_follower(request, true);
    request_wait_begin(request);
    request_move(request, REQUEST_FOLLOW);
}

/* The leader of before may have stored its answer and gone between our look and our joining. */
static void begin_to_lead(struct request *request)
{
    if (lookup_again(request)) {
        flight_refuse(&request->flight);
        return;
    }
    request_move(request, REQUEST_ROUTE);
}

void follow_begin(struct request *request)
{
    struct worker *worker = request->worker;
    const struct conf_cache *conf = &request->world->conf->cache;
    struct cache_key key;

    if (!conf->coalesce || !request->plan.lookup || !request->plan.store) {
        request_move(request, REQUEST_ROUTE);
        return;
    }
    flight_member_init(&request->flight, worker->loop, on_news, request);
    cache_key_of_form(worker->digest, &request->key, request->form, &key);
    switch (flight_join(cache_flights(worker->deps.cache), &key, conf->max_entry_bytes,
                        &request->flight)) {
    case FLIGHT_LEAD:
        begin_to_lead(request);
        break;
    case FLIGHT_FOLLOW:
        begin_to_follow(request);
        break;
    case FLIGHT_NOT:
        metric_limit_hit(worker->metrics, LIMIT_CACHE_FOLLOWERS);
        request_move(request, REQUEST_ROUTE);
        break;
    }
}

void follow_leave(struct request *request)
{
    flight_leave(&request->flight);
    count_follower(request, false);
}

/* ---- the answer ---- */

static void write_head(struct request *request, const struct flight_head *head)
{
    struct client_conn *client = request->client;

    client_reply_head(client, head->status);
    buf_append_str(&request->worker->reply_head, head->fields);
    client_reply_field(client, STR_LIT("Via"), STR_LIT("1.1 nearside"));
    client_reply_field(client, STR_LIT("Cache-Status"), STR_LIT("nearside; fwd=miss; collapsed"));
    forward_common_fields(request);
    client_reply_head_end(client, head->status,
                          head->has_length ? HTTP_BODY_LENGTH : HTTP_BODY_CHUNKED, head->length,
                          false);
}

/* From here on the answer belongs to the client. There is room for its head. */
static void commit(struct request *request)
{
    const struct flight_head *head = flight_head(&request->flight);

    request_wait_end(request);
    request_observe_overhead(request);
    request->commit_ns = loop_now_ns(request->worker->loop);
    request->served_slot = head->region_slot;
    request->status = head->status;
    request->cache_word = "collapsed";
    metric_add(request->worker->metrics, METRIC_CACHE, METRIC_TIER_MEMORY, METRIC_CACHE_COLLAPSED,
               0, 1);
    if (head->is_stream) {
        request->sse = arena_alloc(&request->arena, sizeof(*request->sse));
        sse_init(request->sse);
    }
    request_set_phase(request, METRIC_PHASE_STREAMING);
    write_head(request, head);
}

static enum request_step cut(struct request *request, const char *reason)
{
    metric_inc(request->worker->metrics, METRIC_STREAMS_CUT, (unsigned)request->served_slot);
    request->reason = reason;
    request->end = REQUEST_END_CUT;
    follow_leave(request);
    if (request->sse != NULL) {
        reply_stream_error(request);
    }
    (void)client_reply_flush(request->client); /* what came before the break, still framed */
    client_reply_abort(request->client);
    request_move(request, REQUEST_END);
    return STEP_AGAIN;
}

/* Write up to a slice of what the log has. False: there was nothing. `is_end`: what the log has now
 * is all there will be, and a complete answer. */
static bool pass_slice(struct request *request, bool is_end, enum client_room *ret_room)
{
    struct str bytes = str_slice(flight_peek(&request->flight), 0, FOLLOW_SLICE_BYTES);

    if (bytes.len > 0) {
        if (request->sse != NULL) {
            sse_feed(request->sse, bytes);
        }
        request->bytes_sent += bytes.len;
        client_reply_data(request->client, bytes);
    } else if (is_end) {
        client_reply_end(request->client);
    }
    *ret_room = client_reply_flush(request->client);
    flight_consume(&request->flight, bytes.len);
    return bytes.len > 0;
}

/* Ask upstream after all: as the next leader, or alone. */
static enum request_step go_on_alone(struct request *request)
{
    count_follower(request, false);
    request_wait_end(request);
    if (!flight_leads(&request->flight)) {
        if (flight_state(&request->flight) == FLIGHT_FAILED && stale_answer(request)) {
            return STEP_AGAIN;
        }
        follow_leave(request);
        if (lookup_again(request)) {
            return STEP_AGAIN;
        }
    }
    request_move(request, REQUEST_ROUTE);
    return STEP_AGAIN;
}

static enum request_step pass_on(struct request *request)
{
    /* Before the bytes: see flight_state(). */
    enum flight_state state = flight_state(&request->flight);
    enum client_room room = CLIENT_ROOM;
    bool more = true;

    if (request->commit_ns == 0) {
        const struct flight_head *head = flight_head(&request->flight);
        if (!client_reply_reserve(request->worker, head->fields.len)) {
            return go_on_alone(request);
        }
        commit(request);
    } else {
        request_body_done(request); /* not in commit(): others wait for their first token */
        room = request->client->paused_source ? CLIENT_NO_ROOM : CLIENT_ROOM;
    }
    while (more && room == CLIENT_ROOM) {
        more = pass_slice(request, state == FLIGHT_ENDED, &room);
    }
    if (!more && state == FLIGHT_ENDED) {
        request_move(request, REQUEST_END);
        return STEP_AGAIN;
    }
    if (!more && state == FLIGHT_BROKEN) {
        return cut(request, outcome_word(OUTCOME_CUT));
    }
    if (flight_is_late(&request->flight)) {
        metric_limit_hit(request->worker->metrics, LIMIT_CACHE_FOLLOWER_LAG);
        return cut(request, "too_slow");
    }
    return STEP_WAIT;
}

/* ---- the step ---- */

enum request_step step_follow(struct request *request)
{
    if (request->out_of_time && request->commit_ns == 0) {
        request_leave(request, OUTCOME_DEADLINE);
        reply_failure(request, OUTCOME_DEADLINE);
        return STEP_AGAIN;
    }
    if (request->out_of_time) {
        return cut(request, outcome_word(OUTCOME_DEADLINE));
    }
    if (flight_leads(&request->flight) || flight_is_off(&request->flight)) {
        return go_on_alone(request);
    }
    if (flight_state(&request->flight) == FLIGHT_OPEN) {
        return STEP_WAIT;
    }
    return pass_on(request);
}
