/* SPDX-License-Identifier: MIT */
/*
 * The status page, drawn from the value of /status.json: complete without a script, and nothing in
 * it comes from outside. All text from config, peers or events goes through page_escape().
 */
#include "admin_private.h"

#include "page_asset_private.h"
#include "page_value_private.h"
#include "status_private.h"

#include <nearside/base/digest.h>
#include <nearside/base/mem.h>

#include <stdio.h>
#include <string.h>

static void add(struct buf *out, const char *html)
{
    buf_append_str(out, str_of(html));
}

/* ---- tables ---- */

static void table_open(struct buf *out, const char *title, const char *const *columns, size_t count)
{
    buf_printf(out, "<h2>%s</h2>\n<div class=\"scroll\"><table><thead><tr>", title);
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "<th scope=\"col\">%s</th>", columns[i]);
    }
    add(out, "</tr></thead><tbody>\n");
}

static void table_close(struct buf *out)
{
    add(out, "</tbody></table></div>\n");
}

static void cell_text(struct buf *out, const json_t *item, const char *key)
{
    add(out, "<td class=\"wrap\">");
    page_escape(out, page_text_at(item, key));
    add(out, "</td>");
}

/* The word of a state, in its colour: the class has the same name. */
static void cell_state(struct buf *out, const json_t *item)
{
    const char *state = page_text_at(item, "state");
    const char *measured = page_text_at(item, "measured_state");

    buf_printf(out, "<td><span class=\"%s\">%s</span>", state, state);
    if (strcmp(state, measured) != 0) {
        buf_printf(out, " <span class=\"soft\">(measured: %s)</span>", measured);
    }
    add(out, "</td>");
}

static void cell_count(struct buf *out, const json_t *root, const char *base, size_t index,
                       const char *key)
{
    add(out, "<td class=\"num\">");
    page_live(out, root, PAGE_COUNT, "%s/%zu/%s", base, index, key);
    add(out, "</td>");
}

/* ---- the top ---- */

static void write_lead(struct buf *out, const json_t *root)
{
    if (page_is_true(root, "edge/draining")) {
        add(out, "<p class=\"lead warn\">Draining: no new connections are taken, requests in "
                 "flight may finish.</p>\n");
    }
    if (!json_is_string(page_at(root, "home"))) {
        add(out, "<p class=\"lead bad\">No region can serve new requests.</p>\n");
        return;
    }
    add(out, "<p class=\"lead\">New requests go to <strong>");
    page_escape(out, page_text_at(root, "home"));
    add(out, "</strong> <span class=\"soft\">since ");
    page_live(out, root, PAGE_SECONDS, "home_since_s");
    add(out, "</span></p>\n");
}

static void write_header(struct buf *out, const json_t *root)
{
    add(out, "<header><h1>Nearside ");
    page_escape(out, page_text_at(root, "edge/id"));
    add(out, "</h1><p>version ");
    page_escape(out, page_text_at(root, "edge/version"));
    add(out, ", up ");
    page_live(out, root, PAGE_SECONDS, "edge/uptime_s");
    add(out, "</p><p id=\"live\" role=\"status\"></p></header>\n");
}

/* ---- regions ---- */

static void cell_latency(struct buf *out, const json_t *root, const json_t *region, size_t index)
{
    double budget = json_number_value(page_at(root, "routing/latency_budget_ms"));
    const json_t *latency = page_at(region, "path_latency_ms");

    add(out, "<td class=\"num\">");
    page_live(out, root, PAGE_MS, "regions/%zu/path_latency_ms", index);
    add(out, "</td><td>");
    if (json_is_number(latency)) {
        /* Twice the budget is the scale; the middle is where near ends. */
        buf_printf(out,
                   "<meter data-path=\"regions/%zu/path_latency_ms\" min=\"0\" low=\"%g\" "
                   "high=\"%g\" max=\"%g\" optimum=\"0\" value=\"%g\"></meter> ",
                   index, budget, budget * 1.5, budget * 2, json_number_value(latency));
        add(out, page_is_true(region, "near") ? "<span class=\"good\">near</span>"
                                              : "<span class=\"warn\">far</span>");
        buf_printf(out, " <span class=\"soft\">%s</span>", page_text_at(region, "latency_source"));
    } else {
        add(out, "<span class=\"soft\">not measured yet</span>");
    }
    add(out, "</td>");
}

