/* SPDX-License-Identifier: MIT */
/* Any bytes as a response head, and as a whole answer, in one piece and in several; the first byte
 * chooses the request's method and the pieces. */
#include <nearside/base/assert.h>
#include <nearside/http/h1.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = {.head_bytes = 2048, .uri_bytes = 512, .fields = 30};

struct seen {
    enum h1_answer_event end;
    unsigned status;
    size_t used;
    size_t body_len;
    uint64_t body_sum; /* of its bytes and their places */
};

static void take_what_is_there(struct h1_answer *answer, struct str input, struct seen *seen)
{
    static struct http_head head;

    do {
        struct str data;
        size_t used;

        seen->end =
            h1_answer_next(answer, str_slice(input, seen->used, input.len), &head, &data, &used);
        ASSERT(used <= input.len - seen->used && data.len <= used);
        if (seen->end == H1_ANSWER_HEAD) {
            ASSERT(seen->status == 0 && head.status >= 200);
            seen->status = head.status;
        }
        for (size_t i = 0; i < data.len; i++) {
            seen->body_sum += ++seen->body_len * (unsigned char)data.ptr[i];
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
        there = input.len - there > piece ? there + piece : input.len;
        take_what_is_there(&answer, str_slice(input, 0, there), &seen);
    }
    return seen;
}

/* A whole answer is the same one in any cut. (One that is none may be found out later.) */
static void check_answer(struct str input, enum http_method method, size_t piece)
{
    struct seen whole = read_in_pieces(input, method, input.len);
    struct seen cut = read_in_pieces(input, method, piece);

    ASSERT((whole.end == H1_ANSWER_END) == (cut.end == H1_ANSWER_END));
    if (whole.end == H1_ANSWER_END) {
        ASSERT(whole.status == cut.status && whole.used == cut.used &&
               whole.body_len == cut.body_len && whole.body_sum == cut.body_sum);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_head head;
    struct str input;
    enum http_method method;
    size_t used = 0;

    if (size == 0) {
        return 0;
    }
    method = (enum http_method)(data[0] % (HTTP_METHOD_OTHER + 1));
    input = str_make((const char *)data + 1, size - 1);
    check_answer(input, method, 1U + data[0] / (HTTP_METHOD_OTHER + 1));
    if (h1_parse_response(input, &limits, method, &head, &used) != H1_COMPLETE) {
        return 0;
    }
    ASSERT(used <= input.len && used <= limits.head_bytes);
    ASSERT(head.status >= 100 && head.status <= 599);
    ASSERT(method != HTTP_HEAD || head.body == HTTP_BODY_NONE);
    ASSERT(head.status >= 200 || head.body == HTTP_BODY_NONE);
    ASSERT(head.body != HTTP_BODY_CLOSE || !head.keep_alive);
    ASSERT(h1_parse_response(str_make(input.ptr, used - 1), &limits, method, &head, &used) ==
           H1_NEED_MORE);
    return 0;
}
