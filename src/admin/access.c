/* SPDX-License-Identifier: MIT */
/* The rules: token, bind address, Origin, Host for POSTs; Host for what is read. */
#include "access_private.h"

#include <nearside/base/addr.h>
#include <nearside/base/str.h>

/* The token that was sent, or NULL. */
static const char *given_token(const struct access_facts *facts)
{
    static const struct str scheme = {.ptr = "Bearer ", .len = sizeof("Bearer ") - 1};
    const char *text = facts->authorization;

    if (text != NULL && str_eq_nocase(str_slice(str_of(text), 0, scheme.len), scheme)) {
        text += scheme.len;
        while (*text == ' ') {
            text++;
        }
        return text;
    }
    return facts->admin_token;
}

/* "http://localhost:9901" gives "localhost:9901"; "null", which browsers send for pages without
 * an origin, gives nothing. */
static struct str origin_host(struct str origin)
{
    size_t mark = str_find(origin, STR_LIT("://"));

    return mark == origin.len ? STR_EMPTY : str_slice(origin, mark + 3, origin.len);
}

static struct str without_port(struct str host)
{
    if (host.len > 0 && host.ptr[0] == '[') {
        return str_slice(host, 0, str_find_char(host, ']') + 1);
    }
    return str_slice(host, 0, str_find_char(host, ':'));
}

static bool is_address_or_localhost(struct str host)
{
    struct str name = without_port(host);
    struct addr addr;

    return str_eq_nocase(name, STR_LIT("localhost")) || addr_parse_ip(name, 0, &addr);
}

enum access_verdict access_check(const struct access_facts *facts)
{
    bool has_token = facts->token[0] != '\0';
    struct str host = str_of(facts->host);

    if (has_token) {
        const char *given = given_token(facts);

        if (given == NULL) {
            return ACCESS_TOKEN_MISSING;
        }
        if (!token_matches(given, facts->token)) {
            return ACCESS_TOKEN_WRONG;
        }
    } else if (!facts->loopback) {
        return ACCESS_NOT_LOOPBACK;
    }
    if (facts->origin != NULL && !str_eq_nocase(origin_host(str_of(facts->origin)), host)) {
        return ACCESS_OTHER_ORIGIN;
    }
    if (!has_token && !is_address_or_localhost(host)) {
        return ACCESS_NAMED_HOST;
    }
    return ACCESS_GRANTED;
}

enum access_verdict access_check_read(const struct access_facts *facts)
{
    struct str host = str_of(facts->host);

    if (facts->loopback && facts->token[0] == '\0' && host.len > 0 &&
        !is_address_or_localhost(host)) {
        return ACCESS_NAMED_HOST;
    }
    return ACCESS_GRANTED;
}
