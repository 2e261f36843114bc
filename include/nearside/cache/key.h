/* SPDX-License-Identifier: MIT */
/*
 * Cache keys: SHA-256 over method, path, the canonical JSON body and, unless everybody shares, the
 * caller's credentials. Redis sees only the digest.
 *
 * Each part goes into the digest with its length in front, so that no two different requests run
 * together; the canonical body comes last and ends itself. In this form an answer is replayed only
 * in the form it came in, so `stream` and `stream_options` count: they are fed as a part of their
 * own, not as members of the body. A `stream` that is absent, null or false is the same form, and
 * without streaming `stream_options` means nothing.
 */
#ifndef NEARSIDE_CACHE_KEY_H
#define NEARSIDE_CACHE_KEY_H

#include <nearside/base/digest.h>
#include <nearside/base/str.h>
#include <nearside/http/json_scan.h>

#include <stdbool.h>

#define CACHE_KEY_BYTES   DIGEST_BYTES
#define CACHE_KEY_VERSION "ns1" /* changes whenever the meaning of a key does */

struct cache_key {
    uint8_t bytes[CACHE_KEY_BYTES];
};

/* All views are borrowed for the call; an empty one means "not given". */
struct cache_key_parts {
    struct str method;
    struct str target;        /* path and query */
    struct str authorization; /* Authorization's value, or x-api-key's */
    bool share_all;           /* `authorization` does not count */
    /* X-Nearside-Regions' value: an answer made without that limit must not serve a request that
     * sets one, or data would leave the regions it is bound to. */
    struct str regions;
    /* Origin's value: upstreams answer browsers with CORS fields that name it. */
    struct str origin;
    const struct json_scan *scan; /* of a body that was JSON_SCAN_OK */
};

void cache_key_make(struct digest *digest, const struct cache_key_parts *parts,
                    struct cache_key *ret_key);

/* "ns1:" and 64 hex digits, NUL-terminated: the key in Redis. */
#define CACHE_KEY_TEXT_LEN (sizeof(CACHE_KEY_VERSION) + 2 * CACHE_KEY_BYTES + 1)
void cache_key_text(const struct cache_key *key, char out[CACHE_KEY_TEXT_LEN]);

#endif
