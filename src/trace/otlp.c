/* SPDX-License-Identifier: MIT */
/* Spans as the JSON of OTLP 1.x (opentelemetry-proto's mapping: ids in hex, 64-bit as text). */
#include "trace_private.h"

#include <nearside/conf/tree.h>

#define KIND_SERVER  2
#define STATUS_ERROR 2

/* A list of attributes, with its commas. */
struct attributes {
    struct buf *out;
    bool some;
};

static void put_key(struct attributes *list, const char *key, const char *type)
{
    buf_printf(list->out, "%s{\"key\":\"%s\",\"value\":{\"%s\":", list->some ? "," : "", key, type);
    list->some = true;
}

/* Empty and NULL are left out. */
static void put_text(struct attributes *list, const char *key, const char *value)
{
    if (value == NULL || value[0] == '\0') {
        return;
    }
    put_key(list, key, "stringValue");
    buf_append_char(list->out, '"');
    buf_append_json(list->out, str_of(value));
    buf_append_str(list->out, STR_LIT("\"}}"));
}

static void put_number(struct attributes *list, const char *key, uint64_t value)
{
    put_key(list, key, "intValue");
    buf_printf(list->out, "\"%llu\"}}", (unsigned long long)value);
}

static void put_ms(struct attributes *list, const char *key, uint64_t ns)
{
    put_key(list, key, "doubleValue");
    buf_printf(list->out, "%.3f}}", (double)ns / 1e6);
}

static void put_bool(struct attributes *list, const char *key, bool value)
{
    put_key(list, key, "boolValue");
    buf_printf(list->out, "%s}}", value ? "true" : "false");
}

void otlp_write_head(struct buf *out, const struct conf *conf)
{
    struct attributes list = {.out = out};

    buf_append_str(out, STR_LIT("{\"resourceSpans\":[{\"resource\":{\"attributes\":["));
    put_text(&list, "service.name", conf->tracing.service);
    put_text(&list, "service.version", NEARSIDE_VERSION);
    put_text(&list, "service.instance.id", conf->edge.id);
    buf_append_str(out, STR_LIT("]},\"scopeSpans\":[{\"scope\":{\"name\":\"nearside\",\"version\":"
                                "\"" NEARSIDE_VERSION "\"},\"spans\":["));
}

void otlp_write_tail(struct buf *out)
{
    buf_append_str(out, STR_LIT("]}]}]}"));
}

static void put_id(struct buf *out, const char *key, const uint8_t *bytes, size_t len)
{
    char hex[2 * TRACE_ID_BYTES + 1];

    str_hex(bytes, len, hex);
    buf_printf(out, "\"%s\":\"%s\",", key, hex);
}

static void put_name(struct buf *out, const struct trace_span *span)
{
    buf_append_str(out, STR_LIT("\"name\":\""));
    buf_append_json(out, str_of(span->method));
    if (span->known_path) { /* others are the client's choice: too many to be names */
        buf_append_char(out, ' ');
        buf_append_json(out, str_of(span->path));
    }
    buf_append_str(out, STR_LIT("\","));
}

static void put_request(struct buf *out, const struct trace_span *span)
{
    struct attributes list = {.out = out};

    put_text(&list, "http.request.method", span->method);
    put_text(&list, "url.path", span->path);
    if (span->status != 0) {
        put_number(&list, "http.response.status_code", span->status);
    }
    put_text(&list, "gen_ai.request.model", span->model);
    put_bool(&list, "nearside.stream", span->wants_stream);
    put_text(&list, "nearside.request_id", span->request_id);
    put_text(&list, "nearside.region", span->region);
    put_text(&list, "nearside.endpoint", span->endpoint);
    put_text(&list, "nearside.cache", span->cache);
    put_text(&list, "nearside.reason", span->reason);
    put_number(&list, "nearside.attempts", span->attempts);
}

static void begin_event(struct buf *out, const struct trace_span *span, const char *name,
                        uint64_t after_ns)
{
    buf_printf(out, "{\"timeUnixNano\":\"%llu\",\"name\":\"%s\",\"attributes\":[",
               (unsigned long long)(span->start_unix_ns + after_ns), name);
}

static void put_events(struct buf *out, const struct trace_span *span)
{
    for (uint32_t i = 0; i < span->attempt_count; i++) {
        const struct trace_attempt *attempt = &span->tries[i];
        struct attributes list = {.out = out};

        buf_append_str(out, i == 0 ? STR_EMPTY : STR_LIT(","));
        begin_event(out, span, "attempt", attempt->begun_ns);
        put_text(&list, "nearside.region", attempt->region);
        put_text(&list, "nearside.endpoint", attempt->endpoint);
        put_text(&list, "nearside.route", attempt->route);
        put_text(&list, "nearside.outcome", attempt->outcome);
        put_ms(&list, "nearside.duration_ms", attempt->took_ns);
        buf_append_str(out, STR_LIT("]}"));
    }
    if (span->first_byte_ns != 0) {
        buf_append_str(out, span->attempt_count == 0 ? STR_EMPTY : STR_LIT(","));
        begin_event(out, span, "first_byte", span->first_byte_ns);
        buf_append_str(out, STR_LIT("]}"));
    }
}

void otlp_write_span(struct buf *out, const struct trace_span *span)
{
    bool failed = span->status >= 500;

    buf_append_char(out, '{');
    put_id(out, "traceId", span->context.trace_id, TRACE_ID_BYTES);
    put_id(out, "spanId", span->context.span_id, TRACE_SPAN_BYTES);
    if (span->has_parent) {
        put_id(out, "parentSpanId", span->parent_id, TRACE_SPAN_BYTES);
    }
    put_name(out, span);
    buf_printf(out, "\"kind\":%d,\"startTimeUnixNano\":\"%llu\",\"endTimeUnixNano\":\"%llu\",",
               KIND_SERVER, (unsigned long long)span->start_unix_ns,
               (unsigned long long)(span->start_unix_ns + span->took_ns));
    buf_append_str(out, STR_LIT("\"attributes\":["));
    put_request(out, span);
    buf_append_str(out, STR_LIT("],\"events\":["));
    put_events(out, span);
    buf_append_str(out, STR_LIT("],\"status\":{"));
    if (failed) {
        buf_printf(out, "\"code\":%d", STATUS_ERROR);
    }
    buf_append_str(out, STR_LIT("}}"));
}
