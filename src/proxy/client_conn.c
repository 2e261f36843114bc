/* SPDX-License-Identifier: MIT */
/*
 * The reading half and the life of a client connection.
 *
 * Happy path:
 *   1. Accept; with TLS, wait for the handshake.
 *   2. Read a head; start a request with it.
 *   3. Hand the body over as it comes; write the answer (client_reply.c).
 *   4. Go back to 2 with what was pipelined, or wait for more.
 *
 *   OPENING ──> IDLE <──> HEAD ──> REQUEST ──> IDLE
 *      │          │        │          │  └───> FLUSH ──> LINGER ──> CLOSED
 *      └──────────┴────────┴──────────┴────────────────────────────^   any state, on failure
 *
 * Waits:  OPENING  handshake, deadline handshake_ms
 *         IDLE     first byte, deadline client_idle_ms
 *         HEAD     rest of the head, deadline client_header_ms from its first byte
 *         REQUEST  body bytes and room for the answer, at the pace that client_limit.c judges; else
 *                  the request's own
 *         FLUSH    room, likewise
 *         LINGER   the client's close, CLIENT_LINGER_MS
 *
 * A client that ends its sending side while it waits may have left or may only have nothing more
 * to send; TCP does not tell which. It is asked: an interim "100 Continue" makes the kernel of one
 * that left answer with a reset, and means nothing to one that did not (RFC 9110, 15.2). Within an
 * event stream a comment does the same; in other answers the next write does.
 */
#include "client_private.h"

#include "admission_private.h"
#include "request_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/net/stream.h>
#include <nearside/obs/log.h>

_Static_assert(CONF_HEADER_COUNT_MAX == HTTP_FIELDS_MAX, "limits.header_count");

struct client_row {
    const char *name;
    unsigned allowed;
};

#define TO(x) (1u << CLIENT_##x)

static const struct client_row rows[CLIENT_STATE_COUNT] = {
    [CLIENT_OPENING] = {"opening", TO(IDLE) | TO(CLOSED)},
    [CLIENT_IDLE] = {"idle", TO(HEAD) | TO(REQUEST) | TO(FLUSH) | TO(CLOSED)},
    [CLIENT_HEAD] = {"head", TO(REQUEST) | TO(FLUSH) | TO(IDLE) | TO(CLOSED)},
    [CLIENT_REQUEST] = {"request", TO(IDLE) | TO(FLUSH) | TO(CLOSED)},
    [CLIENT_FLUSH] = {"flush", TO(LINGER) | TO(CLOSED)},
    [CLIENT_LINGER] = {"linger", TO(CLOSED)},
    [CLIENT_CLOSED] = {"closed", 0},
};

static void on_stream(struct stream *stream, unsigned events, void *arg);
static void on_read_deadline(struct deadline *deadline, void *arg);
static void on_write_deadline(struct deadline *deadline, void *arg);
static void on_drive(struct loop_task *task, void *arg);

static uint32_t idle_ms(const struct client_conn *conn)
{
    const struct worker *worker = conn->worker;

    if (worker->handing_over) {
        return CLIENT_HAND_OVER_MS;
    }
    return worker->draining ? CLIENT_DRAIN_MS : conn->world->conf->timeouts.client_idle_ms;
}

/* The only place that changes conn->state. */
void client_move(struct client_conn *conn, enum client_state next)
{
    const struct conf_timeouts *timeouts = &conn->world->conf->timeouts;

    ASSERT((rows[conn->state].allowed & (1u << next)) != 0);
    if (conn->state == CLIENT_OPENING && conn->tls) {
        admission_handshake_over(conn->worker);
    }
    conn->state = next;
    switch (next) {
    case CLIENT_IDLE:
        deadline_set_in_ms(&conn->read_deadline, idle_ms(conn));
        break;
    case CLIENT_HEAD:
        deadline_set_in_ms(&conn->read_deadline, timeouts->client_header_ms);
        break;
    case CLIENT_LINGER:
        deadline_set_in_ms(&conn->read_deadline, CLIENT_LINGER_MS);
        break;
    default:
        deadline_cancel(&conn->read_deadline);
        break;
    }
}

