/* SPDX-License-Identifier: MIT */
/* Keys and values in a real redis-server that is well: values, logins, pipelining, bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/certificates.h"
#include "module/kv_fixture.h"

#include <nearside/conf/tree.h>
#include <nearside/net/tls_ctx.h>

#define MIB 1048576

static void test_what_is_set_is_got(void **state)
{
    struct fixture *fixture = *state;

    assert_false(kv_is_up(fixture->kv));
    assert_result(set(fixture, "a", "one"), KV_OK);
    assert_true(kv_is_up(fixture->kv));
    assert_result(get(fixture, "a", PATIENT_MS), KV_OK);
    assert_value(fixture, "one");
}

static void test_a_missing_key_is_a_miss(void **state)
{
    struct fixture *fixture = *state;

    assert_result(get(fixture, "nothing", PATIENT_MS), KV_MISS);
    assert_value(fixture, "");
}

static void test_an_empty_value_is_no_miss(void **state)
{
    struct fixture *fixture = *state;

    assert_result(set(fixture, "a", ""), KV_OK);
    assert_result(get(fixture, "a", PATIENT_MS), KV_OK);
    assert_value(fixture, "");
}

static void test_keys_and_values_are_any_bytes(void **state)
{
    static const char key[] = "k\0e\r\ny *$";
    static const char value[] = "\0\r\n$-1\r\n\xff\0";
    struct fixture *fixture = *state;

    assert_result(set_bytes(fixture, str_make(key, sizeof(key)), str_make(value, sizeof(value))),
                  KV_OK);
    forget_calls(fixture);
    (void)kv_get(fixture->kv, str_make(key, sizeof(key)), PATIENT_MS, on_done, fixture);
    wait_for_calls(fixture, 1);

    assert_result(fixture->result, KV_OK);
    assert_int_equal(buf_len(&fixture->value), sizeof(value));
    assert_memory_equal(buf_str(&fixture->value).ptr, value, sizeof(value));
}

static void test_large_values_come_whole(void **state)
{
    struct fixture *fixture = *state;
    char *value = mem_alloc(8 * MIB);

    for (size_t i = 0; i < 8 * MIB; i++) {
        value[i] = (char)(i * 31 + i / 4096);
    }
    for (size_t len = MIB; len <= 8 * MIB; len *= 8) {
        assert_result(set_bytes(fixture, STR_LIT("big"), str_make(value, len)), KV_OK);
        assert_result(get(fixture, "big", PATIENT_MS), KV_OK);
        assert_int_equal(buf_len(&fixture->value), len);
        assert_memory_equal(buf_str(&fixture->value).ptr, value, len);
    }
    mem_free(value);
}

static bool is_gone(struct fixture *fixture)
{
    if (fixture->calls == 1 && fixture->result == KV_OK) {
        fixture->calls = 0;
        (void)kv_get(fixture->kv, STR_LIT("brief"), PATIENT_MS, on_done, fixture);
    }
    return fixture->calls == 1 && fixture->result == KV_MISS;
}

static void test_a_value_is_gone_after_its_ttl(void **state)
{
    struct fixture *fixture = *state;

    (void)kv_set(fixture->kv, STR_LIT("brief"), STR_LIT("x"), 100, PATIENT_MS, on_done, fixture);
    wait_for_calls(fixture, 1);
    assert_result(fixture->result, KV_OK);
    assert_result(get(fixture, "brief", PATIENT_MS), KV_OK);
    fixture->calls_wanted = 0; /* is_gone() asks again and again */
    wait_until(fixture, is_gone);
}

static void test_ping_is_answered(void **state)
{
    struct fixture *fixture = *state;

    (void)kv_ping(fixture->kv, PATIENT_MS, on_done, fixture);
    wait_for_calls(fixture, 1);
    assert_result(fixture->result, KV_OK);
}

/* ---- pipelining ---- */

struct numbered {
    struct fixture *fixture;
    unsigned number;
    unsigned *next; /* the number whose turn it is */
};

static void on_numbered(enum kv_result result, struct str value, void *arg)
{
    struct numbered *numbered = arg;
    uint64_t got = 0;

    assert_true(result == KV_OK && str_to_u64(value, &got));
    assert_int_equal(got, numbered->number);
    assert_int_equal(*numbered->next, numbered->number);
    (*numbered->next)++;
    on_done(result, value, numbered->fixture);
}

