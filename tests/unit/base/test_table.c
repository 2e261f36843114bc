/* SPDX-License-Identifier: MIT */
/* The hash table: finding after growth, equal hashes, removing. */
#include <nearside/base/hash.h>
#include <nearside/base/table.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ENTRY_COUNT 1000

struct entry {
    struct table_item item;
    uint64_t key;
};

static struct entry *find(const struct table *table, uint64_t key, uint64_t hash)
{
    struct table_item *item = table_first(table, hash);

    while (item != NULL && CONTAINER_OF(item, struct entry, item)->key != key) {
        item = table_next(item);
    }
    return item == NULL ? NULL : CONTAINER_OF(item, struct entry, item);
}

static void test_table_finds_everything_while_it_grows(void **state)
{
    (void)state;
    struct table table;
    static struct entry entries[ENTRY_COUNT];

    table_init(&table);
    assert_null(table_first(&table, 1));
    for (uint64_t key = 0; key < ENTRY_COUNT; key++) {
        entries[key].key = key;
        table_insert(&table, &entries[key].item, hash_u64(key));
        assert_ptr_equal(find(&table, key / 2, hash_u64(key / 2)), &entries[key / 2]);
    }
    assert_int_equal(table.count, ENTRY_COUNT);
    assert_true(table.slot_count >= ENTRY_COUNT);
    for (uint64_t key = 0; key < ENTRY_COUNT; key += 2) {
        table_remove(&table, &entries[key].item);
    }
    for (uint64_t key = 0; key < ENTRY_COUNT; key++) {
        struct entry *expected = key % 2 == 0 ? NULL : &entries[key];
        assert_ptr_equal(find(&table, key, hash_u64(key)), expected);
    }
    assert_int_equal(table.count, ENTRY_COUNT / 2);
    table_done(&table);
}

/* Colliding items stay apart from each other and from others in the same slot. */
static void test_table_keeps_equal_hashes_apart(void **state)
{
    (void)state;
    struct table table;
    struct entry entries[100] = {0};

    table_init(&table);
    for (uint64_t key = 0; key < 100; key++) {
        entries[key].key = key;
        table_insert(&table, &entries[key].item, key % 2 == 0 ? 5 : 5 + (1ULL << 40));
    }
    for (uint64_t key = 0; key < 100; key++) {
        uint64_t hash = key % 2 == 0 ? 5 : 5 + (1ULL << 40);
        uint64_t other = key % 2 == 0 ? 5 + (1ULL << 40) : 5;
        assert_ptr_equal(find(&table, key, hash), &entries[key]);
        assert_null(find(&table, key, other));
    }
    table_remove(&table, &entries[50].item);
    assert_null(find(&table, 50, 5));
    assert_ptr_equal(find(&table, 52, 5), &entries[52]);
    table_done(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_finds_everything_while_it_grows),
        cmocka_unit_test(test_table_keeps_equal_hashes_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
