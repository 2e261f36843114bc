/* SPDX-License-Identifier: MIT */
/* See conn.h. */
#include "conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES 65536

/* ---- set-up ---- */

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct conn *conn = SSL_get_app_data(ssl);

    SSL_SESSION_free(conn->session);
    conn->session = session;
    return 1; /* kept */
}

bool conn_env_init(struct conn_env *env, const struct options *options)
{
    *env = (struct conn_env){.options = options, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    if (!options->has_tls) {
        return env->epoll >= 0;
    }
    env->tls = SSL_CTX_new(TLS_client_method());
    if (env->tls == NULL || !SSL_CTX_set_min_proto_version(env->tls, TLS1_3_VERSION)) {
        return false;
    }
    SSL_CTX_set_mode(env->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                   SSL_MODE_RELEASE_BUFFERS);
    if (options->resumes) {
        SSL_CTX_set_session_cache_mode(env->tls,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(env->tls, on_session);
    }
    return true;
}

void conn_env_done(struct conn_env *env)
{
    SSL_CTX_free(env->tls);
    (void)close(env->epoll);
}

static void start_tls(struct conn_env *env, struct conn *conn)
{
    conn->ssl = SSL_new(env->tls);
    SSL_set_fd(conn->ssl, conn->fd);
    SSL_set_app_data(conn->ssl, conn);
    (void)SSL_set_tlsext_host_name(conn->ssl, "localhost");
    if (conn->session != NULL) {
        SSL_set_session(conn->ssl, conn->session);
    }
    SSL_set_connect_state(conn->ssl);
}

bool conn_connect(struct conn_env *env, struct conn *conn)
{
    const struct sockaddr_in *peer = &env->options->peer;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data = {.ptr = conn}};
    int on = 1;

    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0) {
        return false;
    }
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    conn->state = CONN_CONNECT;
    conn->is_ending = false;
    if ((connect(conn->fd, (const struct sockaddr *)peer, sizeof(*peer)) != 0 &&
         errno != EINPROGRESS) ||
        epoll_ctl(env->epoll, EPOLL_CTL_ADD, conn->fd, &event) != 0) {
        conn_close(conn);
        return false;
    }
    if (env->tls != NULL) {
        start_tls(env, conn);
    }
    return true;
}

void conn_close(struct conn *conn)
{
    if (conn->ssl != NULL) {
        SSL_set_quiet_shutdown(conn->ssl, 1); /* keeps the session fit for resuming */
        (void)SSL_shutdown(conn->ssl);
        SSL_free(conn->ssl);
        conn->ssl = NULL;
    }
    if (conn->fd >= 0) {
        (void)close(conn->fd);
        conn->fd = -1;
    }
    conn->state = CONN_CLOSED;
}

static enum conn_news broken(struct conn *conn)
{
    conn_close(conn);
    return CONN_BROKEN;
}

/* ---- bytes ---- */

