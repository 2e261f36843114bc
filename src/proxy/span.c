/* SPDX-License-Identifier: MIT */
/*
 * A request's place in a trace: continue the client's or begin one, tell the endpoint, and hand a
 * span to trace/ at the end.
 *
 * With no collector configured this edge takes no part: traceparent and tracestate pass through as
 * they came. To begin a trace that is recorded nowhere would only mislead those behind.
 */
#include "request_private.h"

#include "client_private.h"
#include "explain_private.h"
#include "worker_private.h"

#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/trace/trace.h>

/* Ids of zeros are none; the generator gives them once in 2^64. */
static void make_id(struct worker *worker, uint8_t *out, size_t len)
{
    for (size_t at = 0; at < len; at += sizeof(uint64_t)) {
        uint64_t word = rng_next(&worker->rng) | 1;
        memcpy(out + at, &word, sizeof(word));
    }
}

/* One field and no second, which might be what somebody else goes by. */
static bool client_context(const struct http_head *head, struct trace_context *ret_context)
{
    return !http_head_repeats(head, HTTP_NAME_TRACEPARENT) &&
           trace_context_parse(http_head_value(head, HTTP_NAME_TRACEPARENT), ret_context);
}

void span_begin(struct request *request)
{
    const struct conf_tracing *conf = &request->world->conf->tracing;
    struct request_trace *trace = &request->trace;

    *trace = (struct request_trace){.takes_part = false};
    trace->has_parent = client_context(request->head, &trace->context);
    trace->known = trace->has_parent;
    if (conf->otlp_url[0] == '\0') {
        return;
    }
    trace->takes_part = true;
    if (trace->has_parent) {
        memcpy(trace->parent_id, trace->context.span_id, TRACE_SPAN_BYTES);
    } else {
        make_id(request->worker, trace->context.trace_id, TRACE_ID_BYTES);
        trace->context.sampled = rng_unit(&request->worker->rng) < conf->sample;
        trace->known = true;
    }
    make_id(request->worker, trace->context.span_id, TRACE_SPAN_BYTES);
}

bool span_field_ends(const struct request *request, const struct http_field *field)
{
    if (!request->trace.takes_part) {
        return false;
    }
    return field->id == HTTP_NAME_TRACEPARENT ||
           (!request->trace.has_parent && str_eq_nocase(field->name, STR_LIT("tracestate")));
}

void span_write_field(const struct request *request, struct buf *out)
{
    char value[TRACE_CONTEXT_LEN + 1];

    if (request->trace.takes_part) {
        trace_context_write(&request->trace.context, value);
        h1_write_field(out, STR_LIT("traceparent"), str_make(value, TRACE_CONTEXT_LEN));
    }
}

/* ---- the end ---- */

static void keep_text(char *out, size_t size, struct str text)
{
    size_t len = text.len < size ? text.len : size - 1;

    if (len > 0) {
        memcpy(out, text.ptr, len);
    }
    out[len] = '\0';
}

static void put_tries(struct trace_span *span, const struct request *request)
{
    for (const struct explain_note *note = request->explain_notes;
         note != NULL && span->attempt_count < TRACE_ATTEMPTS_MAX; note = note->next) {
        struct trace_attempt *attempt = &span->tries[span->attempt_count++];
        attempt->begun_ns = note->attempt.begun_ns;
        attempt->took_ns = note->attempt.took_ns;
        (void)addr_format(&note->attempt.addr, attempt->endpoint);
        attempt->region = metric_region_name(note->attempt.slot);
        attempt->route = route_reason_word(note->attempt.route);
        attempt->outcome = outcome_word(note->attempt.outcome);
    }
}

static void put_request(struct trace_span *span, const struct request *request, uint64_t now_ns)
{
    span->context = request->trace.context;
    memcpy(span->parent_id, request->trace.parent_id, TRACE_SPAN_BYTES);
    span->has_parent = request->trace.has_parent;
    span->known_path = request->api != API_NONE;
    span->wants_stream = request->wants_stream;
    span->took_ns = now_ns - request->started_ns;
    span->start_unix_ns = clock_wall_ms() * NS_PER_MS - span->took_ns;
    span->first_byte_ns =
        request->commit_ns > request->started_ns ? request->commit_ns - request->started_ns : 0;
    keep_text(span->method, sizeof(span->method), request->head->method_text);
    keep_text(span->path, sizeof(span->path), http_target_path(request->head->target));
    keep_text(span->request_id, sizeof(span->request_id), request->id);
    keep_text(span->model, sizeof(span->model), request->model);
    keep_text(span->endpoint, sizeof(span->endpoint), str_of(request->served_endpoint));
    span->region =
        request->served_slot < 0 ? NULL : metric_region_name((unsigned)request->served_slot);
    span->cache = request->cache_word;
    span->reason = request->reason;
    span->status = request->status;
    span->attempts = request->attempts;
}

void span_end(struct request *request, uint64_t now_ns)
{
    struct worker *worker = request->worker;
    struct trace_span *span;

    if (!request->trace.takes_part || !request->trace.context.sampled ||
        worker->deps.trace == NULL) {
        return;
    }
    span = mem_new(struct trace_span);
    put_request(span, request, now_ns);
    put_tries(span, request);
    if (!trace_put(worker->deps.trace, span)) {
        metric_inc(worker->metrics, METRIC_TRACE_SPANS, METRIC_FAILURE);
        metric_limit_hit(worker->metrics, LIMIT_TRACE_QUEUE);
    }
}
