/* SPDX-License-Identifier: MIT */
/*
 * The tables of keys, one per group. To add a key: a member in conf/tree.h, a row here.
 *
 * A row's macro checks the member's type at compile time. Ranges are wide enough for anything
 * sane and narrow enough that a slip of three zeros is found.
 */
#include "schema_private.h"
#include "url_private.h"

#include <nearside/base/str.h>
#include <nearside/conf/tree.h>

/* The offset of a member, if it has the type the row says; else it does not compile. */
#define AT(type, group, member)                                                                    \
    _Generic(((struct group *)0)->member, type : offsetof(struct group, member))

#define BOOL(group, member, fallback, ...)                                                         \
    {                                                                                              \
        .name = #member, .type = CONF_BOOL, .offset = AT(bool, group, member),                     \
        .number = (fallback), .unit = "", .help = __VA_ARGS__                                      \
    }

#define U32(group, member, fallback, minimum, maximum, unit_word, ...)                             \
    {                                                                                              \
        .name = #member, .type = CONF_U32, .offset = AT(uint32_t, group, member),                  \
        .number = (fallback), .low = (minimum), .high = (maximum), .unit = unit_word,              \
        .help = __VA_ARGS__                                                                        \
    }

#define U64(group, member, fallback, minimum, maximum, unit_word, ...)                             \
    {                                                                                              \
        .name = #member, .type = CONF_U64, .offset = AT(uint64_t, group, member),                  \
        .number = (fallback), .low = (minimum), .high = (maximum), .unit = unit_word,              \
        .help = __VA_ARGS__                                                                        \
    }

#define REAL(group, member, fallback, minimum, maximum, unit_word, ...)                            \
    {                                                                                              \
        .name = #member, .type = CONF_REAL, .offset = AT(double, group, member),                   \
        .real = (fallback), .real_low = (minimum), .real_high = (maximum), .unit = unit_word,      \
        .help = __VA_ARGS__                                                                        \
    }

#define STRING(kind, key, group, member, fallback, ...)                                            \
    {                                                                                              \
        .name = key, .type = kind, .offset = AT(const char *, group, member), .text = fallback,    \
        .unit = "", .help = __VA_ARGS__                                                            \
    }

#define CHOICE(group, member, enumeration, list, ...)                                              \
    {                                                                                              \
        .name = #member, .type = CONF_CHOICE, .offset = AT(enumeration, group, member),            \
        .words = list, .unit = "", .help = __VA_ARGS__                                             \
    }

#define BLOCKS(group, member, ...)                                                                 \
    {                                                                                              \
        .name = #member, .type = CONF_BLOCKS, .offset = AT(struct conf_blocks, group, member),     \
        .unit = "", .help = __VA_ARGS__                                                            \
    }

#define GROUP(kind, group, member, rows, ...)                                                      \
    {                                                                                              \
        .name = #member, .type = kind, .offset = offsetof(struct group, member), .table = &rows,   \
        .unit = "", .help = __VA_ARGS__                                                            \
    }

/* Keys with readers of their own have no offset. */
#define SPECIAL(kind, key, rows, ...)                                                              \
    {                                                                                              \
        .name = key, .type = kind, .table = rows, .unit = "", .help = __VA_ARGS__                  \
    }

#define TABLE(variable, title, rows, text)                                                         \
    const struct conf_table variable = {                                                           \
        .name = title, .help = text, .keys = rows, .key_count = ARRAY_LEN(rows)}

#define HOUR_MS  3600000U
#define DAY_MS   86400000U
#define KIB      1024ULL
#define MIB      (1024ULL * KIB)
#define GIB      (1024ULL * MIB)
#define TIB      (1024ULL * GIB)
#define TEXT_MAX 1024  /* bytes of a path, a model's name */
#define BODY_MAX 65536 /* bytes of a prompt */

/* clang-format off */
static const char *const level_words[]   = {"error", "warn", "info", "debug", NULL};
static const char *const format_words[]  = {"json", "text", NULL};
static const char *const balance_words[] = {"least_pending", "round_robin", NULL};
static const char *const when_words[]    = {"always", "deterministic", "never", NULL};
static const char *const share_words[]   = {"key", "all", NULL};
static const char *const replicate_words[] = {"region", "all", NULL};
static const char *const version_words[] = {"1.2", "1.3", NULL};
/* clang-format on */

