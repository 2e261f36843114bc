/* SPDX-License-Identifier: MIT */
/* Looking into heads: known names, fields, tokens, reason phrases. Whatever the wire form was. */
#include <nearside/http/head.h>

#include <nearside/base/attr.h>

struct name_row {
    const char *text;
    size_t len;
    bool hop;
};

static const struct name_row names[HTTP_NAME_COUNT] = {[HTTP_NAME_OTHER] = {"", 0, false},
#define X(suffix, name, is_hop) [HTTP_NAME_##suffix] = {name, sizeof(name) - 1, (is_hop) != 0},
                                                       HTTP_NAMES(X)
#undef X
};

static uint64_t load8(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return word;
}

/* Is `name` the text of `id`, which has the same length? Setting bit 0x20 makes ASCII letters
 * small and leaves "-" alone; names hold nothing else. Of other bytes only CR would be mistaken
 * (for "-"), and no codec lets one into a name. */
static bool is_name(struct str name, enum http_name id)
{
    static const uint64_t small = 0x2020202020202020ULL;
    const char *text = names[id].text;
    size_t at = 0;

    if (name.len != names[id].len) {
        return false;
    }
    if (name.len < 8) {
        while (at < name.len && (name.ptr[at] | 0x20) == text[at]) {
            at++;
        }
        return at == name.len;
    }
    for (; at + 8 < name.len; at += 8) {
        if ((load8(name.ptr + at) | small) != load8(text + at)) {
            return false;
        }
    }
    /* The last eight bytes, some of them perhaps for the second time. */
    at = name.len - 8;
    return (load8(name.ptr + at) | small) == load8(text + at);
}

static enum http_name if_name(struct str name, enum http_name id)
{
    return is_name(name, id) ? id : HTTP_NAME_OTHER;
}

static enum http_name if_either(struct str name, enum http_name a, enum http_name b)
{
    return is_name(name, a) ? a : if_name(name, b);
}

/* Length and first letter leave one candidate, or two. */
#define KEY(len, letter) ((len) << 8 | (unsigned)(letter))

static enum http_name candidate(struct str name)
{
    switch (KEY(name.len, (unsigned char)name.ptr[0] | 0x20)) {
    case KEY(2, 't'):
        return if_name(name, HTTP_NAME_TE);
    case KEY(6, 'o'):
        return if_name(name, HTTP_NAME_ORIGIN);
    case KEY(3, 'v'):
        return if_name(name, HTTP_NAME_VIA);
    case KEY(3, 'a'):
        return if_name(name, HTTP_NAME_AGE);
    case KEY(4, 'h'):
        return if_name(name, HTTP_NAME_HOST);
    case KEY(4, 'v'):
        return if_name(name, HTTP_NAME_VARY);
    case KEY(4, 'd'):
        return if_name(name, HTTP_NAME_DATE);
    case KEY(5, 'r'):
        return if_name(name, HTTP_NAME_RANGE);
    case KEY(6, 'e'):
        return if_name(name, HTTP_NAME_EXPECT);
    case KEY(6, 's'):
        return if_name(name, HTTP_NAME_SERVER);
    case KEY(7, 't'):
        return if_name(name, HTTP_NAME_TRAILER);
    case KEY(7, 'u'):
        return if_name(name, HTTP_NAME_UPGRADE);
    case KEY(9, 'f'):
        return if_name(name, HTTP_NAME_FORWARDED);
    case KEY(9, 'x'):
        return if_name(name, HTTP_NAME_X_API_KEY);
    case KEY(10, 'c'):
        return if_name(name, HTTP_NAME_CONNECTION);
    case KEY(10, 'k'):
        return if_name(name, HTTP_NAME_KEEP_ALIVE);
    case KEY(10, 's'):
        return if_name(name, HTTP_NAME_SET_COOKIE);
    case KEY(10, 'u'):
        return if_name(name, HTTP_NAME_USER_AGENT);
    case KEY(11, 'r'):
        return if_name(name, HTTP_NAME_RETRY_AFTER);
    case KEY(11, 't'):
        return if_name(name, HTTP_NAME_TRACEPARENT);
    case KEY(12, 'c'):
        return if_either(name, HTTP_NAME_CONTENT_TYPE, HTTP_NAME_CACHE_STATUS);
    case KEY(12, 'p'):
        return if_name(name, HTTP_NAME_PROXY_STATUS);
    case KEY(12, 'x'):
        return if_name(name, HTTP_NAME_X_REQUEST_ID);
    case KEY(13, 'a'):
        return if_name(name, HTTP_NAME_AUTHORIZATION);
    case KEY(13, 'c'):
        return if_name(name, HTTP_NAME_CACHE_CONTROL);
    case KEY(14, 'c'):
        return if_name(name, HTTP_NAME_CONTENT_LENGTH);
    case KEY(15, 'x'):
        return if_name(name, HTTP_NAME_X_FORWARDED_FOR);
    case KEY(16, 'p'):
        return if_name(name, HTTP_NAME_PROXY_CONNECTION);
    case KEY(16, 'c'):
        return if_name(name, HTTP_NAME_CONTENT_ENCODING);
    case KEY(16, 'x'):
        return if_name(name, HTTP_NAME_X_FORWARDED_HOST);
    case KEY(17, 't'):
        return if_name(name, HTTP_NAME_TRANSFER_ENCODING);
    case KEY(17, 'x'):
        return if_either(name, HTTP_NAME_X_FORWARDED_PROTO, HTTP_NAME_X_NEARSIDE_REGION);
    case KEY(18, 'p'):
        return if_name(name, HTTP_NAME_PROXY_AUTHENTICATE);
    case KEY(18, 'x'):
        return if_name(name, HTTP_NAME_X_NEARSIDE_REGIONS);
    case KEY(19, 'p'):
        return if_name(name, HTTP_NAME_PROXY_AUTHORIZATION);
    case KEY(19, 'x'):
        return if_name(name, HTTP_NAME_X_NEARSIDE_ATTEMPTS);
    default:
        return HTTP_NAME_OTHER;
    }
}

