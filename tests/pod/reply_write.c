/* SPDX-License-Identifier: MIT */
/*
 * The steps of a reply. Each appends what is due to conn->out and returns true when it moved on,
 * false when it waits: for its time, or for the client to take what is there.
 */
#include "conn.h"
#include "reply.h"
#include "reply_private.h"

#include <nearside/base/clock.h>

#define OUT_HIGH    ((size_t)65536) /* wait for the client above this */
#define SLICE_BYTES ((size_t)16384)

static const char *reason_of(unsigned status)
{
    static const struct {
        unsigned status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {413, "Content Too Large"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
    };

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].text;
        }
    }
    return "Status";
}

static bool has_no_body(const struct conn *conn)
{
    unsigned status = conn->reply.status;
    return status == 204 || status == 304 || str_eq(conn->request.method, STR_LIT("HEAD"));
}

void reply_pick_framing(struct conn *conn)
{
    struct reply *reply = &conn->reply;
    struct str wish = request_header_get(&conn->request, "X-Pod-Framing");

    reply->framing = reply->is_stream ? FRAMING_CHUNKED : FRAMING_LENGTH;
    if (str_eq(wish, STR_LIT("chunked"))) {
        reply->framing = FRAMING_CHUNKED;
    } else if (str_eq(wish, STR_LIT("close"))) {
        reply->framing = FRAMING_CLOSE;
    }
    if (reply->framing == FRAMING_CHUNKED && conn->request.minor == 0) {
        reply->framing = FRAMING_CLOSE;
    }
    uint64_t close_after = conn->pod->options->close_after;
    if (reply->framing == FRAMING_CLOSE || !conn->request.keep_alive ||
        (close_after > 0 && conn->requests >= close_after)) {
        conn->close_at_end = true;
    }
}

static void put_framing(const struct conn *conn, struct buf *out)
{
    const struct reply *reply = &conn->reply;

    switch (reply->framing) {
    case FRAMING_LENGTH:
        if (reply->status != 204) {
            buf_printf(out, "Content-Length: %llu\r\n",
                       (unsigned long long)(buf_len(&reply->body) + reply->slices_left));
        }
        break;
    case FRAMING_CHUNKED:
        buf_append_str(out, STR_LIT("Transfer-Encoding: chunked\r\n"));
        break;
    case FRAMING_CLOSE:
        break;
    }
    if (conn->close_at_end) {
        buf_append_str(out, STR_LIT("Connection: close\r\n"));
    } else if (conn->request.minor == 0) {
        buf_append_str(out, STR_LIT("Connection: keep-alive\r\n"));
    }
}

static void put_head(struct conn *conn)
{
    const struct reply *reply = &conn->reply;
    struct buf *out = &conn->out;
    uint64_t early = 0;

    if (request_header_u64(&conn->request, "X-Pod-1xx", &early) && conn->request.minor == 1) {
        buf_printf(out, "HTTP/1.1 %u Early\r\nLink: </style.css>; rel=preload\r\n\r\n",
                   (unsigned)early);
    }
    buf_printf(out, "HTTP/1.1 %u %s\r\nServer: pod\r\nX-Pod: %s\r\nContent-Type: %s\r\n",
               reply->status, reason_of(reply->status), conn->pod->options->name,
               reply->content_type);
    buf_append_str(out, buf_str(&reply->extra_headers));
    put_framing(conn, out);
    buf_append_str(out, STR_LIT("\r\n"));
}

static void put_piece(struct conn *conn, struct str piece)
{
    if (piece.len == 0 || has_no_body(conn)) {
        return;
    }
    if (conn->reply.framing != FRAMING_CHUNKED) {
        buf_append_str(&conn->out, piece);
        return;
    }
    buf_printf(&conn->out, "%zx\r\n", piece.len);
    buf_append_str(&conn->out, piece);
    buf_append_str(&conn->out, STR_LIT("\r\n"));
}

