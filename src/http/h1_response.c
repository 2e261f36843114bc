/* SPDX-License-Identifier: MIT */
/* Heads of responses: status line (RFC 9112 4), then where the body ends (RFC 9112 6.3). */
#include "char_class_private.h"
#include "h1_private.h"
#include "scan_private.h"

#define STATUS_MIN 100
#define STATUS_MAX 599

/* SP and three digits. */
static enum h1_result take_status(struct h1_cursor *cursor, struct http_head *head)
{
    static const char shape[] = " ###";
    const char *const at = cursor->at;

    for (size_t i = 0; i < sizeof(shape) - 1; i++) {
        if (at + i == cursor->end) {
            return cursor->out_of_input;
        }
        if (shape[i] == '#' ? !char_is(at[i], CHAR_DIGIT) : at[i] != shape[i]) {
            return H1_BAD_LINE;
        }
    }
    head->status =
        (unsigned)(at[1] - '0') * 100 + (unsigned)(at[2] - '0') * 10 + (unsigned)(at[3] - '0');
    cursor->at += sizeof(shape) - 1;
    return head->status >= STATUS_MIN && head->status <= STATUS_MAX ? H1_COMPLETE : H1_BAD_LINE;
}

/* SP and a phrase, which may be empty. Some servers leave out the SP as well. */
static enum h1_result take_reason(struct h1_cursor *cursor, struct http_head *head)
{
    const char *start;

    head->reason = STR_EMPTY;
    if (cursor->at < cursor->end && *cursor->at == ' ') {
        start = cursor->at + 1;
        cursor->at = scan_value(start, cursor->end);
        head->reason = str_make(start, (size_t)(cursor->at - start));
    }
    return h1_take_line_end(cursor, H1_BAD_LINE);
}

static enum h1_result take_status_line(struct h1_cursor *cursor, struct http_head *head)
{
    enum h1_result result = h1_take_version(cursor, &head->version_minor);

    if (result == H1_COMPLETE) {
        result = take_status(cursor, head);
    }
    if (result == H1_COMPLETE) {
        result = take_reason(cursor, head);
    }
    return result;
}

static bool is_bodiless(unsigned status, enum http_method request_method)
{
    return status < 200 || status == 204 || status == 304 || request_method == HTTP_HEAD ||
           (request_method == HTTP_CONNECT && status < 300);
}

/* A server that announces a body where HTTP knows none may well send it: the connection is not to
 * be trusted with another request. With 304 and HEAD the announcement is lawful. */
static bool is_contradicting_itself(const struct http_head *head)
{
    return (head->status < 200 || head->status == 204) &&
           (head->body == HTTP_BODY_CHUNKED || head->content_length > 0);
}

static void resolve_body(struct http_head *head, enum http_method request_method)
{
    const bool framed = http_head_has(head, HTTP_NAME_CONTENT_LENGTH) ||
                        http_head_has(head, HTTP_NAME_TRANSFER_ENCODING);

    if (is_bodiless(head->status, request_method)) {
        head->keep_alive = head->keep_alive && !is_contradicting_itself(head);
        head->body = HTTP_BODY_NONE;
        head->content_length = 0;
    } else if (!framed) {
        head->body = HTTP_BODY_CLOSE;
        head->keep_alive = false;
    }
}

static void clear_request_part(struct http_head *head)
{
    head->method = HTTP_METHOD_OTHER;
    head->method_text = STR_EMPTY;
    head->target = STR_EMPTY;
    head->authority = STR_EMPTY;
    head->expect_continue = false;
}

enum h1_result h1_parse_response(struct str input, const struct h1_limits *limits,
                                 enum http_method request_method, struct http_head *ret_head,
                                 size_t *ret_used)
{
    struct h1_cursor cursor = h1_cursor_make(input, limits);
    enum h1_result result = take_status_line(&cursor, ret_head);

    if (result == H1_COMPLETE) {
        result = h1_take_fields(&cursor, limits, ret_head);
    }
    if (result == H1_COMPLETE) {
        result = h1_resolve_framing(ret_head);
    }
    if (result == H1_COMPLETE) {
        result = h1_resolve_connection(ret_head);
    }
    if (result == H1_COMPLETE) {
        clear_request_part(ret_head);
        resolve_body(ret_head, request_method);
        *ret_used = (size_t)(cursor.at - input.ptr);
    }
    return result;
}
