/* SPDX-License-Identifier: MIT */
/* What the admin listener tells: status page, JSON, metrics, health, and how it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/admin_private.h"
#include "module/admin_fixture.h"

#include <nearside/admin/docs.h>
#include <nearside/obs/metric.h>

#include <ctype.h>
#include <openssl/evp.h>
#include <regex.h>

/* ---- health ---- */

static void test_the_process_is_healthy_though_no_region_is_up(void **state)
{
    struct fixture *f = *state;

    get(f, "/healthz");
    assert_int_equal(f->status, 200);
    assert_true(str_eq(f->body, STR_LIT("ok\n")));
    get(f, "/readyz");
    assert_int_equal(f->status, 503);
    assert_true(says(f->body, "no region is usable"));
}

static void test_one_usable_region_makes_it_ready(void **state)
{
    struct fixture *f = *state;

    set_up_state(f, 1, ENDPOINT_UP, "probe_ok");
    get(f, "/readyz");
    assert_int_equal(f->status, 200);
}

static void test_a_draining_process_is_not_ready(void **state)
{
    struct fixture *f = *state;

    set_up_state(f, 1, ENDPOINT_UP, "probe_ok");
    f->draining = true;
    get(f, "/readyz");
    assert_int_equal(f->status, 503);
    assert_true(says(f->body, "draining"));
}

/* ---- JSON ---- */

static const json_t *member(const json_t *value, const char *key)
{
    value = json_object_get(value, key);
    assert_non_null(value);
    return value;
}

static const char *text(const json_t *value, const char *key)
{
    return json_string_value(member(value, key));
}

static void test_status_json_tells_about_the_process(void **state)
{
    struct fixture *f = *state;
    json_t *root;
    const json_t *edge;

    get(f, "/status.json");
    assert_int_equal(f->status, 200);
    assert_true(says(f->head, "Content-Type: application/json\r\n"));
    root = body_json(f);
    edge = member(root, "edge");
    assert_string_equal(text(edge, "version"), NEARSIDE_VERSION);
    assert_string_equal(text(edge, "id"), f->conf->edge.id);
    assert_int_equal(json_integer_value(member(edge, "config_generation")), 1);
    assert_true(json_real_value(member(edge, "uptime_s")) >= 90);
    assert_true(json_is_true(member(member(edge, "last_reload"), "ok")));
    assert_true(json_is_null(member(member(edge, "last_reload"), "error")));
    assert_true(json_number_value(member(member(root, "routing"), "latency_budget_ms")) == 50.0);
    assert_string_equal(text(member(root, "routing"), "balance"), "least_pending");
    assert_true(json_is_null(member(root, "home")));
    assert_true(json_is_null(member(root, "home_since_s")));
    assert_true(json_is_null(member(member(root, "cache"), "hit_ratio")));
    json_decref(root);
}

static void test_status_json_tells_about_regions(void **state)
{
    struct fixture *f = *state;
    uint64_t endpoint = region_of(f, 0)->endpoints[0].live->id;
    const json_t *near;
    const json_t *far;
    json_t *root;

    fleet_observe_latency(f->fleet, endpoint, LATENCY_CONNECT, 12.0625);
    set_up_state(f, 0, ENDPOINT_UP, "probe_ok");
    set_up_state(f, 1, ENDPOINT_DOWN, "connect_refused");
    atomic_store(&region_of(f, 0)->endpoints[0].live->inflight, 3);
    get(f, "/status.json");
    atomic_store(&region_of(f, 0)->endpoints[0].live->inflight, 0);
    root = body_json(f);
    near = json_array_get(member(root, "regions"), 0);
    far = json_array_get(member(root, "regions"), 1);
    assert_string_equal(text(root, "home"), "near");
    assert_string_equal(text(near, "name"), "near");
    assert_string_equal(text(near, "state"), "up");
    assert_true(json_is_true(member(near, "near")));
    assert_true(json_number_value(member(near, "path_latency_ms")) == 12.063);
    assert_string_equal(text(near, "latency_source"), "tcp");
    assert_int_equal(json_integer_value(member(near, "inflight")), 3);
    assert_int_equal(json_integer_value(member(near, "detect_vanished_ms")),
                     conf_detect_vanished_ms(&f->conf->regions[0].health));
    assert_int_equal(json_array_size(member(near, "endpoints")), 2);
    assert_string_equal(text(far, "state"), "down");
    assert_true(json_is_null(member(far, "path_latency_ms")));
    assert_true(json_is_false(member(member(far, "redis"), "configured")));
    far = json_array_get(member(far, "endpoints"), 0);
    assert_string_equal(text(far, "address"), "127.0.0.1:7003");
    assert_string_equal(text(far, "reason"), "connect_refused");
    json_decref(root);
}

