/* SPDX-License-Identifier: MIT */
/* See pages.h. */
#include "pages.h"

#include "conn.h"

#include <nearside/base/digest.h>

#include <time.h>

#define ECHO_BODY_MAX ((size_t)4096) /* longer bodies are described by length and digest only */

enum page_kind page_find(const struct conn *conn)
{
    struct str path = conn->request.path;

    if (str_eq(path, STR_LIT("/control"))) {
        return PAGE_CONTROL;
    }
    if (str_eq(path, STR_LIT("/health")) || str_eq(path, STR_LIT("/metrics"))) {
        return PAGE_PROBE;
    }
    if (str_eq(path, STR_LIT("/v1/models"))) {
        return PAGE_MODELS;
    }
    if (str_starts(path, STR_LIT("/echo"))) {
        return PAGE_ECHO;
    }
    return str_starts(path, STR_LIT("/bytes/")) ? PAGE_BYTES : PAGE_NONE;
}

static const char *error_type(unsigned status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 404:
        return "not_found_error";
    case 429:
        return "rate_limit_error";
    default:
        return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

void page_error(struct reply *reply, unsigned status, const char *message)
{
    reply->status = status;
    reply->content_type = "application/json";
    buf_clear(&reply->body);
    buf_printf(&reply->body,
               "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":%u}}",
               message, error_type(status), status);
}

static void fill_metrics(const struct pod *pod, struct buf *out)
{
    const struct pod_counters *counters = &pod->counters;
    const char *model = pod->options->model;
    const struct {
        const char *name;
        const char *type;
        double value;
    } rows[] = {
        {"vllm:num_requests_running", "gauge", (double)counters->streaming},
        {"vllm:num_requests_waiting", "gauge", (double)(counters->active - counters->streaming)},
        {"vllm:gpu_cache_usage_perc", "gauge", (double)counters->active / 100.0},
        {"vllm:kv_cache_usage_perc", "gauge", (double)counters->active / 100.0},
        {"vllm:request_success_total", "counter", (double)counters->finished},
        {"vllm:prompt_tokens_total", "counter", (double)counters->prompt_tokens},
        {"vllm:generation_tokens_total", "counter", (double)counters->generation_tokens},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_printf(out, "# TYPE %s %s\n%s{model_name=\"%s\"} %.15g\n", rows[i].name, rows[i].type,
                   rows[i].name, model, rows[i].value);
    }
}

static void member(struct buf *out, const char *name, struct str value)
{
    buf_printf(out, ",\"%s\":\"", name);
    buf_append_json(out, value);
    buf_append_char(out, '"');
}

static void echo_body(const struct request *request, struct buf *out)
{
    struct digest *digest = digest_new();
    struct str body = buf_str(&request->body);
    uint8_t sum[DIGEST_BYTES];
    char hex[2 * DIGEST_BYTES + 1];

    digest_start(digest);
    digest_add(digest, body.ptr, body.len);
    digest_finish(digest, sum);
    digest_free(digest);
    str_hex(sum, sizeof(sum), hex);
    buf_printf(out, ",\"body_length\":%zu,\"body_sha256\":\"%s\"", body.len, hex);
    if (body.len <= ECHO_BODY_MAX) {
        member(out, "body", body);
    }
    member(out, "trailers", buf_str(&request->trailers));
}

static void fill_echo(const struct conn *conn, struct buf *out)
{
    const struct request *request = &conn->request;

    buf_printf(out, "{\"pod\":\"%s\",\"connection\":%llu,\"request_on_connection\":%llu",
               conn->pod->options->name, (unsigned long long)conn->number,
               (unsigned long long)conn->requests);
    member(out, "method", request->method);
    member(out, "target", request->target);
    member(out, "path", request->path);
    buf_printf(out, ",\"version\":\"HTTP/1.%u\",\"chunked\":%s", request->minor,
               request->chunked ? "true" : "false");
    buf_append_str(out, STR_LIT(",\"headers\":["));
    for (size_t i = 0; i < request->header_count; i++) {
        buf_append_str(out, i == 0 ? STR_LIT("[\"") : STR_LIT(",[\""));
        buf_append_json(out, request->headers[i].name);
        buf_append_str(out, STR_LIT("\",\""));
        buf_append_json(out, request->headers[i].value);
        buf_append_str(out, STR_LIT("\"]"));
    }
    buf_append_char(out, ']');
    echo_body(request, out);
    buf_append_char(out, '}');
}

static void fill_bytes(struct conn *conn)
{
    struct str path = conn->request.path;
    struct reply *reply = &conn->reply;

    reply->content_type = "application/octet-stream";
    if (!str_to_u64(str_slice(path, strlen("/bytes/"), path.len), &reply->slices_left)) {
        page_error(reply, 400, "want /bytes/NUMBER");
    }
}

void page_fill(struct conn *conn, enum page_kind kind)
{
    struct reply *reply = &conn->reply;
    const struct pod_options *options = conn->pod->options;

    reply->content_type = "application/json";
    switch (kind) {
    case PAGE_CONTROL:
        control_fill(conn);
        break;
    case PAGE_PROBE:
        if (str_eq(conn->request.path, STR_LIT("/metrics"))) {
            reply->content_type = "text/plain; version=0.0.4";
            fill_metrics(conn->pod, &reply->body);
        } else {
            buf_printf(&reply->body, "{\"status\":\"ok\",\"pod\":\"%s\"}", options->name);
        }
        break;
    case PAGE_MODELS:
        buf_printf(&reply->body,
                   "{\"object\":\"list\",\"data\":[{\"id\":\"%s\",\"object\":\"model\","
                   "\"created\":1700000000,\"owned_by\":\"pod\"}]}",
                   options->model);
        break;
    case PAGE_ECHO:
        fill_echo(conn, &reply->body);
        break;
    case PAGE_BYTES:
        fill_bytes(conn);
        break;
    case PAGE_NONE:
        page_error(reply, 404, "no such path");
        break;
    }
}
