/* SPDX-License-Identifier: MIT */
/*
 * May this request change something, or read? Pure.
 *
 * With a token, whoever knows it may. Without one only those on this machine may, so the listener
 * must be bound to loopback, and the caller must not be a web page that someone here has open: its
 * browser says where the page is from (Origin), and a name that was pointed at this machine (DNS
 * rebinding) shows in Host, where only an address or `localhost` is taken.
 */
#ifndef NEARSIDE_ADMIN_ACCESS_PRIVATE_H
#define NEARSIDE_ADMIN_ACCESS_PRIVATE_H

#include <nearside/base/attr.h>

#include <stdbool.h>

enum access_verdict {
    ACCESS_GRANTED,
    ACCESS_TOKEN_MISSING,
    ACCESS_TOKEN_WRONG,
    ACCESS_NOT_LOOPBACK,
    ACCESS_OTHER_ORIGIN,
    ACCESS_NAMED_HOST,
};

/* Header values are NULL when absent. */
struct access_facts {
    const char *token; /* the one to match; empty: none */
    bool loopback;     /* the listener is bound to a loopback address */
    const char *authorization;
    const char *admin_token;
    const char *origin;
    const char *host;
};

enum access_verdict access_check(const struct access_facts *facts) MUST_CHECK;

/* May this be read? All may be, but not through the browser of somebody here under a name that was
 * pointed at this machine: on a loopback bind without a token the same Host is asked for as for a
 * change. Programs that send no Host are no browsers. */
enum access_verdict access_check_read(const struct access_facts *facts) MUST_CHECK;

/* Equal? In a time that does not depend on where they differ, nor on `token`. */
bool token_matches(const char *given, const char *token) MUST_CHECK;

#endif
