/* SPDX-License-Identifier: MIT */
/*
 * Field lines (RFC 9112 5) and what they say about the connection and the body (RFC 9112 6, 9).
 *
 * Strict where leniency has been used for request smuggling: no bare CR or LF, no folded lines,
 * no space before the colon, one Content-Length with digits only, one Transfer-Encoding that is
 * exactly "chunked", never both. Two readers of the same bytes must not be able to differ.
 */
#include "char_class_private.h"
#include "h1_private.h"
#include "scan_private.h"

#define VERSION_LEN 8 /* "HTTP/1.1" */

/* Options in all Connection lines together. Real ones hold two or three; each costs a walk over
 * the fields. */
#define CONNECTION_OPTIONS_MAX 32

/* What others keep in 63 bits must fit there. */
#define CONTENT_LENGTH_MAX ((uint64_t)INT64_MAX)

/* Fields that stay whatever Connection nominates: they frame the message, say what it is, who may
 * see it, or whence it comes. RFC 9110 7.6.1 forbids senders to nominate such fields; obeying one
 * who does would let a client strip what the next hop relies on. */
static const uint64_t never_dropped =
    HTTP_NAME_BIT(HTTP_NAME_HOST) | HTTP_NAME_BIT(HTTP_NAME_CONTENT_LENGTH) |
    HTTP_NAME_BIT(HTTP_NAME_CONTENT_TYPE) | HTTP_NAME_BIT(HTTP_NAME_CONTENT_ENCODING) |
    HTTP_NAME_BIT(HTTP_NAME_AUTHORIZATION) | HTTP_NAME_BIT(HTTP_NAME_X_API_KEY) |
    HTTP_NAME_BIT(HTTP_NAME_CACHE_CONTROL) | HTTP_NAME_BIT(HTTP_NAME_VARY) |
    HTTP_NAME_BIT(HTTP_NAME_SET_COOKIE) | HTTP_NAME_BIT(HTTP_NAME_DATE) |
    HTTP_NAME_BIT(HTTP_NAME_VIA) | HTTP_NAME_BIT(HTTP_NAME_FORWARDED) |
    HTTP_NAME_BIT(HTTP_NAME_X_FORWARDED_FOR) | HTTP_NAME_BIT(HTTP_NAME_X_FORWARDED_PROTO) |
    HTTP_NAME_BIT(HTTP_NAME_X_FORWARDED_HOST);

struct h1_cursor h1_cursor_make(struct str input, const struct h1_limits *limits)
{
    const bool at_limit = input.len >= limits->head_bytes;

    return (struct h1_cursor){
        .at = input.ptr,
        .end = input.len == 0 ? input.ptr : input.ptr + (at_limit ? limits->head_bytes : input.len),
        .out_of_input = at_limit ? H1_TOO_LARGE : H1_NEED_MORE,
    };
}

enum h1_result h1_take_line_end(struct h1_cursor *cursor, enum h1_result fault)
{
    const char *const at = cursor->at;
    const size_t left = (size_t)(cursor->end - at);

    if (left >= 2 && memcmp(at, "\r\n", 2) == 0) {
        cursor->at += 2;
        return H1_COMPLETE;
    }
    return left >= 2 || (left == 1 && *at != '\r') ? fault : cursor->out_of_input;
}

/* Byte by byte, for what is cut or wrong. */
static enum h1_result examine_version(const struct h1_cursor *cursor)
{
    static const char shape[] = "HTTP/#.#"; /* '#' is a digit */

    for (size_t i = 0; i < VERSION_LEN; i++) {
        const char *const at = cursor->at + i;

        if (at == cursor->end) {
            return cursor->out_of_input;
        }
        if (shape[i] == '#' ? !char_is(*at, CHAR_DIGIT) : *at != shape[i]) {
            return H1_BAD_LINE;
        }
    }
    return H1_BAD_VERSION;
}

enum h1_result h1_take_version(struct h1_cursor *cursor, unsigned *ret_minor)
{
    const char *const at = cursor->at;

    if (cursor->end - at < VERSION_LEN || memcmp(at, "HTTP/1.", VERSION_LEN - 1) != 0 ||
        (at[VERSION_LEN - 1] != '0' && at[VERSION_LEN - 1] != '1')) {
        return examine_version(cursor);
    }
    *ret_minor = (unsigned)(at[VERSION_LEN - 1] - '0');
    cursor->at += VERSION_LEN;
    return H1_COMPLETE;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* One field line. A line that begins with a blank (obs-fold), lacks a name, or has a blank before
 * the colon fails the token loop. */
static enum h1_result take_field(struct h1_cursor *cursor, struct http_field *field)
{
    const char *const end = cursor->end;
    const char *const name = cursor->at;
    const char *at = name;
    const char *value;
    const char *value_end;
    enum h1_result result;

    at = scan_plain(at, end);
    while (at < end && char_is(*at, CHAR_TOKEN)) {
        at++;
    }
    if (at == end) {
        return cursor->out_of_input;
    }
    if (*at != ':' || at == name) {
        return H1_BAD_FIELD;
    }
    field->name = str_make(name, (size_t)(at - name));

    do {
        at++;
    } while (at < end && is_blank(*at));
    value = at;
    value_end = scan_value(at, end);
    cursor->at = value_end;
    result = h1_take_line_end(cursor, H1_BAD_FIELD);
    while (value_end > value && is_blank(value_end[-1])) {
        value_end--;
    }
    field->value = str_make(value, (size_t)(value_end - value));
    return result;
}

enum h1_result h1_take_fields(struct h1_cursor *cursor, const struct h1_limits *limits,
                              struct http_head *head)
{
    const uint32_t fields_max = limits->fields < HTTP_FIELDS_MAX ? limits->fields : HTTP_FIELDS_MAX;
    struct h1_cursor line = *cursor; /* one that no store to `head` can change */
    uint64_t names = 0;
    uint64_t repeated = 0;
    uint32_t count = 0;

