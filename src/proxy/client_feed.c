/* SPDX-License-Identifier: MIT */
/*
 * What a client's bytes mean: heads become requests, bodies go to them, the rest is kept or
 * refused.
 */
#include "client_private.h"

#include "request_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/conf/tree.h>

_Static_assert(CONF_HEADER_COUNT_MAX == HTTP_FIELDS_MAX, "limits.header_count");

/* ---- refusing ---- */

/* Answer without a request, as the last of the connection. */
static void refuse(struct client_conn *conn, const struct reply_error *error)
{
    conn->version_minor = 1;
    conn->close_after = true;
    conn->body_framing = HTTP_BODY_NONE;
    reply_error_raw(conn, error);
    if (conn->state != CLIENT_CLOSED) {
        client_move(conn, CLIENT_FLUSH);
        client_on_written(conn);
    }
}

static void refuse_head(struct client_conn *conn, enum h1_result result)
{
    struct worker *worker = conn->worker;
    struct reply_error error = {
        .status = h1_result_status(result),
        .type = "invalid_request_error",
        .code = h1_result_word(result),
        .proxy_status = "http_request_error",
        .message = "The request is not valid HTTP; it was not forwarded.",
    };

    if (result == H1_TOO_LARGE) {
        metric_limit_hit(worker->metrics, LIMIT_HEADER_BYTES);
        error.message = "The request's header is larger than limits.header_bytes.";
    } else if (result == H1_TOO_MANY) {
        metric_limit_hit(worker->metrics, LIMIT_HEADER_COUNT);
        error.message = "The request has more header fields than limits.header_count.";
    } else if (result == H1_URI_TOO_LONG) {
        metric_limit_hit(worker->metrics, LIMIT_URI);
        error.message = "The request's target is longer than limits.uri_bytes.";
    }
    metric_inc(worker->metrics, METRIC_BAD_REQUESTS, 0);
    refuse(conn, &error);
}

static void refuse_pipelined(struct client_conn *conn)
{
    static const struct reply_error error = {
        .status = 429,
        .type = "rate_limit_error",
        .code = "too_many_pipelined",
        .proxy_status = "http_request_denied",
        .retry_after_s = 1,
        .message = "More requests came at once than limits.pipelined_requests. Wait for answers.",
    };

    refuse(conn, &error);
}

static void refuse_unheld(struct client_conn *conn)
{
    metric_limit_hit(conn->worker->metrics, LIMIT_BUFFER_TOTAL);
    refuse(conn, &reply_buffers_full);
}

void client_refuse_slow_head(struct client_conn *conn)
{
    static const struct reply_error error = {
        .status = 408,
        .type = "invalid_request_error",
        .code = "header_timeout",
        .proxy_status = "http_request_error",
        .message = "The request's header did not arrive within timeouts.client_header_ms.",
    };

    metric_limit_hit(conn->worker->metrics, LIMIT_HEADER_TIME);
    metric_inc(conn->worker->metrics, METRIC_BAD_REQUESTS, 0);
    refuse(conn, &error);
}

/* ---- heads and bodies ---- */

static void begin_request(struct client_conn *conn, const struct http_head *head, struct str raw)
{
    conn->version_minor = head->version_minor;
    conn->close_asked = !head->keep_alive;
    conn->close_after = conn->close_after || !head->keep_alive || conn->worker->draining;
    conn->body_framing = head->body;
    conn->body_left = head->content_length;
    if (head->body == HTTP_BODY_LENGTH && head->content_length == 0) {
        conn->body_framing = HTTP_BODY_NONE;
    }
    if (head->body == HTTP_BODY_CHUNKED) {
        h1_chunked_init(&conn->chunked);
    }
    conn->reply_begun = false;
    conn->reply_chunked = false;
    conn->reply_counted = false;
    conn->reply_ended = false;
    conn->reply_none = false;
    conn->asked = false;
    if (conn->world != conn->worker->world) {
        world_unref(conn->world);
        conn->world = world_ref(conn->worker->world);
    }
    client_move(conn, CLIENT_REQUEST);
    if (conn->body_framing != HTTP_BODY_NONE) {
        client_pace_begin(conn);
    }
    if (!request_start(conn, head, raw)) {
        refuse_unheld(conn);
    }
}

