/* SPDX-License-Identifier: MIT */
/*
 * The socket under OpenSSL. Its own socket BIO would do, but reads once more to be told EAGAIN,
 * and writes without MSG_NOSIGNAL; this one shares what the stream knows of its socket.
 */
#include "stream_private.h"
#include "tls_private.h"

#include <nearside/base/assert.h>

struct stream *tls_bio_stream(BIO *bio)
{
    return OBJ_CAST(BIO_get_data(bio), stream, STREAM_MAGIC);
}

static int on_read(BIO *bio, char *buf, size_t size, size_t *ret_len)
{
    struct stream *stream = tls_bio_stream(bio);

    BIO_clear_retry_flags(bio);
    if (!stream_tls_may_read(stream)) {
        return 0;
    }
    switch (socket_read(stream, buf, size, ret_len)) {
    case STREAM_OK:
        return 1;
    case STREAM_AGAIN:
        BIO_set_retry_read(bio);
        return 0;
    case STREAM_EOF:
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
        return 0;
    case STREAM_ERROR:
        return 0;
    }
    ASSERT_UNREACHABLE("no such outcome of a read");
}

static int on_write(BIO *bio, const char *bytes, size_t len, size_t *ret_len)
{
    struct stream *stream = tls_bio_stream(bio);
    /* The pieces of a write are only read. */
    struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};

    BIO_clear_retry_flags(bio);
    switch (socket_writev(stream, &piece, 1, ret_len)) {
    case STREAM_OK:
        return 1;
    case STREAM_AGAIN:
        BIO_set_retry_write(bio);
        return 0;
    case STREAM_EOF:
    case STREAM_ERROR:
        return 0;
    }
    ASSERT_UNREACHABLE("no such outcome of a write");
}

static long on_control(BIO *bio, int command, long number, void *ptr)
{
    (void)number;
    (void)ptr;
    switch (command) {
    case BIO_CTRL_FLUSH: /* nothing is held back here */
        return 1;
    case BIO_CTRL_EOF: /* how OpenSSL tells a missing close_notify from other failures */
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    default:
        return 0;
    }
}

BIO_METHOD *tls_bio_method_new(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "stream");

    ASSERT(method != NULL);
    ASSERT(BIO_meth_set_read_ex(method, on_read) == 1);
    ASSERT(BIO_meth_set_write_ex(method, on_write) == 1);
    ASSERT(BIO_meth_set_ctrl(method, on_control) == 1);
    return method;
}

BIO *tls_bio_new(const BIO_METHOD *method, struct stream *stream)
{
    BIO *bio = BIO_new(method);

    if (bio != NULL) {
        BIO_set_data(bio, stream);
        BIO_set_init(bio, 1);
    }
    return bio;
}
