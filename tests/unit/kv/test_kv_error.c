/* SPDX-License-Identifier: MIT */
/* What Redis's errors mean, by table: their words as Redis 5 to 7 write them. */
#include "kv/kv_reply_private.h"

#include <nearside/kv/kv.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct error_case {
    const char *text;
    enum kv_error error;
    bool is_unready;
};

static const struct error_case cases[] = {
    {"OOM command not allowed when used memory > 'maxmemory'.", KV_ERROR_OOM, false},
    {"READONLY You can't write against a read only replica.", KV_ERROR_READONLY, false},
    {"LOADING Redis is loading the dataset in memory", KV_ERROR_LOADING, true},
    {"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
     KV_ERROR_BUSY, true},
    {"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist",
     KV_ERROR_MISCONF, false},
    {"NOREPLICAS Not enough good replicas to write.", KV_ERROR_MISCONF, false},
    {"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
     KV_ERROR_MASTERDOWN, true},
    {"CLUSTERDOWN Hash slot not served", KV_ERROR_CLUSTERDOWN, true},
    {"TRYAGAIN Multiple keys request during rehashing of slot", KV_ERROR_CLUSTERDOWN, true},
    {"MOVED 3999 127.0.0.1:6381", KV_ERROR_MOVED, false},
    {"ASK 3999 127.0.0.1:6381", KV_ERROR_MOVED, false},
    {"ERR SELECT is not allowed in cluster mode", KV_ERROR_MOVED, false},
    {"NOAUTH Authentication required.", KV_ERROR_NOAUTH, false},
    {"WRONGPASS invalid username-password pair or user is disabled.", KV_ERROR_WRONGPASS, false},
    {"ERR invalid password", KV_ERROR_WRONGPASS, false},
    {"ERR Client sent AUTH, but no password is set", KV_ERROR_WRONGPASS, false},
    {"ERR AUTH <password> called without any password configured for the default user. Are you "
     "sure "
     "your configuration is correct?",
     KV_ERROR_WRONGPASS, false},
    {"NOPERM this user has no permissions to run the 'get' command", KV_ERROR_NOPERM, false},
    {"DENIED Redis is running in protected mode because protected mode is enabled",
     KV_ERROR_PROTECTED, false},
    {"ERR max number of clients reached", KV_ERROR_MAXCLIENTS, false},
    {"ERR unknown command `GET`, with args beginning with: `x`, ", KV_ERROR_UNKNOWN_COMMAND, false},
    {"WRONGTYPE Operation against a key holding the wrong kind of value", KV_ERROR_WRONGTYPE,
     false},
    {"ERR syntax error", KV_ERROR_OTHER, false},
    {"OOMPH ", KV_ERROR_OTHER, false},
    {"LOADING", KV_ERROR_OTHER, false},
    {"", KV_ERROR_OTHER, false},
};

static void test_error_is_known_by_its_first_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str text = str_of(cases[i].text);

        if (kv_error_of(text) != cases[i].error) {
            print_message("row: %s\n", cases[i].text);
        }
        assert_int_equal(kv_error_of(text), cases[i].error);
        assert_int_equal(kv_error_is_unready(text), cases[i].is_unready);
    }
}

static void test_error_that_redis_says_has_its_own_advice(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KV_ERROR_COUNT; i++) {
        const char *advice = kv_error_advice((enum kv_error)i);

        assert_true(strlen(kv_error_word((enum kv_error)i)) > 0);
        assert_null(strchr(advice, '"')); /* it goes into log lines */
        if (kv_error_is_said((enum kv_error)i) && i != KV_ERROR_OTHER) {
            assert_string_not_equal(advice, kv_error_advice(KV_ERROR_OTHER));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_is_known_by_its_first_words),
        cmocka_unit_test(test_error_that_redis_says_has_its_own_advice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
