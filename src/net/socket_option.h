/* SPDX-License-Identifier: MIT */
/* The options of every TCP socket of ours. */
#ifndef NEARSIDE_NET_SOCKET_OPTION_H
#define NEARSIDE_NET_SOCKET_OPTION_H

#include <nearside/base/attr.h>

#include <stdbool.h>
#include <stdint.h>

/* For data that nobody acknowledges, where keepalive is silent and the kernel's own retries would
 * go on for a quarter of an hour. It also ends a peer that keeps its window shut: an endpoint has
 * no reason to, a slow client has, and its own deadline (timeouts.idle_ms) is to come first. */
#define SOCKET_UNACKED_ENDPOINT_MS 30000
#define SOCKET_UNACKED_CLIENT_MS   120000

/* TCP_NODELAY, keepalive and the limit on unacknowledged data. Best effort: a socket without them
 * works. Accepted sockets inherit them from the listening one. */
void socket_set_options(int fd, int unacked_max_ms);

/* Have close() send a reset instead of a FIN. */
void socket_set_abort(int fd);

/* The kernel's estimates, microseconds; false when it has none. */
bool socket_rtt_us(int fd, uint32_t *ret_rtt_us, uint32_t *ret_min_rtt_us) MUST_CHECK;

/* Bytes on their way, and no acknowledgement for at least `ms`? */
bool socket_is_unheard(int fd, uint32_t ms) MUST_CHECK;

/* Bytes that the peer's kernel has acknowledged, since the connection began. */
bool socket_bytes_acked(int fd, uint64_t *ret_bytes) MUST_CHECK;

/* Is the connection over in both directions (a reset, or both closed)? */
bool socket_is_closed(int fd) MUST_CHECK;

/* strerror() as this house writes it, "connection refused", into `out`; returns it. */
#define ERRNO_TEXT_LEN 80
const char *errno_text(int error_number, char out[ERRNO_TEXT_LEN]);

#endif
