/* SPDX-License-Identifier: MIT */
/* Names, fields and tokens of heads; the character classes under the codecs; writing heads. */
#include "http/char_class_private.h"
#include "unit/http/guard_page.h"

#include <nearside/base/buf.h>
#include <nearside/http/h1.h>
#include <nearside/http/head.h>

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct name_case {
    const char *text;
    enum http_name id;
    bool hop;
};

static const struct name_case name_cases[] = {
#define X(suffix, text, hop) {text, HTTP_NAME_##suffix, (hop) != 0},
    HTTP_NAMES(X)
#undef X
};

static void test_every_known_name_is_found_in_any_case(void **state)
{
    struct guard_page page;
    char upper[64];

    (void)state;
    guard_page_init(&page, sizeof(upper));
    for (size_t i = 0; i < ARRAY_LEN(name_cases); i++) {
        const struct str text = str_of(name_cases[i].text);

        for (size_t j = 0; j < text.len; j++) {
            upper[j] = (char)toupper((unsigned char)text.ptr[j]);
        }
        assert_int_equal(http_name_find(guard_page_put(&page, text)), name_cases[i].id);
        assert_int_equal(http_name_find(guard_page_put(&page, str_make(upper, text.len))),
                         name_cases[i].id);
        assert_int_equal(http_name_is_hop(name_cases[i].id), name_cases[i].hop);
    }
    guard_page_done(&page);
}

/* Every known name with any one letter changed, or one more or less, is another name. */
static void test_names_that_are_nearly_known_are_not(void **state)
{
    struct guard_page page;
    char near[64];

    (void)state;
    guard_page_init(&page, sizeof(near));
    for (size_t i = 0; i < ARRAY_LEN(name_cases); i++) {
        const struct str text = str_of(name_cases[i].text);

        for (size_t j = 0; j < text.len; j++) {
            memcpy(near, text.ptr, text.len);
            near[j] = '~';
            assert_int_equal(http_name_find(guard_page_put(&page, str_make(near, text.len))),
                             HTTP_NAME_OTHER);
            near[j] = '_';
            assert_int_equal(http_name_find(guard_page_put(&page, str_make(near, text.len))),
                             HTTP_NAME_OTHER);
        }
        assert_int_not_equal(
            http_name_find(guard_page_put(&page, str_make(text.ptr, text.len - 1))),
            name_cases[i].id);
        memcpy(near, text.ptr, text.len);
        near[text.len] = 'q';
        assert_int_equal(http_name_find(guard_page_put(&page, str_make(near, text.len + 1))),
                         HTTP_NAME_OTHER);
    }
    assert_int_equal(http_name_find(STR_EMPTY), HTTP_NAME_OTHER);
    guard_page_done(&page);
}

static void test_character_classes_match_the_grammar(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        const char c = (char)byte;
        const bool alnum = byte < 128 && isalnum(byte);
        const bool visible = byte > 0x20 && byte < 0x7f;

        assert_int_equal(char_is(c, CHAR_TOKEN),
                         alnum || (visible && strchr("!#$%&'*+-.^_`|~", byte) != NULL));
        assert_int_equal(char_is(c, CHAR_VALUE),
                         byte == '\t' || byte == ' ' || visible || byte >= 0x80);
        assert_int_equal(char_is(c, CHAR_TARGET), visible && byte != '#');
        assert_int_equal(char_is(c, CHAR_HOST), alnum || (visible && strchr("-._~", byte) != NULL));
        assert_int_equal(char_is(c, CHAR_HEX), byte < 128 && isxdigit(byte));
        assert_int_equal(char_is(c, CHAR_DIGIT), byte < 128 && isdigit(byte));
    }
    assert_int_equal(char_hex_value('0'), 0);
    assert_int_equal(char_hex_value('9'), 9);
    assert_int_equal(char_hex_value('a'), 10);
    assert_int_equal(char_hex_value('F'), 15);
}

static void set_field(struct http_head *head, const char *name, const char *value)
{
    const enum http_name id = http_name_find(str_of(name));

    head->fields[head->field_count++] =
        (struct http_field){.name = str_of(name), .value = str_of(value), .id = id};
    head->names_repeated |= head->names & HTTP_NAME_BIT(id);
    head->names |= HTTP_NAME_BIT(id);
}

