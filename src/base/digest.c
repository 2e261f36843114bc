/* SPDX-License-Identifier: MIT */
/*
 * SHA-256 through OpenSSL's own functions for it, not EVP: an EVP context frees, wipes and
 * allocates its state each time it is started again (an allocation and 650 instructions a digest, a
 * cache key has some 200 bytes), and copies no cheaper. What compresses the blocks is the same
 * code. That they are called deprecated since OpenSSL 3.0 means: prefer EVP; they are there and
 * stay.
 *
 * Small pieces are gathered: a call costs more than their bytes.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <nearside/base/digest.h>

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <endian.h>
#include <openssl/sha.h>
#include <string.h>

#define HMAC_BLOCK_BYTES SHA256_CBLOCK
#define HMAC_INNER       0x36
#define HMAC_OUTER       0x5c
#define GATHER_BYTES     512
#define LARGE_BYTES      256 /* not worth a copy */

_Static_assert(DIGEST_BYTES == SHA256_DIGEST_LENGTH, "a sum is SHA-256's");

struct digest {
    SHA256_CTX sha256;
    size_t used;
    uint8_t gathered[GATHER_BYTES];
};

struct digest *digest_new(void)
{
    return mem_new(struct digest);
}

void digest_free(struct digest *digest)
{
    mem_free(digest);
}

void digest_start(struct digest *digest)
{
    int ok = SHA256_Init(&digest->sha256);
    ASSERT(ok == 1);
    digest->used = 0;
}

static void flush(struct digest *digest)
{
    int ok = SHA256_Update(&digest->sha256, digest->gathered, digest->used);
    ASSERT(ok == 1);
    digest->used = 0;
}

void digest_add(struct digest *digest, const void *bytes, size_t len)
{
    if (len >= LARGE_BYTES || digest->used + len > GATHER_BYTES) {
        flush(digest);
    }
    if (len >= LARGE_BYTES) {
        int ok = SHA256_Update(&digest->sha256, bytes, len);
        ASSERT(ok == 1);
    } else if (len > 0) {
        memcpy(digest->gathered + digest->used, bytes, len);
        digest->used += len;
    }
}

void digest_add_u64(struct digest *digest, uint64_t number)
{
    const uint64_t bytes = htole64(number);

    if (digest->used + sizeof(bytes) > GATHER_BYTES) {
        flush(digest);
    }
    memcpy(digest->gathered + digest->used, &bytes, sizeof(bytes));
    digest->used += sizeof(bytes);
}

void digest_finish(struct digest *digest, uint8_t ret_sum[DIGEST_BYTES])
{
    flush(digest);
    int ok = SHA256_Final(ret_sum, &digest->sha256);
    ASSERT(ok == 1);
}

/* ---- HMAC ---- */

/* Begin a digest with the key's block, each byte changed by `mask`. */
static void start_masked(struct digest *digest, const uint8_t block[HMAC_BLOCK_BYTES], uint8_t mask)
{
    uint8_t masked[HMAC_BLOCK_BYTES];

    for (size_t i = 0; i < HMAC_BLOCK_BYTES; i++) {
        masked[i] = block[i] ^ mask;
    }
    digest_start(digest);
    digest_add(digest, masked, sizeof(masked));
    explicit_bzero(masked, sizeof(masked));
}

void digest_hmac(struct digest *digest, struct str key, struct str message,
                 uint8_t ret_sum[DIGEST_BYTES])
{
    uint8_t block[HMAC_BLOCK_BYTES] = {0};

    if (key.len > HMAC_BLOCK_BYTES) {
        digest_start(digest);
        digest_add(digest, key.ptr, key.len);
        digest_finish(digest, block);
    } else if (key.len > 0) {
        memcpy(block, key.ptr, key.len);
    }
    start_masked(digest, block, HMAC_INNER);
    digest_add(digest, message.ptr, message.len);
    digest_finish(digest, ret_sum);
    start_masked(digest, block, HMAC_OUTER);
    digest_add(digest, ret_sum, DIGEST_BYTES);
    digest_finish(digest, ret_sum);
    explicit_bzero(block, sizeof(block));
    explicit_bzero(digest->gathered, sizeof(digest->gathered));
}
