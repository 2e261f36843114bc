/* SPDX-License-Identifier: MIT */
/* TLS for the pod's connections: OpenSSL over a non-blocking socket, and nothing of src/net. */
#ifndef POD_TLS_H
#define POD_TLS_H

#include <stddef.h>
#include <sys/types.h>

struct pod_options;
struct pod_tls;
struct pod_tls_conn;

#define TLS_AGAIN (-1)
#define TLS_ERROR (-2)

/* NULL when a file cannot be used; OpenSSL's reason goes to stderr. */
struct pod_tls *pod_tls_new(const struct pod_options *options);
void pod_tls_free(struct pod_tls *tls);

struct pod_tls_conn *pod_tls_accept(struct pod_tls *tls, int fd);
void pod_tls_close(struct pod_tls_conn *conn); /* sends close_notify; NULL is fine */

/* Bytes moved, 0 at the peer's end, TLS_AGAIN or TLS_ERROR. */
ssize_t pod_tls_read(struct pod_tls_conn *conn, void *bytes, size_t len);
ssize_t pod_tls_write(struct pod_tls_conn *conn, const void *bytes, size_t len);

#endif
