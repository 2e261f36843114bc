/* SPDX-License-Identifier: MIT */
/*
 * Answers made here: errors in OpenAI's shape, cached entries, and the error event that ends a
 * broken stream.
 */
#include "request_private.h"

#include "client_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>

#include <stdio.h>

#define ENTRY_SLICE_BYTES 131072 /* of a cached body per write: half of what may wait unsent */

/* ---- errors ---- */

static void error_body(const struct reply_error *error, struct buf *out)
{
    buf_append_str(out, STR_LIT("{\"error\":{\"message\":\""));
    buf_append_json(out, str_of(error->message));
    buf_printf(out, "\",\"type\":\"%s\",\"code\":\"%s\",\"param\":null}}\n", error->type,
               error->code);
}

static void error_fields(struct client_conn *conn, const struct reply_error *error)
{
    client_reply_field(conn, STR_LIT("Content-Type"), STR_LIT("application/json"));
    client_reply_field(conn, STR_LIT("Date"), worker_date(conn->worker));
    client_reply_field(conn, STR_LIT("Via"), STR_LIT("1.1 nearside"));
    if (error->retry_after_s > 0) {
        char text[12];
        size_t len = (size_t)snprintf(text, sizeof(text), "%u", error->retry_after_s);
        client_reply_field(conn, STR_LIT("Retry-After"), str_make(text, len));
    }
    if (error->proxy_status != NULL) {
        char text[96];
        size_t len =
            (size_t)snprintf(text, sizeof(text), "nearside; error=%s", error->proxy_status);
        client_reply_field(conn, STR_LIT("Proxy-Status"), str_make(text, len));
    }
}

static void write_error(struct client_conn *conn, const struct reply_error *error, bool no_body)
{
    struct buf body;

    buf_init(&body);
    error_body(error, &body);
    client_reply_head_end(conn, error->status, HTTP_BODY_LENGTH, buf_len(&body), no_body);
    client_reply_data(conn, buf_str(&body));
    client_reply_end(conn);
    (void)client_reply_flush(conn);
    buf_done(&body);
}

const struct reply_error reply_buffers_full = {
    .status = 503,
    .type = "server_error",
    .code = "buffers_full",
    .proxy_status = "proxy_internal_response",
    .retry_after_s = 1,
    .message = "Too much is being held for clients at once (limits.buffer_total_bytes). Try again "
               "shortly.",
};

static void tell_error(struct request *request, const struct reply_error *error)
{
    struct client_conn *conn = request->client;

    request->status = error->status;
    request->reason = error->code;
    request->end = REQUEST_END_REFUSED;
    request->bytes_sent = 0;
    if (conn == NULL) {
        return;
    }
    client_reply_head(conn, error->status);
    error_fields(conn, error);
    forward_common_fields(request);
    write_error(conn, error, request->head->method == HTTP_HEAD);
}

void reply_error(struct request *request, const struct reply_error *error)
{
    tell_error(request, error);
    request_reply(request);
}

void reply_error_raw(struct client_conn *conn, const struct reply_error *error)
{
    conn->reply_none = false;
    client_reply_head(conn, error->status);
    error_fields(conn, error);
    write_error(conn, error, false);
    access_log_refused(conn, error->status, error->code);
}

/* RFC 9209 words for what went wrong with the last attempt. */
static const char *proxy_status_of(enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_CONNECT_REFUSED:
        return "connection_refused";
    case OUTCOME_CONNECT_TIMEOUT:
        return "connection_timeout";
    case OUTCOME_CONNECT_ERROR:
        return "destination_ip_unroutable";
    case OUTCOME_TLS_ERROR:
        return "tls_protocol_error";
    case OUTCOME_MALFORMED:
        return "http_protocol_error";
    case OUTCOME_HEAD_TIMEOUT:
    case OUTCOME_DEADLINE:
        return "http_response_timeout";
    case OUTCOME_LOCAL_LIMIT:
        return "connection_limit_reached";
    default:
        return "connection_terminated";
    }
}

static bool any_region_usable(const struct worker *worker)
{
    for (uint32_t i = 0; i < worker->view->region_count; i++) {
        if (worker->view->regions[i].usable) {
            return true;
        }
    }
    return false;
}

static struct reply_error error_of(const struct request *request, enum outcome outcome)
{
    struct reply_error error = {
        .status = 502,
        .type = "server_error",
        .code = outcome_word(outcome),
        .proxy_status = proxy_status_of(outcome),
        .message = "The endpoints that were tried failed before they answered.",
    };

    if (outcome == OUTCOME_CONNECT_TIMEOUT || outcome == OUTCOME_HEAD_TIMEOUT ||
        outcome == OUTCOME_DEADLINE) {
        error.status = 504;
        error.message = "No answer began in time.";
    } else if (outcome == OUTCOME_LOCAL_LIMIT || outcome == OUTCOME_FULL) {
        error.status = 503;
        error.retry_after_s = 1;
        error.message = "There is no room for this request now. Try again shortly.";
    }
    if (outcome != OUTCOME_DEADLINE && !any_region_usable(request->worker)) {
        error.status = 503;
        error.code = "no_region";
        error.retry_after_s = 2;
        error.message = "Every region is down. Try again shortly.";
    }
    return error;
}

