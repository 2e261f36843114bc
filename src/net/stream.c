/* SPDX-License-Identifier: MIT */
/*
 * The life of a stream: connect or take over, handshake, tell the owner what is possible, close.
 *
 * Happy path:
 *   1. Make a socket and connect it, or take an accepted one; watch it, once, for everything.
 *   2. First event: the connect is over. With TLS, shake hands over as many events as it takes.
 *   3. Tell the owner STREAM_EV_OPEN; from then on each event is handed on.
 *   4. The owner closes.
 *
 *   CONNECTING ---> HANDSHAKING ---> OPEN        OPEN also straight from CONNECTING (plain)
 *       |               |             |
 *       +---> FAILED <--+             |          the owner was told STREAM_EV_FAILED
 *       |        |                    |
 *       +--------+------> CLOSED <----+          from any state, by stream_close()
 *
 * Waits:  CONNECTING, HANDSHAKING   the socket's events; the owner has the deadline
 *         OPEN                      the socket's events, or the task of stream_again()
 *         FAILED                    the task that reports a failure at once; then the owner
 */
#include <nearside/net/stream.h>

#include "socket_option.h"
#include "stream_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define TO_BIT(state) (1U << (state))

static const unsigned allowed_from[STREAM_STATE_COUNT] = {
    [STREAM_STATE_CONNECTING] = TO_BIT(STREAM_STATE_HANDSHAKING) | TO_BIT(STREAM_STATE_OPEN) |
                                TO_BIT(STREAM_STATE_FAILED) | TO_BIT(STREAM_STATE_CLOSED),
    [STREAM_STATE_HANDSHAKING] =
        TO_BIT(STREAM_STATE_OPEN) | TO_BIT(STREAM_STATE_FAILED) | TO_BIT(STREAM_STATE_CLOSED),
    [STREAM_STATE_OPEN] = TO_BIT(STREAM_STATE_CLOSED),
    [STREAM_STATE_FAILED] = TO_BIT(STREAM_STATE_CLOSED),
};

/* The only place that changes stream->state. */
static void stream_move(struct stream *stream, enum stream_state next)
{
    ASSERT((allowed_from[stream->state] & TO_BIT(next)) != 0);
    stream->state = next;
}

static void tell_owner(struct stream *stream, unsigned events)
{
    stream->fn(stream, events, stream->arg);
}

/* ---- beginning ---- */

static void shake_hands(struct stream *stream);

static void on_again(struct loop_task *task, void *arg)
{
    struct stream *stream = OBJ_CAST(arg, stream, STREAM_MAGIC);
    unsigned events = stream->again_events;

    (void)task;
    if (stream->handshake_waits) {
        stream->handshake_waits = false;
        stream->handshake_has_begun = true;
        watch_set_yielding(&stream->watch, WATCH_AT_ONCE); /* what has begun comes to its end */
        shake_hands(stream);
        return;
    }
    stream->again_events = 0;
    tell_owner(stream, events);
}

static void tell_owner_later(struct stream *stream, unsigned events)
{
    stream->again_events |= events;
    loop_task_queue(stream->loop, &stream->again);
}

static struct stream *stream_new(struct loop *loop, stream_fn fn, void *arg)
{
    struct stream *stream = mem_zero_aligned(CACHE_LINE, sizeof(*stream));

    ASSERT(loop_is_home(loop));
    stream->magic = STREAM_MAGIC;
    stream->ops = &stream_plain_ops;
    stream->loop = loop;
    stream->fn = fn;
    stream->arg = arg;
    stream->fd = -1;
    loop_task_init(&stream->again, on_again, stream);
    return stream;
}

static void on_event(struct watch *watch, unsigned events, void *arg);

