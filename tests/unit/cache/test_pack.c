/* SPDX-License-Identifier: MIT */
/* Values in Redis: what was packed comes out again; nothing else does, and never more than allowed.
 */
#include "cache/entry_private.h"
#include "cache/pack_private.h"

#include <nearside/base/buf.h>
#include <nearside/base/mem.h>
#include <nearside/base/rng.h>
#include <nearside/cache/entry.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define FIELDS    "Content-Type: application/json\r\n"
#define BODY_MAX  300000
#define BLOCK_MAX (ENTRY_HEAD_BYTES + sizeof(FIELDS) + BODY_MAX)
#define EASY      7 /* bytes until the body repeats */

static const struct cache_entry_facts facts = {.stored_wall_ms = 1234567890123, .ttl_ms = 3600000};

/* A body that repeats itself after `period` bytes. */
static struct cache_entry *entry_of(size_t body_len, size_t period)
{
    char *body = mem_alloc(body_len);
    struct entry_build build;
    struct rng rng;

    rng_init_seed(&rng, 1);
    for (size_t i = 0; i < body_len; i++) {
        body[i] = i < period ? (char)rng_next(&rng) : body[i - period];
    }
    entry_build_init(&build);
    assert_true(entry_build_reserve(&build, ENTRY_HEAD_BYTES + sizeof(FIELDS) + body_len));
    entry_build_append(&build, STR_LIT(FIELDS));
    entry_build_end_fields(&build);
    entry_build_append(&build, str_make(body, body_len));
    mem_free(body);
    return entry_build_take(&build, &facts);
}

/* In pieces of `bytes`; the value lives until pack_end(). */
static enum pack_step pack_all(struct pack *pack, struct str block, size_t bytes,
                               struct str *ret_value)
{
    enum pack_step step = PACK_MORE;

    assert_true(pack_begin(pack, block));
    while (step == PACK_MORE) {
        step = pack_step(pack, bytes, ret_value);
    }
    return step;
}

static void assert_opens_to(struct pack *pack, struct str value, struct str block)
{
    struct cache_entry *entry = pack_open(pack, value, BLOCK_MAX);

    assert_non_null(entry);
    assert_true(str_eq(cache_entry_bytes(entry), block));
    cache_entry_unref(entry);
}

static bool opens(struct pack *pack, struct str value, size_t block_max)
{
    struct cache_entry *entry = pack_open(pack, value, block_max);
    bool is_good = entry != NULL;

    cache_entry_unref(entry);
    return is_good;
}

/* A packed value of an easy body, copied to the heap so that ASan sees a read past its end. */
static struct str packed_of(struct pack *pack, size_t body_len)
{
    struct cache_entry *entry = entry_of(body_len, EASY);
    struct str value;

    assert_int_equal(pack_all(pack, cache_entry_bytes(entry), 1000, &value), PACK_DONE);
    char *copy = mem_alloc(value.len);
    memcpy(copy, value.ptr, value.len);
    pack_end(pack);
    cache_entry_unref(entry);
    return str_make(copy, value.len);
}

static void test_pack_gives_back_what_was_packed_in_pieces_of_any_size(void **state)
{
    static const size_t bodies[] = {64, 1000, 65536, 131072, BODY_MAX};
    static const size_t pieces[] = {1000, 65536, 1000000};

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct cache_entry *entry = entry_of(bodies[i], EASY);
        struct str block = cache_entry_bytes(entry);
        for (size_t j = 0; j < ARRAY_LEN(pieces); j++) {
            struct str value;
            assert_int_equal(pack_all(*state, block, pieces[j], &value), PACK_DONE);
            assert_true(value.len < block.len);
            assert_opens_to(*state, value, block);
            pack_end(*state);
        }
        cache_entry_unref(entry);
    }
}

static void test_pack_gives_up_where_it_saves_too_little(void **state)
{
    struct cache_entry *noise = entry_of(100000, 100000);
    struct cache_entry *easy = entry_of(1000, EASY);
    struct str value;

    assert_int_equal(pack_all(*state, cache_entry_bytes(noise), 65536, &value), PACK_USELESS);
    pack_end(*state);
    assert_int_equal(pack_all(*state, cache_entry_bytes(easy), 65536, &value), PACK_DONE);
    pack_end(*state); /* and the next one is packed as if nothing had been */
    cache_entry_unref(noise);
    cache_entry_unref(easy);
}

