/* SPDX-License-Identifier: MIT */
/* Any bytes as a traceparent: what is read can be written, and reads the same again. */
#include <nearside/base/assert.h>
#include <nearside/http/trace_context.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trace_context first;
    struct trace_context again;
    char out[TRACE_CONTEXT_LEN + 1];

    if (!trace_context_parse(str_make((const char *)data, size), &first)) {
        return 0;
    }
    trace_context_write(&first, out);
    ASSERT(trace_context_parse(str_make(out, TRACE_CONTEXT_LEN), &again));
    ASSERT(memcmp(first.trace_id, again.trace_id, TRACE_ID_BYTES) == 0);
    ASSERT(memcmp(first.span_id, again.span_id, TRACE_SPAN_BYTES) == 0);
    ASSERT(first.sampled == again.sampled);
    return 0;
}