void client_new(struct worker *worker, struct world *world, uint32_t listener_index, int fd,
                const struct addr *peer)
{
    struct client_conn *conn = mem_new(struct client_conn);
    struct tls_ctx *tls = world->listener_tls[listener_index];

    conn->magic = CLIENT_MAGIC;
    conn->state = CLIENT_OPENING;
    conn->worker = worker;
    conn->world = world_ref(world);
    conn->peer = *peer;
    conn->tls = tls != NULL;
    buf_init(&conn->in);
    buf_init(&conn->out);
    deadline_init(&conn->read_deadline, worker->loop, on_read_deadline, conn);
    deadline_init(&conn->write_deadline, worker->loop, on_write_deadline, conn);
    loop_task_init(&conn->drive_task, on_drive, conn);
    list_push_back(&worker->connections, &conn->link);
    worker->connection_count++;
    metric_inc(worker->metrics, METRIC_CLIENT_CONNECTIONS, 0);
    metric_inc(worker->metrics, METRIC_ACCEPTED, 0);
    deadline_set_in_ms(&conn->read_deadline, world->conf->timeouts.handshake_ms);
    conn->stream = stream_accept(worker->loop, fd, tls, on_stream, conn);
}

void client_close(struct client_conn *conn, bool abort)
{
    struct worker *worker = conn->worker;

    if (conn->state == CLIENT_CLOSED) {
        return;
    }
    if (conn->request != NULL) {
        conn->close_after = true;
        request_abort(conn->request);
        ASSERT(conn->request == NULL);
    }
    client_move(conn, CLIENT_CLOSED);
    deadline_done(&conn->read_deadline);
    deadline_done(&conn->write_deadline);
    loop_task_cancel(&conn->drive_task);
    stream_close(conn->stream, abort);
    conn->stream = NULL;
    buf_done(&conn->in);
    buf_done(&conn->out);
    client_book(conn);
    list_remove(&conn->link);
    worker->connection_count--;
    admission_give(worker, &conn->peer);
    metric_add(worker->metrics, METRIC_CLIENT_CONNECTIONS, 0, 0, 0, -1);
    world_unref(conn->world);
    conn->world = NULL;
    loop_defer_free(worker->loop, conn);
    if (worker->draining) {
        loop_task_queue(worker->loop, &worker->drain_task);
    }
}

void client_stop(struct client_conn *conn)
{
    if (conn->request != NULL) {
        conn->close_after = true;
        request_abort(conn->request);
    }
    client_close(conn, conn->abort_after);
}

/* Nothing more will be asked: close once all is written. */
static void finish_idle(struct client_conn *conn)
{
    conn->close_after = true;
    if (buf_len(&conn->out) == 0) {
        client_close(conn, false);
    } else {
        client_move(conn, CLIENT_FLUSH);
    }
}

/* It may ask once more: it was told that the connection stays. */
static bool was_promised_more(const struct client_conn *conn)
{
    return conn->worker->handing_over && !conn->close_after &&
           (conn->state == CLIENT_IDLE || (conn->state == CLIENT_REQUEST && conn->reply_begun));
}

void client_drain(struct client_conn *conn)
{
    if (was_promised_more(conn)) {
        if (conn->state == CLIENT_IDLE) {
            deadline_set_in_ms(&conn->read_deadline, idle_ms(conn));
        }
        return;
    }
    conn->close_after = true;
    if (conn->state == CLIENT_OPENING || (conn->state == CLIENT_IDLE && conn->requests == 0)) {
        /* Just accepted: its first request is probably on its way. */
        deadline_set_in_ms(&conn->read_deadline, CLIENT_DRAIN_MS);
    } else if (conn->state == CLIENT_IDLE) {
        finish_idle(conn);
    }
}

/* ---- understanding what was read ---- */

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
    static const struct reply_error error = {
        .status = 503,
        .type = "server_error",
        .code = "buffers_full",
        .proxy_status = "proxy_internal_response",
        .retry_after_s = 1,
        .message = "Too much is being held for clients at once (limits.buffer_total_bytes). Try "
                   "again shortly.",
    };

    metric_limit_hit(conn->worker->metrics, LIMIT_BUFFER_TOTAL);
    refuse(conn, &error);
}

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
    request_start(conn, head, raw);
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

