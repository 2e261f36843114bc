/* SPDX-License-Identifier: MIT */
/* One choice of an answer, collected from the chunks of a stream. */
#ifndef NEARSIDE_CACHE_FORM_MERGE_PRIVATE_H
#define NEARSIDE_CACHE_FORM_MERGE_PRIVATE_H

#include "form_private.h"

struct merged_text {
    bool seen;      /* the member was there, perhaps as null */
    bool is_string; /* not only null */
    struct buf bytes;
};

struct merged_call {
    bool seen;
    json_t *id;   /* ref held, as those below; NULL until seen */
    json_t *type; /* */
    json_t *name; /* */
    struct buf arguments;
};

struct merged_choice {
    json_t *role; /* ref held, as those below; NULL until seen */
    json_t *finish_reason;
    json_t *logprobs;      /* ours: null, or an object of lists */
    json_t *extras;        /* object: members beside the message, carried over */
    json_t *message_nulls; /* object: members of deltas that were null and nothing else */
    struct merged_text texts[FORM_TEXT_COUNT];
    struct merged_call function_call;
    struct merged_call *tool_calls; /* owned, FORM_TOOL_CALLS_MAX; NULL until there is one */
};

/* NULL: memory was refused. */
struct merged_choice *form_choice_new(void) MUST_CHECK;
void form_choice_free(struct merged_choice *choice); /* NULL is fine */

/* One element of a chunk's `choices`. */
enum form_result form_choice_take(struct merged_choice *choice, enum api api,
                                  json_t *piece) MUST_CHECK;

/* More of a text, from a chunk that says nothing else that is new. */
enum form_result form_choice_take_text(struct merged_choice *choice, enum form_text text,
                                       const json_t *piece) MUST_CHECK;

/* The choice of a plain answer, when all of it has come. */
enum form_result form_choice_finish(const struct merged_choice *choice, enum api api, size_t index,
                                    json_t **ret_choice) MUST_CHECK;

/* ---- chunks that are the one before but for a text (form_repeat.c) ---- */

struct form_repeat {
    bool is_set;
    size_t choice_index;
    enum form_text text;
    struct str before; /* the text, with its quote; views into the stream */
    struct str behind; /* the text, with its quote */
};

/* Make `chunk`, which was taken, the pattern for those to come, if it can be. */
void form_repeat_learn(struct form_repeat *repeat, enum api api, struct str data,
                       const json_t *chunk);
/* The text of a chunk that matches the pattern (the caller's reference), or NULL. */
json_t *form_repeat_match(const struct form_repeat *repeat, struct str data) MUST_CHECK;

#endif
