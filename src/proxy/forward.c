/* SPDX-License-Identifier: MIT */
/*
 * Heads on their way through: what goes on, what is dropped, what is added.
 *
 * Nothing is passed through as it came: each line is written again from what was understood.
 * Hop-by-hop fields (RFC 9110, 7.6.1) and those that Connection names end here. Forwarding fields
 * are written afresh, unless a trusted proxy sent the request: then they are extended.
 */
#include "request_private.h"

#include "client_private.h"
#include "forwarded_private.h"
#include "worker_private.h"

#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>

#include <stdio.h>

/* Request fields that are written here or end here. */
static bool request_field_ends(const struct request *request, const struct http_field *field)
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
    case HTTP_NAME_OTHER:
        return field->drop || !forwarded_may_pass(field->name, request->peer_is_trusted);
    default:
        return field->drop || http_name_is_hop(field->id);
    }
}

/* RFC 7239: for="[2001:db8::1]";proto=https */
static void write_forwarded(const struct request *request, struct str ip, struct str proto,
                            struct buf *out)
{
    const bool is_v6 = str_find_char(ip, ':') < ip.len;
    char text[ADDR_TEXT_LEN + 32];
    const int len =
        snprintf(text, sizeof(text), is_v6 ? "for=\"[%.*s]\";proto=%.*s" : "for=%.*s;proto=%.*s",
                 STR_FMT(ip), STR_FMT(proto));

    forwarded_write_list(out, request->head, HTTP_NAME_FORWARDED, STR_LIT("Forwarded"),
                         str_make(text, (size_t)len));
}

/* What a trusted peer said, if it is one and said something; else `own`. */
static struct str believed(const struct request *request, enum http_name id, struct str own)
{
    const struct str said =
        request->peer_is_trusted ? http_head_value(request->head, id) : STR_EMPTY;

    return said.len > 0 ? said : own;
}

static void write_forwarding(const struct request *request, struct buf *out)
{
    const struct str proto = request->over_tls ? STR_LIT("https") : STR_LIT("http");
    char text[ADDR_TEXT_LEN];
    const struct str ip = str_make(text, addr_format_ip(&request->peer, text));
    const struct str host = believed(request, HTTP_NAME_X_FORWARDED_HOST, request->head->authority);

    if (request->peer_is_trusted) {
        forwarded_write_list(out, request->head, HTTP_NAME_X_FORWARDED_FOR,
                             STR_LIT("X-Forwarded-For"), ip);
    } else {
        h1_write_field(out, STR_LIT("X-Forwarded-For"), ip);
    }
    h1_write_field(out, STR_LIT("X-Forwarded-Proto"),
                   believed(request, HTTP_NAME_X_FORWARDED_PROTO, proto));
    if (host.len > 0) {
        h1_write_field(out, STR_LIT("X-Forwarded-Host"), host);
    }
    /* Extended where it is in use; two ways to say the same need not be begun here. */
    if (request->peer_is_trusted && http_head_find(request->head, HTTP_NAME_FORWARDED) != NULL) {
        write_forwarded(request, ip, proto, out);
    }
}

static void write_length(struct buf *out, uint64_t length)
{
    buf_append_str(out, STR_LIT("Content-Length: "));
    buf_append_u64(out, length);
    buf_append_str(out, STR_LIT("\r\n"));
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
    write_length(out, body->framing == HTTP_BODY_LENGTH ? body->expected : body->received);
}

void request_write_head(struct request *request, struct buf *out)
{
    const struct http_head *head = request->head;
    const struct view_region *region = &request->view->regions[request->choice.region];
    const struct view_endpoint *endpoint = &region->endpoints[request->choice.endpoint];

    h1_write_request_line(out, head->method_text, head->target);
    h1_write_field(out, STR_LIT("Host"), str_of(endpoint->authority));
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (!request_field_ends(request, field) && !span_field_ends(request, field)) {
            h1_write_field(out, field->name, field->value);
        }
    }
    write_forwarding(request, out);
    forwarded_write_via(out, head, request->world->conf->edge.id);
    h1_write_field(out, STR_LIT("X-Request-Id"), request->id);
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

    client_reply_field(client, STR_LIT("X-Request-Id"), request->id);
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
    uint64_t length;
    bool no_body = request->head->method == HTTP_HEAD || head->status == 204 || head->status == 304;

    if (client == NULL) {
        return;
    }
    client_reply_head(client, head->status);
    write_answer_fields(request, head);
    forwarded_write_via(&request->worker->reply_head, head, NULL);
    if (http_head_find(head, HTTP_NAME_DATE) == NULL) {
        client_reply_field(client, STR_LIT("Date"), worker_date(request->worker));
    }
    client_reply_field(client, STR_LIT("Cache-Status"), cache_status(request));
    forward_common_fields(request);
    if (no_body && head->status != 204 &&
        str_to_u64(http_head_value(head, HTTP_NAME_CONTENT_LENGTH), &length)) {
        write_length(&request->worker->reply_head, length);
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
