/* SPDX-License-Identifier: MIT */
/*
 * A passive reader of text/event-stream (the WHATWG HTML standard, 9.2.6): told every byte that
 * passes, it counts events and knows whether a stream ended as its API says it must. It never
 * changes or holds a byte.
 *
 * Tokens of one stream differ in their words alone, so an event that is like the one before costs
 * two comparisons.
 *
 * Memory: the first SSE_PEEK_MAX bytes of an event's data are kept to recognise it. What stands
 * behind them is not seen; a longer event counts as content unless its beginning says otherwise.
 *
 * Understood: chat completions and completions (OpenAI and those who speak like it), /v1/responses,
 * Anthropic's messages, and what is close to them.
 */
#ifndef NEARSIDE_HTTP_SSE_H
#define NEARSIDE_HTTP_SSE_H

#include <nearside/base/str.h>

#include <stdbool.h>
#include <stdint.h>

#define SSE_PEEK_MAX 512
#define SSE_NAME_MAX 64 /* the longest name known is 41 bytes */

struct sse {
    unsigned char state;     /* private */
    bool in_data;            /* private: inside the value of a data field */
    bool event_open;         /* private: the present event has a field */
    bool peek_cut;           /* private: the present event has more data than `peek` */
    bool like_model;         /* private: the present event's data is the model's but for words */
    bool event_has_data;     /* the present event has a data field */
    bool at_boundary;        /* between events: an event could be put in here */
    bool done;               /* a terminal event was seen: `[DONE]`, Anthropic's message_stop, or a
                                response.completed/failed/incomplete of /v1/responses */
    bool finished;           /* a non-null finish_reason (or Anthropic's stop_reason) was seen, or
                                response.completed/incomplete */
    bool failed;             /* an in-band error event was seen */
    uint64_t events;         /* complete events with data */
    uint64_t content_events; /* those that carry content (not role-only, not [DONE], not usage) */
    uint16_t model_len;      /* private: the content event that stands in `peek`, or 0: none */
    uint16_t model_head;     /* private: its bytes before its words ... */
    uint16_t model_tail;     /* private: ... and behind them */
    uint16_t peek_len;
    uint16_t name_len;
    char peek[SSE_PEEK_MAX]; /* start of the present event's data */
    char name[SSE_NAME_MAX]; /* the present event's `event:` field */
};

void sse_init(struct sse *sse);
void sse_feed(struct sse *sse, struct str bytes);

/* Does `data`, the whole data of an event of that name (may be empty), carry content? */
bool sse_data_is_content(struct str event_name, struct str data);

#endif