bool conf_name_is_good(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > CONF_NAME_LEN_MAX) {
        return false;
    }
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

static bool edge_id_is_good(const char *text)
{
    return text[0] == '\0' || conf_name_is_good(text);
}

static bool request_path_is_good(const char *text)
{
    if (text[0] != '/' || strlen(text) > TEXT_MAX) {
        return false;
    }
    for (const char *at = text; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~' || *at == '#') {
            return false;
        }
    }
    return true;
}

static bool page_path_is_good(const char *text)
{
    return text[0] == '\0' || request_path_is_good(text);
}

static bool header_name_is_good(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len <= CONF_TENANT_HEADER_MAX &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == len;
}

static bool text_is_short(const char *text)
{
    return strlen(text) <= TEXT_MAX;
}

static bool body_is_short(const char *text)
{
    return strlen(text) <= BODY_MAX;
}

static bool server_name_is_good(const char *text)
{
    return text[0] == '\0' || conf_host_is_good(str_of(text));
}

static bool status_is_good(uint64_t status)
{
    return status >= 100 && status <= 599;
}

bool conf_expect_parse(const char *text, uint16_t *ret_min, uint16_t *ret_max)
{
    struct str whole = str_of(text);
    size_t dash = str_find_char(whole, '-');
    uint64_t low;
    uint64_t high;

    if (!str_to_u64(str_slice(whole, 0, dash), &low)) {
        return false;
    }
    high = low;
    if (dash < whole.len && !str_to_u64(str_slice(whole, dash + 1, whole.len), &high)) {
        return false;
    }
    if (!status_is_good(low) || !status_is_good(high) || low > high) {
        return false;
    }
    *ret_min = (uint16_t)low;
    *ret_max = (uint16_t)high;
    return true;
}

static bool expect_is_good(const char *text)
{
    uint16_t low;
    uint16_t high;

    return conf_expect_parse(text, &low, &high);
}

#define NAME_ALLOWED "1 to 63 characters of A-Z a-z 0-9 . _ -"

/* clang-format off */
static const struct conf_key edge_keys[] = {
    { .name = "id", .type = CONF_TEXT, .change = CONF_LIVE,
      .offset = AT(const char *, conf_edge, id), .text = "", .accepts = edge_id_is_good,
      .allowed = NAME_ALLOWED ", or \"\" for the host's name", .unit = "",
      .help = "Name of this edge in shared health, logs and the status page. "
              "\"\": the host's name." },
    U32(conf_edge, workers, 0, 0, CONF_WORKERS_MAX, "threads",
        "Worker threads. 0: one per CPU this process may run on.", .change = CONF_RESTART),
    U32(conf_edge, drain_timeout_s, 30, 0, 86400, "s",
        "On SIGTERM, and after an upgrade, how long requests in flight may take to finish."),
    STRING(CONF_TEXT, "user", conf_edge, user, "",
           "User to become once the ports are bound and the certificates are read. Files that a "
           "reload reads, and log files, must be open to it. \"\": stay as started.",
           .change = CONF_RESTART, .accepts = text_is_short,
           .allowed = "a name or a number, at most 1024 bytes"),
    STRING(CONF_TEXT, "group", conf_edge, group, "", "Group to become. \"\": the user's own.",
           .change = CONF_RESTART, .accepts = text_is_short,
           .allowed = "a name or a number, at most 1024 bytes"),
    BOOL(conf_edge, core_dumps, false,
         "Let a crash leave a core file and a debugger attach: it holds keys and prompts.",
         .change = CONF_RESTART),
    U32(conf_edge, upgrade_timeout_s, 60, 1, 3600, "s",
        "On SIGUSR2, how long the new program may take to be ready before it is given up."),
    BLOCKS(conf_edge, trusted_proxies,
           "Peers whose X-Forwarded-* and Forwarded are believed and extended, and whose "
           "X-Forwarded-For names the client. From all others these fields are dropped."),
};
TABLE(conf_table_edge, "edge", edge_keys, "This process.");

