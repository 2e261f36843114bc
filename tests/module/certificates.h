/* SPDX-License-Identifier: MIT */
/*
 * Certificates for tests, made on the spot into a temporary directory: authorities, and leaves
 * signed by them. Include after <cmocka.h>.
 */
#ifndef NEARSIDE_TESTS_MODULE_CERTIFICATES_H
#define NEARSIDE_TESTS_MODULE_CERTIFICATES_H

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CERTIFICATE_PATH_LEN 128
#define DAY_S                86400L

struct certificate {
    X509 *x509;
    EVP_PKEY *key;
    char certificate_path[CERTIFICATE_PATH_LEN];
    char key_path[CERTIFICATE_PATH_LEN];
};

struct certificate_wish {
    const char *name;                 /* common name, and of the files */
    const char *alternatives;         /* "DNS:a.test,IP:127.0.0.1"; NULL: an authority */
    const struct certificate *issuer; /* NULL: signs itself */
    long from_days;                   /* validity, from now */
    long to_days;
};

static inline void certificate_extend(X509 *x509, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(extension);
    assert_int_equal(X509_add_ext(x509, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline void certificate_write(struct certificate *made, const char *directory,
                                     const char *name)
{
    FILE *file;

    (void)snprintf(made->certificate_path, CERTIFICATE_PATH_LEN, "%s/%s.crt", directory, name);
    (void)snprintf(made->key_path, CERTIFICATE_PATH_LEN, "%s/%s.key", directory, name);
    file = fopen(made->certificate_path, "we");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, made->x509), 1);
    assert_int_equal(fclose(file), 0);
    file = fopen(made->key_path, "we");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, made->key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(file), 0);
}

static inline void certificate_make(const char *directory, const struct certificate_wish *wish,
                                    struct certificate *ret_made)
{
    static long serial = 1;
    X509 *x509 = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_NAME *subject;

    assert_non_null(x509);
    assert_non_null(key);
    assert_int_equal(X509_set_version(x509, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x509), serial++), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x509), wish->from_days * DAY_S));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x509), wish->to_days * DAY_S));
    assert_int_equal(X509_set_pubkey(x509, key), 1);
    subject = X509_get_subject_name(x509);
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                                (const unsigned char *)wish->name, -1, -1, 0),
                     1);
    if (wish->alternatives == NULL) {
        certificate_extend(x509, NID_basic_constraints, "critical,CA:TRUE");
    } else {
        certificate_extend(x509, NID_subject_alt_name, wish->alternatives);
    }
    subject = wish->issuer == NULL ? subject : X509_get_subject_name(wish->issuer->x509);
    assert_int_equal(X509_set_issuer_name(x509, subject), 1);
    assert_true(X509_sign(x509, wish->issuer == NULL ? key : wish->issuer->key, EVP_sha256()) > 0);
    ret_made->x509 = x509;
    ret_made->key = key;
    certificate_write(ret_made, directory, wish->name);
}

static inline void certificate_remove(struct certificate *made)
{
    (void)unlink(made->certificate_path);
    (void)unlink(made->key_path);
    X509_free(made->x509);
    EVP_PKEY_free(made->key);
}

#endif
