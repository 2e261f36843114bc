/* SPDX-License-Identifier: MIT */
/* The TUN device through which a network namespace reaches the others. */
#ifndef WAN_DEVICE_H
#define WAN_DEVICE_H

#include <nearside/base/attr.h>

#include <stdint.h>

#define DEVICE_NAME "wan0"

/*
 * Makes the device inside the named namespace (`ip netns add` made it), gives it `address` and
 * brings it up. Returns its descriptor, which is also its life; -1 with errno set on failure.
 */
int device_open(const char *netns, uint32_t address, uint32_t netmask) MUST_CHECK;

#endif
