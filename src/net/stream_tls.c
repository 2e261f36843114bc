/* SPDX-License-Identifier: MIT */
/*
 * TLS on a stream: handshake, records, close_notify.
 *
 * Writing: OpenSSL makes a record of each write, so small pieces are put together first, up to the
 * 16 KiB that a record holds. A record that the socket did not take whole is kept by OpenSSL, and
 * the very same bytes must be offered again to send the rest of it; `pending_len` says how many.
 * The owner's side of that: offer unsent bytes again, in front, never fewer than before.
 *
 * Reading: bytes may wait inside OpenSSL where no edge announces them. stream.h tells owners to go
 * on until STREAM_AGAIN or to ask with stream_again().
 */
#include "stream_private.h"
#include "tls_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include <sys/socket.h>

#define RECORD_MAX SSL3_RT_MAX_PLAIN_LENGTH

/* After the handshake: OpenSSL's steps for messages of TLS itself (new keys, new tickets, alerts,
 * attempts to negotiate anew; one or two each), and one more for so many bytes that were read.
 * Honest peers send one of them in gigabytes. */
#define MESSAGE_STEPS_MAX      64
#define MESSAGE_BYTES_PER_STEP 65536

struct stream_tls {
    SSL *ssl;            /* owned */
    struct tls_ctx *ctx; /* ref held */
    size_t pending_len;  /* bytes of a write that must be offered again; 0: none */
    uint64_t bytes_read;
    uint64_t message_steps; /* for messages after the handshake */
    bool is_dead;           /* a fatal error: OpenSSL must not be asked for a close_notify */
    bool shutdown_waits;    /* close_notify and FIN are to follow when the socket is writable */
};

struct stream_tls *stream_tls_new(struct stream *stream, struct tls_ctx *ctx,
                                  const char *server_name)
{
    SSL *ssl = tls_ctx_connection(ctx, stream, server_name);
    struct stream_tls *tls;

    if (ssl == NULL) {
        ERR_clear_error();
        stream->handshake_end = HANDSHAKE_LOCAL;
        stream_note_failure(stream, STREAM_FAILURE_LOCAL, "no memory for TLS");
        return NULL;
    }
    tls = mem_new(struct stream_tls);
    tls->ctx = tls_ctx_ref(ctx);
    tls->ssl = ssl;
    return tls;
}

void stream_tls_free(struct stream_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    SSL_free(tls->ssl);
    tls_ctx_unref(tls->ctx);
    mem_free(tls);
}

/* ---- why OpenSSL did not go on ---- */

/* Alerts that the peer sent stand above this in OpenSSL's reasons. */
#define PEER_ALERTS 1000

static enum handshake_end handshake_end_of(int reason)
{
    switch (reason) {
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return HANDSHAKE_CLOSED;
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_BAD_LENGTH:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        return HANDSHAKE_NOT_TLS;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_SSL_VERSION:
        return HANDSHAKE_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
        return HANDSHAKE_CIPHER;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return HANDSHAKE_ALPN;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return HANDSHAKE_CERTIFICATE;
    case ERR_R_MALLOC_FAILURE:
        return HANDSHAKE_LOCAL;
    default:
        return reason > PEER_ALERTS ? HANDSHAKE_ALERT : HANDSHAKE_OTHER;
    }
}

/* Whatever came of it in the end. Takes the errors off. */
static bool is_memory_refused(const SSL *ssl)
{
    bool is_refused = SSL_get_verify_result(ssl) == X509_V_ERR_OUT_OF_MEM;
    unsigned long code;

    while ((code = ERR_get_error()) != 0) {
        is_refused = is_refused || ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    }
    return is_refused;
}

