/* SPDX-License-Identifier: MIT */
/* Blocks of whole pages: they keep what was written, and their memory goes with them. */
#include <nearside/base/mem.h>
#include <nearside/base/pages.h>
#include <nearside/base/rng.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE   4096
#define MIB    ((size_t)1 << 20)
#define BLOCKS 512

struct block {
    uint8_t *bytes;
    size_t size;
    uint8_t mark;
};

static void cool_all(void)
{
    while (pages_warm_bytes() > 0) {
        (void)pages_cool();
    }
}

static void fill(struct block *block)
{
    memset(block->bytes, block->mark, block->size);
}

static void check(const struct block *block, size_t size)
{
    for (size_t i = 0; i < size; i += 509) {
        assert_int_equal(block->bytes[i], block->mark);
    }
    assert_int_equal(block->bytes[size - 1], block->mark);
}

static void test_a_block_takes_whole_pages(void **state)
{
    (void)state;
    void *small = pages_try_alloc(1);
    void *large = pages_try_alloc(5 * PAGE + 1);

    assert_non_null(small);
    assert_non_null(large);
    assert_int_equal((uintptr_t)small % PAGE, 0);
    assert_int_equal(pages_size_of(small) % PAGE, 0);
    assert_true(pages_size_of(small) >= PAGE);
    assert_true(pages_size_of(large) >= 6 * (size_t)PAGE);
    pages_free(small);
    pages_free(large);
    pages_free(NULL);
}

static void test_growing_and_shrinking_keeps_the_bytes(void **state)
{
    (void)state;
    struct block block = {.bytes = pages_try_alloc(16384), .size = 16384, .mark = 'a'};
    void *neighbour = pages_try_alloc(PAGE);

    fill(&block);
    for (size_t size = 32768; size <= 4 * MIB; size *= 2) {
        block.bytes = pages_try_resize(block.bytes, size);
        assert_non_null(block.bytes);
        check(&block, block.size);
        block.size = size;
        fill(&block);
        assert_int_equal(pages_size_of(block.bytes), size);
    }
    block.bytes = pages_try_resize(block.bytes, 100000);
    check(&block, 100000);
    assert_true(pages_size_of(block.bytes) < 200000);
    pages_free(neighbour);
    pages_free(block.bytes);
}

static void test_what_lies_between_blocks_is_used_again(void **state)
{
    (void)state;
    void *first = pages_try_alloc(4 * MIB);
    void *second = pages_try_alloc(PAGE);

    pages_free(first);
    void *again = pages_try_alloc(3 * MIB);
    assert_ptr_equal(again, first);
    void *rest = pages_try_alloc(MIB);
    assert_ptr_equal(rest, (char *)first + 3 * MIB);
    pages_free(rest);
    pages_free(again);
    pages_free(second);
}

static void test_a_block_grows_in_place_where_it_can(void **state)
{
    (void)state;
    void *hole = pages_try_alloc(2 * MIB);
    void *wall = pages_try_alloc(PAGE);

    hole = pages_try_resize(hole, MIB);
    assert_ptr_equal(pages_try_resize(hole, 2 * MIB), hole);
    void *moved = pages_try_resize(hole, 3 * MIB);
    assert_ptr_not_equal(moved, hole);
    pages_free(moved);
    pages_free(wall);
}

/* Pages of `bytes` that are in memory. */
static size_t resident_pages(void *bytes, size_t size)
{
    static unsigned char pages[8 * MIB / PAGE];
    size_t count = 0;

    assert_int_equal(mincore(bytes, size, pages), 0);
    for (size_t i = 0; i < size / (size_t)sysconf(_SC_PAGESIZE); i++) {
        count += pages[i] & 1;
    }
    return count;
}

static void test_a_freed_block_is_no_longer_resident(void **state)
{
    (void)state;
    cool_all();
    void *block = pages_try_alloc(8 * MIB);
    void *neighbour = pages_try_alloc(PAGE); /* so that its address space stays */

    assert_int_equal(resident_pages(block, 8 * MIB), 0);
    memset(block, 1, 8 * MIB);
    assert_int_not_equal(resident_pages(block, 8 * MIB), 0);
    block = pages_try_resize(block, MIB);
    assert_int_equal(resident_pages((char *)block + MIB, 7 * MIB), 0);
    assert_int_not_equal(resident_pages(block, MIB), 0);
    pages_free(block);
    assert_int_equal(resident_pages(block, 8 * MIB), 0);
    pages_free(neighbour);
}

static void test_too_much_and_refused_memory_leave_the_block_as_it_was(void **state)
{
    (void)state;
    struct block block = {.bytes = pages_try_alloc(16384), .size = 16384, .mark = 'x'};

    fill(&block);
    assert_null(pages_try_alloc(PAGES_BLOCK_MAX + 1));
    assert_null(pages_try_resize(block.bytes, PAGES_BLOCK_MAX + 1));
    mem_try_fail_after(1);
    assert_null(pages_try_alloc(PAGE));
    mem_try_fail_after(1);
    assert_null(pages_try_resize(block.bytes, 65536));
    mem_try_fail_after(0);
    check(&block, block.size);
    void *largest = pages_try_alloc(PAGES_BLOCK_MAX);
    assert_non_null(largest);
    pages_free(largest);
    pages_free(block.bytes);
}

