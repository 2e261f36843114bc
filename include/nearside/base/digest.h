/* SPDX-License-Identifier: MIT */
/*
 * SHA-256 in steps. One `struct digest` per worker can be used again and again; a use allocates
 * nothing.
 */
#ifndef NEARSIDE_BASE_DIGEST_H
#define NEARSIDE_BASE_DIGEST_H

#include <nearside/base/str.h>

#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 32

struct digest;

struct digest *digest_new(void);
void digest_free(struct digest *digest);

void digest_start(struct digest *digest);
void digest_add(struct digest *digest, const void *bytes, size_t len);
void digest_add_u64(struct digest *digest, uint64_t number); /* its eight bytes, lowest first */
void digest_finish(struct digest *digest, uint8_t ret_sum[DIGEST_BYTES]);

/* HMAC-SHA256 (RFC 2104) of `message` under `key` of any length. `digest` is between two uses. */
void digest_hmac(struct digest *digest, struct str key, struct str message,
                 uint8_t ret_sum[DIGEST_BYTES]);

#endif
