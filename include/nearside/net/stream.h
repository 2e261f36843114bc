/* SPDX-License-Identifier: MIT */
/*
 * A connected byte stream, plain or TLS, behind one table of functions.
 *
 * The owner reads and writes when it likes, without a system call to change interest: the
 * descriptor is watched edge-triggered for everything from the start. The callback only says that
 * something may be possible now; the owner then calls stream_read() or stream_writev() until it has
 * enough or gets STREAM_AGAIN. An owner that stops before STREAM_AGAIN (a bound per turn, a slow
 * peer on the other side) goes on later by itself: no further event is promised for bytes that
 * were already there. stream_again() asks for one more STREAM_EV_READ.
 *
 * STREAM_AGAIN is cheap: a read or write that was short tells this module that the kernel has no
 * more, and the next call answers without asking it.
 *
 * Nothing is buffered here but what TLS itself must hold. A stream is freed at the end of the turn
 * in which stream_close() is called; no callback comes after that call.
 *
 * Thread: the loop that made it.
 */
#ifndef NEARSIDE_NET_STREAM_H
#define NEARSIDE_NET_STREAM_H

#include <nearside/base/addr.h>
#include <nearside/base/attr.h>
#include <nearside/base/str.h>
#include <nearside/loop/loop.h>
#include <nearside/obs/metric.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct stream;
struct tls_ctx;

enum stream_event {
    STREAM_EV_OPEN = 1,    /* connected, and the TLS handshake is over: first event of a good one */
    STREAM_EV_READ = 2,    /* bytes, end of file or an error may be there to read */
    STREAM_EV_WRITE = 4,   /* writing may go on */
    STREAM_EV_CLOSED = 8,  /* the peer sends no more, or the connection broke; bytes may be left */
    STREAM_EV_FAILED = 16, /* connect or handshake failed: stream_failure() says why; close it */
};

/* `events` is a set of the above. Never called from inside a stream_* call. */
typedef void (*stream_fn)(struct stream *stream, unsigned events, void *arg);

enum stream_io {
    STREAM_OK,    /* some bytes went */
    STREAM_AGAIN, /* none now; STREAM_EV_READ or STREAM_EV_WRITE will come */
    STREAM_EOF,   /* read: the peer ended its sending side properly */
    STREAM_ERROR, /* reset, broken TLS, TLS ended without close_notify: stream_failure() */
};

/* Why a stream did not open, or what broke an open one. */
enum stream_failure {
    STREAM_FAILURE_NONE,
    STREAM_FAILURE_REFUSED,
    STREAM_FAILURE_UNREACHABLE,
    STREAM_FAILURE_RESET,
    STREAM_FAILURE_TLS,   /* handshake: protocol, certificate or host name; see failure text */
    STREAM_FAILURE_LOCAL, /* ours: no descriptors, ports or memory */
};

/* Begin to connect. With `tls`, a handshake follows, checking the peer against `server_name` as
 * the context says (no callback before both are done). Never NULL: a failure at once is reported
 * by STREAM_EV_FAILED after this returned. `server_name` is copied, and may be NULL without `tls`.
 * The caller sets its own deadline. */
struct stream *stream_connect(struct loop *loop, const struct addr *addr, struct tls_ctx *tls,
                              const char *server_name, stream_fn fn, void *arg);

/* Take over an accepted, non-blocking descriptor. With `tls` (a server context) a handshake
 * follows. STREAM_EV_OPEN comes on a later turn either way. */
struct stream *stream_accept(struct loop *loop, int fd, struct tls_ctx *tls, stream_fn fn,
                             void *arg);

/* After stream_connect(): if its descriptor is `end` or higher, the connection fails as for want
 * of descriptors (STREAM_EV_FAILED on a later turn). */
void stream_refuse_from(struct stream *stream, unsigned end);

/* Change who is called (a connection that goes into or out of a pool). */
void stream_set_owner(struct stream *stream, stream_fn fn, void *arg);

