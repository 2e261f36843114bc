/* SPDX-License-Identifier: MIT */
/* Any bytes as a response head; the first byte chooses the request's method. */
#include <nearside/base/assert.h>
#include <nearside/http/h1.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = {.head_bytes = 2048, .uri_bytes = 512, .fields = 30};

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
