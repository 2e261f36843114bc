/* SPDX-License-Identifier: MIT */
/*
 * SHA-256 through OpenSSL. Fetching an algorithm walks the providers under a lock, so it is done
 * once per process; resetting a context to the same algorithm is then cheap.
 */
#include <nearside/base/digest.h>

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#define HMAC_BLOCK_BYTES 64 /* SHA-256's */
#define HMAC_INNER       0x36
#define HMAC_OUTER       0x5c

struct digest {
    EVP_MD_CTX *ctx; /* owned */
};

/* Written once under sha256_once, read-only afterwards. */
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;

static void fetch_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    ASSERT(sha256 != NULL);
}

struct digest *digest_new(void)
{
    struct digest *digest = mem_new(struct digest);

    pthread_once(&sha256_once, fetch_sha256);
    digest->ctx = EVP_MD_CTX_new();
    ASSERT(digest->ctx != NULL);
    return digest;
}

void digest_free(struct digest *digest)
{
    if (digest == NULL) {
        return;
    }
    EVP_MD_CTX_free(digest->ctx);
    mem_free(digest);
}

void digest_start(struct digest *digest)
{
    int ok = EVP_DigestInit_ex2(digest->ctx, sha256, NULL);
    ASSERT(ok == 1);
}

void digest_add(struct digest *digest, const void *bytes, size_t len)
{
    int ok = EVP_DigestUpdate(digest->ctx, bytes, len);
    ASSERT(ok == 1);
}

void digest_finish(struct digest *digest, uint8_t ret_sum[DIGEST_BYTES])
{
    unsigned len = 0;
    int ok = EVP_DigestFinal_ex(digest->ctx, ret_sum, &len);
    ASSERT(ok == 1 && len == DIGEST_BYTES);
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
}
