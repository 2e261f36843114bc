/* SPDX-License-Identifier: MIT */
/*
 * Whose request it is: who may share an answer (cache.share = "key").
 *
 * A configured header tells, where a trusted proxy in front sets it; without one, and where it is
 * absent, the caller's credentials do. Pure; thread: any.
 */
#ifndef NEARSIDE_CACHE_TENANT_H
#define NEARSIDE_CACHE_TENANT_H

#include <nearside/base/attr.h>
#include <nearside/base/str.h>
#include <nearside/http/head.h>

#include <stdbool.h>

struct cache_tenant {
    struct str value;  /* empty: an anonymous caller */
    struct str header; /* empty: the credentials, Authorization's value or x-api-key's */
};

/* `header`: cache.tenant_header. Views are into the arguments. False: a field that tells stands
 * there twice, or both kinds of credentials do, and an endpoint might believe the other one; such a
 * request is not cached. */
bool cache_tenant_of(const struct http_head *head, struct str header,
                     struct cache_tenant *ret_tenant) MUST_CHECK;

#endif
