/* SPDX-License-Identifier: MIT */
/*
 * An answer on its way to the client: held back until its first body byte (the commit point), then
 * passed on as it comes, and to the cache's fill.
 *
 * A stream that ends without its API's end marker is a cut one, however properly its transport
 * ended: it is closed with an error event and uncleanly, never as a complete, shortened answer.
 */
#include "request_private.h"

#include "client_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>
#include <nearside/http/date.h>

#define HELD_BACK_BYTES 4096

static bool has_type(const struct http_head *head, struct str wanted)
{
    struct str type = http_head_value(head, HTTP_NAME_CONTENT_TYPE);

    return type.len >= wanted.len && str_eq_nocase(str_slice(type, 0, wanted.len), wanted);
}

/* Events that can be read: of a compressed stream the transport alone tells how it ended. */
static bool is_readable_stream(const struct http_head *head)
{
    const struct str coding = http_head_value(head, HTTP_NAME_CONTENT_ENCODING);

    return head->status == 200 && has_type(head, STR_LIT("text/event-stream")) &&
           (coding.len == 0 || str_eq_nocase(coding, STR_LIT("identity")));
}

/* What the status says about the attempt (product: 5.3). */
static enum outcome outcome_of_answer(const struct request *request, const struct http_head *head)
{
    bool retry_after = http_head_find(head, HTTP_NAME_RETRY_AFTER) != NULL;

    if (head->status == 429 || (head->status == 503 && retry_after)) {
        return OUTCOME_FULL;
    }
    /* A page of some box on the way, not an inference server's answer. */
    if (request->api != API_NONE && head->status == 200 && has_type(head, STR_LIT("text/html"))) {
        return OUTCOME_MALFORMED;
    }
    if (head->status >= 500 && head->status != 501 && head->status != 505) {
        return OUTCOME_STATUS_5XX;
    }
    return OUTCOME_OK;
}

/* After an answer of that outcome, would a repetition reach an endpoint that has not answered yet?
 * Otherwise the answer in hand is better than another of its kind. */
static bool somewhere_untried(struct request *request, enum outcome outcome)
{
    struct worker *worker = request->worker;
    struct route_choice choice;
    uint64_t id;

    request_learn(request, outcome);
    choice = request_peek(request);
    if (choice.region == ROUTE_NOBODY || choice.endpoint == ROUTE_NOBODY) {
        return false;
    }
    id = worker->view->regions[choice.region].endpoints[choice.endpoint].live->id;
    for (uint32_t i = 0; i < request->route.tried_count; i++) {
        if (request->route.tried[i] == id) {
            return false;
        }
    }
    return true;
}

void request_on_answer(struct request *request, const struct http_head *head, struct str raw)
{
    enum outcome outcome = outcome_of_answer(request, head);
    struct str retry_after = http_head_value(head, HTTP_NAME_RETRY_AFTER);

    request->retry_after_ms = 0;
    if (retry_after.len > 0 &&
        !http_retry_after_ms(retry_after, clock_wall_ms(), &request->retry_after_ms)) {
        request->retry_after_ms = 0;
    }
    request->answer_outcome = outcome;
    /* Some servers answer 500 to a body that is not JSON: no reason to ask the others. */
    if (outcome == OUTCOME_STATUS_5XX && head->status == 500 && request->api != API_NONE &&
        !request->scan_ok && !request->body.streaming) {
        request->answer_outcome = OUTCOME_OK;
        outcome = OUTCOME_OK;
    }
    if (outcome == OUTCOME_MALFORMED) {
        request_on_failure(request, outcome);
        return;
    }
    /* Without a retry the answer in hand is passed on: it says more than one of ours would. */
    if (outcome != OUTCOME_OK && somewhere_untried(request, outcome) &&
        request_grant_retry(request, outcome)) {
        request->retry_granted = true;
        request_on_failure(request, outcome);
        return;
    }
    if (outcome == OUTCOME_STATUS_5XX && stale_is_ready(request)) {
        request->stale_wanted = true;
        request_on_failure(request, outcome);
        return;
    }
    request->answer = http_head_copy(head, raw, &request->arena);
    if (request->answer == NULL || !client_reply_reserve(request->worker, raw.len)) {
        request_on_failure(request, OUTCOME_LOCAL_LIMIT);
        return;
    }
    request->sse = NULL;
    if (is_readable_stream(head)) {
        request->sse = arena_alloc(&request->arena, sizeof(*request->sse));
        sse_init(request->sse);
    }
}

