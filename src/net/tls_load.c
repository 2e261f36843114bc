/* SPDX-License-Identifier: MIT */
/* Certificates, keys and authorities from PEM files, with errors that name the file. */
#include "tls_private.h"

#include "socket_option.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

const char *tls_error_text(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code); /* static text */

    ERR_clear_error();
    return reason == NULL ? "unknown error" : reason;
}

/* OpenSSL's own words for a file it cannot open are hard to read; ask first. */
static enum status check_readable(const char *path, struct errbuf *err)
{
    char text[ERRNO_TEXT_LEN];
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        err_set(err, "%s: %s", path, errno_text(errno, text));
        return STATUS_FAILED;
    }
    (void)close(fd); /* it was only read */
    return STATUS_OK;
}

/* Nobody is there to type a passphrase; OpenSSL would ask the terminal. */
static int refuse_passphrase(char *buf, int size, int is_writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)is_writing;
    (void)arg;
    return -1;
}

static int64_t seconds_of(const ASN1_TIME *when)
{
    struct tm parts = {0};

    return ASN1_TIME_to_tm(when, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

static enum status check_dates(struct tls_ctx *ctx, X509 *certificate, const char *path,
                               struct errbuf *err)
{
    const ASN1_TIME *not_after = X509_get0_notAfter(certificate);
    int64_t expires_at = seconds_of(not_after);

    /* An expired one is used all the same: refusing it would turn a warning at the clients into an
     * outage at the next restart. Whoever loads it tells, by tls_ctx_expires_at(). */
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
        err_set(err, "%s: the certificate is not valid yet", path);
        return STATUS_INVALID;
    }
    if (ctx->expires_at == 0 || expires_at < ctx->expires_at) {
        ctx->expires_at = expires_at;
    }
    return STATUS_OK;
}

static enum status load_key(SSL_CTX *ssl_ctx, const char *certificate_path, const char *key_path,
                            struct errbuf *err)
{
    unsigned long code;

    if (SSL_CTX_use_PrivateKey_file(ssl_ctx, key_path, SSL_FILETYPE_PEM) == 1 &&
        SSL_CTX_check_private_key(ssl_ctx) == 1) {
        return STATUS_OK;
    }
    code = ERR_peek_last_error();
    if (ERR_GET_LIB(code) == ERR_LIB_X509) { /* values or type mismatch */
        err_set(err, "%s: not the key of the certificate in %s", key_path, certificate_path);
        ERR_clear_error();
        return STATUS_INVALID;
    }
    err_set(err, "%s: no private key in PEM form without a passphrase: %s", key_path,
            tls_error_text());
    return STATUS_INVALID;
}

enum status tls_load_identity(struct tls_ctx *ctx, SSL_CTX *ssl_ctx, const char *certificate_path,
                              const char *key_path, struct errbuf *err)
{
    enum status status = check_readable(certificate_path, err);

    if (status == STATUS_OK) {
        status = check_readable(key_path, err);
    }
    if (status != STATUS_OK) {
        return status;
    }
    SSL_CTX_set_default_passwd_cb(ssl_ctx, refuse_passphrase);
    if (SSL_CTX_use_certificate_chain_file(ssl_ctx, certificate_path) != 1) {
        err_set(err, "%s: no certificate in PEM form: %s", certificate_path, tls_error_text());
        return STATUS_INVALID;
    }
    status = check_dates(ctx, SSL_CTX_get0_certificate(ssl_ctx), certificate_path, err);
    return status == STATUS_OK ? load_key(ssl_ctx, certificate_path, key_path, err) : status;
}

enum status tls_load_ca(SSL_CTX *ssl_ctx, const char *path, struct errbuf *err)
{
    enum status status = check_readable(path, err);

    if (status != STATUS_OK) {
        return status;
    }
    if (SSL_CTX_load_verify_file(ssl_ctx, path) != 1) {
        err_set(err, "%s: no certificate authority in PEM form: %s", path, tls_error_text());
        return STATUS_INVALID;
    }
    return STATUS_OK;
}
