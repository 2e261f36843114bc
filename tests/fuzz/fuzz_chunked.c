/* SPDX-License-Identifier: MIT */
/* Any bytes as a chunked body: the answer must not depend on how they were split. The first byte
 * is the size of the pieces. */
#include <nearside/base/assert.h>
#include <nearside/base/buf.h>
#include <nearside/http/h1.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum h1_result feed(struct str input, size_t piece, struct buf *body, size_t *ret_used)
{
    struct h1_chunked chunked;
    enum h1_result result = H1_NEED_MORE;
    size_t at = 0;

    h1_chunked_init(&chunked);
    while (at < input.len && result == H1_NEED_MORE) {
        struct str run;
        size_t used = 0;

        result = h1_chunked_parse(&chunked, str_slice(input, at, at + piece), &used, &run);
        ASSERT(used > 0 || result != H1_NEED_MORE);
        ASSERT(used <= piece && run.len <= used);
        buf_append_str(body, run);
        at += used;
    }
    *ret_used = at;
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input;
    struct buf whole;
    struct buf parts;
    size_t used_whole = 0;
    size_t used_parts = 0;
    enum h1_result result;

    if (size < 2) {
        return 0;
    }
    input = str_make((const char *)data + 1, size - 1);
    buf_init(&whole);
    buf_init(&parts);
    result = feed(input, input.len, &whole, &used_whole);
    ASSERT(feed(input, data[0] % 64 + 1U, &parts, &used_parts) == result);
    ASSERT(str_eq(buf_str(&whole), buf_str(&parts)));
    ASSERT(result != H1_COMPLETE || used_whole == used_parts);
    buf_done(&whole);
    buf_done(&parts);
    return 0;
}
