/* SPDX-License-Identifier: MIT */
/*
 * One evhttp server on one listening socket: limits, accepting, and an end that lets the last
 * replies out.
 */
#ifndef NEARSIDE_ADMIN_SERVER_PRIVATE_H
#define NEARSIDE_ADMIN_SERVER_PRIVATE_H

#include <stdbool.h>

struct admin;
struct server;

/* Serve on `fd`; ownership passes. `loopback`: it is bound to a loopback address. */
struct server *server_new(struct admin *admin, int fd, bool loopback);
int server_socket(const struct server *server); /* -1: retired */
/* Close the listening socket now, finish the replies under way, then free. */
void server_retire(struct server *server);
/* Close everything and free. Not from a callback of the server. NULL is fine. */
void server_free(struct server *server);
/* Free all that server_retire() left. */
void server_free_retired(struct admin *admin);

#endif
