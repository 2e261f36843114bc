/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets. One descriptor per worker and address (SO_REUSEPORT), bound on the control
 * thread so that a failure is known before anything is committed, then handed to the worker.
 *
 * On reload the descriptors of an address that stays are kept, never bound again.
 */
#ifndef NEARSIDE_NET_LISTENER_H
#define NEARSIDE_NET_LISTENER_H

#include <nearside/base/addr.h>
#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>

#include <stdbool.h>

struct loop;
struct listener;

/* Does anybody else listen on `addr`? SO_REUSEPORT would let a second process of the same user
 * share it unnoticed; asking once without that option finds out. */
enum status listener_check_free(const struct addr *addr, struct errbuf *err) MUST_CHECK;

/* Bind and listen on one more socket of `addr`. The caller owns the descriptor. */
enum status listener_bind(const struct addr *addr, int *ret_fd, struct errbuf *err) MUST_CHECK;

/* `fd` is non-blocking, with TCP_NODELAY set; the callee owns it. */
typedef void (*listener_accept_fn)(struct listener *listener, int fd, const struct addr *peer,
                                   void *arg);
/* accept() failed for want of descriptors or memory; accepting pauses for 100 ms. May be NULL. */
typedef void (*listener_refused_fn)(struct listener *listener, int error_number, void *arg);

/* Accept on `fd` (ownership passes), a bounded number per turn. Thread: the loop's. */
struct listener *listener_start(struct loop *loop, int fd, listener_accept_fn accepted,
                                listener_refused_fn refused, void *arg);
/* Accept nothing for 100 ms. May be called in the accept callback. */
void listener_pause(struct listener *listener);
/* Accept what already stands in the kernel's queue (a close would reset it), as listener_start()
 * said. The owner may free the listener in the callback no more than anywhere else: not here. */
void listener_accept_rest(struct listener *listener);
/* Stop, and close the descriptor. NULL is fine. */
void listener_free(struct listener *listener);

#endif
