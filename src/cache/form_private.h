/* SPDX-License-Identifier: MIT */
/* What both directions of cache/form share: reading and writing JSON, reading events, and the
 * table of members that are known. */
#ifndef NEARSIDE_CACHE_FORM_PRIVATE_H
#define NEARSIDE_CACHE_FORM_PRIVATE_H

#include <nearside/cache/form.h>

#include <jansson.h>

/* ---- JSON (form_json.c) ---- */

/* Between these, on this thread, the library may be refused its memory: who turns an answer can
 * bear that, and what the answer's size is, a peer says. Others have small trees of our own. */
void form_trees_begin(void);
void form_trees_end(void);

/* Parse an object; *nodes_left is FORM_NODES_MAX at first and counts down over all texts of one
 * answer. Members keep their order. */
enum form_result form_json_parse(struct str text, size_t *nodes_left,
                                 json_t **ret_object) MUST_CHECK;
/* The library's json_loadb(), of a text with so many values at most. NULL, and *ret_error as it
 * was: there is no room for the tree. */
json_t *form_json_load(struct str text, size_t nodes, size_t flags,
                       json_error_t *ret_error) MUST_CHECK;
void form_json_write(struct buf *out, const json_t *value);
/* Write `"name":` with `before` ("{" or ",") in front. */
void form_json_write_name(struct buf *out, char before, const char *name);
void form_json_write_text(struct buf *out, struct str text); /* with its quotes */
struct str form_json_text(const json_t *string);

/* Set a member to another holder of `value`; the text is valid UTF-8 already. FORM_INEXACT: memory
 * was refused, here or before (`object` or `value` is NULL). */
enum form_result form_json_set(json_t *object, const char *name, json_t *value) MUST_CHECK;
/* Set it if the object lacks it. */
enum form_result form_json_set_missing(json_t *object, const char *name, json_t *value) MUST_CHECK;
/* Set it to a new value, which the object then holds alone; when refused, nobody does. */
enum form_result form_json_set_new(json_t *object, const char *name, json_t *value) MUST_CHECK;

/* ---- events (form_events.c) ---- */

/* `raw`: all bytes of the event, with the comments before it and the blank line behind. `data`:
 * what it says; empty for [DONE], or comments alone. Views, valid for the call. */
typedef enum form_result (*form_event_fn)(void *arg, struct str raw, struct str data);

/* Hand over each event in turn until one is not FORM_OK. FORM_INVALID for an error event, for a
 * stream that does not end with [DONE] or goes on behind it. */
enum form_result form_each_event(struct str events, form_event_fn each, void *arg) MUST_CHECK;

/* Asked first about the data of an event that stands in one line (a view into `events`): true when
 * it needs no parsing. */
typedef bool (*form_data_fn)(void *arg, struct str data);
typedef enum form_result (*form_chunk_fn)(void *arg, json_t *chunk);

/* The same with each event that has data parsed; FORM_INVALID for what is not JSON, too. */
enum form_result form_each_chunk(struct str events, form_data_fn is_known, form_chunk_fn each,
                                 void *arg) MUST_CHECK;

/* ---- members (form_member.c) ---- */

enum form_member {
    FORM_MEMBER_UNKNOWN,
    FORM_MEMBER_FIRST,      /* the first value counts: `created` differs between chunks of some */
    FORM_MEMBER_SAME,       /* in each chunk, or in some, but never two values */
    FORM_MEMBER_LAST,       /* on the last chunk, or growing: the last value counts */
    FORM_MEMBER_CHUNK_ONLY, /* of streams only; says nothing about the answer */
    FORM_MEMBER_PLAIN_ONLY, /* its server leaves it out of streams */
};

enum form_member form_member_of_answer(const char *name); /* not object, choices, usage */
/* Of a choice, beside index, message, delta, text, logprobs and finish_reason: is it one whose
 * scalar value stands at the same place in both forms? */
bool form_member_is_choice_extra(const char *name);

/* May this value be dropped when a stream is made: the known shape of a FORM_MEMBER_PLAIN_ONLY. */
bool form_member_is_plain_only(const char *name, const json_t *value);

/* Texts that grow by concatenation, in the order in which a message holds them. */
enum form_text {
    FORM_TEXT_CONTENT, /* of a chat message; `text` of a completion */
    FORM_TEXT_REFUSAL,
    FORM_TEXT_REASONING_CONTENT,
    FORM_TEXT_REASONING,
    FORM_TEXT_COUNT
};
const char *form_text_name(enum form_text text);
enum form_text form_text_of(const char *name); /* FORM_TEXT_COUNT: none of them */

const char *form_object_plain(enum api api);
const char *form_object_chunk(enum api api);

/* `logprobs` of a choice: null, or an object that holds only lists (or null) of known names; the
 * lists of a legacy one ("tokens", "token_logprobs", ...) are equally long. */
bool form_logprobs_are_known(const json_t *logprobs);
bool form_logprobs_are_parallel(const json_t *logprobs);

#endif
