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

static uint32_t load4(const char *at)
{
    uint32_t word;

    memcpy(&word, at, sizeof(word));
    return word;
}

/* Is `name` the text of `id`, which has the same length? Setting bit 0x20 makes ASCII letters
 * small and leaves "-" alone; names hold nothing else. Of other bytes only CR would be mistaken
 * (for "-"), and no codec lets one into a name. Words overlap at the end. */
static bool is_name(struct str name, enum http_name id)
{
    static const uint64_t small8 = 0x2020202020202020ULL;
    static const uint32_t small4 = 0x20202020U;
    const char *const text = names[id].text;
    const size_t len = name.len;

    if (len >= 8) {
        for (size_t at = 0; at + 8 < len; at += 8) {
            if ((load8(name.ptr + at) | small8) != load8(text + at)) {
                return false;
            }
        }
        return (load8(name.ptr + len - 8) | small8) == load8(text + len - 8);
    }
    if (len >= 4) {
        return (load4(name.ptr) | small4) == load4(text) &&
               (load4(name.ptr + len - 4) | small4) == load4(text + len - 4);
    }
    for (size_t at = 0; at < len; at++) {
        if ((name.ptr[at] | 0x20) != text[at]) {
            return false;
        }
    }
    return true;
}

/* Length and first letter (its low five bits: case does not matter) leave one candidate ... */
#define NAME_BYTES_MAX  19
#define AT(len, letter) [len][(letter)&0x1f]

static const uint8_t candidates[NAME_BYTES_MAX + 1][32] = {
    AT(2, 't') = HTTP_NAME_TE,
    AT(3, 'a') = HTTP_NAME_AGE,
    AT(3, 'v') = HTTP_NAME_VIA,
    AT(4, 'd') = HTTP_NAME_DATE,
    AT(4, 'h') = HTTP_NAME_HOST,
    AT(4, 'v') = HTTP_NAME_VARY,
    AT(5, 'r') = HTTP_NAME_RANGE,
    AT(6, 'e') = HTTP_NAME_EXPECT,
    AT(6, 'o') = HTTP_NAME_ORIGIN,
    AT(6, 's') = HTTP_NAME_SERVER,
    AT(7, 't') = HTTP_NAME_TRAILER,
    AT(7, 'u') = HTTP_NAME_UPGRADE,
    AT(9, 'f') = HTTP_NAME_FORWARDED,
    AT(9, 'x') = HTTP_NAME_X_API_KEY,
    AT(10, 'c') = HTTP_NAME_CONNECTION,
    AT(10, 'k') = HTTP_NAME_KEEP_ALIVE,
    AT(10, 's') = HTTP_NAME_SET_COOKIE,
    AT(10, 'u') = HTTP_NAME_USER_AGENT,
    AT(11, 'r') = HTTP_NAME_RETRY_AFTER,
    AT(11, 't') = HTTP_NAME_TRACEPARENT,
    AT(12, 'c') = HTTP_NAME_CONTENT_TYPE,
    AT(12, 'p') = HTTP_NAME_PROXY_STATUS,
    AT(12, 'x') = HTTP_NAME_X_REQUEST_ID,
    AT(13, 'a') = HTTP_NAME_AUTHORIZATION,
    AT(13, 'c') = HTTP_NAME_CACHE_CONTROL,
    AT(14, 'c') = HTTP_NAME_CONTENT_LENGTH,
    AT(15, 'x') = HTTP_NAME_X_FORWARDED_FOR,
    AT(16, 'c') = HTTP_NAME_CONTENT_ENCODING,
    AT(16, 'p') = HTTP_NAME_PROXY_CONNECTION,
    AT(16, 'x') = HTTP_NAME_X_FORWARDED_HOST,
    AT(17, 't') = HTTP_NAME_TRANSFER_ENCODING,
    AT(17, 'x') = HTTP_NAME_X_FORWARDED_PROTO,
    AT(18, 'p') = HTTP_NAME_PROXY_AUTHENTICATE,
    AT(18, 'x') = HTTP_NAME_X_NEARSIDE_REGIONS,
    AT(19, 'p') = HTTP_NAME_PROXY_AUTHORIZATION,
    AT(19, 'x') = HTTP_NAME_X_NEARSIDE_ATTEMPTS,
};

/* ... or a second one. */
static const uint8_t rivals[HTTP_NAME_COUNT] = {
    [HTTP_NAME_CONTENT_TYPE] = HTTP_NAME_CACHE_STATUS,
    [HTTP_NAME_X_FORWARDED_PROTO] = HTTP_NAME_X_NEARSIDE_REGION,
};

enum http_name http_name_find(struct str name)
{
    enum http_name id;

    if (name.len == 0 || name.len > NAME_BYTES_MAX) {
        return HTTP_NAME_OTHER;
    }
    id = (enum http_name)candidates[name.len][name.ptr[0] & 0x1f];
    while (id != HTTP_NAME_OTHER && !is_name(name, id)) {
        id = (enum http_name)rivals[id];
    }
    return id;
}

bool http_name_is_hop(enum http_name id)
{
    return names[id].hop;
}

static const struct http_field *find_from(const struct http_head *head,
                                          const struct http_field *field, enum http_name id)
{
    for (const struct http_field *end = head->fields + head->field_count; field < end; field++) {
        if (field->id == id) {
            return field;
        }
    }
    return NULL;
}

const struct http_field *http_head_find(const struct http_head *head, enum http_name id)
{
    return http_head_has(head, id) ? find_from(head, head->fields, id) : NULL;
}

const struct http_field *http_head_next(const struct http_head *head,
                                        const struct http_field *field)
{
    return http_head_repeats(head, field->id) ? find_from(head, field + 1, field->id) : NULL;
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
    for (const struct http_field *field = http_head_find(head, id); field != NULL;
         field = http_head_next(head, field)) {
        if (list_has_token(field->value, token)) {
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
    X(508, "Loop Detected")                                                                        \
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