static const struct conf_key certificate_keys[] = {
    STRING(CONF_FILE, "certificate", conf_certificate, certificate, "",
           "PEM file: the certificate, then its chain.", .required = true,
           .sample = "edge.crt"),
    STRING(CONF_FILE, "key", conf_certificate, key, "",
           "PEM file: the certificate's private key.", .required = true,
           .sample = "edge.key"),
};
TABLE(conf_table_certificate, "listeners[].tls", certificate_keys, "One certificate.");

static const struct conf_key listener_tls_keys[] = {
    STRING(CONF_FILE, "client_ca", conf_listener_tls, client_ca, "",
           "PEM file: clients must show a certificate signed by one of these. \"\": none is asked for."),
    CHOICE(conf_listener_tls, min_version, enum conf_tls_version, version_words,
           "Oldest TLS version accepted."),
};
TABLE(conf_table_listener_tls, "listeners[].tls", listener_tls_keys,
      "TLS of a listener: a group, or a list of groups with one certificate each. The name the "
      "client asks for (SNI) picks one by the certificates' own names, else the first serves. "
      "`client_ca` and `min_version` are those of the first group.");

static const struct conf_key listener_keys[] = {
    STRING(CONF_TEXT, "bind", conf_listener, bind, "",
           "Address and port to accept clients on: \"0.0.0.0:8080\", \"[::]:8443\", or \":8080\" "
           "for every IPv4 address. Port 0: the kernel chooses.", .required = true),
    SPECIAL(CONF_GROUP_SET, "tls", &conf_table_listener_tls,
            "Speak TLS here. Absent: plain text."),
};
TABLE(conf_table_listener, "listeners[]", listener_keys,
      "Where clients connect: a list of groups, at least one.");

static const struct conf_key admin_tls_keys[] = {
    STRING(CONF_FILE, "certificate", conf_admin_tls, certificate, "",
           "PEM file: the certificate, then its chain. \"\": plain text."),
    STRING(CONF_FILE, "key", conf_admin_tls, key, "", "PEM file: the certificate's private key."),
    STRING(CONF_FILE, "api_client_ca", conf_admin_tls, api_client_ca, "",
           "PEM file: requests under /apis/ must come with a certificate signed by one of these "
           "(Kubernetes: the request header client CA); all others need none. \"\": nobody does."),
    CHOICE(conf_admin_tls, min_version, enum conf_tls_version, version_words,
           "Oldest TLS version accepted."),
};
TABLE(conf_table_admin_tls, "admin.tls", admin_tls_keys,
      "TLS of the operator's listener. A reload reads the files again.");

static const struct conf_key admin_keys[] = {
    STRING(CONF_TEXT, "bind", conf_admin, bind, "127.0.0.1:9901",
           "Address and port of the status page, metrics and controls. \"\": none."),
    STRING(CONF_SECRET, "token", conf_admin, token, "",
           "Bearer token that POSTs must carry. \"\": POSTs are accepted on a loopback bind only."),
    U32(conf_admin, max_connections, 64, 1, 10000, "connections",
        "Connections to this listener at once; further ones wait until one ends."),
    GROUP(CONF_GROUP, conf_admin, tls, conf_table_admin_tls, "TLS of the operator's listener."),
};
TABLE(conf_table_admin, "admin", admin_keys, "The operator's listener.");

static const struct conf_key log_keys[] = {
    STRING(CONF_WORD, "level", conf_log, level, "info", "Least important level that is written.",
           .words = level_words),
    STRING(CONF_WORD, "format", conf_log, format, "json", "One JSON object per line, or text.",
           .words = format_words),
    STRING(CONF_SINK, "file", conf_log, file, "-", "Events. \"-\": stderr; \"\": none."),
    STRING(CONF_SINK, "access_file", conf_log, access_file, "-",
           "One line per request. \"-\": stdout; \"\": none."),
    REAL(conf_log, access_sample, 1, 0, 1, "share",
         "Requests that get a line, at random. Those that failed always do: status 500 and above, "
         "or an end other than ok."),
};
TABLE(conf_table_log, "log", log_keys, "What is written, and where.");

