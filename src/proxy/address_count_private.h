/* SPDX-License-Identifier: MIT */
/*
 * How many connections, or requests under way, each client address has, over all workers.
 *
 * An IPv6 client has a whole /64 to itself, so that counts as one address; an IPv4 address in IPv6
 * clothes (::ffff:192.0.2.1) is itself. The table holds an entry per address with a connection, or
 * a request on one, so limits.max_connections bounds it.
 *
 * Thread: any. Shards with a lock each; nothing else is locked while one is held.
 */
#ifndef NEARSIDE_PROXY_ADDRESS_COUNT_PRIVATE_H
#define NEARSIDE_PROXY_ADDRESS_COUNT_PRIVATE_H

#include <nearside/base/attr.h>

#include <stdbool.h>
#include <stdint.h>

struct addr;
struct address_counts;

struct address_counts *address_counts_new(void);
/* No count may be left. NULL is fine. */
void address_counts_free(struct address_counts *counts);

/* One more for `addr`; false when it has `limit` already (0: no limit), and then none is taken. */
bool address_counts_take(struct address_counts *counts, const struct addr *addr,
                         uint32_t limit) MUST_CHECK;
/* Give back one that was taken. */
void address_counts_give(struct address_counts *counts, const struct addr *addr);

#endif
