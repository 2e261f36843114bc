/* SPDX-License-Identifier: MIT */
/*
 * A client's HTTP/1 connection: reads requests one at a time, writes their answers.
 *
 * A request writes its answer through client_reply_*(): head, data, end, then flush. Pieces given
 * to client_reply_data() are not copied; client_reply_flush() must follow before the callback
 * ends, and it alone writes, at once or after the other events of the batch (outbox_private.h).
 * What the kernel does not take is kept here, up to CLIENT_OUT_HIGH before the source is told to
 * pause.
 *
 * Thread: the worker's.
 */
#ifndef NEARSIDE_PROXY_CLIENT_PRIVATE_H
#define NEARSIDE_PROXY_CLIENT_PRIVATE_H

#include "pace_private.h"

#include <nearside/base/addr.h>
#include <nearside/base/buf.h>
#include <nearside/http/h1.h>
#include <nearside/http/head.h>
#include <nearside/loop/loop.h>

#define CLIENT_MAGIC      0x636c6e74u
#define CLIENT_OUT_HIGH   262144 /* unsent bytes at which the source pauses */
#define CLIENT_OUT_LOW    65536  /* ... and goes on */
#define CLIENT_READS      4      /* reads of a connection, then others have their turn */
#define CLIENT_READ_BYTES 262144 /* likewise */
/* For a next request, when another process has taken over: those who keep connections busy ask
 * again within this, and go to the other process after that answer. */
#define CLIENT_HAND_OVER_MS 5000
#define CLIENT_DRAIN_MS     1000 /* for a first request, when the edge is about to stop */
#define CLIENT_LINGER_MS    2000 /* for a client to take a last answer and close */
#define CLIENT_LINGER_BYTES 1048576

struct request;
struct stream;
struct worker;
struct world;

enum client_state {
    CLIENT_OPENING, /* TLS handshake */
    CLIENT_IDLE,    /* between requests */
    CLIENT_HEAD,    /* part of a head has come */
    CLIENT_REQUEST, /* a request is under way */
    CLIENT_FLUSH,   /* the last answer is not all written; then close */
    CLIENT_LINGER,  /* all written, our side ended; the client's bytes are dropped */
    CLIENT_CLOSED,
    CLIENT_STATE_COUNT
};

struct client_conn {
    /* What every piece of an answer touches, together (see struct request). */
    uint32_t magic;
    enum client_state state;
    struct worker *worker; /* borrowed: outlives this */
    struct stream *stream; /* owned */
    uint64_t bytes_out;    /* taken by the kernel, since the connection began */
    bool write_blocked;    /* the kernel took no more */
    bool write_failed;     /* the connection broke while writing */
    bool paused_source;    /* the request was told that there is no room */
    bool reply_begun;      /* these five: of the answer under way */
    bool reply_chunked;    /* each write is a chunk, and the last chunk is still to come */
    bool reply_counted;    /* Content-Length was said */
    bool reply_ended;
    bool reply_none; /* no body may follow: HEAD, 204, 304 */
    struct buf out;  /* not yet taken by the kernel */

    bool tls;
    bool readable;    /* more may be there to read */
    bool eof;         /* the client sends no more */
    bool close_after; /* the present answer is the last */
    bool close_asked; /* ... because the client said so: it will send no more */
    bool abort_after; /* ... and must not look complete: reset once it is written */
    bool body_paused; /* the request had no room for more of the body */
    bool asked;       /* a peer that ended its side was asked whether it is still there */

    struct request *request;     /* owned while it runs */
    struct world *world;         /* ref held: of the listener; requests take the newest */
    struct buf in;               /* not yet understood: part of a head, or pipelined requests */
    size_t booked;               /* of `in` and `out`, in shared->buffered_bytes */
    struct h1_wait head_wait;    /* of the present head */
    uint64_t body_left;          /* HTTP_BODY_LENGTH */
    enum http_body body_framing; /* of the present request, until its end: NONE when complete */
    unsigned version_minor;      /* of the present request */
    uint32_t requests;
    uint32_t pipelined; /* requests begun since the last read */
    struct deadline read_deadline;
    struct deadline write_deadline;
    struct list link; /* in worker->connections */
    struct loop_task drive_task;
    struct h1_chunked chunked;
    struct pace pace;           /* of the body that comes */
    struct take_pace take_pace; /* of the answer that waits in `out` */
    uint64_t linger_bytes;
    struct addr peer;
};

