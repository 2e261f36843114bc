/* SPDX-License-Identifier: MIT */
/*
 * The few shapes of URL and address that a config may hold. Pure: views into the text, no name is
 * resolved. Far less than RFC 3986 allows, because a part that would be ignored is an error.
 */
#ifndef NEARSIDE_CONF_URL_PRIVATE_H
#define NEARSIDE_CONF_URL_PRIVATE_H

#include <nearside/base/addr.h>
#include <nearside/base/attr.h>
#include <nearside/base/str.h>

#include <stdbool.h>
#include <stdint.h>

#define CONF_URL_LEN_MAX      2048
#define CONF_URL_DATABASE_MAX 65535

struct conf_url {
    struct str host; /* name or address, without brackets; as written */
    uint16_t port;
    bool tls;
    bool is_address;
    struct addr addr;

    /* Redis only; empty when absent, still percent-encoded. */
    struct str user;
    struct str password;
    bool has_user_info;
    uint32_t database;
    struct str after_user_info; /* host and all that follows */
};

/* http://host[:port][/], https:// likewise. On failure *ret_why says what is wrong with it. */
bool conf_url_parse_http(struct str text, struct conf_url *ret_url,
                         const char **ret_why) MUST_CHECK;

/* For messages: `text` from its last @ on, if there is one. What stands before it may be secret,
 * even in a URL too broken to be parsed. */
struct str conf_url_public(struct str text);

/* redis://[user:password@]host[:port][/database], rediss:// likewise. */
bool conf_url_parse_redis(struct str text, struct conf_url *ret_url,
                          const char **ret_why) MUST_CHECK;

/* Replace %XX in `text`, which has room for its own result and a NUL. False: a bad escape or
 * an escaped NUL. */
bool conf_url_decode(struct str text, char *ret_text, size_t *ret_len) MUST_CHECK;

/* "0.0.0.0:8080", "[::]:8443", ":8080" (every IPv4 address). Port 0 is allowed. */
bool conf_bind_parse(struct str text, struct addr *ret_addr, const char **ret_why) MUST_CHECK;

/* A host name by its characters and lengths; an IPv4 address is one too. */
bool conf_host_is_good(struct str host);

#endif
