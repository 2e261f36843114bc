/* SPDX-License-Identifier: MIT */
/* See reply.h. */
#include "reply.h"

#include "conn.h"
#include "pages.h"

#include <nearside/base/clock.h>

#define OUT_HIGH    ((size_t)65536) /* wait for the client above this */
#define SLICE_BYTES ((size_t)16384)

void reply_init(struct reply *reply)
{
    *reply = (struct reply){.step = REPLY_NONE};
    buf_init(&reply->body);
    buf_init(&reply->extra_headers);
    generation_init(&reply->generation);
}

void reply_done(struct reply *reply)
{
    buf_done(&reply->body);
    buf_done(&reply->extra_headers);
    generation_done(&reply->generation);
}

/* ---- counting ---- */

static void end_count(struct conn *conn, uint64_t *counter)
{
    struct reply *reply = &conn->reply;

    if (!reply->is_counted) {
        return;
    }
    reply->is_counted = false;
    (*counter)++;
    conn->pod->counters.active--;
    conn->pod->counters.streaming -= reply->has_content ? 1 : 0;
}

static void note_cancellation(struct conn *conn)
{
    struct pod *pod = conn->pod;
    const struct reply *reply = &conn->reply;
    const char *phase = reply->has_content ? "streaming" : "waiting";

    pod->cancellations[pod->counters.cancelled % CANCELLATIONS_MAX] = (struct cancellation){
        .request = reply->number,
        .at_ms = clock_wall_ms(),
        .after_ms = (clock_mono_ns() - reply->begun_ns) / NS_PER_MS,
        .events = reply->events,
        .phase = conn->state == CONN_BODY ? "reading" : phase,
    };
}

static void note_content(struct conn *conn)
{
    struct reply *reply = &conn->reply;

    if (!reply->has_content) {
        reply->has_content = true;
        conn->pod->counters.streaming += reply->is_counted ? 1 : 0;
    }
}

void reply_abandon(struct conn *conn, bool by_client)
{
    struct pod_counters *counters = &conn->pod->counters;

    if (conn->reply.is_counted && by_client) {
        note_cancellation(conn);
    }
    end_count(conn, by_client ? &counters->cancelled : &counters->broken);
    conn->reply.step = REPLY_NONE;
}

/* ---- writing ---- */

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

static void pick_framing(struct conn *conn)
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

/* ---- steps: each returns true when it moved on, false when it waits ---- */

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

    note_content(conn);
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
        note_content(conn);
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
    note_content(conn);
    reply->events++;
    reply->due_ns += reply->gap_ns;
    conn->pod->counters.generation_tokens++;
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
    end_count(conn, &conn->pod->counters.finished);
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

/* ---- deciding ---- */

static void clear(struct reply *reply)
{
    buf_clear(&reply->body);
    buf_clear(&reply->extra_headers);
    generation_done(&reply->generation);
    generation_init(&reply->generation);
    reply->step = REPLY_NONE;
    reply->status = 200;
    reply->fault = (struct fault){.kind = FAULT_NONE};
    reply->is_stream = false;
    reply->has_content = false;
    reply->events = 0;
    reply->slices_left = 0;
    reply->gap_ns = 0;
    reply->first_ns = 0;
}

static bool asks_early(struct conn *conn)
{
    uint64_t status = 0;

    if (!request_header_u64(&conn->request, "X-Pod-Early", &status)) {
        return false;
    }
    conn->request.keep_alive = false;
    page_error(&conn->reply, (unsigned)status, "answered before the body");
    return true;
}

/* Write what has been decided, as soon as it is due. */
static void launch(struct conn *conn)
{
    pick_framing(conn);
    conn->state = CONN_REPLY;
    conn->reply.step = REPLY_HEAD;
    conn_flush(conn);
}

void reply_begin(struct conn *conn)
{
    struct reply *reply = &conn->reply;
    enum page_kind kind = page_find(conn);

    clear(reply);
    reply->begun_ns = clock_mono_ns();
    reply->due_ns = reply->begun_ns;
    reply->is_counted = kind != PAGE_PROBE && kind != PAGE_CONTROL;
    if (reply->is_counted) {
        reply->number = ++conn->pod->next_request;
        conn->pod->counters.started++;
        conn->pod->counters.active++;
    } else if (kind == PAGE_PROBE) {
        conn->pod->counters.probes++;
    }
    if (asks_early(conn)) {
        launch(conn);
    }
}

void reply_refuse(struct conn *conn, unsigned status, const char *why)
{
    clear(&conn->reply);
    conn->close_at_end = true;
    conn->request.minor = 1;
    conn->request.method = STR_EMPTY;
    conn->request.header_count = 0;
    page_error(&conn->reply, status, why);
    conn->reply.due_ns = 0;
    launch(conn);
}

