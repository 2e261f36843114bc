/* SPDX-License-Identifier: MIT */
/* The pod's listening sockets: opening, accepting, and refusing as a fault. */
#ifndef POD_SERVER_H
#define POD_SERVER_H

#include <stdbool.h>
#include <stdint.h>

struct listener;
struct pod;

/* Bind and listen; port 0 lets the kernel choose. False when the port cannot be had. */
bool listener_open(struct listener *listener, struct pod *pod, uint16_t port);
void listener_close(struct listener *listener);

/* Connects are refused from now on; the port stays ours, so that nobody else takes it. */
void listener_refuse(struct listener *listener);
bool listener_heal(struct listener *listener);

#endif
