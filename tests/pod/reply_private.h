/* SPDX-License-Identifier: MIT */
/* Between reply.c, which decides and counts, and reply_write.c, which carries it out. */
#ifndef POD_REPLY_PRIVATE_H
#define POD_REPLY_PRIVATE_H

#include <stdint.h>

struct conn;

/* The request is over: `counter` (of pod->counters) says how. Once per request. */
void reply_end_count(struct conn *conn, uint64_t *counter);

/* The first content byte goes out now. */
void reply_note_content(struct conn *conn);

/* From the request's wish, its version and what the connection may still do. */
void reply_pick_framing(struct conn *conn);

#endif
