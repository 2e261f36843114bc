/* SPDX-License-Identifier: MIT */
/*
 * Heads of requests: request line (RFC 9112 3), then what the fields mean for a server.
 *
 * One pass over the bytes; a fault is told as soon as it is seen, so that what can never become a
 * request (a TLS hello, say) is refused at its first byte.
 */
#include "char_class_private.h"
#include "h1_private.h"
#include "scan_private.h"

#define METHOD_BYTES_MAX 32
#define EMPTY_LINES_MAX  2 /* RFC 9112 2.2: before a request line, left over from old clients */

static enum http_method find_method(struct str text)
{
#define IS(name) (memcmp(text.ptr, name, sizeof(name) - 1) == 0)
    switch (text.len) {
    case 3:
        return IS("GET") ? HTTP_GET : IS("PUT") ? HTTP_PUT : HTTP_METHOD_OTHER;
    case 4:
        return IS("POST") ? HTTP_POST : IS("HEAD") ? HTTP_HEAD : HTTP_METHOD_OTHER;
    case 5:
        return IS("PATCH") ? HTTP_PATCH : IS("TRACE") ? HTTP_TRACE : HTTP_METHOD_OTHER;
    case 6:
        return IS("DELETE") ? HTTP_DELETE : HTTP_METHOD_OTHER;
    case 7:
        return IS("OPTIONS") ? HTTP_OPTIONS : IS("CONNECT") ? HTTP_CONNECT : HTTP_METHOD_OTHER;
    default:
        return HTTP_METHOD_OTHER;
    }
#undef IS
}

static enum h1_result skip_empty_lines(struct h1_cursor *cursor)
{
    enum h1_result result = H1_COMPLETE;

    for (unsigned i = 0; i < EMPTY_LINES_MAX && result == H1_COMPLETE; i++) {
        if (cursor->at < cursor->end && *cursor->at != '\r') {
            break;
        }
        result = h1_take_line_end(cursor, H1_BAD_LINE);
    }
    return result;
}

static enum h1_result take_method(struct h1_cursor *cursor, struct http_head *head)
{
    const char *const start = cursor->at;
    const char *at = start;

    while (at < cursor->end && char_is(*at, CHAR_TOKEN)) {
        at++;
    }
    if (at - start > METHOD_BYTES_MAX) {
        return H1_BAD_METHOD;
    }
    if (at == cursor->end) {
        return cursor->out_of_input;
    }
    if (at == start || *at == '\r' || *at == '\n') {
        return H1_BAD_LINE;
    }
    if (*at != ' ') {
        return H1_BAD_METHOD;
    }
    head->method_text = str_make(start, (size_t)(at - start));
    head->method = find_method(head->method_text);
    cursor->at = at + 1;
    return H1_COMPLETE;
}

static enum h1_result take_target(struct h1_cursor *cursor, const struct h1_limits *limits,
                                  struct http_head *head)
{
    const char *const start = cursor->at;
    const char *const at = scan_target(start, cursor->end);

    if ((size_t)(at - start) > limits->uri_bytes) {
        return H1_URI_TOO_LONG;
    }
    if (at == cursor->end) {
        return cursor->out_of_input;
    }
    if (*at == '\r' || *at == '\n' || (*at == ' ' && at == start)) {
        return H1_BAD_LINE;
    }
    if (*at != ' ') {
        return H1_BAD_TARGET;
    }
    head->target = str_make(start, (size_t)(at - start));
    cursor->at = at + 1;
    return H1_COMPLETE;
}

static enum h1_result take_request_line(struct h1_cursor *cursor, const struct h1_limits *limits,
                                        struct http_head *head)
{
    enum h1_result result = take_method(cursor, head);

    if (result == H1_COMPLETE) {
        result = take_target(cursor, limits, head);
    }
    if (result == H1_COMPLETE) {
        result = h1_take_version(cursor, &head->version_minor);
    }
    if (result == H1_COMPLETE) {
        result = h1_take_line_end(cursor, H1_BAD_LINE);
    }
    if (result == H1_COMPLETE) {
        result = h1_resolve_target(head);
    }
    return result;
}

/* RFC 9112 3.2: exactly one Host in HTTP/1.1. A target with an authority of its own wins by the
 * RFC; here both must agree, since what comes behind us may look at either. */
static enum h1_result resolve_host(struct http_head *head)
{
    const struct str host = http_head_value(head, HTTP_NAME_HOST);

    if (!http_head_has(head, HTTP_NAME_HOST)) {
        return head->version_minor == 0 ? H1_COMPLETE : H1_BAD_HOST;
    }
    if (http_head_repeats(head, HTTP_NAME_HOST) || !h1_is_authority(host)) {
        return H1_BAD_HOST;
    }
    if (head->authority.len > 0 && !str_eq_nocase(head->authority, host)) {
        return H1_BAD_HOST;
    }
    head->authority = host;
    return H1_COMPLETE;
}

/* RFC 9110 10.1.1: HTTP/1.0 clients cannot expect anything, and without a body there is nothing
 * to wait for. */
static enum h1_result resolve_expect(struct http_head *head)
{
    const bool has_body = head->body == HTTP_BODY_CHUNKED || head->content_length > 0;

    head->expect_continue = false;
    if (!http_head_has(head, HTTP_NAME_EXPECT) || head->version_minor == 0) {
        return H1_COMPLETE;
    }
    if (http_head_repeats(head, HTTP_NAME_EXPECT) ||
        !str_eq_nocase(http_head_value(head, HTTP_NAME_EXPECT), STR_LIT("100-continue"))) {
        return H1_BAD_EXPECT;
    }
    head->expect_continue = has_body;
    return H1_COMPLETE;
}

static enum h1_result resolve(struct http_head *head)
{
    enum h1_result result = resolve_host(head);

    if (result == H1_COMPLETE) {
        result = h1_resolve_framing(head);
    }
    if (result == H1_COMPLETE) {
        result = resolve_expect(head);
    }
    if (result == H1_COMPLETE) {
        result = h1_resolve_connection(head);
    }
    return result;
}

enum h1_result h1_parse_request(struct str input, const struct h1_limits *limits,
                                struct http_head *ret_head, size_t *ret_used)
{
    struct h1_cursor cursor = h1_cursor_make(input, limits);
    enum h1_result result = skip_empty_lines(&cursor);

    if (result == H1_COMPLETE) {
        result = take_request_line(&cursor, limits, ret_head);
    }
    if (result == H1_COMPLETE) {
        result = h1_take_fields(&cursor, limits, ret_head);
    }
    if (result == H1_COMPLETE) {
        result = resolve(ret_head);
    }
    if (result == H1_COMPLETE) {
        ret_head->status = 0;
        ret_head->reason = STR_EMPTY;
        *ret_used = (size_t)(cursor.at - input.ptr);
    }
    return result;
}
