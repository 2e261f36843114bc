/* SPDX-License-Identifier: MIT */
/*
 * 64-bit hashing for tables: SipHash-2-4 under a key, so that a peer cannot choose collisions.
 * Not for cache keys that must resist deliberate collisions: those use base/digest.h.
 */
#ifndef NEARSIDE_BASE_HASH_H
#define NEARSIDE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash_key {
    uint64_t k0;
    uint64_t k1;
};

uint64_t hash_bytes(const struct hash_key *key, const void *bytes, size_t len);

/* A mixer for integers that no peer chooses (ids, indexes). */
static inline uint64_t hash_u64(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdULL;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ULL;
    x ^= x >> 33;
    return x;
}

#endif
