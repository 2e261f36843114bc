/* SPDX-License-Identifier: MIT */
/* A whole answer, in one piece and in every other cut: the same head, the same body, the same end.
 */
#include <nearside/http/h1.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#define INTERIM     "HTTP/1.1 102 Processing\r\n\r\n"
#define INTERIMS_8  INTERIM INTERIM INTERIM INTERIM INTERIM INTERIM INTERIM INTERIM
#define CHUNKED_200 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static const struct {
    const char *wire;
    const char *body;
    unsigned status; /* 0: no head came */
    enum http_method method;
    enum h1_answer_event end; /* of all that is there */
    bool may_end;             /* with the connection */
    size_t left;              /* bytes that are not the answer's */
} cases[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", 200, HTTP_GET, H1_ANSWER_END, false,
     0},
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP", "ok", 200, HTTP_GET, H1_ANSWER_END,
     false, 4},
    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "ok", 200, HTTP_GET, H1_ANSWER_WAIT, false,
     0},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 200, HTTP_GET, H1_ANSWER_END, false, 0},
    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "", 200, HTTP_HEAD, H1_ANSWER_END, false, 0},
    {"HTTP/1.1 204 No Content\r\n\r\n", "", 204, HTTP_GET, H1_ANSWER_END, false, 0},
    {"HTTP/1.1 200 OK\r\n\r\nall of it", "all of it", 200, HTTP_GET, H1_ANSWER_WAIT, true, 0},
    {"HTTP/1.0 200 OK\r\n\r\n", "", 200, HTTP_GET, H1_ANSWER_WAIT, true, 0},
    {CHUNKED_200 "2\r\nok\r\n1;x=y\r\n!\r\n0\r\nT: v\r\n\r\nrest", "ok!", 200, HTTP_POST,
     H1_ANSWER_END, false, 4},
    {CHUNKED_200 "2\r\nok\r\n0\r\n", "ok", 200, HTTP_GET, H1_ANSWER_WAIT, false, 0},
    {CHUNKED_200 "2\r\nokay", "ok", 200, HTTP_GET, H1_ANSWER_BAD, false, 2},
    {INTERIM "HTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\nx", "x", 503, HTTP_GET, H1_ANSWER_END,
     false, 0},
    {INTERIMS_8 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 200, HTTP_GET, H1_ANSWER_END,
     false, 0},
    {INTERIMS_8 INTERIM, "", 0, HTTP_GET, H1_ANSWER_BAD, false, sizeof(INTERIM) - 1},
    {INTERIM, "", 0, HTTP_GET, H1_ANSWER_WAIT, false, 0},
    {"HTTP/1.1 2", "", 0, HTTP_GET, H1_ANSWER_WAIT, false, 10},
    {"", "", 0, HTTP_GET, H1_ANSWER_WAIT, false, 0},
};

struct seen {
    char body[64];
    size_t body_len;
    unsigned status;
    size_t used;
    enum h1_answer_event end;
    bool may_end;
};

static void take_what_is_there(struct h1_answer *answer, struct str input, struct seen *seen)
{
    do {
        static struct http_head head;
        struct str data;
        size_t used;

        seen->end =
            h1_answer_next(answer, str_slice(input, seen->used, input.len), &head, &data, &used);
        if (seen->end == H1_ANSWER_HEAD) {
            assert_int_equal(seen->status, 0);
            seen->status = head.status;
        }
        if (seen->end == H1_ANSWER_DATA) {
            assert_true(data.len > 0 && seen->body_len + data.len < sizeof(seen->body));
            memcpy(seen->body + seen->body_len, data.ptr, data.len);
            seen->body_len += data.len;
        } else {
            assert_int_equal(data.len, 0);
        }
        seen->used += used;
    } while (seen->end == H1_ANSWER_HEAD || seen->end == H1_ANSWER_DATA);
}

static struct seen read_in_pieces(struct str input, enum http_method method, size_t piece)
{
    struct h1_answer answer;
    struct seen seen = {.end = H1_ANSWER_WAIT};

    h1_answer_init(&answer, method);
    for (size_t there = 0; there < input.len && seen.end == H1_ANSWER_WAIT;) {
        there = there + piece < input.len ? there + piece : input.len;
        take_what_is_there(&answer, str_slice(input, 0, there), &seen);
    }
    seen.may_end = h1_answer_may_end(&answer);
    return seen;
}

static void test_answers_by_table_in_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str input = str_of(cases[i].wire);

        for (size_t piece = 1; piece <= input.len; piece++) {
            struct seen seen = read_in_pieces(input, cases[i].method, piece);

            if (seen.end != cases[i].end) {
                fail_msg("case %zu in pieces of %zu: event %d", i, piece, (int)seen.end);
            }
            assert_int_equal(seen.status, cases[i].status);
            assert_int_equal(seen.may_end, cases[i].may_end);
            assert_int_equal(input.len - seen.used, cases[i].left);
            assert_int_equal(seen.body_len, strlen(cases[i].body));
            assert_memory_equal(seen.body, cases[i].body, seen.body_len);
        }
    }
}

static void test_a_head_over_the_limit_is_none(void **state)
{
    static char wire[2 * H1_ANSWER_HEAD_MAX];
    struct seen seen;
    int len =
        snprintf(wire, sizeof(wire), "HTTP/1.1 200 OK\r\nX: %0*d\r\n\r\n", H1_ANSWER_HEAD_MAX, 7);

    (void)state;
    seen = read_in_pieces(str_make(wire, (size_t)len), HTTP_GET, 1000);
    assert_int_equal(seen.end, H1_ANSWER_BAD);
    assert_int_equal(seen.status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_by_table_in_every_cut),
        cmocka_unit_test(test_a_head_over_the_limit_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