static void test_500_gets_at_once_each_get_their_own_value_in_order(void **state)
{
    struct fixture *fixture = *state;
    struct numbered requests[500];
    unsigned next = 0;

    for (unsigned i = 0; i < ARRAY_LEN(requests); i++) {
        char text[16];
        int len = snprintf(text, sizeof(text), "%u", i);
        struct str number = str_make(text, (size_t)len);

        requests[i] = (struct numbered){fixture, i, &next};
        (void)kv_set(fixture->kv, number, number, 60000, PATIENT_MS, on_done, fixture);
    }
    wait_for_calls(fixture, 500);
    assert_int_equal(fixture->results[KV_OK], 500);

    forget_calls(fixture);
    for (unsigned i = 0; i < ARRAY_LEN(requests); i++) {
        char text[16];
        int len = snprintf(text, sizeof(text), "%u", i);

        (void)kv_get(fixture->kv, str_make(text, (size_t)len), PATIENT_MS, on_numbered,
                     &requests[i]);
    }
    wait_for_calls(fixture, 500);
}

static void test_a_cancelled_request_does_not_call_back_nor_shift_the_replies(void **state)
{
    struct fixture *fixture = *state;
    struct kv_request *unsent;

    assert_result(set(fixture, "a", "one"), KV_OK);
    assert_result(set(fixture, "b", "two"), KV_OK);
    forget_calls(fixture);

    unsent = kv_get(fixture->kv, STR_LIT("a"), PATIENT_MS, on_done, fixture);
    kv_cancel(unsent);
    assert_result(get(fixture, "b", PATIENT_MS), KV_OK);
    assert_value(fixture, "two");
    settle(fixture);
    assert_int_equal(fixture->calls, 1);
}

static void test_a_request_cancelled_when_written_does_not_shift_the_replies(void **state)
{
    struct fixture *fixture = *state;
    struct kv_request *sent;

    assert_result(set(fixture, "a", "one"), KV_OK);
    assert_result(set(fixture, "b", "two"), KV_OK);
    forget_calls(fixture);
    redis_freeze(&fixture->redis);
    sent = kv_get(fixture->kv, STR_LIT("a"), PATIENT_MS, on_done, fixture);
    settle(fixture); /* written now */
    kv_cancel(sent);
    redis_thaw(&fixture->redis);

    assert_result(get(fixture, "b", PATIENT_MS), KV_OK);
    assert_value(fixture, "two");
    assert_int_equal(fixture->calls, 1);
}

/* ---- logins ---- */

static void connect_as(struct fixture *fixture, const char *user, const char *password)
{
    struct kv_target target = target_at(fixture->redis.port);

    target.user = user;
    target.password = password;
    fixture->kv = kv_new(fixture->loop, &target);
}

static void test_a_password_opens_the_default_user_named_or_not(void **state)
{
    static const char *const options[] = {"--requirepass", "s3cret", NULL};
    static const char *const users[] = {"", "default"};
    struct fixture *fixture = *state;

    redis_start(&fixture->redis, options);
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        kv_free(fixture->kv);
        connect_as(fixture, users[i], "s3cret");
        assert_result(set(fixture, "a", "one"), KV_OK);
        assert_result(get(fixture, "a", PATIENT_MS), KV_OK);
    }
}

static void test_a_user_without_a_password_is_logged_in_as_himself(void **state)
{
    static const char *const options[] = {"--user", "nearside", "on",   "nopass", "~*",
                                          "-@all",  "+get",     "+set", NULL};
    struct fixture *fixture = *state;

    redis_start(&fixture->redis, options);
    connect_as(fixture, "nearside", "");
    assert_result(set(fixture, "a", "one"), KV_OK);
    forget_calls(fixture);
    (void)kv_ping(fixture->kv, PATIENT_MS, on_done, fixture);
    wait_for_calls(fixture, 1);
    assert_result(fixture->result, KV_REFUSED);
    assert_error(fixture, "NOPERM"); /* the default user may */
}

static void test_without_a_password_each_command_is_refused_but_redis_is_up(void **state)
{
    static const char *const options[] = {"--requirepass", "s3cret", NULL};
    struct fixture *fixture = *state;

    redis_start(&fixture->redis, options);
    connect_as(fixture, "", "");
    for (int i = 0; i < 2 * KV_BREAKER_FALLS; i++) {
        assert_result(get(fixture, "a", PATIENT_MS), KV_REFUSED);
        assert_error(fixture, "NOAUTH");
    }
    assert_true(kv_is_up(fixture->kv));
}