static struct fault fault_for(const struct pod *pod, enum page_kind kind)
{
    struct fault fault = pod->settings.fault;
    bool is_for_health = fault.kind == FAULT_SLOW_HEALTH || fault.kind == FAULT_HANG;
    bool is_for_requests = fault.kind != FAULT_SLOW_HEALTH;
    bool applies = kind == PAGE_PROBE ? is_for_health || fault.on_health : is_for_requests;

    if (kind == PAGE_CONTROL || !applies) {
        fault = (struct fault){.kind = FAULT_NONE};
    }
    return fault;
}

static void fill_error_fault(struct reply *reply)
{
    switch (reply->fault.kind) {
    case FAULT_ERROR:
        page_error(reply, (unsigned)reply->fault.number, "the pod was told to fail");
        break;
    case FAULT_FULL:
        page_error(reply, 429, "the pod is full");
        buf_append_str(&reply->extra_headers, STR_LIT("Retry-After: 1\r\n"));
        break;
    case FAULT_FULL_503:
        page_error(reply, 503, "the pod is full");
        buf_append_str(&reply->extra_headers, STR_LIT("Retry-After: 1\r\n"));
        break;
    default:
        return;
    }
    reply->is_stream = false;
    reply->slices_left = 0;
}

static uint64_t override_ms(const struct conn *conn, const char *header, uint64_t fallback)
{
    uint64_t value = fallback;
    (void)request_header_u64(&conn->request, header, &value);
    return value * NS_PER_MS;
}

static void fill_generated(struct conn *conn, const struct shape *shape)
{
    struct reply *reply = &conn->reply;
    struct generation *generation = &reply->generation;
    const struct pod_settings *settings = &conn->pod->settings;

    reply->content_type = "application/json";
    generation->pod = conn->pod->options->name;
    generation->number = reply->number;
    const char *reason =
        generation_read(generation, shape, buf_str(&conn->request.body), settings->tokens);
    if (reason != NULL) {
        page_error(reply, 400, reason);
        return;
    }
    (void)request_header_u64(&conn->request, "X-Pod-Tokens", &generation->tokens);
    conn->pod->counters.prompt_tokens += generation->prompt_tokens;
    reply->first_ns = override_ms(conn, "X-Pod-First-Token-Ms", settings->first_token_ms);
    if (shape->open == NULL) {
        generation->tokens = 0; /* embeddings come at once */
    }
    reply->gap_ns = override_ms(conn, "X-Pod-Gap-Ms", settings->token_gap_ms);
    reply->is_stream = generation->is_stream && shape->open != NULL;
    if (reply->is_stream) {
        reply->content_type = "text/event-stream; charset=utf-8";
        return;
    }
    shape->plain(generation, &reply->body);
    reply->due_ns += reply->first_ns + generation->tokens * reply->gap_ns;
    conn->pod->counters.generation_tokens += generation->tokens;
}

static void apply_overrides(struct conn *conn)
{
    struct reply *reply = &conn->reply;
    struct str header = request_header_get(&conn->request, "X-Pod-Header");
    uint64_t status = 0;

    if (header.len > 0) {
        buf_append_str(&reply->extra_headers, header);
        buf_append_str(&reply->extra_headers, STR_LIT("\r\n"));
    }
    if (request_header_get(&conn->request, "X-Pod-Trailers").len > 0) {
        buf_append_str(&reply->extra_headers, STR_LIT("Trailer: X-Pod-Trailer\r\n"));
    }
    if (request_header_u64(&conn->request, "X-Pod-Status", &status) && status != 200) {
        reply->is_stream = false;
        page_error(reply, (unsigned)status, "the request asked for this status");
    }
}

void reply_start(struct conn *conn)
{
    struct reply *reply = &conn->reply;
    const struct pod_settings *settings = &conn->pod->settings;
    enum page_kind kind = page_find(conn);
    const struct shape *shape =
        str_eq(conn->request.method, STR_LIT("POST")) ? shape_find(conn->request.path) : NULL;

    reply->due_ns = clock_mono_ns();
    reply->fault = fault_for(conn->pod, kind);
    if (kind != PAGE_CONTROL) {
        reply->due_ns += settings->path_delay_ms * NS_PER_MS;
    }
    if (reply->fault.kind == FAULT_SLOW_HEALTH) {
        reply->due_ns += reply->fault.number * NS_PER_MS;
    }
    if (shape != NULL) {
        fill_generated(conn, shape);
    } else {
        page_fill(conn, kind);
        if (kind != PAGE_CONTROL) {
            reply->due_ns += override_ms(conn, "X-Pod-First-Token-Ms", 0);
        }
    }
    apply_overrides(conn);
    fill_error_fault(reply);
    launch(conn);
}