/* Returns the bytes of `input` that are understood; the rest stays. */
static size_t feed_head(struct client_conn *conn, struct str input)
{
    struct worker *worker = conn->worker;
    const struct conf_limits *conf = &worker->world->conf->limits; /* begin_request() takes it */
    struct h1_limits limits = {
        .head_bytes = conf->header_bytes,
        .uri_bytes = conf->uri_bytes,
        .fields = conf->header_count,
    };
    size_t used = 0;
    enum h1_result result;

    if (!h1_wait_is_over(&conn->head_wait, input, &limits)) {
        return 0;
    }
    result = h1_parse_request(input, &limits, &worker->client_head, &used);
    if (result == H1_NEED_MORE) {
        if (conn->state == CLIENT_IDLE && input.len > 0) {
            client_move(conn, CLIENT_HEAD);
        }
        return 0;
    }
    if (result != H1_COMPLETE) {
        refuse_head(conn, result);
        return input.len;
    }
    if (!client_count_request(conn)) {
        refuse_pipelined(conn);
        return input.len;
    }
    conn->head_wait = (struct h1_wait){.looked = 0};
    begin_request(conn, &worker->client_head, str_make(input.ptr, used));
    return used;
}

static size_t feed_counted(struct client_conn *conn, struct str input)
{
    size_t take = input.len < conn->body_left ? input.len : (size_t)conn->body_left;

    conn->body_left -= take;
    if (conn->body_left == 0) {
        conn->body_framing = HTTP_BODY_NONE;
    }
    request_on_body(conn->request, str_make(input.ptr, take));
    return take;
}

static size_t feed_chunked(struct client_conn *conn, struct str input)
{
    size_t total = 0;

    while (total < input.len && conn->request != NULL && conn->body_framing != HTTP_BODY_NONE) {
        struct str rest = str_slice(input, total, input.len);
        struct str data = STR_EMPTY;
        size_t used = 0;
        enum h1_result result = h1_chunked_parse(&conn->chunked, rest, &used, &data);
        total += used;
        if (result == H1_COMPLETE) {
            conn->body_framing = HTTP_BODY_NONE;
        } else if (result != H1_NEED_MORE) {
            metric_inc(conn->worker->metrics, METRIC_BAD_REQUESTS, 0);
            conn->close_after = true;
            request_on_bad_body(conn->request, h1_result_status(result), h1_result_word(result));
            return input.len;
        }
        if (data.len > 0) {
            request_on_body(conn->request, data);
        }
    }
    return total;
}

static size_t feed_body(struct client_conn *conn, struct str input)
{
    size_t used = conn->body_framing == HTTP_BODY_LENGTH ? feed_counted(conn, input)
                                                         : feed_chunked(conn, input);

    if (conn->request != NULL && conn->body_framing == HTTP_BODY_NONE) {
        deadline_cancel(&conn->read_deadline);
        request_on_body_end(conn->request);
    } else if (conn->request != NULL) {
        client_pace_add(conn, used);
        conn->body_paused = !request_wants_body(conn->request);
    }
    return used;
}

/* ---- bytes ---- */

bool client_wants_bytes(const struct client_conn *conn)
{
    switch (conn->state) {
    case CLIENT_IDLE:
    case CLIENT_HEAD:
        /* Who does not take its answers gets no further ones: client_drive() after each write. */
        return buf_len(&conn->out) < CLIENT_OUT_HIGH;
    case CLIENT_REQUEST:
        return conn->body_framing != HTTP_BODY_NONE && conn->request != NULL &&
               request_wants_body(conn->request);
    default:
        return false;
    }
}

static size_t feed(struct client_conn *conn, struct str input)
{
    size_t total = 0;

    while (total < input.len && client_wants_bytes(conn)) {
        struct str rest = str_slice(input, total, input.len);
        size_t used = conn->state == CLIENT_REQUEST ? feed_body(conn, rest) : feed_head(conn, rest);
        if (used == 0) {
            break;
        }
        total += used;
    }
    return total;
}

void client_feed_kept(struct client_conn *conn)
{
    size_t used = feed(conn, buf_str(&conn->in));

    if (conn->state != CLIENT_CLOSED) {
        buf_consume(&conn->in, used);
        buf_trim(&conn->in);
        client_book(conn);
    }
}

void client_keep_bytes(struct client_conn *conn, struct str bytes)
{
    bool fits = buf_reserve(&conn->in, bytes.len);

    if (fits) {
        buf_append_str(&conn->in, bytes);
        client_book(conn);
    }
    if (conn->state == CLIENT_HEAD && (!fits || client_is_over(conn))) {
        buf_done(&conn->in);
        client_book(conn);
        refuse_unheld(conn);
    } else if (!fits) {
        client_close(conn, true);
    }
}

void client_take_bytes(struct client_conn *conn, struct str bytes)
{
    size_t used;

    if (buf_len(&conn->in) > 0) {
        client_keep_bytes(conn, bytes);
        if (buf_len(&conn->in) > 0) {
            client_feed_kept(conn);
        }
        return;
    }
    used = feed(conn, bytes);
    if (used < bytes.len && conn->state != CLIENT_CLOSED) {
        client_keep_bytes(conn, str_slice(bytes, used, bytes.len));
    }
}