static void test_head_finds_fields_and_tokens_over_all_lines(void **state)
{
    static struct http_head head;

    (void)state;
    head.field_count = 0;
    set_field(&head, "Cache-Control", "no-cache, max-age=3");
    set_field(&head, "X-Other", "no-store");
    set_field(&head, "cache-control", " , NO-STORE ,");
    assert_ptr_equal(http_head_find(&head, HTTP_NAME_CACHE_CONTROL), &head.fields[0]);
    assert_ptr_equal(http_head_next(&head, &head.fields[0]), &head.fields[2]);
    assert_null(http_head_next(&head, &head.fields[2]));
    assert_null(http_head_find(&head, HTTP_NAME_HOST));
    assert_int_equal(http_head_value(&head, HTTP_NAME_HOST).len, 0);
    assert_true(
        str_eq(http_head_value(&head, HTTP_NAME_CACHE_CONTROL), STR_LIT("no-cache, max-age=3")));
    assert_true(http_head_has_token(&head, HTTP_NAME_CACHE_CONTROL, STR_LIT("no-cache")));
    assert_true(http_head_has_token(&head, HTTP_NAME_CACHE_CONTROL, STR_LIT("no-store")));
    assert_false(http_head_has_token(&head, HTTP_NAME_CACHE_CONTROL, STR_LIT("no")));
    assert_false(http_head_has_token(&head, HTTP_NAME_VARY, STR_LIT("no-store")));
}

static void test_path_ends_at_the_query(void **state)
{
    (void)state;
    assert_true(str_eq(http_target_path(STR_LIT("/v1/models?a=b?c")), STR_LIT("/v1/models")));
    assert_true(str_eq(http_target_path(STR_LIT("/v1")), STR_LIT("/v1")));
    assert_true(str_eq(http_target_path(STR_LIT("/?")), STR_LIT("/")));
}

static void test_reasons_and_fault_words_are_told(void **state)
{
    (void)state;
    assert_string_equal(http_reason(200), "OK");
    assert_string_equal(http_reason(502), "Bad Gateway");
    assert_string_equal(http_reason(299), "Unknown");
    assert_string_equal(h1_result_word(H1_BAD_FRAMING), "length_and_encoding");
    assert_int_equal(h1_result_status(H1_TOO_LARGE), 431);
    assert_int_equal(h1_result_status(H1_BAD_VERSION), 505);
}

static void test_writers_make_heads_that_parse(void **state)
{
    static const struct h1_limits limits = {.head_bytes = 4096, .uri_bytes = 1024, .fields = 10};
    static struct http_head head;
    struct buf out;
    size_t used = 0;

    (void)state;
    buf_init(&out);
    h1_write_request_line(&out, STR_LIT("POST"), STR_LIT("/v1/chat"));
    h1_write_field(&out, STR_LIT("Host"), STR_LIT("a:1"));
    h1_write_field(&out, STR_LIT("X-Empty"), STR_EMPTY);
    h1_write_end(&out);
    assert_true(
        str_eq(buf_str(&out), STR_LIT("POST /v1/chat HTTP/1.1\r\nHost: a:1\r\nX-Empty: \r\n\r\n")));
    assert_int_equal(h1_parse_request(buf_str(&out), &limits, &head, &used), H1_COMPLETE);
    assert_int_equal(used, buf_len(&out));

    buf_clear(&out);
    h1_write_status_line(&out, 1, 429);
    h1_write_end(&out);
    assert_true(str_eq(buf_str(&out), STR_LIT("HTTP/1.1 429 Too Many Requests\r\n\r\n")));
    assert_int_equal(h1_parse_response(buf_str(&out), &limits, HTTP_GET, &head, &used),
                     H1_COMPLETE);
    assert_int_equal(head.status, 429);
    buf_done(&out);
}

struct chunk_head_case {
    size_t len;
    const char *text;
};

static void test_chunk_heads_are_lower_hex_without_zeros_in_front(void **state)
{
    static const struct chunk_head_case cases[] = {
        {1, "1\r\n"},    {15, "f\r\n"},      {16, "10\r\n"},
        {255, "ff\r\n"}, {4096, "1000\r\n"}, {SIZE_MAX, "ffffffffffffffff\r\n"},
    };
    char out[H1_CHUNK_HEAD_LEN];
    char *const end = out + sizeof(out);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *const at = h1_chunk_head(cases[i].len, end);
        assert_true(str_eq(str_make(at, (size_t)(end - at)), str_of(cases[i].text)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_known_name_is_found_in_any_case),
        cmocka_unit_test(test_names_that_are_nearly_known_are_not),
        cmocka_unit_test(test_character_classes_match_the_grammar),
        cmocka_unit_test(test_head_finds_fields_and_tokens_over_all_lines),
        cmocka_unit_test(test_path_ends_at_the_query),
        cmocka_unit_test(test_reasons_and_fault_words_are_told),
        cmocka_unit_test(test_writers_make_heads_that_parse),
        cmocka_unit_test(test_chunk_heads_are_lower_hex_without_zeros_in_front),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
