/* SPDX-License-Identifier: MIT */
/*
 * The head of an HTTP message as views into somebody's buffer, whatever the protocol version it
 * came in. Codecs fill it, proxy reads it, writers make bytes of it again; nothing is passed
 * through unparsed.
 */
#ifndef NEARSIDE_HTTP_HEAD_H
#define NEARSIDE_HTTP_HEAD_H

#include <nearside/base/arena.h>
#include <nearside/base/str.h>

#include <stdbool.h>
#include <stdint.h>

#define HTTP_FIELDS_MAX 100

/* Header names we look at, found once while parsing so that nobody compares strings later.
 * Those marked 1 are hop-by-hop (RFC 9110 7.6.1) and never forwarded. A new name needs its place
 * in head.c as well; its test says so. */
#define HTTP_NAMES(X)                                                                              \
    X(CONNECTION, "connection", 1)                                                                 \
    X(KEEP_ALIVE, "keep-alive", 1)                                                                 \
    X(PROXY_CONNECTION, "proxy-connection", 1)                                                     \
    X(PROXY_AUTHENTICATE, "proxy-authenticate", 1)                                                 \
    X(PROXY_AUTHORIZATION, "proxy-authorization", 1)                                               \
    X(TE, "te", 1)                                                                                 \
    X(TRAILER, "trailer", 1)                                                                       \
    X(TRANSFER_ENCODING, "transfer-encoding", 1)                                                   \
    X(UPGRADE, "upgrade", 1)                                                                       \
    X(CONTENT_LENGTH, "content-length", 0)                                                         \
    X(CONTENT_TYPE, "content-type", 0)                                                             \
    X(CONTENT_ENCODING, "content-encoding", 0)                                                     \
    X(HOST, "host", 0)                                                                             \
    X(EXPECT, "expect", 0)                                                                         \
    X(AUTHORIZATION, "authorization", 0)                                                           \
    X(CACHE_CONTROL, "cache-control", 0)                                                           \
    X(CACHE_STATUS, "cache-status", 0)                                                             \
    X(PROXY_STATUS, "proxy-status", 0)                                                             \
    X(SET_COOKIE, "set-cookie", 0)                                                                 \
    X(RETRY_AFTER, "retry-after", 0)                                                               \
    X(VIA, "via", 0)                                                                               \
    X(VARY, "vary", 0)                                                                             \
    X(AGE, "age", 0)                                                                               \
    X(DATE, "date", 0)                                                                             \
    X(SERVER, "server", 0)                                                                         \
    X(USER_AGENT, "user-agent", 0)                                                                 \
    X(X_REQUEST_ID, "x-request-id", 0)                                                             \
    X(X_FORWARDED_FOR, "x-forwarded-for", 0)                                                       \
    X(X_FORWARDED_PROTO, "x-forwarded-proto", 0)                                                   \
    X(X_FORWARDED_HOST, "x-forwarded-host", 0)                                                     \
    X(FORWARDED, "forwarded", 0)                                                                   \
    X(TRACEPARENT, "traceparent", 0)                                                               \
    X(X_API_KEY, "x-api-key", 0)                                                                   \
    X(ORIGIN, "origin", 0)                                                                         \
    X(RANGE, "range", 0)                                                                           \
    X(X_NEARSIDE_REGION, "x-nearside-region", 0)                                                   \
    X(X_NEARSIDE_REGIONS, "x-nearside-regions", 0)                                                 \
    X(X_NEARSIDE_ATTEMPTS, "x-nearside-attempts", 0)

enum http_name {
    HTTP_NAME_OTHER,
#define X(suffix, text, hop) HTTP_NAME_##suffix,
    HTTP_NAMES(X)
#undef X
        HTTP_NAME_COUNT
};

_Static_assert(HTTP_NAME_COUNT <= 64, "struct http_head has a bit for each name");
#define HTTP_NAME_BIT(id) (1ULL << (id))

/* HTTP_NAME_OTHER when it is none of the table; case does not matter. `name` is a token. */
enum http_name http_name_find(struct str name);
bool http_name_is_hop(enum http_name id);

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_CONNECT,
    HTTP_OPTIONS,
    HTTP_TRACE,
    HTTP_PATCH,
    HTTP_METHOD_OTHER,
};

struct http_field {
    struct str name;
    struct str value; /* trimmed */
    enum http_name id;
    bool drop; /* nominated by Connection: not to be forwarded. Never set for fields that frame or
                  guard the message (Host, Content-*, Authorization and the like) */
};

/* How the end of the body is known. */
enum http_body {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH, /* content_length bytes */
    HTTP_BODY_CHUNKED,
    HTTP_BODY_CLOSE, /* responses only: until the connection ends */
};

struct http_head {
    /* requests */
    enum http_method method;
    struct str method_text;
    struct str target;    /* as sent, origin form or "*"; absolute form is split into these two */
    struct str authority; /* Host's value or the absolute form's, host[:port] without userinfo and
                             checked; empty only in HTTP/1.0 */
    bool expect_continue;
    /* responses */
    unsigned status;
    struct str reason;
    /* both */
    unsigned version_minor; /* HTTP/1.x */
    enum http_body body;
    uint64_t content_length; /* HTTP_BODY_LENGTH */
    bool keep_alive;         /* what the sender's version and Connection say */
    bool upgrade;            /* Connection: upgrade with an Upgrade field */
    uint64_t names;          /* of its fields, HTTP_NAME_BIT() each */
    uint64_t names_repeated; /* of these, what more than one line has */
    uint32_t field_count;
    struct http_field fields[HTTP_FIELDS_MAX];
};

/* A copy that lives in `arena`: `raw` are the bytes the views of `head` point into (those of fields
 * always, others may be static text). Only the fields in use are copied. NULL: memory is refused.
 */
struct http_head *http_head_copy(const struct http_head *head, struct str raw,
                                 struct arena *arena) MUST_CHECK;

static inline bool http_head_has(const struct http_head *head, enum http_name id)
{
    return (head->names & HTTP_NAME_BIT(id)) != 0;
}

static inline bool http_head_repeats(const struct http_head *head, enum http_name id)
{
    return (head->names_repeated & HTTP_NAME_BIT(id)) != 0;
}

/* First field of that name, or NULL; and the next one with the known name of `field`. */
const struct http_field *http_head_find(const struct http_head *head, enum http_name id);
const struct http_field *http_head_next(const struct http_head *head,
                                        const struct http_field *field);
/* Its value, or an empty view. */
struct str http_head_value(const struct http_head *head, enum http_name id);

/* Does a comma-separated field (all its lines) hold `token`, in any case? */
bool http_head_has_token(const struct http_head *head, enum http_name id, struct str token);

/* Path of a target without its query. */
struct str http_target_path(struct str target);

/* The standard phrase ("Bad Gateway"), or "Unknown". */
const char *http_reason(unsigned status);

#endif