/* One that finds no memory is left out: it is a luxury. */
void request_on_interim(struct request *request, const struct http_head *head, size_t raw_len)
{
    if (request->state == REQUEST_ATTEMPT && request->client != NULL && head->status != 100 &&
        head->status != 101 && client_reply_reserve(request->worker, raw_len)) {
        forward_interim_head(request, head);
        (void)client_reply_flush(request->client);
    }
}

static void start_fill(struct request *request)
{
    const struct conf_cache *conf = &request->world->conf->cache;

    if (!request->plan.store || !request->key_made || !cache_may_store_head(request->answer)) {
        return;
    }
    request->fill = cache_fill_start(request->worker->cache, &request->key, request->form,
                                     request->answer, conf->ttl_s * 1000ULL, conf->max_entry_bytes);
}

/* The commit point: from here on the answer belongs to the client. */
static void commit(struct request *request)
{
    struct worker *worker = request->worker;
    uint64_t now_ns = loop_now_ns(worker->loop);
    unsigned slot = request->attempt_slot;

    list_remove(&request->link);
    list_push_back(&worker->streaming, &request->link);
    request_wait_end(request);
    request_observe_overhead(request);
    attempt_has_content(request);
    request->commit_ns = now_ns;
    request->served_slot = (int)slot;
    if (request->status == 0) { /* else its client was told something before it left */
        request->status = request->answer->status;
    }
    metric_observe_ns(worker->metrics, METRIC_TTFT_SECONDS, slot,
                      request->body_done_ns == 0 ? 0 : now_ns - request->body_done_ns);
    if (request->first_failure_ns != 0) {
        metric_observe_ns(worker->metrics, METRIC_FAILOVER_SECONDS, 0,
                          now_ns - request->first_failure_ns);
    }
    stale_drop(request); /* nothing else can answer now */
    start_fill(request);
    share_begin(request);
    forward_answer_head(request, request->answer);
    request_move(request, REQUEST_RELAY);
    request_body_drop(request);
}

/* A stream whose first event is an error has said nothing yet: it is a failed attempt like any
 * other, as long as it can be repeated. */
static bool begins_with_error(struct request *request)
{
    if (request->sse == NULL || !request->sse->failed || request->sse->content_events > 0) {
        return false;
    }
    request->answer_outcome = OUTCOME_STATUS_5XX;
    if (somewhere_untried(request, OUTCOME_STATUS_5XX) &&
        request_grant_retry(request, OUTCOME_STATUS_5XX)) {
        request->retry_granted = true;
    } else if (stale_is_ready(request)) {
        request->stale_wanted = true;
    } else {
        return false;
    }
    request_on_failure(request, OUTCOME_STATUS_5XX);
    return true;
}

/* Half an event says nothing to a client: it waits for the rest, so that a stream that begins with
 * an error, or breaks before anything was said, is known for what it is however it comes. */
static bool hold_back(struct request *request, struct str bytes)
{
    const struct sse *sse = request->sse;

    if (sse == NULL || sse->at_boundary || sse->events > 0 ||
        request->held_back.len + bytes.len > HELD_BACK_BYTES) {
        return false;
    }
    if (request->held_back.ptr == NULL) {
        request->held_back.ptr = arena_alloc(&request->arena, HELD_BACK_BYTES);
    }
    memcpy((char *)(uintptr_t)request->held_back.ptr + request->held_back.len, bytes.ptr,
           bytes.len);
    request->held_back.len += bytes.len;
    return true;
}

static void pass_on(struct request *request, struct str bytes)
{
    if (request->fill != NULL) {
        cache_fill_add(request->fill, bytes);
    }
    share_data(request, bytes);
    if (request->client == NULL) {
        return;
    }
    request->bytes_sent += bytes.len;
    if (!request->is_behind) {
        client_reply_data(request->client, bytes);
    }
}

