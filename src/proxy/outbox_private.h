/* SPDX-License-Identifier: MIT */
/*
 * Pieces of answers that are sent together: what the events of one batch bring for several clients
 * goes out when the last of them has been heard, one send() after the other.
 *
 * A client that waits for its token sleeps. Sent one at a time, each token wakes somebody, who has
 * read it and is asleep again before the next; sent together the first wakes and the others find
 * readers awake (on one machine, or behind one network card). Waking another core is dearer than
 * the send() itself.
 *
 * Only small pieces in the middle of an answer are held, and only while the loop has more events in
 * hand. A flush that is not held, and the end of a request, let go of all that is held first: so a
 * client gets its bytes in order, and who has something held is in state REQUEST. So does the loop
 * before anything that takes long (loop_batch_tasks_run()): many bytes read or written, handshakes
 * with endpoints, accepts, messages.
 *
 * Thread: the worker's.
 */
#ifndef NEARSIDE_PROXY_OUTBOX_PRIVATE_H
#define NEARSIDE_PROXY_OUTBOX_PRIVATE_H

#include <nearside/loop/loop.h>

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define OUTBOX_ITEMS       LOOP_BATCH_CALLS
#define OUTBOX_PIECE_BYTES 2048 /* larger ones are worth a send() at once */

struct client_conn;

struct outbox_item {
    struct client_conn *conn; /* borrowed: its request's end lets go before it goes */
    size_t len;
};

struct outbox {
    struct loop *loop;     /* borrowed: outlives this */
    struct loop_task task; /* at the end of the batch */
    unsigned count;
    size_t used;
    struct outbox_item items[OUTBOX_ITEMS]; /* their bytes lie one behind the other */
    char *bytes;                            /* owned; OUTBOX_ITEMS * OUTBOX_PIECE_BYTES */
};

void outbox_init(struct outbox *outbox, struct loop *loop);
void outbox_done(struct outbox *outbox); /* nothing is held any more */

/* May `len` bytes be held now? */
static inline bool outbox_has_room(const struct outbox *outbox, size_t len)
{
    return len <= OUTBOX_PIECE_BYTES && outbox->count < OUTBOX_ITEMS &&
           loop_batch_goes_on(outbox->loop);
}

/* Hold a copy of these, for which there is room. */
void outbox_hold(struct outbox *outbox, struct client_conn *conn, const struct iovec *pieces,
                 int count);

void outbox_send(struct outbox *outbox);

/* Send what is held, in the order it came. Calls nobody back. */
static inline void outbox_let_go(struct outbox *outbox)
{
    if (outbox->count > 0) {
        outbox_send(outbox);
    }
}

#endif