/* What SSL_* or a system call left undone: 0 to wait, -1 for a failure or the end. */
static ssize_t wait_or_fail(const struct conn *conn, int result)
{
    if (conn->ssl == NULL) {
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    }
    int why = SSL_get_error(conn->ssl, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

/* Parts of the request that are still to be written: before the mark, the mark, behind it. */
static int unwritten(const struct options *options, struct conn *conn, struct iovec parts[3])
{
    size_t behind = options->mark_at + OPTIONS_MARK_LEN;
    bool has_mark = options->mark_at < options->request_len;
    struct iovec all[3] = {
        {options->request, options->mark_at},
        {conn->mark, has_mark ? OPTIONS_MARK_LEN : 0},
        {options->request + (has_mark ? behind : 0), has_mark ? options->request_len - behind : 0},
    };
    size_t skip = conn->written;
    int count = 0;

    for (int i = 0; i < 3; i++) {
        size_t skipped = skip < all[i].iov_len ? skip : all[i].iov_len;
        skip -= skipped;
        if (all[i].iov_len > skipped) {
            parts[count].iov_base = (char *)all[i].iov_base + skipped;
            parts[count++].iov_len = all[i].iov_len - skipped;
        }
    }
    return count;
}

static ssize_t write_some(struct conn *conn, const struct iovec *parts, int count)
{
    ssize_t wrote;

    if (conn->ssl != NULL) {
        wrote = SSL_write(conn->ssl, parts[0].iov_base, (int)parts[0].iov_len);
    } else {
        wrote = writev(conn->fd, parts, count);
    }
    return wrote > 0 ? wrote : wait_or_fail(conn, (int)wrote);
}

static enum conn_news write_request(struct conn_env *env, struct conn *conn)
{
    const struct options *options = env->options;
    struct iovec parts[3];

    while (conn->written < options->request_len) {
        int count = unwritten(options, conn, parts);
        ssize_t wrote = write_some(conn, parts, count);
        if (wrote < 0) {
            return broken(conn);
        }
        if (wrote == 0) {
            return CONN_NOTHING;
        }
        conn->written += (size_t)wrote;
        env->bytes_out += (uint64_t)wrote;
    }
    conn->state = CONN_READ;
    return CONN_NOTHING;
}

enum conn_news conn_send(struct conn_env *env, struct conn *conn)
{
    conn->written = 0;
    conn->state = CONN_WRITE;
    reader_start(&conn->reader);
    conn->event_ns = 0;
    (void)snprintf(conn->mark, sizeof(conn->mark), "%0*llu", OPTIONS_MARK_LEN,
                   (unsigned long long)(env->marks++ % 1000000000000ULL));
    return write_request(env, conn);
}

/* Bytes read; 0: nothing now; -1: failed; -2: the peer closed. */
static ssize_t read_some(struct conn *conn, char *into)
{
    ssize_t len;

    if (conn->ssl != NULL) {
        len = SSL_read(conn->ssl, into, READ_BYTES);
        if (len <= 0 && SSL_get_error(conn->ssl, (int)len) == SSL_ERROR_ZERO_RETURN) {
            return -2;
        }
    } else {
        len = recv(conn->fd, into, READ_BYTES, 0);
        if (len == 0) {
            return -2;
        }
    }
    return len > 0 ? len : wait_or_fail(conn, (int)len);
}

/* ---- events ---- */

static enum conn_news finish_answer(const struct conn_env *env, struct conn *conn, bool at_end)
{
    if (at_end) {
        conn_close(conn);
    } else if (env->options->is_new_each && conn->reader.is_closing) {
        conn->state = CONN_DRAIN;
    } else if (env->options->is_new_each || conn->reader.is_closing) {
        conn_close(conn);
    } else {
        conn->state = CONN_IDLE;
    }
    return CONN_ANSWER;
}

/* Events have come, several at once when something held them up: the gap is judged as one. */
static void time_events(struct conn_env *env, struct conn *conn, uint64_t count)
{
    struct timespec now;
    uint64_t ns;

    if (count == 0 || env->options->gap_ns == 0) {
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    ns = (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
    if (conn->event_ns == 0) {
        histogram_add(&env->first_events, ns - conn->start_ns);
    } else {
        uint64_t due_ns = conn->event_ns + env->options->gap_ns;
        histogram_add(&env->lateness, ns > due_ns ? ns - due_ns : 0);
    }
    conn->event_ns = ns;
}

static enum conn_news read_answer(struct conn_env *env, struct conn *conn)
{
    static char bytes[READ_BYTES];

    for (;;) {
        ssize_t len = read_some(conn, bytes);
        if (len == 0) {
            return CONN_NOTHING;
        }
        if (len < 0) {
            bool is_end = len == -2 && reader_take_end(&conn->reader);
            return is_end ? finish_answer(env, conn, true) : broken(conn);
        }
        env->bytes_in += (uint64_t)len;
        uint64_t events = conn->reader.events;
        (void)reader_take(&conn->reader, bytes, (size_t)len);
        env->events += conn->reader.events - events;
        time_events(env, conn, conn->reader.events - events);
        if (conn->reader.state == READER_BAD) {
            return broken(conn);
        }
        if (conn->reader.state == READER_DONE) {
            return finish_answer(env, conn, false);
        }
        if (conn->ssl == NULL && len < READ_BYTES && !conn->is_ending) {
            return CONN_NOTHING; /* drained: the next edge will come */
        }
    }
}

static enum conn_news finish_handshake(struct conn *conn)
{
    int result = SSL_do_handshake(conn->ssl);

    if (result != 1) {
        return wait_or_fail(conn, result) == 0 ? CONN_NOTHING : broken(conn);
    }
    conn->was_resumed = SSL_session_reused(conn->ssl) != 0;
    conn->state = CONN_IDLE;
    return CONN_READY;
}

static enum conn_news finish_connect(struct conn *conn)
{
    int failure = 0;
    socklen_t len = sizeof(failure);

    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &failure, &len) != 0 || failure != 0) {
        return broken(conn);
    }
    if (conn->ssl != NULL) {
        conn->state = CONN_HANDSHAKE;
        return finish_handshake(conn);
    }
    conn->state = CONN_IDLE;
    return CONN_READY;
}

/* Nothing is expected on a quiet connection but its end. */
static enum conn_news listen_for_end(struct conn *conn)
{
    char bytes[READ_BYTES];
    ssize_t len = read_some(conn, bytes);
    bool was_draining = conn->state == CONN_DRAIN;

    if (len >= 0) {
        return CONN_NOTHING;
    }
    conn_close(conn);
    return was_draining ? CONN_ENDED : CONN_BROKEN;
}

enum conn_news conn_handle(struct conn_env *env, struct conn *conn)
{
    enum conn_news news = CONN_NOTHING;

    switch (conn->state) {
    case CONN_CONNECT:
        return finish_connect(conn);
    case CONN_HANDSHAKE:
        return finish_handshake(conn);
    case CONN_WRITE:
        news = write_request(env, conn);
        return news == CONN_NOTHING ? read_answer(env, conn) : news;
    case CONN_READ:
        return read_answer(env, conn);
    case CONN_IDLE:
    case CONN_DRAIN:
        return listen_for_end(conn);
    case CONN_CLOSED:
        break;
    }
    return news;
}
