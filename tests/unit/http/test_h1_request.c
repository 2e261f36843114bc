/* SPDX-License-Identifier: MIT */
/* Heads of requests: one row, one rule. "9112 3.2" is the RFC and its section. */
#include "unit/http/guard_page.h"

#include <nearside/http/h1.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define S(text)                                                                                    \
    {                                                                                              \
        "" text, sizeof(text) - 1                                                                  \
    }
#define LINE "GET / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define END  "\r\n"

static const struct h1_limits limits = {.head_bytes = 4096, .uri_bytes = 256, .fields = 20};

struct fault_case {
    const char *rule;
    struct str bytes;
    enum h1_result result;
};

static const struct fault_case fault_cases[] = {
    /* request line */
    {"9112 3: a TLS hello is no method", S("\x16\x03\x01\x02"), H1_BAD_LINE},
    {"9112 3: space before the method", S(" GET / HTTP/1.1\r\n"), H1_BAD_LINE},
    {"9112 3: no target", S("GET\r\n"), H1_BAD_LINE},
    {"9112 3: no version (HTTP/0.9)", S("GET /\r\n"), H1_BAD_LINE},
    {"9112 3: two spaces before the target", S("GET  / HTTP/1.1\r\n"), H1_BAD_LINE},
    {"9112 3: two spaces before the version", S("GET /  HTTP/1.1\r\n"), H1_BAD_LINE},
    {"9112 3: tab for a space", S("GET\t/ HTTP/1.1\r\n"), H1_BAD_METHOD},
    {"9112 3: tab after the target", S("GET /\tHTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3: space in the target", S("GET /a b HTTP/1.1\r\n"), H1_BAD_LINE},
    {"9112 3: space after the version", S("GET / HTTP/1.1 \r\n"), H1_BAD_LINE},
    {"9112 2.2: bare LF ends the line", S("GET / HTTP/1.1\nHost: a\r\n\r\n"), H1_BAD_LINE},
    {"9112 2.2: bare CR ends the line", S("GET / HTTP/1.1\rHost: a\r\n\r\n"), H1_BAD_LINE},
    {"9112 2.2: three empty lines before", S("\r\n\r\n\r\nGET /"), H1_BAD_LINE},
    {"9112 2.2: bare LF before", S("\nGET / HTTP/1.1\r\n"), H1_BAD_LINE},
    {"9112 2.2: bare CR before", S("\rGET / HTTP/1.1\r\n"), H1_BAD_LINE},
    {"9110 9.1: method is a token", S("GE(T / HTTP/1.1\r\n"), H1_BAD_METHOD},
    {"9110 9.1: NUL in the method", S("GE\0T / HTTP/1.1\r\n"), H1_BAD_METHOD},
    {"a method over 32 bytes", S("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG"), H1_BAD_METHOD},
    {"9112 2.3: version 2.0", S("GET / HTTP/2.0\r\n"), H1_BAD_VERSION},
    {"9112 2.3: version 1.2", S("GET / HTTP/1.2\r\n"), H1_BAD_VERSION},
    {"9112 2.3: version 0.9", S("GET / HTTP/0.9\r\n"), H1_BAD_VERSION},
    {"9112 2.3: HTTP/2's preface", S("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), H1_BAD_VERSION},
    {"9112 2.3: the name is upper-case", S("GET / http/1.1\r\n"), H1_BAD_LINE},
    {"9112 2.3: one digit each", S("GET / HTTP/1.10\r\n"), H1_BAD_LINE},
    {"9112 2.3: one digit each", S("GET / HTTP/11.1\r\n"), H1_BAD_LINE},
    {"9112 2.3: two numbers", S("GET / HTTP/1\r\n"), H1_BAD_LINE},
    {"9112 2.3: another protocol", S("GET / ICY/1.1\r\n"), H1_BAD_LINE},
    /* targets */
    {"9112 3.2: fragment", S("GET /a#b HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2: NUL", S("GET /a\0b HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2: control character", S("GET /a\x01 HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2: DEL", S("GET /a\x7f HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2: not ASCII", S("GET /\xc3\xa9 HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"3986 2.1: % alone", S("GET /% HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"3986 2.1: one digit", S("GET /%4 HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"3986 2.1: no hex digit", S("GET /%4g HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"3986 2.1: escaped percent, then a bad one", S("GET /%25%zz HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2.1: relative path", S("GET a HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2.4: * is for OPTIONS", S("GET * HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2.4: ** is no form", S("OPTIONS ** HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2.3: authority is for CONNECT", S("GET a:80 HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2.3: CONNECT needs a port", S("CONNECT a HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2.3: CONNECT needs a port", S("CONNECT a: HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2.3: CONNECT of a path", S("CONNECT / HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2.3: CONNECT of a URI", S("CONNECT http://a:80/ HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2.2: another scheme", S("GET ftp://a/ HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2.2: no authority", S("GET http:///x HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2.2: no slashes", S("GET http:a HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9110 4.2.4: userinfo", S("GET http://u@a/ HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9110 4.2.4: userinfo with password", S("GET http://u:p@a/ HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"query at once after the authority", S("GET http://a?b HTTP/1.1\r\n"), H1_BAD_TARGET},
    {"9112 3.2.2: disagrees with Host", S("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
     H1_BAD_HOST},
    {"9112 3.2.2: disagrees with Host's port", S("GET http://a:81/ HTTP/1.1\r\nHost: a:80\r\n\r\n"),
     H1_BAD_HOST},
    {"9112 3.2: absolute form still needs Host", S("GET http://a/ HTTP/1.1\r\n\r\n"), H1_BAD_HOST},
    /* field lines */
    {"9112 5.1: space before the colon", S(LINE "Host : a\r\n"), H1_BAD_FIELD},
    {"9112 5.1: tab before the colon", S(LINE "Host\t: a\r\n"), H1_BAD_FIELD},
    {"9112 5.2: obs-fold", S(LINE HOST "X: a\r\n b\r\n" END), H1_BAD_FIELD},
    {"9112 5.2: obs-fold with a tab", S(LINE HOST "X: a\r\n\tb\r\n" END), H1_BAD_FIELD},
    {"9112 2.2: space before the first field", S(LINE " Host: a\r\n" END), H1_BAD_FIELD},
    {"9110 5.1: empty name", S(LINE ": a\r\n"), H1_BAD_FIELD},
    {"9110 5.1: space in the name", S(LINE "A B: a\r\n"), H1_BAD_FIELD},
    {"9110 5.1: NUL in the name", S(LINE "A\0: a\r\n"), H1_BAD_FIELD},
    {"9110 5.1: parenthesis in the name", S(LINE "A(: a\r\n"), H1_BAD_FIELD},
    {"9110 5.1: not ASCII in the name", S(LINE "\xc3\xa9: a\r\n"), H1_BAD_FIELD},
    {"9112 5: no colon", S(LINE "Host a\r\n"), H1_BAD_FIELD},
    {"9112 5: no colon at all", S(LINE "Host\r\n"), H1_BAD_FIELD},
    {"9112 2.2: bare LF after a value", S(LINE "Host: a\n" END), H1_BAD_FIELD},
    {"9112 2.2: bare CR in a value", S(LINE "Host: a\rb\r\n"), H1_BAD_FIELD},
    {"9112 2.2: CR CR LF", S(LINE "Host: a\r\r\n"), H1_BAD_FIELD},
    {"9112 2.2: bare LF ends the head", S(LINE HOST "\n"), H1_BAD_FIELD},
    {"9112 2.2: CR without LF ends the head", S(LINE HOST "\rX"), H1_BAD_FIELD},
    {"9110 5.5: NUL in a value", S(LINE "X: a\0b\r\n"), H1_BAD_FIELD},
    {"9110 5.5: control character in a value", S(LINE "X: a\x08\r\n"), H1_BAD_FIELD},
    {"9110 5.5: vertical tab in a value", S(LINE "X: a\vb\r\n"), H1_BAD_FIELD},
    {"9110 5.5: DEL in a value", S(LINE "X: a\x7f\r\n"), H1_BAD_FIELD},
    /* Host */
    {"9112 3.2: no Host in 1.1", S(LINE END), H1_BAD_HOST},
    {"9112 3.2: two Hosts", S(LINE HOST HOST END), H1_BAD_HOST},
    {"9112 3.2: two Hosts in 1.0", S("GET / HTTP/1.0\r\n" HOST HOST END), H1_BAD_HOST},
    {"9110 7.2: empty Host", S(LINE "Host:\r\n" END), H1_BAD_HOST},
    {"9110 7.2: userinfo", S(LINE "Host: u@a\r\n" END), H1_BAD_HOST},
    {"9110 7.2: path", S(LINE "Host: a/b\r\n" END), H1_BAD_HOST},
    {"9110 7.2: a list", S(LINE "Host: a, b\r\n" END), H1_BAD_HOST},
    {"9110 7.2: a space", S(LINE "Host: a b\r\n" END), H1_BAD_HOST},
    {"9110 7.2: a tab", S(LINE "Host: a\tb\r\n" END), H1_BAD_HOST},
    {"9110 7.2: not ASCII", S(LINE "Host: \xc3\xa9\r\n" END), H1_BAD_HOST},
    {"9110 7.2: an escape", S(LINE "Host: a%41\r\n" END), H1_BAD_HOST},
    {"9110 7.2: only a port", S(LINE "Host: :80\r\n" END), H1_BAD_HOST},
    {"3986 3.2.3: port is digits", S(LINE "Host: a:8x\r\n" END), H1_BAD_HOST},
    {"3986 3.2.3: two ports", S(LINE "Host: a:1:2\r\n" END), H1_BAD_HOST},
    {"a port over 65535", S(LINE "Host: a:65536\r\n" END), H1_BAD_HOST},
    {"a port of six digits", S(LINE "Host: a:000080\r\n" END), H1_BAD_HOST},
    {"3986 3.2.2: IPv6 without brackets", S(LINE "Host: ::1\r\n" END), H1_BAD_HOST},
    {"3986 3.2.2: bracket not closed", S(LINE "Host: [::1\r\n" END), H1_BAD_HOST},
    {"3986 3.2.2: no address in brackets", S(LINE "Host: [a]\r\n" END), H1_BAD_HOST},
    {"3986 3.2.2: a name in brackets", S(LINE "Host: [abc]\r\n" END), H1_BAD_HOST},
    {"3986 3.2.2: IPv4 in brackets", S(LINE "Host: [10.0.0.1]\r\n" END), H1_BAD_HOST},
    {"3986 3.2.2: empty brackets", S(LINE "Host: []\r\n" END), H1_BAD_HOST},
    {"3986 3.2.2: text after brackets", S(LINE "Host: [::1]a\r\n" END), H1_BAD_HOST},
    {"6874: zone", S(LINE "Host: [fe80::1%25eth0]\r\n" END), H1_BAD_HOST},
    /* Content-Length */
    {"9112 6.3: two equal lengths", S(POST "Content-Length: 1\r\nContent-Length: 1\r\n" END),
     H1_BAD_LENGTH},
    {"9112 6.3: two lengths", S(POST "Content-Length: 1\r\nContent-Length: 2\r\n" END),
     H1_BAD_LENGTH},
    {"9112 6.3: a list of lengths", S(POST "Content-Length: 1, 1\r\n" END), H1_BAD_LENGTH},
    {"9110 5.6.3: a tab before", S(POST "Content-Length:\t1\r\n" END), H1_BAD_LENGTH},
    {"9110 5.6.3: a tab behind", S(POST "Content-Length: 1 \t\r\n" END), H1_BAD_LENGTH},
    {"9110 5.6.3: a tab beside chunked", S(POST "Transfer-Encoding: \tchunked\r\n" END),
     H1_BAD_ENCODING},
    {"9110 8.6: plus", S(POST "Content-Length: +1\r\n" END), H1_BAD_LENGTH},
    {"9110 8.6: minus", S(POST "Content-Length: -1\r\n" END), H1_BAD_LENGTH},
    {"9110 8.6: empty", S(POST "Content-Length:\r\n" END), H1_BAD_LENGTH},
    {"9110 8.6: space inside", S(POST "Content-Length: 1 0\r\n" END), H1_BAD_LENGTH},
    {"9110 8.6: hex", S(POST "Content-Length: 0x10\r\n" END), H1_BAD_LENGTH},
    {"9110 8.6: fraction", S(POST "Content-Length: 1.0\r\n" END), H1_BAD_LENGTH},
    {"9110 8.6: 2^64", S(POST "Content-Length: 18446744073709551616\r\n" END), H1_BAD_LENGTH},
    {"over 63 bits", S(POST "Content-Length: 9223372036854775808\r\n" END), H1_BAD_LENGTH},
    /* Transfer-Encoding */
    {"9112 6.3: both", S(POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n" END),
     H1_BAD_FRAMING},
    {"9112 6.3: both, the other way round",
     S(POST "transfer-encoding: chunked\r\ncontent-length: 1\r\n" END), H1_BAD_FRAMING},
    {"9112 6.3: both, one of them bad", S(POST "Content-Length: x\r\nTransfer-Encoding: x\r\n" END),
     H1_BAD_FRAMING},
    {"9112 6.1: chunked is not last", S(POST "Transfer-Encoding: chunked, gzip\r\n" END),
     H1_BAD_ENCODING},
    {"9112 6.1: another coding below", S(POST "Transfer-Encoding: gzip, chunked\r\n" END),
     H1_BAD_ENCODING},
    {"9112 6.1: identity", S(POST "Transfer-Encoding: identity\r\n" END), H1_BAD_ENCODING},
    {"9112 7.1: chunked twice", S(POST "Transfer-Encoding: chunked, chunked\r\n" END),
     H1_BAD_ENCODING},
    {"9112 7.1: chunked in two lines",
     S(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END), H1_BAD_ENCODING},
    {"9112 7: nearly chunked", S(POST "Transfer-Encoding: xchunked\r\n" END), H1_BAD_ENCODING},
    {"9112 7: quoted", S(POST "Transfer-Encoding: \"chunked\"\r\n" END), H1_BAD_ENCODING},
    {"9112 7.1: parameters", S(POST "Transfer-Encoding: chunked;a=b\r\n" END), H1_BAD_ENCODING},
    {"9112 7: vertical tab", S(POST "Transfer-Encoding:\vchunked\r\n" END), H1_BAD_FIELD},
    {"9112 7: empty", S(POST "Transfer-Encoding:\r\n" END), H1_BAD_ENCODING},
    {"9112 7: empty item", S(POST "Transfer-Encoding: chunked,\r\n" END), H1_BAD_ENCODING},
    {"9112 6.1: in HTTP/1.0", S("POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n" END),
     H1_BAD_ENCODING},
    /* Expect */
    {"9110 10.1.1: another expectation", S(POST "Expect: tea\r\n" END), H1_BAD_EXPECT},
    {"9110 10.1.1: twice", S(POST "Expect: 100-continue\r\nExpect: 100-continue\r\n" END),
     H1_BAD_EXPECT},
};

static void test_bad_requests_are_refused_with_their_reason(void **state)
{
    static struct http_head head;
    struct guard_page page;

    (void)state;
    guard_page_init(&page, limits.head_bytes);
    for (size_t i = 0; i < ARRAY_LEN(fault_cases); i++) {
        const struct str input = guard_page_put(&page, fault_cases[i].bytes);
        size_t used = 77;
        const enum h1_result result = h1_parse_request(input, &limits, &head, &used);

        if (result != fault_cases[i].result) {
            print_error("%s: %s\n", fault_cases[i].rule, h1_result_word(result));
        }
        assert_int_equal(result, fault_cases[i].result);
        assert_int_equal(used, 77);
    }
    guard_page_done(&page);
}

/* What a fault needs to be seen may come later, but nothing turns it into a good request. */
static void test_bad_requests_never_complete_at_any_cut(void **state)
{
    static struct http_head head;
    struct guard_page page;

    (void)state;
    guard_page_init(&page, limits.head_bytes);
    for (size_t i = 0; i < ARRAY_LEN(fault_cases); i++) {
        for (size_t cut = 0; cut < fault_cases[i].bytes.len; cut++) {
            const struct str input = guard_page_put(&page, str_make(fault_cases[i].bytes.ptr, cut));
            size_t used = 0;
            const enum h1_result result = h1_parse_request(input, &limits, &head, &used);

            assert_int_not_equal(result, H1_COMPLETE);
        }
    }
    guard_page_done(&page);
}

struct good_case {
    const char *rule;
    struct str bytes;
    enum http_method method;
    const char *target;
    const char *authority;
    enum http_body body;
    uint64_t length;
    unsigned minor;
    bool keep_alive;
    bool expect;
    bool upgrade;
    uint32_t fields;
};

#define GOOD .method = HTTP_GET, .target = "/", .authority = "a", .minor = 1, .keep_alive = true

static const struct good_case good_cases[] = {
    {"the least in 1.1", S(LINE HOST END), GOOD, .fields = 1},
    {"9112 3.2: 1.0 without Host", S("GET / HTTP/1.0\r\n" END), .target = "/", .authority = ""},
    {"9112 2.2: two empty lines before", S("\r\n\r\n" LINE HOST END), GOOD, .fields = 1},
    {"9112 9.3: 1.0 with keep-alive", S("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n" END),
     .target = "/", .authority = "", .keep_alive = true, .fields = 1},
    {"9112 9.3: close wins", S(LINE HOST "Connection: keep-alive, Close\r\n" END), .target = "/",
     .authority = "a", .minor = 1, .fields = 2},
    {"9112 9.6: close in the second line",
     S(LINE HOST "Connection: foo\r\nConnection: close\r\n" END), .target = "/", .authority = "a",
     .minor = 1, .fields = 3},
    {"9110 9.1: methods are tokens", S("get / HTTP/1.1\r\n" HOST END), .method = HTTP_METHOD_OTHER,
     .target = "/", .authority = "a", .minor = 1, .keep_alive = true, .fields = 1},
    {"9110 9.1: 32 bytes", S("A!#$%&'*+-.^_`|~0123456789abcdef / HTTP/1.1\r\n" HOST END),
     .method = HTTP_METHOD_OTHER, .target = "/", .authority = "a", .minor = 1, .keep_alive = true,
     .fields = 1},
    {"9110 9.3: POST", S("POST / HTTP/1.1\r\n" HOST END), .method = HTTP_POST, .target = "/",
     .authority = "a", .minor = 1, .keep_alive = true, .fields = 1},
    {"9110 9.3: DELETE", S("DELETE / HTTP/1.1\r\n" HOST END), .method = HTTP_DELETE, .target = "/",
     .authority = "a", .minor = 1, .keep_alive = true, .fields = 1},
    {"9110 9.3: HEAD", S("HEAD / HTTP/1.1\r\n" HOST END), .method = HTTP_HEAD, .target = "/",
     .authority = "a", .minor = 1, .keep_alive = true, .fields = 1},
    {"9110 9.3: PUT", S("PUT / HTTP/1.1\r\n" HOST END), .method = HTTP_PUT, .target = "/",
     .authority = "a", .minor = 1, .keep_alive = true, .fields = 1},
    {"5789: PATCH", S("PATCH / HTTP/1.1\r\n" HOST END), .method = HTTP_PATCH, .target = "/",
     .authority = "a", .minor = 1, .keep_alive = true, .fields = 1},
    {"9110 9.3: TRACE", S("TRACE / HTTP/1.1\r\n" HOST END), .method = HTTP_TRACE, .target = "/",
     .authority = "a", .minor = 1, .keep_alive = true, .fields = 1},
    {"9112 3.2.4: asterisk form", S("OPTIONS * HTTP/1.1\r\n" HOST END), .method = HTTP_OPTIONS,
     .target = "*", .authority = "a", .minor = 1, .keep_alive = true, .fields = 1},
    {"9112 3.2.3: authority form", S("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n" END),
     .method = HTTP_CONNECT, .target = "a:443", .authority = "a:443", .minor = 1,
     .keep_alive = true, .fields = 1},
    {"9112 3.2.2: absolute form", S("GET http://A:80/x?y HTTP/1.1\r\nHost: a:80\r\n" END),
     .target = "/x?y", .authority = "a:80", .minor = 1, .keep_alive = true, .fields = 1},
    {"9112 3.2.2: https in upper case", S("GET HTTPS://a/ HTTP/1.1\r\n" HOST END), GOOD,
     .fields = 1},
    {"9112 3.2.2: no path", S("GET http://a HTTP/1.1\r\n" HOST END), GOOD, .fields = 1},
    {"9112 3.2.4: OPTIONS of a server", S("OPTIONS http://a HTTP/1.1\r\n" HOST END),
     .method = HTTP_OPTIONS, .target = "*", .authority = "a", .minor = 1, .keep_alive = true,
     .fields = 1},
    {"absolute form in 1.0 without Host", S("GET http://b:1/ HTTP/1.0\r\n" END), .target = "/",
     .authority = "b:1"},
    {"3986 2.1: good escapes", S("GET /%2F%c3%A9 HTTP/1.1\r\n" HOST END), .target = "/%2F%c3%A9",
     .authority = "a", .minor = 1, .keep_alive = true, .fields = 1},
    {"raw braces in a query", S("GET /?a={\"b\":[1|2]} HTTP/1.1\r\n" HOST END),
     .target = "/?a={\"b\":[1|2]}", .authority = "a", .minor = 1, .keep_alive = true, .fields = 1},
    {"9110 7.2: IPv6 and port", S(LINE "Host: [2001:db8::1]:8080\r\n" END), .target = "/",
     .authority = "[2001:db8::1]:8080", .minor = 1, .keep_alive = true, .fields = 1},
    {"9110 7.2: IPv4-mapped", S(LINE "Host: [::ffff:10.0.0.1]\r\n" END), .target = "/",
     .authority = "[::ffff:10.0.0.1]", .minor = 1, .keep_alive = true, .fields = 1},
    {"3986 3.2.3: empty port", S(LINE "Host: a_b.c-d~e:\r\n" END), .target = "/",
     .authority = "a_b.c-d~e:", .minor = 1, .keep_alive = true, .fields = 1},
    {"9110 5.5: white space around a value", S(LINE "Host: \t a \t\r\n" END), GOOD, .fields = 1},
    {"9112 5.1: no white space", S(LINE "host:a\r\nX:\r\n" END), GOOD, .fields = 2},
    {"9110 5.5: tab and obs-text inside", S(LINE HOST "X: a\tb \x80\xff c\r\n" END), GOOD,
     .fields = 2},
    {"9110 8.6: length", S(POST "Content-Length: 42\r\n" END), .method = HTTP_POST, .target = "/",
     .authority = "a", .body = HTTP_BODY_LENGTH, .length = 42, .minor = 1, .keep_alive = true,
     .fields = 2},
    {"9110 8.6: the largest", S(POST "Content-Length: 9223372036854775807\r\n" END),
     .method = HTTP_POST, .target = "/", .authority = "a", .body = HTTP_BODY_LENGTH,
     .length = INT64_MAX, .minor = 1, .keep_alive = true, .fields = 2},
    {"9112 7.1: chunked in any case", S(POST "transfer-ENCODING: ChUnKeD \r\n" END),
     .method = HTTP_POST, .target = "/", .authority = "a", .body = HTTP_BODY_CHUNKED, .minor = 1,
     .keep_alive = true, .fields = 2},
    {"9110 10.1.1: expectation", S(POST "Expect: 100-Continue\r\nContent-Length: 1\r\n" END),
     .method = HTTP_POST, .target = "/", .authority = "a", .body = HTTP_BODY_LENGTH, .length = 1,
     .minor = 1, .keep_alive = true, .expect = true, .fields = 3},
    {"9110 10.1.1: nothing to wait for", S(POST "Expect: 100-continue\r\n" END),
     .method = HTTP_POST, .target = "/", .authority = "a", .minor = 1, .keep_alive = true,
     .fields = 2},
    {"9110 10.1.1: ignored in 1.0",
     S("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n" END), .method = HTTP_POST,
     .target = "/", .authority = "", .body = HTTP_BODY_LENGTH, .length = 1, .fields = 2},
    {"9110 7.8: upgrade", S(LINE HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n" END), GOOD,
     .upgrade = true, .fields = 3},
    {"9110 7.8: no option, no upgrade", S(LINE HOST "Upgrade: websocket\r\n" END), GOOD,
     .fields = 2},
    {"9110 7.8: no field, no upgrade", S(LINE HOST "Connection: upgrade\r\n" END), GOOD,
     .fields = 2},
    {"an SDK's request",
     S("POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept-Encoding: gzip, "
       "deflate\r\nConnection: keep-alive\r\nAccept: application/json\r\nContent-Type: "
       "application/json\r\nUser-Agent: OpenAI/Python 1.51.0\r\nX-Stainless-Lang: "
       "python\r\nAuthorization: Bearer sk-0123456789abcdef\r\nContent-Length: 118\r\n" END),
     .method = HTTP_POST, .target = "/v1/chat/completions", .authority = "127.0.0.1:8080",
     .body = HTTP_BODY_LENGTH, .length = 118, .minor = 1, .keep_alive = true, .fields = 9},
};

static void check_good(const struct good_case *row, const struct http_head *head)
{
    assert_int_equal(head->method, row->method);
    assert_true(str_eq(head->target, str_of(row->target)));
    assert_true(str_eq_nocase(head->authority, str_of(row->authority)));
    assert_int_equal(head->body, row->body);
    assert_int_equal(head->content_length, row->length);
    assert_int_equal(head->version_minor, row->minor);
    assert_int_equal(head->keep_alive, row->keep_alive);
    assert_int_equal(head->expect_continue, row->expect);
    assert_int_equal(head->upgrade, row->upgrade);
    assert_int_equal(head->field_count, row->fields);
}

static void test_good_requests_are_understood(void **state)
{
    static struct http_head head;
    struct guard_page page;

    (void)state;
    guard_page_init(&page, limits.head_bytes);
    for (size_t i = 0; i < ARRAY_LEN(good_cases); i++) {
        const struct good_case *row = &good_cases[i];
        size_t used = 0;
        const enum h1_result result =
            h1_parse_request(guard_page_put(&page, row->bytes), &limits, &head, &used);

        if (result != H1_COMPLETE) {
            print_error("%s: %s\n", row->rule, h1_result_word(result));
        }
        assert_int_equal(result, H1_COMPLETE);
        assert_int_equal(used, row->bytes.len);
        check_good(row, &head);
    }
    guard_page_done(&page);
}

static void test_good_requests_ask_for_more_at_every_cut(void **state)
{
    static struct http_head head;
    struct guard_page page;

    (void)state;
    guard_page_init(&page, limits.head_bytes);
    for (size_t i = 0; i < ARRAY_LEN(good_cases); i++) {
        for (size_t cut = 0; cut < good_cases[i].bytes.len; cut++) {
            const struct str input = guard_page_put(&page, str_make(good_cases[i].bytes.ptr, cut));
            size_t used = 0;

            assert_int_equal(h1_parse_request(input, &limits, &head, &used), H1_NEED_MORE);
        }
    }
    guard_page_done(&page);
}

static void test_bytes_after_the_head_are_left_alone(void **state)
{
    static struct http_head head;
    const struct str input = STR_LIT(LINE HOST END "\0\nrubbish");
    size_t used = 0;

    (void)state;
    assert_int_equal(h1_parse_request(input, &limits, &head, &used), H1_COMPLETE);
    assert_int_equal(used, sizeof(LINE HOST END) - 1);
}

static void test_fields_are_views_with_known_names(void **state)
{
    static struct http_head head;
    const struct str input = STR_LIT(LINE "hOST: a\r\nX-Y:  v w \r\nAUTHORIZATION: k\r\n" END);
    size_t used = 0;

    (void)state;
    assert_int_equal(h1_parse_request(input, &limits, &head, &used), H1_COMPLETE);
    assert_int_equal(head.fields[0].id, HTTP_NAME_HOST);
    assert_true(str_eq(head.fields[0].name, STR_LIT("hOST")));
    assert_int_equal(head.fields[1].id, HTTP_NAME_OTHER);
    assert_true(str_eq(head.fields[1].value, STR_LIT("v w")));
    assert_int_equal(head.fields[2].id, HTTP_NAME_AUTHORIZATION);
    assert_true(str_eq(head.method_text, STR_LIT("GET")));
    assert_in_range((uintptr_t)head.fields[1].value.ptr, (uintptr_t)input.ptr,
                    (uintptr_t)(input.ptr + input.len));
}

/* RFC 9110 7.6.1. */
static void test_connection_drops_what_it_nominates_but_never_framing(void **state)
{
    static struct http_head head;
    const struct str input =
        STR_LIT("POST / HTTP/1.1\r\nHost: a\r\nX-Hop: 1\r\nx-hop: 2\r\nX-Stay: 3\r\n"
                "Content-Length: 4\r\nAuthorization: k\r\nTraceparent: t\r\n"
                "Connection: x-HOP, content-length, host\r\n"
                "Connection: authorization, traceparent, close\r\n" END);
    static const bool dropped[] = {false, true, true, false, false, false, true, false, false};
    size_t used = 0;

    (void)state;
    assert_int_equal(h1_parse_request(input, &limits, &head, &used), H1_COMPLETE);
    assert_int_equal(head.field_count, ARRAY_LEN(dropped));
    for (size_t i = 0; i < ARRAY_LEN(dropped); i++) {
        assert_int_equal(head.fields[i].drop, dropped[i]);
    }
    assert_int_equal(head.content_length, 4);
    assert_false(head.keep_alive);
}

static void test_connection_options_are_bounded(void **state)
{
    static struct http_head head;
    char text[512];
    size_t len = 0;
    size_t used = 0;

    (void)state;
    len = (size_t)snprintf(text, sizeof(text), LINE HOST "Connection: ");
    for (unsigned i = 0; i < 33; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "o%u,", i);
    }
    len += (size_t)snprintf(text + len, sizeof(text) - len, "\r\n\r\n");
    assert_int_equal(h1_parse_request(str_make(text, len), &limits, &head, &used), H1_BAD_FIELD);
}

/* ---- limits ---- */

static void test_a_target_may_be_as_long_as_its_limit(void **state)
{
    static struct http_head head;
    char text[512];
    const size_t start = (size_t)snprintf(text, sizeof(text), "GET /");
    size_t len;
    size_t used = 0;

    (void)state;
    memset(text + start, 'x', 300);
    len = start + limits.uri_bytes - 1;
    len += (size_t)snprintf(text + len, sizeof(text) - len, " HTTP/1.1\r\n" HOST END);
    assert_int_equal(h1_parse_request(str_make(text, len), &limits, &head, &used), H1_COMPLETE);

    memset(text + start, 'x', 300);
    assert_int_equal(
        h1_parse_request(str_make(text, start + limits.uri_bytes), &limits, &head, &used),
        H1_URI_TOO_LONG);
}

static void test_a_head_may_be_as_long_as_its_limit(void **state)
{
    static struct http_head head;
    const struct str text = STR_LIT(LINE HOST "X: 0123456789\r\n" END);
    struct h1_limits tight = limits;
    size_t used = 0;

    (void)state;
    tight.head_bytes = text.len;
    assert_int_equal(h1_parse_request(text, &tight, &head, &used), H1_COMPLETE);
    tight.head_bytes = text.len - 1;
    assert_int_equal(h1_parse_request(text, &tight, &head, &used), H1_TOO_LARGE);
    assert_int_equal(h1_parse_request(str_make(text.ptr, text.len - 1), &tight, &head, &used),
                     H1_TOO_LARGE);
    assert_int_equal(h1_parse_request(str_make(text.ptr, text.len - 2), &tight, &head, &used),
                     H1_NEED_MORE);
}

static void test_fields_may_be_as_many_as_their_limit(void **state)
{
    static struct http_head head;
    const struct str text = STR_LIT(LINE HOST "A: 1\r\nB: 2\r\n" END);
    struct h1_limits tight = limits;
    size_t used = 0;

    (void)state;
    tight.fields = 3;
    assert_int_equal(h1_parse_request(text, &tight, &head, &used), H1_COMPLETE);
    tight.fields = 2;
    assert_int_equal(h1_parse_request(text, &tight, &head, &used), H1_TOO_MANY);
}

static void test_fields_never_pass_the_array(void **state)
{
    static struct http_head head;
    static char text[4096];
    const struct h1_limits wide = {.head_bytes = 65536, .uri_bytes = 256, .fields = 100000};
    size_t len = (size_t)snprintf(text, sizeof(text), LINE HOST);
    size_t used = 0;

    (void)state;
    for (unsigned i = 0; i < HTTP_FIELDS_MAX; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "A: %u\r\n", i);
    }
    len += (size_t)snprintf(text + len, sizeof(text) - len, END);
    assert_int_equal(h1_parse_request(str_make(text, len), &wide, &head, &used), H1_TOO_MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_requests_are_refused_with_their_reason),
        cmocka_unit_test(test_bad_requests_never_complete_at_any_cut),
        cmocka_unit_test(test_good_requests_are_understood),
        cmocka_unit_test(test_good_requests_ask_for_more_at_every_cut),
        cmocka_unit_test(test_bytes_after_the_head_are_left_alone),
        cmocka_unit_test(test_fields_are_views_with_known_names),
        cmocka_unit_test(test_connection_drops_what_it_nominates_but_never_framing),
        cmocka_unit_test(test_connection_options_are_bounded),
        cmocka_unit_test(test_a_target_may_be_as_long_as_its_limit),
        cmocka_unit_test(test_a_head_may_be_as_long_as_its_limit),
        cmocka_unit_test(test_fields_may_be_as_many_as_their_limit),
        cmocka_unit_test(test_fields_never_pass_the_array),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
