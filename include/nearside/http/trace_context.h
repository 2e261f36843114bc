/* SPDX-License-Identifier: MIT */
/*
 * The `traceparent` field of W3C Trace Context: whose trace a request belongs to.
 *
 *     00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
 *     version, trace, span, flags: lower-case hex
 *
 * Thread: any; nothing is kept.
 */
#ifndef NEARSIDE_HTTP_TRACE_CONTEXT_H
#define NEARSIDE_HTTP_TRACE_CONTEXT_H

#include <nearside/base/attr.h>
#include <nearside/base/str.h>

#include <stdbool.h>
#include <stdint.h>

#define TRACE_ID_BYTES    16
#define TRACE_SPAN_BYTES  8
#define TRACE_CONTEXT_LEN 55 /* of the field's value as it is written here */

struct trace_context {
    uint8_t trace_id[TRACE_ID_BYTES];
    uint8_t span_id[TRACE_SPAN_BYTES];
    bool sampled;
};

/* Strict: version ff, ids of zeros, capitals, a wrong length are no context. Of a version that is
 * not known yet the part that is like version 00 is read, as the standard asks. */
bool trace_context_parse(struct str value, struct trace_context *ret_context) MUST_CHECK;

/* The value as version 00, with a NUL. */
void trace_context_write(const struct trace_context *context, char out[TRACE_CONTEXT_LEN + 1]);

#endif