static const struct conf_key tracing_keys[] = {
    STRING(CONF_TEXT, "otlp_url", conf_tracing, otlp_url, "",
           "Where to POST spans: http://host[:port][/path], path /v1/traces where none is given. \"\": "
           "no traces; traceparent passes through as it came."),
    STRING(CONF_SECRET, "authorization", conf_tracing, authorization, "",
           "Sent to the collector as Authorization. \"\": none."),
    STRING(CONF_TEXT, "service", conf_tracing, service, "nearside", "service.name of the spans.",
           .accepts = text_is_short, .allowed = "a string of at most 1024 bytes"),
    REAL(conf_tracing, sample, 1, 0, 1, "share",
         "Traces begun here that are recorded. One that a client began is recorded if it says so."),
    U32(conf_tracing, queue_spans, 4096, 1, 1000000, "spans",
        "Held at once, those under way included; further ones are dropped and counted."),
    U32(conf_tracing, timeout_ms, 5000, 10, 600000, "ms", "For the collector's answer."),
};
TABLE(conf_table_tracing, "tracing", tracing_keys,
      "One span per request, with its attempts as events, for an OpenTelemetry collector (OTLP over "
      "HTTP, as JSON).");

static const struct conf_key routing_keys[] = {
    REAL(conf_routing, latency_budget_ms, 50, 0, 60000, "ms",
         "Regions with a path latency at or under this are near; near ones come first."),
    U32(conf_routing, failover_deadline_s, 30, 1, 3600, "s",
        "A promise: health settings that cannot notice a vanished region in this time are refused."),
    REAL(conf_routing, hysteresis_ms, 5, 0, 60000, "ms",
         "A challenger must be closer than the present choice by this, or by hysteresis_ratio "
         "of its latency, whichever is more."),
    REAL(conf_routing, hysteresis_ratio, 0.1, 0, 1, "share", "See hysteresis_ms."),
    U32(conf_routing, dwell_s, 10, 0, 3600, "s",
        "The present choice is kept at least this long. A failover does not wait."),
    CHOICE(conf_routing, balance, enum conf_balance, balance_words,
           "How an endpoint is chosen inside a region."),
};
TABLE(conf_table_routing, "routing", routing_keys, "Which region a request goes to.");

static const struct conf_key generate_keys[] = {
    STRING(CONF_TEXT, "model", conf_generate, model, "", "Model to ask.", .accepts = text_is_short,
           .allowed = "a string of at most 1024 bytes"),
    STRING(CONF_TEXT, "path", conf_generate, path, "/v1/chat/completions",
           "Where to POST a request for one token.", .accepts = request_path_is_good,
           .allowed = "a path that begins with /, without spaces, at most 1024 characters"),
    U32(conf_generate, interval_s, 0, 0, 86400, "s",
        "Between two of them. 0: none. After a failure the next ones come every interval_ms."),
    U32(conf_generate, timeout_ms, 10000, 10, 600000, "ms",
        "An answer that is not whole by then failed."),
};
TABLE(conf_table_generate, "health.generate", generate_keys,
      "A tiny real request now and then, because an engine may hang behind a health page that says "
      "200. Failures count apart, with the same `fall` and `rise`; 4xx and full (429, or 503 with "
      "Retry-After) say nothing about the engine. A hung engine without traffic is down after "
      "interval_s + fall * max(timeout_ms, health.interval_ms).");

static const struct conf_key health_keys[] = {
    STRING(CONF_TEXT, "path", conf_health, path, "/health", "Path of the probe, asked with GET.",
           .accepts = request_path_is_good,
           .allowed = "a path that begins with /, without spaces, at most 1024 characters"),
    U32(conf_health, interval_ms, 1000, 10, HOUR_MS, "ms", "Between two probes of an endpoint."),
    U32(conf_health, fast_interval_ms, 500, 10, HOUR_MS, "ms",
        "Between two probes while the state is in doubt. Where only interval_ms is given and is "
        "shorter, it stands for this too."),
    U32(conf_health, timeout_ms, 1000, 10, 600000, "ms", "A probe without an answer by then failed."),
    U32(conf_health, fall, 3, 1, 100, "probes", "Failures in a row that make an endpoint down."),
    U32(conf_health, rise, 2, 1, 100, "probes", "Successes in a row that make it up again."),
    STRING(CONF_TEXT, "expect", conf_health, expect, "200-299", "Statuses that count as healthy.",
           .accepts = expect_is_good,
           .allowed = "a status or a range of them within 100-599, like \"200\" or \"200-299\""),
    STRING(CONF_TEXT, "match", conf_health, match, "",
           "Text that the first 64 KiB of the answer's body must hold. \"\": any body will do.",
           .accepts = text_is_short, .allowed = "a string of at most 1024 bytes"),
    GROUP(CONF_GROUP, conf_health, generate, conf_table_generate, "A tiny real request."),
};
TABLE(conf_table_health, "health", health_keys,
      "Probing. A refusing endpoint is down after interval_ms + (fall - 1) * fast_interval_ms, a "
      "vanished one after interval_ms + fall * max(timeout_ms, fast_interval_ms); 10 % more for "
      "jitter. Both must stay within routing.failover_deadline_s.");

