/* SPDX-License-Identifier: MIT */
/*
 * May a client that just connected stay? The limits that hold before a byte of it is read.
 *
 * The newest is refused, those connected already go on. No connection object is made for one that
 * is refused: that is the point of the limits.
 *
 * Thread: a worker's; the counts are shared by all of them.
 */
#ifndef NEARSIDE_PROXY_ADMISSION_PRIVATE_H
#define NEARSIDE_PROXY_ADMISSION_PRIVATE_H

#include <nearside/base/attr.h>

#include <stdbool.h>

struct addr;
struct worker;

enum admission {
    ADMISSION_GRANTED,
    ADMISSION_NO_DESCRIPTORS, /* only limits.reserve_descriptors are left */
    ADMISSION_FULL,           /* limits.max_connections */
    ADMISSION_CLIENT_FULL,    /* limits.max_connections_per_client */
    ADMISSION_HANDSHAKES,     /* limits.max_handshakes */
    ADMISSION_COUNT
};

/* GRANTED: counted, until admission_give(); with `tls` also as a handshake, until
 * admission_handshake_over(). */
enum admission admission_take(struct worker *worker, int fd, const struct addr *peer,
                              bool tls) MUST_CHECK;
void admission_give(struct worker *worker, const struct addr *peer);
void admission_handshake_over(struct worker *worker);

/* One more request under way of `client`, for admission_give_request(). UNCOUNTED: the limit
 * on connections bounds it already, nothing is to be given back. */
enum admission_request { ASKER_COUNTED, ASKER_UNCOUNTED, ASKER_FULL };
enum admission_request admission_take_request(struct worker *worker, const struct addr *client,
                                              bool is_forwarded) MUST_CHECK;
void admission_give_request(struct worker *worker, const struct addr *client);

/* Tell the client why, as far as that costs nothing (with `tls` a handshake would be needed), count
 * it and close `fd`. */
void admission_refuse(struct worker *worker, enum admission why, int fd, bool tls);

/* Descriptors from this number on are kept from clients, or from requests to endpoints; both are
 * UINT32_MAX where the process has no limit. The kernel gives the lowest free number, so a high one
 * means that nearly all are in use. */
unsigned admission_client_descriptors(const struct worker *worker);
unsigned admission_upstream_descriptors(const struct worker *worker);

#endif
