/* SPDX-License-Identifier: MIT */
/*
 * What the request and the response form of a head have in common: a cursor that knows what
 * running out of input means, field lines, and the questions that framing rests on.
 *
 * Steps answer H1_COMPLETE for "this part is good, go on".
 */
#ifndef NEARSIDE_HTTP_H1_PRIVATE_H
#define NEARSIDE_HTTP_H1_PRIVATE_H

#include <nearside/http/h1.h>

struct h1_cursor {
    const char *at;
    const char *end;             /* of the input, or of what the limits allow of it */
    enum h1_result out_of_input; /* H1_NEED_MORE, or H1_TOO_LARGE when the limit is used up */
};

struct h1_cursor h1_cursor_make(struct str input, const struct h1_limits *limits);

/* CR LF at the cursor; anything else is `fault`. */
enum h1_result h1_take_line_end(struct h1_cursor *cursor, enum h1_result fault) MUST_CHECK;

/* "HTTP/1.0" or "HTTP/1.1" at the cursor. */
enum h1_result h1_take_version(struct h1_cursor *cursor, unsigned *ret_minor) MUST_CHECK;

/* Field lines up to and with the empty line. */
enum h1_result h1_take_fields(struct h1_cursor *cursor, const struct h1_limits *limits,
                              struct http_head *head) MUST_CHECK;

/* Connection's options: keep_alive, upgrade, and the fields it nominates. */
enum h1_result h1_resolve_connection(struct http_head *head) MUST_CHECK;

/* Content-Length and Transfer-Encoding: the body they announce, HTTP_BODY_NONE without both. */
enum h1_result h1_resolve_framing(struct http_head *head) MUST_CHECK;

/* Is `text` a host with an optional port, fit for Host and for an authority? */
bool h1_is_authority(struct str text);

/* Sort a request's target into head->target and head->authority by its form. */
enum h1_result h1_resolve_target(struct http_head *head) MUST_CHECK;

#endif