static void test_a_drained_region_says_drained_and_what_was_measured(void **state)
{
    struct fixture *f = *state;
    const json_t *region;
    json_t *root;

    set_up_state(f, 0, ENDPOINT_UP, "probe_ok");
    assert_true(fleet_drain_region(f->fleet, STR_LIT("near"), true));
    get(f, "/status.json");
    root = body_json(f);
    region = json_array_get(member(root, "regions"), 0);
    assert_string_equal(text(region, "state"), "drained");
    assert_string_equal(text(region, "measured_state"), "up");
    assert_true(json_is_true(member(region, "drained")));
    assert_true(json_is_false(member(region, "usable")));
    json_decref(root);
}

static void test_the_hit_ratio_counts_both_tiers_once(void **state)
{
    struct fixture *f = *state;
    struct metric_block *block = metric_block_new();
    const json_t *cache;
    json_t *root;

    /* Four look-ups: one found in memory, of the rest one in Redis. */
    metric_add(block, METRIC_CACHE, METRIC_TIER_MEMORY, METRIC_CACHE_HIT, 0, 1);
    metric_add(block, METRIC_CACHE, METRIC_TIER_MEMORY, METRIC_CACHE_MISS, 0, 3);
    metric_add(block, METRIC_CACHE, METRIC_TIER_REDIS, METRIC_CACHE_HIT, 0, 1);
    metric_add(block, METRIC_CACHE, METRIC_TIER_REDIS, METRIC_CACHE_MISS, 0, 2);
    get(f, "/status.json");
    root = body_json(f);
    cache = member(root, "cache");
    assert_int_equal(json_integer_value(member(cache, "hits")), 2);
    assert_int_equal(json_integer_value(member(cache, "misses")), 2);
    assert_true(json_number_value(member(cache, "hit_ratio")) == 0.5);
    json_decref(root);
}

static void test_limits_appear_once_hit(void **state)
{
    struct fixture *f = *state;
    struct metric_block *block = metric_block_new();
    json_t *root;

    metric_limit_hit(block, LIMIT_QUEUE_LENGTH);
    get(f, "/status.json");
    root = body_json(f);
    assert_int_equal(json_object_size(member(root, "limits_hit")), 1);
    assert_int_equal(json_integer_value(member(member(root, "limits_hit"), "queue_length")), 1);
    json_decref(root);
}

static void test_events_are_all_in_events_json_and_the_last_in_status_json(void **state)
{
    struct fixture *f = *state;
    const json_t *events;
    json_t *root;
    char reason[32];

    for (int i = 1; i <= 60; i++) {
        (void)snprintf(reason, sizeof(reason), "number %d", i);
        fleet_note(f->fleet, "test", "near", "a", "b", reason);
    }
    get(f, "/events.json");
    root = body_json(f);
    assert_true(json_array_size(member(root, "events")) >= 60);
    json_decref(root);
    get(f, "/status.json");
    root = body_json(f);
    events = member(root, "events");
    assert_int_equal(json_array_size(events), 50);
    assert_string_equal(text(json_array_get(events, 0), "reason"), "number 11");
    assert_string_equal(text(json_array_get(events, 49), "reason"), "number 60");
    assert_string_equal(text(json_array_get(events, 49), "region"), "near");
    json_decref(root);
}

static void test_an_error_text_that_is_not_utf8_is_still_json(void **state)
{
    struct fixture *f = *state;
    json_t *root;

    f->last_reload.ok = false;
    (void)snprintf(f->last_reload.error, sizeof(f->last_reload.error), "caf\xe9.conf:1: \"x\"");
    get(f, "/status.json");
    root = body_json(f);
    assert_string_equal(text(member(member(root, "edge"), "last_reload"), "error"),
                        "caf?.conf:1: \"x\"");
    json_decref(root);
}

