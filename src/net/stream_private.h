/* SPDX-License-Identifier: MIT */
/* What stream.c, stream_plain.c and stream_tls.c share. */
#ifndef NEARSIDE_NET_STREAM_PRIVATE_H
#define NEARSIDE_NET_STREAM_PRIVATE_H

#include <nearside/loop/loop.h>
#include <nearside/net/stream.h>
#include <nearside/obs/metric.h>

struct stream_tls;

#define STREAM_MAGIC 0x7374726dU

enum stream_state {
    STREAM_STATE_CONNECTING,  /* or accepted, waiting for the first event */
    STREAM_STATE_HANDSHAKING, /* TLS */
    STREAM_STATE_OPEN,
    STREAM_STATE_FAILED, /* before it was open */
    STREAM_STATE_CLOSED, /* by its owner; memory goes at the end of the turn */
    STREAM_STATE_COUNT
};

/* How an open stream does its work: plain or TLS. */
struct stream_ops {
    enum stream_io (*read)(struct stream *stream, void *buf, size_t size, size_t *ret_len);
    enum stream_io (*writev)(struct stream *stream, const struct iovec *pieces, int count,
                             size_t *ret_len);
    void (*shutdown)(struct stream *stream);
    bool (*is_quiet)(struct stream *stream);
};

/* The kernel had no memory for a read, or a write: since when, without one that did better between
 * (0: it has some). */
struct stream_shortage {
    struct deadline pause; /* then the same again */
    uint64_t read_since_ns;
    uint64_t write_since_ns;
};

/* Begins with a cache line: what an event touches is the first of them, and `watch`. */
struct stream {
    uint32_t magic;
    enum stream_state state;
    const struct stream_ops *ops;
    struct stream_tls *tls; /* owned; NULL: plain */
    stream_fn fn;
    void *arg;
    int fd; /* owned; -1: none */

    /* What the kernel is known to have. They save the read that only says EAGAIN: a short read or
     * write means that the kernel has no more, until the next edge. */
    bool is_readable;
    bool is_writable;

    bool is_accepted;
    bool is_write_blocked; /* the owner was told STREAM_AGAIN and waits for STREAM_EV_WRITE */
    bool is_shut;          /* our sending side was ended */
    bool is_broken;        /* failed after it was open: every read and write says so again */
    bool is_reset;         /* a write took the socket's error; a read must not take it for EOF */
    bool peer_is_closed;

    struct stream_shortage *shortage; /* owned; NULL: the kernel never was short of memory */

    struct watch watch;
    struct loop *loop;      /* borrowed: outlives this */
    struct loop_task again; /* delivers again_events */
    unsigned again_events;

    bool handshake_waits;             /* `again` is queued to go on with it */
    bool handshake_has_begun;         /* the client's first bytes were seen to */
    enum handshake_end handshake_end; /* of a failed one; else DONE */
    enum stream_failure failure;
    char *failure_text; /* owned; NULL: none */
    uint64_t started_ns;
    uint64_t tcp_open_ns;
    uint64_t open_ns;
    struct addr peer; /* len 0: not asked for yet */
};

extern const struct stream_ops stream_plain_ops;
extern const struct stream_ops stream_tls_ops;

/* Record why, once: the first reason is the cause. */
void stream_note_failure(struct stream *stream, enum stream_failure failure, const char *text);
void stream_note_errno(struct stream *stream, int error_number);

/* ENOBUFS or ENOMEM from the kernel: no edge will tell when there is memory again, so the same is
 * tried again in a moment. False: it has gone on for too long, and is an error: ours. */
bool stream_wait_for_memory(struct stream *stream, int error_number, bool is_write) MUST_CHECK;

/* stream_plain.c: the socket under both kinds. They keep is_readable, is_writable and
 * peer_is_closed; errors are noted. */
enum stream_io socket_read(struct stream *stream, void *buf, size_t size, size_t *ret_len);
enum stream_io socket_writev(struct stream *stream, const struct iovec *pieces, int count,
                             size_t *ret_len);

/* stream_tls.c */
struct stream_tls *stream_tls_new(struct stream *stream, struct tls_ctx *ctx,
                                  const char *server_name);
void stream_tls_free(struct stream_tls *tls);
/* STREAM_OK: done. STREAM_AGAIN: wait for an event. STREAM_ERROR: noted in the stream. */
enum stream_io stream_tls_handshake(struct stream *stream);
/* After an event: finish a shutdown that had to wait. */
void stream_tls_resume(struct stream *stream);
/* False: the peer has sent too many messages of TLS itself; noted as the stream's failure. */
bool stream_tls_may_read(struct stream *stream);
/* Say goodbye, if that can be done without waiting. */
void stream_tls_close(struct stream *stream);
struct str stream_tls_sni(const struct stream *stream);

#endif