void request_on_data(struct request *request, struct str bytes)
{
    if (request->attempt_failed) {
        return;
    }
    if (request->sse != NULL) {
        sse_feed(request->sse, bytes);
    }
    if (request->state == REQUEST_ATTEMPT) {
        if (begins_with_error(request) || hold_back(request, bytes)) {
            return;
        }
        commit(request);
        pass_on(request, request->held_back);
    }
    pass_on(request, bytes);
}

void request_ask_client(struct request *request)
{
    if (request->state == REQUEST_RELAY && request->sse != NULL && request->sse->at_boundary &&
        request->client->reply_chunked && !request->is_behind) {
        client_reply_data(request->client, STR_LIT(":\n\n"));
        (void)client_reply_flush(request->client);
    }
}

/* Does the API promise an end marker that has not come? */
static bool stream_is_short(const struct request *request)
{
    if (request->sse == NULL) {
        return false;
    }
    switch (request->api) {
    case API_CHAT:
    case API_COMPLETIONS:
        return !request->sse->done && !request->sse->finished && !request->sse->failed;
    case API_RESPONSES:
    case API_MESSAGES:
        return !request->sse->done && !request->sse->failed;
    default:
        return false;
    }
}

void request_on_answer_end(struct request *request)
{
    if (request->attempt_failed) {
        return;
    }
    if (request->state == REQUEST_ATTEMPT && stream_is_short(request)) {
        request_on_failure(request, OUTCOME_MALFORMED); /* nothing was said: it can be repeated */
        return;
    }
    if (request->state == REQUEST_ATTEMPT) {
        commit(request);
        pass_on(request, request->held_back);
    }
    attempt_sample_rtt(request); /* the connection goes back to its pool next */
    if (stream_is_short(request)) {
        request_on_failure(request, OUTCOME_CUT);
        return;
    }
    request->answer_ended = true;
}

static void count_events(struct request *request)
{
    if (request->sse != NULL && request->sse->content_events > request->counted_events) {
        metric_add(request->worker->metrics, METRIC_STREAM_EVENTS, (unsigned)request->served_slot,
                   0, 0, (int64_t)(request->sse->content_events - request->counted_events));
        request->counted_events = request->sse->content_events;
    }
}

/* Drops that come just in time for idle_ms hold a client, and a place, for ever. Looked at when
 * something comes; silence is the exchange's. */
static bool drips(struct request *request)
{
    double floor = request->timeouts->min_tokens_per_s;
    uint64_t now_ns;
    uint64_t window_ns;
    double events;

    if (floor <= 0 || request->sse == NULL || request->exchange.paused || request->is_behind) {
        request->pace_since_ns = 0; /* as in relay_flush() */
        return false;
    }
    now_ns = loop_now_ns(request->worker->loop);
    window_ns = now_ns - request->pace_since_ns;
    if (request->pace_since_ns == 0) {
        request->pace_since_ns = now_ns;
        request->pace_events = request->sse->content_events;
        return false;
    }
    if (window_ns < REQUEST_PACE_S * NS_PER_S) {
        return false;
    }
    events = (double)(request->sse->content_events - request->pace_events);
    request->pace_since_ns = now_ns;
    request->pace_events = request->sse->content_events;
    return events * (double)NS_PER_S / (double)window_ns < floor;
}

/* An answer broke off: say so to the client, in a way that cannot be taken for complete. */
static void tell_cut(struct request *request, const char *reason)
{
    metric_inc(request->worker->metrics, METRIC_STREAMS_CUT, (unsigned)request->served_slot);
    request->reason = reason;
    request->end = REQUEST_END_CUT;
    if (request->client == NULL) {
        return;
    }
    if (request->sse != NULL && !request->is_behind) {
        reply_stream_error(request);
    }
    (void)client_reply_flush(request->client); /* what came before the break, still framed */
    client_reply_abort(request->client);
}

static enum request_step relay_stop(struct request *request, enum outcome outcome)
{
    attempt_end(request, outcome);
    exchange_cancel(&request->exchange);
    request_move(request, REQUEST_END);
    return STEP_AGAIN;
}

static enum request_step relay_cut(struct request *request, enum outcome outcome)
{
    tell_cut(request, outcome_word(outcome));
    return relay_stop(request, outcome);
}

