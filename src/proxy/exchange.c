/* SPDX-License-Identifier: MIT */
/*
 * One HTTP/1 exchange with an endpoint: its life, and reading. Writing is in exchange_send.c.
 *
 * Happy path:
 *   1. Take an idle connection, or connect.
 *   2. Write head and body in one go as far as the kernel takes it.
 *   3. Read the answer's head; hand it to the request.
 *   4. Hand over body bytes as they come, pausing while the client is slow.
 *   5. At the end put the connection back into the pool.
 *
 * It can fail by: refused, connect timeout, TLS, reset, close without an answer (stale when the
 * connection had been used before), malformed answer, no answer in time, cut, idle.
 *
 *   NONE ──> CONNECT ──> SEND ──> HEAD ──> BODY ──> NONE
 *     └──────────────────>^ (idle connection)        ^   any state, on failure or cancel
 *
 * An answer may begin before the request is all sent; it is read all the same, and the connection
 * is then not used again.
 */
#include "exchange_private.h"

#include "request_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>
#include <nearside/net/stream.h>
#include <nearside/upstream/pool.h>

#include <string.h>

struct exchange_row {
    const char *name;
    unsigned allowed;
};

#define TO(x) (1u << EXCHANGE_##x)

static const struct exchange_row rows[EXCHANGE_STATE_COUNT] = {
    [EXCHANGE_NONE] = {"none", TO(CONNECT) | TO(SEND)},
    [EXCHANGE_CONNECT] = {"connect", TO(SEND) | TO(NONE)},
    [EXCHANGE_SEND] = {"send", TO(HEAD) | TO(BODY) | TO(NONE)},
    [EXCHANGE_HEAD] = {"head", TO(BODY) | TO(NONE)},
    [EXCHANGE_BODY] = {"body", TO(NONE)},
};

static void on_stream(struct stream *stream, unsigned events, void *arg);
static void on_deadline(struct deadline *deadline, void *arg);

static const struct conf_timeouts *timeouts_of(const struct exchange *exchange)
{
    return exchange->request->timeouts;
}