/* Everything of a stream_connect() that can fail at once. False: noted in the stream. */
static bool begin_connect(struct stream *stream)
{
    const struct addr *addr = &stream->peer;

    stream->fd = socket(addr->sa.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (stream->fd < 0) {
        stream_note_errno(stream, errno);
        return false;
    }
    socket_set_options(stream->fd, SOCKET_UNACKED_ENDPOINT_MS);
    if (connect(stream->fd, &addr->sa.any, addr->len) != 0 && errno != EINPROGRESS) {
        stream_note_errno(stream, errno);
        return false;
    }
    watch_start_edge(&stream->watch, stream->loop, stream->fd, on_event, stream);
    return true;
}

static void fail_later(struct stream *stream)
{
    watch_stop(&stream->watch);
    stream_move(stream, STREAM_STATE_FAILED);
    tell_owner_later(stream, STREAM_EV_FAILED);
}

/* `tls` may be NULL. Memory refused: noted, and the stream fails. */
static void begin_tls(struct stream *stream, struct tls_ctx *tls, const char *server_name)
{
    if (tls == NULL) {
        return;
    }
    stream->tls = stream_tls_new(stream, tls, server_name);
    if (stream->tls == NULL) {
        fail_later(stream);
        return;
    }
    stream->ops = &stream_tls_ops;
}

struct stream *stream_connect(struct loop *loop, const struct addr *addr, struct tls_ctx *tls,
                              const char *server_name, stream_fn fn, void *arg)
{
    struct stream *stream = stream_new(loop, fn, arg);

    stream->peer = *addr;
    stream->started_ns = clock_mono_ns();
    if (!begin_connect(stream)) {
        fail_later(stream);
        return stream;
    }
    begin_tls(stream, tls, server_name);
    return stream;
}

void stream_refuse_from(struct stream *stream, unsigned end)
{
    if (stream->state != STREAM_STATE_CONNECTING || (unsigned)stream->fd < end) {
        return;
    }
    stream_note_errno(stream, EMFILE);
    fail_later(stream);
    (void)close(stream->fd); /* now, not with the stream: that is the point */
    stream->fd = -1;
}

struct stream *stream_accept(struct loop *loop, int fd, struct tls_ctx *tls, stream_fn fn,
                             void *arg)
{
    struct stream *stream = stream_new(loop, fn, arg);

    stream->fd = fd;
    stream->is_accepted = true;
    watch_start_edge(&stream->watch, loop, fd, on_event, stream);
    watch_set_yielding(&stream->watch, WATCH_YIELDS_NEW);
    begin_tls(stream, tls, NULL);
    return stream;
}

/* ---- events, in order of time ---- */

static void stream_fail(struct stream *stream)
{
    watch_stop(&stream->watch);
    stream_move(stream, STREAM_STATE_FAILED);
    tell_owner(stream, STREAM_EV_FAILED);
}

static void stream_opened(struct stream *stream)
{
    unsigned events = STREAM_EV_OPEN | STREAM_EV_WRITE;

    if (stream->started_ns != 0) {
        stream->open_ns = clock_mono_ns() - stream->started_ns;
    }
    stream_move(stream, STREAM_STATE_OPEN);
    if (stream->is_readable || stream->tls != NULL) {
        events |= STREAM_EV_READ; /* TLS may hold bytes that came with the end of the handshake */
    }
    if (stream->peer_is_closed) {
        events |= STREAM_EV_CLOSED;
    }
    tell_owner(stream, events);
}

static void shake_hands(struct stream *stream)
{
    switch (stream_tls_handshake(stream)) {
    case STREAM_OK:
        stream_opened(stream);
        return;
    case STREAM_AGAIN:
        return;
    case STREAM_EOF:
    case STREAM_ERROR:
        stream_fail(stream);
        return;
    }
    ASSERT_UNREACHABLE("no such outcome of a handshake");
}

/* A client's handshake costs a signature. Many that come at once take turns with those who are
 * being served, first come, first served. */
static void advance_handshake(struct stream *stream)
{
    if (stream->handshake_waits) {
        return;
    }
    if (!stream->is_accepted || !stream->is_readable) {
        loop_batch_tasks_run(stream->loop);
        shake_hands(stream);
        return;
    }
    stream->handshake_waits = true;
    loop_heavy_queue(stream->loop, &stream->again,
                     stream->handshake_has_begun ? LOOP_HEAVY_GO_ON : LOOP_HEAVY_BEGIN);
}

/* The socket became writable or broke: the connect is over. */
static void finish_connect(struct stream *stream)
{
    int error_number = 0;
    socklen_t len = sizeof(error_number);

    if (!stream->is_writable) {
        return;
    }
    if (!stream->is_accepted) {
        if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error_number, &len) != 0) {
            error_number = errno;
        }
        if (error_number != 0) {
            stream_note_errno(stream, error_number);
            stream_fail(stream);
            return;
        }
        stream->tcp_open_ns = clock_mono_ns() - stream->started_ns;
    }
    if (stream->tls == NULL) {
        stream_opened(stream);
        return;
    }
    stream_move(stream, STREAM_STATE_HANDSHAKING);
    advance_handshake(stream);
}

