/* SPDX-License-Identifier: MIT */
/* See reply.h. Here: what is answered, when, and how it is counted; reply_write.c writes it. */
#include "reply.h"

#include "conn.h"
#include "pages.h"
#include "reply_private.h"

#include <nearside/base/clock.h>

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

void reply_end_count(struct conn *conn, uint64_t *counter)
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

void reply_note_content(struct conn *conn)
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
    reply_end_count(conn, by_client ? &counters->cancelled : &counters->broken);
    conn->reply.step = REPLY_NONE;
}

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
    reply_pick_framing(conn);
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
    case FAULT_HTML:
        buf_clear(&reply->body);
        buf_append_str(&reply->body, STR_LIT("<html><body>Please log in</body></html>\n"));
        reply->content_type = "text/html";
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
