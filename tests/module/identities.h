/* SPDX-License-Identifier: MIT */
/*
 * The certificates that the TLS tests share, and contexts made from them. One set per test
 * program: make_identities() and remove_identities() are its group's set-up and tear-down. Include
 * after <cmocka.h>.
 */
#ifndef NEARSIDE_TESTS_MODULE_IDENTITIES_H
#define NEARSIDE_TESTS_MODULE_IDENTITIES_H

#include "module/certificates.h"

#include <nearside/conf/tree.h>
#include <nearside/net/tls_ctx.h>

struct identities {
    char directory[64];
    struct certificate ca;
    struct certificate old_ca; /* expired */
    struct certificate a;
    struct certificate b;
    struct certificate of_old_ca;
    struct certificate expired;
    struct certificate client;
};

static struct identities ids;

static inline int make_identities(void **state)
{
    const char *dir = ids.directory;

    (void)state;
    (void)snprintf(ids.directory, sizeof(ids.directory), "/tmp/nearside-stream-XXXXXX");
    assert_non_null(mkdtemp(ids.directory));
    certificate_make(dir, &(struct certificate_wish){"Test CA", NULL, NULL, -2, 2}, &ids.ca);
    certificate_make(dir, &(struct certificate_wish){"Old CA", NULL, NULL, -2, -1}, &ids.old_ca);
    certificate_make(
        dir, &(struct certificate_wish){"a.test", "DNS:a.test,IP:127.0.0.1", &ids.ca, -1, 1},
        &ids.a);
    certificate_make(
        dir, &(struct certificate_wish){"b.test", "DNS:b.test,DNS:*.w.test", &ids.ca, -1, 2},
        &ids.b);
    certificate_make(dir, &(struct certificate_wish){"o.test", "DNS:a.test", &ids.old_ca, -1, 1},
                     &ids.of_old_ca);
    certificate_make(dir, &(struct certificate_wish){"x.test", "DNS:x.test", &ids.ca, -2, -1},
                     &ids.expired);
    certificate_make(dir, &(struct certificate_wish){"edge", "DNS:edge", &ids.ca, -1, 1},
                     &ids.client);
    return 0;
}

static inline int remove_identities(void **state)
{
    (void)state;
    certificate_remove(&ids.ca);
    certificate_remove(&ids.old_ca);
    certificate_remove(&ids.a);
    certificate_remove(&ids.b);
    certificate_remove(&ids.of_old_ca);
    certificate_remove(&ids.expired);
    certificate_remove(&ids.client);
    return rmdir(ids.directory);
}

static inline struct tls_ctx *server_of(const struct certificate *first,
                                        const struct certificate *second,
                                        const struct certificate *client_ca,
                                        enum conf_tls_version min_version)
{
    struct conf_certificate pairs[2] = {{first->certificate_path, first->key_path}};
    struct conf_listener_tls conf = {
        .certificates = pairs,
        .certificate_count = second == NULL ? 1 : 2,
        .client_ca = client_ca == NULL ? "" : client_ca->certificate_path,
        .min_version = min_version,
    };
    struct tls_ctx *ctx = NULL;
    struct errbuf err = {.text = ""};

    if (second != NULL) {
        pairs[1] = (struct conf_certificate){second->certificate_path, second->key_path};
    }
    assert_int_equal(tls_ctx_new_server(&conf, &ctx, &err), STATUS_OK);
    assert_string_equal(err.text, "");
    return ctx;
}

static inline struct tls_ctx *client_of(const struct certificate *ca, const struct certificate *own,
                                        bool verify)
{
    struct conf_region_tls conf = {
        .ca = ca == NULL ? "" : ca->certificate_path,
        .verify = verify,
        .server_name = "",
        .certificate = own == NULL ? "" : own->certificate_path,
        .key = own == NULL ? "" : own->key_path,
    };
    struct tls_ctx *ctx = NULL;
    struct errbuf err = {.text = ""};

    assert_int_equal(tls_ctx_new_client(&conf, &ctx, &err), STATUS_OK);
    return ctx;
}

#endif
