/* SPDX-License-Identifier: MIT */
/* See conn.h. */
#include "conn.h"

#include "tls.h"

#include <nearside/base/clock.h>
#include <nearside/base/mem.h>

#include <event2/event.h>

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES      ((size_t)16384)
#define READS_PER_TURN  32
#define PIPELINED_MAX   ((size_t)262144) /* read ahead while a reply is in the works */
#define LINGER_LIMIT_NS (2 * NS_PER_S)

static void set_reading(struct conn *conn, bool on)
{
    if (conn->reads == on) {
        return;
    }
    conn->reads = on;
    if (on) {
        (void)event_add(&conn->read_event, NULL);
    } else {
        (void)event_del(&conn->read_event);
    }
}

void conn_close(struct conn *conn, bool with_reset)
{
    if (conn->state == CONN_CLOSED) {
        return;
    }
    conn->state = CONN_CLOSED;
    set_reading(conn, false);
    (void)event_del(&conn->write_event);
    timer_clear(&conn->pod->timers, &conn->timer);
    if (with_reset) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    } else {
        pod_tls_close(conn->tls);
        conn->tls = NULL;
    }
    (void)close(conn->fd);
    conn->pod->counters.open -= conn->is_control ? 0 : 1;
    list_remove(&conn->link);
    list_push_back(&conn->pod->dead, &conn->link);
}

void conn_bury_dead(struct pod *pod)
{
    struct list *item;
    struct list *after;

    LIST_FOREACH_SAFE (item, after, &pod->dead) {
        struct conn *conn = LIST_ITEM(item, struct conn, link);
        list_remove(item);
        pod_tls_close(conn->tls);
        buf_done(&conn->in);
        buf_done(&conn->out);
        request_done(&conn->request);
        reply_done(&conn->reply);
        mem_free(conn);
    }
}

bool conn_is_idle(const struct conn *conn)
{
    return conn->state == CONN_HEAD && conn->reply.step == REPLY_NONE;
}

/* The client is gone, or the connection is broken. */
static void lose(struct conn *conn)
{
    if (conn->state != CONN_CLOSED) {
        reply_abandon(conn, true);
        conn_close(conn, false);
    }
}

static void start_linger(struct conn *conn)
{
    conn->state = CONN_LINGER;
    (void)shutdown(conn->fd, SHUT_WR);
    set_reading(conn, true);
    timer_set(&conn->pod->timers, &conn->timer, clock_mono_ns() + LINGER_LIMIT_NS);
}

/* All output is with the kernel: let the reply make more, or end it. True: there is more. */
static bool settle(struct conn *conn)
{
    if (conn->state != CONN_REPLY) {
        return false;
    }
    reply_advance(conn);
    if (conn->state == CONN_CLOSED || buf_len(&conn->out) > 0) {
        return conn->state != CONN_CLOSED;
    }
    if (conn->reply.step != REPLY_NONE) {
        return false; /* it waits for its time */
    }
    if (!conn->close_at_end) {
        conn->state = CONN_HEAD;
    } else if (conn->request.step != BODY_END) {
        start_linger(conn);
    } else {
        conn_close(conn, false);
    }
    return false;
}

