/* SPDX-License-Identifier: MIT */
/* Writing the events of a plain answer. */
#ifndef NEARSIDE_CACHE_FORM_SPLIT_PRIVATE_H
#define NEARSIDE_CACHE_FORM_SPLIT_PRIVATE_H

#include "form_private.h"

struct form_split {
    enum api api;
    struct buf *out;
    size_t bytes_max;
    struct buf head;  /* `data: {"id":...,"choices":[`, the same for each event */
    struct buf nulls; /* `,"prompt_logprobs":null`: for the first event */
    struct buf last;  /* `,"timings":{...}`: for the last event */
    bool usage_is_wished;
    bool is_first_event;
};

/* Begin an event: everything up to the inside of `choices`. */
void form_event_begin(struct form_split *split);
/* End it. False: the output has grown past its bound, or memory was refused. `is_last`: no event
 * with JSON follows. */
bool form_event_end(struct form_split *split, bool is_last) MUST_CHECK;

enum form_result form_choice_check(const struct form_split *split, size_t index,
                                   json_t *choice) MUST_CHECK;

/* The first events of a chat answer: roles. */
enum form_result form_choice_begin(struct form_split *split, size_t index,
                                   json_t *choice) MUST_CHECK;
/* Its texts, tool calls and end. */
enum form_result form_choice_split(struct form_split *split, size_t index, json_t *choice,
                                   bool is_last) MUST_CHECK;

#endif
