/* SPDX-License-Identifier: MIT */
/* See tls.h. `struct pod_tls` is an SSL_CTX and `struct pod_tls_conn` an SSL by other names. */
#include "tls.h"

#include "pod.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <limits.h>

static SSL_CTX *ctx_of(struct pod_tls *tls)
{
    return (SSL_CTX *)(void *)tls;
}

static SSL *ssl_of(struct pod_tls_conn *conn)
{
    return (SSL *)(void *)conn;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned int in_len, void *arg)
{
    (void)ssl;
    (void)arg;
    static const unsigned char known[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    unsigned char *picked = NULL;

    if (SSL_select_next_proto(&picked, out_len, known, sizeof(known), in, in_len) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *out = picked;
    return SSL_TLSEXT_ERR_OK;
}

static bool load_files(SSL_CTX *ctx, const struct pod_options *options)
{
    if (SSL_CTX_use_certificate_chain_file(ctx, options->tls_cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, options->tls_key, SSL_FILETYPE_PEM) != 1) {
        return false;
    }
    if (options->tls_client_ca == NULL) {
        return true;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return SSL_CTX_load_verify_locations(ctx, options->tls_client_ca, NULL) == 1;
}

struct pod_tls *pod_tls_new(const struct pod_options *options)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"pod", 3);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    if (!load_files(ctx, options)) {
        ERR_print_errors_fp(stderr);
        SSL_CTX_free(ctx);
        return NULL;
    }
    return (struct pod_tls *)(void *)ctx;
}

void pod_tls_free(struct pod_tls *tls)
{
    SSL_CTX_free(ctx_of(tls));
}

struct pod_tls_conn *pod_tls_accept(struct pod_tls *tls, int fd)
{
    SSL *ssl = SSL_new(ctx_of(tls));

    (void)SSL_set_fd(ssl, fd);
    SSL_set_accept_state(ssl);
    return (struct pod_tls_conn *)(void *)ssl;
}

void pod_tls_close(struct pod_tls_conn *conn)
{
    if (conn == NULL) {
        return;
    }
    ERR_clear_error();
    (void)SSL_shutdown(ssl_of(conn));
    SSL_free(ssl_of(conn));
}

static ssize_t result_of(SSL *ssl, int moved)
{
    if (moved > 0) {
        return moved;
    }
    switch (SSL_get_error(ssl, moved)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return TLS_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return TLS_ERROR;
    }
}

ssize_t pod_tls_read(struct pod_tls_conn *conn, void *bytes, size_t len)
{
    ERR_clear_error();
    int want = len > INT_MAX ? INT_MAX : (int)len;
    return result_of(ssl_of(conn), SSL_read(ssl_of(conn), bytes, want));
}

ssize_t pod_tls_write(struct pod_tls_conn *conn, const void *bytes, size_t len)
{
    ERR_clear_error();
    int want = len > INT_MAX ? INT_MAX : (int)len;
    return result_of(ssl_of(conn), SSL_write(ssl_of(conn), bytes, want));
}