static const struct conf_key warmup_keys[] = {
    U32(conf_warmup, requests, 0, 0, 1000, "requests",
        "Prompts, one after the other, that an endpoint must have answered. 0: none."),
    STRING(CONF_TEXT, "path", conf_warmup, path, "/v1/chat/completions", "Where to POST them.",
           .accepts = request_path_is_good,
           .allowed = "a path that begins with /, without spaces, at most 1024 characters"),
    STRING(CONF_TEXT, "body", conf_warmup, body, "",
           "What to POST, JSON. \"\": a chat request for one token of health.generate.model, or of the "
           "region's first model.", .accepts = body_is_short,
           .allowed = "a string of at most 65536 bytes"),
    U32(conf_warmup, timeout_ms, 60000, 10, HOUR_MS, "ms",
        "An answer that is not whole by then failed; the prompt is sent again."),
};
TABLE(conf_table_warmup, "warmup", warmup_keys,
      "Prompts for an endpoint that is new, or back from down, before it counts as up: its first "
      "answers load weights and compile kernels, and no client should wait for that. Until then it is "
      "warming, and gets requests only where nothing is up; then slow start begins. An answer "
      "with 4xx ends the warm-up with a warning: a wrong prompt must not keep a region out.");

static const struct conf_key metrics_keys[] = {
    STRING(CONF_TEXT, "path", conf_metrics, path, "",
           "Page to ask every endpoint for, like \"/metrics\". \"\": none is asked.",
           .accepts = page_path_is_good,
           .allowed = "\"\", or a path that begins with /, without spaces, at most 1024 characters"),
    STRING(CONF_TEXT, "exporter_path", conf_metrics, exporter_path, "/metrics",
           "Page to ask the region's `exporters` for.", .accepts = request_path_is_good,
           .allowed = "a path that begins with /, without spaces, at most 1024 characters"),
    U32(conf_metrics, interval_ms, 5000, 100, HOUR_MS, "ms", "Between two readings of a page."),
    U32(conf_metrics, timeout_ms, 2000, 10, 600000, "ms", "A page that is not whole by then failed."),
};
TABLE(conf_table_metrics, "metrics", metrics_keys,
      "Load as the engines tell it: the pages they write for Prometheus. Waiting, running and KV "
      "cache use are understood by the names of vLLM, SGLang, TGI, llama.cpp and Triton, GPU use by "
      "those of DCGM and Triton. Figures that were not renewed for three intervals and a timeout are "
      "dropped. Shown, and told to autoscalers; routing goes by what this edge sees itself.");

static const struct conf_key timeouts_keys[] = {
    U32(conf_timeouts, connect_ms, 1000, 1, 600000, "ms", "Connecting to an endpoint, TLS included."),
    U32(conf_timeouts, request_ms, 30000, 1, DAY_MS, "ms",
        "Between two pieces of a request's body, from the client or to the endpoint."),
    U32(conf_timeouts, first_token_ms, 120000, 1, DAY_MS, "ms",
        "From the end of the request to the first byte of the answer's body."),
    U32(conf_timeouts, first_token_ms_per_kib, 0, 0, 60000, "ms/KiB",
        "Added to first_token_ms for each KiB of the request's body: long prompts take longer to read."),
    U32(conf_timeouts, idle_ms, 60000, 1, DAY_MS, "ms",
        "Between two pieces of an answer, from the endpoint or to the client. Chunks' framing and "
        "trailers are no piece."),
    U32(conf_timeouts, total_ms, 0, 0, DAY_MS, "ms",
        "The whole request, all attempts together. 0: no limit.", .edge_only = true),
    REAL(conf_timeouts, min_tokens_per_s, 0, 0, 1000, "tokens/s",
         "A stream that brings fewer content events over 10 s is cut as too slow. 0: no limit."),
    U32(conf_timeouts, client_header_ms, 10000, 1, 600000, "ms",
        "Reading a request's head, first byte to last.", .edge_only = true),
    U32(conf_timeouts, client_idle_ms, 75000, 1, DAY_MS, "ms",
        "Between two requests on a client's connection.", .edge_only = true),
    U32(conf_timeouts, handshake_ms, 10000, 1, 600000, "ms",
        "A client's TLS handshake, from its connect to the end.", .edge_only = true),
};
TABLE(conf_table_timeouts, "timeouts", timeouts_keys, "How long each step may take.");

