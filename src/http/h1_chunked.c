/* SPDX-License-Identifier: MIT */
/*
 * Chunked bodies (RFC 9112 7.1), any split of the input.
 *
 *            digits          CRLF                  all data       CRLF
 *   ──> SIZE ─────> DIGITS ──────────────> DATA ────────────> DATA_CR, DATA_LF ──> SIZE
 *                     │  └─ ";" ─> EXT... ──┘
 *                     │ size 0, CRLF
 *                     └─────> TRAILER ─(name ":" value CRLF)*─> END_LF ──> DONE
 *
 *   EXT: name ["=" (token | quoted string)], again after each ";". The blanks that RFC 9112 7.1.1
 *   would bear with around them are refused: nobody sends them, and readers differ about them.
 *
 * Extensions and trailers are checked and dropped. A fault is final: later calls repeat it.
 */
#include "char_class_private.h"
#include "scan_private.h"

#include <nearside/base/assert.h>
#include <nearside/http/h1.h>

#define SIZE_DIGITS_MAX   16 /* 64 bits, so the size cannot overflow */
#define PLAIN_DIGITS_MAX  7
#define SIZE_LINE_MAX     1024
#define TRAILER_BYTES_MAX 8192

/* Framing may outweigh data by this much. A chunk earns 16 bytes, and 2 for each data byte, so
 * that honest one-byte chunks go on for ever and chunks with padded size lines do not. */
#define OVERHEAD_BYTES_MAX 16384
#define OVERHEAD_PER_CHUNK 16
#define OVERHEAD_PER_DATUM 2

enum chunked_state {
    CHUNKED_SIZE,
    CHUNKED_DIGITS,
    CHUNKED_EXT, /* at the start of an extension's name */
    CHUNKED_EXT_NAME,
    CHUNKED_EXT_EQUALS, /* at the start of its value */
    CHUNKED_EXT_TOKEN,
    CHUNKED_EXT_QUOTED,
    CHUNKED_EXT_ESCAPE,
    CHUNKED_EXT_END, /* after a quoted value */
    CHUNKED_SIZE_LF,
    CHUNKED_DATA,
    CHUNKED_DATA_CR,
    CHUNKED_DATA_LF,
    CHUNKED_TRAILER, /* at the start of a trailer line */
    CHUNKED_TRAILER_NAME,
    CHUNKED_TRAILER_VALUE,
    CHUNKED_TRAILER_LF,
    CHUNKED_END_LF,
    CHUNKED_DONE,
    CHUNKED_BAD_CHUNK,
    CHUNKED_BAD_TRAILER,
};

/* The only place that changes the state. */
static void move(struct h1_chunked *chunked, enum chunked_state next)
{
    chunked->state = (unsigned char)next;
}

void h1_chunked_init(struct h1_chunked *chunked)
{
    *chunked = (struct h1_chunked){.state = CHUNKED_SIZE};
}

/* The size line is over. */
static void begin_chunk(struct h1_chunked *chunked)
{
    const uint64_t line = chunked->line_bytes;
    const uint64_t spent = chunked->overhead_bytes + line;
    const uint64_t earned = chunked->left < OVERHEAD_BYTES_MAX
                                ? OVERHEAD_PER_CHUNK + OVERHEAD_PER_DATUM * chunked->left
                                : spent;

    chunked->line_bytes = 0;
    chunked->digits = 0;
    chunked->overhead_bytes = spent > earned ? spent - earned : 0;
    if (chunked->overhead_bytes > OVERHEAD_BYTES_MAX) {
        move(chunked, CHUNKED_BAD_CHUNK);
    } else {
        move(chunked, chunked->left > 0 ? CHUNKED_DATA : CHUNKED_TRAILER);
    }
}

static const char *take_digits(struct h1_chunked *chunked, const char *at, const char *end)
{
    while (at < end && char_is(*at, CHAR_HEX)) {
        if (chunked->digits == SIZE_DIGITS_MAX) {
            move(chunked, CHUNKED_BAD_CHUNK);
            return at;
        }
        chunked->left = chunked->left << 4 | char_hex_value(*at);
        chunked->digits++;
        at++;
    }
    if (at < end) {
        move(chunked, chunked->digits > 0 ? CHUNKED_DIGITS : CHUNKED_BAD_CHUNK);
    }
    return at;
}

/* Where something may end: the size line, or one extension and the next begins. */
static const char *take_end_of_item(struct h1_chunked *chunked, const char *at)
{
    if (*at == '\r') {
        move(chunked, CHUNKED_SIZE_LF);
    } else if (*at == ';') {
        move(chunked, CHUNKED_EXT);
    } else {
        move(chunked, CHUNKED_BAD_CHUNK);
        return at;
    }
    return at + 1;
}

