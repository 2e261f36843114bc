/* SPDX-License-Identifier: MIT */
/*
 * The addresses a name stands for, over several answers: an address leaves only when two good
 * answers in a row lack it, so that servers which hand out a changing part of a larger set do not
 * make endpoints come and go. Pure.
 */
#ifndef NEARSIDE_HEALTH_ADDRESS_SET_PRIVATE_H
#define NEARSIDE_HEALTH_ADDRESS_SET_PRIVATE_H

#include <nearside/base/addr.h>

#include <stdbool.h>
#include <stddef.h>

/* Two full answers (limits.dns_addresses, 256 at most) that have nothing in common. */
#define ADDRESS_SET_MAX 512

struct address_set {
    size_t count;
    struct addr addrs[ADDRESS_SET_MAX];
    unsigned missing[ADDRESS_SET_MAX]; /* good answers in a row that lacked it */
};

/* Take in a good answer. It says nothing of the addresses of `unknown_family` that it lacks
 * (AF_INET, AF_INET6; 0: it speaks for both). True when the set changed. */
bool address_set_merge(struct address_set *set, const struct addr *addrs, size_t count,
                       int unknown_family);
bool address_set_has(const struct address_set *set, const struct addr *addr);

#endif
