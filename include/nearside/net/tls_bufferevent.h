/* SPDX-License-Identifier: MIT */
/*
 * TLS for libevent's HTTP server, which wants a bufferevent and not a stream: the admin listener's.
 *
 * Thread: the loop's.
 */
#ifndef NEARSIDE_NET_TLS_BUFFEREVENT_H
#define NEARSIDE_NET_TLS_BUFFEREVENT_H

#include <stdbool.h>

struct bufferevent;
struct event_base;
struct tls_ctx;

/* A bufferevent without a descriptor yet that will speak TLS as a server. What it needs of `ctx` it
 * holds by itself. NULL: no memory. */
struct bufferevent *tls_bufferevent_new(struct tls_ctx *ctx, struct event_base *base);

/* Has the peer shown a certificate, and was it good? False for plain bufferevents. */
bool tls_bufferevent_has_peer(struct bufferevent *bufferevent);

#endif
