/* SPDX-License-Identifier: MIT */
/* One line per request in the access stream: docs/operations.md explains every field. */
#include "request_private.h"

#include "client_private.h"
#include "worker_private.h"

#include <nearside/base/clock.h>
#include <nearside/obs/log.h>

#define ACCESS_PATH_MAX 512 /* bytes of a target that are logged */

struct line {
    struct buf *out;
    bool json;
};

/* A field's name as it stands in either kind of line, with all around it. */
struct key {
    struct str json;
    struct str text;
};
#define KEY(name)      ((struct key){STR_LIT(",\"" name "\":"), STR_LIT(" " name "=")})
#define TEXT_KEY(name) ((struct key){STR_LIT(",\"" name "\":\""), STR_LIT(" " name "=\"")})

static inline void put_key(struct line *line, struct key key)
{
    buf_append_str(line->out, line->json ? key.json : key.text);
}

/* `key` is a TEXT_KEY(). */
static void put_text(struct line *line, struct key key, struct str value)
{
    put_key(line, key);
    buf_append_json(line->out, value);
    buf_append_char(line->out, '"');
}

/* Does the parameter of a query let somebody in? Clients of some APIs send their keys there. */
static bool is_secret(struct str name)
{
    static const struct str ends[] = {
        STR_LIT("key"),      STR_LIT("token"),     STR_LIT("secret"), STR_LIT("auth"),
        STR_LIT("password"), STR_LIT("signature"), STR_LIT("sig"),    STR_LIT("credential"),
    };

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        if (name.len >= ends[i].len &&
            str_eq_nocase(str_slice(name, name.len - ends[i].len, name.len), ends[i])) {
            return true;
        }
    }
    return false;
}

/* The target, cut to ACCESS_PATH_MAX, with "***" for the values of such parameters. */
static void put_target(struct line *line, struct str target)
{
    struct str rest = str_slice(target, 0, ACCESS_PATH_MAX);
    size_t at = str_find_char(rest, '?') + 1;

    put_key(line, TEXT_KEY("path"));
    while (at < rest.len) {
        struct str query = str_slice(rest, at, rest.len);
        size_t end = str_find_char(query, '&');
        size_t equals = str_find_char(str_slice(query, 0, end), '=');
        bool is_hidden = equals < end && is_secret(str_slice(query, 0, equals));

        buf_append_json(line->out, str_slice(rest, 0, at + (is_hidden ? equals + 1 : end)));
        buf_append_str(line->out, is_hidden ? STR_LIT("***") : STR_EMPTY);
        rest = str_slice(query, end, query.len);
        at = 1;
    }
    buf_append_json(line->out, rest);
    buf_append_char(line->out, '"');
}

static void put_number(struct line *line, struct key key, uint64_t value)
{
    put_key(line, key);
    buf_append_u64(line->out, value);
}

/* Milliseconds with three digits. */
static void put_ms(struct line *line, struct key key, uint64_t from_ns, uint64_t to_ns)
{
    uint64_t us = to_ns > from_ns ? (to_ns - from_ns) / NS_PER_US : 0;

    const unsigned rest = (unsigned)(us % 1000);
    const char fraction[] = {'.', (char)('0' + rest / 100), (char)('0' + rest / 10 % 10),
                             (char)('0' + rest % 10)};

    put_key(line, key);
    buf_append_u64(line->out, us / 1000);
    buf_append(line->out, fraction, sizeof(fraction));
}

static void put_way(struct line *line, const struct request *request)
{
    const char *region =
        request->served_slot < 0
            ? (request->last_slot < 0 ? NULL : metric_region_name((unsigned)request->last_slot))
            : metric_region_name((unsigned)request->served_slot);

    put_text(line, TEXT_KEY("region"), str_of(region == NULL ? "" : region));
    put_text(line, TEXT_KEY("endpoint"), str_of(request->served_endpoint));
    put_text(line, TEXT_KEY("route"),
             str_of(request->attempts > 0 ? route_reason_word(request->choice.reason) : ""));
    put_number(line, KEY("attempts"), request->attempts);
    put_text(line, TEXT_KEY("cache"), str_of(request->cache_word));
    put_text(line, TEXT_KEY("reason"), str_of(request->reason));
    if (request->first_failure_ns != 0) {
        put_text(line, TEXT_KEY("failed"), str_of(outcome_word(request->failure)));
    }
}

