/* SPDX-License-Identifier: MIT */
/* The ends of probes, and what an answer says. Pure. */
#include "probe_end_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/attr.h>
#include <nearside/http/json_scan.h>
#include <nearside/http/sse.h>

const struct probe_end_row *probe_end_row(enum probe_end end)
{
    static const struct probe_end_row rows[PROBE_END_COUNT] = {
#define X(suffix, text, probe, judged, counted)                                                    \
    [PROBE_END_##suffix] = {.word = text,                                                          \
                            .class = PROBE_CLASS_##probe,                                          \
                            .verdict = PROBE_##judged,                                             \
                            .outcome = OUTCOME_##counted},
        PROBE_ENDS(X)
#undef X
    };

    ASSERT(end < PROBE_END_COUNT);
    return &rows[end];
}

enum probe_end probe_judge_health(const struct probe_answer *answer, unsigned expect_min,
                                  unsigned expect_max, struct str match)
{
    if (answer->status < expect_min || answer->status > expect_max) {
        return PROBE_END_STATUS;
    }
    if (match.len > 0 && str_find(answer->body, match) == answer->body.len) {
        return PROBE_END_MATCH;
    }
    return PROBE_END_OK;
}

static bool stream_has_token(struct str body)
{
    struct sse sse;

    sse_init(&sse);
    sse_feed(&sse, body);
    return !sse.failed && (sse.content_events > 0 || sse.finished || sse.done);
}

static bool is_filled_array(struct str value)
{
    struct str inside;

    if (value.len < 2 || value.ptr[0] != '[') {
        return false;
    }
    inside = str_trim(str_slice(value, 1, value.len - 1));
    return inside.len > 0;
}

/* Chat completions and completions have choices, /v1/messages content, /v1/responses output. */
static bool object_has_token(struct str body)
{
    static const struct str names[] = {{"choices", 7}, {"content", 7}, {"output", 6}};
    struct json_scan scan;

    if (json_scan(body, &scan) != JSON_SCAN_OK) {
        return false;
    }
    for (uint32_t i = 0; i < scan.member_count; i++) {
        for (size_t n = 0; n < ARRAY_LEN(names); n++) {
            if (str_eq(scan.members[i].name, names[n]) && is_filled_array(scan.members[i].value)) {
                return true;
            }
        }
    }
    return false;
}

/* A full pod works, and a request that a pod does not like (no such model, no right to ask) says
 * more about the config than about the engine. */
enum probe_end probe_judge_warmup(const struct probe_answer *answer)
{
    bool is_full = answer->status == 503 && answer->has_retry_after;

    if (is_full || (answer->status >= 400 && answer->status < 500)) {
        return PROBE_END_DECLINED;
    }
    return answer->status < 200 || answer->status > 299 ? PROBE_END_STATUS : PROBE_END_OK;
}

enum probe_end probe_judge_generate(const struct probe_answer *answer)
{
    enum probe_end end = probe_judge_warmup(answer);

    if (end != PROBE_END_OK) {
        return end;
    }
    if (answer->is_event_stream ? stream_has_token(answer->body) : object_has_token(answer->body)) {
        return PROBE_END_OK;
    }
    return PROBE_END_NO_TOKEN;
}
