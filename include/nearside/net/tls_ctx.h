/* SPDX-License-Identifier: MIT */
/*
 * TLS settings made ready for use: certificates read, checked against their keys. Immutable and
 * reference-counted: a reload makes new ones, running connections keep theirs.
 *
 * Thread: made on the control thread, used on any.
 */
#ifndef NEARSIDE_NET_TLS_CTX_H
#define NEARSIDE_NET_TLS_CTX_H

#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>

#include <stdint.h>

struct conf_admin_tls;
struct conf_listener_tls;
struct conf_region_tls;
struct tls_ctx;

/* For a listener: certificates by server name, optional client CA, TLS 1.2 or 1.3 and up, ALPN
 * http/1.1. */
enum status tls_ctx_new_server(const struct conf_listener_tls *conf, struct tls_ctx **ret_ctx,
                               struct errbuf *err) MUST_CHECK;
/* For the admin listener: one certificate. With api_client_ca clients may show a certificate, and a
 * bad one ends the handshake; who must have shown one, the caller says. */
enum status tls_ctx_new_admin(const struct conf_admin_tls *conf, struct tls_ctx **ret_ctx,
                              struct errbuf *err) MUST_CHECK;
/* Towards a region: CA file or the system's, optional client certificate, verification of chain
 * and host name unless the config turns it off. A server_name of the config is asked for and
 * checked in place of what stream_connect() is given. */
enum status tls_ctx_new_client(const struct conf_region_tls *conf, struct tls_ctx **ret_ctx,
                               struct errbuf *err) MUST_CHECK;

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx);
void tls_ctx_unref(struct tls_ctx *ctx); /* NULL is fine */

/* Seconds since 1970 at which the first of its own certificates expires; 0: it has none. */
int64_t tls_ctx_expires_at(const struct tls_ctx *ctx);

#endif
