/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing a socket, and the plain stream, which is nothing else.
 *
 * A read that fills less than it was given room for has emptied the socket; the kernel will send
 * an edge for what comes later. So the second read, which would only say EAGAIN, is saved. Once
 * the peer has closed there may be no further edge, hence every read then asks the kernel.
 */
#include "stream_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/kernel.h>

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>

static ssize_t receive(int fd, void *buf, size_t size, int flags)
{
    ssize_t got;

    do {
        got = kernel_recv(fd, buf, size, flags);
    } while (got < 0 && errno == EINTR);
    return got;
}

enum stream_io socket_read(struct stream *stream, void *buf, size_t size, size_t *ret_len)
{
    ssize_t got;

    ASSERT(size > 0);
    if (!stream->is_readable) {
        return STREAM_AGAIN;
    }
    got = receive(stream->fd, buf, size, 0);
    if (got > 0) {
        if (stream->shortage != NULL) {
            stream->shortage->read_since_ns = 0;
        }
        stream->is_readable = (size_t)got == size || stream->peer_is_closed;
        *ret_len = (size_t)got;
        return STREAM_OK;
    }
    if (got == 0) {
        stream->peer_is_closed = true;
        return stream->is_reset ? STREAM_ERROR : STREAM_EOF;
    }
    if (errno == EAGAIN || stream_wait_for_memory(stream, errno, false)) {
        stream->is_readable = false;
        return STREAM_AGAIN;
    }
    stream->peer_is_closed = true;
    stream_note_errno(stream, errno);
    return STREAM_ERROR;
}

/* Put together, small pieces go by send(): copying them costs less than having the kernel fetch a
 * msghdr and its pieces. */
#define GATHER_MAX 4096

static ssize_t send_gathered(int fd, const struct iovec *pieces, size_t count)
{
    char bytes[GATHER_MAX];
    size_t len = 0;

    for (size_t i = 0; i < count; i++) {
        memcpy(bytes + len, pieces[i].iov_base, pieces[i].iov_len);
        len += pieces[i].iov_len;
    }
    return kernel_send(fd, bytes, len, MSG_NOSIGNAL);
}

static ssize_t send_pieces(int fd, const struct iovec *pieces, size_t count, size_t offered)
{
    /* sendmsg() does not write through the pieces; its struct is shared with recvmsg(). */
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)pieces, .msg_iovlen = count};

    if (count == 1) {
        return kernel_send(fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL);
    }
    if (offered <= GATHER_MAX) {
        return send_gathered(fd, pieces, count);
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static ssize_t transmit(int fd, const struct iovec *pieces, size_t count, size_t offered)
{
    ssize_t sent;

    do {
        sent = send_pieces(fd, pieces, count, offered);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

enum stream_io socket_writev(struct stream *stream, const struct iovec *pieces, int count,
                             size_t *ret_len)
{
    size_t offered = 0;
    size_t used = count > IOV_MAX ? IOV_MAX : (size_t)count;
    ssize_t sent;

    for (size_t i = 0; i < used; i++) {
        offered += pieces[i].iov_len;
    }
    ASSERT(offered > 0);
    if (!stream->is_writable) {
        return STREAM_AGAIN;
    }
    sent = transmit(stream->fd, pieces, used, offered);
    if (sent >= 0) {
        if (stream->shortage != NULL) {
            stream->shortage->write_since_ns = 0;
        }
        stream->is_writable = (size_t)sent == offered;
        *ret_len = (size_t)sent;
        return STREAM_OK;
    }
    if (errno == EAGAIN || stream_wait_for_memory(stream, errno, true)) {
        stream->is_writable = false;
        return STREAM_AGAIN;
    }
    /* The kernel reports an error once, to whoever asks first; after that a read finds "end of
     * file". EPIPE is no such error: the peer had ended properly before. */
    stream->is_reset = errno != EPIPE;
    stream->is_readable = true; /* its last words, or the end: the edge may not have come yet */
    stream_note_errno(stream, errno);
    return STREAM_ERROR;
}

static void plain_shutdown(struct stream *stream)
{
    stream->is_shut = true;
    (void)shutdown(stream->fd, SHUT_WR); /* fails when the peer is gone: nothing to end then */
}

static bool plain_is_quiet(struct stream *stream)
{
    char byte;

    return receive(stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

const struct stream_ops stream_plain_ops = {
    .read = socket_read,
    .writev = socket_writev,
    .shutdown = plain_shutdown,
    .is_quiet = plain_is_quiet,
};
