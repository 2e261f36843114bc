/* SPDX-License-Identifier: MIT */
/* What the TLS files share. OpenSSL's types stay on this side of stream_private.h. */
#ifndef NEARSIDE_NET_TLS_PRIVATE_H
#define NEARSIDE_NET_TLS_PRIVATE_H

#include <nearside/net/tls_ctx.h>

#include <openssl/ssl.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct stream;
struct ticket_keys;

#define TLS_CTX_MAGIC 0x746c7363U

struct tls_ctx {
    uint32_t magic;
    atomic_uint refs;
    bool is_server;
    bool verify;       /* client: chain and host name are checked */
    char *server_name; /* owned; client: asked for and checked in place of the caller's; or NULL */
    SSL_CTX **ctxs;    /* owned array; a server's first one is the default */
    size_t ctx_count;
    struct ticket_keys *tickets; /* owned; server */
    BIO_METHOD *bio_method;      /* owned */
    int64_t expires_at;
};

/* tls_ctx.c: a context with `ctx_count` SSL_CTX of our defaults, one reference. */
struct tls_ctx *tls_ctx_new(bool is_server, size_t ctx_count);
/* A connection over `stream`'s socket, ready for its handshake. NULL: memory is refused. */
SSL *tls_ctx_connection(struct tls_ctx *ctx, struct stream *stream, const char *server_name);

/* tls_load.c: read files into an SSL_CTX; the text of a failure names the file. */
enum status tls_load_identity(struct tls_ctx *ctx, SSL_CTX *ssl_ctx, const char *certificate_path,
                              const char *key_path, struct errbuf *err) MUST_CHECK;
enum status tls_load_ca(SSL_CTX *ssl_ctx, const char *path, struct errbuf *err) MUST_CHECK;
/* The newest entry of OpenSSL's error queue as text; empties the queue. */
const char *tls_error_text(void);

/* tls_bio.c: the stream's socket as OpenSSL reads and writes it. */
BIO_METHOD *tls_bio_method_new(void);
BIO *tls_bio_new(const BIO_METHOD *method, struct stream *stream);
struct stream *tls_bio_stream(BIO *bio);

#endif
