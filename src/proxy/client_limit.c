/* SPDX-License-Identifier: MIT */
/*
 * The limits on a client's connection: how slow it may be, how much may be held for it, how far it
 * may run ahead of its answers.
 */
#include "client_private.h"

#include "request_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>
#include <nearside/net/stream.h>

static const struct conf_limits *limits_of(const struct client_conn *conn)
{
    return &conn->world->conf->limits;
}

/* ---- what is held ---- */

static bool is_over(const struct client_conn *conn, uint64_t limit)
{
    return atomic_load_explicit(&conn->worker->deps.shared->buffered_bytes, memory_order_relaxed) >
           limit;
}

void client_book(struct client_conn *conn)
{
    atomic_ullong *total = &conn->worker->deps.shared->buffered_bytes;
    /* `out` shrinks from its front while it is taken: what is free in it is nobody else's. */
    size_t held = buf_len(&conn->in) + conn->out.size;

    if (held == conn->booked) {
        return;
    }
    if (held > conn->booked) {
        atomic_fetch_add_explicit(total, held - conn->booked, memory_order_relaxed);
    } else {
        atomic_fetch_sub_explicit(total, conn->booked - held, memory_order_relaxed);
    }
    metric_add(conn->worker->metrics, METRIC_BUFFERED, 0, 0, 0,
               (int64_t)held - (int64_t)conn->booked);
    conn->booked = held;
}

bool client_is_over(const struct client_conn *conn)
{
    return is_over(conn, limits_of(conn)->buffer_total_bytes);
}

size_t client_out_high(const struct client_conn *conn)
{
    return is_over(conn, limits_of(conn)->buffer_total_bytes / 2) ? 1 : CLIENT_OUT_HIGH;
}

/* ---- how fast a body comes ---- */

static uint64_t body_window_ns(const struct client_conn *conn)
{
    return conn->world->conf->timeouts.request_ms * NS_PER_MS;
}

static void set_body_deadline(struct client_conn *conn)
{
    deadline_set_ns(&conn->read_deadline, pace_due_ns(&conn->pace, body_window_ns(conn),
                                                      limits_of(conn)->body_min_bytes_per_s));
}

void client_pace_begin(struct client_conn *conn)
{
    pace_begin(&conn->pace, loop_now_ns(conn->worker->loop));
    set_body_deadline(conn);
}

void client_pace_add(struct client_conn *conn, size_t bytes)
{
    pace_add(&conn->pace, loop_now_ns(conn->worker->loop), bytes);
    set_body_deadline(conn);
}

bool client_pace_is_good(struct client_conn *conn)
{
    struct metric_block *metrics = conn->worker->metrics;

    switch (pace_judge(&conn->pace, loop_now_ns(conn->worker->loop), body_window_ns(conn),
                       limits_of(conn)->body_min_bytes_per_s)) {
    case PACE_GOOD:
        set_body_deadline(conn);
        return true;
    case PACE_IDLE:
        metric_limit_hit(metrics, LIMIT_BODY_TIME);
        return false;
    case PACE_SLOW:
        metric_limit_hit(metrics, LIMIT_BODY_RATE);
        return false;
    }
    ASSERT_UNREACHABLE("no such verdict");
}

/* ---- how fast an answer is taken ---- */

static uint64_t take_window_ns(const struct client_conn *conn)
{
    return conn->world->conf->timeouts.idle_ms * NS_PER_MS;
}

static uint64_t bytes_taken(const struct client_conn *conn)
{
    uint64_t bytes = 0;

    /* A kernel that does not say leaves what it took itself. */
    return stream_bytes_acked(conn->stream, &bytes) ? bytes : conn->bytes_out;
}

static void set_take_deadline(struct client_conn *conn)
{
    uint64_t quarter_ns = take_window_ns(conn) / PACE_QUARTERS;

    deadline_set_ns(&conn->write_deadline, loop_now_ns(conn->worker->loop) + quarter_ns);
}

void client_take_begin(struct client_conn *conn)
{
    take_pace_begin(&conn->take_pace, bytes_taken(conn));
    set_take_deadline(conn);
}

bool client_take_is_good(struct client_conn *conn)
{
    struct metric_block *metrics = conn->worker->metrics;

    switch (take_pace_judge(&conn->take_pace, bytes_taken(conn), take_window_ns(conn),
                            limits_of(conn)->answer_min_bytes_per_s)) {
    case PACE_GOOD:
        set_take_deadline(conn);
        return true;
    case PACE_IDLE:
        metric_limit_hit(metrics, LIMIT_ANSWER_TIME);
        return false;
    case PACE_SLOW:
        metric_limit_hit(metrics, LIMIT_ANSWER_RATE);
        return false;
    }
    ASSERT_UNREACHABLE("no such verdict");
}

/* ---- how many requests ---- */

bool client_count_request(struct client_conn *conn)
{
    const struct conf_limits *limits = limits_of(conn);

    conn->pipelined++;
    if (conn->pipelined > limits->pipelined_requests) {
        metric_limit_hit(conn->worker->metrics, LIMIT_PIPELINED);
        return false;
    }
    conn->requests++;
    if (conn->requests == limits->requests_per_connection) {
        metric_limit_hit(conn->worker->metrics, LIMIT_CONNECTION_REQUESTS);
        conn->close_after = true;
    }
    return true;
}
