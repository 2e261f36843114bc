/* SPDX-License-Identifier: MIT */
/*
 * A request's way: read, look up, route, attempt, relay, end.
 *
 * Happy path:
 *   1. Read the body, if the API is one that is understood (cache key, model).
 *   2. Look in memory, then in the Redis of the region that would serve. If an identical request
 *      is on its way already, follow that one.
 *   3. Choose a region and an endpoint in the newest view.
 *   4. Run an exchange; hold its answer's head until the first body byte: the commit point.
 *   5. Relay what comes, feeding the cache; end.
 *
 *   READ ──> LOOKUP ──> FOLLOW ──> END
 *     │        │  │        v (to lead, or alone)
 *     │        │  └────> ROUTE <─────────┐
 *     │  └─────┼──────>  │  └──> QUEUED ─┤
 *     │        │         v               │  a failed attempt, before the commit point
 *     │        │      ATTEMPT ───────────┘
 *     │        │         │ └──────┐
 *     │        v         v        v
 *     └────> REPLY     RELAY ──> END      any state, when the client leaves
 *
 * Waits:  READ     body bytes; the connection's deadline request_ms
 *         LOOKUP   Redis; its own deadline
 *         FOLLOW   news of the flight, room at the client
 *         QUEUED   room at an endpoint; deadline queue_timeout_ms
 *         ATTEMPT  the exchange; its own deadlines
 *         RELAY    the exchange, room at the client
 *         REPLY    room at the client; the connection's deadline idle_ms
 *         all      deadline total_ms
 *
 * It ends in request_finish(), once, whatever happens.
 */
#include "request_private.h"

#include "admission_private.h"
#include "client_private.h"
#include "explain_private.h"
#include "forwarded_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/home.h>
#include <nearside/net/tls_ctx.h>
#include <nearside/obs/log.h>
#include <nearside/upstream/pool.h>

#include <limits.h>

#define REQUEST_STEPS_MAX 64

struct request_row {
    const char *name;
    enum request_step (*step)(struct request *request);
    unsigned allowed;
    enum metric_phase phase;
};

#define TO(x) (1u << REQUEST_##x)

/* RELAY has no way back to ROUTE: past the commit point nothing is repeated. */
static const struct request_row rows[REQUEST_STATE_COUNT] = {
    [REQUEST_READ] = {"read", step_read, TO(LOOKUP) | TO(ROUTE) | TO(REPLY) | TO(END),
                      METRIC_PHASE_READING},
    [REQUEST_LOOKUP] = {"lookup", step_lookup, TO(FOLLOW) | TO(ROUTE) | TO(REPLY) | TO(END),
                        METRIC_PHASE_WAITING},
    [REQUEST_FOLLOW] = {"follow", step_follow, TO(ROUTE) | TO(REPLY) | TO(END),
                        METRIC_PHASE_WAITING},
    [REQUEST_ROUTE] = {"route", step_route, TO(QUEUED) | TO(ATTEMPT) | TO(REPLY) | TO(END),
                       METRIC_PHASE_WAITING},
    [REQUEST_QUEUED] = {"queued", step_queued, TO(ROUTE) | TO(REPLY) | TO(END),
                        METRIC_PHASE_QUEUED},
    [REQUEST_ATTEMPT] = {"attempt", step_attempt, TO(ROUTE) | TO(RELAY) | TO(REPLY) | TO(END),
                         METRIC_PHASE_WAITING},
    [REQUEST_RELAY] = {"relay", step_relay, TO(END), METRIC_PHASE_STREAMING},
    [REQUEST_REPLY] = {"reply", step_reply, TO(END), METRIC_PHASE_STREAMING},
    [REQUEST_END] = {"end", step_end, 0, METRIC_PHASE_STREAMING},
};

static void on_deadline(struct deadline *deadline, void *arg);

void request_set_phase(struct request *request, enum metric_phase phase)
{
    struct metric_block *metrics = request->worker->metrics;

    if (phase != request->phase) {
        metric_add(metrics, METRIC_INFLIGHT, request->phase, 0, 0, -1);
        metric_add(metrics, METRIC_INFLIGHT, phase, 0, 0, 1);
        request->phase = phase;
    }
}