/* Each edge says that the socket is writable; the owner wants to hear it only when it waits. */
static void hand_on(struct stream *stream, unsigned events)
{
    unsigned told = 0;

    if (events & WATCH_READ) {
        told |= STREAM_EV_READ;
    }
    if (stream->is_write_blocked && (stream->tls != NULL || (events & WATCH_WRITE) != 0)) {
        stream->is_write_blocked = false;
        told |= STREAM_EV_WRITE;
    }
    if (events & WATCH_CLOSED) {
        told |= STREAM_EV_CLOSED;
    }
    if (stream->tls != NULL) {
        stream_tls_resume(stream);
        told |= STREAM_EV_READ; /* a TLS read may have waited for a write, and the reverse */
    }
    if (told != 0) {
        tell_owner(stream, told);
    }
}

static void on_event(struct watch *watch, unsigned events, void *arg)
{
    struct stream *stream = OBJ_CAST(arg, stream, STREAM_MAGIC);

    (void)watch;
    if (events & WATCH_READ) {
        stream->is_readable = true;
    }
    if (events & WATCH_WRITE) {
        stream->is_writable = true;
    }
    if (events & WATCH_CLOSED) {
        stream->peer_is_closed = true;
        stream->is_readable = true;
    }
    switch (stream->state) {
    case STREAM_STATE_CONNECTING:
        finish_connect(stream);
        return;
    case STREAM_STATE_HANDSHAKING:
        advance_handshake(stream);
        return;
    case STREAM_STATE_OPEN:
        hand_on(stream, events);
        return;
    case STREAM_STATE_FAILED:
    case STREAM_STATE_CLOSED:
    case STREAM_STATE_COUNT:
        break;
    }
    ASSERT_UNREACHABLE("event of a stream that is not watched");
}

/* ---- the kernel is short of memory ---- */

#define SHORTAGE_PAUSE_MS 20
/* Less than any deadline, so that none is taken for the peer's fault. */
#define SHORTAGE_MAX_MS 200

static void on_pause_over(struct deadline *deadline, void *arg)
{
    struct stream *stream = OBJ_CAST(arg, stream, STREAM_MAGIC);

    (void)deadline;
    if (watch_is_started(&stream->watch)) {
        on_event(&stream->watch, WATCH_READ | WATCH_WRITE, stream);
    }
}

static struct stream_shortage *shortage_of(struct stream *stream)
{
    if (stream->shortage == NULL) {
        stream->shortage = mem_new(struct stream_shortage);
        deadline_init(&stream->shortage->pause, stream->loop, on_pause_over, stream);
    }
    return stream->shortage;
}

