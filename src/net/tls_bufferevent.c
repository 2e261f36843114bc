/* SPDX-License-Identifier: MIT */
/* See tls_bufferevent.h. */
#include <nearside/net/tls_bufferevent.h>

#include "tls_private.h"

#include <nearside/base/assert.h>

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>

#include <pthread.h>

static pthread_once_t holder_once = PTHREAD_ONCE_INIT;
static int holder_index; /* of the SSL's own reference to its context */

static void on_ssl_freed(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long number,
                         void *arg)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)number;
    (void)arg;
    tls_ctx_unref(ptr);
}

static void find_holder(void)
{
    holder_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_ssl_freed);
    ASSERT(holder_index >= 0);
}

/* The handshake's callbacks use the context, and it may come after a reload. */
static SSL *connection_new(struct tls_ctx *ctx)
{
    SSL *ssl = SSL_new(ctx->ctxs[0]);

    pthread_once(&holder_once, find_holder);
    if (ssl == NULL || SSL_set_ex_data(ssl, holder_index, ctx) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    (void)tls_ctx_ref(ctx); /* given back in on_ssl_freed() */
    return ssl;
}

struct bufferevent *tls_bufferevent_new(struct tls_ctx *ctx, struct event_base *base)
{
    SSL *ssl = connection_new(ctx);
    struct bufferevent *bufferevent;

    if (ssl == NULL) {
        return NULL;
    }
    /* libevent asks SSL_pending() whether more is there, which does not count what was read ahead.
     */
    SSL_set_read_ahead(ssl, 0);
    /* A peer that sends messages of TLS itself, and no bytes for long, must not keep the thread in
     * one read: back to the loop after each. */
    (void)SSL_clear_mode(ssl, SSL_MODE_AUTO_RETRY);
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