/* The first byte of a name or of a value. */
static const char *take_ext_start(struct h1_chunked *chunked, const char *at)
{
    if (char_is(*at, CHAR_TOKEN)) {
        move(chunked, chunked->state == CHUNKED_EXT ? CHUNKED_EXT_NAME : CHUNKED_EXT_TOKEN);
    } else if (*at == '"' && chunked->state == CHUNKED_EXT_EQUALS) {
        move(chunked, CHUNKED_EXT_QUOTED);
    } else {
        move(chunked, CHUNKED_BAD_CHUNK);
        return at;
    }
    return at + 1;
}

static const char *take_ext_token(struct h1_chunked *chunked, const char *at, const char *end)
{
    while (at < end && char_is(*at, CHAR_TOKEN)) {
        at++;
    }
    if (at < end && *at == '=' && chunked->state == CHUNKED_EXT_NAME) {
        move(chunked, CHUNKED_EXT_EQUALS);
        return at + 1;
    }
    return at == end ? at : take_end_of_item(chunked, at);
}

/* RFC 9110 5.6.4. */
static const char *take_ext_quoted(struct h1_chunked *chunked, const char *at)
{
    if (!char_is(*at, CHAR_VALUE)) {
        move(chunked, CHUNKED_BAD_CHUNK);
        return at;
    }
    if (chunked->state == CHUNKED_EXT_ESCAPE) {
        move(chunked, CHUNKED_EXT_QUOTED);
    } else if (*at == '\\') {
        move(chunked, CHUNKED_EXT_ESCAPE);
    } else if (*at == '"') {
        move(chunked, CHUNKED_EXT_END);
    }
    return at + 1;
}

/* `wanted` at `at`, then `next`; else `fault`. */
static const char *take_byte(struct h1_chunked *chunked, const char *at, char wanted,
                             enum chunked_state next, enum chunked_state fault)
{
    if (*at != wanted) {
        move(chunked, fault);
        return at;
    }
    move(chunked, next);
    return at + 1;
}

static const char *take_trailer_value(struct h1_chunked *chunked, const char *at, const char *end)
{
    at = scan_value(at, end);
    return at == end ? at : take_byte(chunked, at, '\r', CHUNKED_TRAILER_LF, CHUNKED_BAD_TRAILER);
}

static const char *take_trailer_name(struct h1_chunked *chunked, const char *at, const char *end)
{
    while (at < end && char_is(*at, CHAR_TOKEN)) {
        at++;
    }
    return at == end ? at : take_byte(chunked, at, ':', CHUNKED_TRAILER_VALUE, CHUNKED_BAD_TRAILER);
}

static const char *take_trailer_start(struct h1_chunked *chunked, const char *at)
{
    if (*at == '\r') {
        move(chunked, CHUNKED_END_LF);
        return at + 1;
    }
    move(chunked, char_is(*at, CHAR_TOKEN) ? CHUNKED_TRAILER_NAME : CHUNKED_BAD_TRAILER);
    return at;
}

/* Some framing bytes from [at, end), at least one unless there is a fault. */
static const char *take_framing(struct h1_chunked *chunked, const char *at, const char *end)
{
    switch ((enum chunked_state)chunked->state) {
    case CHUNKED_SIZE:
        return take_digits(chunked, at, end);
    case CHUNKED_DIGITS:
    case CHUNKED_EXT_END:
        return take_end_of_item(chunked, at);
    case CHUNKED_EXT:
    case CHUNKED_EXT_EQUALS:
        return take_ext_start(chunked, at);
    case CHUNKED_EXT_NAME:
    case CHUNKED_EXT_TOKEN:
        return take_ext_token(chunked, at, end);
    case CHUNKED_EXT_QUOTED:
    case CHUNKED_EXT_ESCAPE:
        return take_ext_quoted(chunked, at);
    case CHUNKED_SIZE_LF:
        return take_byte(chunked, at, '\n', CHUNKED_DATA, CHUNKED_BAD_CHUNK);
    case CHUNKED_DATA_CR:
        return take_byte(chunked, at, '\r', CHUNKED_DATA_LF, CHUNKED_BAD_CHUNK);
    case CHUNKED_DATA_LF:
        return take_byte(chunked, at, '\n', CHUNKED_SIZE, CHUNKED_BAD_CHUNK);
    case CHUNKED_TRAILER:
        return take_trailer_start(chunked, at);
    case CHUNKED_TRAILER_NAME:
        return take_trailer_name(chunked, at, end);
    case CHUNKED_TRAILER_VALUE:
        return take_trailer_value(chunked, at, end);
    case CHUNKED_TRAILER_LF:
        return take_byte(chunked, at, '\n', CHUNKED_TRAILER, CHUNKED_BAD_TRAILER);
    case CHUNKED_END_LF:
        return take_byte(chunked, at, '\n', CHUNKED_DONE, CHUNKED_BAD_TRAILER);
    case CHUNKED_DATA:
    case CHUNKED_DONE:
    case CHUNKED_BAD_CHUNK:
    case CHUNKED_BAD_TRAILER:
        break;
    }
    ASSERT_UNREACHABLE("no framing in this state");
}