bool stream_wait_for_memory(struct stream *stream, int error_number, bool is_write)
{
    uint64_t now_ns = loop_now_ns(stream->loop);
    struct stream_shortage *shortage;
    uint64_t *since_ns;

    if (error_number != ENOBUFS && error_number != ENOMEM) {
        return false;
    }
    shortage = shortage_of(stream);
    since_ns = is_write ? &shortage->write_since_ns : &shortage->read_since_ns;
    if (*since_ns == 0) {
        *since_ns = now_ns;
    }
    if (now_ns >= *since_ns + SHORTAGE_MAX_MS * NS_PER_MS) {
        return false;
    }
    deadline_set_in_ms(&shortage->pause, SHORTAGE_PAUSE_MS);
    return true;
}

static void end_shortage(struct stream *stream)
{
    if (stream->shortage != NULL) {
        deadline_done(&stream->shortage->pause);
    }
}

/* ---- use ---- */

/* More than this in one read or write takes time, to understand or to copy: what other callbacks of
 * the batch have put by does not wait for it. */
#define LIGHT_BYTES 2048

static void check_open(const struct stream *stream)
{
    ASSERT(stream->magic == STREAM_MAGIC);
    ASSERT(stream->state == STREAM_STATE_OPEN);
}

void stream_set_owner(struct stream *stream, stream_fn fn, void *arg)
{
    ASSERT(stream->magic == STREAM_MAGIC);
    stream->fn = fn;
    stream->arg = arg;
}

enum stream_io stream_read(struct stream *stream, void *buf, size_t size, size_t *ret_len)
{
    enum stream_io outcome;

    check_open(stream);
    if (stream->is_broken) {
        return STREAM_ERROR;
    }
    outcome = stream->ops->read(stream, buf, size, ret_len);
    stream->is_broken |= outcome == STREAM_ERROR;
    if (outcome == STREAM_OK && *ret_len > LIGHT_BYTES) {
        loop_batch_tasks_run(stream->loop);
    }
    return outcome;
}

static bool is_light(const struct iovec *pieces, int count)
{
    size_t len = 0;

    for (int i = 0; i < count && len <= LIGHT_BYTES; i++) {
        len += pieces[i].iov_len;
    }
    return len <= LIGHT_BYTES;
}

enum stream_io stream_writev(struct stream *stream, const struct iovec *pieces, int count,
                             size_t *ret_len)
{
    enum stream_io outcome;

    check_open(stream);
    ASSERT(!stream->is_shut);
    if (stream->is_broken) {
        return STREAM_ERROR;
    }
    if (!is_light(pieces, count)) {
        loop_batch_tasks_run(stream->loop);
    }
    outcome = stream->ops->writev(stream, pieces, count, ret_len);
    if (outcome == STREAM_AGAIN || !stream->is_writable) {
        stream->is_write_blocked = true;
    }
    /* What the peer sent before it broke off can still be read: a failed write ends writing only,
     * and the next one fails again by itself. */
    return outcome;
}

void stream_set_yielding(struct stream *stream, enum watch_yield yields)
{
    watch_set_yielding(&stream->watch, yields);
}

void stream_hurry(struct stream *stream)
{
    watch_hurry(&stream->watch);
}

void stream_again(struct stream *stream)
{
    check_open(stream);
    tell_owner_later(stream, STREAM_EV_READ);
}

void stream_shutdown(struct stream *stream)
{
    check_open(stream);
    if (!stream->is_shut && !stream->is_broken) {
        stream->ops->shutdown(stream);
    }
}

bool stream_is_quiet(struct stream *stream)
{
    check_open(stream);
    return !stream->peer_is_closed && !stream->is_broken && stream->ops->is_quiet(stream);
}

/* ---- end ---- */

static void stream_destroy(void *arg)
{
    struct stream *stream = OBJ_CAST(arg, stream, STREAM_MAGIC);

    ASSERT(stream->state == STREAM_STATE_CLOSED);
    stream_tls_free(stream->tls);
    mem_free(stream->shortage);
    mem_free(stream->failure_text);
    stream->magic = 0;
    mem_free(stream);
}