void reply_failure(struct request *request, enum outcome outcome)
{
    const struct reply_error error = error_of(request, outcome);

    if (!stale_instead_of(request, outcome)) {
        reply_error(request, &error);
    }
}

bool reply_deadline_alone(struct request *request)
{
    const struct reply_error error = error_of(request, OUTCOME_DEADLINE);

    if (stale_is_ready(request) || !share_outlives_client(request)) {
        return false;
    }
    tell_error(request, &error);
    share_let_client_go(request);
    return true;
}

/* ---- cached answers ---- */

static bool has_date(struct str fields)
{
    struct str date = STR_LIT("date:");

    while (fields.len > 0) {
        if ((fields.ptr[0] | 0x20) == 'd' && str_eq_nocase(str_slice(fields, 0, date.len), date)) {
            return true;
        }
        fields = str_slice(fields, str_find_char(fields, '\n') + 1, fields.len);
    }
    return false;
}

static void entry_fields(struct client_conn *conn, const struct cache_entry *entry)
{
    struct str fields = cache_entry_fields(entry);

    /* "name: value\r\n" lines, checked when the entry was made. */
    buf_append_str(&conn->worker->reply_head, fields);
    if (!has_date(fields)) {
        char date[HTTP_DATE_LEN];
        http_date_format(cache_entry_stored_wall_ms(entry), date);
        client_reply_field(conn, STR_LIT("Date"), str_make(date, sizeof(date) - 1));
    }
}

/* Whole seconds, downwards: what has just passed its time has -1, not 0. */
static int64_t floor_s(int64_t ms)
{
    return ms >= 0 ? ms / 1000 : -((999 - ms) / 1000);
}

static void put_seconds(struct buf *out, int64_t seconds)
{
    if (seconds < 0) {
        buf_append_char(out, '-');
    }
    buf_append_u64(out, (uint64_t)(seconds < 0 ? -seconds : seconds));
}

/* By hand: printf would cost as much as the rest of a hit's head. */
static void entry_status(struct client_conn *conn, const struct cache_entry *entry,
                         enum metric_tier tier)
{
    struct buf *out = &conn->worker->reply_head;
    uint64_t now_ms = clock_wall_ms();
    uint64_t stored_ms = cache_entry_stored_wall_ms(entry);
    int64_t age_s = now_ms > stored_ms ? (int64_t)((now_ms - stored_ms) / 1000) : 0;
    int64_t ttl_s = floor_s((int64_t)(stored_ms + cache_entry_ttl_ms(entry) - now_ms) - 1);

    buf_append_str(out, STR_LIT("Cache-Status: nearside; hit; ttl="));
    put_seconds(out, ttl_s);
    buf_append_str(out, tier == METRIC_TIER_MEMORY ? STR_LIT("; detail=memory\r\nAge: ")
                                                   : STR_LIT("; detail=redis\r\nAge: "));
    put_seconds(out, age_s);
    buf_append_str(out, STR_LIT("\r\n"));
}

void reply_entry(struct request *request, struct cache_entry *entry, enum metric_tier tier)
{
    struct client_conn *conn = request->client;

    request->entry = entry;
    request->entry_offset = 0;
    request->status = 200;
    client_reply_head(conn, 200);
    entry_fields(conn, entry);
    client_reply_field(conn, STR_LIT("Via"), STR_LIT("1.1 nearside"));
    entry_status(conn, entry, tier);
    forward_common_fields(request);
    client_reply_head_end(conn, 200, HTTP_BODY_LENGTH, cache_entry_body(entry).len, false);
}

bool reply_entry_more(struct request *request)
{
    struct str body = cache_entry_body(request->entry);
    enum client_room room;

    if (request->out_of_time) {
        client_reply_abort(request->client);
        request->reason = outcome_word(OUTCOME_DEADLINE);
        return true;
    }
    do {
        size_t to = request->entry_offset + ENTRY_SLICE_BYTES;
        struct str slice = str_slice(body, request->entry_offset, to);
        client_reply_data(request->client, slice);
        request->entry_offset += slice.len;
        request->bytes_sent += slice.len;
        if (request->entry_offset == body.len) {
            client_reply_end(request->client);
        }
        room = client_reply_flush(request->client);
    } while (room == CLIENT_ROOM && request->entry_offset < body.len);
    return request->entry_offset == body.len && room != CLIENT_GONE;
}

/* ---- broken streams ---- */

void reply_stream_error(struct request *request)
{
    static const char event[] =
        "event: error\ndata: {\"error\":{\"message\":\"The answer broke off before its end.\","
        "\"type\":\"server_error\",\"code\":\"stream_cut\",\"param\":null}}\n\n";

    if (request->client->reply_counted) {
        return; /* what is missing of the length says it; more bytes would make it look whole */
    }
    if (!request->sse->at_boundary) {
        /* End the half event first: a reader drops an event without its blank line. */
        client_reply_data(request->client, STR_LIT("\n\n"));
    }
    client_reply_data(request->client, str_make(event, sizeof(event) - 1));
    (void)client_reply_flush(request->client);
}