static void cell_redis(struct buf *out, const json_t *region)
{
    if (!page_is_true(region, "redis/configured")) {
        add(out, "<td class=\"soft\">none</td>");
        return;
    }
    add(out, page_is_true(region, "redis/up") ? "<td><span class=\"up\">up</span> "
                                              : "<td><span class=\"down\">down</span> ");
    page_escape(out, page_text_at(region, "redis/address"));
    add(out, "</td>");
}

static void write_region(struct buf *out, const json_t *root, const json_t *region, size_t index)
{
    const char *home = page_text_at(root, "home");

    add(out, "<tr><td><strong>");
    page_escape(out, page_text_at(region, "name"));
    add(out, "</strong>");
    if (home[0] != '\0' && strcmp(home, page_text_at(region, "name")) == 0) {
        add(out, " <span class=\"good\">home</span>");
    }
    add(out, "</td>");
    cell_state(out, region);
    cell_latency(out, root, region, index);
    add(out, "<td class=\"num\">");
    page_live(out, root, PAGE_SECONDS, "regions/%zu/since_s", index);
    add(out, "</td>");
    cell_count(out, root, "regions", index, "pending");
    cell_count(out, root, "regions", index, "inflight");
    cell_count(out, root, "regions", index, "requests");
    add(out, "<td class=\"num\">");
    page_live(out, root, PAGE_MS, "regions/%zu/ttft_p50_ms", index);
    add(out, "</td><td class=\"num\">");
    page_live(out, root, PAGE_MS, "regions/%zu/ttft_p99_ms", index);
    add(out, "</td>");
    cell_redis(out, region);
    add(out, "</tr>\n");
}

static void write_regions(struct buf *out, const json_t *root)
{
    static const char *const columns[] = {"Region",   "State",    "Path latency", "Against budget",
                                          "Since",    "Pending",  "In flight",    "Answers",
                                          "TTFT p50", "TTFT p99", "Redis"};
    const json_t *regions = page_at(root, "regions");
    size_t index;
    json_t *region;

    table_open(out, "Regions", columns, ARRAY_LEN(columns));
    json_array_foreach(regions, index, region)
    {
        write_region(out, root, region, index);
    }
    table_close(out);
    add(out, "<p class=\"soft\">Budget: ");
    page_write(out, page_at(root, "routing/latency_budget_ms"), PAGE_MS);
    add(out, ". Regions at or under it are near; far ones serve when no near one can.</p>\n");
}

static void write_endpoint(struct buf *out, const json_t *root, size_t region, size_t index)
{
    const json_t *owner = json_array_get(page_at(root, "regions"), region);
    const json_t *item = json_array_get(page_at(owner, "endpoints"), index);
    char base[40];

    (void)snprintf(base, sizeof(base), "regions/%zu/endpoints", region);
    add(out, "<tr>");
    cell_text(out, owner, "name");
    cell_text(out, item, "address");
    cell_text(out, item, "host");
    cell_state(out, item);
    cell_text(out, item, "reason");
    add(out, "<td class=\"num\">");
    page_live(out, root, PAGE_SECONDS, "%s/%zu/since_s", base, index);
    add(out, "</td><td class=\"num\">");
    page_live(out, root, PAGE_RATIO, "%s/%zu/weight", base, index);
    add(out, "</td>");
    cell_count(out, root, base, index, "pending");
    cell_count(out, root, base, index, "inflight");
    cell_count(out, root, base, index, "requests");
    add(out, "</tr>\n");
}

static void write_endpoints(struct buf *out, const json_t *root)
{
    static const char *const columns[] = {"Region", "Endpoint", "Host",    "State",     "Reason",
                                          "Since",  "Weight",   "Pending", "In flight", "Requests"};
    const json_t *regions = page_at(root, "regions");

    table_open(out, "Endpoints", columns, ARRAY_LEN(columns));
    for (size_t r = 0; r < json_array_size(regions); r++) {
        size_t count = json_array_size(page_at(json_array_get(regions, r), "endpoints"));

        for (size_t e = 0; e < count; e++) {
            write_endpoint(out, root, r, e);
        }
    }
    table_close(out);
}

