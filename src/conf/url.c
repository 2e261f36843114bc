/* SPDX-License-Identifier: MIT */
/* Parsing of URLs and bind addresses. */
#include "url_private.h"

#define HOST_LEN_MAX  253 /* RFC 1035, in its text form */
#define LABEL_LEN_MAX 63

/* The text between the brackets or before the colon, and the port if one is written. */
struct host_port {
    struct str host;
    struct str port;
    bool has_port;
    bool bracketed;
};

static bool split_host_port(struct str text, struct host_port *ret_parts)
{
    struct host_port parts = {.port = STR_EMPTY};
    size_t end;

    parts.bracketed = text.len > 0 && text.ptr[0] == '[';
    if (parts.bracketed) {
        size_t close = str_find_char(text, ']');

        if (close == text.len) {
            return false;
        }
        parts.host = str_slice(text, 1, close);
        end = close + 1;
    } else {
        end = str_find_char(text, ':');
        parts.host = str_slice(text, 0, end);
    }
    if (end < text.len) {
        if (text.ptr[end] != ':') {
            return false;
        }
        parts.has_port = true;
        parts.port = str_slice(text, end + 1, text.len);
    }
    *ret_parts = parts;
    return true;
}

static bool parse_port(struct str text, uint16_t *ret_port)
{
    uint64_t port;

    if (text.len > 5 || !str_to_u64(text, &port) || port > UINT16_MAX) {
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

static bool is_host_char(char c)
{
    char lower = str_lower_char(c);

    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool conf_host_is_good(struct str host)
{
    size_t label_len = 0;

    if (str_ends(host, STR_LIT("."))) {
        host = str_slice(host, 0, host.len - 1);
    }
    if (host.len == 0 || host.len > HOST_LEN_MAX) {
        return false;
    }
    for (size_t i = 0; i < host.len; i++) {
        if (host.ptr[i] == '.') {
            if (label_len == 0) {
                return false;
            }
            label_len = 0;
        } else if (!is_host_char(host.ptr[i]) || ++label_len > LABEL_LEN_MAX) {
            return false;
        }
    }
    return label_len > 0;
}

/* 10.0.0.300 is a mistyped address, not a name: no top-level domain is a number. */
static bool looks_like_address(struct str host)
{
    size_t at = host.len;

    while (at > 0 && host.ptr[at - 1] >= '0' && host.ptr[at - 1] <= '9') {
        at--;
    }
    return at < host.len && (at == 0 || host.ptr[at - 1] == '.');
}

static bool parse_host_port(struct str text, uint16_t default_port, struct conf_url *url,
                            const char **ret_why)
{
    struct host_port parts;

    if (!split_host_port(text, &parts)) {
        *ret_why = "an IPv6 address stands in brackets";
        return false;
    }
    url->port = default_port;
    if (parts.has_port && (!parse_port(parts.port, &url->port) || url->port == 0)) {
        *ret_why = "the port is a number from 1 to 65535";
        return false;
    }
    url->host = parts.host;
    url->is_address = addr_parse_ip(parts.host, url->port, &url->addr);
    if (parts.bracketed != (str_find_char(parts.host, ':') < parts.host.len) ||
        (parts.bracketed && !url->is_address)) {
        *ret_why = "an IPv6 address stands in brackets";
        return false;
    }
    if (!url->is_address && (!conf_host_is_good(url->host) || looks_like_address(url->host))) {
        *ret_why = "the host is neither a name nor an address";
        return false;
    }
    return true;
}

/* Cut `scheme` or `scheme`s off the front; schemes have no case (RFC 3986, 3.1). */
static bool cut_scheme(struct str *text, struct str scheme, bool *ret_tls)
{
    struct str colon = STR_LIT("://");

    if (!str_eq_nocase(str_slice(*text, 0, scheme.len), scheme)) {
        return false;
    }
    size_t at = scheme.len;

    *ret_tls = at < text->len && str_lower_char(text->ptr[at]) == 's';
    at += *ret_tls ? 1 : 0;
    if (!str_eq(str_slice(*text, at, at + colon.len), colon)) {
        return false;
    }
    *text = str_slice(*text, at + colon.len, text->len);
    return true;
}

static bool has_bad_byte(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~') {
            return true;
        }
    }
    return false;
}

static bool check_whole(struct str text, const char **ret_why)
{
    if (text.len > CONF_URL_LEN_MAX) {
        *ret_why = "it is longer than 2048 characters";
        return false;
    }
    if (has_bad_byte(text)) {
        *ret_why = "spaces and non-ASCII characters have no place in it";
        return false;
    }
    if (str_find_char(text, '?') < text.len || str_find_char(text, '#') < text.len) {
        *ret_why = "a query or a fragment would be ignored";
        return false;
    }
    return true;
}

struct str conf_url_public(struct str text)
{
    for (size_t i = text.len; i > 0; i--) {
        if (text.ptr[i - 1] == '@') {
            return str_slice(text, i - 1, text.len);
        }
    }
    return text;
}

bool conf_url_parse_http(struct str text, struct conf_url *ret_url, const char **ret_why)
{
    struct conf_url url = {.user = STR_EMPTY};

    if (!check_whole(text, ret_why)) {
        return false;
    }
    if (!cut_scheme(&text, STR_LIT("http"), &url.tls)) {
        *ret_why = "it does not begin with http:// or https://";
        return false;
    }
    if (str_find_char(text, '@') < text.len) {
        *ret_why = "a user or a password would be ignored";
        return false;
    }
    size_t slash = str_find_char(text, '/');

    if (slash + 1 < text.len) {
        *ret_why = "a path would be ignored: clients' paths are passed on as they are";
        return false;
    }
    if (!parse_host_port(str_slice(text, 0, slash), url.tls ? 443 : 80, &url, ret_why)) {
        return false;
    }
    *ret_url = url;
    return true;
}

static bool parse_user_info(struct str *text, struct conf_url *url, const char **ret_why)
{
    size_t at = str_find_char(*text, '@');

    if (at == text->len) {
        return true;
    }
    struct str info = str_slice(*text, 0, at);
    size_t colon = str_find_char(info, ':');

    *text = str_slice(*text, at + 1, text->len);
    if (str_find_char(*text, '@') < text->len) {
        *ret_why = "an @ in the user or the password is written %40";
        return false;
    }
    if (colon + 1 >= info.len) {
        *ret_why = "before the @ stands user:password or :password";
        return false;
    }
    url->has_user_info = true;
    url->user = str_slice(info, 0, colon);
    url->password = str_slice(info, colon + 1, info.len);
    return true;
}

bool conf_url_parse_redis(struct str text, struct conf_url *ret_url, const char **ret_why)
{
    struct conf_url url = {.user = STR_EMPTY, .password = STR_EMPTY};
    uint64_t database = 0;

    if (!check_whole(text, ret_why)) {
        return false;
    }
    if (!cut_scheme(&text, STR_LIT("redis"), &url.tls)) {
        *ret_why = "it does not begin with redis:// or rediss://";
        return false;
    }
    if (!parse_user_info(&text, &url, ret_why)) {
        return false;
    }
    size_t slash = str_find_char(text, '/');
    struct str number = str_slice(text, slash + 1, text.len);

    if (number.len > 0 && (!str_to_u64(number, &database) || database > CONF_URL_DATABASE_MAX)) {
        *ret_why = "the database is a number from 0 to 65535";
        return false;
    }
    if (!parse_host_port(str_slice(text, 0, slash), 6379, &url, ret_why)) {
        return false;
    }
    url.database = (uint32_t)database;
    url.after_user_info = text;
    *ret_url = url;
    return true;
}

/* 16 for what is no hex digit. */
static unsigned hex_value(char c)
{
    char lower = str_lower_char(c);

    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    return lower >= 'a' && lower <= 'f' ? (unsigned)(lower - 'a') + 10 : 16;
}

bool conf_url_decode(struct str text, char *ret_text, size_t *ret_len)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (c == '%') {
            unsigned high = i + 1 < text.len ? hex_value(text.ptr[i + 1]) : 16;
            unsigned low = i + 2 < text.len ? hex_value(text.ptr[i + 2]) : 16;

            if (high > 15 || low > 15 || high + low == 0) {
                return false;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        ret_text[len++] = c;
    }
    ret_text[len] = '\0';
    *ret_len = len;
    return true;
}

bool conf_bind_parse(struct str text, struct addr *ret_addr, const char **ret_why)
{
    struct host_port parts;
    uint16_t port;

    if (!split_host_port(text, &parts) || !parts.has_port) {
        *ret_why = "address:port is wanted";
        return false;
    }
    if (!parse_port(parts.port, &port)) {
        *ret_why = "the port is a number from 0 to 65535";
        return false;
    }
    if (!parts.bracketed && parts.host.len == 0) {
        parts.host = STR_LIT("0.0.0.0");
    }
    if (parts.bracketed != (str_find_char(parts.host, ':') < parts.host.len) ||
        !addr_parse_ip(parts.host, port, ret_addr)) {
        *ret_why = "names are not resolved here: write the address";
        return false;
    }
    return true;
}
