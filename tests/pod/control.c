/* SPDX-License-Identifier: MIT */
/*
 * The control door: GET /control gives the counters, POST /control changes delays and faults while
 * the pod runs: {"fault": "cut:3", "health": true, "path_delay_ms": 40, "first_token_ms": 0,
 * "token_gap_ms": 20, "tokens": 8}. Members that are left out stay as they are.
 */
#include "conn.h"
#include "pages.h"
#include "server.h"

#include <jansson.h>

static void fill_cancellations(const struct pod *pod, struct buf *out)
{
    uint64_t count = pod->counters.cancelled;
    uint64_t kept = count < CANCELLATIONS_MAX ? count : CANCELLATIONS_MAX;

    buf_append_str(out, STR_LIT("\"cancellations\":["));
    for (uint64_t i = count - kept; i < count; i++) {
        const struct cancellation *one = &pod->cancellations[i % CANCELLATIONS_MAX];
        buf_printf(out,
                   "%s{\"request\":%llu,\"phase\":\"%s\",\"at_ms\":%llu,\"after_ms\":%llu,"
                   "\"events\":%llu}",
                   i == count - kept ? "" : ",", (unsigned long long)one->request, one->phase,
                   (unsigned long long)one->at_ms, (unsigned long long)one->after_ms,
                   (unsigned long long)one->events);
    }
    buf_append_char(out, ']');
}

static void fill_counters(const struct pod *pod, struct buf *out)
{
    const struct pod_counters *counters = &pod->counters;
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"started", counters->started},
        {"finished", counters->finished},
        {"cancelled", counters->cancelled},
        {"broken", counters->broken},
        {"active", counters->active},
        {"streaming", counters->streaming},
        {"waiting", counters->active - counters->streaming},
        {"probes", counters->probes},
        {"accepted", counters->accepted},
        {"open", counters->open},
        {"bad_requests", counters->bad_requests},
        {"path_delay_ms", pod->settings.path_delay_ms},
        {"first_token_ms", pod->settings.first_token_ms},
        {"token_gap_ms", pod->settings.token_gap_ms},
        {"tokens", pod->settings.tokens},
        {"fault_number", pod->settings.fault.number},
    };

    buf_printf(out, "{\"name\":\"%s\",\"port\":%u,\"fault\":\"%s\",", pod->options->name,
               pod->serving.port, fault_word(pod->settings.fault.kind));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_printf(out, "\"%s\":%llu,", rows[i].name, (unsigned long long)rows[i].value);
    }
    if (pod->last_bad_request != NULL) {
        buf_printf(out, "\"last_bad_request\":\"%s\",", pod->last_bad_request);
    }
    fill_cancellations(pod, out);
    buf_append_char(out, '}');
}

static void close_idle(struct pod *pod)
{
    struct list *item;
    struct list *after;

    LIST_FOREACH_SAFE (item, after, &pod->conns) {
        struct conn *conn = LIST_ITEM(item, struct conn, link);
        if (!conn->is_control && conn_is_idle(conn)) {
            conn_close(conn, false);
        }
    }
}

static bool apply_fault(struct pod *pod, const json_t *root)
{
    const json_t *text = json_object_get(root, "fault");
    struct fault fault = pod->settings.fault;
    bool was_mute = fault.kind == FAULT_MUTE;

    if (text != NULL &&
        (!json_is_string(text) || !fault_parse(str_of(json_string_value(text)), &fault))) {
        return false;
    }
    if (json_object_get(root, "health") != NULL) {
        fault.on_health = json_is_true(json_object_get(root, "health"));
    }
    pod->settings.fault = fault;
    if (fault.kind == FAULT_REFUSE) {
        listener_refuse(&pod->serving);
        close_idle(pod);
        return true;
    }
    if (fault.kind == FAULT_MUTE || was_mute) {
        close_idle(pod); /* old ones would still be heard, mute ones would stay so */
    }
    return listener_heal(&pod->serving);
}

static bool apply_delays(struct pod *pod, const json_t *root)
{
    const struct {
        const char *name;
        uint64_t *value;
    } rows[] = {
        {"path_delay_ms", &pod->settings.path_delay_ms},
        {"first_token_ms", &pod->settings.first_token_ms},
        {"token_gap_ms", &pod->settings.token_gap_ms},
        {"tokens", &pod->settings.tokens},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const json_t *value = json_object_get(root, rows[i].name);
        if (value == NULL) {
            continue;
        }
        if (!json_is_integer(value) || json_integer_value(value) < 0) {
            return false;
        }
        *rows[i].value = (uint64_t)json_integer_value(value);
    }
    return true;
}

void control_fill(struct conn *conn)
{
    struct pod *pod = conn->pod;
    struct reply *reply = &conn->reply;
    struct str body = buf_str(&conn->request.body);

    if (str_eq(conn->request.method, STR_LIT("POST"))) {
        json_t *root = json_loadb(body.ptr, body.len, 0, NULL);
        bool is_fine = json_is_object(root) && apply_delays(pod, root) && apply_fault(pod, root);
        json_decref(root);
        if (!is_fine) {
            page_error(reply, 400, "cannot do that; see tests/pod/control.c");
            return;
        }
    }
    fill_counters(pod, &reply->body);
}
