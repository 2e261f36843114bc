/* SPDX-License-Identifier: MIT */
/* Any bytes as an event stream: what is seen must not depend on how they were split. The first
 * byte is the size of the pieces. */
#include <nearside/base/assert.h>
#include <nearside/http/sse.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(struct sse *sse, struct str input, size_t piece)
{
    sse_init(sse);
    for (size_t at = 0; at < input.len; at += piece) {
        sse_feed(sse, str_slice(input, at, at + piece));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sse whole;
    static struct sse parts;
    struct str input;

    if (size < 2) {
        return 0;
    }
    input = str_make((const char *)data + 1, size - 1);
    feed(&whole, input, input.len);
    feed(&parts, input, data[0] % 64 + 1U);
    ASSERT(whole.events == parts.events && whole.content_events == parts.content_events);
    ASSERT(whole.done == parts.done && whole.finished == parts.finished);
    ASSERT(whole.failed == parts.failed && whole.at_boundary == parts.at_boundary);
    ASSERT(whole.content_events <= whole.events);
    /* Not the same bytes: for a line that came whole the model of the event before may stand. */
    ASSERT(whole.peek_len <= SSE_PEEK_MAX && parts.peek_len <= SSE_PEEK_MAX);
    (void)sse_data_is_content(STR_EMPTY, input);
    return 0;
}
