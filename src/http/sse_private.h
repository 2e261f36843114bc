/* SPDX-License-Identifier: MIT */
/* What one event of a stream tells about the answer it is part of. */
#ifndef NEARSIDE_HTTP_SSE_PRIVATE_H
#define NEARSIDE_HTTP_SSE_PRIVATE_H

#include <nearside/base/str.h>

#include <stdbool.h>
#include <stddef.h>

struct sse_verdict {
    bool content;  /* carries a piece of the answer */
    bool finished; /* names the reason why the answer ends */
    bool failed;   /* is an error */
    bool done;     /* is the stream's last event */
    size_t
        words; /* where in the data the content's first string begins, behind its quote; 0: none */
};

/* `cut`: there was more data than `data` holds. */
struct sse_verdict sse_examine(struct str event_name, struct str data, bool cut);

/* Past the closing quote of a JSON string, or `end`. `at` is behind the opening quote. */
const char *sse_skip_string(const char *at, const char *end);

#endif
