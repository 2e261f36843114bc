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

struct merged_choice *form_choice_new(void);
void form_choice_free(struct merged_choice *choice); /* NULL is fine */

/* One element of a chunk's `choices`. */
enum form_result form_choice_take(struct merged_choice *choice, enum api api,
                                  json_t *piece) MUST_CHECK;

/* The choice of a plain answer, when all of it has come. */
enum form_result form_choice_finish(const struct merged_choice *choice, enum api api, size_t index,
                                    json_t **ret_choice) MUST_CHECK;

#endif