/* Account for framing bytes taken in the state `before`. A line's count starts with the CRLF that
 * ends the chunk before it. */
static void count_framing(struct h1_chunked *chunked, enum chunked_state before, size_t bytes)
{
    const bool in_trailer = before >= CHUNKED_TRAILER;
    const size_t line = chunked->line_bytes + bytes;

    if (chunked->state >= CHUNKED_BAD_CHUNK) {
        return;
    }
    if (line > (in_trailer ? TRAILER_BYTES_MAX : SIZE_LINE_MAX)) {
        move(chunked, in_trailer ? CHUNKED_BAD_TRAILER : CHUNKED_BAD_CHUNK);
        return;
    }
    chunked->line_bytes = (uint32_t)line;
    if (before == CHUNKED_SIZE_LF) {
        begin_chunk(chunked);
    }
}

/* The CRLF behind a chunk's data, when it is there. */
static const char *take_plain_end(struct h1_chunked *chunked, const char *at, const char *end)
{
    if (chunked->state != CHUNKED_DATA_CR || end - at < 2 || at[0] != '\r' || at[1] != '\n') {
        return at;
    }
    chunked->line_bytes = 2;
    move(chunked, CHUNKED_SIZE);
    return at + 2;
}

/* A size line of a few digits and nothing else, when all of it is there. */
static const char *take_plain_size(struct h1_chunked *chunked, const char *at, const char *end)
{
    const char *const digits = at;
    uint64_t size = 0;

    if (chunked->state != CHUNKED_SIZE || chunked->digits > 0 || end - at < PLAIN_DIGITS_MAX + 2) {
        return digits;
    }
    while (at - digits < PLAIN_DIGITS_MAX && char_is(*at, CHAR_HEX)) {
        size = size << 4 | char_hex_value(*at);
        at++;
    }
    if (at == digits || at[0] != '\r' || at[1] != '\n') {
        return digits;
    }
    at += 2;
    chunked->left = size;
    chunked->line_bytes += (uint32_t)(at - digits);
    begin_chunk(chunked);
    return at;
}

/* All framing bytes up to the next data byte, the end, or a fault. What nearly every chunk has is
 * taken in two steps, what is left byte by byte. */
static const char *skip_framing(struct h1_chunked *chunked, const char *at, const char *end)
{
    at = take_plain_end(chunked, at, end);
    at = take_plain_size(chunked, at, end);
    while (at < end && chunked->state != CHUNKED_DATA && chunked->state < CHUNKED_DONE) {
        const enum chunked_state before = (enum chunked_state)chunked->state;
        const char *const from = at;

        at = take_framing(chunked, from, end);
        count_framing(chunked, before, (size_t)(at - from));
    }
    return at;
}

static enum h1_result result_of(enum chunked_state state)
{
    switch (state) {
    case CHUNKED_DONE:
        return H1_COMPLETE;
    case CHUNKED_BAD_CHUNK:
        return H1_BAD_CHUNK;
    case CHUNKED_BAD_TRAILER:
        return H1_BAD_TRAILER;
    default:
        return H1_NEED_MORE;
    }
}

enum h1_result h1_chunked_parse(struct h1_chunked *chunked, struct str input, size_t *ret_used,
                                struct str *ret_data)
{
    const char *const end = input.len == 0 ? input.ptr : input.ptr + input.len;
    const char *at = skip_framing(chunked, input.ptr, end);
    size_t run = 0;

    *ret_data = str_make(at, 0);
    if (at < end && chunked->state == CHUNKED_DATA) {
        run = (size_t)(end - at);
        run = chunked->left < run ? (size_t)chunked->left : run;
        *ret_data = str_make(at, run);
        chunked->left -= run;
        if (chunked->left == 0) {
            move(chunked, CHUNKED_DATA_CR);
        }
        /* Framing behind the data is taken at once, so that the end is told with the last byte. */
        at = skip_framing(chunked, at + run, end);
    }
    *ret_used = (size_t)(at - input.ptr);
    return result_of((enum chunked_state)chunked->state);
}
