/* SPDX-License-Identifier: MIT */
/* Commands in their order: what is written, what is answered, what is given up. */
#include "kv/kv_pipeline_private.h"

#include <nearside/base/attr.h>
#include <nearside/base/buf.h>
#include <nearside/base/mem.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void on_end(enum kv_result result, struct kv_reply *reply, void *arg)
{
    (void)result;
    (void)reply;
    (void)arg;
}

static int setup(void **state)
{
    struct kv_pipeline *pipeline = mem_new(struct kv_pipeline);

    kv_pipeline_init(pipeline);
    *state = pipeline;
    return 0;
}

static int teardown(void **state)
{
    struct kv_pipeline *pipeline = *state;

    kv_pipeline_done(pipeline);
    assert_int_equal(pipeline->unsent_bytes, 0);
    assert_int_equal(pipeline->tombstones, 0);
    mem_free(pipeline);
    return 0;
}

/* A command of one letter; its listener's argument points to that letter. */
static struct kv_command *add(struct kv_pipeline *pipeline, const char *letter, bool is_held)
{
    struct str word = str_make(letter, 1);
    struct kv_listener listener = {.fn = on_end, .arg = (void *)(uintptr_t)letter};
    struct kv_command *command = kv_pipeline_add(pipeline, &word, 1, listener, is_held);

    assert_non_null(command);
    return command;
}

#define WIRE_LEN 11 /* "*1\r\n$1\r\nX\r\n" */

/* All that is to be written now, as text. */
static void assert_unsent(struct kv_pipeline *pipeline, const char *want)
{
    struct iovec pieces[KV_PIECES_MAX];
    int count = kv_pipeline_gather(pipeline, pieces);
    struct buf got;

    buf_init(&got);
    for (int i = 0; i < count; i++) {
        buf_append(&got, pieces[i].iov_base, pieces[i].iov_len);
    }
    assert_int_equal(buf_len(&got), strlen(want));
    assert_memory_equal(buf_str(&got).ptr, want, strlen(want));
    buf_done(&got);
}

/* The next reply is for the command of this letter; '-' for a tombstone. */
static void assert_answered(struct kv_pipeline *pipeline, char letter)
{
    struct kv_listener listener;

    assert_true(kv_pipeline_take_answered(pipeline, &listener));
    if (letter == '-') {
        assert_null(listener.fn);
    } else {
        assert_int_equal(*(const char *)listener.arg, letter);
    }
}

static void test_commands_are_written_and_answered_in_order(void **state)
{
    struct kv_pipeline *pipeline = *state;

    (void)add(pipeline, "a", false);
    (void)add(pipeline, "b", false);
    assert_unsent(pipeline, "*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n");
    assert_int_equal(pipeline->unsent_bytes, 2 * WIRE_LEN);
    kv_pipeline_written(pipeline, 2 * WIRE_LEN);

    assert_int_equal(pipeline->unsent_bytes, 0);
    assert_unsent(pipeline, "");
    assert_answered(pipeline, 'a');
    assert_answered(pipeline, 'b');
}

static void test_every_partial_write_goes_on_where_it_ended(void **state)
{
    static const char whole[] = "*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n";
    struct kv_pipeline *pipeline = *state;

    for (size_t cut = 1; cut < sizeof(whole) - 1; cut++) {
        (void)add(pipeline, "a", false);
        (void)add(pipeline, "b", false);
        kv_pipeline_written(pipeline, cut);
        assert_unsent(pipeline, whole + cut);
        kv_pipeline_written(pipeline, sizeof(whole) - 1 - cut);
        assert_answered(pipeline, 'a');
        assert_answered(pipeline, 'b');
    }
}

static void test_held_commands_are_not_written_before_they_are_released(void **state)
{
    struct kv_pipeline *pipeline = *state;

    (void)add(pipeline, "a", true);
    (void)add(pipeline, "L", false); /* a login */
    assert_unsent(pipeline, "*1\r\n$1\r\nL\r\n");
    kv_pipeline_written(pipeline, WIRE_LEN);
    kv_pipeline_release(pipeline);

    assert_unsent(pipeline, "*1\r\n$1\r\na\r\n");
    kv_pipeline_written(pipeline, WIRE_LEN);
    assert_answered(pipeline, 'L');
    assert_answered(pipeline, 'a');
}