static ssize_t send_some(struct conn *conn, struct str bytes)
{
    if (conn->tls != NULL) {
        return pod_tls_write(conn->tls, bytes.ptr, bytes.len);
    }
    ssize_t sent = send(conn->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
    if (sent >= 0) {
        return sent;
    }
    return errno == EAGAIN || errno == EINTR ? TLS_AGAIN : TLS_ERROR;
}

void conn_flush(struct conn *conn)
{
    while (conn->state != CONN_CLOSED) {
        if (buf_len(&conn->out) == 0) {
            if (!settle(conn)) {
                return;
            }
            continue;
        }
        ssize_t sent = send_some(conn, buf_str(&conn->out));
        if (sent == TLS_AGAIN) {
            (void)event_add(&conn->write_event, NULL);
            return;
        }
        if (sent <= 0) {
            lose(conn);
            return;
        }
        buf_consume(&conn->out, (size_t)sent);
    }
}

static void refuse(struct conn *conn, const char *reason)
{
    conn->pod->counters.bad_requests++;
    conn->pod->last_bad_request = reason;
    conn->request.step = BODY_LENGTH; /* whatever follows is read and dropped */
    reply_refuse(conn, 400, reason);
}

/* True when the connection moved on. */
static bool drive_head(struct conn *conn)
{
    struct str in = buf_str(&conn->in);
    size_t len = request_head_len(in);

    if (len == 0) {
        if (in.len > REQUEST_HEAD_MAX) {
            refuse(conn, "head too large");
        }
        return false;
    }
    timer_clear(&conn->pod->timers, &conn->timer);
    request_clear(&conn->request);
    const char *reason = request_parse_head(&conn->request, str_slice(in, 0, len));
    buf_consume(&conn->in, len);
    if (reason != NULL) {
        refuse(conn, reason);
        return false;
    }
    conn->requests++;
    conn->state = CONN_BODY;
    reply_begin(conn);
    return true;
}

static bool drive_body(struct conn *conn)
{
    const char *reason = NULL;
    struct request *request = &conn->request;

    if (request->expects_continue && buf_len(&conn->in) == 0 && request->step != BODY_END) {
        request->expects_continue = false;
        buf_append_str(&conn->out, STR_LIT("HTTP/1.1 100 Continue\r\n\r\n"));
        conn_flush(conn);
        return false;
    }
    if (!request_take_body(request, &conn->in, &reason)) {
        if (reason != NULL) {
            reply_abandon(conn, false);
            refuse(conn, reason);
        }
        return false;
    }
    conn->state = CONN_REPLY;
    reply_start(conn);
    return true;
}

/* Between requests: wait for the next one, but not for ever. */
static void rest(struct conn *conn)
{
    uint64_t limit_s = conn->pod->options->keepalive_timeout_s;

    buf_trim(&conn->in);
    buf_trim(&conn->out);
    if (limit_s > 0 && conn->state == CONN_HEAD && buf_len(&conn->in) == 0) {
        timer_set(&conn->pod->timers, &conn->timer, clock_mono_ns() + limit_s * NS_PER_S);
    }
}

static void drive(struct conn *conn)
{
    bool moved = true;

    while (moved) {
        switch (conn->state) {
        case CONN_HEAD:
            moved = drive_head(conn);
            break;
        case CONN_BODY:
            moved = drive_body(conn);
            break;
        case CONN_LINGER:
            buf_clear(&conn->in);
            return;
        case CONN_REPLY:
            buf_trim(&conn->in);
            return;
        case CONN_CLOSED:
            return;
        }
    }
    rest(conn);
}

static ssize_t receive_some(struct conn *conn)
{
    if (!buf_reserve(&conn->in, READ_BYTES)) {
        return TLS_ERROR;
    }
    if (conn->tls != NULL) {
        return pod_tls_read(conn->tls, buf_tail(&conn->in), buf_room(&conn->in));
    }
    ssize_t got = recv(conn->fd, buf_tail(&conn->in), buf_room(&conn->in), 0);
    if (got >= 0) {
        return got;
    }
    return errno == EAGAIN || errno == EINTR ? TLS_AGAIN : TLS_ERROR;
}

static void read_some(struct conn *conn)
{
    for (int i = 0; i < READS_PER_TURN && conn->state != CONN_CLOSED; i++) {
        if (conn->state == CONN_REPLY && buf_len(&conn->in) > PIPELINED_MAX) {
            set_reading(conn, false); /* the client's close is then seen on writing */
            return;
        }
        ssize_t got = receive_some(conn);
        if (got == TLS_AGAIN) {
            return;
        }
        if (got <= 0) {
            lose(conn);
            return;
        }
        buf_produced(&conn->in, (size_t)got);
        drive(conn);
        if (conn->tls == NULL && (size_t)got < READ_BYTES) {
            return; /* the kernel had no more */
        }
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct conn *conn = arg;
    struct pod *pod = conn->pod;

    read_some(conn);
    conn_bury_dead(pod);
}

/* Go on with what came while the reply was in the works. */
static void resume(struct conn *conn)
{
    if (conn->state == CONN_HEAD) {
        drive(conn);
    }
    if (conn->state != CONN_CLOSED) {
        set_reading(conn, true);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct conn *conn = arg;
    struct pod *pod = conn->pod;

    conn_flush(conn);
    resume(conn);
    conn_bury_dead(pod);
}

static void on_timer(void *arg)
{
    struct conn *conn = arg;
    struct pod *pod = conn->pod;

    if (conn->state == CONN_REPLY) {
        reply_advance(conn);
        conn_flush(conn);
        resume(conn);
    } else {
        conn_close(conn, false);
    }
    conn_bury_dead(pod);
}

void conn_open(struct pod *pod, int fd, bool is_control)
{
    struct conn *conn = mem_new(struct conn);

    conn->pod = pod;
    conn->fd = fd;
    conn->is_control = is_control;
    conn->number = ++pod->next_conn;
    list_push_back(&pod->conns, &conn->link);
    pod->counters.accepted += is_control ? 0 : 1;
    pod->counters.open += is_control ? 0 : 1;
    if (pod->tls != NULL && !is_control) {
        conn->tls = pod_tls_accept(pod->tls, fd);
    }
    buf_init(&conn->in);
    buf_init(&conn->out);
    request_init(&conn->request);
    reply_init(&conn->reply);
    timer_init(&conn->timer, on_timer, conn);
    (void)event_assign(&conn->read_event, pod->base, fd, EV_READ | EV_PERSIST, on_readable, conn);
    (void)event_assign(&conn->write_event, pod->base, fd, EV_WRITE, on_writable, conn);
    set_reading(conn, is_control || pod->settings.fault.kind != FAULT_MUTE);
}