/* Does the present state take bytes? */
static bool wants_bytes(const struct client_conn *conn)
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

    while (total < input.len && wants_bytes(conn)) {
        struct str rest = str_slice(input, total, input.len);
        size_t used = conn->state == CLIENT_REQUEST ? feed_body(conn, rest) : feed_head(conn, rest);
        if (used == 0) {
            break;
        }
        total += used;
    }
    return total;
}

static void feed_kept(struct client_conn *conn)
{
    size_t used = feed(conn, buf_str(&conn->in));

    if (conn->state != CLIENT_CLOSED) {
        buf_consume(&conn->in, used);
        buf_trim(&conn->in);
        client_book(conn);
    }
}

/* Keep what is not understood yet. A head that finds no room is refused. */
static void keep_bytes(struct client_conn *conn, struct str bytes)
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

/* What was read goes through `in` only if something stood there before, or is left over. */
static void take_bytes(struct client_conn *conn, struct str bytes)
{
    size_t used;

    if (buf_len(&conn->in) > 0) {
        keep_bytes(conn, bytes);
        if (buf_len(&conn->in) > 0) {
            feed_kept(conn);
        }
        return;
    }
    used = feed(conn, bytes);
    if (used < bytes.len && conn->state != CLIENT_CLOSED) {
        keep_bytes(conn, str_slice(bytes, used, bytes.len));
    }
}

/* ---- reading ---- */

/* The client sends no more. */
static void on_eof(struct client_conn *conn)
{
    conn->eof = true;
    conn->readable = false;
    conn->close_after = true;
    if (conn->state == CLIENT_REQUEST && conn->body_framing != HTTP_BODY_NONE) {
        request_on_client_gone(conn->request);
        return;
    }
    if (conn->state == CLIENT_IDLE || conn->state == CLIENT_HEAD) {
        finish_idle(conn);
    }
}

static void on_broken(struct client_conn *conn)
{
    conn->eof = true;
    conn->write_failed = true;
    conn->readable = false;
    conn->close_after = true;
    if (conn->request != NULL) {
        request_on_client_gone(conn->request);
    }
    if (conn->state != CLIENT_CLOSED) {
        client_close(conn, true);
    }
}

/* One read. False: stop for now. */
static bool read_once(struct client_conn *conn)
{
    struct worker *worker = conn->worker;
    size_t len = 0;

    switch (stream_read(conn->stream, worker->client_bytes, WORKER_READ_BYTES, &len)) {
    case STREAM_OK:
        conn->pipelined = 0;
        take_bytes(conn, str_make(worker->client_bytes, len));
        return conn->state != CLIENT_CLOSED;
    case STREAM_AGAIN:
        conn->readable = false;
        return false;
    case STREAM_EOF:
        on_eof(conn);
        return false;
    case STREAM_ERROR:
        on_broken(conn);
        return false;
    }
    return false;
}

/* A client that ended its side is asked whether it is still there: while an answer is awaited by an
 * interim one, within a stream by a comment. */
static void ask_closed(struct client_conn *conn)
{
    if (conn->asked || conn->version_minor == 0) {
        return;
    }
    conn->asked = true;
    if (conn->reply_begun) {
        request_ask_client(conn->request);
        return;
    }
    client_reply_continue(conn);
}

/* A request is under way and the client's side ended: anything still to be read is pipelined;
 * an error means that it left. */
static void look_closed(struct client_conn *conn)
{
    struct worker *worker = conn->worker;
    size_t len = 0;

    while (buf_len(&conn->in) < WORKER_READ_BYTES && !conn->eof) {
        enum stream_io io =
            stream_read(conn->stream, worker->client_bytes, WORKER_READ_BYTES, &len);
        if (io == STREAM_OK) {
            keep_bytes(conn, str_make(worker->client_bytes, len));
            if (conn->state == CLIENT_CLOSED) {
                return;
            }
            continue;
        }
        if (io == STREAM_ERROR) {
            on_broken(conn);
            return;
        }
        if (io == STREAM_AGAIN) {
            conn->readable = false;
            return;
        }
        conn->eof = true;
        conn->readable = false;
    }
    ask_closed(conn);
}