static const struct conf_key retry_keys[] = {
    U32(conf_retry, attempts, 3, 1, 10, "attempts",
        "Tries per request in all, the first included. 1: no retry."),
    REAL(conf_retry, budget_ratio, 0.2, 0, 1, "share",
         "Retries may be this share of live requests, ..."),
    REAL(conf_retry, budget_min_per_s, 10, 0, 1000000, "per s", "... and this many more."),
};
TABLE(conf_table_retry, "retry", retry_keys,
      "Repeating a failed attempt elsewhere, before the client has seen a byte.");

static const struct conf_key limits_keys[] = {
    U32(conf_limits, max_connections, 20000, 1, 10000000, "connections",
        "Clients connected at once; further ones are answered 503.", .edge_only = true),
    U32(conf_limits, max_connections_per_client, 10000, 0, 10000000, "connections",
        "From one address (IPv6: one /64) at once; further ones are answered 429. 0: no limit. It "
        "does not hold for edge.trusted_proxies; for their clients max_inflight_per_client does.",
        .edge_only = true),
    U32(conf_limits, max_inflight_per_client, 10000, 0, 10000000, "requests",
        "Of one client (IPv6: one /64) at once, by the address that edge.trusted_proxies vouch for "
        "where one of them asks; further ones are answered 429. 0: no limit. One of "
        "edge.trusted_proxies that names nobody else has none.",
        .edge_only = true),
    U32(conf_limits, max_handshakes, 10000, 1, 10000000, "connections",
        "TLS handshakes of clients under way at once; further connections are closed. Less than "
        "max_connections, so that those who never finish one leave room for others.",
        .edge_only = true),
    U32(conf_limits, requests_per_connection, 100000, 0, UINT32_MAX, "requests",
        "After so many answers a client's connection is closed, in order. 0: no limit.",
        .edge_only = true),
    U32(conf_limits, pipelined_requests, 1000, 1, 1000000, "requests",
        "Requests that come in one piece, without waiting for answers; more are answered 429.",
        .edge_only = true),
    U32(conf_limits, header_bytes, 65536, 1024, MIB, "bytes",
        "A request's or an answer's head; larger is 431 or 502.", .edge_only = true),
    U32(conf_limits, header_count, 100, 1, CONF_HEADER_COUNT_MAX, "fields",
        "Header fields of a request; more is 431.", .edge_only = true),
    U32(conf_limits, uri_bytes, 16384, 64, MIB, "bytes",
        "A request's target, path and query; longer is 414.", .edge_only = true),
    U64(conf_limits, body_bytes, 33554432, 0, TIB, "bytes", "A request's body; larger is 413.", .edge_only = true),
    U64(conf_limits, buffer_bytes, 8388608, 0, 4 * GIB, "bytes",
        "A body up to this is kept for retries and the cache key; a larger one is streamed through.", .edge_only = true),
    U64(conf_limits, buffer_total_bytes, 1073741824, 0, 16 * TIB, "bytes",
        "Kept bodies and what clients have not taken yet, all together; past it 503 with "
        "Retry-After.", .edge_only = true),
    U32(conf_limits, body_min_bytes_per_s, 240, 0, 1000000000, "bytes/s",
        "A request's body that comes slower, over timeouts.request_ms, is 408. 0: no limit.",
        .edge_only = true),
    U32(conf_limits, answer_min_bytes_per_s, 240, 0, 1000000000, "bytes/s",
        "A client that has more waiting for it and takes less, over timeouts.idle_ms, is cut off. "
        "0: no limit.", .edge_only = true),
    U32(conf_limits, reserve_descriptors, 64, 0, 1000000, "descriptors",
        "Of the process's file descriptors, kept from clients; half of them also from requests to "
        "endpoints: for probes, Redis, DNS and the admin listener.", .edge_only = true),
    U32(conf_limits, dns_addresses, 256, 1, 256, "addresses",
        "Of one host name; further ones in the answer are not used.", .edge_only = true),
    U32(conf_limits, max_inflight_per_endpoint, 0, 0, 1000000, "requests",
        "Requests on one endpoint at once, from this edge. 0: no limit."),
    U32(conf_limits, queue_length, 1000, 0, 1000000, "requests",
        "Requests that may wait for a full region. 0: none waits."),
    U32(conf_limits, queue_timeout_ms, 5000, 1, HOUR_MS, "ms", "How long one may wait there."),
};
TABLE(conf_table_limits, "limits", limits_keys, "Bounds on what clients can make this edge hold.");