static void test_the_choice_tells_why_and_what_would_be_next(void **state)
{
    struct fixture *f = *state;
    const json_t *choice;
    const json_t *far;
    json_t *root;

    fleet_observe_latency(f->fleet, region_of(f, 0)->endpoints[0].live->id, LATENCY_CONNECT, 12);
    fleet_observe_latency(f->fleet, region_of(f, 1)->endpoints[0].live->id, LATENCY_CONNECT, 80);
    set_up_state(f, 0, ENDPOINT_UP, "probe_ok");
    set_up_state(f, 1, ENDPOINT_UP, "probe_ok");
    get(f, "/status.json");
    root = body_json(f);
    choice = member(root, "choice");
    far = json_array_get(member(root, "regions"), 1);
    assert_string_equal(text(choice, "reason"), "first_usable");
    assert_string_equal(text(choice, "next"), "far");
    assert_string_equal(text(choice, "why"), "the closest of the near regions that can serve");
    assert_string_equal(text(far, "verdict"), "far");
    json_decref(root);
}

static void test_a_drain_has_an_age_of_its_own(void **state)
{
    struct fixture *f = *state;
    const json_t *near;
    json_t *root;

    assert_true(fleet_drain_region(f->fleet, STR_LIT("near"), true));
    assert_true(fleet_drain_endpoint(f->fleet, STR_LIT("127.0.0.1:7003"), true));
    get(f, "/status.json");
    root = body_json(f);
    near = json_array_get(member(root, "regions"), 0);
    assert_true(json_number_value(member(near, "drained_since_s")) < GUARD_MS / 1000.0);
    near = json_array_get(member(near, "endpoints"), 0);
    assert_true(json_is_null(member(near, "drained_since_s")));
    near = json_array_get(member(root, "regions"), 1);
    assert_true(json_is_null(member(near, "drained_since_s")));
    near = json_array_get(member(near, "endpoints"), 0);
    assert_true(json_is_real(member(near, "drained_since_s")));
    json_decref(root);
}

static bool has_sampled(struct fixture *f)
{
    return f->admin->recent.count > 0;
}

static void test_rates_and_shares_are_of_the_last_minute(void **state)
{
    struct fixture *f = *state;
    struct metric_block *block = metric_block_new();
    const json_t *regions;
    json_t *root;

    run_until(f, has_sampled);
    metric_add(block, METRIC_REQUESTS, region_of(f, 0)->slot, METRIC_2XX, 0, 3);
    metric_add(block, METRIC_REQUESTS, region_of(f, 1)->slot, METRIC_5XX, 0, 1);
    metric_add(block, METRIC_REQUESTS, METRIC_REGION_NONE, METRIC_2XX, 0, 4);
    metric_limit_hit(block, LIMIT_URI);
    get(f, "/status.json");
    root = body_json(f);
    regions = member(root, "regions");
    assert_true(json_number_value(member(json_array_get(regions, 0), "share")) == 0.75);
    assert_true(json_number_value(member(json_array_get(regions, 1), "share")) == 0.25);
    assert_true(json_number_value(member(json_array_get(regions, 0), "requests_per_s")) > 0);
    assert_true(json_number_value(member(member(root, "requests"), "per_s")) >
                json_number_value(member(json_array_get(regions, 0), "requests_per_s")));
    assert_int_equal(json_integer_value(member(member(root, "limits_hit_recently"), "uri_bytes")),
                     1);
    json_decref(root);
}

static void test_the_time_to_first_token_is_also_that_of_the_last_minute(void **state)
{
    struct fixture *f = *state;
    struct metric_block *block = metric_block_new();
    unsigned slot = region_of(f, 0)->slot;
    const json_t *near;
    json_t *root;

    for (unsigned i = 0; i < 1000; i++) {
        metric_observe_ns(block, METRIC_TTFT_SECONDS, slot, 90 * NS_PER_MS);
    }
    run_until(f, has_sampled);
    get(f, "/status.json");
    root = body_json(f);
    near = json_array_get(member(root, "regions"), 0);
    assert_true(json_is_null(member(near, "ttft_recent_p99_ms")));
    json_decref(root);
    metric_observe_ns(block, METRIC_TTFT_SECONDS, slot, 4000 * NS_PER_MS);
    get(f, "/status.json");
    root = body_json(f);
    near = json_array_get(member(root, "regions"), 0);
    assert_true(json_number_value(member(near, "ttft_p50_ms")) < 100);
    assert_true(json_number_value(member(near, "ttft_recent_p50_ms")) > 2500);
    json_decref(root);
}

