/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.0 and 1.1 on the wire (RFC 9112), strict. Pure: bytes in, values out, no I/O, no
 * allocation, no logging. Views point into the caller's buffer.
 *
 * Thread: any.
 */
#ifndef NEARSIDE_HTTP_H1_H
#define NEARSIDE_HTTP_H1_H

#include <nearside/base/buf.h>
#include <nearside/http/head.h>

/* Why a message was refused: log word and reply status. */
#define H1_FAULTS(X)                                                                               \
    X(BAD_LINE, "bad_start_line", 400)                                                             \
    X(BAD_METHOD, "bad_method", 400)                                                               \
    X(BAD_TARGET, "bad_target", 400)                                                               \
    X(BAD_VERSION, "bad_version", 505)                                                             \
    X(BAD_FIELD, "bad_header", 400)                                                                \
    X(BAD_HOST, "bad_host", 400)                                                                   \
    X(BAD_LENGTH, "bad_content_length", 400)                                                       \
    X(BAD_ENCODING, "bad_transfer_encoding", 400)                                                  \
    X(BAD_FRAMING, "length_and_encoding", 400)                                                     \
    X(BAD_EXPECT, "bad_expect", 417)                                                               \
    X(TOO_LARGE, "header_too_large", 431)                                                          \
    X(TOO_MANY, "too_many_headers", 431)                                                           \
    X(URI_TOO_LONG, "uri_too_long", 414)                                                           \
    X(BAD_CHUNK, "bad_chunk", 400)                                                                 \
    X(BAD_TRAILER, "bad_trailer", 400)

enum h1_result {
    H1_COMPLETE,
    H1_NEED_MORE,
#define X(suffix, word, status) H1_##suffix,
    H1_FAULTS(X)
#undef X
        H1_RESULT_COUNT
};

const char *h1_result_word(enum h1_result result);
unsigned h1_result_status(enum h1_result result); /* the status to answer with */

#define H1_INTERIM_MAX 8 /* 1xx answers to one request, whoever asked */

struct h1_limits {
    size_t head_bytes; /* start line and fields, all of it */
    size_t uri_bytes;
    uint32_t fields; /* at most HTTP_FIELDS_MAX */
};

/* Parse a whole head at the front of `input`. H1_COMPLETE: *ret_used bytes were the head (leading
 * empty lines of a request included). H1_NEED_MORE: nothing is known yet; `input` is shorter than
 * the limits allow. The request form resolves framing, Host and Expect; the response form needs the
 * request's method for HEAD and CONNECT. *ret_head is written only on H1_COMPLETE in full, and may
 * hold rubbish otherwise.
 *
 * A request's absolute-form target is split into authority and origin form; a CONNECT target is
 * its own authority (whether to serve it is the caller's question). expect_continue is set only
 * where a body is announced. A response that no server could mean to follow with another (a body
 * until the end of the connection, or announced where HTTP knows none) has keep_alive false. */
enum h1_result h1_parse_request(struct str input, const struct h1_limits *limits,
                                struct http_head *ret_head, size_t *ret_used) MUST_CHECK;
enum h1_result h1_parse_response(struct str input, const struct h1_limits *limits,
                                 enum http_method request_method, struct http_head *ret_head,
                                 size_t *ret_used) MUST_CHECK;

/* ---- heads that come in pieces ---- */

/* What is known of a head that was not whole yet. Zero at the start of each head. */
struct h1_wait {
    size_t looked; /* of the input: no end of the head and no byte that heads cannot hold */
    size_t due;    /* at this length the head is parsed again, whatever it holds */
};

/* Is it time to parse `input`, the bytes of one head so far? Yes at first, when the end of the head
 * or a byte that no head may hold has come, when it has doubled since the last time, and at the
 * limit. So a head costs its length a few times over, into however many pieces it is cut. A fault
 * that only the grammar shows (a blank in a name) is found at one of these times, not at once. */
bool h1_wait_is_over(struct h1_wait *wait, struct str input,
                     const struct h1_limits *limits) MUST_CHECK;

/* ---- chunked bodies, incrementally ---- */

struct h1_chunked {
    unsigned char state; /* private */
    unsigned char digits;
    uint32_t line_bytes;     /* of the present size line or trailer section */
    uint64_t left;           /* of the present chunk */
    uint64_t overhead_bytes; /* framing bytes that data has not made up for; bounded */
};

void h1_chunked_init(struct h1_chunked *chunked);

/* Take some of `input`. *ret_used bytes were consumed; *ret_data is the run of body bytes among
 * them (may be empty; call again until input is used up or the answer is not H1_NEED_MORE).
 * H1_COMPLETE: the last chunk and the trailer section are over; what follows is not consumed.
 * Trailers are checked and dropped; chunk extensions too. Both out-parameters are set whatever
 * the answer; a fault is final and comes again at each later call. */
enum h1_result h1_chunked_parse(struct h1_chunked *chunked, struct str input, size_t *ret_used,
                                struct str *ret_data) MUST_CHECK;

/* ---- a whole answer, incrementally ---- */

#define H1_ANSWER_HEAD_MAX 16384

enum h1_answer_event {
    H1_ANSWER_WAIT, /* for more bytes: none is used, or only framing */
    H1_ANSWER_HEAD, /* the final head; interim ones before it are dropped, H1_INTERIM_MAX at most */
    H1_ANSWER_DATA, /* some of the body */
    H1_ANSWER_END,  /* it was whole; what follows is not consumed */
    H1_ANSWER_BAD   /* it is none, or longer than the limits */
};

struct h1_answer {
    enum http_method method; /* of the request */
    bool has_head;
    unsigned interim_count;
    struct h1_wait wait;
    enum http_body body;
    uint64_t left; /* HTTP_BODY_LENGTH */
    struct h1_chunked chunked;
};

/* For one answer that is read for its own sake, by a probe say, not passed on. */
void h1_answer_init(struct h1_answer *answer, enum http_method method);

/* The next thing in `input`, whose first *ret_used bytes are consumed with it; call again with the
 * rest until H1_ANSWER_WAIT, H1_ANSWER_END or H1_ANSWER_BAD. *ret_head is written for
 * H1_ANSWER_HEAD, *ret_data for H1_ANSWER_DATA; both view into `input`. */
enum h1_answer_event h1_answer_next(struct h1_answer *answer, struct str input,
                                    struct http_head *ret_head, struct str *ret_data,
                                    size_t *ret_used) MUST_CHECK;
/* After H1_ANSWER_WAIT: would the end of the connection make it whole? */
bool h1_answer_may_end(const struct h1_answer *answer);

/* ---- writing ---- */

#define H1_CHUNK_HEAD_LEN 20
/* Write "<hex length>\r\n" for a chunk of `len` > 0 bytes so that it ends right before `end`, where
 * at least H1_CHUNK_HEAD_LEN bytes are room; returns its first byte. The data and "\r\n" follow.
 * The last chunk is "0\r\n\r\n". */
char *h1_chunk_head(size_t len, char *end);

/* Start lines and fields; the caller ends the head with h1_write_end(). Names and values come
 * from parsed heads or from us, so they hold no CR or LF (asserted). */
void h1_write_request_line(struct buf *out, struct str method, struct str target);
void h1_write_status_line(struct buf *out, unsigned version_minor, unsigned status);
void h1_write_field(struct buf *out, struct str name, struct str value);
void h1_write_end(struct buf *out);

#endif
