/* SPDX-License-Identifier: MIT */
/* See channel_private.h. The handshake goes with the first send. */
#include "channel_private.h"

#include <nearside/base/addr.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

static const char *reason_text(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return reason == NULL ? "TLS failed" : reason;
}

enum status trust_new(const char *ca, struct ssl_ctx_st **ret_trust, struct errbuf *err)
{
    SSL_CTX *trust = SSL_CTX_new(TLS_client_method());

    if (trust == NULL || SSL_CTX_set_min_proto_version(trust, TLS1_2_VERSION) != 1) {
        err_set(err, "%s", reason_text());
        SSL_CTX_free(trust);
        return STATUS_FAILED;
    }
    if (ca == NULL ? SSL_CTX_set_default_verify_paths(trust) != 1
                   : SSL_CTX_load_verify_file(trust, ca) != 1) {
        err_set(err, "%s: no certificate authority in PEM form: %s",
                ca == NULL ? "the system's authorities" : ca, reason_text());
        SSL_CTX_free(trust);
        return STATUS_INVALID;
    }
    SSL_CTX_set_verify(trust, SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_mode(trust,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    *ret_trust = trust;
    return STATUS_OK;
}

void trust_free(struct ssl_ctx_st *trust)
{
    SSL_CTX_free(trust);
}

/* An address is checked but never sent as a name. */
static bool expect_host(SSL *ssl, const char *host)
{
    struct addr addr;

    if (addr_parse_ip(str_of(host), 0, &addr)) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    /* SSL_set_tlsext_host_name() spelt out: the macro casts const away. */
    return SSL_set1_host(ssl, host) == 1 &&
           SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                    (void *)(uintptr_t)host) == 1;
}

enum status channel_open(struct channel *channel, int fd, struct ssl_ctx_st *trust,
                         const char *host)
{
    *channel = (struct channel){.fd = fd};
    if (trust == NULL) {
        return STATUS_OK;
    }
    channel->ssl = SSL_new(trust);
    if (channel->ssl == NULL || SSL_set_fd(channel->ssl, fd) != 1 ||
        !expect_host(channel->ssl, host)) {
        err_set(&channel->err, "%s", reason_text());
        channel_close(channel);
        return STATUS_FAILED;
    }
    SSL_set_connect_state(channel->ssl);
    return STATUS_OK;
}

void channel_close(struct channel *channel)
{
    SSL_free(channel->ssl);
    channel->ssl = NULL;
}

static enum channel_result plain_result(struct channel *channel, ssize_t len, short events)
{
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
        channel->events = events;
        return CHANNEL_AGAIN;
    }
    if (len < 0) {
        err_set(&channel->err, "%s", strerror(errno));
    }
    return len < 0 ? CHANNEL_ERROR : len == 0 ? CHANNEL_EOF : CHANNEL_OK;
}

static enum channel_result tls_failure(struct channel *channel, int code)
{
    long verdict = SSL_get_verify_result(channel->ssl);
    int error = errno;

    switch (SSL_get_error(channel->ssl, code)) {
    case SSL_ERROR_WANT_READ:
        channel->events = POLLIN;
        return CHANNEL_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        channel->events = POLLOUT;
        return CHANNEL_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return CHANNEL_EOF;
    default:
        break;
    }
    if (verdict != X509_V_OK) {
        err_set(&channel->err, "its certificate: %s", X509_verify_cert_error_string(verdict));
    } else {
        err_set(&channel->err, "%s",
                ERR_peek_last_error() == 0 && error != 0 ? strerror(error) : reason_text());
    }
    ERR_clear_error();
    return CHANNEL_ERROR;
}

enum channel_result channel_send(struct channel *channel, const char *ptr, size_t len,
                                 size_t *ret_len)
{
    ssize_t sent;
    int code;

    errno = 0;
    if (channel->ssl != NULL) {
        ERR_clear_error(); /* SSL_get_error() looks at the queue */
        code = SSL_write_ex(channel->ssl, ptr, len, ret_len);
        return code == 1 ? CHANNEL_OK : tls_failure(channel, code);
    }
    sent = send(channel->fd, ptr, len, MSG_NOSIGNAL);
    *ret_len = sent < 0 ? 0 : (size_t)sent;
    return plain_result(channel, sent, POLLOUT);
}

enum channel_result channel_receive(struct channel *channel, char *ptr, size_t size,
                                    size_t *ret_len)
{
    ssize_t received;
    int code;

    errno = 0;
    if (channel->ssl != NULL) {
        ERR_clear_error();
        code = SSL_read_ex(channel->ssl, ptr, size, ret_len);
        return code == 1 ? CHANNEL_OK : tls_failure(channel, code);
    }
    received = recv(channel->fd, ptr, size, 0);
    *ret_len = received < 0 ? 0 : (size_t)received;
    return plain_result(channel, received, POLLIN);
}