static void put_last_chunk(struct conn *conn)
{
    struct str trailers = request_header_get(&conn->request, "X-Pod-Trailers");

    if (conn->reply.framing != FRAMING_CHUNKED || has_no_body(conn)) {
        return;
    }
    buf_append_str(&conn->out, STR_LIT("0\r\n"));
    if (trailers.len > 0) {
        buf_append_str(&conn->out, trailers);
        buf_append_str(&conn->out, STR_LIT("\r\n"));
    }
    buf_append_str(&conn->out, STR_LIT("\r\n"));
}

static bool is_early(struct conn *conn, uint64_t now)
{
    if (now >= conn->reply.due_ns) {
        return false;
    }
    timer_set(&conn->pod->timers, &conn->timer, conn->reply.due_ns);
    return true;
}

/* A fault ends the answer here: what was written goes out, then the connection is closed. */
static bool break_off(struct conn *conn)
{
    conn->reply.step = REPLY_FLUSH;
    return true;
}

static bool breaks(const struct reply *reply)
{
    return reply->fault.kind == FAULT_CUT || reply->fault.kind == FAULT_RESET;
}

static bool put_faulty_head(struct conn *conn)
{
    struct reply *reply = &conn->reply;

    switch (reply->fault.kind) {
    case FAULT_HANG:
    case FAULT_HANG_REQUESTS:
        reply->step = REPLY_SILENT;
        return true;
    case FAULT_HEADERS_THEN_SILENCE:
        put_head(conn);
        reply->step = REPLY_SILENT;
        return true;
    case FAULT_CLOSE_BEFORE_RESPONSE:
        return break_off(conn);
    case FAULT_MALFORMED:
        buf_append_str(&conn->out, STR_LIT("\x01garbage\x02 not HTTP at all\r\n\r\n"));
        return break_off(conn);
    default:
        return false;
    }
}

static void put_plain_body(struct conn *conn)
{
    struct reply *reply = &conn->reply;
    struct str body = buf_str(&reply->body);

    reply_note_content(conn);
    reply->events = 1;
    if (breaks(reply)) {
        put_piece(conn, str_slice(body, 0, body.len / 2));
        (void)break_off(conn);
        return;
    }
    put_piece(conn, body);
    put_last_chunk(conn);
    reply->step = REPLY_FLUSH;
}

static bool step_head(struct conn *conn, uint64_t now)
{
    struct reply *reply = &conn->reply;

    if (is_early(conn, now)) {
        return false;
    }
    if (put_faulty_head(conn)) {
        return true;
    }
    put_head(conn);
    if (reply->is_stream) {
        reply->due_ns += reply->first_ns;
        reply->step = REPLY_TOKENS;
    } else if (reply->slices_left > 0 && !has_no_body(conn)) {
        reply_note_content(conn);
        reply->slices_left /= breaks(reply) ? 2 : 1;
        reply->step = REPLY_SLICES;
    } else {
        put_plain_body(conn);
    }
    return true;
}

/* Open events go with the first token, as servers do that learn of it only then. */
static void put_opening(struct conn *conn)
{
    struct generation *generation = &conn->reply.generation;
    struct buf *scratch = &conn->reply.body;

    buf_clear(scratch);
    generation->shape->open(generation, scratch);
    put_piece(conn, buf_str(scratch));
    generation->shape->frame(generation);
}

static void put_token(struct conn *conn)
{
    struct reply *reply = &conn->reply;
    struct generation *generation = &reply->generation;
    struct buf *scratch = &reply->body;

    if (reply->events == 0) {
        put_opening(conn);
    }
    buf_clear(scratch);
    buf_append_str(scratch, buf_str(&generation->before));
    buf_append_str(scratch, generation_word(generation));
    buf_append_str(scratch, buf_str(&generation->after));
    put_piece(conn, buf_str(scratch));
    reply_note_content(conn);
    reply->events++;
    reply->due_ns += reply->gap_ns;
    conn->pod->counters.generation_tokens++;
}