    while (line.at < line.end && *line.at != '\r') {
        struct http_field *field = &head->fields[count];
        enum h1_result result;

        if (count == fields_max) {
            return H1_TOO_MANY;
        }
        result = take_field(&line, field);
        if (result != H1_COMPLETE) {
            return result;
        }
        field->id = http_name_find(field->name);
        field->drop = false;
        repeated |= names & HTTP_NAME_BIT(field->id);
        names |= HTTP_NAME_BIT(field->id);
        count++;
    }
    head->names = names;
    head->names_repeated = repeated;
    head->field_count = count;
    *cursor = line;
    return h1_take_line_end(cursor, H1_BAD_FIELD);
}

static void drop_nominated(struct http_head *head, struct str option)
{
    const enum http_name id = http_name_find(option);

    if ((never_dropped & HTTP_NAME_BIT(id)) != 0) {
        return;
    }
    for (uint32_t i = 0; i < head->field_count; i++) {
        struct http_field *field = &head->fields[i];

        if (field->id == id && str_eq_nocase(field->name, option)) {
            field->drop = true;
        }
    }
}

struct connection_options {
    unsigned count;
    bool close;
    bool keep_alive;
    bool upgrade;
};

static enum h1_result read_options(struct http_head *head, struct str value,
                                   struct connection_options *options)
{
    struct str option;

    while (str_next_item(&value, ',', &option)) {
        options->count++;
        if (options->count > CONNECTION_OPTIONS_MAX) {
            return H1_BAD_FIELD;
        }
        if (str_eq_nocase(option, STR_LIT("close"))) {
            options->close = true;
        } else if (str_eq_nocase(option, STR_LIT("keep-alive"))) {
            options->keep_alive = true;
        } else if (str_eq_nocase(option, STR_LIT("upgrade"))) {
            options->upgrade = true;
        } else {
            drop_nominated(head, option);
        }
    }
    return H1_COMPLETE;
}

enum h1_result h1_resolve_connection(struct http_head *head)
{
    struct connection_options options = {.count = 0};

    for (uint32_t i = 0; http_head_has(head, HTTP_NAME_CONNECTION) && i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];

        if (field->id == HTTP_NAME_CONNECTION &&
            read_options(head, field->value, &options) != H1_COMPLETE) {
            return H1_BAD_FIELD;
        }
    }
    /* No field of HTTP's, but some who read it obey it: then we do, as far as it ends something. */
    options.close =
        options.close || (http_head_has(head, HTTP_NAME_PROXY_CONNECTION) &&
                          http_head_has_token(head, HTTP_NAME_PROXY_CONNECTION, STR_LIT("close")));
    head->keep_alive = !options.close && (head->version_minor >= 1 || options.keep_alive);
    /* RFC 9110 7.8: Upgrade without the option, or in HTTP/1.0, is ignored. */
    head->upgrade =
        options.upgrade && head->version_minor >= 1 && http_head_has(head, HTTP_NAME_UPGRADE);
    return H1_COMPLETE;
}

/* A tab before or behind a framing field's value (it lies in its line, which begins with the name
 * and ends with CR): allowed by RFC 9110 5.6.3, written by nobody, and read differently. */
static bool has_tab_beside(struct str value)
{
    const char *before = value.ptr - 1;
    const char *behind = value.ptr + value.len;

    while (*before == ' ') {
        before--;
    }
    while (*behind == ' ') {
        behind++;
    }
    return *before == '\t' || *behind == '\t';
}

static enum h1_result resolve_length(struct http_head *head)
{
    const struct str value = http_head_value(head, HTTP_NAME_CONTENT_LENGTH);
    uint64_t length;

    /* RFC 9112 6.3 lets a list of equal lengths pass; nobody honest sends one. */
    if (http_head_repeats(head, HTTP_NAME_CONTENT_LENGTH) || value.len == 0 ||
        has_tab_beside(value) || !str_to_u64(value, &length) || length > CONTENT_LENGTH_MAX) {
        return H1_BAD_LENGTH;
    }
    head->body = HTTP_BODY_LENGTH;
    head->content_length = length;
    return H1_COMPLETE;
}

enum h1_result h1_resolve_framing(struct http_head *head)
{
    const bool has_length = http_head_has(head, HTTP_NAME_CONTENT_LENGTH);
    const bool has_encoding = http_head_has(head, HTTP_NAME_TRANSFER_ENCODING);

    head->body = HTTP_BODY_NONE;
    head->content_length = 0;
    if (has_length && has_encoding) {
        return H1_BAD_FRAMING;
    }
    if (has_length) {
        return resolve_length(head);
    }
    if (!has_encoding) {
        return H1_COMPLETE;
    }
    const struct str encoding = http_head_value(head, HTTP_NAME_TRANSFER_ENCODING);
    /* Another coding under "chunked" would be lost here: the field is hop-by-hop, and we decode
     * chunks alone. */
    if (http_head_repeats(head, HTTP_NAME_TRANSFER_ENCODING) || head->version_minor == 0 ||
        has_tab_beside(encoding) || !str_eq_nocase(encoding, STR_LIT("chunked"))) {
        return H1_BAD_ENCODING;
    }
    head->body = HTTP_BODY_CHUNKED;
    return H1_COMPLETE;
}
