/* SPDX-License-Identifier: MIT */
/*
 * The life of a client connection, and its reading; what the bytes mean is in client_feed.c.
 *
 * Happy path:
 *   1. Accept; with TLS, wait for the handshake.
 *   2. Read a head; start a request with it (client_feed.c).
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

/* Whether what comes next would be new work. An answer that is not all taken is none, nor is an
 * end. */
static enum watch_yield yield_of(const struct client_conn *conn)
{
    switch (conn->state) {
    case CLIENT_OPENING:
    case CLIENT_IDLE:
    case CLIENT_HEAD:
        if (buf_len(&conn->out) > 0) {
            return WATCH_AT_ONCE;
        }
        return conn->requests == 0 ? WATCH_YIELDS_NEW : WATCH_YIELDS_KNOWN;
    default:
        return WATCH_AT_ONCE;
    }
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
    stream_set_yielding(conn->stream, yield_of(conn));
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

/* Something of its next request has come: here, put off, or in the kernel. */
static bool has_asked(struct client_conn *conn)
{
    return conn->state == CLIENT_IDLE &&
           (buf_len(&conn->in) > 0 || conn->readable || !stream_is_quiet(conn->stream));
}

void client_drain(struct client_conn *conn)
{
    stream_hurry(conn->stream);
    if (conn->state == CLIENT_CLOSED) {
        return;
    }
    if (was_promised_more(conn)) {
        if (conn->state == CLIENT_IDLE) {
            deadline_set_in_ms(&conn->read_deadline, idle_ms(conn));
        }
        return;
    }
    conn->close_after = true;
    if (conn->state == CLIENT_OPENING && conn->worker->handing_over) {
        return; /* in a handshake, which has its own time, and the request after it too */
    }
    if (conn->state == CLIENT_OPENING || (conn->state == CLIENT_IDLE && conn->requests == 0) ||
        has_asked(conn)) {
        /* Just accepted: its first request is probably on its way. Or it is answered, as the last.
         */
        deadline_set_in_ms(&conn->read_deadline, CLIENT_DRAIN_MS);
    } else if (conn->state == CLIENT_IDLE) {
        finish_idle(conn);
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
        if (conn->reply_begun && !conn->reply_ended) {
            client_reply_abort(conn); /* it can still read, and must not take this for all of it */
        }
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

/* Where a body that is kept lies, else the worker's scratch. */
static char *read_room(struct client_conn *conn, size_t *ret_size)
{
    char *room = NULL;

    if (conn->state == CLIENT_REQUEST && buf_len(&conn->in) == 0) {
        room = request_body_room(conn->request, ret_size);
    }
    ASSERT(room == NULL || *ret_size <= conn->body_left);
    if (room == NULL) {
        room = conn->worker->client_bytes;
        *ret_size = WORKER_READ_BYTES;
    }
    return room;
}

/* One read; its bytes are added to `taken`. False: stop for now. */
static bool read_once(struct client_conn *conn, size_t *taken)
{
    size_t size = 0;
    size_t len = 0;
    char *room = read_room(conn, &size);
    const size_t rest = CLIENT_READ_BYTES - *taken;
    const enum stream_io io = stream_read(conn->stream, room, size < rest ? size : rest, &len);

    *taken += len;
    switch (io) {
    case STREAM_OK:
        conn->pipelined = 0;
        client_take_bytes(conn, str_make(room, len));
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
            client_keep_bytes(conn, str_make(worker->client_bytes, len));
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
    size_t taken = 0;

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
    if (buf_len(&conn->in) > 0 && client_wants_bytes(conn)) {
        client_feed_kept(conn);
        if (conn->state == CLIENT_CLOSED) {
            return;
        }
    }
    for (unsigned reads = 0; conn->readable && client_wants_bytes(conn); reads++) {
        if (reads == CLIENT_READS || taken == CLIENT_READ_BYTES) {
            loop_task_queue(conn->worker->loop, &conn->drive_task);
            return;
        }
        if (!read_once(conn, &taken)) {
            return;
        }
    }
    if (conn->eof && (conn->state == CLIENT_IDLE || conn->state == CLIENT_HEAD) &&
        client_wants_bytes(conn)) {
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
        bool unread = conn->eof || ((events & STREAM_EV_CLOSED) != 0 && !client_wants_bytes(conn));
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
    } else if (conn->state == CLIENT_IDLE || conn->state == CLIENT_HEAD) {
        stream_set_yielding(conn->stream, yield_of(conn));
    }
}

void client_request_done(struct client_conn *conn)
{
    outbox_let_go(
        &conn->worker->outbox); /* a piece of an answer that was cut; only those are held */
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

static void judge_body(struct client_conn *conn)
{
    if (!client_wants_bytes(conn)) {
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
    enum client_state state = conn->state;
    uint32_t requests = conn->requests;

    (void)deadline;
    /* What came in time counts, though it was put off; but a handshake waits its turn within its
     * time. */
    stream_hurry(conn->stream);
    if (conn->state != state || conn->requests != requests) {
        return; /* even if it is idle again: a request that the cache answered at once */
    }
    if (conn->state == CLIENT_HEAD) {
        client_refuse_slow_head(conn);
        return;
    }
    if (conn->state == CLIENT_REQUEST && conn->request != NULL) {
        judge_body(conn);
        return;
    }
    if (conn->state == CLIENT_IDLE && (buf_len(&conn->out) > 0 || has_asked(conn))) {
        /* The last answer is still being taken: the write deadline judges that. Or the next request
         * is here already, and its turn comes: we are late, not the client. */
        deadline_set_in_ms(&conn->read_deadline, idle_ms(conn));
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