static void test_the_history_has_the_latencies_sampled(void **state)
{
    struct fixture *f = *state;
    const json_t *near;
    json_t *root;

    fleet_observe_latency(f->fleet, region_of(f, 0)->endpoints[0].live->id, LATENCY_CONNECT, 12.5);
    set_up_state(f, 0, ENDPOINT_UP, "probe_ok");
    (void)fleet_view_now(f->fleet);
    run_until(f, has_sampled);
    get(f, "/history.json");
    root = body_json(f);
    assert_true(json_number_value(member(root, "interval_s")) == 2.0);
    near = member(json_array_get(member(root, "regions"), 0), "path_latency_ms");
    assert_int_equal(json_array_size(near), 1);
    assert_true(json_number_value(json_array_get(near, 0)) == 12.5);
    near = member(json_array_get(member(root, "regions"), 1), "path_latency_ms");
    assert_true(json_is_null(json_array_get(near, 0)));
    json_decref(root);
}

/* ---- the page ---- */

static struct str between(struct str all, const char *from, const char *to)
{
    struct str rest = str_slice(all, str_find(all, str_of(from)) + strlen(from), all.len);

    return str_slice(rest, 0, str_find(rest, str_of(to)));
}

static void test_the_page_has_plain_tables_for_those_without_a_script(void **state)
{
    struct fixture *f = *state;

    set_up_state(f, 0, ENDPOINT_UP, "probe_ok");
    set_up_state(f, 1, ENDPOINT_DOWN, "head_timeout");
    get(f, "/");
    assert_int_equal(f->status, 200);
    assert_true(says(f->head, "Content-Type: text/html; charset=utf-8\r\n"));
    assert_true(says(f->body, "New requests go to <strong>near</strong>"));
    assert_true(says(f->body, "127.0.0.1:7003"));
    assert_true(says(f->body, "head_timeout"));
    assert_true(says(f->body, "<noscript>"));
    assert_false(says(f->body, "{{"));
}

/* The browser runs only what the policy names by its sum. */
static void check_policy(struct fixture *f, const char *open, const char *close_tag)
{
    struct str content = between(f->body, open, close_tag);
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned char base64[2 * EVP_MAX_MD_SIZE];
    char source[256];

    assert_true(content.len > 100 && content.len < f->body.len);
    assert_int_equal(EVP_Digest(content.ptr, content.len, sum, NULL, EVP_sha256(), NULL), 1);
    assert_int_equal(EVP_EncodeBlock(base64, sum, 32), 44);
    (void)snprintf(source, sizeof(source), "-src 'sha256-%s'", (const char *)base64);
    assert_true(says(between(f->head, "Content-Security-Policy: ", "\r\n"), source));
}

static void test_the_policy_allows_the_pages_own_style_and_script_alone(void **state)
{
    struct fixture *f = *state;

    get(f, "/");
    assert_true(says(f->head, "Content-Security-Policy: default-src 'none';"));
    assert_false(says(f->head, "unsafe-inline"));
    check_policy(f, "<style>", "</style>");
    check_policy(f, "<script type=\"module\">", "</script>");
}

static void test_what_others_wrote_is_escaped_on_the_page(void **state)
{
    struct fixture *f = *state;

    fleet_note(f->fleet, "test", "<img>", "'q'", "\"dq\"", "a&b <script>alert(1)</script>");
    f->last_reload.ok = false;
    (void)snprintf(f->last_reload.error, sizeof(f->last_reload.error), "<b>file</b>:1");
    get(f, "/");
    assert_true(says(f->body, "&lt;img&gt;"));
    assert_true(says(f->body, "&#39;q&#39;"));
    assert_true(says(f->body, "&quot;dq&quot;"));
    assert_true(says(f->body, "a&amp;b &lt;script&gt;alert(1)&lt;/script&gt;"));
    assert_true(says(f->body, "&lt;b&gt;file&lt;/b&gt;:1"));
    assert_false(says(f->body, "<img>"));
    assert_false(says(f->body, "<script>alert"));
}

static void test_the_page_brings_the_status_it_begins_with(void **state)
{
    struct fixture *f = *state;
    struct str status;
    json_t *root;

    set_up_state(f, 0, ENDPOINT_UP, "probe_ok");
    fleet_note(f->fleet, "test", "near", "a", "b", "</script><b>");
    get(f, "/");
    status = between(f->body, "<script id=\"status\" type=\"application/json\">", "</script>");
    root = json_loadb(status.ptr, status.len, 0, NULL);
    assert_non_null(root);
    assert_string_equal(text(root, "home"), "near");
    assert_true(says(status, "\\u003c/script>\\u003cb>"));
    json_decref(root);
}

