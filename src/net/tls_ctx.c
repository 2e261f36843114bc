/* SPDX-License-Identifier: MIT */
/*
 * What server and client contexts have in common: our choice of protocol options, the reference
 * count, and making a connection from a context.
 */
#include <nearside/net/tls_ctx.h>

#include "tls_private.h"
#include "tls_ticket_private.h"

#include <nearside/base/addr.h>
#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <openssl/x509v3.h>

/* TLS 1.2: forward secrecy and authenticated encryption only. TLS 1.3 has nothing else.
 *
 * AES-128 first: the exchange of keys (X25519, P-256) is a problem of 128 bits whatever the cipher,
 * and with AES-256 comes SHA-384, for which processors have no instructions: a seventh of a
 * handshake's. A peer that offers AES-256 alone gets it. */
#define CIPHERS_TLS_1_2 "ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20"
#define CIPHERS_TLS_1_3 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

static SSL_CTX *ssl_ctx_new(const SSL_METHOD *method)
{
    SSL_CTX *ssl_ctx = SSL_CTX_new(method);

    ASSERT(ssl_ctx != NULL);
    ASSERT(SSL_CTX_set_min_proto_version(ssl_ctx, TLS1_2_VERSION) == 1);
    ASSERT(SSL_CTX_set_cipher_list(ssl_ctx, CIPHERS_TLS_1_2) == 1);
    ASSERT(SSL_CTX_set_ciphersuites(ssl_ctx, CIPHERS_TLS_1_3) == 1);
    /* The end of a stream without close_notify stays an error: SSL_OP_IGNORE_UNEXPECTED_EOF is
     * never set, since a truncated answer must not look complete. */
    (void)SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* A server's own order, but for clients that put ChaCha20 first: they have no AES. */
    (void)SSL_CTX_set_options(ssl_ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* Partial and moving writes: a stream's owner offers again what did not go, from wherever it
     * is then. Released buffers: 32 KiB less for each idle connection. */
    (void)SSL_CTX_set_mode(ssl_ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                        SSL_MODE_RELEASE_BUFFERS);
    /* One read for a record's head and body instead of two. */
    SSL_CTX_set_read_ahead(ssl_ctx, 1);
    return ssl_ctx;
}

struct tls_ctx *tls_ctx_new(bool is_server, size_t ctx_count)
{
    struct tls_ctx *ctx = mem_new(struct tls_ctx);

    ctx->magic = TLS_CTX_MAGIC;
    atomic_init(&ctx->refs, 1);
    ctx->is_server = is_server;
    ctx->bio_method = tls_bio_method_new();
    ctx->ctxs = mem_new_array(ctx_count, SSL_CTX *);
    ctx->ctx_count = ctx_count;
    for (size_t i = 0; i < ctx_count; i++) {
        ctx->ctxs[i] = ssl_ctx_new(is_server ? TLS_server_method() : TLS_client_method());
    }
    return ctx;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx)
{
    ASSERT(ctx->magic == TLS_CTX_MAGIC);
    (void)atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
    return ctx;
}

void tls_ctx_unref(struct tls_ctx *ctx)
{
    if (ctx == NULL) {
        return;
    }
    ASSERT(ctx->magic == TLS_CTX_MAGIC);
    if (atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < ctx->ctx_count; i++) {
        SSL_CTX_free(ctx->ctxs[i]);
    }
    mem_free(ctx->ctxs);
    ticket_keys_free(ctx->tickets);
    BIO_meth_free(ctx->bio_method);
    mem_free(ctx->server_name);
    ctx->magic = 0;
    mem_free(ctx);
}

int64_t tls_ctx_expires_at(const struct tls_ctx *ctx)
{
    return ctx->expires_at;
}

/* Whom to ask for and whom to accept: an address is checked but never sent as a name. */
static void expect_server(const struct tls_ctx *ctx, SSL *ssl, const char *name)
{
    struct addr addr;

    if (addr_parse_ip(str_of(name), 0, &addr)) {
        char text[ADDR_TEXT_LEN];

        (void)addr_format_ip(&addr, text); /* without brackets */
        if (ctx->verify) {
            ASSERT(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), text) == 1);
        }
        return;
    }
    /* SSL_set_tlsext_host_name() spelt out: the macro casts const away. */
    ASSERT(SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                    (void *)(uintptr_t)name) == 1);
    if (ctx->verify) {
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        ASSERT(SSL_set1_host(ssl, name) == 1);
    }
}

SSL *tls_ctx_connection(struct tls_ctx *ctx, struct stream *stream, const char *server_name)
{
    SSL *ssl = SSL_new(ctx->ctxs[0]);
    BIO *bio = tls_bio_new(ctx->bio_method, stream);

    ASSERT(ssl != NULL);
    SSL_set_bio(ssl, bio, bio); /* takes the one reference for both */
    if (ctx->is_server) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    if (ctx->server_name != NULL) {
        server_name = ctx->server_name;
    }
    ASSERT(server_name != NULL && server_name[0] != '\0');
    expect_server(ctx, ssl, server_name);
    SSL_set_connect_state(ssl);
    return ssl;
}
