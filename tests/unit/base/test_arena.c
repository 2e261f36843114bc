/* SPDX-License-Identifier: MIT */
/* The arena: alignment, growth, what a reset keeps. */
#include <nearside/base/arena.h>
#include <nearside/base/mem.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_arena_gives_aligned_and_disjoint_memory(void **state)
{
    (void)state;
    struct arena arena;
    unsigned char *parts[200];

    arena_init(&arena, 256);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        parts[i] = arena_alloc(&arena, i);
        assert_int_equal((uintptr_t)parts[i] % _Alignof(max_align_t), 0);
        memset(parts[i], (int)i, i);
    }
    for (size_t i = 1; i < ARRAY_LEN(parts); i++) {
        assert_int_equal(parts[i][0], i);
        assert_int_equal(parts[i][i - 1], i);
    }
    arena_done(&arena);
}

static void test_arena_reset_hands_out_the_first_block_again(void **state)
{
    (void)state;
    struct arena arena;

    arena_init(&arena, 256);
    char *first = arena_alloc(&arena, 16);
    for (int i = 0; i < 100; i++) {
        memset(arena_zero(&arena, 100), 'x', 100);
    }
    assert_true(arena.total_bytes >= 10016);
    arena_reset(&arena);
    assert_int_equal(arena.total_bytes, 0);
    assert_ptr_equal(arena_alloc(&arena, 16), first);
    arena_done(&arena);
}

static void test_arena_reset_gives_back_a_first_block_of_one_big_object(void **state)
{
    (void)state;
    struct arena arena;

    arena_init(&arena, 256);
    memset(arena_alloc(&arena, 1 << 20), 'x', 1 << 20);
    arena_reset(&arena);
    assert_null(arena.blocks);
    assert_non_null(arena_alloc(&arena, 1));
    arena_done(&arena);
    assert_null(arena.blocks);
    arena_done(&arena);
}

static void test_arena_zero_clears_memory_that_was_used_before(void **state)
{
    (void)state;
    struct arena arena;
    static const char zeros[128];

    arena_init(&arena, 256);
    memset(arena_alloc(&arena, 128), 'x', 128);
    arena_reset(&arena);
    assert_memory_equal(arena_zero(&arena, 128), zeros, 128);
    arena_done(&arena);
}

static void test_arena_texts_end_with_a_nul(void **state)
{
    (void)state;
    struct arena arena;

    arena_init(&arena, 64);
    struct str copy = arena_str(&arena, STR_LIT("region"));
    struct str empty = arena_str(&arena, str_make(NULL, 0));
    struct str printed = arena_printf(&arena, "%s-%d-%0200d", "us", 1, 7);
    assert_string_equal(copy.ptr, "region");
    assert_string_equal(empty.ptr, "");
    assert_int_equal(empty.len, 0);
    assert_int_equal(printed.len, 205);
    assert_int_equal(printed.ptr[205], '\0');
    assert_true(str_starts(printed, STR_LIT("us-1-000")));
    arena_done(&arena);
}

static void test_arena_reserve_promises_room_or_changes_nothing(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 256);
    mem_try_fail_after(1);
    assert_false(arena_reserve(&arena, 100000));
    assert_null(arena.blocks);
    assert_true(arena_reserve(&arena, 100000 + ARENA_ALIGN));
    char *first = arena_alloc(&arena, 50000);
    assert_ptr_equal(arena_alloc(&arena, 50000), first + 50000);
    mem_try_fail_after(1);
    assert_true(arena_reserve(&arena, 1)); /* needs no memory */
    mem_try_fail_after(0);
    arena_done(&arena);
}

static void test_arena_does_not_double_a_block_made_for_one_big_object(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 256);
    memset(arena_alloc(&arena, 100000), 'x', 100000);
    memset(arena_alloc(&arena, 100), 'x', 100);
    assert_in_range((size_t)(arena.end - arena.next), 0, 256);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_gives_aligned_and_disjoint_memory),
        cmocka_unit_test(test_arena_reset_hands_out_the_first_block_again),
        cmocka_unit_test(test_arena_reset_gives_back_a_first_block_of_one_big_object),
        cmocka_unit_test(test_arena_zero_clears_memory_that_was_used_before),
        cmocka_unit_test(test_arena_texts_end_with_a_nul),
        cmocka_unit_test(test_arena_reserve_promises_room_or_changes_nothing),
        cmocka_unit_test(test_arena_does_not_double_a_block_made_for_one_big_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
