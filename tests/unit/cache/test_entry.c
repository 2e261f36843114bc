/* SPDX-License-Identifier: MIT */
/* Entries: what is built can be read back; nothing else passes for an entry. */
#include "cache/entry_private.h"

#include <nearside/base/mem.h>
#include <nearside/base/rng.h>
#include <nearside/cache/entry.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define FIELDS "Content-Type: application/json\r\nServer: x\r\n"
#define BODY   "{\"id\":1}"

static const struct cache_entry_facts usual = {
    .flags = CACHE_ENTRY_STREAM,
    .stored_wall_ms = 1234567890123,
    .ttl_ms = 3600000,
    .generation_ms = 1500,
    .prompt_tokens = 17,
    .completion_tokens = 66000,
};

static struct cache_entry *entry_of(struct str fields, struct str body)
{
    struct entry_build build;

    entry_build_init(&build);
    assert_true(entry_build_reserve(&build, ENTRY_HEAD_BYTES + fields.len + body.len));
    entry_build_append(&build, fields);
    entry_build_end_fields(&build);
    entry_build_append(&build, body);
    return entry_build_take(&build, &usual);
}

/* A good block's bytes, to be spoilt. `fields` and `body` as given; lengths true. */
static struct str block_of(struct str fields, struct str body, char *out)
{
    struct cache_entry *entry = entry_of(fields, body);
    struct str bytes = cache_entry_bytes(entry);

    memcpy(out, bytes.ptr, bytes.len);
    cache_entry_unref(entry);
    return str_make(out, bytes.len);
}

static bool is_entry(struct str bytes)
{
    struct cache_entry *entry = cache_entry_from_bytes(bytes);
    bool is_good = entry != NULL;

    cache_entry_unref(entry);
    return is_good;
}

static void assert_str(struct str got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.ptr, want, got.len);
}

static void assert_is_the_usual(const struct cache_entry *entry)
{
    assert_str(cache_entry_fields(entry), FIELDS);
    assert_str(cache_entry_body(entry), BODY);
    assert_true(cache_entry_is_stream(entry));
    assert_int_equal(cache_entry_stored_wall_ms(entry), 1234567890123);
    assert_int_equal(cache_entry_ttl_ms(entry), 3600000);

    struct cache_entry_facts facts;
    cache_entry_facts(entry, &facts);
    assert_int_equal(facts.flags, usual.flags);
    assert_int_equal(facts.stored_wall_ms, usual.stored_wall_ms);
    assert_int_equal(facts.ttl_ms, usual.ttl_ms);
    assert_int_equal(facts.generation_ms, usual.generation_ms);
    assert_int_equal(facts.prompt_tokens, usual.prompt_tokens);
    assert_int_equal(facts.completion_tokens, usual.completion_tokens);
}

static void test_entry_gives_back_what_was_built(void **state)
{
    struct cache_entry *entry = entry_of(STR_LIT(FIELDS), STR_LIT(BODY));

    (void)state;
    assert_is_the_usual(entry);
    cache_entry_unref(entry);
}

static void test_entry_survives_the_way_through_bytes(void **state)
{
    struct cache_entry *first = entry_of(STR_LIT(FIELDS), STR_LIT(BODY));
    struct cache_entry *second = cache_entry_from_bytes(cache_entry_bytes(first));

    (void)state;
    cache_entry_unref(first);
    assert_non_null(second);
    assert_is_the_usual(second);
    cache_entry_unref(second);
}

/* The layout in the header is a promise to other edges, of other versions and machines. */
static void test_entry_block_is_laid_out_as_promised(void **state)
{
    static const char want[] = "NSC2"
                               "\x01\x00\x00\x00"
                               "\xcb\x04\xfb\x71\x1f\x01\x00\x00"
                               "\x80\xee\x36\x00\x00\x00\x00\x00"
                               "\xdc\x05\x00\x00"
                               "\x11\x00\x00\x00"
                               "\xd0\x01\x01\x00"
                               "\x00\x00\x00\x00"
                               "\x06\x00\x00\x00"
                               "\x02\x00\x00\x00"
                               "A: b\r\n"
                               "{}";
    struct cache_entry *entry = entry_of(STR_LIT("A: b\r\n"), STR_LIT("{}"));
    struct str bytes = cache_entry_bytes(entry);

    (void)state;
    assert_int_equal(bytes.len, sizeof(want) - 1);
    assert_memory_equal(bytes.ptr, want, bytes.len);
    cache_entry_unref(entry);
}

