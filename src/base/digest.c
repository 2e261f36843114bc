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
