/* SPDX-License-Identifier: MIT */
/*
 * An HTTP/1.x request as the pod reads it. Written apart from src/http on purpose and strict: a
 * mistake of the proxy's writer is refused here with a reason, not understood by the same mistake.
 */
#ifndef POD_REQUEST_H
#define POD_REQUEST_H

#include <nearside/base/buf.h>
#include <nearside/base/str.h>

#define REQUEST_HEAD_MAX    ((size_t)131072)
#define REQUEST_BODY_MAX    ((size_t)67108864)
#define REQUEST_HEADERS_MAX 128

struct request_header {
    struct str name;
    struct str value;
};

enum body_step { BODY_LENGTH, BODY_SIZE, BODY_DATA, BODY_DATA_END, BODY_TRAILER, BODY_END };

struct request {
    struct buf head; /* the bytes that the views below point into */
    struct str method;
    struct str target;
    struct str path; /* target up to the `?` */
    unsigned minor;  /* HTTP/1.minor */
    struct request_header headers[REQUEST_HEADERS_MAX];
    size_t header_count;
    bool chunked;
    bool keep_alive;
    bool expects_continue;
    enum body_step step;
    uint64_t left; /* bytes to come of the body, or of the chunk */
    struct buf body;
    struct buf trailers; /* raw lines */
};

void request_init(struct request *request);
void request_done(struct request *request);
void request_clear(struct request *request); /* ready for the next one; memory kept */

/* Length of the head at the front of `in` with its empty line; 0 when it is not complete. */
size_t request_head_len(struct str in);

/* NULL, or why the head is refused. */
const char *request_parse_head(struct request *request, struct str head);

/* Move body bytes out of `in`. False with *ret_reason NULL: more is needed. */
bool request_take_body(struct request *request, struct buf *in, const char **ret_reason);

/* The value, or an empty view. */
struct str request_header_get(const struct request *request, const char *name);
bool request_header_u64(const struct request *request, const char *name, uint64_t *ret_value);

#endif
