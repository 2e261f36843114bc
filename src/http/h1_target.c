/* SPDX-License-Identifier: MIT */
/*
 * Request targets (RFC 9112 3.2) and authorities (RFC 3986 3.2).
 *
 * A target may hold any visible ASCII but "#". RFC 3986 would also refuse `"<>\^`{|}`, but
 * clients send those raw in queries, and HAProxy and NGINX pass them on; nothing here splits on
 * them. A host holds what a name in DNS or a hosts file can hold, or an address: RFC 3986 would
 * also take "%41" and "a,b", which only serve to make two readers differ.
 */
#include "char_class_private.h"
#include "h1_private.h"

#define HOST_BYTES_MAX 255 /* RFC 1035 2.3.4 */
#define IPV6_BYTES_MAX 45  /* an IPv4-mapped address, written out */
#define PORT_MAX       65535

static bool is_port(struct str text)
{
    uint64_t port;

    /* RFC 3986 3.2.3 allows an empty port. */
    return text.len == 0 || (text.len <= 5 && str_to_u64(text, &port) && port <= PORT_MAX);
}

/* Length of "[...]" at the front of `text`; 0 when it is not an IPv6 address by its letters. */
static size_t ipv6_len(struct str text)
{
    const size_t close = str_find_char(text, ']');
    unsigned colons = 0;

    if (close == text.len || close < 3 || close - 1 > IPV6_BYTES_MAX) {
        return 0;
    }
    for (size_t i = 1; i < close; i++) {
        colons += text.ptr[i] == ':' ? 1 : 0;
        if (!char_is(text.ptr[i], CHAR_HEX) && text.ptr[i] != ':' && text.ptr[i] != '.') {
            return 0;
        }
    }
    return colons >= 2 ? close + 1 : 0;
}

static size_t name_len(struct str text)
{
    size_t len = 0;

    while (len < text.len && char_is(text.ptr[len], CHAR_HOST)) {
        len++;
    }
    return len <= HOST_BYTES_MAX ? len : 0;
}

/* Length of the host at the front of `text`; 0 when there is none. */
static size_t host_len(struct str text)
{
    if (text.len == 0) {
        return 0;
    }
    return text.ptr[0] == '[' ? ipv6_len(text) : name_len(text);
}

bool h1_is_authority(struct str text)
{
    const size_t host = host_len(text);

    if (host == 0) {
        return false;
    }
    return host == text.len ||
           (text.ptr[host] == ':' && is_port(str_slice(text, host + 1, text.len)));
}

/* CONNECT's form needs its port. */
static bool has_port(struct str authority)
{
    const size_t host = host_len(authority);

    return host + 1 < authority.len;
}

static bool has_good_escapes(struct str target)
{
    const char *const end = target.ptr + target.len;
    const char *at = memchr(target.ptr, '%', target.len);

    while (at != NULL) {
        if (end - at < 3 || !char_is(at[1], CHAR_HEX) || !char_is(at[2], CHAR_HEX)) {
            return false;
        }
        at += 3;
        at = memchr(at, '%', (size_t)(end - at));
    }
    return true;
}

/* Length of "http://" or "https://" in any case at the front of `target`, or 0. */
static size_t scheme_len(struct str target)
{
    static const struct str schemes[] = {{"http://", 7}, {"https://", 8}};

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (str_eq_nocase(str_slice(target, 0, schemes[i].len), schemes[i])) {
            return schemes[i].len;
        }
    }
    return 0;
}

/* RFC 9112 3.2.2: scheme, authority, then a path. A query that follows the authority at once
 * ("http://a?b") would need a "/" that is not in the buffer, and is refused. */
static enum h1_result split_absolute(struct http_head *head)
{
    const struct str rest = str_slice(head->target, scheme_len(head->target), head->target.len);
    const size_t slash = str_find_char(rest, '/');
    const struct str authority = str_slice(rest, 0, slash);

    if (rest.len == head->target.len || !h1_is_authority(authority)) {
        return H1_BAD_TARGET;
    }
    head->authority = authority;
    if (slash < rest.len) {
        head->target = str_slice(rest, slash, rest.len);
    } else {
        /* RFC 9112 3.2.4: OPTIONS of a whole server has the asterisk form at its end. */
        head->target = head->method == HTTP_OPTIONS ? STR_LIT("*") : STR_LIT("/");
    }
    return H1_COMPLETE;
}

enum h1_result h1_resolve_target(struct http_head *head)
{
    const struct str target = head->target;

    head->authority = STR_EMPTY;
    if (!has_good_escapes(target)) {
        return H1_BAD_TARGET;
    }
    if (head->method == HTTP_CONNECT) {
        head->authority = target;
        return h1_is_authority(target) && has_port(target) ? H1_COMPLETE : H1_BAD_TARGET;
    }
    if (target.ptr[0] == '/') {
        return H1_COMPLETE;
    }
    if (head->method == HTTP_OPTIONS && str_eq(target, STR_LIT("*"))) {
        return H1_COMPLETE;
    }
    return split_absolute(head);
}
