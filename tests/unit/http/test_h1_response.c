/* SPDX-License-Identifier: MIT */
/* Heads of responses: one row, one rule. "9112 6.3" is the RFC and its section. */
#include "unit/http/guard_page.h"

#include <nearside/http/h1.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define S(text)                                                                                    \
    {                                                                                              \
        "" text, sizeof(text) - 1                                                                  \
    }
#define OK  "HTTP/1.1 200 OK\r\n"
#define END "\r\n"

static const struct h1_limits limits = {.head_bytes = 2048, .uri_bytes = 256, .fields = 20};

struct fault_case {
    const char *rule;
    struct str bytes;
    enum h1_result result;
};

static const struct fault_case fault_cases[] = {
    {"9112 4: not HTTP", S("SSH-2.0-OpenSSH_9.2\r\n"), H1_BAD_LINE},
    {"9112 4: an empty line before", S("\r\nHTTP/1.1 200 OK\r\n"), H1_BAD_LINE},
    {"9112 4: a body from the exchange before", S("{}HTTP/1.1 200 OK\r\n"), H1_BAD_LINE},
    {"9112 4: another protocol", S("ICY 200 OK\r\n"), H1_BAD_LINE},
    {"9112 2.3: version 2.0", S("HTTP/2.0 200 OK\r\n"), H1_BAD_VERSION},
    {"9112 2.3: version 1.2", S("HTTP/1.2 200 OK\r\n"), H1_BAD_VERSION},
    {"9112 4: no status", S("HTTP/1.1\r\n"), H1_BAD_LINE},
    {"9112 4: two spaces", S("HTTP/1.1  200 OK\r\n"), H1_BAD_LINE},
    {"9112 4: two digits", S("HTTP/1.1 20 OK\r\n"), H1_BAD_LINE},
    {"9112 4: four digits", S("HTTP/1.1 2000 OK\r\n"), H1_BAD_LINE},
    {"9112 4: a letter", S("HTTP/1.1 2x0 OK\r\n"), H1_BAD_LINE},
    {"9112 4: a sign", S("HTTP/1.1 +20 OK\r\n"), H1_BAD_LINE},
    {"9110 15: under 100", S("HTTP/1.1 099 OK\r\n"), H1_BAD_LINE},
    {"9110 15: over 599", S("HTTP/1.1 600 OK\r\n"), H1_BAD_LINE},
    {"9112 4: tab before the reason", S("HTTP/1.1 200\tOK\r\n"), H1_BAD_LINE},
    {"9112 4: control in the reason", S("HTTP/1.1 200 O\x01K\r\n"), H1_BAD_LINE},
    {"9112 4: NUL in the reason", S("HTTP/1.1 200 O\0K\r\n"), H1_BAD_LINE},
    {"9112 2.2: bare LF", S("HTTP/1.1 200 OK\nA: b\r\n"), H1_BAD_LINE},
    {"9112 2.2: bare CR", S("HTTP/1.1 200 OK\rA: b\r\n"), H1_BAD_LINE},
    {"9112 5.1: space before the colon", S(OK "A : b\r\n"), H1_BAD_FIELD},
    {"9112 5.2: obs-fold", S(OK "A: b\r\n c\r\n"), H1_BAD_FIELD},
    {"9110 5.5: NUL in a value", S(OK "A: b\0\r\n"), H1_BAD_FIELD},
    {"9112 6.3: both", S(OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n" END),
     H1_BAD_FRAMING},
    {"9112 6.3: two lengths", S(OK "Content-Length: 1\r\nContent-Length: 1\r\n" END),
     H1_BAD_LENGTH},
    {"9112 6.3: a list of lengths", S(OK "Content-Length: 1,1\r\n" END), H1_BAD_LENGTH},
    {"9110 8.6: sign", S(OK "Content-Length: +1\r\n" END), H1_BAD_LENGTH},
    {"9112 6.1: gzip as transfer coding", S(OK "Transfer-Encoding: gzip\r\n" END), H1_BAD_ENCODING},
    {"9112 6.1: gzip under chunked", S(OK "Transfer-Encoding: gzip, chunked\r\n" END),
     H1_BAD_ENCODING},
    {"9112 6.1: chunked in 1.0", S("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n" END),
     H1_BAD_ENCODING},
};

static void test_bad_responses_are_refused_with_their_reason(void **state)
{
    static struct http_head head;
    struct guard_page page;

    (void)state;
    guard_page_init(&page, limits.head_bytes);
    for (size_t i = 0; i < ARRAY_LEN(fault_cases); i++) {
        const struct str input = guard_page_put(&page, fault_cases[i].bytes);
        size_t used = 77;
        const enum h1_result result = h1_parse_response(input, &limits, HTTP_POST, &head, &used);

        if (result != fault_cases[i].result) {
            print_error("%s: %s\n", fault_cases[i].rule, h1_result_word(result));
        }
        assert_int_equal(result, fault_cases[i].result);
        assert_int_equal(used, 77);
    }
    guard_page_done(&page);
}

struct good_case {
    const char *rule;
    struct str bytes;
    enum http_method request;
    unsigned status;
    enum http_body body;
    uint64_t length;
    bool keep_alive;
    const char *reason;
};

static const struct good_case good_cases[] = {
    {"9112 6.3: length", S(OK "Content-Length: 5\r\n" END), HTTP_GET, 200, HTTP_BODY_LENGTH, 5,
     true, "OK"},
    {"9112 6.3: length 0", S(OK "content-length: 0\r\n" END), HTTP_GET, 200, HTTP_BODY_LENGTH, 0,
     true, "OK"},
    {"9112 6.3: chunked", S(OK "transfer-encoding: Chunked\r\n" END), HTTP_GET, 200,
     HTTP_BODY_CHUNKED, 0, true, "OK"},
    {"9112 6.3: until the end", S(OK END), HTTP_GET, 200, HTTP_BODY_CLOSE, 0, false, "OK"},
    {"9112 6.3: until the end, 1.0", S("HTTP/1.0 200 OK\r\n" END), HTTP_GET, 200, HTTP_BODY_CLOSE,
     0, false, "OK"},
    {"9112 9.3: 1.0 with keep-alive",
     S("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n" END), HTTP_GET, 200,
     HTTP_BODY_LENGTH, 1, true, "OK"},
    {"9112 9.3: 1.0", S("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n" END), HTTP_GET, 200,
     HTTP_BODY_LENGTH, 1, false, "OK"},
    {"9112 9.6: close", S(OK "Connection: close\r\nContent-Length: 1\r\n" END), HTTP_GET, 200,
     HTTP_BODY_LENGTH, 1, false, "OK"},
    {"9112 6.3: 204", S("HTTP/1.1 204 No Content\r\n" END), HTTP_GET, 204, HTTP_BODY_NONE, 0, true,
     "No Content"},
    {"9110 8.6: 204 with a length is not trusted",
     S("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n" END), HTTP_GET, 204, HTTP_BODY_NONE, 0,
     false, "No Content"},
    {"9112 6.1: 204 with chunks is not trusted",
     S("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n" END), HTTP_GET, 204,
     HTTP_BODY_NONE, 0, false, "No Content"},
    {"9110 8.6: 304 may tell a length", S("HTTP/1.1 304 x\r\nContent-Length: 5\r\n" END), HTTP_GET,
     304, HTTP_BODY_NONE, 0, true, "x"},
    {"9112 6.3: HEAD", S(OK "Content-Length: 5\r\n" END), HTTP_HEAD, 200, HTTP_BODY_NONE, 0, true,
     "OK"},
    {"9112 6.3: HEAD, chunked", S(OK "Transfer-Encoding: chunked\r\n" END), HTTP_HEAD, 200,
     HTTP_BODY_NONE, 0, true, "OK"},
    {"9112 6.3: HEAD, nothing told", S(OK END), HTTP_HEAD, 200, HTTP_BODY_NONE, 0, true, "OK"},
    {"9112 6.3: CONNECT 2xx", S(OK END), HTTP_CONNECT, 200, HTTP_BODY_NONE, 0, true, "OK"},
    {"9112 6.3: CONNECT refused", S("HTTP/1.1 407 x\r\nContent-Length: 2\r\n" END), HTTP_CONNECT,
     407, HTTP_BODY_LENGTH, 2, true, "x"},
    {"9110 15.2: 100", S("HTTP/1.1 100 Continue\r\n" END), HTTP_POST, 100, HTTP_BODY_NONE, 0, true,
     "Continue"},
    {"8297: 103 with fields", S("HTTP/1.1 103 Early Hints\r\nLink: x\r\n" END), HTTP_POST, 103,
     HTTP_BODY_NONE, 0, true, "Early Hints"},
    {"9112 4: empty reason", S("HTTP/1.1 200 \r\nContent-Length: 1\r\n" END), HTTP_GET, 200,
     HTTP_BODY_LENGTH, 1, true, ""},
    {"no space before no reason", S("HTTP/1.1 200\r\nContent-Length: 1\r\n" END), HTTP_GET, 200,
     HTTP_BODY_LENGTH, 1, true, ""},
    {"9112 4: reason of obs-text and tabs",
     S("HTTP/1.1 599 \xc3\xa9\t!\r\nContent-Length: 1\r\n" END), HTTP_GET, 599, HTTP_BODY_LENGTH, 1,
     true, "\xc3\xa9\t!"},
};

static void test_good_responses_are_understood(void **state)
{
    static struct http_head head;
    struct guard_page page;

    (void)state;
    guard_page_init(&page, limits.head_bytes);
    for (size_t i = 0; i < ARRAY_LEN(good_cases); i++) {
        const struct good_case *row = &good_cases[i];
        size_t used = 0;
        const enum h1_result result = h1_parse_response(guard_page_put(&page, row->bytes), &limits,
                                                        row->request, &head, &used);

        if (result != H1_COMPLETE) {
            print_error("%s: %s\n", row->rule, h1_result_word(result));
        }
        assert_int_equal(result, H1_COMPLETE);
        assert_int_equal(used, row->bytes.len);
        assert_int_equal(head.status, row->status);
        assert_int_equal(head.body, row->body);
        assert_int_equal(head.content_length, row->length);
        assert_int_equal(head.keep_alive, row->keep_alive);
        assert_true(str_eq(head.reason, str_of(row->reason)));
    }
    guard_page_done(&page);
}

static void test_good_responses_ask_for_more_at_every_cut(void **state)
{
    static struct http_head head;
    struct guard_page page;

    (void)state;
    guard_page_init(&page, limits.head_bytes);
    for (size_t i = 0; i < ARRAY_LEN(good_cases); i++) {
        for (size_t cut = 0; cut < good_cases[i].bytes.len; cut++) {
            const struct str input = guard_page_put(&page, str_make(good_cases[i].bytes.ptr, cut));
            size_t used = 0;

            assert_int_equal(h1_parse_response(input, &limits, good_cases[i].request, &head, &used),
                             H1_NEED_MORE);
        }
    }
    guard_page_done(&page);
}

static void test_bad_responses_never_complete_at_any_cut(void **state)
{
    static struct http_head head;
    struct guard_page page;

    (void)state;
    guard_page_init(&page, limits.head_bytes);
    for (size_t i = 0; i < ARRAY_LEN(fault_cases); i++) {
        for (size_t cut = 0; cut < fault_cases[i].bytes.len; cut++) {
            const struct str input = guard_page_put(&page, str_make(fault_cases[i].bytes.ptr, cut));
            size_t used = 0;

            assert_int_not_equal(h1_parse_response(input, &limits, HTTP_GET, &head, &used),
                                 H1_COMPLETE);
        }
    }
    guard_page_done(&page);
}

static void test_an_endless_response_head_is_refused(void **state)
{
    static struct http_head head;
    static char text[4096];
    size_t used = 0;

    (void)state;
    memset(text, 'x', sizeof(text));
    memcpy(text, OK "A: ", sizeof(OK "A: ") - 1);
    assert_int_equal(
        h1_parse_response(str_make(text, limits.head_bytes - 1), &limits, HTTP_GET, &head, &used),
        H1_NEED_MORE);
    assert_int_equal(
        h1_parse_response(str_make(text, limits.head_bytes), &limits, HTTP_GET, &head, &used),
        H1_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_responses_are_refused_with_their_reason),
        cmocka_unit_test(test_bad_responses_never_complete_at_any_cut),
        cmocka_unit_test(test_good_responses_are_understood),
        cmocka_unit_test(test_good_responses_ask_for_more_at_every_cut),
        cmocka_unit_test(test_an_endless_response_head_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