uint32_t exchange_first_token_ms(const struct exchange *exchange)
{
    const struct conf_timeouts *timeouts = timeouts_of(exchange);
    uint64_t kib = exchange->request->body.received / 1024;
    uint64_t ms = timeouts->first_token_ms + kib * timeouts->first_token_ms_per_kib;

    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

uint32_t exchange_timeout_ms(const struct exchange *exchange)
{
    const struct conf_timeouts *timeouts = timeouts_of(exchange);

    switch (exchange->state) {
    case EXCHANGE_CONNECT:
        return timeouts->connect_ms;
    case EXCHANGE_SEND:
        return timeouts->request_ms;
    case EXCHANGE_HEAD:
        return exchange_first_token_ms(exchange);
    case EXCHANGE_BODY:
        if (exchange->lost && timeouts->idle_ms > EXCHANGE_LOST_MS) {
            return EXCHANGE_LOST_MS;
        }
        return exchange->got_body ? timeouts->idle_ms : exchange_first_token_ms(exchange);
    default:
        return 0;
    }
}

/* The only place that changes exchange->state. */
void exchange_move(struct exchange *exchange, enum exchange_state next)
{
    ASSERT((rows[exchange->state].allowed & (1u << next)) != 0);
    exchange->state = next;
    if (next == EXCHANGE_NONE) {
        deadline_cancel(&exchange->deadline);
    } else {
        deadline_set_in_ms(&exchange->deadline, exchange_timeout_ms(exchange));
    }
}

void exchange_init(struct exchange *exchange, struct request *request, struct loop *loop)
{
    *exchange = (struct exchange){.state = EXCHANGE_NONE, .request = request};
    deadline_init(&exchange->deadline, loop, on_deadline, request);
}

void exchange_end(struct exchange *exchange)
{
    exchange_cancel(exchange);
    buf_done(&exchange->in);
    buf_done(&exchange->out);
}

void exchange_done(struct exchange *exchange)
{
    ASSERT(exchange->conn == NULL);
    deadline_done(&exchange->deadline);
}

/* Everything a new attempt starts from. */
static void reset(struct exchange *exchange)
{
    buf_clear(&exchange->in);
    buf_clear(&exchange->out);
    exchange->head_wait = (struct h1_wait){.looked = 0};
    exchange->body_sent = exchange->request->body.start;
    exchange->left = 0;
    exchange->framing = HTTP_BODY_NONE;
    exchange->head_made = false;
    exchange->end_made = false;
    exchange->all_sent = false;
    exchange->write_blocked = false;
    exchange->readable = false;
    exchange->paused = false;
    exchange->got_bytes = false;
    exchange->got_body = false;
    exchange->answer_begun = false;
    exchange->keep_alive = false;
    exchange->interim_count = 0;
    exchange->lost = false;
    exchange->answer_due_ns = 0;
    exchange->sent_ns = 0;
}

void exchange_start(struct exchange *exchange, const struct upstream_target *target)
{
    struct request *request = exchange->request;
    struct worker *worker = request->worker;

    ASSERT(exchange->conn == NULL);
    reset(exchange);
    exchange->started_ns = loop_now_ns(worker->loop);
    exchange->chunked_request =
        request->body.framing == HTTP_BODY_CHUNKED && !request->body.complete;
    /* A trial asks whether connections can be made, too: kept ones do not tell. */
    if (!request->fresh_only && !request->on_trial) {
        exchange->conn = pool_take(worker->pool, target, on_stream, request);
    }
    if (exchange->conn != NULL) {
        exchange_move(exchange, EXCHANGE_SEND);
        exchange_send(exchange);
        return;
    }
    request->dialled = true;
    exchange->conn = pool_connect(worker->pool, target, on_stream, request);
    exchange_move(exchange, EXCHANGE_CONNECT);
}

void exchange_cancel(struct exchange *exchange)
{
    struct upstream_conn *conn = exchange->conn;

    if (conn == NULL) {
        return;
    }
    exchange->conn = NULL;
    exchange_move(exchange, EXCHANGE_NONE);
    /* A reset reaches the endpoint at once, even if it never reads: its work stops. */
    pool_close(conn, true);
}

/* Is there nothing behind the answer? Bytes that nobody asked for would be taken for the next one.
 * A short read has emptied a socket, and an event will tell of more; TLS may hold a record back. */
static bool nothing_follows(const struct exchange *exchange)
{
    struct stream *stream = upstream_stream(exchange->conn);

    return (exchange->short_read && !stream_is_tls(stream)) || stream_is_quiet(stream);
}

/* The answer is over: keep the connection if both sides are clean. */
static void finish(struct exchange *exchange, bool clean)
{
    struct upstream_conn *conn = exchange->conn;
    bool reusable =
        clean && exchange->all_sent && exchange->keep_alive && nothing_follows(exchange);

    exchange->conn = NULL;
    exchange_move(exchange, EXCHANGE_NONE);
    buf_trim(&exchange->in);
    buf_trim(&exchange->out);
    if (reusable) {
        pool_put(conn);
    } else {
        pool_close(conn, false);
    }
}

static void failed(struct exchange *exchange, enum outcome outcome)
{
    request_on_failure(exchange->request, outcome);
}

/* The connection broke or ended early. */
static enum outcome outcome_of_break(const struct exchange *exchange)
{
    if (stream_failure(upstream_stream(exchange->conn)) == STREAM_FAILURE_LOCAL) {
        return OUTCOME_LOCAL_LIMIT; /* it broke here */
    }
    if (exchange->got_body) {
        return OUTCOME_CUT;
    }
    if (!exchange->got_bytes && upstream_is_reused(exchange->conn)) {
        return OUTCOME_STALE;
    }
    return OUTCOME_RESET;
}

/* ---- reading ---- */

static void begin_answer(struct exchange *exchange, const struct http_head *head, struct str raw)
{
    exchange->answer_begun = true;
    exchange->framing = head->body;
    exchange->left = head->content_length;
    exchange->keep_alive = head->keep_alive && head->body != HTTP_BODY_CLOSE;
    if (head->body == HTTP_BODY_CHUNKED) {
        h1_chunked_init(&exchange->chunked);
    }
    request_on_answer(exchange->request, head, raw);
    exchange_move(exchange, EXCHANGE_BODY);
    if (exchange->answer_due_ns != 0) {
        /* A head is not yet a token: the time runs from the end of the request. */
        deadline_set_ns(&exchange->deadline, exchange->answer_due_ns);
    }
}

/* An interim answer must leave no doubt that another follows right behind it: none that switches
 * protocols (nobody asked), announces a body or the connection's end, or is one too many. */
static bool may_follow(struct exchange *exchange, const struct http_head *head)
{
    if (head->status >= 200) {
        return true;
    }
    exchange->interim_count++;
    if (exchange->interim_count > H1_INTERIM_MAX) {
        metric_limit_hit(exchange->request->worker->metrics, LIMIT_INTERIM_ANSWERS);
        return false;
    }
    return head->status != 101 && head->keep_alive;
}

/* Returns the bytes used. */
static size_t feed_head(struct exchange *exchange, struct str input)
{
    struct request *request = exchange->request;
    struct worker *worker = request->worker;
    struct h1_limits limits = {
        .head_bytes = request->world->conf->limits.header_bytes,
        .uri_bytes = 0,
        .fields = HTTP_FIELDS_MAX,
    };
    struct http_head *head = &worker->upstream_head;
    size_t used = 0;
    enum h1_result result;

    if (!h1_wait_is_over(&exchange->head_wait, input, &limits)) {
        return 0;
    }
    result = h1_parse_response(input, &limits, request->head->method, head, &used);
    if (result == H1_NEED_MORE) {
        return 0;
    }
    exchange->head_wait = (struct h1_wait){.looked = 0};
    if (result != H1_COMPLETE || !may_follow(exchange, head)) {
        failed(exchange, OUTCOME_MALFORMED);
        return input.len;
    }
    if (head->status < 200) {
        request_on_interim(request, head, used);
        return used;
    }
    begin_answer(exchange, head, str_make(input.ptr, used));
    return used;
}

static void take_data(struct exchange *exchange, struct str data)
{
    exchange->got_body = true;
    exchange->got_data = true;
    request_on_data(exchange->request, data);
}

/* Put `data` right behind the run of body bytes before it: framing in between is overwritten. The
 * input is ours to write to: the worker's scratch, or `in`. */
static struct str join(struct str run, struct str data)
{
    if (run.len == 0) {
        return data;
    }
    memmove((char *)(uintptr_t)(run.ptr + run.len), data.ptr, data.len);
    return str_make(run.ptr, run.len + data.len);
}

/* *ret_done: the whole answer is over. The data of all chunks goes on as one piece: moving it some
 * bytes costs less than going through the stream's reader and the kernel's with each of them. */
static size_t feed_chunked(struct exchange *exchange, struct str input, bool *ret_done)
{
    enum h1_result result = H1_NEED_MORE;
    struct str run = STR_EMPTY;
    size_t total = 0;

    while (total < input.len && result == H1_NEED_MORE) {
        struct str data = STR_EMPTY;
        size_t used = 0;

        result =
            h1_chunked_parse(&exchange->chunked, str_slice(input, total, input.len), &used, &data);
        total += used;
        run = join(run, data);
    }
    if (run.len > 0) {
        take_data(exchange, run);
    }
    *ret_done = result == H1_COMPLETE;
    if (result == H1_NEED_MORE || result == H1_COMPLETE) {
        return total;
    }
    failed(exchange, exchange->got_body ? OUTCOME_CUT : OUTCOME_MALFORMED);
    return input.len;
}

static size_t feed_body(struct exchange *exchange, struct str input, bool *ret_done)
{
    size_t take = input.len;

    switch (exchange->framing) {
    case HTTP_BODY_NONE:
        *ret_done = true;
        return 0;
    case HTTP_BODY_CHUNKED:
        return feed_chunked(exchange, input, ret_done);
    case HTTP_BODY_LENGTH:
        if (take > exchange->left) {
            take = (size_t)exchange->left;
        }
        exchange->left -= take;
        *ret_done = exchange->left == 0;
        break;
    case HTTP_BODY_CLOSE:
        break;
    }
    if (take > 0) {
        take_data(exchange, str_make(input.ptr, take));
    }
    return take;
}

static bool body_is_empty(const struct exchange *exchange)
{
    return exchange->framing == HTTP_BODY_NONE ||
           (exchange->framing == HTTP_BODY_LENGTH && exchange->left == 0);
}

/* Understand `input`; returns the bytes used. Stops at the end of the answer. */
static size_t feed(struct exchange *exchange, struct str input)
{
    struct request *request = exchange->request;
    size_t total = 0;
    bool done = false;

    while (total < input.len && !done && !request->attempt_failed) {
        struct str rest = str_slice(input, total, input.len);
        size_t used =
            exchange->answer_begun ? feed_body(exchange, rest, &done) : feed_head(exchange, rest);
        total += used;
        if (exchange->answer_begun && body_is_empty(exchange)) {
            done = true;
        }
        if (used == 0) {
            break;
        }
    }
    if (done && !request->attempt_failed) {
        request_on_answer_end(request);
        if (!request->attempt_failed) {
            finish(exchange, total == input.len);
        }
    }
    return total;
}

/* What was read goes through `in` only while a head is incomplete. Body bytes behind the head's end
 * are then views into it: it is emptied here, and freed by read_more() once they are written. */
static void take_bytes(struct exchange *exchange, struct str bytes)
{
    exchange->got_bytes = true;
    exchange->got_data = false;
    exchange->short_read = bytes.len < WORKER_READ_BYTES;
    if (buf_len(&exchange->in) > 0) {
        size_t used;
        if (!buf_reserve(&exchange->in, bytes.len)) {
            failed(exchange, OUTCOME_LOCAL_LIMIT);
            return;
        }
        buf_append(&exchange->in, bytes.ptr, bytes.len);
        used = feed(exchange, buf_str(&exchange->in));
        buf_consume(&exchange->in, used < buf_len(&exchange->in) ? used : buf_len(&exchange->in));
    } else {
        size_t used = feed(exchange, bytes);
        if (used < bytes.len && exchange->state != EXCHANGE_NONE &&
            !exchange->request->attempt_failed) {
            if (!buf_reserve(&exchange->in, bytes.len - used)) {
                failed(exchange, OUTCOME_LOCAL_LIMIT);
                return;
            }
            buf_append(&exchange->in, bytes.ptr + used, bytes.len - used);
        }
    }
    if (exchange->state == EXCHANGE_BODY && exchange->got_data) {
        deadline_set_in_ms(&exchange->deadline, exchange_timeout_ms(exchange));
    }
}

static void on_eof(struct exchange *exchange)
{
    if (exchange->answer_begun && exchange->framing == HTTP_BODY_CLOSE) {
        request_on_answer_end(exchange->request);
        if (!exchange->request->attempt_failed) {
            finish(exchange, false);
        }
        return;
    }
    failed(exchange, outcome_of_break(exchange));
}

static void read_more(struct exchange *exchange, struct stream *stream)
{
    struct request *request = exchange->request;
    struct worker *worker = request->worker;

    for (unsigned reads = 0; exchange->readable && !exchange->paused; reads++) {
        size_t len = 0;
        enum stream_io io;
        if (reads == EXCHANGE_READS) {
            stream_again(stream);
            return;
        }
        io = stream_read(stream, worker->upstream_bytes, WORKER_READ_BYTES, &len);
        if (io == STREAM_AGAIN) {
            exchange->readable = false;
            return;
        }
        if (io == STREAM_OK) {
            take_bytes(exchange, str_make(worker->upstream_bytes, len));
        } else if (io == STREAM_EOF) {
            on_eof(exchange);
        } else {
            failed(exchange, outcome_of_break(exchange));
        }
        /* The pieces of this read are views into scratch, or into `in`: flush before the next. */
        request_drive(request);
        if (exchange->state == EXCHANGE_NONE) {
            return;
        }
        buf_trim(&exchange->in);
        /* A short read emptied the socket; if more came since, there is an event for it. */
        if (io == STREAM_OK && len < WORKER_READ_BYTES && exchange->state == EXCHANGE_BODY &&
            !stream_is_tls(stream) && !stream_peer_is_closed(stream)) {
            exchange->readable = false;
            return;
        }
    }
}

void exchange_set_lost(struct exchange *exchange, bool lost)
{
    if (exchange->lost == lost) {
        return;
    }
    exchange->lost = lost;
    if (exchange->state == EXCHANGE_BODY && !exchange->paused) {
        deadline_set_in_ms(&exchange->deadline, exchange_timeout_ms(exchange));
    }
}

void exchange_pause(struct exchange *exchange)
{
    exchange->paused = true;
    deadline_cancel(&exchange->deadline); /* the client's own deadline rules now */
}

void exchange_resume(struct exchange *exchange)
{
    if (!exchange->paused) {
        return;
    }
    exchange->paused = false;
    if (exchange->state == EXCHANGE_NONE) {
        return;
    }
    deadline_set_in_ms(&exchange->deadline, exchange_timeout_ms(exchange));
    if (exchange->readable) {
        stream_again(upstream_stream(exchange->conn));
    }
}

/* ---- events ---- */

static enum outcome outcome_of_failure(const struct stream *stream)
{
    switch (stream_failure(stream)) {
    case STREAM_FAILURE_REFUSED:
        return OUTCOME_CONNECT_REFUSED;
    case STREAM_FAILURE_TLS:
        return OUTCOME_TLS_ERROR;
    case STREAM_FAILURE_LOCAL:
        return OUTCOME_LOCAL_LIMIT;
    default:
        return OUTCOME_CONNECT_ERROR;
    }
}

static void on_open(struct exchange *exchange)
{
    struct request *request = exchange->request;

    metric_observe_ns(request->worker->metrics, METRIC_CONNECT_SECONDS, request->attempt_slot,
                      stream_open_ns(upstream_stream(exchange->conn)));
    request->tcp_open_ns = stream_tcp_open_ns(upstream_stream(exchange->conn));
    exchange_move(exchange, EXCHANGE_SEND);
    exchange_send(exchange);
}

static void on_stream(struct stream *stream, unsigned events, void *arg)
{
    struct request *request = OBJ_CAST(arg, request, REQUEST_MAGIC);
    struct exchange *exchange = &request->exchange;

    if ((events & STREAM_EV_FAILED) != 0) {
        failed(exchange, outcome_of_failure(stream));
        request_drive(request);
        return;
    }
    if ((events & STREAM_EV_OPEN) != 0 && exchange->state == EXCHANGE_CONNECT) {
        on_open(exchange);
    } else if ((events & STREAM_EV_WRITE) != 0 && exchange->write_blocked) {
        exchange->write_blocked = false;
        exchange_send(exchange);
    }
    if (request->attempt_failed) {
        request_drive(request); /* memory was refused */
        return;
    }
    if ((events & (STREAM_EV_READ | STREAM_EV_CLOSED)) != 0 && exchange->conn != NULL) {
        exchange->readable = true;
        read_more(exchange, stream);
    }
}

static void on_deadline(struct deadline *deadline, void *arg)
{
    struct request *request = OBJ_CAST(arg, request, REQUEST_MAGIC);
    struct exchange *exchange = &request->exchange;
    enum outcome outcome = OUTCOME_HEAD_TIMEOUT;

    (void)deadline;
    if (exchange->state == EXCHANGE_CONNECT) {
        outcome = OUTCOME_CONNECT_TIMEOUT;
    } else if (exchange->state == EXCHANGE_HEAD &&
               loop_now_ns(request->worker->loop) < exchange->answer_due_ns) {
        if (exchange_has_sign(exchange)) {
            return;
        }
        outcome = OUTCOME_CONNECT_TIMEOUT;
    } else if (exchange->got_body) {
        outcome = OUTCOME_IDLE_TIMEOUT;
    } else if (exchange->state == EXCHANGE_SEND && !request->body.complete &&
               !exchange->write_blocked) {
        /* The client is the slow one; its own deadline speaks. */
        deadline_set_in_ms(&exchange->deadline, exchange_timeout_ms(exchange));
        return;
    }
    failed(exchange, outcome);
    request_drive(request);
}