static void note_tls_failure(struct stream *stream)
{
    unsigned long code = ERR_peek_error(); /* the oldest: where it began */
    const char *reason = ERR_reason_error_string(code);
    long verify = SSL_get_verify_result(stream->tls->ssl);
    char *text = NULL;

    if (is_memory_refused(stream->tls->ssl)) {
        stream->handshake_end = HANDSHAKE_LOCAL;
        stream_note_failure(stream, STREAM_FAILURE_LOCAL, "no memory for TLS");
        return;
    }
    if (stream->state != STREAM_STATE_OPEN) {
        stream->handshake_end = handshake_end_of(ERR_GET_REASON(code));
    }
    if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        stream_note_failure(stream, STREAM_FAILURE_RESET,
                            stream->state == STREAM_STATE_OPEN
                                ? "connection ended without close_notify"
                                : "connection ended in the handshake");
        return;
    }
    if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED && verify != X509_V_OK) {
        text = mem_printf("certificate verify failed: %s", X509_verify_cert_error_string(verify));
    }
    stream_note_failure(stream, STREAM_FAILURE_TLS,
                        text != NULL     ? text
                        : reason != NULL ? reason
                                         : "tls failure");
    mem_free(text);
}

static enum stream_io outcome_of(struct stream *stream, int result)
{
    switch (SSL_get_error(stream->tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return STREAM_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        stream->peer_is_closed = true;
        stream->handshake_end = HANDSHAKE_CLOSED; /* matters in a handshake only */
        return STREAM_EOF;
    case SSL_ERROR_SYSCALL: /* tls_bio.c has noted which, unless the queue knows better */
        stream_note_failure(stream, STREAM_FAILURE_RESET, "connection broken");
        stream->handshake_end = HANDSHAKE_CLOSED;
        break;
    default:
        note_tls_failure(stream);
        break;
    }
    stream->tls->is_dead = true;
    stream->peer_is_closed = true;
    ERR_clear_error();
    return STREAM_ERROR;
}

/* ---- messages after the handshake ---- */

static void on_info(const SSL *ssl, int where, int value)
{
    struct stream *stream = tls_bio_stream(SSL_get_rbio(ssl));

    (void)value;
    stream->tls->message_steps += (where & (SSL_CB_LOOP | SSL_CB_ALERT)) != 0;
}

/* Such messages cost some microseconds each, and OpenSSL reads on within one call as long as they
 * come: a peer that sends nothing else would have the thread to itself. tls_bio.c asks before it
 * gives it more. */
bool stream_tls_may_read(struct stream *stream)
{
    const struct stream_tls *tls = stream->tls;

    if (tls->message_steps <= MESSAGE_STEPS_MAX + tls->bytes_read / MESSAGE_BYTES_PER_STEP) {
        return true;
    }
    stream_note_failure(stream, STREAM_FAILURE_TLS, "too many messages of TLS itself");
    return false;
}

/* ---- operations ---- */

enum stream_io stream_tls_handshake(struct stream *stream)
{
    SSL *ssl = stream->tls->ssl;
    int result;

    ERR_clear_error();
    result = SSL_do_handshake(ssl);
    if (result != 1) {
        return outcome_of(stream, result);
    }
    SSL_set_info_callback(ssl, on_info);
    return STREAM_OK;
}

static enum stream_io tls_read(struct stream *stream, void *buf, size_t size, size_t *ret_len)
{
    size_t len = 0;
    int result;