/* While body bytes are still to come the request is being read, whatever else goes on. */
static void follow_phase(struct request *request)
{
    enum metric_phase phase = rows[request->state].phase;

    if (request->state == REQUEST_END) {
        return;
    }
    if (phase == METRIC_PHASE_WAITING && !request->body.complete) {
        phase = METRIC_PHASE_READING;
    }
    request_set_phase(request, phase);
}

/* The only place that changes request->state. */
void request_move(struct request *request, enum request_state next)
{
    ASSERT((rows[request->state].allowed & (1u << next)) != 0);
    request->state = next;
    follow_phase(request);
}

/* ---- begin ---- */

static struct request *request_new(struct worker *worker)
{
    struct request *request = mem_zero_aligned(CACHE_LINE, sizeof(*request));

    arena_init(&request->arena, REQUEST_ARENA_BYTES);
    deadline_init(&request->deadline, worker->loop, on_deadline, request);
    exchange_init(&request->exchange, request, worker->loop);
    return request;
}

void request_free(struct request *request)
{
    exchange_done(&request->exchange);
    deadline_done(&request->deadline);
    arena_done(&request->arena);
    mem_free(request);
}

static struct request *request_take(struct worker *worker)
{
    struct list *first = list_first(&worker->free_requests);

    if (first == NULL) {
        return request_new(worker);
    }
    list_remove(first);
    worker->free_request_count--;
    return LIST_ITEM(first, struct request, link);
}

/* Its deadlines may stay in the loop's heap, cancelled: the next request to set them then only
 * stores a time. */
static void request_put(struct worker *worker, struct request *request)
{
    struct arena arena;
    struct deadline deadline = request->deadline;
    struct deadline exchange_deadline = request->exchange.deadline;

    if (worker->free_request_count >= WORKER_FREE_REQUESTS || worker->tearing_down) {
        request_free(request);
        return;
    }
    arena_reset(&request->arena);
    arena = request->arena;
    *request = (struct request){.arena = arena,
                                .worker = worker,
                                .deadline = deadline,
                                .exchange = {.request = request, .deadline = exchange_deadline}};
    list_init(&request->link);
    list_push_front(&worker->free_requests, &request->link);
    worker->free_request_count++;
}

/* For loop_defer_call(): at the end of the turn nobody can touch it any more. */
static void request_recycle(void *arg)
{
    struct request *request = arg;

    request_put(request->worker, request);
}

/* A client's own id is kept when it is short and made of characters that are safe in any log. */
static bool id_is_good(struct str id)
{
    if (id.len == 0 || id.len > REQUEST_ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '\\') {
            return false;
        }
    }
    return true;
}

static void request_make_id(struct request *request)
{
    struct str given = http_head_value(request->head, HTTP_NAME_X_REQUEST_ID);

    if (id_is_good(given)) {
        request->id = given;
    } else {
        uint64_t random[2] = {rng_next(&request->worker->rng), rng_next(&request->worker->rng)};
        char *text = arena_alloc(&request->arena, 2 * sizeof(random) + 1);

        str_hex(random, sizeof(random), text);
        request->id = str_make(text, 2 * sizeof(random));
    }
}

static void request_init(struct request *request, struct client_conn *client)
{
    struct worker *worker = client->worker;

    request->magic = REQUEST_MAGIC;
    request->state = REQUEST_READ;
    request->worker = worker;
    request->client = client;
    request->peer = client->peer;
    request->over_tls = client->tls;
    request->world = world_ref(worker->world);
    list_init(&request->link);
    list_init(&request->detached_link);
    buf_init_large(&request->body.bytes);
    request->route.last_region = ROUTE_NOBODY;
    request->route.turns = worker->turns;
    request->first_region_slot = -1;
    request->served_slot = -1;
    request->last_slot = -1;
    request->started_ns = loop_now_ns(worker->loop);
    request->cache_word = "none";
    request->reason = "ok";
    request->phase = METRIC_PHASE_READING;
    request->explain_end = &request->explain_notes;
    client->request = request;
    metric_inc(worker->metrics, METRIC_REQUESTS_STARTED, 0);
    metric_inc(worker->metrics, METRIC_INFLIGHT, METRIC_PHASE_READING);
}

