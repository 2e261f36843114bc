/* SPDX-License-Identifier: MIT */
/* See tls_bufferevent.h. */
#include <nearside/net/tls_bufferevent.h>

#include "tls_private.h"

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>

struct bufferevent *tls_bufferevent_new(struct tls_ctx *ctx, struct event_base *base)
{
    SSL *ssl = SSL_new(ctx->ctxs[0]);
    struct bufferevent *bufferevent;

    if (ssl == NULL) {
        return NULL;
    }
    /* libevent asks SSL_pending() whether more is there, which does not count what was read ahead.
     */
    SSL_set_read_ahead(ssl, 0);
    bufferevent = bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                                 BEV_OPT_CLOSE_ON_FREE);
    if (bufferevent == NULL) {
        SSL_free(ssl);
        return NULL;
    }
    /* Many clients end without close_notify; there is nothing here that a cut could shorten. */
    bufferevent_openssl_set_allow_dirty_shutdown(bufferevent, 1);
    return bufferevent;
}

bool tls_bufferevent_has_peer(struct bufferevent *bufferevent)
{
    SSL *ssl = bufferevent_openssl_get_ssl(bufferevent);

    return ssl != NULL && SSL_get0_peer_certificate(ssl) != NULL &&
           SSL_get_verify_result(ssl) == X509_V_OK;
}