static const struct conf_key cache_keys[] = {
    BOOL(conf_cache, enabled, true, "Keep answers."),
    CHOICE(conf_cache, when, enum conf_cache_when, when_words,
           "Which requests are looked up and stored: always; deterministic: those that ask for the "
           "same answer every time (temperature 0); never."),
    U32(conf_cache, ttl_s, 3600, 1, 31536000, "s", "How long an answer is served, give or take a tenth: what is stored together does not end "
        "together."),
    U64(conf_cache, max_entry_bytes, 1048576, 1, GIB, "bytes", "A larger answer is not kept."),
    U64(conf_cache, memory_bytes, 67108864, 0, 16 * TIB, "bytes",
        "Of the tier in this process. 0: Redis alone."),
    CHOICE(conf_cache, share, enum conf_cache_share, share_words,
           "key: callers with the same tenant_header share answers; all: everyone does."),
    STRING(CONF_TEXT, "tenant_header", conf_cache, tenant_header, "Authorization",
           "Request header that tells tenants apart. Where it is absent, Authorization or x-api-key "
           "does.", .accepts = header_name_is_good, .allowed = "a header's name"),
    STRING(CONF_SECRET, "key_secret", conf_cache, key_secret, "",
           "Keys are made with it (HMAC), so that who reads Redis cannot test for prompts. The same "
           "on all edges that share a Redis. \"\": none."),
    BOOL(conf_cache, coalesce, true,
         "Identical requests that are under way at the same time share one upstream request."),
    U32(conf_cache, grace_s, 0, 0, 2592000, "s",
        "How long past its time an answer may still be served when no region can give one. "
        "0: never."),
    U32(conf_cache, redis_timeout_ms, 5, 1, 10000, "ms",
        "Wait for Redis, on top of the region's path latency."),
    U64(conf_cache, redis_compress_bytes, 2048, 0, GIB, "bytes",
        "Answers from this size on are compressed in Redis (zstd). 0: none."),
    CHOICE(conf_cache, replicate, enum conf_replicate, replicate_words,
           "Which Redis gets an answer: region: that of the region that gave it; all: every "
           "region's that the request may touch."),
};
TABLE(conf_table_cache, "cache", cache_keys, "Answers to repeated prompts.");

static const struct conf_key region_tls_keys[] = {
    STRING(CONF_FILE, "ca", conf_region_tls, ca, "",
           "PEM file of the authorities to trust. \"\": the system's."),
    BOOL(conf_region_tls, verify, true,
         "Check the peer's certificate and name. false only for tests: it is warned of at the start "
         "and on each reload, and shown on the status page."),
    STRING(CONF_TEXT, "server_name", conf_region_tls, server_name, "",
           "Name to ask for and to check. \"\": the host in the URL.",
           .accepts = server_name_is_good, .allowed = "a host's name, or \"\""),
    STRING(CONF_FILE, "certificate", conf_region_tls, certificate, "",
           "PEM file: certificate to show to the peer. \"\": none."),
    STRING(CONF_FILE, "key", conf_region_tls, key, "", "PEM file: its private key."),
};
TABLE(conf_table_region_tls, "regions[].tls", region_tls_keys,
      "How to speak TLS to the region's https:// endpoints and rediss:// Redis.");