static void test_a_wrong_password_is_refused_then_down_at_once(void **state)
{
    static const char *const options[] = {"--requirepass", "s3cret", NULL};
    struct fixture *fixture = *state;

    redis_start(&fixture->redis, options);
    connect_as(fixture, "", "wrong");
    assert_result(get(fixture, "a", PATIENT_MS), KV_REFUSED);
    assert_error(fixture, "WRONGPASS");
    assert_result(get(fixture, "a", PATIENT_MS), KV_DOWN);
    assert_error(fixture, "WRONGPASS");
    assert_false(kv_is_up(fixture->kv));
}

static void test_a_user_may_do_what_the_acl_allows_and_no_more(void **state)
{
    static const char *const options[] = {"--user", "nearside", "on",   ">pw", "~ns:*",
                                          "-@all",  "+get",     "+set", NULL};
    struct fixture *fixture = *state;

    redis_start(&fixture->redis, options);
    connect_as(fixture, "nearside", "pw");
    assert_result(set(fixture, "ns:a", "one"), KV_OK);
    assert_result(get(fixture, "ns:a", PATIENT_MS), KV_OK);
    assert_result(get(fixture, "other", PATIENT_MS), KV_REFUSED);
    assert_error(fixture, "NOPERM");
    assert_true(kv_is_up(fixture->kv));
}

static void test_databases_are_apart(void **state)
{
    struct fixture *fixture = *state;
    struct kv_target target = target_at(fixture->redis.port);

    assert_result(set(fixture, "a", "in 0"), KV_OK);
    kv_free(fixture->kv);
    target.database = 3;
    fixture->kv = kv_new(fixture->loop, &target);
    assert_result(get(fixture, "a", PATIENT_MS), KV_MISS);
    assert_result(set(fixture, "a", "in 3"), KV_OK);
    kv_free(fixture->kv);
    connect_to_redis(fixture);
    assert_result(get(fixture, "a", PATIENT_MS), KV_OK);
    assert_value(fixture, "in 0");
}

static void test_a_database_that_is_not_there_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct kv_target target = target_at(fixture->redis.port);

    kv_free(fixture->kv);
    target.database = 9999;
    fixture->kv = kv_new(fixture->loop, &target);
    assert_result(get(fixture, "a", PATIENT_MS), KV_REFUSED);
    assert_error(fixture, "DB index is out of range");
}

static void test_a_full_redis_refuses_to_store_and_goes_on_answering(void **state)
{
    static const char *const options[] = {"--maxmemory", "1", "--maxmemory-policy", "noeviction",
                                          NULL};
    struct fixture *fixture = *state;

    redis_start(&fixture->redis, options);
    connect_to_redis(fixture);
    for (int i = 0; i < 2 * KV_BREAKER_FALLS; i++) {
        assert_result(set(fixture, "a", "one"), KV_REFUSED);
        assert_error(fixture, "OOM");
    }
    assert_result(get(fixture, "a", PATIENT_MS), KV_MISS);
}

/* ---- deleting many ---- */

static void set_many(struct fixture *fixture, const char *prefix, unsigned count)
{
    forget_calls(fixture);
    for (unsigned i = 0; i < count; i++) {
        char key[32];
        int len = snprintf(key, sizeof(key), "%s%u", prefix, i);

        (void)kv_set(fixture->kv, str_make(key, (size_t)len), STR_LIT("x"), 60000, PATIENT_MS,
                     on_done, fixture);
        if (i % 500 == 499 || i == count - 1) {
            wait_for_calls(fixture, i + 1);
        }
    }
    assert_int_equal(fixture->results[KV_OK], count);
}

static enum kv_result delete_matching(struct fixture *fixture, const char *pattern)
{
    forget_calls(fixture);
    (void)kv_delete_matching(fixture->kv, str_of(pattern), PATIENT_MS, on_done, fixture);
    assert_int_equal(fixture->calls, 0);
    wait_for_calls(fixture, 1);
    return fixture->result;
}

static void test_delete_matching_deletes_those_and_no_others(void **state)
{
    struct fixture *fixture = *state;

    set_many(fixture, "old:", 3000);
    set_many(fixture, "new:", 700);

    assert_result(delete_matching(fixture, "old:*"), KV_OK);
    assert_value(fixture, "3000");
    assert_result(delete_matching(fixture, "old:*"), KV_OK);
    assert_value(fixture, "0");
    assert_result(get(fixture, "new:699", PATIENT_MS), KV_OK);
    assert_result(delete_matching(fixture, "*"), KV_OK);
    assert_value(fixture, "700");
}

