/* SPDX-License-Identifier: MIT */
/* Setting up TLS contexts: what is wrong is named, and what expires is known. */
#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/identities.h"

#include <openssl/err.h>

struct load_case {
    const char *title;
    const char *certificate;
    const char *key;
    const char *client_ca;
    const char *names; /* in the error */
    const char *says;
};

static void test_tls_context_errors_name_the_file_and_the_reason(void **state)
{
    const char *a = ids.a.certificate_path;
    const char *key = ids.a.key_path;
    const struct load_case cases[] = {
        {"no file", "/nonexistent.crt", key, "", "/nonexistent.crt", "no such file"},
        {"no key file", a, "/nonexistent.key", "", "/nonexistent.key", "no such file"},
        {"no certificate", key, key, "", key, "no certificate in PEM form"},
        {"no key", a, a, "", a, "no private key in PEM form"},
        {"another's key", a, ids.b.key_path, "", ids.b.key_path, "not the key of"},
        {"no client CA", a, key, "/nonexistent.ca", "/nonexistent.ca", "no such file"},
        {"bad client CA", a, key, key, key, "no certificate authority"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conf_certificate pair = {cases[i].certificate, cases[i].key};
        struct conf_listener_tls conf = {
            .certificates = &pair, .certificate_count = 1, .client_ca = cases[i].client_ca};
        struct errbuf err = {.text = ""};
        struct tls_ctx *ctx = NULL;

        print_message("    %s\n", cases[i].title);
        assert_int_not_equal(tls_ctx_new_server(&conf, &ctx, &err), STATUS_OK);
        assert_null(ctx);
        assert_non_null(strstr(err.text, cases[i].names));
        assert_non_null(strstr(err.text, cases[i].says));
        assert_int_equal(ERR_peek_error(), 0);
    }
}

/* Refusing it would turn a warning into an outage at the next restart. */
static void test_tls_context_loads_an_expired_certificate_and_says_since_when(void **state)
{
    struct conf_certificate pair = {ids.expired.certificate_path, ids.expired.key_path};
    struct conf_listener_tls conf = {
        .certificates = &pair, .certificate_count = 1, .client_ca = ""};
    struct errbuf err = {.text = ""};
    struct tls_ctx *ctx = NULL;

    (void)state;
    assert_int_equal(tls_ctx_new_server(&conf, &ctx, &err), STATUS_OK);
    assert_true(tls_ctx_expires_at(ctx) > 0);
    assert_true(tls_ctx_expires_at(ctx) < (int64_t)(clock_wall_ms() / 1000));
    tls_ctx_unref(ctx);
}

static void test_tls_context_knows_its_first_expiry(void **state)
{
    struct tls_ctx *server = server_of(&ids.b, &ids.a, NULL, CONF_TLS_1_2);
    struct tls_ctx *client = client_of(&ids.ca, NULL, true);
    int64_t in_s = tls_ctx_expires_at(server) - (int64_t)(clock_wall_ms() / 1000);

    (void)state;
    assert_true(in_s > DAY_S - 600 && in_s <= DAY_S);
    assert_int_equal(tls_ctx_expires_at(client), 0);
    tls_ctx_unref(server);
    tls_ctx_unref(client);
}

static void test_tls_server_name_too_long_for_the_protocol_is_an_error(void **state)
{
    char name[300];
    struct conf_region_tls conf = {.ca = "", .server_name = name, .certificate = "", .key = ""};
    struct errbuf err = {.text = ""};
    struct tls_ctx *ctx = NULL;

    (void)state;
    memset(name, 'a', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(tls_ctx_new_client(&conf, &ctx, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "server_name"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tls_context_errors_name_the_file_and_the_reason),
        cmocka_unit_test(test_tls_context_loads_an_expired_certificate_and_says_since_when),
        cmocka_unit_test(test_tls_context_knows_its_first_expiry),
        cmocka_unit_test(test_tls_server_name_too_long_for_the_protocol_is_an_error),
    };

    return cmocka_run_group_tests(tests, make_identities, remove_identities);
}
