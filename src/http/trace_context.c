/* SPDX-License-Identifier: MIT */
/* traceparent: read and written. The places of its parts are fixed. */
#include <nearside/http/trace_context.h>

#define VERSION_AT 0
#define TRACE_AT   3
#define SPAN_AT    36
#define FLAGS_AT   53

#define FLAG_SAMPLED 1

static int digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(struct str value, size_t at, uint8_t *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int high = digit(value.ptr[at + 2 * i]);
        int low = digit(value.ptr[at + 2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool is_zero(const uint8_t *bytes, size_t count)
{
    uint8_t any = 0;

    for (size_t i = 0; i < count; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

static bool has_shape(struct str value)
{
    return value.len >= TRACE_CONTEXT_LEN && value.ptr[TRACE_AT - 1] == '-' &&
           value.ptr[SPAN_AT - 1] == '-' && value.ptr[FLAGS_AT - 1] == '-';
}

bool trace_context_parse(struct str value, struct trace_context *ret_context)
{
    struct trace_context context;
    uint8_t version;
    uint8_t flags;

    if (!has_shape(value) || !read_hex(value, VERSION_AT, &version, 1) ||
        !read_hex(value, TRACE_AT, context.trace_id, TRACE_ID_BYTES) ||
        !read_hex(value, SPAN_AT, context.span_id, TRACE_SPAN_BYTES) ||
        !read_hex(value, FLAGS_AT, &flags, 1)) {
        return false;
    }
    if (version == 0xff || (version == 0 && value.len != TRACE_CONTEXT_LEN) ||
        (value.len > TRACE_CONTEXT_LEN && value.ptr[TRACE_CONTEXT_LEN] != '-') ||
        is_zero(context.trace_id, TRACE_ID_BYTES) || is_zero(context.span_id, TRACE_SPAN_BYTES)) {
        return false;
    }
    context.sampled = (flags & FLAG_SAMPLED) != 0;
    *ret_context = context;
    return true;
}

void trace_context_write(const struct trace_context *context, char out[TRACE_CONTEXT_LEN + 1])
{
    memcpy(out, "00-", TRACE_AT);
    str_hex(context->trace_id, TRACE_ID_BYTES, out + TRACE_AT);
    out[SPAN_AT - 1] = '-';
    str_hex(context->span_id, TRACE_SPAN_BYTES, out + SPAN_AT);
    memcpy(out + FLAGS_AT - 1, context->sampled ? "-01" : "-00", 4);
}
