/* SPDX-License-Identifier: MIT */
/*
 * Cache keys: SHA-256 over method, path, the canonical JSON body and, unless everybody shares, the
 * caller's credentials. Redis sees only the digest.
 *
 * Each part goes into the digest with its length in front, so that no two different requests run
 * together; the canonical body comes last and ends itself. `stream` and `stream_options` do not
 * count where an answer can be turned into the form they ask for (cache/fit.h): one entry serves
 * all forms. Where it cannot, they are fed as a part of their own, not as members of the body.
 */
#ifndef NEARSIDE_CACHE_KEY_H
#define NEARSIDE_CACHE_KEY_H

#include <nearside/base/digest.h>
#include <nearside/base/str.h>
#include <nearside/cache/api.h>
#include <nearside/http/json_scan.h>

#include <stdbool.h>

#define CACHE_KEY_BYTES   DIGEST_BYTES
#define CACHE_KEY_VERSION "ns3" /* changes whenever the meaning of a key does */

struct cache_key {
    uint8_t bytes[CACHE_KEY_BYTES];
};

/* The form in which a request wants its answer. */
enum cache_form {
    CACHE_FORM_PLAIN,  /* `stream` absent, null or false; `stream_options` mean nothing then */
    CACHE_FORM_STREAM, /* true, and no usage asked for */
    CACHE_FORM_STREAM_USAGE, /* true, with {"include_usage": true} */
    /* Its answer is replayed only as it came: an API whose answers cannot be turned, a `stream`
     * that is no boolean (servers that take 1 for true exist), any other `stream_options`: {}, too,
     * which vLLM reads as include_usage and OpenAI does not. */
    CACHE_FORM_FIXED,
    CACHE_FORM_COUNT
};

enum cache_form cache_form_of(enum api api, const struct json_scan *scan);

/* All views are borrowed for the call; an empty one means "not given". */
struct cache_key_parts {
    struct str method;
    struct str target;        /* path and query */
    struct str authorization; /* whose request it is (cache/tenant.h) */
    struct str tenant_header; /* the header that said so, if it was not the credentials' own */
    bool share_all;           /* neither of them counts */
    /* X-Nearside-Regions' value: an answer made without that limit must not serve a request that
     * sets one, or data would leave the regions it is bound to. */
    struct str regions;
    /* Origin's value: upstreams answer browsers with CORS fields that name it. */
    struct str origin;
    const struct json_scan *scan; /* of a body that was JSON_SCAN_OK */
    enum cache_form form;         /* cache_form_of() it */
};

/* The key of what is stored. */
void cache_key_make(struct digest *digest, const struct cache_key_parts *parts,
                    struct cache_key *ret_key);

/* Make it a key that only holders of `secret` can make of a request (HMAC), so that who can read a
 * Redis cannot find out whether a prompt was asked. An empty secret leaves it as it is. */
void cache_key_seal(struct digest *digest, struct str secret, struct cache_key *key);

/* The key of an answer on its way, of which everybody gets the same bytes: of one form. */
void cache_key_of_form(struct digest *digest, const struct cache_key *key, enum cache_form form,
                       struct cache_key *ret_key);

/* "ns3:" and 64 hex digits, NUL-terminated: the key in Redis. */
#define CACHE_KEY_TEXT_LEN (sizeof(CACHE_KEY_VERSION) + 2 * CACHE_KEY_BYTES + 1)
void cache_key_text(const struct cache_key *key, char out[CACHE_KEY_TEXT_LEN]);

#endif
