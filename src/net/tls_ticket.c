/* SPDX-License-Identifier: MIT */
/* Session ticket keys: made, turned over, wiped; and OpenSSL's question for one. */
#include "tls_ticket_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <pthread.h>
#include <string.h>

#define IV_LEN 16 /* of AES in CBC mode */

struct generation {
    struct ticket_key key;
    uint64_t made_ns;
    bool is_good;
};

struct ticket_keys {
    EVP_CIPHER *cipher;        /* owned; fetched once, since each look-up by name costs */
    pthread_mutex_t lock;      /* guards the generations */
    struct generation current; /* issues */
    struct generation last;    /* is accepted */
};

struct ticket_keys *ticket_keys_new(void)
{
    struct ticket_keys *keys = mem_secret_new(sizeof(*keys));

    pthread_mutex_init(&keys->lock, NULL);
    keys->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    ASSERT(keys->cipher != NULL);
    return keys;
}

void ticket_keys_free(struct ticket_keys *keys)
{
    if (keys != NULL) {
        pthread_mutex_destroy(&keys->lock);
        EVP_CIPHER_free(keys->cipher);
        mem_secret_free(keys, sizeof(*keys));
    }
}

static void forget(struct generation *generation)
{
    OPENSSL_cleanse(generation, sizeof(*generation));
}

static void turn_over(struct ticket_keys *keys, uint64_t now_ns)
{
    const uint64_t term_ns = TICKET_KEY_S * NS_PER_S;

    if (keys->last.is_good && now_ns - keys->last.made_ns >= 2 * term_ns) {
        forget(&keys->last);
    }
    if (keys->current.is_good && now_ns - keys->current.made_ns >= term_ns) {
        keys->last = keys->current;
        forget(&keys->current);
        if (now_ns - keys->last.made_ns >= 2 * term_ns) {
            forget(&keys->last);
        }
    }
}

/* After turn_over(): a new current one, if there is none. */
static void renew(struct generation *current, uint64_t now_ns)
{
    if (current->is_good) {
        return;
    }
    current->is_good = RAND_bytes(current->key.name, sizeof(current->key.name)) == 1 &&
                       RAND_priv_bytes(current->key.cipher, sizeof(current->key.cipher)) == 1 &&
                       RAND_priv_bytes(current->key.mac, sizeof(current->key.mac)) == 1;
    current->made_ns = now_ns;
}

bool ticket_keys_issue(struct ticket_keys *keys, uint64_t now_ns, struct ticket_key *ret_key)
{
    bool good;

    pthread_mutex_lock(&keys->lock);
    turn_over(keys, now_ns);
    renew(&keys->current, now_ns);
    good = keys->current.is_good;
    if (good) {
        *ret_key = keys->current.key;
    }
    pthread_mutex_unlock(&keys->lock);
    return good;
}

static bool is_named(const struct generation *generation, const uint8_t *name)
{
    return generation->is_good && memcmp(generation->key.name, name, TICKET_NAME_LEN) == 0;
}

enum ticket_find ticket_keys_find(struct ticket_keys *keys, uint64_t now_ns,
                                  const uint8_t name[TICKET_NAME_LEN], struct ticket_key *ret_key)
{
    enum ticket_find found = TICKET_UNKNOWN;

    pthread_mutex_lock(&keys->lock);
    turn_over(keys, now_ns);
    if (is_named(&keys->current, name)) {
        *ret_key = keys->current.key;
        found = TICKET_CURRENT;
    } else if (is_named(&keys->last, name)) {
        *ret_key = keys->last.key;
        found = TICKET_OLD;
    }
    pthread_mutex_unlock(&keys->lock);
    return found;
}

/* ---- OpenSSL's side ---- */

static bool set_mac(EVP_MAC_CTX *mac, struct ticket_key *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* Answers as SSL_CTX_set_tlsext_ticket_key_evp_cb() wants: -1 failed, 0 no such key (a full
 * handshake follows), 1 good, 2 good and to be renewed. */
#define ANSWER_FAILED  (-1)
#define ANSWER_UNKNOWN 0
#define ANSWER_GOOD    1
#define ANSWER_RENEW   2

static int issue(struct ticket_keys *keys, uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher,
                 EVP_MAC_CTX *mac)
{
    struct ticket_key key;
    bool good = ticket_keys_issue(keys, clock_mono_ns(), &key) && RAND_bytes(iv, IV_LEN) == 1 &&
                EVP_EncryptInit_ex2(cipher, keys->cipher, key.cipher, iv, NULL) == 1 &&
                set_mac(mac, &key);

    if (good) {
        memcpy(name, key.name, TICKET_NAME_LEN);
    }
    OPENSSL_cleanse(&key, sizeof(key));
    return good ? ANSWER_GOOD : ANSWER_FAILED;
}

static int accept_ticket(struct ticket_keys *keys, const uint8_t *name, const uint8_t *iv,
                         EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    struct ticket_key key;
    enum ticket_find found = ticket_keys_find(keys, clock_mono_ns(), name, &key);
    bool good;

    if (found == TICKET_UNKNOWN) {
        return ANSWER_UNKNOWN;
    }
    good =
        set_mac(mac, &key) && EVP_DecryptInit_ex2(cipher, keys->cipher, key.cipher, iv, NULL) == 1;
    OPENSSL_cleanse(&key, sizeof(key));
    if (!good) {
        return ANSWER_FAILED;
    }
    return found == TICKET_CURRENT ? ANSWER_GOOD : ANSWER_RENEW;
}

/* A TLS 1.3 client uses a ticket once (RFC 8446, C.4), so each resumption brings it the next one;
 * without, every other connection of such a client would be a full handshake. */
static int accept_for(const SSL *ssl, int answer)
{
    return answer == ANSWER_GOOD && SSL_version(ssl) == TLS1_3_VERSION ? ANSWER_RENEW : answer;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int is_issue)
{
    struct ticket_keys *keys = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    ASSERT(keys != NULL);
    return is_issue ? issue(keys, name, iv, cipher, mac)
                    : accept_for(ssl, accept_ticket(keys, name, iv, cipher, mac));
}

void ticket_keys_use(struct ticket_keys *keys, SSL_CTX *ssl_ctx)
{
    ASSERT(SSL_CTX_set_app_data(ssl_ctx, keys) == 1);
    ASSERT(SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl_ctx, on_ticket) == 1);
    /* No ticket outlives the key that reads it. */
    (void)SSL_CTX_set_timeout(ssl_ctx, TICKET_KEY_S);
}
