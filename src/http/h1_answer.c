/* SPDX-License-Identifier: MIT */
/* An answer from its first byte to its last: interim heads, the head, the body by its form. */
#include <nearside/http/h1.h>

void h1_answer_init(struct h1_answer *answer, enum http_method method)
{
    *answer = (struct h1_answer){.method = method};
}

static enum h1_answer_event next_head(struct h1_answer *answer, struct str input,
                                      struct http_head *ret_head, size_t *ret_used)
{
    static const struct h1_limits limits = {.head_bytes = H1_ANSWER_HEAD_MAX,
                                            .uri_bytes = H1_ANSWER_HEAD_MAX,
                                            .fields = HTTP_FIELDS_MAX};
    size_t used = 0;

    for (;;) {
        struct str rest = str_slice(input, used, input.len);
        enum h1_result result = H1_NEED_MORE;
        size_t head_len = 0;

        *ret_used = used;
        if (h1_wait_is_over(&answer->wait, rest, &limits)) {
            result = h1_parse_response(rest, &limits, answer->method, ret_head, &head_len);
        }
        if (result == H1_NEED_MORE) {
            return H1_ANSWER_WAIT;
        }
        answer->wait = (struct h1_wait){.looked = 0};
        if (result != H1_COMPLETE ||
            (ret_head->status < 200 && ++answer->interim_count > H1_INTERIM_MAX)) {
            return H1_ANSWER_BAD;
        }
        used += head_len;
        if (ret_head->status >= 200) {
            break;
        }
    }
    *ret_used = used;
    answer->has_head = true;
    answer->body = ret_head->body;
    answer->left = ret_head->body == HTTP_BODY_LENGTH ? ret_head->content_length : 0;
    h1_chunked_init(&answer->chunked);
    return H1_ANSWER_HEAD;
}

static enum h1_answer_event next_chunked(struct h1_answer *answer, struct str input,
                                         struct str *ret_data, size_t *ret_used)
{
    enum h1_result result;

    *ret_used = 0;
    do {
        size_t used;

        result = h1_chunked_parse(&answer->chunked, str_slice(input, *ret_used, input.len), &used,
                                  ret_data);
        *ret_used += used;
        if (ret_data->len > 0) {
            return H1_ANSWER_DATA; /* the end, if it came with it, comes again */
        }
        if (used == 0) {
            break;
        }
    } while (result == H1_NEED_MORE);
    switch (result) {
    case H1_NEED_MORE:
        return H1_ANSWER_WAIT;
    case H1_COMPLETE:
        return H1_ANSWER_END;
    default:
        return H1_ANSWER_BAD;
    }
}

static enum h1_answer_event next_data(struct h1_answer *answer, struct str input,
                                      struct str *ret_data, size_t *ret_used)
{
    size_t len = input.len;

    if (answer->body == HTTP_BODY_LENGTH && len > answer->left) {
        len = (size_t)answer->left;
    }
    *ret_data = str_slice(input, 0, len);
    *ret_used = len;
    answer->left -= answer->body == HTTP_BODY_LENGTH ? len : 0;
    return len > 0 ? H1_ANSWER_DATA : H1_ANSWER_WAIT;
}

enum h1_answer_event h1_answer_next(struct h1_answer *answer, struct str input,
                                    struct http_head *ret_head, struct str *ret_data,
                                    size_t *ret_used)
{
    *ret_used = 0;
    *ret_data = str_make("", 0);
    if (!answer->has_head) {
        return next_head(answer, input, ret_head, ret_used);
    }
    if (answer->body == HTTP_BODY_CHUNKED) {
        return next_chunked(answer, input, ret_data, ret_used);
    }
    if (answer->body == HTTP_BODY_NONE || (answer->body == HTTP_BODY_LENGTH && answer->left == 0)) {
        return H1_ANSWER_END;
    }
    return next_data(answer, input, ret_data, ret_used);
}

bool h1_answer_may_end(const struct h1_answer *answer)
{
    return answer->has_head && answer->body == HTTP_BODY_CLOSE;
}
