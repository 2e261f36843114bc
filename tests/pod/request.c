/* SPDX-License-Identifier: MIT */
/* See request.h. */
#include "request.h"

#include <nearside/base/attr.h>

void request_init(struct request *request)
{
    buf_init(&request->head);
    buf_init(&request->body);
    buf_init(&request->trailers);
    request_clear(request);
}

void request_done(struct request *request)
{
    buf_done(&request->head);
    buf_done(&request->body);
    buf_done(&request->trailers);
}

void request_clear(struct request *request)
{
    buf_clear(&request->head);
    buf_clear(&request->body);
    buf_clear(&request->trailers);
    request->header_count = 0;
    request->step = BODY_END;
}

size_t request_head_len(struct str in)
{
    size_t at = str_find(in, STR_LIT("\r\n\r\n"));
    return at == in.len ? 0 : at + 4;
}

static bool is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_token_char(text.ptr[i])) {
            return false;
        }
    }
    return text.len > 0;
}

static bool has_control_bytes(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return true;
        }
    }
    return false;
}

static const char *parse_start_line(struct request *request, struct str line)
{
    size_t first = str_find_char(line, ' ');
    struct str rest = str_slice(line, first + 1, line.len);
    size_t second = str_find_char(rest, ' ');
    struct str version = str_slice(rest, second + 1, rest.len);

    request->method = str_slice(line, 0, first);
    request->target = str_slice(rest, 0, second);
    request->path = str_slice(request->target, 0, str_find_char(request->target, '?'));
    if (!is_token(request->method)) {
        return "method is not a token";
    }
    if (request->target.len == 0 || has_control_bytes(request->target)) {
        return "bad request target";
    }
    if (version.len != 8 || memcmp(version.ptr, "HTTP/1.", 7) != 0) {
        return "not HTTP/1.x";
    }
    if (version.ptr[7] != '0' && version.ptr[7] != '1') {
        return "not HTTP/1.0 or HTTP/1.1";
    }
    request->minor = (unsigned)(version.ptr[7] - '0');
    return NULL;
}

static const char *parse_header_line(struct request *request, struct str line)
{
    size_t colon = str_find_char(line, ':');

    if (colon == line.len) {
        return "header line without a colon";
    }
    if (request->header_count == REQUEST_HEADERS_MAX) {
        return "too many headers";
    }
    struct request_header header = {
        .name = str_slice(line, 0, colon),
        .value = str_trim(str_slice(line, colon + 1, line.len)),
    };
    if (!is_token(header.name)) {
        return "header name is not a token";
    }
    if (has_control_bytes(header.value)) {
        return "control bytes in a header value";
    }
    request->headers[request->header_count++] = header;
    return NULL;
}

static bool list_has(struct str list, const char *wanted)
{
    struct str item;
    while (str_next_item(&list, ',', &item)) {
        if (str_eq_nocase(item, str_of(wanted))) {
            return true;
        }
    }
    return false;
}

static size_t header_occurs(const struct request *request, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        count += str_eq_nocase(request->headers[i].name, str_of(name)) ? 1 : 0;
    }
    return count;
}

/* Work out the framing; a message that two readers could frame differently is refused. */
static const char *parse_framing(struct request *request)
{
    struct str coding = request_header_get(request, "Transfer-Encoding");
    size_t lengths = header_occurs(request, "Content-Length");

    request->chunked = false;
    request->left = 0;
    request->step = BODY_END;
    if (header_occurs(request, "Transfer-Encoding") > 0) {
        if (lengths > 0) {
            return "both Content-Length and Transfer-Encoding";
        }
        if (!str_eq_nocase(coding, STR_LIT("chunked"))) {
            return "transfer coding is not chunked";
        }
        request->chunked = true;
        request->step = BODY_SIZE;
        return NULL;
    }
    if (lengths > 1) {
        return "more than one Content-Length";
    }
    if (lengths == 1) {
        if (!request_header_u64(request, "Content-Length", &request->left)) {
            return "Content-Length is not a number";
        }
        request->step = request->left == 0 ? BODY_END : BODY_LENGTH;
    }
    return request->left > REQUEST_BODY_MAX ? "body too large" : NULL;
}

static void parse_connection(struct request *request)
{
    struct str connection = request_header_get(request, "Connection");

    request->keep_alive =
        request->minor == 1 ? !list_has(connection, "close") : list_has(connection, "keep-alive");
    request->expects_continue =
        request->minor == 1 &&
        str_eq_nocase(request_header_get(request, "Expect"), STR_LIT("100-continue"));
}

