/* SPDX-License-Identifier: MIT */
/*
 * Host names to addresses by c-ares on the loop: every A and AAAA record, with the smallest TTL.
 * No caching here: whoever asks keeps the answer and asks again by its TTL.
 *
 * A literal address or a line of /etc/hosts is an answer with a TTL of 60 s; no server is asked.
 * Having addresses of one family is DNS_OK, whatever became of the other family's question; if that
 * failed, dns_failed_family() says so.
 *
 * Servers come from the system (resolv.conf, with its search list) or from NEARSIDE_DNS_SERVERS in
 * the environment ("127.0.0.1:5353,..."), for tests and odd networks.
 *
 * Thread: the loop that made it (control).
 */
#ifndef NEARSIDE_DNS_RESOLVER_H
#define NEARSIDE_DNS_RESOLVER_H

#include <nearside/base/addr.h>
#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>

#include <stddef.h>
#include <stdint.h>

/* More than limits.dns_addresses allows, so that its user sees what it cuts. */
#define DNS_ADDRS_MAX 257

struct loop;
struct resolver;
struct dns_query;

enum dns_result {
    DNS_OK,
    DNS_NOT_FOUND, /* NXDOMAIN, or no address records */
    DNS_TIMEOUT,
    DNS_FAILED, /* SERVFAIL, refused, malformed, no server */
    DNS_RESULT_COUNT
};

const char *dns_result_word(enum dns_result result);

/* `addrs` (ports 0, no duplicates, sorted, at most DNS_ADDRS_MAX) is borrowed for the call;
 * `ttl_s` is the smallest of the records', aliases included; 0 without addresses. Called exactly
 * once, never before dns_resolve() returns; the query is gone then. */
typedef void (*dns_done_fn)(enum dns_result result, const struct addr *addrs, size_t count,
                            uint32_t ttl_s, void *arg);

enum status resolver_new(struct loop *loop, struct resolver **ret_resolver,
                         struct errbuf *err) MUST_CHECK;
/* Queries under way are dropped without a callback. NULL is fine. */
void resolver_free(struct resolver *resolver);

struct dns_query *dns_resolve(struct resolver *resolver, const char *host, dns_done_fn done,
                              void *arg);
/* In its callback, with DNS_OK: the family whose question failed, AF_INET or AF_INET6, so that
 * nothing is known of its addresses; 0: neither. */
int dns_failed_family(const struct dns_query *query);
/* The callback will not come. */
void dns_cancel(struct dns_query *query);

#endif
