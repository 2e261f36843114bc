/* SPDX-License-Identifier: MIT */
/*
 * The keys of a listener's session tickets. Whoever has one can read what was resumed with it, so
 * each is used to issue for TICKET_KEY_S, accepted for as long again, then wiped.
 *
 * Thread: any; a lock guards the keys and is held for a copy.
 */
#ifndef NEARSIDE_NET_TLS_TICKET_PRIVATE_H
#define NEARSIDE_NET_TLS_TICKET_PRIVATE_H

#include <nearside/base/attr.h>

#include <openssl/ssl.h>

#include <stdbool.h>
#include <stdint.h>

#define TICKET_KEY_S    3600
#define TICKET_NAME_LEN 16

struct ticket_keys;

struct ticket_key {
    uint8_t name[TICKET_NAME_LEN]; /* stands in the ticket, in the clear */
    uint8_t cipher[32];            /* AES-256-CBC */
    uint8_t mac[32];               /* HMAC-SHA256 */
};

struct ticket_keys *ticket_keys_new(void);
void ticket_keys_free(struct ticket_keys *keys); /* wiped; NULL is fine */

/* Have the tickets of `ssl_ctx` made and read with these keys, which must outlive it. */
void ticket_keys_use(struct ticket_keys *keys, SSL_CTX *ssl_ctx);

/* The key to issue with at a time. False: no randomness; then no ticket is issued. */
bool ticket_keys_issue(struct ticket_keys *keys, uint64_t now_ns,
                       struct ticket_key *ret_key) MUST_CHECK;

enum ticket_find { TICKET_UNKNOWN, TICKET_CURRENT, TICKET_OLD };
/* The key of that name, unless its time is over. */
enum ticket_find ticket_keys_find(struct ticket_keys *keys, uint64_t now_ns,
                                  const uint8_t name[TICKET_NAME_LEN],
                                  struct ticket_key *ret_key) MUST_CHECK;

#endif
