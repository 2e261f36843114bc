/* SPDX-License-Identifier: MIT */
/*
 * One answer, from the moment its request is complete: waits for its time, writes the head, then
 * the body at once, token by token, or in slices as the client takes them.
 *
 *   NONE ──> HEAD ──> TOKENS ──> FLUSH ──> NONE      SILENT: a fault; nothing more will come
 *              ├────> SLICES ──────^
 *              └───────────────────^
 */
#ifndef POD_REPLY_H
#define POD_REPLY_H

#include "fault.h"
#include "generation.h"

#include <nearside/base/buf.h>

enum reply_step {
    REPLY_NONE,
    REPLY_HEAD,
    REPLY_TOKENS,
    REPLY_SLICES,
    REPLY_SILENT,
    REPLY_FLUSH,
};

enum framing { FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };

struct conn;

struct reply {
    enum reply_step step;
    enum framing framing;
    unsigned status;
    const char *content_type;
    struct buf body;          /* of a plain answer */
    struct buf extra_headers; /* complete lines */
    struct fault fault;       /* what applies to this request */
    bool is_counted;          /* in started / finished; probes and control are not */
    bool is_stream;
    bool has_content; /* first content byte was sent */
    uint64_t number;
    uint64_t begun_ns; /* the request's head was read */
    uint64_t due_ns;   /* of the next step */
    uint64_t gap_ns;
    uint64_t first_ns;
    uint64_t events;
    uint64_t slices_left; /* bytes still to make for /bytes/N */
    struct generation generation;
};

void reply_init(struct reply *reply);
void reply_done(struct reply *reply);

/* The request's head has been read: count it. May answer at once, if the request asks so. */
void reply_begin(struct conn *conn);
/* The whole request has been read: decide the answer and start it. */
void reply_start(struct conn *conn);
/* Answer with an error at once, without a delay: the request was malformed. */
void reply_refuse(struct conn *conn, unsigned status, const char *why);

/* Make what is due into conn->out. Called when the timer fires and when `out` has been emptied. */
void reply_advance(struct conn *conn);

/* The connection goes away. `by_client`: it is a cancellation. */
void reply_abandon(struct conn *conn, bool by_client);

#endif