static void drop_bytes(struct client_conn *conn)
{
    size_t len = 0;

    for (unsigned reads = 0; reads < CLIENT_READS; reads++) {
        enum stream_io io =
            stream_read(conn->stream, conn->worker->client_bytes, WORKER_READ_BYTES, &len);
        if (io == STREAM_AGAIN) {
            return;
        }
        conn->linger_bytes += len;
        if (io != STREAM_OK || conn->linger_bytes > CLIENT_LINGER_BYTES) {
            client_close(conn, false);
            return;
        }
    }
    stream_again(conn->stream);
}

/* Nothing that was sent is unread. No system call where the last read emptied the socket. */
static bool is_drained(struct client_conn *conn)
{
    size_t len = 0;
    enum stream_io io =
        stream_read(conn->stream, conn->worker->client_bytes, WORKER_READ_BYTES, &len);

    conn->linger_bytes += len;
    return io == STREAM_AGAIN && buf_len(&conn->in) == 0;
}

/* Our side of the connection is over: close, leaving the client time to read the last answer. A
 * close with unread bytes, or before a client has sent what it is about to send, would reset the
 * connection and could destroy it. */
static void end_connection(struct client_conn *conn)
{
    if (conn->abort_after) {
        client_close(conn, true);
        return;
    }
    if (conn->eof ||
        (conn->close_asked && conn->body_framing == HTTP_BODY_NONE && is_drained(conn))) {
        client_close(conn, false);
        return;
    }
    stream_shutdown(conn->stream);
    client_move(conn, CLIENT_LINGER);
    drop_bytes(conn);
}

/* Do what the state and the facts allow. */
static void client_drive(struct client_conn *conn)
{
    if (conn->write_failed) {
        on_broken(conn);
        return;
    }
    if (conn->state == CLIENT_LINGER) {
        drop_bytes(conn);
        return;
    }
    if (conn->state == CLIENT_FLUSH && buf_len(&conn->out) == 0) {
        end_connection(conn);
        return;
    }
    if (buf_len(&conn->in) > 0 && wants_bytes(conn)) {
        feed_kept(conn);
        if (conn->state == CLIENT_CLOSED) {
            return;
        }
    }
    for (unsigned reads = 0; conn->readable && wants_bytes(conn); reads++) {
        if (reads == CLIENT_READS) {
            loop_task_queue(conn->worker->loop, &conn->drive_task);
            return;
        }
        if (!read_once(conn)) {
            return;
        }
    }
    if (conn->eof && (conn->state == CLIENT_IDLE || conn->state == CLIENT_HEAD) &&
        wants_bytes(conn)) {
        finish_idle(conn);
        return;
    }
    if (conn->state == CLIENT_REQUEST && !conn->eof && conn->body_framing == HTTP_BODY_NONE &&
        stream_peer_is_closed(conn->stream)) {
        look_closed(conn);
    }
}

static void note_handshake(struct client_conn *conn, enum handshake_end end)
{
    if (conn->tls) {
        metric_inc(conn->worker->metrics, METRIC_HANDSHAKES, end);
    }
}

/* Rule 45: note, then drive. */
static void on_stream(struct stream *stream, unsigned events, void *arg)
{
    struct client_conn *conn = OBJ_CAST(arg, client_conn, CLIENT_MAGIC);

    (void)stream;
    if (conn->state == CLIENT_CLOSED) {
        return;
    }
    if ((events & STREAM_EV_FAILED) != 0) {
        note_handshake(conn, stream_handshake_end(conn->stream));
        client_close(conn, false);
        return;
    }
    if ((events & STREAM_EV_OPEN) != 0) {
        note_handshake(conn, HANDSHAKE_DONE);
        client_move(conn, CLIENT_IDLE);
        conn->readable = true;
    }
    if ((events & (STREAM_EV_READ | STREAM_EV_CLOSED)) != 0) {
        conn->readable = !conn->eof;
        /* Nobody reads while the client has said all, or is paused in its body. */
        bool unread = conn->eof || ((events & STREAM_EV_CLOSED) != 0 && !wants_bytes(conn));
        if (conn->state == CLIENT_REQUEST && unread && stream_is_broken(conn->stream)) {
            on_broken(conn);
            return;
        }
    }
    if ((events & STREAM_EV_WRITE) != 0 && conn->write_blocked) {
        client_write(conn);
        client_on_written(conn);
        if (conn->state == CLIENT_CLOSED) {
            return;
        }
    }
    if (conn->state != CLIENT_OPENING) {
        client_drive(conn);
    }
}

