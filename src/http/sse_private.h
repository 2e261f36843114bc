/* SPDX-License-Identifier: MIT */
/* What one event of a stream tells about the answer it is part of. */
#ifndef NEARSIDE_HTTP_SSE_PRIVATE_H
#define NEARSIDE_HTTP_SSE_PRIVATE_H

#include <nearside/base/str.h>

#include <stdbool.h>

struct sse_verdict {
    bool content;  /* carries a piece of the answer */
    bool finished; /* names the reason why the answer ends */
    bool failed;   /* is an error */
    bool done;     /* is the stream's last event */
};

/* `cut`: there was more data than `data` holds. */
struct sse_verdict sse_examine(struct str event_name, struct str data, bool cut);

#endif