static void test_entry_lives_until_its_last_reference(void **state)
{
    struct cache_entry *entry = entry_of(STR_LIT(FIELDS), STR_LIT(BODY));

    (void)state;
    assert_ptr_equal(cache_entry_ref(entry), entry);
    cache_entry_unref(entry);
    assert_is_the_usual(entry);
    cache_entry_unref(entry);
    cache_entry_unref(NULL);
}

static void test_entry_of_any_shorter_or_longer_block_is_refused(void **state)
{
    char block[256] = {0};
    struct str whole = block_of(STR_LIT(FIELDS), STR_LIT(BODY), block);

    (void)state;
    assert_true(is_entry(whole));
    for (size_t len = 0; len < whole.len; len++) {
        char *exact = mem_alloc(len); /* so that ASan sees a read past the end */
        memcpy(exact, block, len);
        assert_false(is_entry(str_make(exact, len)));
        mem_free(exact);
    }
    assert_false(is_entry(str_make(block, whole.len + 1)));
}

struct spoil_case {
    const char *why;
    size_t at;
    unsigned char byte;
};

static const struct spoil_case spoil_cases[] = {
    {"magic", 0, 'n'},
    {"version", 3, '1'},
    {"the next version", 3, '3'},
    {"usage, but no stream", 4, 2},
    {"usage and strict, but no stream", 4, 6},
    {"unknown flag", 4, 8},
    {"unknown flag beside a known one", 4, 9},
    {"every flag", 4, 0xff},
    {"pad", 5, 1},
    {"pad's end", 7, 1},
    {"stored after the year 9999", 15, 1},
    {"a time to live of centuries", 23, 1},
    {"spare", 36, 1},
    {"spare's end", 39, 1},
    {"fields a byte longer", 40, sizeof(FIELDS)},
    {"fields a byte shorter", 40, sizeof(FIELDS) - 2},
    {"fields of 4 GiB", 43, 0xff},
    {"body a byte longer", 44, sizeof(BODY)},
    {"body of 4 GiB", 47, 0xff},
};

static void test_entry_with_a_spoilt_head_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(spoil_cases); i++) {
        char block[256];
        struct str whole = block_of(STR_LIT(FIELDS), STR_LIT(BODY), block);
        block[spoil_cases[i].at] = (char)spoil_cases[i].byte;
        if (is_entry(whole)) {
            print_message("passed: %s\n", spoil_cases[i].why);
        }
        assert_false(is_entry(whole));
    }
}

static void test_entry_without_a_time_to_live_is_refused(void **state)
{
    char block[256];
    struct str whole = block_of(STR_LIT(FIELDS), STR_LIT(BODY), block);

    (void)state;
    memset(block + 16, 0, 8);
    assert_false(is_entry(whole));
}

static void test_entry_lives_for_a_year_and_a_tenth_but_not_longer(void **state)
{
    const uint64_t most_ms = 31536000ULL * 1100; /* cache.ttl_s at its most, with jitter */
    char block[ENTRY_HEAD_BYTES + 2] = "NSC2";

    (void)state;
    block[44] = 2;
    for (uint64_t more = 0; more < 2; more++) {
        uint64_t ttl_ms = most_ms + more;
        memcpy(block + 16, &ttl_ms, sizeof(ttl_ms));
        struct cache_entry *entry = cache_entry_from_bytes(str_make(block, sizeof(block)));
        assert_int_equal(entry != NULL, more == 0);
        cache_entry_unref(entry);
    }
}

static void test_entry_without_a_body_is_refused(void **state)
{
    char block[256];

    (void)state;
    assert_false(is_entry(block_of(STR_LIT(FIELDS), STR_EMPTY, block)));
}

