/* SPDX-License-Identifier: MIT */
/*
 * A request's body: kept whole while that may be needed (to repeat the request, to know its model,
 * to find it in the cache), streamed through when it is too large to keep.
 *
 *   known and small enough  ──> kept; sent once it is complete (understood APIs) or as it comes
 *   grows past buffer_bytes ──> streamed: what was sent is forgotten, no repetition after that
 *
 * What is kept counts against limits.buffer_total_bytes of the whole edge.
 */
#include "request_private.h"

#include "body_scan_private.h"
#include "client_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/conf/tree.h>

/* A kept body of a said length is booked and allocated this much at first, or what its first read
 * brought; then so many times what has come, at most whole. */
#define BODY_FIRST_BYTES 16384
#define BODY_GROWTH      16
/* Room of a body whose beginning was let go: enough to read on without moving what is there at each
 * read. */
#define BODY_STREAM_BYTES ((size_t)4 * REQUEST_BODY_WINDOW)

/* Read to where it is kept, a body is not copied once more; but each of these reads needs room that
 * is booked, and none shall keep the loop long. */
#define BODY_READ_MIN 16384
#define BODY_READ_MAX CLIENT_READ_BYTES

/* Heads up to this are not counted: nearly all are, and all connections together hold little of
 * them. */
#define HEAD_UNCOUNTED_BYTES 4096

/* `twice`: of what all hold, so much is about to be given back for it. */
static bool book(struct request *request, uint64_t bytes, uint64_t twice)
{
    atomic_ullong *total = &request->worker->deps.shared->buffered_bytes;
    uint64_t limit = request->world->conf->limits.buffer_total_bytes + twice;

    if (atomic_fetch_add_explicit(total, bytes, memory_order_relaxed) + bytes > limit) {
        atomic_fetch_sub_explicit(total, bytes, memory_order_relaxed);
        metric_limit_hit(request->worker->metrics, LIMIT_BUFFER_TOTAL);
        return false;
    }
    metric_add(request->worker->metrics, METRIC_BUFFERED, 0, 0, 0, (int64_t)bytes);
    return true;
}

static void unbook(struct request *request, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&request->worker->deps.shared->buffered_bytes, bytes,
                              memory_order_relaxed);
    metric_add(request->worker->metrics, METRIC_BUFFERED, 0, 0, 0, -(int64_t)bytes);
}

bool request_reserve(struct request *request, uint64_t bytes)
{
    bool is_booked = book(request, bytes, 0);

    request->body.reserved += is_booked ? bytes : 0;
    return is_booked;
}

static void unreserve(struct request *request, uint64_t bytes)
{
    ASSERT(request->body.reserved >= bytes);
    request->body.reserved -= bytes;
    unbook(request, bytes);
}

bool request_head_reserve(struct request *request)
{
    if (request->head_bytes <= HEAD_UNCOUNTED_BYTES) {
        return true;
    }
    if (!book(request, request->head_bytes, request->client->booked)) {
        return false;
    }
    request->head_reserved = request->head_bytes;
    return true;
}

void request_head_done(struct request *request)
{
    if (request->head_reserved > 0) {
        unbook(request, request->head_reserved);
        request->head_reserved = 0;
    }
}

static bool fits(const struct request *request, uint64_t bytes)
{
    const atomic_ullong *total = &request->worker->deps.shared->buffered_bytes;

    return atomic_load_explicit(total, memory_order_relaxed) + bytes <=
           request->world->conf->limits.buffer_total_bytes;
}

/* How much to book for `need` bytes, with what is booked already. Who says a length and sends
 * little shall hold little, and a body shall be moved seldom. */
static uint64_t booking_for(const struct request_body *body, uint64_t need)
{
    uint64_t size = body->reserved == 0 ? BODY_FIRST_BYTES : need * BODY_GROWTH;

    if (body->streaming || body->framing != HTTP_BODY_LENGTH) {
        return need;
    }
    size = size > need ? size : need;
    return size < body->expected ? size : body->expected;
}

/* Book and allocate for a body of `need` bytes from its present start. */
static bool make_room(struct request *request, uint64_t need)
{
    struct request_body *body = &request->body;

    if (body->reserved < need) {
        const uint64_t booking = booking_for(body, need);

        if (!request_reserve(request, booking - body->reserved)) {
            return false;
        }
        need = booking;
    }
    if (body->framing == HTTP_BODY_LENGTH && !body->streaming) {
        return need <= body->bytes.size || buf_try_resize(&body->bytes, (size_t)need);
    }
    return buf_reserve(&body->bytes, (size_t)need - buf_len(&body->bytes));
}

/* The body outgrew what may be kept: send it as it comes. */
static void stream_through(struct request *request)
{
    metric_limit_hit(request->worker->metrics, LIMIT_BUFFER_BYTES);
    request->body.streaming = true;
    body_scan_drop(request);
}

