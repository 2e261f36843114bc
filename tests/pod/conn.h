/* SPDX-License-Identifier: MIT */
/*
 * One client connection of the pod: bytes in, requests out of them one at a time, the reply's
 * bytes out.
 *
 *   HEAD ──> BODY ──> REPLY ──> HEAD ...      LINGER: answered before the body had come; the rest
 *     └────────┴────────┴──> LINGER, closed           is read and dropped, so that no reset eats
 *                                                     the answer
 */
#ifndef POD_CONN_H
#define POD_CONN_H

#include "pod.h"
#include "reply.h"
#include "request.h"

#include <event2/event_struct.h>

enum conn_state { CONN_HEAD, CONN_BODY, CONN_REPLY, CONN_LINGER, CONN_CLOSED };

struct conn {
    struct pod *pod;
    struct list link; /* in pod->conns, then in pod->dead */
    int fd;
    bool is_control;
    bool reads;        /* read event is armed */
    bool close_at_end; /* close once `out` is empty */
    enum conn_state state;
    uint64_t number;
    uint64_t requests;
    struct pod_tls_conn *tls; /* owned; NULL: plain */
    struct event read_event;
    struct event write_event;
    struct timer timer; /* the reply's next step, or the idle limit between requests */
    struct buf in;
    struct buf out;
    struct request request;
    struct reply reply;
};

void conn_open(struct pod *pod, int fd, bool is_control);

/* Close now. What `out` still holds is lost; `with_reset` sends RST instead of FIN. */
void conn_close(struct conn *conn, bool with_reset);

/* Write what `out` holds as far as the kernel takes it; goes on by itself afterwards. */
void conn_flush(struct conn *conn);

/* No request is in the works on this connection. */
bool conn_is_idle(const struct conn *conn);

/* Free the connections that were closed. Called at the end of each callback from the loop. */
void conn_bury_dead(struct pod *pod);

#endif
