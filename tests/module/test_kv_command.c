/* SPDX-License-Identifier: MIT */
/* Any command, against a real redis-server: every kind of reply as flat items. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/kv_fixture.h"

#define LISTED_MAX 8

/* The last reply's items, joined by "|". */
static void on_items(enum kv_result result, const struct str *items, size_t count, void *arg)
{
    struct fixture *fixture = arg;
    struct buf joined;

    buf_init(&joined);
    for (size_t i = 0; i < count && i < LISTED_MAX; i++) {
        buf_append_str(&joined, items[i]);
        buf_append_char(&joined, '|');
    }
    on_done(result, buf_str(&joined), fixture);
    buf_done(&joined);
}

static struct kv_request *start(struct fixture *fixture, const char *text)
{
    struct str words[KV_COMMAND_WORDS_MAX];
    struct str rest = str_of(text);
    size_t count = 0;

    while (str_next_item(&rest, '~', &words[count])) {
        count++;
    }
    return kv_command(fixture->kv, words, count, PATIENT_MS, on_items, fixture);
}

static enum kv_result run(struct fixture *fixture, const char *text)
{
    forget_calls(fixture);
    assert_non_null(start(fixture, text));
    wait_for_calls(fixture, 1);
    return fixture->result;
}

struct reply_case {
    const char *command; /* words between "~" */
    enum kv_result result;
    const char *items;
};

static const struct reply_case reply_cases[] = {
    {"EVAL~return {}~0", KV_OK, ""},
    {"EVAL~return {'a', 'b c', ''}~0", KV_OK, "a|b c||"},
    {"EVAL~return {'a', false, 'c'}~0", KV_OK, "a||c|"},
    {"EVAL~return 'one'~0", KV_OK, "one|"},
    {"EVAL~return false~0", KV_OK, ""},
    {"EVAL~return 42~0", KV_OK, "42|"},
    {"EVAL~return -7~0", KV_OK, "-7|"},
    {"PING", KV_OK, "PONG|"},
    {"HSET~h~f~v", KV_OK, "1|"},
    {"HGETALL~h", KV_OK, "f|v|"},
    {"HGETALL~nothing", KV_OK, ""},
    {"EVAL~return {'a', {'b'}}~0", KV_REFUSED, ""},
    {"EVAL~return redis.error_reply('no')~0", KV_REFUSED, ""},
    {"NOSUCHCOMMAND", KV_REFUSED, ""},
};

static void test_every_kind_of_reply_comes_as_items(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(reply_cases); i++) {
        assert_result(run(fixture, reply_cases[i].command), reply_cases[i].result);
        assert_value(fixture, reply_cases[i].items);
    }
}

static void test_a_list_beyond_the_limit_is_refused_and_the_connection_stays(void **state)
{
    struct fixture *fixture = *state;

    assert_result(run(fixture, "EVAL~local t = {} for i = 1, 8192 do t[i] = 'x' end return t~0"),
                  KV_OK);
    assert_result(run(fixture, "EVAL~local t = {} for i = 1, 8193 do t[i] = 'x' end return t~0"),
                  KV_REFUSED);
    assert_true(is_up(fixture));
    assert_result(run(fixture, "PING"), KV_OK);
}

static void test_a_cancelled_command_does_not_call_back(void **state)
{
    struct fixture *fixture = *state;
    struct kv_request *request;

    assert_result(run(fixture, "PING"), KV_OK);
    forget_calls(fixture);
    request = start(fixture, "EVAL~return {'a'}~0");
    kv_cancel(request);
    assert_non_null(start(fixture, "EVAL~return {'b'}~0"));
    wait_for_calls(fixture, 1);
    assert_value(fixture, "b|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_REDIS(name) cmocka_unit_test_setup_teardown(name, setup_redis, teardown)
        WITH_REDIS(test_every_kind_of_reply_comes_as_items),
        WITH_REDIS(test_a_list_beyond_the_limit_is_refused_and_the_connection_stays),
        WITH_REDIS(test_a_cancelled_command_does_not_call_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
