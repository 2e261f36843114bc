/* SPDX-License-Identifier: MIT */
/*
 * What proxies tell each other about a request: who asked, through whom it came. Pure functions of
 * heads and config; docs/http-strictness.md has the rules.
 */
#ifndef NEARSIDE_PROXY_FORWARDED_PRIVATE_H
#define NEARSIDE_PROXY_FORWARDED_PRIVATE_H

#include <nearside/base/addr.h>
#include <nearside/base/attr.h>
#include <nearside/base/buf.h>
#include <nearside/http/head.h>

struct conf_blocks;

/* Is the peer a trusted proxy? Then *ret_client is the right-most address in X-Forwarded-For that
 * is none itself (the left-most when all are); port 0. Else it is the peer. */
bool forwarded_client(const struct http_head *head, const struct addr *peer,
                      const struct conf_blocks *trusted, struct addr *ret_client);

/* May a request's field of a name that is none of HTTP_NAMES go on? Not from an untrusted peer when
 * it says where a request comes from, or where it really should go: the X-Forwarded family,
 * X-Real-IP and their kind. And from nobody when it is one of HTTP_NAMES but for "_" in place of
 * "-" (Content_Length): CGI and its heirs see no difference. */
bool forwarded_may_pass(struct str name, bool peer_is_trusted);

/* Does Via say that the request has been at this edge, or at too many like it? */
bool forwarded_is_loop(const struct http_head *head, const char *edge_id);

/* "Via: <what came>, 1.<minor> nearside (<edge_id>)"; without the comment when edge_id is NULL. */
void forwarded_write_via(struct buf *out, const struct http_head *head, const char *edge_id);

/* Lines of the field `id` joined by ", ", then `last`: "<name>: a, b, last". */
void forwarded_write_list(struct buf *out, const struct http_head *head, enum http_name id,
                          struct str name, struct str last);

#endif