/* ---- failover ---- */

static void write_failover(struct buf *out, const json_t *root)
{
    static const char *const columns[] = {"Region", "Refuses connections: left after",
                                          "Vanishes: left after"};
    const json_t *regions = page_at(root, "regions");
    size_t index;
    json_t *region;

    table_open(out, "Failover", columns, ARRAY_LEN(columns));
    json_array_foreach(regions, index, region)
    {
        add(out, "<tr>");
        cell_text(out, region, "name");
        buf_printf(out, "<td class=\"num\">%.1f s</td><td class=\"num\">%.1f s</td></tr>\n",
                   json_number_value(page_at(region, "detect_refused_ms")) / 1000,
                   json_number_value(page_at(region, "detect_vanished_ms")) / 1000);
    }
    table_close(out);
    add(out, "<p class=\"soft\">At worst, from the health settings in force. Promised: within ");
    page_write(out, page_at(root, "routing/failover_deadline_s"), PAGE_COUNT);
    add(out, " s. Requests that have had no content yet move at once.</p>\n");
}

/* ---- traffic, cache, config ---- */

struct fact {
    const char *title;
    const char *path;
    enum page_kind kind;
};

static void write_facts(struct buf *out, const json_t *root, const char *title,
                        const struct fact *facts, size_t count)
{
    buf_printf(out, "<h2>%s</h2>\n<dl>", title);
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "<div><dt>%s</dt><dd>", facts[i].title);
        page_live(out, root, facts[i].kind, "%s", facts[i].path);
        add(out, "</dd></div>\n");
    }
    add(out, "</dl>\n");
}

static void write_traffic(struct buf *out, const json_t *root)
{
    static const struct fact facts[] = {
        {"Client connections", "connections/clients", PAGE_COUNT},
        {"Requests started", "requests/started", PAGE_COUNT},
        {"Requests finished", "requests/finished", PAGE_COUNT},
        {"Reading", "requests/inflight/reading", PAGE_COUNT},
        {"Queued", "requests/inflight/queued", PAGE_COUNT},
        {"Waiting", "requests/inflight/waiting", PAGE_COUNT},
        {"Streaming", "requests/inflight/streaming", PAGE_COUNT},
    };

    write_facts(out, root, "Requests", facts, ARRAY_LEN(facts));
}

static void write_cache(struct buf *out, const json_t *root)
{
    static const struct fact facts[] = {
        {"In memory", "cache/memory/bytes", PAGE_BYTES},
        {"At most", "cache/memory/bytes_max", PAGE_BYTES},
        {"Entries", "cache/memory/entries", PAGE_COUNT},
        {"Evictions", "cache/memory/evictions", PAGE_COUNT},
        {"Hits (memory or Redis)", "cache/hits", PAGE_COUNT},
        {"Misses", "cache/misses", PAGE_COUNT},
        {"Hit ratio", "cache/hit_ratio", PAGE_RATIO},
    };

    write_facts(out, root, page_is_true(root, "cache/enabled") ? "Cache" : "Cache (switched off)",
                facts, ARRAY_LEN(facts));
}

static void write_limits(struct buf *out, json_t *root)
{
    static const char *const columns[] = {"Limit hit", "Times"};
    json_t *limits = json_object_get(root, "limits_hit");
    const char *word;
    json_t *count;

    if (json_object_size(limits) == 0) {
        return;
    }
    table_open(out, "Limits hit", columns, ARRAY_LEN(columns));
    json_object_foreach(limits, word, count)
    {
        add(out, "<tr><td>");
        page_escape(out, word);
        add(out, "</td><td class=\"num\">");
        page_live(out, root, PAGE_COUNT, "limits_hit/%s", word);
        add(out, "</td></tr>\n");
    }
    table_close(out);
}

