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

/* Streamed bodies of unknown length: frame some of what is there into `out`, a copy of bounded
 * size. */
static void frame_body(struct exchange *exchange)
{
    struct request_body *body = &exchange->request->body;
    struct str kept = buf_str(&body->bytes);
    size_t from = (size_t)(exchange->body_sent - body->start);
    struct str rest = str_slice(kept, from, from + EXCHANGE_CHUNK_MAX);

    if (buf_len(&exchange->out) >= EXCHANGE_CHUNK_MAX) {
        return;
    }
    if (rest.len > 0) {
        char head[H1_CHUNK_HEAD_LEN];
        size_t len = h1_chunk_head(rest.len, head);
        buf_append(&exchange->out, head, len);
        buf_append(&exchange->out, rest.ptr, rest.len);
        buf_append_str(&exchange->out, STR_LIT("\r\n"));
        exchange->body_sent += rest.len;
    }
    if (body->complete && !exchange->end_made && exchange->body_sent == body->received) {
        buf_append_str(&exchange->out, STR_LIT("0\r\n\r\n"));
        exchange->end_made = true;
    }
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

/* Book `written` bytes against head, out and body, in this order. */
static void account(struct exchange *exchange, struct str head, size_t written)
{
    size_t of_head = written < head.len ? written : head.len;
    size_t of_out;

    written -= of_head;
    if (of_head < head.len) {
        struct buf rest = exchange->out;
        buf_init(&exchange->out);
        buf_append(&exchange->out, head.ptr + of_head, head.len - of_head);
        buf_append_str(&exchange->out, buf_str(&rest));
        buf_done(&rest);
        return;
    }
    of_out = written < buf_len(&exchange->out) ? written : buf_len(&exchange->out);
    buf_consume(&exchange->out, of_out);
    exchange->body_sent += written - of_out;
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

void exchange_send(struct exchange *exchange)
{
    struct request *request = exchange->request;
    struct buf *head_buf = &request->worker->request_head;
    struct str head = STR_EMPTY;
    uint64_t before = exchange->body_sent;
    bool progress = false;

    if (exchange->all_sent || exchange->state == EXCHANGE_CONNECT) {
        return;
    }
    if (!exchange->head_made) {
        buf_clear(head_buf);
        request_write_head(request, head_buf);
        head = buf_str(head_buf);
        exchange->head_made = true;
    }
    for (;;) {
        struct iovec pieces[3];
        size_t written = 0;
        int count;
        enum stream_io io;
        if (exchange->chunked_request) {
            frame_body(exchange);
        }
        count = gather(exchange, head, pieces);
        if (count == 0) {
            break;
        }
        io = stream_writev(upstream_stream(exchange->conn), pieces, count, &written);
        if (io == STREAM_AGAIN) {
            account(exchange, head, 0);
            exchange->write_blocked = true;
            break;
        }
        if (io != STREAM_OK) {
            /* An answer may stand in the kernel already (a refusal of the body): reading finds it,
             * or the break. */
            account(exchange, head, 0);
            exchange->write_blocked = true;
            stream_again(upstream_stream(exchange->conn));
            return;
        }
        account(exchange, head, written);
        head = STR_EMPTY;
        progress = true;
    }
    if (progress && exchange->state == EXCHANGE_SEND) {
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