static void test_what_was_freed_warm_stays_for_the_next_until_nobody_wants_it(void **state)
{
    (void)state;
    cool_all();
    void *block = pages_try_alloc(4 * MIB);
    void *neighbour = pages_try_alloc(PAGE);
    const size_t all = resident_pages(memset(block, 1, 4 * MIB), 4 * MIB);

    pages_free_warm(block);
    assert_int_equal(pages_warm_bytes(), 4 * MIB);
    assert_int_equal(pages_cool(), 0); /* it has only just become warm */
    assert_int_equal(resident_pages(block, 4 * MIB), all);

    assert_ptr_equal(pages_try_alloc(3 * MIB), block);
    assert_int_equal(pages_warm_bytes(), MIB);
    pages_free_warm(block);
    assert_int_equal(pages_cool(), MIB); /* 3 were wanted */
    assert_int_equal(resident_pages(block, 3 * MIB), all / 4 * 3);
    assert_int_equal(resident_pages((char *)block + 3 * MIB, MIB), 0);

    assert_int_equal(pages_cool(), 3 * MIB);
    assert_int_equal(resident_pages(block, 4 * MIB), 0);
    assert_int_equal(pages_warm_bytes(), 0);
    assert_int_equal(pages_cool(), 0);
    pages_free(neighbour);
}

static void test_a_block_grows_into_what_is_warm(void **state)
{
    (void)state;
    cool_all();
    void *block = pages_try_alloc(2 * MIB);

    pages_free_warm(block);
    assert_ptr_equal(pages_try_alloc(MIB), block);
    assert_ptr_equal(pages_try_resize(block, MIB + MIB / 2), block);
    assert_int_equal(pages_warm_bytes(), MIB / 2);
    pages_free(block);
    assert_int_equal(pages_cool(), 0);
    assert_int_equal(pages_cool(), MIB / 2);
}

static void test_much_that_is_warm_goes_a_part_at_a_time(void **state)
{
    (void)state;
    cool_all();
    const size_t size = PAGES_BLOCK_MAX;
    void *first = pages_try_alloc(size);
    void *second = pages_try_alloc(size);

    pages_free_warm(first);
    pages_free_warm(second);
    assert_int_equal(pages_cool(), 0);
    assert_int_equal(pages_cool(), 64 * MIB);
    assert_int_equal(pages_cool(), 2 * size - 64 * MIB);
    assert_int_equal(pages_warm_bytes(), 0);
}

static void test_the_last_block_of_a_region_leaves_it(void **state)
{
    (void)state;
    void *hole = pages_try_alloc(25 * MIB);
    uint8_t *block = pages_try_alloc(MIB);
    void *second = pages_try_alloc(PAGES_BLOCK_MAX); /* a region of its own */

    memset(block, 'b', MIB);
    pages_free(hole);
    block = pages_try_resize(block, 40 * MIB); /* into a third: neither gap is as long */
    assert_non_null(block);
    assert_int_equal(block[0], 'b');
    assert_int_equal(block[MIB - 1], 'b');
    block[40 * MIB - 1] = 'e';
    cool_all();
    pages_free(second);
    pages_free(block);
}

/* The model: each block holds its own mark, whatever happens to the others. */
static void test_blocks_of_all_sizes_come_and_go_without_touching_each_other(void **state)
{
    (void)state;
    static struct block blocks[BLOCKS];
    struct rng rng;

    rng_init_seed(&rng, 7);
    for (unsigned step = 0; step < 20000; step++) {
        struct block *block = &blocks[rng_below(&rng, BLOCKS)];
        const size_t size = 1 + (size_t)rng_below(&rng, rng_below(&rng, 8) == 0 ? 1000000 : 60000);
        const size_t kept = size < block->size ? size : block->size;
        if (block->bytes == NULL) {
            block->bytes = pages_try_alloc(size);
        } else if (rng_below(&rng, 3) == 0) {
            check(block, block->size);
            (step % 2 == 0 ? pages_free : pages_free_warm)(block->bytes);
            if (step % 100 == 0) {
                (void)pages_cool();
            }
            *block = (struct block){.bytes = NULL};
            continue;
        } else {
            block->bytes = pages_try_resize(block->bytes, size);
            check(block, kept);
        }
        assert_non_null(block->bytes);
        block->size = size;
        block->mark = (uint8_t)step;
        fill(block);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        pages_free(blocks[i].bytes);
    }
    cool_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_block_takes_whole_pages),
        cmocka_unit_test(test_growing_and_shrinking_keeps_the_bytes),
        cmocka_unit_test(test_what_lies_between_blocks_is_used_again),
        cmocka_unit_test(test_a_block_grows_in_place_where_it_can),
        cmocka_unit_test(test_a_freed_block_is_no_longer_resident),
        cmocka_unit_test(test_too_much_and_refused_memory_leave_the_block_as_it_was),
        cmocka_unit_test(test_what_was_freed_warm_stays_for_the_next_until_nobody_wants_it),
        cmocka_unit_test(test_a_block_grows_into_what_is_warm),
        cmocka_unit_test(test_much_that_is_warm_goes_a_part_at_a_time),
        cmocka_unit_test(test_the_last_block_of_a_region_leaves_it),
        cmocka_unit_test(test_blocks_of_all_sizes_come_and_go_without_touching_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
