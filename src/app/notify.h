/* SPDX-License-Identifier: MIT */
/*
 * What a service manager is told: systemd's protocol (sd_notify(3)), datagrams to the socket that
 * the environment variable NOTIFY_SOCKET names. Without the variable nothing is done.
 *
 * Thread: control.
 */
#ifndef NEARSIDE_APP_NOTIFY_H
#define NEARSIDE_APP_NOTIFY_H

#include <nearside/base/attr.h>

#include <stdbool.h>
#include <stdint.h>

/* "KEY=value" lines. Never waits. False: there is a socket, and it did not take them. */
bool notify_send(const char *format, ...) PRINTF_LIKE(1, 2);

/* How often WATCHDOG=1 is expected of this process, in us; 0: never. */
uint64_t notify_watchdog_us(void);

#endif
