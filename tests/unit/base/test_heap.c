/* SPDX-License-Identifier: MIT */
/* The heap against a model: whatever is done, the smallest key comes first. */
#include <nearside/base/heap.h>
#include <nearside/base/rng.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ITEM_COUNT 300

struct fixture {
    struct heap heap;
    struct heap_item items[ITEM_COUNT];
    struct rng rng;
};

static void setup(struct fixture *fixture, uint64_t seed)
{
    *fixture = (struct fixture){0};
    heap_init(&fixture->heap);
    rng_init_seed(&fixture->rng, seed);
}

/* The model: look at every queued item. */
static uint64_t smallest_key(const struct fixture *fixture, size_t *ret_count)
{
    uint64_t smallest = UINT64_MAX;

    *ret_count = 0;
    for (size_t i = 0; i < ITEM_COUNT; i++) {
        if (heap_item_is_queued(&fixture->items[i])) {
            *ret_count += 1;
            smallest = fixture->items[i].key < smallest ? fixture->items[i].key : smallest;
        }
    }
    return smallest;
}

static void do_something(struct fixture *fixture)
{
    struct heap_item *item = &fixture->items[rng_below(&fixture->rng, ITEM_COUNT)];
    uint64_t key = rng_below(&fixture->rng, 100); /* few keys, so that many are equal */

    if (!heap_item_is_queued(item)) {
        heap_insert(&fixture->heap, item, key);
    } else if (rng_below(&fixture->rng, 2) == 0) {
        heap_remove(&fixture->heap, item);
    } else {
        heap_change(&fixture->heap, item, key);
    }
}

static void test_heap_agrees_with_a_search_through_all_items(void **state)
{
    (void)state;
    struct fixture fixture;

    setup(&fixture, 7);
    for (int turn = 0; turn < 20000; turn++) {
        size_t count = 0;

        do_something(&fixture);
        uint64_t smallest = smallest_key(&fixture, &count);
        assert_int_equal(fixture.heap.count, count);
        assert_true(count == 0 || heap_peek(&fixture.heap)->key == smallest);
    }
    heap_done(&fixture.heap);
}

static void test_heap_gives_its_items_in_sorted_order(void **state)
{
    (void)state;
    struct fixture fixture;
    uint64_t last = 0;

    setup(&fixture, 8);
    for (size_t i = 0; i < ITEM_COUNT; i++) {
        heap_insert(&fixture.heap, &fixture.items[i], rng_next(&fixture.rng));
    }
    for (size_t i = 0; i < ITEM_COUNT; i++) {
        struct heap_item *item = heap_peek(&fixture.heap);
        assert_true(item->key >= last);
        last = item->key;
        heap_remove(&fixture.heap, item);
        assert_false(heap_item_is_queued(item));
    }
    assert_null(heap_peek(&fixture.heap));
    heap_done(&fixture.heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heap_agrees_with_a_search_through_all_items),
        cmocka_unit_test(test_heap_gives_its_items_in_sorted_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
