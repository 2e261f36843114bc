/* SPDX-License-Identifier: MIT */
/*
 * What OpenTelemetry's conventions for generative AI call by other names.
 *
 * Two of its measures are honest at a proxy: how long a request took and when its first content
 * came, both as seen here, path and queue included. Two are not, and are left out: the time per
 * output token, since a content event may hold several tokens, and token usage, since answers are
 * passed on without being read for their usage. The model is no label: it is the client's to
 * choose.
 */
#include "request_private.h"

#include "worker_private.h"

#define STATUS_SUCCESS_CLASS 2

static const struct {
    bool is_known;
    enum metric_operation operation;
    enum metric_provider provider;
} names[] = {
    [API_NONE] = {.is_known = false},
    [API_CHAT] = {true, METRIC_OPERATION_CHAT, METRIC_PROVIDER_OPENAI},
    [API_COMPLETIONS] = {true, METRIC_OPERATION_TEXT, METRIC_PROVIDER_OPENAI},
    [API_EMBEDDINGS] = {true, METRIC_OPERATION_EMBEDDINGS, METRIC_PROVIDER_OPENAI},
    [API_RESPONSES] = {true, METRIC_OPERATION_CHAT, METRIC_PROVIDER_OPENAI},
    [API_MESSAGES] = {true, METRIC_OPERATION_CHAT, METRIC_PROVIDER_ANTHROPIC},
};

/* An answer may begin while the request's body is still on its way: then it took no time. */
static uint64_t first_content_ns(const struct request *request)
{
    if (request->body_done_ns == 0 || request->commit_ns < request->body_done_ns) {
        return 0;
    }
    return request->commit_ns - request->body_done_ns;
}

void request_count_genai(const struct request *request, uint64_t now_ns)
{
    struct metric_block *metrics = request->worker->metrics;
    unsigned slot = (unsigned)request->served_slot;

    if (!names[request->api].is_known || request->served_slot < 0 || request->commit_ns == 0 ||
        request->status / 100 != STATUS_SUCCESS_CLASS || request->end != REQUEST_END_OK) {
        return;
    }
    metric_observe_labels_ns(metrics, METRIC_GENAI_SECONDS, slot, names[request->api].operation,
                             names[request->api].provider, now_ns - request->started_ns);
    metric_observe_labels_ns(metrics, METRIC_GENAI_TTFT, slot, names[request->api].operation,
                             names[request->api].provider, first_content_ns(request));
}
