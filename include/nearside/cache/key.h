/* SPDX-License-Identifier: MIT */
/*
 * Cache keys: SHA-256 over method, path, the canonical JSON body and, unless everybody shares, the
 * caller's credentials. Redis sees only the digest.
 *
 * Each part goes into the digest with its length in front, so that no two different requests run
 * together. `stream` and `stream_options` do not count where an answer can be turned into the form
 * they ask for (cache/fit.h): one entry serves all forms. Where it cannot, they are fed as a part
 * of their own, not as members of the body.
 *
 * Members go in sorted by name, but arrive in any order. So a long one (the prompt) goes in as its
 * own SHA-256, which is taken while it arrives: struct cache_key_early.
 */
#ifndef NEARSIDE_CACHE_KEY_H
#define NEARSIDE_CACHE_KEY_H

#include <nearside/base/digest.h>
#include <nearside/base/hash.h>
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

#define CACHE_KEY_LONG_BYTES 1024 /* of a member's compact form: from here on by its own digest */
#define CACHE_KEY_EARLY_MAX  8    /* long members digested early; others are when the key is made */

/* What is known of a body's long members so far. Embedded by value; the fields are key.c's. */
struct cache_key_early {
    struct digest *digest; /* borrowed: this body's alone until its key is made */
    bool is_wanted;
    bool is_open; /* sums[count] is being made */
    uint32_t count;
    struct {
        uint32_t index; /* of the member */
        uint8_t bytes[DIGEST_BYTES];
    } sums[CACHE_KEY_EARLY_MAX];
};

/* `is_wanted`: digest what comes. It may be changed between two feeds: what came unwanted is
 * digested when the key is made, from where it lies. */
void cache_key_early_init(struct cache_key_early *early, struct digest *digest, bool is_wanted);
void cache_key_early_want(struct cache_key_early *early, bool is_wanted);

/* A json_run_fn; its `arg` is the struct cache_key_early. */
void cache_key_early_run(void *arg, uint32_t index, const struct json_member *member,
                         struct str run);

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
    const struct json_scan *scan;  /* of a body that was JSON_SCAN_OK */
    struct cache_key_early *early; /* of the same scan; is as after _init() then */
    enum cache_form form;          /* cache_form_of() it */
};

/* The key of what is stored. `digest` is another than `early` has. */
void cache_key_make(struct digest *digest, const struct cache_key_parts *parts,
                    struct cache_key *ret_key);

/* Make it a key that only holders of `secret` can make of a request (HMAC), so that who can read a
 * Redis cannot find out whether a prompt was asked. An empty secret leaves it as it is. */
void cache_key_seal(struct digest *digest, struct str secret, struct cache_key *key);

/* The key of an answer on its way, of which everybody gets the same bytes: of one form. */
void cache_key_of_form(struct digest *digest, const struct cache_key *key, enum cache_form form,
                       struct cache_key *ret_key);

/* For a table's index. Half a SHA-256 is as good as the whole: nobody finds two alike. */
static inline uint64_t cache_key_hash(const struct hash_key *hash_key, const struct cache_key *key)
{
    return hash_bytes(hash_key, key->bytes, CACHE_KEY_BYTES / 2);
}

/* "ns3:" and 64 hex digits, NUL-terminated: the key in Redis. */
#define CACHE_KEY_TEXT_LEN (sizeof(CACHE_KEY_VERSION) + 2 * CACHE_KEY_BYTES + 1)
void cache_key_text(const struct cache_key *key, char out[CACHE_KEY_TEXT_LEN]);

#endif