/* ---- metrics ---- */

static void test_each_metrics_line_is_well_formed_and_under_its_own_head(void **state)
{
    struct fixture *f = *state;
    char family[128] = "";
    regex_t sample;
    struct str rest;
    struct str line;

    assert_int_equal(regcomp(&sample,
                             "^[a-z_][a-z0-9_]*(\\{[a-z]+=\"[^\"]*\"(,[a-z]+=\"[^\"]*\")*\\})? "
                             "([0-9.e+-]+|NaN|\\+Inf)$",
                             REG_EXTENDED | REG_NOSUB),
                     0);
    get(f, "/metrics");
    assert_int_equal(f->status, 200);
    assert_true(says(f->head, "Content-Type: text/plain; version=0.0.4"));
    rest = f->body;
    while (str_next_item(&rest, '\n', &line)) {
        char copy[512];

        (void)snprintf(copy, sizeof(copy), "%.*s", STR_FMT(line));
        if (sscanf(copy, "# HELP %127s", family) == 1) {
            char again[160];

            (void)snprintf(again, sizeof(again), "# HELP %s ", family);
            assert_false(says(rest, again));
        } else if (!str_starts(line, STR_LIT("# TYPE "))) {
            assert_int_equal(regexec(&sample, copy, 0, NULL, 0), 0);
            assert_true(str_starts(line, str_of(family)));
        }
    }
    regfree(&sample);
}

static void test_metrics_show_the_state_of_the_fleet(void **state)
{
    struct fixture *f = *state;

    fleet_observe_latency(f->fleet, region_of(f, 0)->endpoints[0].live->id, LATENCY_CONNECT, 12.5);
    set_up_state(f, 0, ENDPOINT_UP, "probe_ok");
    assert_true(fleet_drain_region(f->fleet, STR_LIT("far"), true));
    f->cache.bytes = 4096;
    get(f, "/metrics");
    assert_true(says(f->body, "nearside_worker_cpu_seconds_total{worker=\"1\"} 1\n"));
    assert_true(says(f->body, "\nnearside_region_path_latency_seconds{region=\"near\"} 0.0125\n"));
    assert_false(says(f->body, "nearside_region_path_latency_seconds{region=\"far\"}"));
    assert_true(says(f->body, "\nnearside_region_state{region=\"near\",state=\"up\"} 1\n"));
    assert_true(says(f->body, "\nnearside_region_state{region=\"near\",state=\"down\"} 0\n"));
    assert_true(says(f->body, "\nnearside_region_state{region=\"far\",state=\"drained\"} 1\n"));
    assert_true(says(f->body, "\nnearside_region_home{region=\"near\"} 1\n"));
    assert_true(says(f->body,
                     "\nnearside_endpoint_state{region=\"near\",endpoint=\"127.0.0.1:7002\","
                     "state=\"up\"} 1\n"));
    assert_true(says(f->body, "\nnearside_cache_bytes 4096\n"));
    assert_true(says(f->body, "\nnearside_config_generation 1\n"));
    assert_true(says(f->body, "\nllm_pending_requests{region=\"far\"} 0\n"));
    assert_false(says(f->body, "\nprocess_resident_memory_bytes 0\n"));
    assert_false(says(f->body, "\nprocess_open_fds 0\n"));
}

static void test_every_computed_gauge_is_documented(void **state)
{
    struct fixture *f = *state;
    struct buf docs;
    struct str rest;
    struct str line;

    buf_init(&docs);
    admin_metrics_docs(&docs);
    get(f, "/metrics");
    rest = str_slice(f->body, str_find(f->body, STR_LIT("# HELP nearside_region_path_latency")),
                     f->body.len);
    assert_true(rest.len > 0);
    while (str_next_item(&rest, '\n', &line)) {
        char name[128];
        char cell[160];
        char copy[512];

        (void)snprintf(copy, sizeof(copy), "%.*s", STR_FMT(line));
        if (sscanf(copy, "# HELP %127s", name) == 1) {
            (void)snprintf(cell, sizeof(cell), "| `%s` |", name);
            assert_true(says(buf_str(&docs), cell));
        }
    }
    buf_done(&docs);
}

/* ---- config, methods, paths ---- */

