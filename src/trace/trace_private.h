/* SPDX-License-Identifier: MIT */
/*
 * The parts of tracing:
 *
 *   trace.c   the queue: batches, repetition, counting
 *   otlp.c    spans as OTLP's JSON: pure
 *   post.c    one POST to the collector
 */
#ifndef NEARSIDE_TRACE_TRACE_PRIVATE_H
#define NEARSIDE_TRACE_TRACE_PRIVATE_H

#include <nearside/base/buf.h>
#include <nearside/trace/trace.h>

struct conf;
struct post;

/* ---- otlp.c ---- */

/* A request's body is a head, spans with commas between them, and a tail. */
void otlp_write_head(struct buf *out, const struct conf *conf);
void otlp_write_span(struct buf *out, const struct trace_span *span);
void otlp_write_tail(struct buf *out);

/* ---- post.c ---- */

enum post_end {
    POST_TAKEN,   /* 2xx */
    POST_REFUSED, /* another answer: the same bytes again would get the same */
    POST_LATER,   /* 408, 429, 5xx, or no answer: worth another try */
};

/* Once per post_start(), never before it returns. `why` is for the log, valid for the call. */
typedef void (*post_done_fn)(enum post_end end, const char *why, void *arg);

struct post *post_new(struct loop *loop, struct resolver *resolver, post_done_fn done, void *arg);
void post_free(struct post *post); /* what is under way is dropped without a callback */
/* Send `body` to conf->tracing's collector: a reference to `conf` is taken, the bytes must stay
 * until the end. None may be under way. */
void post_start(struct post *post, struct conf *conf, struct str body);
bool post_is_busy(const struct post *post);

#endif