static const struct conf_key region_keys[] = {
    STRING(CONF_TEXT, "name", conf_region, name, "",
           "Name in headers, metrics and the status page; unique.", .accepts = conf_name_is_good,
           .allowed = NAME_ALLOWED, .required = true),
    SPECIAL(CONF_TEXTS, "endpoints", NULL,
            "URLs, http://host[:port] or https://host[:port]. Every address of a host name is an "
            "endpoint, resolved again by TTL.",
            .allowed = "an array of 1 to 1024 URLs, [ \"http://10.0.0.5:8000\" ]",
            .required = true),
    SPECIAL(CONF_TEXTS, "exporters", NULL,
            "URLs of GPU exporters (DCGM), http://host[:port]; every address of a host name is read. "
            "See metrics.",
            .allowed = "an array of up to 1024 URLs, [ \"http://10.0.0.5:9400\" ]"),
    STRING(CONF_TEXT, "redis", conf_region, redis.url, "",
           "redis://[user:password@]host[:port][/database], or rediss:// for TLS. \"\": none."),
    STRING(CONF_SECRET, "redis_user", conf_region, redis.user, "",
           "ACL user. \"\": the default one."),
    STRING(CONF_SECRET, "redis_password", conf_region, redis.password, "", "Password. \"\": none."),
    SPECIAL(CONF_TEXTS, "models", NULL, "Models served there. []: all.",
            .allowed = "an array of up to 1024 different strings, [ \"llama-3-70b\" ]"),
    GROUP(CONF_GROUP, conf_region, tls, conf_table_region_tls, "TLS to the region."),
    GROUP(CONF_OVERRIDE, conf_region, health, conf_table_health,
          "Any key of the top-level health, for this region.", .sample = "path = \"/health\";"),
    GROUP(CONF_OVERRIDE, conf_region, warmup, conf_table_warmup,
          "Any key of the top-level warmup, for this region.", .sample = "requests = 2;"),
    GROUP(CONF_OVERRIDE, conf_region, metrics, conf_table_metrics,
          "Any key of the top-level metrics, for this region.", .sample = "path = \"/metrics\";"),
    GROUP(CONF_OVERRIDE, conf_region, timeouts, conf_table_timeouts,
          "Keys of the top-level timeouts that are not for the whole edge, for this region.",
          .sample = "first_token_ms = 120000;"),
    GROUP(CONF_OVERRIDE, conf_region, limits, conf_table_limits,
          "Keys of the top-level limits that are not for the whole edge, for this region.", .sample = "max_inflight_per_endpoint = 64;"),
};
TABLE(conf_table_region, "regions[]", region_keys,
      "Where requests can go: a list of groups, at least one. All regions are equal; the order "
      "matters only until latencies are known.");

static const struct conf_key root_keys[] = {
    GROUP(CONF_GROUP, conf, edge, conf_table_edge, ""),
    SPECIAL(CONF_GROUPS, "listeners", &conf_table_listener, "", .required = true),
    GROUP(CONF_GROUP, conf, admin, conf_table_admin, ""),
    GROUP(CONF_GROUP, conf, log, conf_table_log, ""),
    GROUP(CONF_GROUP, conf, tracing, conf_table_tracing, ""),
    GROUP(CONF_GROUP, conf, routing, conf_table_routing, ""),
    GROUP(CONF_GROUP, conf, health, conf_table_health, ""),
    GROUP(CONF_GROUP, conf, warmup, conf_table_warmup, ""),
    GROUP(CONF_GROUP, conf, metrics, conf_table_metrics, ""),
    GROUP(CONF_GROUP, conf, timeouts, conf_table_timeouts, ""),
    GROUP(CONF_GROUP, conf, retry, conf_table_retry, ""),
    GROUP(CONF_GROUP, conf, limits, conf_table_limits, ""),
    GROUP(CONF_GROUP, conf, cache, conf_table_cache, ""),
    SPECIAL(CONF_GROUPS, "regions", &conf_table_region, "", .required = true),
};
TABLE(conf_table_root, "", root_keys, "");
/* clang-format on */