static void write_config(struct buf *out, const json_t *root)
{
    static const struct fact facts[] = {
        {"Generation", "edge/config_generation", PAGE_COUNT},
        {"File", "edge/config_path", PAGE_TEXT},
        {"Last loaded", "edge/last_reload/time", PAGE_TEXT},
        {"Workers", "edge/workers", PAGE_COUNT},
        {"Balance", "routing/balance", PAGE_TEXT},
    };

    write_facts(out, root, "Configuration", facts, ARRAY_LEN(facts));
    if (!page_is_true(root, "edge/last_reload/ok")) {
        add(out, "<p class=\"bad\">The last reload was refused: ");
        page_escape(out, page_text_at(root, "edge/last_reload/error"));
        add(out, "</p>\n");
    }
}

/* ---- events ---- */

static void write_event(struct buf *out, const json_t *event)
{
    add(out, "<tr>");
    cell_text(out, event, "time");
    cell_text(out, event, "kind");
    cell_text(out, event, "region");
    cell_text(out, event, "endpoint");
    cell_text(out, event, "from");
    cell_text(out, event, "to");
    cell_text(out, event, "reason");
    add(out, "</tr>\n");
}

/* Newest first: that is what one comes for. */
static void write_events(struct buf *out, const json_t *root)
{
    static const char *const columns[] = {"Time (UTC)", "Event", "Region", "Endpoint",
                                          "From",       "To",    "Reason"};
    const json_t *events = page_at(root, "events");

    table_open(out, "Recent events", columns, ARRAY_LEN(columns));
    for (size_t i = json_array_size(events); i > 0; i--) {
        write_event(out, json_array_get(events, i - 1));
    }
    table_close(out);
    add(out, "<p class=\"soft\">Older ones: <a href=\"/events.json\">events.json</a>. More: "
             "<a href=\"/status.json\">status.json</a>, <a href=\"/metrics\">metrics</a>, "
             "<a href=\"/config\">config</a>.</p>\n");
}

/* ---- the page ---- */

void admin_page(struct admin *admin, struct buf *out)
{
    json_t *root = status_build(admin);

    add(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
             "<link rel=\"icon\" href=\"data:,\"><title>Nearside ");
    page_escape(out, page_text_at(root, "edge/id"));
    buf_printf(out, "</title><style>%s</style></head><body>\n", page_style);
    write_header(out, root);
    add(out, "<main>\n");
    write_lead(out, root);
    write_regions(out, root);
    write_endpoints(out, root);
    write_traffic(out, root);
    write_cache(out, root);
    write_failover(out, root);
    write_limits(out, root);
    write_config(out, root);
    write_events(out, root);
    buf_printf(out, "</main>\n<script>%s</script></body></html>\n", page_script);
    json_decref(root);
}

/* ---- its policy ---- */

#define BASE64_LEN(bytes) (((bytes) + 2) / 3 * 4)

/* Base64 of a SHA-256 sum: 43 digits and a `=`. */
static void sum_to_base64(const uint8_t sum[DIGEST_BYTES], char out[BASE64_LEN(DIGEST_BYTES) + 1])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = 0;

    for (size_t i = 0; i < DIGEST_BYTES; i += 3) {
        uint32_t bits = (uint32_t)sum[i] << 16;

        bits |= i + 1 < DIGEST_BYTES ? (uint32_t)sum[i + 1] << 8 : 0;
        bits |= i + 2 < DIGEST_BYTES ? (uint32_t)sum[i + 2] : 0;
        for (unsigned digit = 0; digit < 4; digit++) {
            out[len++] = digits[bits >> (18 - 6 * digit) & 63];
        }
    }
    out[len - 1] = '='; /* 32 bytes leave one place of the last four empty */
    out[len] = '\0';
}

static void hash_text(struct digest *digest, const char *text,
                      char out[BASE64_LEN(DIGEST_BYTES) + 1])
{
    uint8_t sum[DIGEST_BYTES];

    digest_start(digest);
    digest_add(digest, text, strlen(text));
    digest_finish(digest, sum);
    sum_to_base64(sum, out);
}

char *admin_page_policy(void)
{
    struct digest *digest = digest_new();
    char style[BASE64_LEN(DIGEST_BYTES) + 1];
    char script[BASE64_LEN(DIGEST_BYTES) + 1];

    hash_text(digest, page_style, style);
    hash_text(digest, page_script, script);
    digest_free(digest);
    return mem_printf("default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; "
                      "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                      "frame-ancestors 'none'",
                      style, script);
}
