/* SPDX-License-Identifier: MIT */
/* Records of ended requests, packed: found whole by id, the last so many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <nearside/base/mem.h>

#include <stdio.h>
#include <string.h>

#include "proxy/explain_private.h"

#define CAPACITY 500
#define WRITTEN  (5 * CAPACITY) /* through several segments, each used again */

static int set_up(void **state)
{
    struct explain_store *store = test_malloc(sizeof(*store));

    explain_store_init(store, CAPACITY);
    *state = store;
    return 0;
}

static int tear_down(void **state)
{
    explain_store_done(*state);
    test_free(*state);
    return 0;
}

static struct str id_of(uint32_t number, char text[EXPLAIN_ID_MAX])
{
    return str_make(text, (size_t)snprintf(text, EXPLAIN_ID_MAX, "request-%u", number));
}

/* Records of all sizes, each full of its number. */
static struct explain_record record_of(uint32_t number)
{
    struct explain_record record = {.started_wall_ms = number, .reason = "ok", .chosen_slot = -1};
    char id[EXPLAIN_ID_MAX];

    record.id_len = (uint8_t)id_of(number, id).len;
    memcpy(record.id, id, record.id_len);
    record.model_len = (uint8_t)(number % (EXPLAIN_MODEL_MAX + 1));
    memset(record.model, 'a' + (int)(number % 26), record.model_len);
    record.region_count = (uint8_t)(number % (EXPLAIN_REGIONS_MAX + 1));
    for (uint32_t i = 0; i < record.region_count; i++) {
        record.candidates[i] = (struct explain_region){.slot = (uint8_t)i, .cost_ms = 1};
    }
    record.attempt_count = (uint8_t)(number % (EXPLAIN_ATTEMPTS_MAX + 1));
    for (uint32_t i = 0; i < record.attempt_count; i++) {
        record.tries[i].took_ns = number + i;
    }
    return record;
}

static bool finds(const struct explain_store *store, uint32_t number,
                  struct explain_record *ret_record)
{
    char id[EXPLAIN_ID_MAX];

    return explain_store_find(store, id_of(number, id), ret_record);
}

static void test_nothing_is_found_before_the_first(void **state)
{
    struct explain_record found;

    assert_false(finds(*state, 1, &found));
}

static void test_the_last_records_are_found_whole_and_older_ones_are_gone(void **state)
{
    for (uint32_t number = 0; number < WRITTEN; number++) {
        struct explain_record record = record_of(number);

        explain_store_add(*state, &record);
    }
    for (uint32_t number = 0; number < WRITTEN; number++) {
        struct explain_record written = record_of(number);
        struct explain_record found;

        assert_int_equal(finds(*state, number, &found), number >= WRITTEN - CAPACITY);
        if (number >= WRITTEN - CAPACITY) {
            assert_memory_equal(&found, &written, sizeof(found));
        }
    }
}

static void test_of_one_id_the_newest_is_found(void **state)
{
    struct explain_record record = record_of(7);
    struct explain_record found;

    explain_store_add(*state, &record);
    record.status = 503;
    explain_store_add(*state, &record);
    assert_true(finds(*state, 7, &found));
    assert_int_equal(found.status, 503);
}

static void test_a_store_of_one_keeps_the_last(void **state)
{
    struct explain_store one;
    struct explain_record found;

    (void)state;
    explain_store_init(&one, 1);
    for (uint32_t number = 0; number < WRITTEN; number++) {
        struct explain_record record = record_of(number);

        explain_store_add(&one, &record);
        assert_true(finds(&one, number, &found));
    }
    assert_false(finds(&one, WRITTEN - 2, &found));
    explain_store_done(&one);
}

static void test_a_record_without_memory_is_left_out_and_the_next_one_kept(void **state)
{
    struct explain_record found;

    for (unsigned refused = 1; refused <= 3; refused++) { /* hashes, places, the first segment */
        struct explain_record record = record_of(refused);

        mem_try_fail_after(refused);
        explain_store_add(*state, &record);
        assert_false(finds(*state, refused, &found));
        mem_try_fail_after(0);
        explain_store_add(*state, &record);
        assert_true(finds(*state, refused, &found));
        explain_store_done(*state);
        explain_store_init(*state, CAPACITY);
    }
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_nothing_is_found_before_the_first),
        TEST(test_the_last_records_are_found_whole_and_older_ones_are_gone),
        TEST(test_of_one_id_the_newest_is_found),
        TEST(test_a_store_of_one_keeps_the_last),
        TEST(test_a_record_without_memory_is_left_out_and_the_next_one_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