    ASSERT(size > 0);
    ERR_clear_error();
    result = SSL_read_ex(stream->tls->ssl, buf, size, &len);
    if (result != 1) {
        return outcome_of(stream, result);
    }
    stream->tls->bytes_read += len;
    *ret_len = len;
    return STREAM_OK;
}

/* Where the next record's bytes come from. */
struct cursor {
    const struct iovec *piece;
    int left;      /* pieces, with the present one */
    size_t offset; /* in the present one */
};

/* The next bytes, at most `max`: in place when one piece has them, else put together in
 * `gathered`. Returns how many. */
static size_t cursor_peek(const struct cursor *cursor, size_t max, char *gathered,
                          const char **ret_bytes)
{
    const struct iovec *piece = cursor->piece;
    size_t offset = cursor->offset;
    size_t len = 0;

    *ret_bytes = (const char *)piece->iov_base + offset;
    if (cursor->left == 1 || piece->iov_len - offset >= max) {
        return piece->iov_len - offset < max ? piece->iov_len - offset : max;
    }
    for (int i = 0; i < cursor->left && len < max; i++) {
        size_t part = piece[i].iov_len - offset;

        part = part < max - len ? part : max - len;
        if (part > 0) {
            memcpy(gathered + len, (const char *)piece[i].iov_base + offset, part);
        }
        len += part;
        offset = 0;
    }
    *ret_bytes = gathered;
    return len;
}

static void cursor_advance(struct cursor *cursor, size_t len)
{
    while (cursor->left > 0 && len >= cursor->piece->iov_len - cursor->offset) {
        len -= cursor->piece->iov_len - cursor->offset;
        cursor->offset = 0;
        cursor->piece++;
        cursor->left--;
    }
    cursor->offset += len;
}

/* One record of what comes next. */
static enum stream_io write_record(struct stream *stream, const char *bytes, size_t len,
                                   size_t *ret_len)
{
    struct stream_tls *tls = stream->tls;
    int result;

    ERR_clear_error();
    result = SSL_write_ex(tls->ssl, bytes, len, ret_len);
    if (result == 1) {
        tls->pending_len = 0;
        return STREAM_OK;
    }
    tls->pending_len = len;
    return outcome_of(stream, result);
}

static enum stream_io tls_writev(struct stream *stream, const struct iovec *pieces, int count,
                                 size_t *ret_len)
{
    char gathered[RECORD_MAX];
    struct cursor cursor = {.piece = pieces, .left = count};
    enum stream_io outcome = STREAM_OK;
    size_t total = 0;

    cursor_advance(&cursor, 0); /* over empty pieces */
    ASSERT(cursor.left > 0);
    while (cursor.left > 0 && outcome == STREAM_OK) {
        size_t pending = stream->tls->pending_len;
        const char *bytes;
        size_t len = cursor_peek(&cursor, pending != 0 ? pending : RECORD_MAX, gathered, &bytes);
        size_t written = 0;

        ASSERT(len >= pending);
        outcome = write_record(stream, bytes, len, &written);
        cursor_advance(&cursor, written);
        total += written;
    }
    if (total == 0) {
        return outcome;
    }
    *ret_len = total;
    return STREAM_OK; /* an error comes again with the next call */
}

static bool tls_is_quiet(struct stream *stream)
{
    char byte;
    size_t len;
    int result;

    /* Session tickets may have arrived, which are none of the owner's bytes: let OpenSSL look. */
    stream->is_readable = true;
    ERR_clear_error();
    result = SSL_peek_ex(stream->tls->ssl, &byte, 1, &len);
    return result != 1 && outcome_of(stream, result) == STREAM_AGAIN;
}

/* ---- the end ---- */

/* close_notify, then FIN; or later when the socket is full. */
static void say_goodbye(struct stream *stream)
{
    struct stream_tls *tls = stream->tls;
    int result;

    ERR_clear_error();
    result = SSL_shutdown(tls->ssl); /* 0: sent; 1: and the peer's has come */
    tls->shutdown_waits = result < 0 && SSL_get_error(tls->ssl, result) == SSL_ERROR_WANT_WRITE;
    ERR_clear_error();
    if (!tls->shutdown_waits) {
        (void)shutdown(stream->fd, SHUT_WR); /* fails when the peer is gone */
    }
}

static void tls_shutdown(struct stream *stream)
{
    stream->is_shut = true;
    if (stream->tls->is_dead || stream->tls->pending_len != 0) {
        /* A record was cut short: without close_notify the peer sees that it was. */
        (void)shutdown(stream->fd, SHUT_WR);
        return;
    }
    say_goodbye(stream);
}

void stream_tls_resume(struct stream *stream)
{
    if (stream->tls->shutdown_waits && stream->is_writable) {
        say_goodbye(stream);
    }
}

void stream_tls_close(struct stream *stream)
{
    struct stream_tls *tls = stream->tls;

    if (!stream->is_shut && !tls->is_dead && tls->pending_len == 0) {
        ERR_clear_error();
        (void)SSL_shutdown(tls->ssl); /* one try: nobody waits for what does not fit */
        ERR_clear_error();
    }
}

struct str stream_tls_sni(const struct stream *stream)
{
    const char *name = SSL_get_servername(stream->tls->ssl, TLSEXT_NAMETYPE_host_name);

    return str_of(name);
}

const struct stream_ops stream_tls_ops = {
    .read = tls_read,
    .writev = tls_writev,
    .shutdown = tls_shutdown,
    .is_quiet = tls_is_quiet,
};
