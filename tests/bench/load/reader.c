/* SPDX-License-Identifier: MIT */
/* See reader.h. */
#include "reader.h"

#include <stdlib.h>
#include <string.h>

void reader_start(struct reader *reader)
{
    reader->state = READER_HEAD;
    reader->status = 0;
    reader->left = 0;
    reader->events = 0;
    reader->at_line_start = true;
    reader->is_closing = false;
    reader->head_len = 0;
}

/* SSE events end with a blank line. */
static void count_events(struct reader *reader, const char *bytes, size_t len)
{
    const char *at = bytes;
    const char *end = bytes + len;

    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL) {
            reader->at_line_start = false;
            return;
        }
        reader->events += reader->at_line_start && line_end == at ? 1 : 0;
        reader->at_line_start = true;
        at = line_end + 1;
    }
}

static const char *field(const char *head, const char *name)
{
    const char *found = strcasestr(head, name);
    return found == NULL ? NULL : found + strlen(name);
}

static void start_body(struct reader *reader)
{
    const char *length = field(reader->head, "\r\ncontent-length:");
    const char *connection = field(reader->head, "\r\nconnection:");

    reader->status = (unsigned)strtoul(reader->head + strlen("HTTP/1.1 "), NULL, 10);
    reader->is_closing = connection != NULL && strncasecmp(connection, " close", 6) == 0;
    if (field(reader->head, "\r\ntransfer-encoding: chunked") != NULL) {
        reader->state = READER_CHUNK_SIZE;
    } else if (length != NULL) {
        reader->left = strtoull(length, NULL, 10);
        reader->state = reader->left == 0 ? READER_DONE : READER_LENGTH;
    } else {
        reader->state = READER_UNTIL_CLOSE;
        reader->is_closing = true;
    }
}

static size_t take_head(struct reader *reader, const char *bytes, size_t len)
{
    size_t before = reader->head_len;
    size_t room = READER_HEAD_MAX - before;
    size_t copied = len < room ? len : room;

    memcpy(reader->head + before, bytes, copied);
    reader->head[before + copied] = '\0';
    char *end = strstr(reader->head + (before < 3 ? 0 : before - 3), "\r\n\r\n");
    if (end == NULL) {
        reader->head_len += copied;
        reader->state = reader->head_len == READER_HEAD_MAX ? READER_BAD : READER_HEAD;
        return copied;
    }
    end[4] = '\0';
    start_body(reader);
    return (size_t)(end + 4 - reader->head) - before;
}

static size_t take_data(struct reader *reader, const char *bytes, size_t len,
                        enum reader_state next)
{
    size_t taken = reader->left < len ? (size_t)reader->left : len;

    count_events(reader, bytes, taken);
    reader->left -= taken;
    reader->state = reader->left == 0 ? next : reader->state;
    return taken;
}

static unsigned hex_digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
}

/* Chunk extensions are not expected: every character up to the line's end is a digit. */
static size_t take_chunk_size(struct reader *reader, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\n') {
            bool is_last = reader->left == 0;
            reader->at_line_start = is_last ? true : reader->at_line_start;
            reader->state = is_last ? READER_TRAILER : READER_CHUNK_DATA;
            return i + 1;
        }
        if (bytes[i] != '\r') {
            reader->left = reader->left * 16 + hex_digit(bytes[i]);
        }
    }
    return len;
}

/* The CRLF behind a chunk's data, then the next size. */
static size_t take_chunk_end(struct reader *reader, const char *bytes, size_t len)
{
    const char *line_end = memchr(bytes, '\n', len);

    if (line_end == NULL) {
        return len;
    }
    reader->state = READER_CHUNK_SIZE;
    return (size_t)(line_end + 1 - bytes);
}

static size_t take_trailer(struct reader *reader, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\n') {
            if (reader->at_line_start) {
                reader->state = READER_DONE;
                return i + 1;
            }
            reader->at_line_start = true;
        } else if (bytes[i] != '\r') {
            reader->at_line_start = false;
        }
    }
    return len;
}

static size_t take_some(struct reader *reader, const char *bytes, size_t len)
{
    switch (reader->state) {
    case READER_HEAD:
        return take_head(reader, bytes, len);
    case READER_LENGTH:
        return take_data(reader, bytes, len, READER_DONE);
    case READER_CHUNK_SIZE:
        return take_chunk_size(reader, bytes, len);
    case READER_CHUNK_DATA:
        return take_data(reader, bytes, len, READER_CHUNK_END);
    case READER_CHUNK_END:
        return take_chunk_end(reader, bytes, len);
    case READER_TRAILER:
        return take_trailer(reader, bytes, len);
    case READER_UNTIL_CLOSE:
        count_events(reader, bytes, len);
        return len;
    case READER_DONE:
    case READER_BAD:
        break;
    }
    return 0;
}

size_t reader_take(struct reader *reader, const char *bytes, size_t len)
{
    size_t used = 0;

    while (used < len && reader->state < READER_DONE) {
        used += take_some(reader, bytes + used, len - used);
    }
    return used;
}

bool reader_take_end(struct reader *reader)
{
    if (reader->state == READER_UNTIL_CLOSE) {
        reader->state = READER_DONE;
    }
    return reader->state == READER_DONE;
}