enum stream_io stream_read(struct stream *stream, void *buf, size_t size,
                           size_t *ret_len) MUST_CHECK;
/* Write some of the pieces (at least one byte in all); *ret_len bytes went. A partial write is
 * STREAM_OK and STREAM_EV_WRITE follows. Small pieces are put together into one TLS record. What
 * did not go must be offered again, in front and never fewer bytes than before: a part of it may
 * be encrypted already. After a failed write, what the peer sent can still be read. */
enum stream_io stream_writev(struct stream *stream, const struct iovec *pieces, int count,
                             size_t *ret_len) MUST_CHECK;

/* While what comes would be new work (watch_set_yielding()). An accepted stream begins as a new
 * one, and does not yield once its handshake has begun; what holds when it is open is its owner's
 * to say. */
void stream_set_yielding(struct stream *stream, enum watch_yield yields);
/* Hear now what is put off: the callback comes before this returns. */
void stream_hurry(struct stream *stream);

/* One more STREAM_EV_READ, at the end of this turn or, asked for there, in the next. */
void stream_again(struct stream *stream);

/* End our sending side after what was written (TLS: close_notify, then FIN). Reading goes on.
 * Before stream_close() on a peer that may still be sending: the kernel answers bytes that nobody
 * read with a reset, which can destroy the last of our answer on its way. Shut down, read until
 * STREAM_EOF or a deadline, then close. */
void stream_shutdown(struct stream *stream);
/* End and free. TLS says close_notify if that fits without waiting. `abort`: with a reset, so that
 * the peer cannot take what came for complete. */
void stream_close(struct stream *stream, bool abort);

bool stream_is_open(const struct stream *stream);
bool stream_is_tls(const struct stream *stream);
/* The peer's FIN or a breakdown has been noticed (bytes may be left to read). A breakdown that
 * nobody reads into is noticed within 150 ms. */
bool stream_peer_is_closed(const struct stream *stream);
/* The connection is gone in both directions (a reset came), whether or not anybody has read into
 * it. Costs one getsockopt(). */
bool stream_is_broken(const struct stream *stream);
/* Nothing arrived, nothing closed: good enough to use again. Costs one recv(). */
bool stream_is_quiet(struct stream *stream);

enum stream_failure stream_failure(const struct stream *stream);
/* For the log: "connection refused", "certificate verify failed: ...". Valid until closed. */
const char *stream_failure_text(const struct stream *stream);

/* From stream_connect() to STREAM_EV_OPEN, and its TCP part alone; 0 when unknown (accepted). */
uint64_t stream_open_ns(const struct stream *stream);
uint64_t stream_tcp_open_ns(const struct stream *stream);
/* Has the peer's kernel acknowledged nothing for at least `ms`, with bytes of ours on their way?
 * Then the path or the peer is gone. Costs one getsockopt(). */
bool stream_is_unheard(const struct stream *stream, uint32_t ms);
/* Bytes of ours that the peer's kernel has acknowledged since the connection began (as TLS sent
 * them). Costs one getsockopt(); false when the kernel does not say. */
bool stream_bytes_acked(const struct stream *stream, uint64_t *ret_bytes) MUST_CHECK;
/* Why the TLS handshake of an accepted stream failed; HANDSHAKE_DONE while it has not. */
enum handshake_end stream_handshake_end(const struct stream *stream);
/* The kernel's estimates (TCP_INFO), microseconds. False when there are none. */
bool stream_rtt_us(const struct stream *stream, uint32_t *ret_rtt_us, uint32_t *ret_min_rtt_us);

/* Of an accepted stream asked from the kernel on the first call; len 0 when it does not know. */
const struct addr *stream_peer_addr(struct stream *stream);
/* Accepted TLS streams: the server name the client asked for, else empty. */
struct str stream_sni(const struct stream *stream);

#endif
