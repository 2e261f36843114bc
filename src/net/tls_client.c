/* SPDX-License-Identifier: MIT */
/*
 * TLS towards a region. No ALPN is offered: HTTP/1.1 is what one gets without it, and the same
 * settings serve rediss://. Sessions are not kept for resumption: connections are pooled, and a
 * full handshake each time means that each one's certificate is checked as of today.
 */
#include "tls_private.h"

#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>

#include <string.h>

static enum status set_trust(SSL_CTX *ssl_ctx, const struct conf_region_tls *conf,
                             struct errbuf *err)
{
    if (!conf->verify) {
        SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_NONE, NULL);
        return STATUS_OK;
    }
    SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER, NULL);
    if (conf->ca[0] != '\0') {
        return tls_load_ca(ssl_ctx, conf->ca, err);
    }
    if (SSL_CTX_set_default_verify_paths(ssl_ctx) != 1) {
        err_set(err, "the system's certificate authorities: %s", tls_error_text());
        return STATUS_FAILED;
    }
    return STATUS_OK;
}

enum status tls_ctx_new_client(const struct conf_region_tls *conf, struct tls_ctx **ret_ctx,
                               struct errbuf *err)
{
    struct tls_ctx *ctx;
    enum status status;

    if (strlen(conf->server_name) > TLSEXT_MAXLEN_host_name) {
        err_set(err, "server_name: longer than %d characters", TLSEXT_MAXLEN_host_name);
        return STATUS_INVALID;
    }
    ctx = tls_ctx_new(false, 1);
    status = set_trust(ctx->ctxs[0], conf, err);
    ctx->verify = conf->verify;
    if (conf->server_name[0] != '\0') {
        ctx->server_name = mem_strdup(conf->server_name);
    }
    (void)SSL_CTX_set_session_cache_mode(ctx->ctxs[0], SSL_SESS_CACHE_OFF);
    if (status == STATUS_OK && conf->certificate[0] != '\0') {
        status = tls_load_identity(ctx, ctx->ctxs[0], conf->certificate, conf->key, err);
    }
    if (status != STATUS_OK) {
        tls_ctx_unref(ctx);
        return status;
    }
    *ret_ctx = ctx;
    return STATUS_OK;
}
