/* SPDX-License-Identifier: MIT */
/*
 * Heads on their way through: what goes on, what is dropped, what is added.
 *
 * Nothing is passed through as it came: each line is written again from what was understood.
 * Hop-by-hop fields (RFC 9110, 7.6.1) and those that Connection names end here. Forwarding fields
 * are written afresh, never extended: nobody in front of this edge is trusted with them.
 */
#include "request_private.h"

#include "client_private.h"
#include "worker_private.h"

#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>

#include <stdio.h>

/* Request fields that are written here or end here. */
static bool request_field_ends(const struct http_field *field)
{
    switch (field->id) {
    case HTTP_NAME_HOST:
    case HTTP_NAME_CONTENT_LENGTH:
    case HTTP_NAME_EXPECT:
    case HTTP_NAME_VIA:
    case HTTP_NAME_FORWARDED:
    case HTTP_NAME_X_FORWARDED_FOR:
    case HTTP_NAME_X_FORWARDED_PROTO:
    case HTTP_NAME_X_FORWARDED_HOST:
    case HTTP_NAME_X_REQUEST_ID:
    case HTTP_NAME_X_NEARSIDE_REGIONS:
        return true;
    default:
        return field->drop || http_name_is_hop(field->id);
    }
}

static void write_via(struct buf *out, const struct http_head *head)
{
    struct str before = http_head_value(head, HTTP_NAME_VIA);

    buf_append_str(out, STR_LIT("Via: "));
    if (before.len > 0) {
        buf_append_str(out, before);
        buf_append_str(out, STR_LIT(", "));
    }
    buf_append_str(out, STR_LIT("1.1 nearside\r\n"));
}

static void write_host(struct buf *out, const struct view_endpoint *endpoint)
{
    struct str host = str_of(endpoint->host);
    bool brackets = str_find_char(host, ':') < host.len;

    buf_append_str(out, STR_LIT("Host: "));
    if (brackets) {
        buf_append_char(out, '[');
    }
    buf_append_str(out, host);
    if (brackets) {
        buf_append_char(out, ']');
    }
    if (endpoint->port != (endpoint->tls ? 443 : 80)) {
        buf_append_char(out, ':');
        buf_append_u64(out, endpoint->port);
    }
    buf_append_str(out, STR_LIT("\r\n"));
}

static void write_forwarding(const struct request *request, struct buf *out)
{
    char ip[ADDR_TEXT_LEN];
    size_t len = addr_format_ip(&request->peer, ip);

    h1_write_field(out, STR_LIT("X-Forwarded-For"), str_make(ip, len));
    h1_write_field(out, STR_LIT("X-Forwarded-Proto"),
                   request->over_tls ? STR_LIT("https") : STR_LIT("http"));
    if (request->head->authority.len > 0) {
        h1_write_field(out, STR_LIT("X-Forwarded-Host"), request->head->authority);
    }
}

static void write_framing(const struct request *request, struct buf *out)
{
    const struct request_body *body = &request->body;
    enum http_method method = request->head->method;

    if (request->exchange.chunked_request) {
        buf_append_str(out, STR_LIT("Transfer-Encoding: chunked\r\n"));
        return;
    }
    if (body->framing == HTTP_BODY_NONE && method != HTTP_POST && method != HTTP_PUT &&
        method != HTTP_PATCH) {
        return;
    }
    buf_append_str(out, STR_LIT("Content-Length: "));
    buf_append_u64(out, body->framing == HTTP_BODY_LENGTH ? body->expected : body->received);
    buf_append_str(out, STR_LIT("\r\n"));
}

void request_write_head(struct request *request, struct buf *out)
{
    const struct http_head *head = request->head;
    const struct view_region *region = &request->view->regions[request->choice.region];
    const struct view_endpoint *endpoint = &region->endpoints[request->choice.endpoint];

    h1_write_request_line(out, head->method_text, head->target);
    write_host(out, endpoint);
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (!request_field_ends(field) && !span_field_ends(request, field)) {
            h1_write_field(out, field->name, field->value);
        }
    }
    write_forwarding(request, out);
    write_via(out, head);
    h1_write_field(out, STR_LIT("X-Request-Id"), str_make(request->id, request->id_len));
    span_write_field(request, out);
    write_framing(request, out);
    h1_write_end(out);
}

/* ---- answers ---- */

static bool answer_field_ends(const struct http_field *field)
{
    switch (field->id) {
    case HTTP_NAME_CONTENT_LENGTH:
    case HTTP_NAME_VIA:
    case HTTP_NAME_X_REQUEST_ID:
    case HTTP_NAME_X_NEARSIDE_REGION:
    case HTTP_NAME_X_NEARSIDE_ATTEMPTS:
        return true;
    default:
        return field->drop || http_name_is_hop(field->id);
    }
}

static void write_answer_fields(struct request *request, const struct http_head *head)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (!answer_field_ends(field)) {
            client_reply_field(request->client, field->name, field->value);
        }
    }
}

void forward_common_fields(struct request *request)
{
    struct client_conn *client = request->client;

    client_reply_field(client, STR_LIT("X-Request-Id"), str_make(request->id, request->id_len));
    if (request->served_slot >= 0) {
        client_reply_field(client, STR_LIT("X-Nearside-Region"),
                           str_of(metric_region_name((unsigned)request->served_slot)));
    }
    if (request->attempts > 1) {
        char text[12];
        size_t len = (size_t)snprintf(text, sizeof(text), "%u", request->attempts);
        client_reply_field(client, STR_LIT("X-Nearside-Attempts"), str_make(text, len));
    }
}

static struct str cache_status(const struct request *request)
{
    if (request->fill != NULL && cache_fill_is_good(request->fill)) {
        return STR_LIT("nearside; fwd=miss; stored");
    }
    if (request->plan.lookup) {
        return STR_LIT("nearside; fwd=miss");
    }
    return STR_LIT("nearside; fwd=bypass");
}

void forward_answer_head(struct request *request, const struct http_head *head)
{
    struct client_conn *client = request->client;
    struct str length = http_head_value(head, HTTP_NAME_CONTENT_LENGTH);
    bool no_body = request->head->method == HTTP_HEAD || head->status == 204 || head->status == 304;

    if (client == NULL) {
        return;
    }
    client_reply_head(client, head->status);
    write_answer_fields(request, head);
    write_via(&request->worker->reply_head, head);
    if (http_head_find(head, HTTP_NAME_DATE) == NULL) {
        client_reply_field(client, STR_LIT("Date"), worker_date(request->worker));
    }
    client_reply_field(client, STR_LIT("Cache-Status"), cache_status(request));
    forward_common_fields(request);
    if (no_body && length.len > 0 && head->status != 204) {
        client_reply_field(client, STR_LIT("Content-Length"), length);
    }
    client_reply_head_end(client, head->status, no_body ? HTTP_BODY_NONE : head->body,
                          head->content_length, no_body);
}

void forward_interim_head(struct request *request, const struct http_head *head)
{
    struct client_conn *client = request->client;

    if (client->version_minor == 0) {
        return;
    }
    client_reply_head(client, head->status);
    write_answer_fields(request, head);
    client_reply_head_end(client, head->status, HTTP_BODY_NONE, 0, true);
}