void stream_close(struct stream *stream, bool abort)
{
    ASSERT(stream->magic == STREAM_MAGIC);
    ASSERT(loop_is_home(stream->loop));
    if (stream->fd >= 0 && abort) {
        socket_set_abort(stream->fd);
    } else if (stream->state == STREAM_STATE_OPEN && stream->tls != NULL) {
        stream_tls_close(stream);
    }
    stream_move(stream, STREAM_STATE_CLOSED);
    loop_task_cancel(&stream->again);
    watch_stop(&stream->watch);
    end_shortage(stream);
    if (stream->fd >= 0) {
        (void)close(stream->fd); /* errors of a socket's close() have nobody left to hear them */
        stream->fd = -1;
    }
    loop_defer_call(stream->loop, stream_destroy, stream);
}

/* ---- failures ---- */

static enum stream_failure classify(int error_number)
{
    switch (error_number) {
    case ECONNREFUSED:
        return STREAM_FAILURE_REFUSED;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return STREAM_FAILURE_RESET;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case ETIMEDOUT:
    case ENOPROTOOPT: /* these two: an ICMP "protocol unreachable" or "prohibited" */
    case EACCES:
        return STREAM_FAILURE_UNREACHABLE;
    default: /* EMFILE, ENOBUFS, EADDRNOTAVAIL ...: what we do not know is not the peer's fault */
        return STREAM_FAILURE_LOCAL;
    }
}

void stream_note_failure(struct stream *stream, enum stream_failure failure, const char *text)
{
    if (stream->failure == STREAM_FAILURE_NONE) {
        stream->failure = failure;
        stream->failure_text = mem_strdup(text);
    }
}

void stream_note_errno(struct stream *stream, int error_number)
{
    char text[ERRNO_TEXT_LEN];

    stream_note_failure(stream, classify(error_number), errno_text(error_number, text));
}

enum stream_failure stream_failure(const struct stream *stream)
{
    return stream->failure;
}

const char *stream_failure_text(const struct stream *stream)
{
    return stream->failure_text == NULL ? "" : stream->failure_text;
}

/* ---- questions ---- */

bool stream_is_open(const struct stream *stream)
{
    return stream->state == STREAM_STATE_OPEN;
}

bool stream_is_tls(const struct stream *stream)
{
    return stream->tls != NULL;
}

bool stream_is_broken(const struct stream *stream)
{
    return stream->is_broken || (stream->fd >= 0 && socket_is_closed(stream->fd));
}

bool stream_peer_is_closed(const struct stream *stream)
{
    return stream->peer_is_closed;
}

uint64_t stream_open_ns(const struct stream *stream)
{
    return stream->open_ns;
}

uint64_t stream_tcp_open_ns(const struct stream *stream)
{
    return stream->tcp_open_ns;
}

bool stream_bytes_acked(const struct stream *stream, uint64_t *ret_bytes)
{
    return stream->fd >= 0 && socket_bytes_acked(stream->fd, ret_bytes);
}

enum handshake_end stream_handshake_end(const struct stream *stream)
{
    return stream->handshake_end;
}

bool stream_is_unheard(const struct stream *stream, uint32_t ms)
{
    return stream->fd >= 0 && socket_is_unheard(stream->fd, ms);
}

bool stream_rtt_us(const struct stream *stream, uint32_t *ret_rtt_us, uint32_t *ret_min_rtt_us)
{
    return stream->fd >= 0 && socket_rtt_us(stream->fd, ret_rtt_us, ret_min_rtt_us);
}

const struct addr *stream_peer_addr(struct stream *stream)
{
    socklen_t len = sizeof(stream->peer.sa);

    if (stream->peer.len == 0 && stream->fd >= 0 &&
        getpeername(stream->fd, &stream->peer.sa.any, &len) == 0) {
        stream->peer.len = len;
    }
    return &stream->peer;
}

struct str stream_sni(const struct stream *stream)
{
    return stream->tls == NULL ? STR_EMPTY : stream_tls_sni(stream);
}