static void test_entry_tells_which_kind_of_answer_it_holds(void **state)
{
    static const struct {
        char flags;
        bool is_stream;
        bool has_usage;
    } rows[] = {{0, false, false}, {1, true, false}, {3, true, true}};
    char block[256];
    struct str whole = block_of(STR_LIT(FIELDS), STR_LIT(BODY), block);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        block[4] = rows[i].flags;
        struct cache_entry *entry = cache_entry_from_bytes(whole);
        assert_non_null(entry);
        assert_int_equal(cache_entry_is_stream(entry), rows[i].is_stream);
        assert_int_equal(cache_entry_has_usage(entry), rows[i].has_usage);
        cache_entry_unref(entry);
    }
}

struct fields_case {
    struct str fields;
    bool is_good;
};

static const struct fields_case fields_cases[] = {
    {{"", 0}, true},
#define ROW(text, is_good)                                                                         \
    {                                                                                              \
        {text, sizeof(text) - 1}, is_good                                                          \
    }
    ROW("A: b\r\n", true),
    ROW("A: \r\n", true),
    ROW("A: b: c\r\n", true),
    ROW("A: b\tc\r\n", true),
    ROW("A: \xc3\xa9\r\n", true),
    ROW("X-a!#$%&'*+.^_`|~09: b\r\n", true),
    ROW("A: b\r\nA: c\r\n", true),
    ROW("Content-Lengthy: 5\r\n", true),
    /* lines that are none */
    ROW("A: b", false),
    ROW("A: b\r", false),
    ROW("A: b\n", false),
    ROW("\r\n", false),
    ROW("A: b\r\n\r\n", false),
    ROW("A\r\n", false),
    ROW("A:b\r\n", false),
    ROW(": b\r\n", false),
    ROW("A : b\r\n", false),
    ROW(" A: b\r\n", false),
    ROW("A: b\r\n c\r\n", false),
    /* bytes that would become another line, or end a C string */
    ROW("A: b\nSet-Cookie: c\r\n", false),
    ROW("A: b\rSet-Cookie: c\r\n", false),
    ROW("A: b\r\r\n", false),
    ROW("A: b\0c\r\n", false),
    ROW("A\0: b\r\n", false),
    ROW("A: b\x7f\r\n", false),
    ROW("A: \x1b[2J\r\n", false),
    ROW("A(: b\r\n", false),
    ROW("\xc3\xa9: b\r\n", false),
    /* fields that are not the store's to say */
    ROW("Content-Length: 5\r\n", false),
    ROW("content-length: 5\r\n", false),
    ROW("Transfer-Encoding: chunked\r\n", false),
    ROW("Connection: close\r\n", false),
    ROW("A: b\r\nUpgrade: h2c\r\n", false),
    ROW("Set-Cookie: a=b\r\n", false),
    ROW("Content-Encoding: gzip\r\n", false),
#undef ROW
};

static void test_entry_has_only_fields_that_may_go_to_a_client(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fields_cases); i++) {
        char block[256];
        bool is_good = is_entry(block_of(fields_cases[i].fields, STR_LIT(BODY), block));
        if (is_good != fields_cases[i].is_good) {
            print_message("fields: %.*s\n", STR_FMT(fields_cases[i].fields));
        }
        assert_int_equal(is_good, fields_cases[i].is_good);
    }
}

static void test_entry_with_too_many_fields_is_refused(void **state)
{
    char fields[101 * 6];
    char block[1024];

    (void)state;
    for (size_t i = 0; i < 101; i++) {
        memcpy(fields + i * 6, "A: b\r\n", 6);
    }
    assert_true(is_entry(block_of(str_make(fields, 100 * 6), STR_LIT(BODY), block)));
    assert_false(is_entry(block_of(str_make(fields, 101 * 6), STR_LIT(BODY), block)));
}

static void test_entry_of_random_bytes_is_refused(void **state)
{
    struct rng rng;
    char block[64];

    (void)state;
    rng_init_seed(&rng, 1);
    for (unsigned i = 0; i < 20000; i++) {
        size_t len = (size_t)rng_below(&rng, sizeof(block) + 1);
        for (size_t j = 0; j < len; j++) {
            block[j] = (char)rng_next(&rng);
        }
        assert_false(is_entry(str_make(block, len)));
    }
}

