/* SPDX-License-Identifier: MIT */
/*
 * Reads one HTTP/1.1 answer as it comes: where it ends, its status, how many SSE events it holds.
 * As cheap as can be, since the reader shares a core with the pod; it trusts the proxy's framing.
 */
#ifndef LOAD_READER_H
#define LOAD_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define READER_HEAD_MAX 4096

enum reader_state {
    READER_HEAD,
    READER_LENGTH,
    READER_CHUNK_SIZE,
    READER_CHUNK_DATA,
    READER_CHUNK_END,
    READER_TRAILER,
    READER_UNTIL_CLOSE,
    READER_DONE,
    READER_BAD
};

struct reader {
    enum reader_state state;
    unsigned status;
    uint64_t left;   /* of the body, or of the chunk */
    uint64_t events; /* blank lines in the body so far */
    bool at_line_start;
    bool is_closing; /* the answer says Connection: close */
    size_t head_len;
    char head[READER_HEAD_MAX + 1];
};

void reader_start(struct reader *reader);

/* Take bytes; returns how many belonged to this answer. */
size_t reader_take(struct reader *reader, const char *bytes, size_t len);

/* The peer closed: was that the end of the answer? */
bool reader_take_end(struct reader *reader);

#endif