static void test_pack_opens_what_was_never_packed(void **state)
{
    struct cache_entry *entry = entry_of(100, EASY);

    assert_opens_to(*state, cache_entry_bytes(entry), cache_entry_bytes(entry));
    cache_entry_unref(entry);
}

static void test_pack_of_more_than_the_bound_is_refused(void **state)
{
    struct cache_entry *entry = entry_of(BODY_MAX, EASY);
    size_t len = cache_entry_bytes(entry).len;
    struct str value = packed_of(*state, BODY_MAX);

    assert_true(value.len < 1000);
    assert_true(opens(*state, value, len));
    assert_false(opens(*state, value, len - 1));
    assert_false(opens(*state, cache_entry_bytes(entry), len - 1));
    mem_free((void *)(uintptr_t)value.ptr);
    cache_entry_unref(entry);
}

/* The head says one length, the frame another: nothing is unpacked. */
static void test_pack_that_lies_about_its_length_is_refused(void **state)
{
    struct str value = packed_of(*state, 5000);
    char *bytes = (char *)(uintptr_t)value.ptr;

    for (unsigned at = 4; at < PACK_HEAD_BYTES; at++) {
        bytes[at]++;
        assert_false(opens(*state, value, BLOCK_MAX));
        bytes[at] -= 2;
        assert_false(opens(*state, value, BLOCK_MAX));
        bytes[at]++;
    }
    assert_true(opens(*state, value, BLOCK_MAX));
    mem_free(bytes);
}

static void test_pack_cut_or_followed_by_anything_is_refused(void **state)
{
    struct str value = packed_of(*state, 5000);
    char *longer = mem_alloc(2 * value.len);

    for (size_t len = 0; len < value.len; len++) {
        char *exact = mem_alloc(len);
        memcpy(exact, value.ptr, len);
        assert_false(opens(*state, str_make(exact, len), BLOCK_MAX));
        mem_free(exact);
    }
    memcpy(longer, value.ptr, value.len);
    longer[value.len] = '\0';
    assert_false(opens(*state, str_make(longer, value.len + 1), BLOCK_MAX));
    /* a second frame */
    memcpy(longer + value.len, value.ptr + PACK_HEAD_BYTES, value.len - PACK_HEAD_BYTES);
    assert_false(opens(*state, str_make(longer, 2 * value.len - PACK_HEAD_BYTES), BLOCK_MAX));
    mem_free(longer);
    mem_free((void *)(uintptr_t)value.ptr);
}

/* Whatever a changed byte makes of it: what opens is an entry of the length it told. */
static void test_pack_with_a_byte_changed_opens_to_a_sound_entry_or_none(void **state)
{
    struct str value = packed_of(*state, 5000);
    char *bytes = (char *)(uintptr_t)value.ptr;

    for (size_t at = 0; at < value.len; at++) {
        char before = bytes[at];
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes[at] = (char)(before ^ (1 << bit));
            struct cache_entry *entry = pack_open(*state, value, BLOCK_MAX);
            if (entry != NULL) {
                assert_int_equal(cache_entry_body(entry).len, 5000);
                cache_entry_unref(entry);
            }
        }
        bytes[at] = before;
    }
    mem_free(bytes);
}

static void test_pack_is_refused_where_memory_is(void **state)
{
    struct cache_entry *entry = entry_of(5000, EASY);
    struct str value = packed_of(*state, 5000);

    mem_try_fail_after(1);
    assert_false(pack_begin(*state, cache_entry_bytes(entry)));
    mem_try_fail_after(1);
    assert_false(opens(*state, value, BLOCK_MAX));
    assert_true(opens(*state, value, BLOCK_MAX));
    mem_free((void *)(uintptr_t)value.ptr);
    cache_entry_unref(entry);
}

static int set_up(void **state)
{
    *state = pack_new();
    return 0;
}

static int tear_down(void **state)
{
    pack_free(*state);
    return 0;
}

#define WITH_PACK(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PACK(test_pack_gives_back_what_was_packed_in_pieces_of_any_size),
        WITH_PACK(test_pack_gives_up_where_it_saves_too_little),
        WITH_PACK(test_pack_opens_what_was_never_packed),
        WITH_PACK(test_pack_of_more_than_the_bound_is_refused),
        WITH_PACK(test_pack_that_lies_about_its_length_is_refused),
        WITH_PACK(test_pack_cut_or_followed_by_anything_is_refused),
        WITH_PACK(test_pack_with_a_byte_changed_opens_to_a_sound_entry_or_none),
        WITH_PACK(test_pack_is_refused_where_memory_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