static void refuse_loop(struct request *request)
{
    static const struct reply_error error = {
        .status = 508,
        .type = "server_error",
        .code = "loop_detected",
        .proxy_status = "proxy_loop_detected",
        .message = "Via says that this request has been here before: an endpoint's URL leads "
                   "back to this edge, or two edges have each other as endpoints.",
    };

    reply_error(request, &error);
}

static bool refuse_crowd(struct request *request)
{
    static const struct reply_error error = {
        .status = 429,
        .type = "rate_limit_error",
        .code = "too_many_requests_per_client",
        .proxy_status = "http_request_denied",
        .retry_after_s = 1,
        .message = "Too many requests of this client at once (limits.max_inflight_per_client). "
                   "Wait for answers, or try again shortly.",
    };

    switch (admission_take_request(request->worker, &request->from, request->peer_is_trusted)) {
    case ASKER_COUNTED:
        request->from_counted = true;
        return false;
    case ASKER_UNCOUNTED:
        return false;
    case ASKER_FULL:
        reply_error(request, &error);
        return true;
    }
    ASSERT_UNREACHABLE("no such verdict");
}

void request_uncount(struct request *request)
{
    if (request->from_counted) {
        request->from_counted = false;
        admission_give_request(request->worker, &request->from);
    }
}

/* Requests that no endpoint is asked about. */
static bool refuse_early(struct request *request)
{
    const struct conf_limits *limits = &request->world->conf->limits;
    const struct http_head *head = request->head;
    struct reply_error error = {.status = 501,
                                .type = "invalid_request_error",
                                .code = "method_not_supported",
                                .proxy_status = "http_request_error",
                                .message = "CONNECT and TRACE are not forwarded."};

    if (head->method == HTTP_CONNECT || head->method == HTTP_TRACE) {
        /* What follows a CONNECT may be meant for the tunnel, not for us. */
        request->client->close_after = true;
        reply_error(request, &error);
        return true;
    }
    if (refuse_crowd(request)) {
        return true;
    }
    if (!request_head_reserve(request)) {
        reply_error(request, &reply_buffers_full);
        return true;
    }
    if (forwarded_is_loop(head, request->world->conf->edge.id)) {
        refuse_loop(request);
        return true;
    }
    if (head->body == HTTP_BODY_LENGTH && head->content_length > limits->body_bytes) {
        metric_limit_hit(request->worker->metrics, LIMIT_BODY_BYTES);
        error.status = 413;
        error.code = "request_too_large";
        error.message = "The request's body is larger than limits.body_bytes.";
        reply_error(request, &error);
        return true;
    }
    return false;
}

bool request_start(struct client_conn *client, const struct http_head *head, struct str raw)
{
    struct request *request = request_take(client->worker);
    struct conf *conf = client->worker->world->conf;
    struct http_head *copy = http_head_copy(head, raw, &request->arena);

    if (copy == NULL) {
        request_put(client->worker, request);
        return false;
    }
    request_init(request, client);
    request->head = copy;
    request->head_bytes = raw.len;
    request->peer_is_trusted = forwarded_client(
        request->head, &request->peer, &request->world->conf->edge.trusted_proxies, &request->from);
    request_make_id(request);
    span_begin(request);
    request->api = api_of(head->method, http_target_path(request->head->target));
    request->route.regions = http_head_value(request->head, HTTP_NAME_X_NEARSIDE_REGIONS);
    request->bytes_in = raw.len;
    cache_control_parse(request->head, &request->control);
    retry_budget_deposit(&client->worker->retry_budget, conf->retry.budget_ratio,
                         request->started_ns);
    if (conf->timeouts.total_ms > 0) {
        deadline_set_in_ms(&request->deadline, conf->timeouts.total_ms);
    }
    if (!refuse_early(request) && request_body_begin(request) && head->expect_continue &&
        !request->body.complete) {
        client_reply_continue(client);
    }
    request_drive(request);
    return true;
}