enum http_name http_name_find(struct str name)
{
    return name.len == 0 ? HTTP_NAME_OTHER : candidate(name);
}

bool http_name_is_hop(enum http_name id)
{
    return names[id].hop;
}

const struct http_field *http_head_find(const struct http_head *head, enum http_name id)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id == id) {
            return &head->fields[i];
        }
    }
    return NULL;
}

struct str http_head_value(const struct http_head *head, enum http_name id)
{
    const struct http_field *field = http_head_find(head, id);

    return field == NULL ? STR_EMPTY : field->value;
}

static bool list_has_token(struct str list, struct str token)
{
    struct str item;

    while (str_next_item(&list, ',', &item)) {
        if (str_eq_nocase(item, token)) {
            return true;
        }
    }
    return false;
}

bool http_head_has_token(const struct http_head *head, enum http_name id, struct str token)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id == id && list_has_token(head->fields[i].value, token)) {
            return true;
        }
    }
    return false;
}

struct str http_target_path(struct str target)
{
    return str_make(target.ptr, str_find_char(target, '?'));
}

/* The registered ones (RFC 9110 15 and the IANA registry) and 529, which model servers use. */
#define REASONS(X)                                                                                 \
    X(100, "Continue")                                                                             \
    X(101, "Switching Protocols")                                                                  \
    X(102, "Processing")                                                                           \
    X(103, "Early Hints")                                                                          \
    X(200, "OK")                                                                                   \
    X(201, "Created")                                                                              \
    X(202, "Accepted")                                                                             \
    X(203, "Non-Authoritative Information")                                                        \
    X(204, "No Content")                                                                           \
    X(205, "Reset Content")                                                                        \
    X(206, "Partial Content")                                                                      \
    X(300, "Multiple Choices")                                                                     \
    X(301, "Moved Permanently")                                                                    \
    X(302, "Found")                                                                                \
    X(303, "See Other")                                                                            \
    X(304, "Not Modified")                                                                         \
    X(307, "Temporary Redirect")                                                                   \
    X(308, "Permanent Redirect")                                                                   \
    X(400, "Bad Request")                                                                          \
    X(401, "Unauthorized")                                                                         \
    X(402, "Payment Required")                                                                     \
    X(403, "Forbidden")                                                                            \
    X(404, "Not Found")                                                                            \
    X(405, "Method Not Allowed")                                                                   \
    X(406, "Not Acceptable")                                                                       \
    X(407, "Proxy Authentication Required")                                                        \
    X(408, "Request Timeout")                                                                      \
    X(409, "Conflict")                                                                             \
    X(410, "Gone")                                                                                 \
    X(411, "Length Required")                                                                      \
    X(412, "Precondition Failed")                                                                  \
    X(413, "Content Too Large")                                                                    \
    X(414, "URI Too Long")                                                                         \
    X(415, "Unsupported Media Type")                                                               \
    X(416, "Range Not Satisfiable")                                                                \
    X(417, "Expectation Failed")                                                                   \
    X(421, "Misdirected Request")                                                                  \
    X(422, "Unprocessable Content")                                                                \
    X(424, "Failed Dependency")                                                                    \
    X(425, "Too Early")                                                                            \
    X(426, "Upgrade Required")                                                                     \
    X(428, "Precondition Required")                                                                \
    X(429, "Too Many Requests")                                                                    \
    X(431, "Request Header Fields Too Large")                                                      \
    X(451, "Unavailable For Legal Reasons")                                                        \
    X(500, "Internal Server Error")                                                                \
    X(501, "Not Implemented")                                                                      \
    X(502, "Bad Gateway")                                                                          \
    X(503, "Service Unavailable")                                                                  \
    X(504, "Gateway Timeout")                                                                      \
    X(505, "HTTP Version Not Supported")                                                           \
    X(507, "Insufficient Storage")                                                                 \
    X(511, "Network Authentication Required")                                                      \
    X(529, "Site Overloaded")

const char *http_reason(unsigned status)
{
    switch (status) {
#define X(number, phrase)                                                                          \
    case number:                                                                                   \
        return phrase;
        REASONS(X)
#undef X
    default:
        return "Unknown";
    }
}
