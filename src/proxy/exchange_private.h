/* SPDX-License-Identifier: MIT */
/*
 * One HTTP/1 exchange with an endpoint over one leased connection: send the request, read the
 * answer. Tells its request what comes; ends by success, failure or cancel.
 *
 * Thread: the worker's.
 */
#ifndef NEARSIDE_PROXY_EXCHANGE_PRIVATE_H
#define NEARSIDE_PROXY_EXCHANGE_PRIVATE_H

#include <nearside/base/buf.h>
#include <nearside/http/h1.h>
#include <nearside/loop/loop.h>

#include <stdbool.h>
#include <stdint.h>

#define EXCHANGE_READS     4   /* per turn */
#define EXCHANGE_LOST_MS   500 /* of silence, for an answer under way from a lost endpoint */
#define EXCHANGE_CHUNK_MAX ((size_t)16384) /* of a request body framed here, per write */

struct request;
struct upstream_conn;
struct upstream_target;
struct view_endpoint;

enum exchange_state {
    EXCHANGE_NONE,    /* no connection is leased */
    EXCHANGE_CONNECT, /* waits: open or failed; deadline connect_ms */
    EXCHANGE_SEND,    /* waits: writable, more body; deadline request_ms */
    EXCHANGE_HEAD,    /* sent; waits: readable; deadline first_token_ms */
    EXCHANGE_BODY,    /* waits: readable, room; deadline first_token_ms, then idle_ms */
    EXCHANGE_STATE_COUNT
};

struct exchange {
    /* What every read of an answer touches, together (see struct request). */
    enum exchange_state state;
    enum http_body framing;
    struct request *request;    /* borrowed: embeds this */
    struct upstream_conn *conn; /* leased */
    bool write_blocked;
    bool readable;
    bool short_read; /* the last read left nothing in a plain socket */
    bool paused;
    bool got_bytes;    /* something of an answer came */
    bool got_body;     /* something of its body */
    bool got_data;     /* in this read: framing alone is no sign of life */
    bool answer_begun; /* the final head came */
    bool lost;         /* its endpoint is down: silence is not waited out */
    struct deadline deadline;
    struct h1_chunked chunked;
    struct buf in; /* part of an answer's head */

    bool keep_alive;
    bool head_made;       /* the request's head was written or stands in `out` */
    bool end_made;        /* of a chunked request body: the last chunk, likewise */
    bool all_sent;        /* the whole request */
    bool chunked_request; /* the request's body goes out in chunks */
    uint8_t interim_count;
    uint64_t left;            /* of a counted answer */
    struct h1_wait head_wait; /* of the answer's head */
    struct buf out;           /* head, or chunk framing, that the kernel did not take */
    uint64_t body_sent;
    uint64_t started_ns;
    uint64_t sent_ns;
    uint64_t answer_due_ns; /* state HEAD: first_token_ms */
};

/* Once for a request's memory, which serves many requests, and before that goes. */
void exchange_init(struct exchange *exchange, struct request *request, struct loop *loop);
void exchange_done(struct exchange *exchange);
/* A request is over: cancel, and give back what was kept for it. */
void exchange_end(struct exchange *exchange);

/* Begin on an idle or a new connection. Results come on later turns. */
void exchange_start(struct exchange *exchange, const struct upstream_target *target);
/* More of the request's body is there. */
void exchange_body_ready(struct exchange *exchange);
/* Stop and go on reading (back-pressure). */
void exchange_pause(struct exchange *exchange);
void exchange_resume(struct exchange *exchange);
/* The endpoint is held to be lost, or no longer. */
void exchange_set_lost(struct exchange *exchange, bool lost);
/* End, closing the connection: the endpoint sees that nobody waits any more. Harmless when none
 * runs. */
void exchange_cancel(struct exchange *exchange);

/* ---- between exchange.c and exchange_send.c ---- */

void exchange_move(struct exchange *exchange, enum exchange_state next);
/* Of the present state. */
uint32_t exchange_timeout_ms(const struct exchange *exchange);
/* The longer the prompt, the longer its prefill. */
uint32_t exchange_first_token_ms(const struct exchange *exchange);

/* Write what there is, until the kernel takes no more. */
void exchange_send(struct exchange *exchange);
/* State HEAD, connect_ms after the request was all sent. True: the peer is there; wait on for its
 * answer. */
bool exchange_has_sign(struct exchange *exchange);

#endif
