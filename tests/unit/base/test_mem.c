/* SPDX-License-Identifier: MIT */
/* Memory, clocks and error texts: the small promises of floor 0. */
#include <nearside/base/clock.h>
#include <nearside/base/errbuf.h>
#include <nearside/base/list.h>
#include <nearside/base/mem.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static void test_mem_size_zero_is_a_valid_pointer(void **state)
{
    (void)state;
    void *a = mem_zero(0, 8);
    void *b = mem_alloc(0);
    void *c = mem_try_alloc(0);

    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    b = mem_realloc(b, 0);
    assert_non_null(b);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(NULL);
}

static void test_mem_try_fails_exactly_once_where_the_test_says(void **state)
{
    (void)state;
    mem_try_fail_after(2);
    void *first = mem_try_alloc(8);
    void *second = mem_try_realloc(first, 16);
    void *third = mem_try_realloc(first, 16);

    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    assert_true(mem_size_of(third) >= 16);
    mem_free(third);
}

static void test_mem_aligned_is_aligned_and_zero(void **state)
{
    (void)state;
    for (size_t align = 1; align <= 4096; align *= 2) {
        char *ptr = mem_zero_aligned(align, 100);

        assert_int_equal((uintptr_t)ptr % align, 0);
        assert_true(ptr[0] == 0 && memcmp(ptr, ptr + 1, 99) == 0);
        mem_free(ptr);
    }
}

static void test_mem_copies_of_texts(void **state)
{
    (void)state;
    char *whole = mem_strdup("region");
    char *part = mem_strndup("region", 3);
    char *printed = mem_printf("%s:%d", "a", 80);

    assert_string_equal(whole, "region");
    assert_string_equal(part, "reg");
    assert_string_equal(printed, "a:80");
    mem_free(whole);
    mem_free(part);
    mem_free(printed);
}

static const struct {
    uint64_t wall_ms;
    const char *iso;
} iso_cases[] = {
    {0, "1970-01-01T00:00:00.000Z"},
    {951782399999ULL, "2000-02-28T23:59:59.999Z"},
    {951782400000ULL, "2000-02-29T00:00:00.000Z"},
    {1795342830123ULL, "2026-11-22T10:20:30.123Z"},
    {UINT64_MAX, "9999-12-31T23:59:59.999Z"},
};

static void test_clock_iso_is_utc_with_milliseconds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(iso_cases) / sizeof(iso_cases[0]); i++) {
        char out[CLOCK_ISO_LEN];

        clock_iso(iso_cases[i].wall_ms, out);
        assert_string_equal(out, iso_cases[i].iso);
    }
}

/* Each moment after each other one: earlier, later, the same second, the same millisecond. */
static void test_clock_iso_again_says_the_same(void **state)
{
    static const uint64_t moments[] = {
        0,
        999,
        1000,
        951782399999ULL,
        951782400000ULL,
        951782400001ULL,
        951782400120ULL,
        1795342830123ULL,
        UINT64_MAX,
    };

    (void)state;
    for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
        for (size_t j = 0; j < sizeof(moments) / sizeof(moments[0]); j++) {
            struct clock_text text = {.second = 0};
            char wanted[CLOCK_ISO_LEN];

            clock_iso_again(moments[i], &text);
            clock_iso_again(moments[j], &text);
            clock_iso(moments[j], wanted);
            assert_string_equal(text.iso, wanted);
        }
    }
}

static void test_clock_monotonic_never_goes_back(void **state)
{
    (void)state;
    uint64_t last = clock_mono_ns();

    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_mono_ns();
        assert_true(now >= last);
        last = now;
    }
    assert_true(clock_wall_ms() > 1700000000000ULL);
}

static void test_errbuf_wraps_on_the_way_up(void **state)
{
    (void)state;
    struct errbuf err = {""};

    err_set(&err, "%s: %s", "key.pem", "permission denied");
    err_wrap(&err, "tls");
    err_wrap(&err, "listener %s:%d", "0.0.0.0", 443);
    assert_string_equal(err.text, "listener 0.0.0.0:443: tls: key.pem: permission denied");
    err_set(&err, "again: %s", err.text); /* an argument inside the buffer */
    assert_string_equal(err.text, "again: listener 0.0.0.0:443: tls: key.pem: permission denied");
}

static void test_errbuf_cuts_what_does_not_fit(void **state)
{
    (void)state;
    struct errbuf err;
    char text[3000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    err_set(&err, "%s", text);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    err_wrap(&err, "prefix");
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_memory_equal(err.text, "prefix: xxx", 11);
    err_wrap(&err, "%s", text);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

struct entry {
    struct list link;
    int value;
};

static void test_list_removes_twice_without_harm_and_joins(void **state)
{
    (void)state;
    struct list first;
    struct list second;
    struct entry entries[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};
    struct list *item;
    int expected = 0;

    list_init(&first);
    list_init(&second);
    list_append(&first, &second);
    assert_true(list_is_empty(&first));
    list_push_back(&first, &entries[1].link);
    list_push_front(&first, &entries[0].link);
    list_push_back(&second, &entries[2].link);
    list_push_back(&second, &entries[3].link);
    list_append(&first, &second);
    assert_true(list_is_empty(&second));
    LIST_FOREACH (item, &first) {
        assert_int_equal(LIST_ITEM(item, struct entry, link)->value, expected++);
    }
    assert_int_equal(expected, 4);
    list_remove(&entries[3].link);
    list_remove(&entries[3].link);
    assert_false(list_is_linked(&entries[3].link));
    assert_ptr_equal(list_last(&first), &entries[2].link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem_size_zero_is_a_valid_pointer),
        cmocka_unit_test(test_mem_try_fails_exactly_once_where_the_test_says),
        cmocka_unit_test(test_mem_aligned_is_aligned_and_zero),
        cmocka_unit_test(test_mem_copies_of_texts),
        cmocka_unit_test(test_clock_iso_is_utc_with_milliseconds),
        cmocka_unit_test(test_clock_iso_again_says_the_same),
        cmocka_unit_test(test_clock_monotonic_never_goes_back),
        cmocka_unit_test(test_errbuf_wraps_on_the_way_up),
        cmocka_unit_test(test_errbuf_cuts_what_does_not_fit),
        cmocka_unit_test(test_list_removes_twice_without_harm_and_joins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