/* The trouble is its own client's: those who share the answer get the rest of it. */
static enum request_step relay_cut_client(struct request *request, const char *reason,
                                          enum outcome outcome)
{
    tell_cut(request, reason);
    return share_detach(request) ? STEP_WAIT : relay_stop(request, outcome);
}

/* The Redis of every region that the request may touch, as bits; none unless configured. */
static uint64_t replica_slots(const struct request *request)
{
    const struct fleet_view *view = request->worker->view;
    uint64_t slots = 0;

    if (request->world->conf->cache.replicate != CONF_REPLICATE_ALL) {
        return 0;
    }
    for (uint32_t i = 0; i < view->region_count; i++) {
        if (request_allows_region(request, view->regions[i].name)) {
            slots |= 1ULL << view->regions[i].slot;
        }
    }
    return slots;
}

/* Surely: one choice's finish_reason ends the answer, but there may be more choices, or the usage
 * to come. Every server's stream of chunks ends with [DONE]. */
static bool is_whole(const struct request *request)
{
    const struct sse *sse = request->sse;
    const bool has_marker = request->api == API_CHAT || request->api == API_COMPLETIONS;

    return sse == NULL || (!sse->failed && !stream_is_short(request) && (sse->done || !has_marker));
}

static void store_answer(struct request *request)
{
    const bool whole = is_whole(request);

    if (request->fill == NULL) {
        return;
    }
    outbox_let_go(&request->worker->outbox); /* storing a long answer takes a while */
    if (whole && request->answer_outcome == OUTCOME_OK) {
        uint32_t timeout_ms = request->world->conf->cache.redis_timeout_ms + 1000;
        struct cache_fill_notes notes = {
            .generation_ms = (loop_now_ns(request->worker->loop) - request->attempt_ns) / NS_PER_MS,
            .content_events = request->sse == NULL ? 0 : request->sse->content_events,
            .replica_slots = replica_slots(request),
        };
        cache_fill_note(request->fill, &notes);
        (void)cache_fill_commit(request->fill, (unsigned)request->served_slot, timeout_ms);
    } else {
        cache_fill_abandon(request->fill);
    }
    request->fill = NULL;
}

/* Stored first, shared then: who comes between finds it in one or the other. All but the last part
 * may be repeated: a client that is behind reads on from the flight's log. */
static enum request_step relay_end(struct request *request)
{
    store_answer(request);
    share_end(request);
    if (request->sse != NULL && request->sse->failed && request->answer_outcome == OUTCOME_OK) {
        request->answer_outcome = OUTCOME_STATUS_5XX; /* said in the stream instead of the head */
    }
    attempt_end(request, request->answer_outcome);
    if (request->is_behind && !share_catch_up(request)) {
        return STEP_WAIT;
    }
    if (request->client != NULL) {
        client_reply_end(request->client);
        (void)client_reply_flush(request->client);
    }
    request_move(request, REQUEST_END);
    return STEP_AGAIN;
}

static void relay_flush(struct request *request)
{
    if (request->client == NULL) {
        return;
    }
    if (request->is_behind) {
        (void)share_catch_up(request);
        return;
    }
    if (client_reply_flush(request->client) == CLIENT_NO_ROOM && !share_spares_pause(request)) {
        exchange_pause(&request->exchange);
        request->pace_since_ns = 0; /* a slow client is no slow stream: begin anew */
    }
}

enum request_step step_relay(struct request *request)
{
    count_events(request);
    if (share_is_pointless(request)) {
        request_leave(request, OUTCOME_CLIENT_GONE);
        request_move(request, REQUEST_END);
        return STEP_AGAIN;
    }
    if (request->attempt_failed) {
        return relay_cut(request, request->failure);
    }
    if (request->out_of_time) {
        return relay_cut_client(request, outcome_word(OUTCOME_DEADLINE), OUTCOME_DEADLINE);
    }
    if (request->answer_ended) {
        return relay_end(request);
    }
    if (drips(request)) {
        return relay_cut(request, OUTCOME_TOO_SLOW);
    }
    relay_flush(request);
    if (share_is_held_up(request)) {
        metric_limit_hit(request->worker->metrics, LIMIT_CACHE_FOLLOWER_LAG);
        return relay_cut_client(request, "too_slow", OUTCOME_CLIENT_GONE);
    }
    return STEP_WAIT;
}
