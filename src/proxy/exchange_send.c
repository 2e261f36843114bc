/* SPDX-License-Identifier: MIT */
/*
 * The writing half of an exchange: head and body as far as the kernel takes them, then a sign of
 * life from the peer's kernel.
 */
#include "exchange_private.h"

#include "request_private.h"
#include "worker_private.h"

#include <nearside/conf/tree.h>
#include <nearside/net/stream.h>
#include <nearside/upstream/pool.h>

/* Around a chunk, the last one's included. */
#define FRAMING_BYTES (H1_CHUNK_HEAD_LEN + sizeof("\r\n") + sizeof("0\r\n\r\n"))

/* In a request's head: what is not the client's (endpoint, ids, framing). */
#define OWN_BYTES 4096

/* Streamed bodies of unknown length: frame some of what is there into `out`, a copy of bounded
 * size. False: memory is refused. */
static bool frame_body(struct exchange *exchange)
{
    struct request_body *body = &exchange->request->body;
    struct str kept = buf_str(&body->bytes);
    size_t from = (size_t)(exchange->body_sent - body->start);
    struct str rest = str_slice(kept, from, from + EXCHANGE_CHUNK_MAX);

    if (buf_len(&exchange->out) >= EXCHANGE_CHUNK_MAX) {
        return true;
    }
    if (!buf_reserve(&exchange->out, rest.len + FRAMING_BYTES)) {
        return false;
    }
    if (rest.len > 0) {
        char room[H1_CHUNK_HEAD_LEN];
        char *const end = room + sizeof(room);
        const char *const head = h1_chunk_head(rest.len, end);
        buf_append(&exchange->out, head, (size_t)(end - head));
        buf_append(&exchange->out, rest.ptr, rest.len);
        buf_append_str(&exchange->out, STR_LIT("\r\n"));
        exchange->body_sent += rest.len;
    }
    if (body->complete && !exchange->end_made && exchange->body_sent == body->received) {
        buf_append_str(&exchange->out, STR_LIT("0\r\n\r\n"));
        exchange->end_made = true;
    }
    return true;
}

/* What can be written now: framed bytes and the head first, then the body where it lies. */
static int gather(struct exchange *exchange, struct str head, struct iovec pieces[3])
{
    struct request_body *body = &exchange->request->body;
    struct str out = buf_str(&exchange->out);
    struct str kept = buf_str(&body->bytes);
    size_t from = (size_t)(exchange->body_sent - body->start);
    int count = 0;

    if (head.len > 0) {
        pieces[count++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)head.ptr, .iov_len = head.len};
    }
    if (out.len > 0) {
        pieces[count++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)out.ptr, .iov_len = out.len};
    }
    if (!exchange->chunked_request && from < kept.len) {
        pieces[count++] = (struct iovec){.iov_base = (void *)(uintptr_t)(kept.ptr + from),
                                         .iov_len = kept.len - from};
    }
    return count;
}

/* What is left of the head goes before what is in `out`. False: memory is refused. */
static bool keep_head(struct exchange *exchange, struct str left)
{
    struct buf out;

    buf_init(&out);
    if (!buf_reserve(&out, left.len + buf_len(&exchange->out))) {
        return false;
    }
    buf_append_str(&out, left);
    buf_append_str(&out, buf_str(&exchange->out));
    buf_done(&exchange->out);
    exchange->out = out;
    return true;
}

/* Book `written` bytes against head, out and body, in this order. False: memory is refused. */
static bool account(struct exchange *exchange, struct str head, size_t written)
{
    size_t of_head = written < head.len ? written : head.len;
    size_t of_out;

    written -= of_head;
    if (of_head < head.len) {
        return keep_head(exchange, str_slice(head, of_head, head.len));
    }
    of_out = written < buf_len(&exchange->out) ? written : buf_len(&exchange->out);
    buf_consume(&exchange->out, of_out);
    exchange->body_sent += written - of_out;
    return true;
}

static bool nothing_left(const struct exchange *exchange)
{
    const struct request_body *body = &exchange->request->body;

    return body->complete && buf_len(&exchange->out) == 0 &&
           exchange->body_sent >= body->received &&
           (!exchange->chunked_request || exchange->end_made);
}

/* The whole request is in the kernel's hands. Nobody can say yet when the answer begins, but the
 * peer's kernel acknowledges within a round trip: on a kept connection this is what a connect
 * timeout is on a new one. */