const char *request_parse_head(struct request *request, struct str head)
{
    buf_append_str(&request->head, head);
    struct str rest = buf_str(&request->head);
    const char *reason = NULL;
    bool is_first = true;

    for (;;) {
        size_t end = str_find(rest, STR_LIT("\r\n"));
        struct str line = str_slice(rest, 0, end);
        rest = str_slice(rest, end + 2, rest.len);
        if (line.len == 0) {
            break;
        }
        reason = is_first ? parse_start_line(request, line) : parse_header_line(request, line);
        if (reason != NULL) {
            return reason;
        }
        is_first = false;
    }
    if (is_first) {
        return "empty request line";
    }
    if (request->minor == 1 && header_occurs(request, "Host") != 1) {
        return "HTTP/1.1 wants exactly one Host";
    }
    parse_connection(request);
    return parse_framing(request);
}

/* The next line of `in` without its CRLF; false when it has not all come. */
static bool peek_line(const struct buf *in, struct str *ret_line, const char **ret_reason)
{
    struct str all = buf_str(in);
    size_t end = str_find(all, STR_LIT("\r\n"));

    if (end == all.len) {
        if (all.len > REQUEST_HEAD_MAX) {
            *ret_reason = "line too long in a chunked body";
        }
        return false;
    }
    *ret_line = str_slice(all, 0, end);
    return true;
}

static bool parse_chunk_size(struct str line, uint64_t *ret_size)
{
    uint64_t size = 0;
    size_t digits = 0;

    for (; digits < line.len; digits++) {
        char c = str_lower_char(line.ptr[digits]);
        if (c >= '0' && c <= '9') {
            size = size * 16 + (uint64_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            size = size * 16 + (uint64_t)(c - 'a') + 10;
        } else {
            break;
        }
    }
    if (digits == 0 || digits > 15 || (digits < line.len && line.ptr[digits] != ';')) {
        return false;
    }
    *ret_size = size;
    return true;
}

static bool take_chunk_size(struct request *request, struct buf *in, const char **ret_reason)
{
    struct str line;

    if (!peek_line(in, &line, ret_reason)) {
        return false;
    }
    if (!parse_chunk_size(line, &request->left)) {
        *ret_reason = "bad chunk size";
        return false;
    }
    if (request->left > REQUEST_BODY_MAX - buf_len(&request->body)) {
        *ret_reason = "body too large";
        return false;
    }
    buf_consume(in, line.len + 2);
    request->step = request->left == 0 ? BODY_TRAILER : BODY_DATA;
    return true;
}

static bool take_data(struct request *request, struct buf *in, enum body_step next)
{
    struct str all = buf_str(in);
    struct str part = str_slice(all, 0, request->left < all.len ? (size_t)request->left : all.len);

    buf_append_str(&request->body, part);
    request->left -= part.len;
    buf_consume(in, part.len);
    if (request->left > 0) {
        return false;
    }
    request->step = next;
    return true;
}

static bool take_data_end(struct request *request, struct buf *in, const char **ret_reason)
{
    struct str all = buf_str(in);

    if (all.len < 2) {
        return false;
    }
    if (memcmp(all.ptr, "\r\n", 2) != 0) {
        *ret_reason = "no CRLF after a chunk";
        return false;
    }
    buf_consume(in, 2);
    request->step = BODY_SIZE;
    return true;
}

static bool take_trailer(struct request *request, struct buf *in, const char **ret_reason)
{
    struct str line;

    if (!peek_line(in, &line, ret_reason)) {
        return false;
    }
    if (line.len == 0) {
        request->step = BODY_END;
    } else {
        buf_append_str(&request->trailers, line);
        buf_append_char(&request->trailers, '\n');
    }
    buf_consume(in, line.len + 2);
    return true;
}

bool request_take_body(struct request *request, struct buf *in, const char **ret_reason)
{
    bool moved = true;

    *ret_reason = NULL;
    while (moved && request->step != BODY_END) {
        switch (request->step) {
        case BODY_LENGTH:
            moved = take_data(request, in, BODY_END);
            break;
        case BODY_SIZE:
            moved = take_chunk_size(request, in, ret_reason);
            break;
        case BODY_DATA:
            moved = take_data(request, in, BODY_DATA_END);
            break;
        case BODY_DATA_END:
            moved = take_data_end(request, in, ret_reason);
            break;
        case BODY_TRAILER:
            moved = take_trailer(request, in, ret_reason);
            break;
        case BODY_END:
            break;
        }
    }
    return request->step == BODY_END;
}

struct str request_header_get(const struct request *request, const char *name)
{
    struct str wanted = str_of(name);
    for (size_t i = 0; i < request->header_count; i++) {
        if (str_eq_nocase(request->headers[i].name, wanted)) {
            return request->headers[i].value;
        }
    }
    return STR_EMPTY;
}

bool request_header_u64(const struct request *request, const char *name, uint64_t *ret_value)
{
    return str_to_u64(request_header_get(request, name), ret_value);
}
