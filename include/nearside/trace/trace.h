/* SPDX-License-Identifier: MIT */
/*
 * One span per request, sent to a collector: OTLP over HTTP, as JSON.
 *
 * Never in the way of a request: a worker fills in a span when the request has ended and posts it;
 * the control thread turns spans into text and sends them in batches, one at a time. At most
 * tracing.queue_spans are held, those under way included; further ones are dropped and counted.
 *
 * Thread: control, but for trace_put().
 */
#ifndef NEARSIDE_TRACE_TRACE_H
#define NEARSIDE_TRACE_TRACE_H

#include <nearside/base/addr.h>
#include <nearside/base/attr.h>
#include <nearside/http/trace_context.h>
#include <nearside/loop/loop.h>

#include <stdbool.h>
#include <stdint.h>

#define TRACE_ATTEMPTS_MAX 6
#define TRACE_METHOD_MAX   16
#define TRACE_PATH_MAX     256
#define TRACE_ID_MAX       128
#define TRACE_MODEL_MAX    64

struct conf;
struct metric_block;
struct resolver;
struct trace;

struct trace_attempt {
    uint64_t begun_ns; /* after the span's start */
    uint64_t took_ns;
    char endpoint[ADDR_TEXT_LEN];
    const char *region;  /* static; NULL: not known any more */
    const char *route;   /* static */
    const char *outcome; /* static */
};

/* What is longer than its place is cut. */
struct trace_span {
    struct loop_message message;  /* trace_put()'s */
    struct trace_context context; /* this span's */
    uint8_t parent_id[TRACE_SPAN_BYTES];
    bool has_parent;
    bool known_path;   /* one of the APIs': stands in the span's name */
    bool wants_stream; /* the client asked for one */
    uint64_t start_unix_ns;
    uint64_t took_ns;
    uint64_t first_byte_ns; /* after the start; 0: none came */
    char method[TRACE_METHOD_MAX];
    char path[TRACE_PATH_MAX]; /* without the query */
    char request_id[TRACE_ID_MAX + 1];
    char model[TRACE_MODEL_MAX];
    char endpoint[ADDR_TEXT_LEN]; /* that served; empty: none */
    const char *region;           /* static; NULL: none */
    const char *cache;            /* static words of the access log */
    const char *reason;
    unsigned status; /* 0: the client left before there was one */
    uint32_t attempts;
    uint32_t attempt_count; /* kept here */
    struct trace_attempt tries[TRACE_ATTEMPTS_MAX];
};

/* `resolver` and `metrics` outlive it. Sends nothing before trace_apply(). */
struct trace *trace_new(struct loop *loop, struct resolver *resolver, struct metric_block *metrics);
/* What is not sent is dropped. No thread may put any more, and what was put has been heard. */
void trace_free(struct trace *trace); /* NULL is fine */

/* Follow a config; takes a reference. With no tracing.otlp_url what is held is dropped, and a batch
 * that is under way is not sent again. */
void trace_apply(struct trace *trace, struct conf *conf);

/* Send a span, made with mem_new(); ownership passes. False: too many are held, it was dropped (and
 * not counted). Thread: any. */
bool trace_put(struct trace *trace, struct trace_span *span) MUST_CHECK;

#endif