/* With these bytes. A body whose length said so from the beginning did not outgrow anything. */
static bool outgrows_now(const struct request *request, size_t len)
{
    const struct request_body *body = &request->body;
    const uint64_t limit = request->world->conf->limits.buffer_bytes;

    return (!body->streaming || request->api == API_NONE) && body->received > limit &&
           body->received - len <= limit;
}

bool request_body_begin(struct request *request)
{
    const struct conf_limits *limits = &request->world->conf->limits;
    struct request_body *body = &request->body;
    const struct http_head *head = request->head;

    body->framing = head->body;
    body->expected = head->body == HTTP_BODY_LENGTH ? head->content_length : 0;
    if (head->body == HTTP_BODY_NONE || (head->body == HTTP_BODY_LENGTH && body->expected == 0)) {
        body->complete = true;
        request->body_done_ns = request->started_ns;
        return true;
    }
    if (request->api == API_NONE) {
        body->streaming = true;
        return true;
    }
    if (body->framing == HTTP_BODY_LENGTH && body->expected > limits->buffer_bytes) {
        stream_through(request);
        return true;
    }
    if (body->framing == HTTP_BODY_LENGTH && !fits(request, body->expected)) {
        metric_limit_hit(request->worker->metrics, LIMIT_BUFFER_TOTAL);
        reply_error(request, &reply_buffers_full);
        return false;
    }
    return true;
}

static void refuse_large(struct request *request)
{
    static const struct reply_error error = {
        .status = 413,
        .type = "invalid_request_error",
        .code = "request_too_large",
        .proxy_status = "http_request_error",
        .message = "The request's body is larger than limits.body_bytes.",
    };

    metric_limit_hit(request->worker->metrics, LIMIT_BODY_BYTES);
    if (request->state == REQUEST_RELAY) {
        request_on_failure(request, OUTCOME_LOCAL_LIMIT);
        return;
    }
    request_leave(request, OUTCOME_CLIENT_GONE);
    reply_error(request, &error);
}

void request_body_add(struct request *request, struct str bytes)
{
    const struct conf_limits *limits = &request->world->conf->limits;
    struct request_body *body = &request->body;

    body->received += bytes.len;
    request->bytes_in += bytes.len;
    if (body->received > limits->body_bytes) {
        refuse_large(request);
        return;
    }
    if (outgrows_now(request, bytes.len)) {
        stream_through(request);
    }
    if (!make_room(request, body->received - body->start)) {
        if (request->state != REQUEST_RELAY) {
            request_leave(request, OUTCOME_LOCAL_LIMIT);
            reply_error(request, &reply_buffers_full);
        } else {
            request_on_failure(request, OUTCOME_LOCAL_LIMIT);
        }
        return;
    }
    if (bytes.ptr == buf_tail(&body->bytes)) {
        buf_produced(&body->bytes, bytes.len);
    } else {
        buf_append_str(&body->bytes, bytes);
    }
    body_scan_more(request);
}

char *request_body_room(struct request *request, size_t *ret_size)
{
    struct request_body *body = &request->body;
    uint64_t size = buf_room(&body->bytes);
    uint64_t left;

    if (body->framing != HTTP_BODY_LENGTH || body->streaming) {
        return NULL;
    }
    left = body->expected - body->received;
    size = size < left ? size : left;
    size = size < BODY_READ_MAX ? size : BODY_READ_MAX;
    if (size < BODY_READ_MIN) {
        return NULL;
    }
    *ret_size = (size_t)size;
    return buf_tail(&body->bytes);
}

/* Sent bytes of a body that is streamed and has outgrown the buffer are not needed again. */
void request_body_release(struct request *request, uint64_t up_to)
{
    struct request_body *body = &request->body;
    uint64_t drop;

    if (!body->streaming || body->received <= request->world->conf->limits.buffer_bytes ||
        up_to <= body->start) {
        return;
    }
    drop = up_to - body->start;
    buf_consume(&body->bytes, (size_t)drop);
    body->start = up_to;
    body->lost = true;
    buf_fit(&body->bytes, BODY_STREAM_BYTES);
    if (body->reserved > body->bytes.size) {
        unreserve(request, body->reserved - body->bytes.size);
    }
}

/* Past the commit point nothing is repeated; but an answer may begin while its body is still being
 * sent. */
void request_body_drop(struct request *request)
{
    if (request->state == REQUEST_RELAY && request->exchange.all_sent) {
        request_body_done(request);
    }
}

void request_body_done(struct request *request)
{
    struct request_body *body = &request->body;

    body_scan_drop(request);
    body->start += buf_len(&body->bytes);
    buf_done(&body->bytes);
    if (body->reserved > 0) {
        unreserve(request, body->reserved);
    }
}