/* ---- waiting for others, for the overhead metric ---- */

void request_wait_begin(struct request *request)
{
    request->wait_since_ns = clock_mono_ns();
}

void request_wait_end(struct request *request)
{
    if (request->wait_since_ns != 0) {
        request->waited_ns += clock_mono_ns() - request->wait_since_ns;
        request->wait_since_ns = 0;
    }
}

void request_observe_overhead(struct request *request)
{
    uint64_t spent_ns;

    if (request->body_done_ns == 0) {
        return;
    }
    spent_ns = clock_mono_ns() - request->body_done_ns;
    metric_observe_ns(request->worker->metrics, METRIC_OVERHEAD_SECONDS, 0,
                      spent_ns > request->waited_ns ? spent_ns - request->waited_ns : 0);
}

/* ---- the driver ---- */

void request_drive(struct request *request)
{
    if (request->driving || request->magic != REQUEST_MAGIC) {
        return;
    }
    request->driving = true;
    for (unsigned turn = 0; turn < REQUEST_STEPS_MAX; turn++) {
        switch (rows[request->state].step(request)) {
        case STEP_AGAIN:
            break;
        case STEP_WAIT:
            request->driving = false;
            return;
        case STEP_DONE:
            request_finish(request);
            return;
        }
    }
    ASSERT_UNREACHABLE("request made no progress");
}

enum request_step step_reply(struct request *request)
{
    if (request->entry != NULL && !reply_entry_more(request)) {
        return STEP_WAIT;
    }
    request_move(request, REQUEST_END);
    return STEP_AGAIN;
}

enum request_step step_end(struct request *request)
{
    (void)request;
    return STEP_DONE;
}

void request_reply(struct request *request)
{
    request_move(request, REQUEST_REPLY);
}

/* ---- events of the client ---- */

bool request_wants_body(const struct request *request)
{
    return !request->body.streaming ||
           request->body.received - request->exchange.body_sent < REQUEST_BODY_WINDOW;
}

void request_on_body(struct request *request, struct str bytes)
{
    if (request->state == REQUEST_REPLY || request->state == REQUEST_END) {
        return;
    }
    request_body_add(request, bytes);
    if (request->body.streaming) {
        exchange_body_ready(&request->exchange);
    }
    request_drive(request);
}

void request_on_body_end(struct request *request)
{
    request->body.complete = true;
    request->body_done_ns = loop_now_ns(request->worker->loop);
    follow_phase(request);
    exchange_body_ready(&request->exchange);
    request_drive(request);
}

void request_on_body_sent(struct request *request)
{
    request_body_release(request, request->exchange.body_sent);
    request_body_drop(request);
    if (request->client != NULL && request->client->body_framing != HTTP_BODY_NONE &&
        request_wants_body(request)) {
        client_read_on(request->client);
    }
}

void request_on_bad_body(struct request *request, unsigned status, const char *word)
{
    struct reply_error error = {
        .status = status,
        .type = "invalid_request_error",
        .code = word,
        .proxy_status = "http_request_error",
        .message = "The request's body did not arrive whole and well-formed.",
    };

    if (request->state == REQUEST_RELAY) {
        client_reply_abort(request->client); /* nothing after it may look like its end */
        request_on_client_gone(request);
        return;
    }
    request_leave(request, OUTCOME_CLIENT_GONE);
    reply_error(request, &error);
    request_drive(request);
}

void request_on_room(struct request *request)
{
    if (request->state == REQUEST_RELAY && !request->is_behind) {
        exchange_resume(&request->exchange);
    } else {
        request_drive(request);
    }
}

/* Leave whatever is waited for: queue, Redis, flight, endpoint. */
void request_leave(struct request *request, enum outcome outcome)
{
    if (request->state == REQUEST_QUEUED) {
        request_dequeue(request);
    }
    if (request->lookup != NULL) {
        cache_lookup_cancel(request->lookup);
        request->lookup = NULL;
    }
    follow_leave(request);
    attempt_end(request, outcome);
    exchange_cancel(&request->exchange);
    list_remove(&request->link);
    request_wait_end(request);
}