static void on_drive(struct loop_task *task, void *arg)
{
    struct client_conn *conn = OBJ_CAST(arg, client_conn, CLIENT_MAGIC);

    (void)task;
    if (conn->state != CLIENT_CLOSED) {
        client_drive(conn);
    }
}

void client_read_on(struct client_conn *conn)
{
    if (conn->state == CLIENT_REQUEST) {
        if (conn->body_paused && conn->body_framing != HTTP_BODY_NONE) {
            conn->body_paused = false;
            client_pace_begin(conn); /* what it could not send meanwhile does not count */
        }
        loop_task_queue(conn->worker->loop, &conn->drive_task);
    }
}

/* ---- the end of an answer ---- */

void client_on_written(struct client_conn *conn)
{
    if (conn->write_failed) {
        loop_task_queue(conn->worker->loop, &conn->drive_task);
        return;
    }
    if (conn->paused_source && buf_len(&conn->out) <= CLIENT_OUT_LOW) {
        conn->paused_source = false;
        if (conn->request != NULL) {
            request_on_room(conn->request);
        }
    }
    if (conn->state == CLIENT_FLUSH && buf_len(&conn->out) == 0) {
        end_connection(conn);
    }
}

void client_request_done(struct client_conn *conn)
{
    conn->request = NULL;
    conn->paused_source = false;
    if ((conn->worker->draining && !conn->worker->handing_over) ||
        (conn->eof && buf_len(&conn->in) == 0)) {
        conn->close_after = true;
    }
    if (conn->close_after) {
        client_move(conn, CLIENT_FLUSH);
        loop_task_queue(conn->worker->loop, &conn->drive_task);
        return;
    }
    client_move(conn, CLIENT_IDLE);
    if (buf_len(&conn->in) > 0 || conn->readable || conn->eof) {
        loop_task_queue(conn->worker->loop, &conn->drive_task);
    }
}

static void refuse_slow_head(struct client_conn *conn)
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

static void judge_body(struct client_conn *conn)
{
    if (!wants_bytes(conn)) {
        client_pace_begin(conn); /* we paused it ourselves */
        return;
    }
    if (!client_pace_is_good(conn)) {
        conn->close_after = true;
        request_on_bad_body(conn->request, 408, "body_timeout");
    }
}

static void on_read_deadline(struct deadline *deadline, void *arg)
{
    struct client_conn *conn = OBJ_CAST(arg, client_conn, CLIENT_MAGIC);

    (void)deadline;
    if (conn->state == CLIENT_HEAD) {
        refuse_slow_head(conn);
        return;
    }
    if (conn->state == CLIENT_REQUEST && conn->request != NULL) {
        judge_body(conn);
        return;
    }
    if (conn->state == CLIENT_IDLE && buf_len(&conn->out) > 0) {
        /* The last answer is still being taken: the write deadline judges that. */
        deadline_set_in_ms(&conn->read_deadline, conn->world->conf->timeouts.client_idle_ms);
        return;
    }
    if (conn->state == CLIENT_OPENING) {
        note_handshake(conn, HANDSHAKE_TIMEOUT);
        metric_limit_hit(conn->worker->metrics, LIMIT_HANDSHAKE_TIME);
    }
    client_close(conn, false);
}

/* A quarter of the time is over in which a client must take something. */
static void on_write_deadline(struct deadline *deadline, void *arg)
{
    struct client_conn *conn = OBJ_CAST(arg, client_conn, CLIENT_MAGIC);

    (void)deadline;
    if (!client_take_is_good(conn)) {
        on_broken(conn);
    }
}
