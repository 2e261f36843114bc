/* SPDX-License-Identifier: MIT */
/*
 * One client connection: connects, speaks TLS if told, writes the request, reads the answer.
 *
 *   CLOSED ──> CONNECT ──> HANDSHAKE ──> IDLE ──> WRITE ──> READ ──> IDLE | DRAIN | CLOSED
 *
 * Sockets are edge-triggered and registered once. Everything runs in run.c's loop.
 */
#ifndef LOAD_CONN_H
#define LOAD_CONN_H

#include "histogram.h"
#include "options.h"
#include "reader.h"

#include <openssl/ssl.h>

enum conn_state {
    CONN_CLOSED,
    CONN_CONNECT,
    CONN_HANDSHAKE,
    CONN_IDLE,
    CONN_WRITE,
    CONN_READ,
    CONN_DRAIN
};

enum conn_news {
    CONN_NOTHING, /* wait for the next event */
    CONN_READY,   /* connected: IDLE now */
    CONN_ANSWER,  /* the answer is complete: IDLE, or DRAIN, or CLOSED if the peer wants it so */
    CONN_ENDED,   /* a DRAIN ended as it should */
    CONN_BROKEN   /* closed by a failure */
};

struct conn {
    enum conn_state state;
    int fd;
    SSL *ssl;             /* owned; NULL: plain */
    SSL_SESSION *session; /* owned: to resume */
    bool was_resumed;
    bool is_ending;    /* the peer has sent its last byte: read until that is seen */
    uint64_t start_ns; /* when the request was sent, or due */
    uint64_t event_ns; /* when the last event came; 0: none yet */
    size_t written;
    char mark[OPTIONS_MARK_LEN + 1];
    struct reader reader;
};

/* Shared by all connections. */
struct conn_env {
    const struct options *options;
    int epoll;
    SSL_CTX *tls; /* NULL: plain */
    uint64_t marks;
    uint64_t events;               /* SSE events read */
    struct histogram first_events; /* from the request to the first event */
    struct histogram lateness;     /* of each further one, against options->gap_ns */
    uint64_t bytes_in;
    uint64_t bytes_out;
};

/* False when TLS cannot be set up. */
bool conn_env_init(struct conn_env *env, const struct options *options);
void conn_env_done(struct conn_env *env);

/* From CLOSED; false when the socket cannot be had. */
bool conn_connect(struct conn_env *env, struct conn *conn);

/* From IDLE. */
enum conn_news conn_send(struct conn_env *env, struct conn *conn);

/* The socket has something to say. */
enum conn_news conn_handle(struct conn_env *env, struct conn *conn);

void conn_close(struct conn *conn);

#endif
