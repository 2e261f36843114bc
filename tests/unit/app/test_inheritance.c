/* SPDX-License-Identifier: MIT */
/* The table that an old process leaves, and when a new one is good enough. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/edge.h"
#include "app/inheritance.h"

#include <nearside/base/mem.h>

#include <string.h>

static void test_inheritance_reads_what_was_written(void **state)
{
    const int sockets[] = {1007, 1008};
    struct inheritance inheritance;
    struct errbuf err;
    struct buf table;
    uint32_t count = 0;
    int *taken = NULL;

    (void)state;
    buf_init(&table);
    inheritance_init(&inheritance);
    inheritance_write_head(&table);
    inheritance_write_sockets(&table, INHERITED_LISTENER, sockets, 2, "[::]:8443");
    inheritance_write_sockets(&table, INHERITED_ADMIN, sockets, 1, "127.0.0.1:9901");
    inheritance_write_text(&table, INHERITED_DRAIN, "region", "us-east");
    assert_int_equal(inheritance_parse(buf_str(&table), &inheritance, &err), STATUS_OK);
    assert_int_equal(inheritance.count, 3);
    assert_true(inheritance_take(&inheritance, INHERITED_LISTENER, "[::]:8443", &taken, &count));
    assert_int_equal(count, 2);
    assert_int_equal(taken[1], 1008);
    mem_free(taken);
    assert_false(inheritance_take(&inheritance, INHERITED_LISTENER, "[::]:8443", &taken, &count));
    assert_false(
        inheritance_take(&inheritance, INHERITED_LISTENER, "127.0.0.1:9901", &taken, &count));
    assert_int_equal(inheritance_peek(&inheritance, INHERITED_LISTENER), -1);
    assert_int_equal(inheritance_peek(&inheritance, INHERITED_ADMIN), 1007);
    assert_string_equal(inheritance.items[2].text, "region us-east");
    inheritance_done(&inheritance);
    buf_done(&table);
}

struct table_case {
    const char *text;
    enum status status;
};

static const struct table_case table_cases[] = {
    {"", STATUS_INVALID},
    {"\n", STATUS_INVALID},
    {"nearside-upgrade 2\n", STATUS_INVALID},
    {"nearside-upgrade 1", STATUS_OK},
    {"nearside-upgrade 1\n", STATUS_OK},
    {"nearside-upgrade 1\nfuture thing 1\n", STATUS_OK},
    {"nearside-upgrade 1\nlistener\n", STATUS_INVALID},
    {"nearside-upgrade 1\nlistener 7\n", STATUS_INVALID},
    {"nearside-upgrade 1\nlistener , :80\n", STATUS_INVALID},
    {"nearside-upgrade 1\nlistener -7 :80\n", STATUS_INVALID},
    {"nearside-upgrade 1\nlistener 4294967296 :80\n", STATUS_INVALID},
    {"nearside-upgrade 1\nlistener 7x :80\n", STATUS_INVALID},
    {"nearside-upgrade 1\ndrain\n", STATUS_INVALID},
    {"nearside-upgrade 1\ndrain region a\n", STATUS_OK},
};

static void test_inheritance_refuses_what_it_does_not_understand(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table_cases); i++) {
        struct inheritance inheritance;
        struct errbuf err;

        inheritance_init(&inheritance);
        assert_int_equal(inheritance_parse(str_of(table_cases[i].text), &inheritance, &err),
                         table_cases[i].status);
        for (uint32_t item = 0; item < inheritance.count; item++) {
            inheritance.items[item].socket_count = 0; /* the numbers are nobody's sockets */
        }
        inheritance_done(&inheritance);
    }
}

static void test_upgrade_wants_a_region_if_there_is_one_now(void **state)
{
    (void)state;
    assert_true(upgrade_is_good(3, 1));
    assert_true(upgrade_is_good(0, 0));
    assert_true(upgrade_is_good(0, 2));
    assert_false(upgrade_is_good(1, 0));
}

static void test_upgrade_finds_the_program_by_path(void **state)
{
    char *shell = launch_program("sh");
    char *absolute = launch_program("/no/such/nearside");
    char *missing = launch_program("no-such-program-anywhere");

    (void)state;
    assert_true(shell[0] == '/' && strcmp(shell + strlen(shell) - 3, "/sh") == 0);
    assert_string_equal(absolute, "/no/such/nearside");
    assert_string_equal(missing, "");
    mem_free(shell);
    mem_free(absolute);
    mem_free(missing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inheritance_reads_what_was_written),
        cmocka_unit_test(test_inheritance_refuses_what_it_does_not_understand),
        cmocka_unit_test(test_upgrade_wants_a_region_if_there_is_one_now),
        cmocka_unit_test(test_upgrade_finds_the_program_by_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