void request_on_client_gone(struct request *request)
{
    metric_inc(request->worker->metrics, METRIC_CLIENT_DISCONNECTS, request->phase);
    request->end = REQUEST_END_CLIENT_GONE;
    request->reason = "client_gone";
    if (share_detach(request)) {
        return;
    }
    request_leave(request, OUTCOME_CLIENT_GONE);
    request_finish(request);
}

/* We are the ones who stop: say so, as for any other broken answer. */
static void tell_abort(struct request *request)
{
    bool is_begun = request->state == REQUEST_RELAY ||
                    (request->state == REQUEST_FOLLOW && request->commit_ns != 0);

    if (!is_begun || request->client == NULL || request->client->write_failed) {
        return;
    }
    if (request->sse != NULL && !request->is_behind) {
        reply_stream_error(request);
    }
    client_reply_abort(request->client);
}

void request_abort(struct request *request)
{
    if (request->end == REQUEST_END_OK) {
        request->end = REQUEST_END_ABORTED;
        request->reason = "aborted";
    }
    tell_abort(request);
    request_leave(request, OUTCOME_CLIENT_GONE);
    request_finish(request);
}

uint64_t request_deadline_ns(const struct request *request)
{
    uint32_t total_ms = request->world->conf->timeouts.total_ms;

    /* It bounds the client's waiting. */
    return total_ms == 0 || request->client == NULL ? 0
                                                    : request->started_ns + total_ms * NS_PER_MS;
}

static void on_deadline(struct deadline *deadline, void *arg)
{
    struct request *request = OBJ_CAST(arg, request, REQUEST_MAGIC);
    uint64_t total_ns = request_deadline_ns(request);

    (void)deadline;
    if (total_ns != 0 && loop_now_ns(request->worker->loop) >= total_ns) {
        request->out_of_time = true;
    } else if (request->state == REQUEST_QUEUED) {
        request->queue_expired = true;
    }
    request_drive(request);
}

/* ---- the end ---- */

static void count_request(struct request *request, uint64_t now_ns)
{
    struct metric_block *metrics = request->worker->metrics;
    unsigned slot = request->served_slot < 0 ? METRIC_REGION_NONE : (unsigned)request->served_slot;

    metric_inc(metrics, METRIC_REQUESTS_FINISHED, 0);
    metric_add(metrics, METRIC_INFLIGHT, request->phase, 0, 0, -1);
    if (request->status >= 100 && request->status < 600) {
        metric_add(metrics, METRIC_REQUESTS, slot, request->status / 100 - 1, 0, 1);
    }
    metric_observe_ns(metrics, METRIC_REQUEST_SECONDS, slot, now_ns - request->started_ns);
    request_count_genai(request, now_ns);
    if (request->commit_ns == 0) {
        request_observe_overhead(request);
    }
}

/* Rule 46: the only way out. */
void request_finish(struct request *request)
{
    struct client_conn *client = request->client;
    struct worker *worker = request->worker;
    /* The clock itself: the loop's time stood still while this turn worked for the request. */
    uint64_t now_ns = clock_mono_ns();

    ASSERT(request->magic == REQUEST_MAGIC && request->lookup == NULL);
    ASSERT(request->counted == NULL && !request->pending_held);
    count_request(request, now_ns);
    if (!request->is_logged) {
        access_log_request(request, now_ns);
    }
    explain_keep(request, now_ns);
    span_end(request, now_ns);
    follow_leave(request); /* who led and did not end the answer fails those who follow */
    cache_fill_abandon(request->fill);
    cache_entry_unref(request->entry);
    stale_drop(request);
    request_uncount(request);
    request_body_done(request);
    request_head_done(request);
    exchange_end(&request->exchange);
    deadline_cancel(&request->deadline);
    list_remove(&request->link);
    list_remove(&request->detached_link);
    fleet_view_unref(request->view);
    world_unref(request->world);
    request->magic = 0;
    loop_defer_call(worker->loop, request_recycle, request);
    if (client != NULL) {
        client_request_done(client);
    } else if (worker->draining) {
        loop_task_queue(worker->loop, &worker->drain_task);
    }
    worker_pass_room(worker, request->last_slot);
}
