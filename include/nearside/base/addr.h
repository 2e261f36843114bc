/* SPDX-License-Identifier: MIT */
/* An IPv4 or IPv6 socket address by value, with text forms. */
#ifndef NEARSIDE_BASE_ADDR_H
#define NEARSIDE_BASE_ADDR_H

#include <nearside/base/attr.h>
#include <nearside/base/str.h>

#include <netinet/in.h>
#include <sys/socket.h>

struct addr {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } sa;
    socklen_t len; /* 0: no address */
};

#define ADDR_TEXT_LEN 64

/* "10.0.0.1:80", "[::1]:80". No names are resolved. */
bool addr_parse(struct str text, struct addr *ret_addr) MUST_CHECK;
/* "10.0.0.1", "::1" (brackets allowed) and a port. */
bool addr_parse_ip(struct str text, uint16_t port, struct addr *ret_addr) MUST_CHECK;
bool addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct addr *ret_addr) MUST_CHECK;

/* Same family, address and port. */
bool addr_eq(const struct addr *a, const struct addr *b);
uint16_t addr_port(const struct addr *addr);
void addr_set_port(struct addr *addr, uint16_t port);
/* Would a listener at one be in the other's way? Equal, or one is every address of its family. */
bool addr_overlaps(const struct addr *a, const struct addr *b);
bool addr_is_loopback(const struct addr *addr);

/* With port ("[::1]:80"), or the address alone ("::1"). NUL-terminated; returns the length. */
size_t addr_format(const struct addr *addr, char out[ADDR_TEXT_LEN]);
size_t addr_format_ip(const struct addr *addr, char out[ADDR_TEXT_LEN]);

/* ---- blocks of addresses ---- */

struct addr_block {
    struct addr addr; /* port 0 */
    unsigned bits;    /* of the prefix */
};

/* "10.0.0.0/8", "2001:db8::/32", or one address. Bits behind the prefix must be 0: "10.1.0.0/8" is
 * a slip, whichever way it was meant. */
bool addr_block_parse(struct str text, struct addr_block *ret_block) MUST_CHECK;
/* Ports do not matter. An IPv4 address is the same in its IPv6 form (::ffff:10.0.0.1). */
bool addr_block_has(const struct addr_block *block, const struct addr *addr);

#endif