static void test_the_config_in_force_is_shown(void **state)
{
    struct fixture *f = *state;

    get(f, "/config");
    assert_int_equal(f->status, 200);
    assert_true(says(f->head, "Content-Type: text/plain"));
    assert_true(says(f->body, "latency_budget_ms"));
    assert_true(says(f->body, "127.0.0.1:7003"));
}

static void test_an_unknown_path_is_404_in_json(void **state)
{
    struct fixture *f = *state;
    json_t *root;

    get(f, "/nothing");
    assert_int_equal(f->status, 404);
    root = body_json(f);
    assert_string_equal(text(member(root, "error"), "code"), "not_found");
    json_decref(root);
}

static void test_a_wrong_method_is_405_and_says_which_are_right(void **state)
{
    struct fixture *f = *state;

    post(f, "/status.json");
    assert_int_equal(f->status, 405);
    assert_true(says(f->head, "Allow: GET, HEAD\r\n"));
    get(f, "/regions/near/drain");
    assert_int_equal(f->status, 405);
    assert_true(says(f->head, "Allow: POST\r\n"));
    request(f, "DELETE", "/reload", "Host: localhost\r\n");
    assert_int_equal(f->status, 405);
    assert_int_equal(f->reloads, 0);
}

static void test_head_gives_the_length_and_no_body(void **state)
{
    struct fixture *f = *state;

    request(f, "HEAD", "/healthz", "Host: localhost\r\n");
    assert_int_equal(f->status, 200);
    assert_true(says(f->head, "Content-Length: 3\r\n"));
    assert_int_equal(f->body.len, 0);
}

static void test_two_requests_share_a_connection(void **state)
{
    struct fixture *f = *state;

    exchange(f, STR_LIT("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
                        "GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    assert_int_equal(f->status, 200);
    assert_true(says(f->body, "HTTP/1.1 404"));
}

static void test_too_large_a_head_or_body_is_refused(void **state)
{
    struct fixture *f = *state;
    struct buf headers;

    buf_init(&headers);
    buf_append_str(&headers, STR_LIT("Host: localhost\r\nX-Large: "));
    for (int i = 0; i < 20000; i++) {
        buf_append_char(&headers, 'x');
    }
    buf_append(&headers, "\r\n", 3); /* with the NUL */
    request(f, "GET", "/healthz", buf_str(&headers).ptr);
    assert_in_range(f->status, 400, 499);
    request(f, "POST", "/reload", "Host: localhost\r\nContent-Length: 65537\r\n");
    assert_int_equal(f->status, 413);
    assert_int_equal(f->reloads, 0);
    buf_done(&headers);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_the_process_is_healthy_though_no_region_is_up),
        TEST(test_one_usable_region_makes_it_ready),
        TEST(test_a_draining_process_is_not_ready),
        TEST(test_status_json_tells_about_the_process),
        TEST(test_status_json_tells_about_regions),
        TEST(test_a_drained_region_says_drained_and_what_was_measured),
        TEST(test_the_hit_ratio_counts_both_tiers_once),
        TEST(test_limits_appear_once_hit),
        TEST(test_events_are_all_in_events_json_and_the_last_in_status_json),
        TEST(test_an_error_text_that_is_not_utf8_is_still_json),
        TEST(test_the_page_has_plain_tables_for_those_without_a_script),
        TEST(test_the_policy_allows_the_pages_own_style_and_script_alone),
        TEST(test_what_others_wrote_is_escaped_on_the_page),
        TEST(test_the_page_brings_the_status_it_begins_with),
        TEST(test_the_choice_tells_why_and_what_would_be_next),
        TEST(test_a_drain_has_an_age_of_its_own),
        TEST(test_rates_and_shares_are_of_the_last_minute),
        TEST(test_the_time_to_first_token_is_also_that_of_the_last_minute),
        TEST(test_the_history_has_the_latencies_sampled),
        TEST(test_each_metrics_line_is_well_formed_and_under_its_own_head),
        TEST(test_metrics_show_the_state_of_the_fleet),
        TEST(test_every_computed_gauge_is_documented),
        TEST(test_the_config_in_force_is_shown),
        TEST(test_an_unknown_path_is_404_in_json),
        TEST(test_a_wrong_method_is_405_and_says_which_are_right),
        TEST(test_head_gives_the_length_and_no_body),
        TEST(test_two_requests_share_a_connection),
        TEST(test_too_large_a_head_or_body_is_refused),
    };

    return cmocka_run_group_tests_name("admin", tests, NULL, NULL);
}