/* Take over an accepted descriptor. */
void client_new(struct worker *worker, struct world *world, uint32_t listener_index, int fd,
                const struct addr *peer);
/* End at once: the request under way is cancelled. */
void client_close(struct client_conn *conn, bool abort);
/* The worker stops: what is under way ends as a broken answer does. */
void client_stop(struct client_conn *conn);
/* Close if no request is under way; else end after its answer. */
void client_drain(struct client_conn *conn);

/* ---- what a request asks ---- */

/* Read on (its body had been paused). */
void client_read_on(struct client_conn *conn);
/* "HTTP/1.1 100 Continue"; nothing for HTTP/1.0. */
void client_reply_continue(struct client_conn *conn);

/* Room in the worker's scratch for a head whose fields, as a peer wrote them, take `fields_len`
 * bytes. False: memory is refused. Whoever writes a peer's fields asks first; an answer of our own
 * need not.
 */
bool client_reply_reserve(struct worker *worker, size_t fields_len) MUST_CHECK;

/* An answer's head: status, fields, end. A 1xx status makes an interim answer (HTTP/1.1 only; for
 * others nothing is sent). Framing and Connection fields are written here, not by the caller.
 * `body`: NONE, LENGTH (`length` bytes will follow), CHUNKED or CLOSE (unknown length).
 * `no_body`: HEAD and the like: the length is said, no body follows. */
void client_reply_head(struct client_conn *conn, unsigned status);
void client_reply_field(struct client_conn *conn, struct str name, struct str value);
void client_reply_head_end(struct client_conn *conn, unsigned status, enum http_body body,
                           uint64_t length, bool no_body);
/* `bytes` stays valid until the flush. */
void client_reply_data(struct client_conn *conn, struct str bytes);
/* The answer is complete. */
void client_reply_end(struct client_conn *conn);

enum client_room {
    CLIENT_ROOM,
    CLIENT_NO_ROOM, /* pause: request_on_room() will be called */
    CLIENT_GONE,    /* writing failed: request_on_client_gone() will be called, on a later turn */
};
enum client_room client_reply_flush(struct client_conn *conn);

/* The connection must end after what was written so far, in a way that shows the answer to be
 * incomplete. */
void client_reply_abort(struct client_conn *conn);

/* The request is over and freed; go on with the next one, or close. */
void client_request_done(struct client_conn *conn);

/* ---- client_limit.c ---- */

/* Count what `in` and `out` hold now; to be called after either changed, before the loop goes on.
 */
void client_book(struct client_conn *conn);
/* More is held than limits.buffer_total_bytes: newcomers are refused. */
bool client_is_over(const struct client_conn *conn);
/* Unsent bytes at which the source pauses: at once when half of that is held. */
size_t client_out_high(const struct client_conn *conn);
/* The body: from now on, or again after a pause of ours; `bytes` of it came; the deadline passed.
 * False: too slow, and counted. */
void client_pace_begin(struct client_conn *conn);
void client_pace_add(struct client_conn *conn, size_t bytes);
bool client_pace_is_good(struct client_conn *conn);
/* The answer: bytes wait from now on; the deadline passed. False: too slow, and counted. */
void client_take_begin(struct client_conn *conn);
bool client_take_is_good(struct client_conn *conn);
/* One more request. False: it came too far ahead of its answers. */
bool client_count_request(struct client_conn *conn);

/* ---- client_feed.c ---- */

/* Does the present state take bytes? */
bool client_wants_bytes(const struct client_conn *conn);
/* Understand what was just read, and keep the rest. It goes through `in` only if something stood
 * there before, or is left over. The connection may be closed afterwards. */
void client_take_bytes(struct client_conn *conn, struct str bytes);
/* Understand what is kept; likewise. */
void client_feed_kept(struct client_conn *conn);
/* Keep what is not understood yet. A head that finds no room is refused; likewise. */
void client_keep_bytes(struct client_conn *conn, struct str bytes);
/* Answer 408 to half a head, as the last of the connection. */
void client_refuse_slow_head(struct client_conn *conn);

/* ---- between client_conn.c and client_reply.c ---- */

/* Write what is pending. */
void client_write(struct client_conn *conn);
/* Write what the outbox held, in state REQUEST. Calls nobody back. */
void client_write_held(struct client_conn *conn, struct str bytes);
void client_move(struct client_conn *conn, enum client_state next);
/* Everything is written: what now? */
void client_on_written(struct client_conn *conn);

#endif