/* The stream's last words, in proper framing. */
static bool end_with(struct conn *conn, struct str words)
{
    put_piece(conn, words);
    put_last_chunk(conn);
    conn->reply.step = REPLY_FLUSH;
    return true;
}

/* The fault that strikes after so many events, if it is time for it. */
static bool strike(struct conn *conn)
{
    struct reply *reply = &conn->reply;

    if (reply->events < reply->fault.number) {
        return false;
    }
    switch (reply->fault.kind) {
    case FAULT_CUT:
    case FAULT_RESET:
        return break_off(conn);
    case FAULT_CUT_CLEAN:
        put_last_chunk(conn);
        reply->step = REPLY_FLUSH;
        return true;
    case FAULT_SSE_ERROR:
        return end_with(conn, STR_LIT("data: {\"error\":{\"message\":\"engine died\",\"type\":"
                                      "\"server_error\",\"code\":500}}\n\ndata: [DONE]\n\n"));
    case FAULT_SSE_GARBAGE:
        return end_with(conn, STR_LIT("data: {\"id\":\"x\",\"choi\n\n\x01\x02}}\n\n"));
    case FAULT_STALL:
        reply->step = REPLY_SILENT;
        return true;
    default:
        return false;
    }
}

static bool step_tokens(struct conn *conn, uint64_t now)
{
    struct reply *reply = &conn->reply;
    struct generation *generation = &reply->generation;

    while (reply->events < generation->tokens) {
        if (strike(conn)) {
            return true;
        }
        if (buf_len(&conn->out) > OUT_HIGH || is_early(conn, now)) {
            return false;
        }
        put_token(conn);
    }
    if (strike(conn)) {
        return true;
    }
    if (reply->events == 0) {
        put_opening(conn); /* no tokens were asked for */
    }
    buf_clear(&reply->body);
    generation->shape->close(generation, &reply->body);
    put_piece(conn, buf_str(&reply->body));
    put_last_chunk(conn);
    reply->step = REPLY_FLUSH;
    return true;
}

static bool step_slices(struct conn *conn, uint64_t now)
{
    static const char pattern[SLICE_BYTES + 1] = {0};
    struct reply *reply = &conn->reply;
    (void)now;

    while (reply->slices_left > 0) {
        if (buf_len(&conn->out) > OUT_HIGH) {
            return false;
        }
        size_t len = reply->slices_left < SLICE_BYTES ? (size_t)reply->slices_left : SLICE_BYTES;
        put_piece(conn, str_make(pattern, len));
        reply->slices_left -= len;
    }
    if (breaks(reply)) {
        return break_off(conn);
    }
    put_last_chunk(conn);
    reply->step = REPLY_FLUSH;
    return true;
}

static bool ends_broken(const struct reply *reply)
{
    return breaks(reply) || reply->fault.kind == FAULT_CLOSE_BEFORE_RESPONSE ||
           reply->fault.kind == FAULT_MALFORMED;
}

static bool step_flush(struct conn *conn, uint64_t now)
{
    struct reply *reply = &conn->reply;
    (void)now;

    if (buf_len(&conn->out) > 0) {
        return false;
    }
    if (ends_broken(reply)) {
        bool with_reset = reply->fault.kind == FAULT_RESET;
        reply_abandon(conn, false);
        conn_close(conn, with_reset);
        return false;
    }
    reply_end_count(conn, &conn->pod->counters.finished);
    reply->step = REPLY_NONE;
    return false;
}

void reply_advance(struct conn *conn)
{
    uint64_t now = clock_mono_ns();
    bool moved = true;

    while (moved) {
        switch (conn->reply.step) {
        case REPLY_HEAD:
            moved = step_head(conn, now);
            break;
        case REPLY_TOKENS:
            moved = step_tokens(conn, now);
            break;
        case REPLY_SLICES:
            moved = step_slices(conn, now);
            break;
        case REPLY_FLUSH:
            moved = step_flush(conn, now);
            break;
        case REPLY_NONE:
        case REPLY_SILENT:
            return;
        }
    }
}
