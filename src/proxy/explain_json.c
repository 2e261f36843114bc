/* SPDX-License-Identifier: MIT */
/* An explanation as JSON, for GET /explain. */
#include <nearside/proxy/explain.h>

#include <nearside/base/buf.h>
#include <nearside/base/clock.h>

/* Members are separated by whoever comes second: `first` is gone after one. */
static void text_member(struct buf *out, const char *key, struct str value)
{
    buf_printf(out, "\"%s\":\"", key);
    buf_append_json(out, value);
    buf_append_str(out, STR_LIT("\","));
}

static void ms_member(struct buf *out, const char *key, uint64_t ns)
{
    buf_printf(out, "\"%s\":%llu.%03llu,", key, (unsigned long long)(ns / NS_PER_MS),
               (unsigned long long)(ns / NS_PER_US % 1000));
}

static void bool_member(struct buf *out, const char *key, bool value)
{
    buf_printf(out, "\"%s\":%s,", key, value ? "true" : "false");
}

/* Replace the last comma. */
static void close_with(struct buf *out, char bracket)
{
    ((char *)buf_tail(out))[-1] = bracket;
}

static struct str slot_name(unsigned slot)
{
    const char *name = metric_region_name(slot);

    return str_of(name == NULL ? "" : name);
}

static void put_candidate(struct buf *out, const struct explain_region *region)
{
    const char *state =
        region->drained ? "drained" : region_state_word((enum region_state)region->state);

    buf_append_char(out, '{');
    text_member(out, "region", slot_name(region->slot));
    text_member(out, "verdict", str_of(route_verdict_word((enum route_verdict)region->verdict)));
    text_member(out, "why", str_of(route_verdict_why((enum route_verdict)region->verdict)));
    text_member(out, "state", str_of(state));
    if (region->latency_known) {
        buf_printf(out, "\"path_latency_ms\":%.3f,", (double)region->latency_ms);
    } else {
        buf_append_str(out, STR_LIT("\"path_latency_ms\":null,"));
    }
    buf_printf(out, "\"cost_ms\":%.3f,\"weight\":%.3f,", (double)region->cost_ms,
               (double)region->weight);
    bool_member(out, "near", region->near);
    bool_member(out, "home", region->home);
    close_with(out, '}');
}

static void put_attempt(struct buf *out, const struct explain_attempt *attempt)
{
    char address[ADDR_TEXT_LEN];
    size_t len = addr_format(&attempt->addr, address);

    buf_append_char(out, '{');
    text_member(out, "region", slot_name(attempt->slot));
    text_member(out, "endpoint", str_make(address, len));
    text_member(out, "route", str_of(route_reason_word((enum route_reason)attempt->route)));
    text_member(out, "outcome", str_of(outcome_word((enum outcome)attempt->outcome)));
    ms_member(out, "begun_ms", attempt->begun_ns);
    ms_member(out, "took_ms", attempt->took_ns);
    close_with(out, '}');
}

static void put_route(struct buf *out, const struct explain_record *record)
{
    if (!record->routed) {
        buf_append_str(out, STR_LIT("\"route\":null,"));
        return;
    }
    buf_append_str(out, STR_LIT("\"route\":{"));
    text_member(out, "reason", str_of(route_reason_word((enum route_reason)record->route)));
    if (record->chosen_slot < 0) {
        buf_append_str(out, STR_LIT("\"region\":null,"));
    } else {
        text_member(out, "region", slot_name((unsigned)record->chosen_slot));
    }
    close_with(out, '}');
    buf_append_char(out, ',');
}

static void put_times(struct buf *out, const struct explain_record *record)
{
    buf_append_str(out, STR_LIT("\"times\":{"));
    ms_member(out, "read_ms", record->read_ns);
    if (record->ttft_ns > 0) {
        ms_member(out, "ttft_ms", record->ttft_ns);
    } else {
        buf_append_str(out, STR_LIT("\"ttft_ms\":null,"));
    }
    ms_member(out, "waited_ms", record->waited_ns);
    ms_member(out, "total_ms", record->total_ns);
    close_with(out, '}');
    buf_append_char(out, ',');
}

static void put_candidates(struct buf *out, const struct explain_record *record)
{
    buf_append_str(out, STR_LIT("\"candidates\":["));
    for (unsigned i = 0; i < record->region_count; i++) {
        if (i > 0) {
            buf_append_char(out, ',');
        }
        put_candidate(out, &record->candidates[i]);
    }
    buf_printf(out, "],\"candidates_left_out\":%u,", record->regions - record->region_count);
}

static void put_attempts(struct buf *out, const struct explain_record *record)
{
    buf_append_str(out, STR_LIT("\"attempts\":["));
    for (unsigned i = 0; i < record->attempt_count; i++) {
        if (i > 0) {
            buf_append_char(out, ',');
        }
        put_attempt(out, &record->tries[i]);
    }
    buf_printf(out, "],\"attempts_left_out\":%u,", record->attempts - record->attempt_count);
}

void explain_write_json(const struct explain_record *record, struct buf *out)
{
    char time[CLOCK_ISO_LEN];

    clock_iso(record->started_wall_ms, time);
    buf_append_char(out, '{');
    text_member(out, "id", str_make(record->id, record->id_len));
    text_member(out, "time", str_of(time));
    buf_printf(out, "\"status\":%u,", (unsigned)record->status);
    text_member(out, "reason", str_of(record->reason));
    text_member(out, "model", str_make(record->model, record->model_len));
    text_member(out, "cache", str_of(record->cache));
    put_route(out, record);
    put_candidates(out, record);
    put_attempts(out, record);
    put_times(out, record);
    close_with(out, '}');
    buf_append_char(out, '\n');
}