static void test_an_unwritten_command_is_given_up_without_a_trace(void **state)
{
    struct kv_pipeline *pipeline = *state;
    struct kv_command *first = add(pipeline, "a", false);

    (void)add(pipeline, "b", false);
    assert_false(kv_pipeline_abandon(pipeline, first));

    assert_unsent(pipeline, "*1\r\n$1\r\nb\r\n");
    assert_int_equal(pipeline->unsent_bytes, WIRE_LEN);
    assert_int_equal(pipeline->tombstones, 0);
}

static void test_a_half_written_command_is_written_to_its_end_and_keeps_its_place(void **state)
{
    struct kv_pipeline *pipeline = *state;
    struct kv_command *first = add(pipeline, "a", false);

    (void)add(pipeline, "b", false);
    kv_pipeline_written(pipeline, 1);
    assert_true(kv_pipeline_abandon(pipeline, first));

    assert_unsent(pipeline, "1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n");
    kv_pipeline_written(pipeline, 2 * WIRE_LEN - 1);
    assert_answered(pipeline, '-');
    assert_answered(pipeline, 'b');
}

static void test_a_written_command_leaves_a_tombstone(void **state)
{
    struct kv_pipeline *pipeline = *state;
    struct kv_command *first = add(pipeline, "a", false);

    (void)add(pipeline, "b", false);
    kv_pipeline_written(pipeline, 2 * WIRE_LEN);
    assert_true(kv_pipeline_abandon(pipeline, first));
    assert_int_equal(pipeline->tombstones, 1);

    assert_answered(pipeline, '-');
    assert_int_equal(pipeline->tombstones, 0);
    assert_answered(pipeline, 'b');
}

static void test_a_reply_nobody_waits_for_is_noticed(void **state)
{
    struct kv_pipeline *pipeline = *state;
    struct kv_listener listener;

    (void)add(pipeline, "a", false);
    assert_false(kv_pipeline_take_answered(pipeline, &listener)); /* not written yet */
}

static void test_the_oldest_is_taken_first_wherever_it_is(void **state)
{
    struct kv_pipeline *pipeline = *state;
    struct kv_listener listener;

    (void)add(pipeline, "a", false);
    kv_pipeline_written(pipeline, WIRE_LEN);
    (void)add(pipeline, "c", true);
    (void)add(pipeline, "b", false);
    for (const char *want = "abc"; *want != '\0'; want++) {
        assert_true(kv_pipeline_take_oldest(pipeline, &listener));
        assert_int_equal(*(const char *)listener.arg, *want);
    }
    assert_false(kv_pipeline_take_oldest(pipeline, &listener));
}

static void test_no_more_than_so_many_pieces_are_gathered(void **state)
{
    struct kv_pipeline *pipeline = *state;
    struct iovec pieces[KV_PIECES_MAX];

    for (int i = 0; i < KV_PIECES_MAX + 5; i++) {
        (void)add(pipeline, "a", false);
    }
    assert_int_equal(kv_pipeline_gather(pipeline, pieces), KV_PIECES_MAX);
    kv_pipeline_written(pipeline, (size_t)KV_PIECES_MAX * WIRE_LEN);
    assert_int_equal(kv_pipeline_gather(pipeline, pieces), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_commands_are_written_and_answered_in_order),
        TEST(test_every_partial_write_goes_on_where_it_ended),
        TEST(test_held_commands_are_not_written_before_they_are_released),
        TEST(test_an_unwritten_command_is_given_up_without_a_trace),
        TEST(test_a_half_written_command_is_written_to_its_end_and_keeps_its_place),
        TEST(test_a_written_command_leaves_a_tombstone),
        TEST(test_a_reply_nobody_waits_for_is_noticed),
        TEST(test_the_oldest_is_taken_first_wherever_it_is),
        TEST(test_no_more_than_so_many_pieces_are_gathered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
