/* SPDX-License-Identifier: MIT */
/*
 * TLS of a listener: one SSL_CTX per certificate, picked by the name the client asks for among
 * the certificates' own names, else the first. All are set up alike, because OpenSSL takes some
 * settings from the first and some from the picked one.
 */
#include "tls_private.h"
#include "tls_ticket_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/str.h>
#include <nearside/conf/tree.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

/* The one protocol that is spoken here, in ALPN's form: length, then name. */
static const unsigned char alpn_http1[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

/* Sessions may be resumed on any certificate of this listener, but on no other listener: with
 * client certificates OpenSSL demands a name for that. */
static const unsigned char session_context[] = "nearside";

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    struct tls_ctx *ctx = OBJ_CAST(arg, tls_ctx, TLS_CTX_MAGIC);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert;
    if (ctx->ctx_count == 1) {
        return SSL_TLSEXT_ERR_OK; /* nothing to pick from */
    }
    for (size_t i = 0; name != NULL && i < ctx->ctx_count; i++) {
        X509 *certificate = SSL_CTX_get0_certificate(ctx->ctxs[i]);

        if (X509_check_host(certificate, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) ==
            1) {
            (void)SSL_set_SSL_CTX(ssl, ctx->ctxs[i]); /* on failure the first one stays */
            break;
        }
    }
    ERR_clear_error();
    return SSL_TLSEXT_ERR_OK;
}

static int on_alpn(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_len,
                   const unsigned char *offered, unsigned offered_len, void *arg)
{
    const unsigned char *end = offered + offered_len;

    (void)ssl;
    (void)arg;
    /* OpenSSL has checked that the list is well formed. */
    for (const unsigned char *item = offered; item < end; item += 1 + item[0]) {
        if (str_eq(str_make((const char *)item, 1U + item[0]),
                   str_make((const char *)alpn_http1, sizeof(alpn_http1)))) {
            *ret_name = item + 1;
            *ret_len = item[0];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol */
}

/* `mode`: SSL_VERIFY_PEER, perhaps with SSL_VERIFY_FAIL_IF_NO_PEER_CERT. */
static enum status ask_client_ca(SSL_CTX *ssl_ctx, const char *path, int mode, struct errbuf *err)
{
    enum status status = tls_load_ca(ssl_ctx, path, err);
    STACK_OF(X509_NAME) * names;

    if (status != STATUS_OK) {
        return status;
    }
    names = SSL_load_client_CA_file(path); /* told to clients, so that they pick the right one */
    if (names == NULL) {
        err_set(err, "%s: no certificate authority in PEM form: %s", path, tls_error_text());
        return STATUS_INVALID;
    }
    SSL_CTX_set_client_CA_list(ssl_ctx, names); /* takes the names */
    SSL_CTX_set_verify(ssl_ctx, mode, NULL);
    return STATUS_OK;
}

static enum status set_up(struct tls_ctx *ctx, SSL_CTX *ssl_ctx,
                          const struct conf_listener_tls *conf, struct errbuf *err)
{
    if (conf->min_version == CONF_TLS_1_3) {
        ASSERT(SSL_CTX_set_min_proto_version(ssl_ctx, TLS1_3_VERSION) == 1);
    }
    ASSERT(SSL_CTX_set_session_id_context(ssl_ctx, session_context, sizeof(session_context) - 1) ==
           1);
    ticket_keys_use(ctx->tickets, ssl_ctx);
    /* Tickets resume without state here; a cache in this process would be one more lock. */
    (void)SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
    /* One ticket, not OpenSSL's two: each costs a record, a write and a twentieth of a handshake,
     * and a client gets another with each resumption. */
    ASSERT(SSL_CTX_set_num_tickets(ssl_ctx, 1) == 1);
    (void)SSL_CTX_set_tlsext_servername_callback(ssl_ctx, on_server_name);
    (void)SSL_CTX_set_tlsext_servername_arg(ssl_ctx, ctx);
    SSL_CTX_set_alpn_select_cb(ssl_ctx, on_alpn, NULL);
    return conf->client_ca[0] == '\0'
               ? STATUS_OK
               : ask_client_ca(ssl_ctx, conf->client_ca,
                               SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, err);
}

enum status tls_ctx_new_server(const struct conf_listener_tls *conf, struct tls_ctx **ret_ctx,
                               struct errbuf *err)
{
    struct tls_ctx *ctx = tls_ctx_new(true, conf->certificate_count);
    enum status status = STATUS_OK;

    ASSERT(conf->certificate_count > 0);
    ctx->tickets = ticket_keys_new();
    for (size_t i = 0; status == STATUS_OK && i < ctx->ctx_count; i++) {
        const struct conf_certificate *pair = &conf->certificates[i];

        status = tls_load_identity(ctx, ctx->ctxs[i], pair->certificate, pair->key, err);
        if (status == STATUS_OK) {
            status = set_up(ctx, ctx->ctxs[i], conf, err);
        }
    }
    if (status != STATUS_OK) {
        tls_ctx_unref(ctx);
        return status;
    }
    *ret_ctx = ctx;
    return STATUS_OK;
}

enum status tls_ctx_new_admin(const struct conf_admin_tls *conf, struct tls_ctx **ret_ctx,
                              struct errbuf *err)
{
    struct conf_certificate pair = {.certificate = conf->certificate, .key = conf->key};
    struct conf_listener_tls listener = {.certificates = &pair,
                                         .certificate_count = 1,
                                         .client_ca = "",
                                         .min_version = conf->min_version};
    struct tls_ctx *ctx;
    enum status status = tls_ctx_new_server(&listener, &ctx, err);

    if (status == STATUS_OK && conf->api_client_ca[0] != '\0') {
        status = ask_client_ca(ctx->ctxs[0], conf->api_client_ca, SSL_VERIFY_PEER, err);
        if (status != STATUS_OK) {
            tls_ctx_unref(ctx);
        }
    }
    if (status == STATUS_OK) {
        *ret_ctx = ctx;
    }
    return status;
}