static void test_delete_matching_ends_where_the_acl_says_no(void **state)
{
    static const char *const options[] = {"--user", "nearside", "on",   ">pw",   "~*",
                                          "-@all",  "+get",     "+set", "+scan", NULL};
    struct fixture *fixture = *state;

    redis_start(&fixture->redis, options);
    connect_as(fixture, "nearside", "pw");
    set_many(fixture, "old:", 10);
    assert_result(delete_matching(fixture, "old:*"), KV_REFUSED);
    assert_error(fixture, "unlink");
    assert_result(get(fixture, "old:3", PATIENT_MS), KV_OK);
}

/* ---- bounds ---- */

static void test_the_number_of_requests_under_way_is_bounded(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < KV_PENDING_MAX + 10; i++) {
        (void)kv_get(fixture->kv, STR_LIT("a"), PATIENT_MS, on_done, fixture);
    }
    wait_for_calls(fixture, KV_PENDING_MAX + 10);

    assert_int_equal(fixture->results[KV_FULL], 10);
    assert_int_equal(fixture->results[KV_MISS], KV_PENDING_MAX);
    assert_result(get(fixture, "a", PATIENT_MS), KV_MISS);
}

static void test_the_bytes_not_yet_written_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    char *value = mem_zero(1, KV_PENDING_BYTES + 1);

    /* Not connected yet: nothing can be written. */
    for (int i = 0; i < 20; i++) {
        (void)kv_set(fixture->kv, STR_LIT("a"), str_make(value, MIB), 60000, PATIENT_MS, on_done,
                     fixture);
    }
    wait_for_calls(fixture, 20);
    assert_int_equal(fixture->results[KV_OK], 15); /* 16 MiB, less the words around the values */
    assert_int_equal(fixture->results[KV_FULL], 5);

    assert_result(set_bytes(fixture, STR_LIT("a"), str_make(value, KV_PENDING_BYTES + 1)), KV_FULL);
    mem_free(value);
}

static void test_fire_and_forget_is_dropped_at_half_of_the_bounds(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < KV_PENDING_MAX / 2; i++) {
        (void)kv_get(fixture->kv, STR_LIT("a"), PATIENT_MS, on_done, fixture);
    }
    assert_null(kv_set(fixture->kv, STR_LIT("late"), STR_LIT("x"), 60000, PATIENT_MS, NULL, NULL));
    wait_for_calls(fixture, KV_PENDING_MAX / 2);
    assert_null(kv_set(fixture->kv, STR_LIT("early"), STR_LIT("x"), 60000, PATIENT_MS, NULL, NULL));

    assert_result(get(fixture, "late", PATIENT_MS), KV_MISS);
    assert_result(get(fixture, "early", PATIENT_MS), KV_OK);
}

/* ---- lifetime ---- */

static void test_freeing_drops_what_is_under_way(void **state)
{
    struct fixture *fixture = *state;

    assert_result(set(fixture, "a", "one"), KV_OK);
    forget_calls(fixture);
    (void)kv_get(fixture->kv, STR_LIT("a"), PATIENT_MS, on_done, fixture);
    (void)kv_delete_matching(fixture->kv, STR_LIT("*"), PATIENT_MS, on_done, fixture);
    kv_free(fixture->kv);
    fixture->kv = NULL;
    settle(fixture);
    assert_int_equal(fixture->calls, 0);
}

static void on_done_free(enum kv_result result, struct str value, void *arg)
{
    struct fixture *fixture = arg;

    kv_free(fixture->kv);
    fixture->kv = NULL;
    on_done(result, value, arg);
}

static void test_it_may_be_freed_in_a_callback(void **state)
{
    struct fixture *fixture = *state;

    assert_result(set(fixture, "a", "one"), KV_OK);
    forget_calls(fixture);
    (void)kv_get(fixture->kv, STR_LIT("a"), PATIENT_MS, on_done_free, fixture);
    (void)kv_get(fixture->kv, STR_LIT("a"), PATIENT_MS, on_done_free, fixture);
    wait_for_calls(fixture, 1);
    settle(fixture);
    assert_int_equal(fixture->calls, 1);
    assert_value(fixture, "one");
}

/* ---- TLS ---- */

struct tls_world {
    char directory[32];
    struct certificate authority;
    struct certificate other_authority;
    struct certificate leaf;
};

