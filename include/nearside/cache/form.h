/* SPDX-License-Identifier: MIT */
/*
 * A stored answer in its other form: an event stream as one JSON body, or the other way round, so
 * that either kind of request can be answered from what was stored for the other.
 *
 * Exact or not at all. Only members that are known are merged or split (docs/cache-forms.md lists
 * them); one that is not known and not null makes the answer FORM_INEXACT. What is understood:
 * /v1/chat/completions and /v1/completions. Other APIs are FORM_INEXACT.
 *
 * Numbers are read as int64 or as a double, as clients read them, and written so that they read
 * back as the same; an integer that fits neither is FORM_INEXACT.
 *
 * Pure; thread: any. Work and memory are linear in the input; limits are named below.
 */
#ifndef NEARSIDE_CACHE_FORM_H
#define NEARSIDE_CACHE_FORM_H

#include <nearside/base/attr.h>
#include <nearside/base/buf.h>
#include <nearside/base/str.h>
#include <nearside/cache/api.h>

#include <stdbool.h>
#include <stddef.h>

#define FORM_DEPTH_MAX      32        /* of nested arrays and objects */
#define FORM_NODES_MAX      (1 << 18) /* JSON values in all of the input: bounds the trees' memory */
#define FORM_CHOICES_MAX    128       /* OpenAI's own bound of `n` */
#define FORM_TOOL_CALLS_MAX 128       /* of one choice */
#define FORM_PIECE_BYTES    64        /* of text in one event that we make */

/* Once in the process, before its threads: hands the JSON library its memory. Without it, memory
 * that is refused while it parses may end the process, or go unnoticed inside a text. */
void form_setup(void);

enum form_result {
    FORM_OK,
    FORM_INEXACT, /* a good answer, perhaps, but not one we can turn without guessing: a miss */
    FORM_INVALID, /* not a complete, successful answer of this API: nobody should get it */
};

struct form_wish {
    bool include_usage; /* the request's stream_options.include_usage; for streams only */
    size_t bytes_max;   /* of output; more is FORM_INEXACT */
};

/* The whole body of a stored event stream as the plain answer. It must end with [DONE], hold a
 * finish_reason for each choice, and tell its usage (a plain answer always does).
 *
 * For all three: `out` is initialised and empty; it stays empty unless FORM_OK comes back. Memory
 * that is refused is FORM_INEXACT, in `out` as well if that is of buf_init_try(). */
enum form_result form_stream_to_plain(enum api api, struct str events, const struct form_wish *wish,
                                      struct buf *out) MUST_CHECK;

/* A stored plain answer as the body of an event stream, up to and with [DONE]. With
 * `include_usage` it must tell its usage; without, usage is left out. */
enum form_result form_plain_to_stream(enum api api, struct str body, const struct form_wish *wish,
                                      struct buf *out) MUST_CHECK;

/* A stored event stream as it would have come without stream_options.include_usage: no event with
 * usage and no choices, no `usage` member in the others. Events that hold no usage stay as they
 * are, byte for byte. (The other direction does not exist: usage cannot be made up.) */
enum form_result form_stream_filter_usage(enum api api, struct str events,
                                          const struct form_wish *wish, struct buf *out) MUST_CHECK;

#endif