static void test_entry_is_none_when_memory_is_refused(void **state)
{
    char block[256];
    struct str whole = block_of(STR_LIT(FIELDS), STR_LIT(BODY), block);
    struct entry_build build;

    (void)state;
    mem_try_fail_after(1);
    assert_null(cache_entry_from_bytes(whole));

    entry_build_init(&build);
    assert_true(entry_build_reserve(&build, 64));
    entry_build_append(&build, STR_LIT("A: b\r\n"));
    mem_try_fail_after(1);
    assert_false(entry_build_reserve(&build, 4096));
    assert_int_equal(build.len, ENTRY_HEAD_BYTES + 6);
    entry_build_done(&build);
}

static void test_entry_is_good_even_if_its_block_cannot_be_made_smaller(void **state)
{
    struct entry_build build;

    (void)state;
    entry_build_init(&build);
    assert_true(entry_build_reserve(&build, 4096));
    entry_build_append(&build, STR_LIT(FIELDS));
    entry_build_end_fields(&build);
    entry_build_append(&build, STR_LIT(BODY));
    assert_int_equal(entry_build_body_len(&build), sizeof(BODY) - 1);
    mem_try_fail_after(1);
    struct cache_entry *entry = entry_build_take(&build, &usual);
    assert_is_the_usual(entry);
    assert_true(cache_entry_memory(entry) > 4096);
    cache_entry_unref(entry);
}

/* Large blocks have pages of their own; what is written stays as they grow into them and back. */
static void test_entry_moves_between_small_and_paged_memory(void **state)
{
    static char body[40000];
    struct entry_build build;

    (void)state;
    memset(body, 'x', sizeof(body));
    entry_build_init(&build);
    assert_true(entry_build_reserve(&build, 256));
    entry_build_append(&build, STR_LIT(FIELDS));
    entry_build_end_fields(&build);
    mem_try_fail_after(1);
    assert_false(entry_build_reserve(&build, 65536));
    assert_true(entry_build_reserve(&build, 65536));
    assert_true(entry_build_memory(&build) >= 65536);
    entry_build_append(&build, str_make(body, sizeof(body)));
    struct cache_entry *large = entry_build_take(&build, &usual);
    assert_true(str_eq(cache_entry_fields(large), STR_LIT(FIELDS)));
    assert_true(str_eq(cache_entry_body(large), str_make(body, sizeof(body))));
    assert_true(cache_entry_memory(large) < 65536);
    assert_int_equal(cache_entry_memory(large) % 4096, 0);
    cache_entry_unref(large);

    assert_true(entry_build_reserve(&build, 65536));
    entry_build_append(&build, STR_LIT(FIELDS));
    entry_build_end_fields(&build);
    entry_build_append(&build, STR_LIT(BODY));
    struct cache_entry *small = entry_build_take(&build, &usual);
    assert_is_the_usual(small);
    assert_true(cache_entry_memory(small) < 4096);
    cache_entry_unref(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entry_gives_back_what_was_built),
        cmocka_unit_test(test_entry_survives_the_way_through_bytes),
        cmocka_unit_test(test_entry_block_is_laid_out_as_promised),
        cmocka_unit_test(test_entry_lives_until_its_last_reference),
        cmocka_unit_test(test_entry_of_any_shorter_or_longer_block_is_refused),
        cmocka_unit_test(test_entry_with_a_spoilt_head_is_refused),
        cmocka_unit_test(test_entry_tells_which_kind_of_answer_it_holds),
        cmocka_unit_test(test_entry_without_a_time_to_live_is_refused),
        cmocka_unit_test(test_entry_lives_for_a_year_and_a_tenth_but_not_longer),
        cmocka_unit_test(test_entry_without_a_body_is_refused),
        cmocka_unit_test(test_entry_has_only_fields_that_may_go_to_a_client),
        cmocka_unit_test(test_entry_with_too_many_fields_is_refused),
        cmocka_unit_test(test_entry_of_random_bytes_is_refused),
        cmocka_unit_test(test_entry_is_none_when_memory_is_refused),
        cmocka_unit_test(test_entry_is_good_even_if_its_block_cannot_be_made_smaller),
        cmocka_unit_test(test_entry_moves_between_small_and_paged_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