static void put_times(struct line *line, const struct request *request, uint64_t now_ns)
{
    uint64_t asked_ns = request->body_done_ns != 0 ? request->body_done_ns : now_ns;

    put_ms(line, KEY("read_ms"), request->started_ns, asked_ns);
    if (request->commit_ns != 0) {
        put_ms(line, KEY("ttft_ms"), asked_ns, request->commit_ns);
    }
    put_ms(line, KEY("pending_ms"), asked_ns,
           request->commit_ns != 0 ? request->commit_ns : now_ns);
    put_ms(line, KEY("total_ms"), request->started_ns, now_ns);
}

static void put_addr(struct line *line, struct key key, const struct addr *addr)
{
    char text[ADDR_TEXT_LEN];
    const size_t len = addr_port(addr) == 0 ? addr_format_ip(addr, text) : addr_format(addr, text);

    put_text(line, key, str_make(text, len));
}

/* `from` is the client; `client->peer` may be a trusted proxy in front. */
static void begin_line(struct line *line, const struct client_conn *client, const struct addr *from)
{
    struct clock_text *now = &client->worker->access_time;

    buf_clear(line->out);
    clock_iso_again(clock_wall_ms(), now);
    buf_append_str(line->out, line->json ? STR_LIT("{\"time\":\"") : STR_EMPTY);
    buf_append(line->out, now->iso, CLOCK_ISO_LEN - 1);
    buf_append_str(line->out, line->json ? STR_LIT("\"") : STR_EMPTY);
    put_text(line, TEXT_KEY("edge"), str_of(client->world->conf->edge.id));
    put_addr(line, TEXT_KEY("client"), from);
    if (!addr_eq(from, &client->peer)) {
        put_addr(line, TEXT_KEY("peer"), &client->peer);
    }
}

static void end_line(struct line *line)
{
    buf_append_str(line->out, line->json ? STR_LIT("}\n") : STR_LIT("\n"));
    log_access_write(line->out->data + line->out->start, buf_len(line->out));
}

void access_log_refused(struct client_conn *client, unsigned status, const char *reason)
{
    struct line line = {.out = &client->worker->access_line,
                        .json = log_access_format() == LOG_FORMAT_JSON};

    if (!log_access_is_on()) {
        return;
    }
    begin_line(&line, client, &client->peer);
    put_number(&line, KEY("status"), status);
    put_text(&line, TEXT_KEY("reason"), str_of(reason));
    end_line(&line);
}

static void put_trace(struct line *line, const struct request *request)
{
    char trace_id[2 * TRACE_ID_BYTES + 1];

    if (request->trace.known) {
        str_hex(request->trace.context.trace_id, TRACE_ID_BYTES, trace_id);
        put_text(line, TEXT_KEY("trace"), str_make(trace_id, 2 * TRACE_ID_BYTES));
    }
}

/* Whatever went wrong is always written. */
static bool is_left_out(const struct request *request)
{
    double share = request->world->conf->log.access_sample;
    bool is_good = request->end == REQUEST_END_OK && request->status < 500;

    return share < 1 && is_good && rng_unit(&request->worker->rng) >= share;
}

void access_log_request(struct request *request, uint64_t now_ns)
{
    struct buf *out = &request->worker->access_line;
    struct line line = {.out = out, .json = log_access_format() == LOG_FORMAT_JSON};

    if (!log_access_is_on() || is_left_out(request)) {
        return;
    }
    begin_line(&line, request->client, &request->from);
    put_text(&line, TEXT_KEY("id"), request->id);
    put_trace(&line, request);
    put_text(&line, TEXT_KEY("method"), request->head->method_text);
    put_target(&line, request->head->target);
    put_number(&line, KEY("status"), request->status);
    if (request->model.len > 0) {
        put_text(&line, TEXT_KEY("model"), request->model);
    }
    put_key(&line, KEY("stream"));
    buf_append_str(out, request->sse != NULL || request->wants_stream ? STR_LIT("true")
                                                                      : STR_LIT("false"));
    put_way(&line, request);
    put_number(&line, KEY("bytes_in"), request->bytes_in);
    put_number(&line, KEY("bytes_out"), request->bytes_sent);
    if (request->sse != NULL) {
        put_number(&line, KEY("events"), request->sse->content_events);
    }
    put_times(&line, request, now_ns);
    end_line(&line);
}