static void tls_world_make(struct tls_world *world)
{
    struct certificate_wish authority = {.name = "ca", .to_days = 1};
    struct certificate_wish other = {.name = "other", .to_days = 1};
    struct certificate_wish leaf = {.name = "redis",
                                    .alternatives = "DNS:redis.test",
                                    .issuer = &world->authority,
                                    .to_days = 1};

    (void)snprintf(world->directory, sizeof(world->directory), "/tmp/test_kv.XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    certificate_make(world->directory, &authority, &world->authority);
    certificate_make(world->directory, &other, &world->other_authority);
    certificate_make(world->directory, &leaf, &world->leaf);
}

static void tls_world_remove(struct tls_world *world)
{
    certificate_remove(&world->leaf);
    certificate_remove(&world->authority);
    certificate_remove(&world->other_authority);
    assert_int_equal(rmdir(world->directory), 0);
}

static void connect_by_tls(struct fixture *fixture, const struct certificate *authority,
                           const char *name)
{
    const struct conf_region_tls conf = {.ca = authority->certificate_path,
                                         .verify = true,
                                         .server_name = "",
                                         .certificate = "",
                                         .key = ""};
    struct kv_target target = target_at(fixture->redis.port);
    struct errbuf err;

    kv_free(fixture->kv);
    assert_int_equal(tls_ctx_new_client(&conf, &target.tls, &err), STATUS_OK);
    target.server_name = name;
    target.password = "s3cret";
    fixture->kv = kv_new(fixture->loop, &target);
    tls_ctx_unref(target.tls);
}

static void test_tls_checks_authority_and_name(void **state)
{
    struct fixture *fixture = *state;
    struct tls_world world;
    const char *options[] = {"--port",
                             "0",
                             "--tls-cert-file",
                             world.leaf.certificate_path,
                             "--tls-key-file",
                             world.leaf.key_path,
                             "--tls-ca-cert-file",
                             world.authority.certificate_path,
                             "--tls-auth-clients",
                             "no",
                             "--requirepass",
                             "s3cret",
                             NULL};

    tls_world_make(&world);
    redis_start_at(&fixture->redis, 0, "--tls-port", options);

    connect_by_tls(fixture, &world.authority, "redis.test");
    assert_result(set(fixture, "a", "one"), KV_OK);
    assert_result(get(fixture, "a", PATIENT_MS), KV_OK);
    assert_value(fixture, "one");

    connect_by_tls(fixture, &world.other_authority, "redis.test");
    assert_result(get(fixture, "a", PATIENT_MS), KV_DOWN);
    assert_error(fixture, "certificate");
    connect_by_tls(fixture, &world.authority, "elsewhere.test");
    assert_result(get(fixture, "a", PATIENT_MS), KV_DOWN);
    assert_error(fixture, "mismatch");

    tls_world_remove(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_REDIS(name) cmocka_unit_test_setup_teardown(name, setup_redis, teardown)
#define WITH_OWN(name)   cmocka_unit_test_setup_teardown(name, setup_loop, teardown)
        WITH_REDIS(test_what_is_set_is_got),
        WITH_REDIS(test_a_missing_key_is_a_miss),
        WITH_REDIS(test_an_empty_value_is_no_miss),
        WITH_REDIS(test_keys_and_values_are_any_bytes),
        WITH_REDIS(test_large_values_come_whole),
        WITH_REDIS(test_a_value_is_gone_after_its_ttl),
        WITH_REDIS(test_ping_is_answered),
        WITH_REDIS(test_500_gets_at_once_each_get_their_own_value_in_order),
        WITH_REDIS(test_a_cancelled_request_does_not_call_back_nor_shift_the_replies),
        WITH_REDIS(test_a_request_cancelled_when_written_does_not_shift_the_replies),
        WITH_OWN(test_a_password_opens_the_default_user_named_or_not),
        WITH_OWN(test_a_user_without_a_password_is_logged_in_as_himself),
        WITH_OWN(test_without_a_password_each_command_is_refused_but_redis_is_up),
        WITH_OWN(test_a_wrong_password_is_refused_then_down_at_once),
        WITH_OWN(test_a_user_may_do_what_the_acl_allows_and_no_more),
        WITH_REDIS(test_databases_are_apart),
        WITH_REDIS(test_a_database_that_is_not_there_is_refused),
        WITH_OWN(test_a_full_redis_refuses_to_store_and_goes_on_answering),
        WITH_REDIS(test_delete_matching_deletes_those_and_no_others),
        WITH_OWN(test_delete_matching_ends_where_the_acl_says_no),
        WITH_REDIS(test_the_number_of_requests_under_way_is_bounded),
        WITH_REDIS(test_the_bytes_not_yet_written_are_bounded),
        WITH_REDIS(test_fire_and_forget_is_dropped_at_half_of_the_bounds),
        WITH_REDIS(test_freeing_drops_what_is_under_way),
        WITH_REDIS(test_it_may_be_freed_in_a_callback),
        WITH_OWN(test_tls_checks_authority_and_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