static void await_sign(struct exchange *exchange)
{
    const struct conf_timeouts *timeouts = exchange->request->timeouts;

    exchange->answer_due_ns = exchange->deadline.due_ns;
    if (timeouts->connect_ms < exchange_first_token_ms(exchange)) {
        deadline_set_in_ms(&exchange->deadline, timeouts->connect_ms);
    }
}

bool exchange_has_sign(struct exchange *exchange)
{
    uint64_t now_ns = loop_now_ns(exchange->request->worker->loop);
    const struct stream *stream = upstream_stream(exchange->conn);

    if (now_ns >= exchange->answer_due_ns ||
        stream_is_unheard(stream, exchange->request->timeouts->connect_ms)) {
        return false;
    }
    deadline_set_ns(&exchange->deadline, exchange->answer_due_ns);
    return true;
}

static void sent_all(struct exchange *exchange)
{
    exchange->all_sent = true;
    exchange->sent_ns = loop_now_ns(exchange->request->worker->loop);
    buf_trim(&exchange->out);
    if (exchange->state == EXCHANGE_SEND) {
        exchange_move(exchange, EXCHANGE_HEAD);
        await_sign(exchange);
    }
}

/* The head, in the worker's scratch. It may name the client's host twice (Host is the endpoint's,
 * X-Forwarded-Host the client's). False: memory is refused. */
static bool make_head(struct exchange *exchange, struct str *ret_head)
{
    struct request *request = exchange->request;
    struct buf *buf = &request->worker->request_head;

    buf_clear(buf);
    if (!buf_reserve(buf, 2 * request->head_bytes + HTTP_FIELDS_MAX + OWN_BYTES)) {
        return false;
    }
    request_write_head(request, buf);
    *ret_head = buf_str(buf);
    exchange->head_made = true;
    return true;
}

enum progress { PROGRESS, PROGRESS_NONE, PROGRESS_REFUSED };

/* As far as the kernel takes it. */
static enum progress send_pieces(struct exchange *exchange, struct str head)
{
    struct stream *stream = upstream_stream(exchange->conn);
    enum progress progress = PROGRESS_NONE;

    for (;;) {
        struct iovec pieces[3];
        size_t written = 0;
        if (exchange->chunked_request && !frame_body(exchange)) {
            return PROGRESS_REFUSED;
        }
        int count = gather(exchange, head, pieces);
        if (count == 0) {
            return progress;
        }
        enum stream_io io = stream_writev(stream, pieces, count, &written);
        if (!account(exchange, head, io == STREAM_OK ? written : 0)) {
            return PROGRESS_REFUSED;
        }
        if (io == STREAM_OK) {
            head = STR_EMPTY;
            progress = PROGRESS;
            continue;
        }
        if (stream_failure(stream) == STREAM_FAILURE_LOCAL) {
            return PROGRESS_REFUSED; /* by our kernel: the peer knows of nothing */
        }
        exchange->write_blocked = true;
        if (io != STREAM_AGAIN) {
            /* An answer may stand in the kernel already (a refusal of the body): reading finds it,
             * or the break. */
            stream_again(stream);
        }
        return progress;
    }
}

void exchange_send(struct exchange *exchange)
{
    struct request *request = exchange->request;
    struct str head = STR_EMPTY;
    uint64_t before = exchange->body_sent;
    enum progress progress = PROGRESS_REFUSED;

    if (exchange->all_sent || exchange->state == EXCHANGE_CONNECT) {
        return;
    }
    if (exchange->head_made || make_head(exchange, &head)) {
        progress = send_pieces(exchange, head);
    }
    if (progress == PROGRESS_REFUSED) {
        request_on_failure(request, OUTCOME_LOCAL_LIMIT);
        return;
    }
    if (progress == PROGRESS && exchange->state == EXCHANGE_SEND) {
        deadline_set_in_ms(&exchange->deadline, exchange_timeout_ms(exchange));
    }
    if (nothing_left(exchange)) {
        sent_all(exchange);
    }
    if (exchange->body_sent != before) {
        request_on_body_sent(request);
    }
}

void exchange_body_ready(struct exchange *exchange)
{
    if ((exchange->state == EXCHANGE_SEND || exchange->state == EXCHANGE_BODY) &&
        !exchange->all_sent && !exchange->write_blocked) {
        exchange_send(exchange);
    }
}
