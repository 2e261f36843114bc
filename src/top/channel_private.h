/* SPDX-License-Identifier: MIT */
/* The bytes to and from an edge over a connected, non-blocking socket: as they are, or over TLS. */
#ifndef NEARSIDE_TOP_CHANNEL_PRIVATE_H
#define NEARSIDE_TOP_CHANNEL_PRIVATE_H

#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>

#include <stddef.h>

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */
struct ssl_st;     /* and SSL */

/* Whom to trust: the authorities in the PEM file `ca`, or the system's if it is NULL. */
enum status trust_new(const char *ca, struct ssl_ctx_st **ret_trust, struct errbuf *err) MUST_CHECK;
void trust_free(struct ssl_ctx_st *trust); /* NULL is fine */

enum channel_result { CHANNEL_OK, CHANNEL_AGAIN, CHANNEL_EOF, CHANNEL_ERROR };

struct channel {
    int fd;             /* borrowed */
    struct ssl_st *ssl; /* owned; NULL: plain */
    short events;       /* CHANNEL_AGAIN: what poll() is to wait for */
    struct errbuf err;  /* CHANNEL_ERROR: why */
};

/* `trust` NULL: plain. `host`: the name or address that the certificate must be for. */
enum status channel_open(struct channel *channel, int fd, struct ssl_ctx_st *trust,
                         const char *host) MUST_CHECK;
void channel_close(struct channel *channel); /* leaves the socket; twice is fine */

enum channel_result channel_send(struct channel *channel, const char *ptr, size_t len,
                                 size_t *ret_len) MUST_CHECK;
enum channel_result channel_receive(struct channel *channel, char *ptr, size_t size,
                                    size_t *ret_len) MUST_CHECK;

#endif
