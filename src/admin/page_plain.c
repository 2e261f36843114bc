/* SPDX-License-Identifier: MIT */
/*
 * Tables for those without a script: what is most asked, as it was when the page was sent. All text
 * from config, peers or events goes through page_escape().
 */
#include "page_plain_private.h"

#include "page_value_private.h"

#include <string.h>

#define PLAIN_EVENTS_MAX 20

static void add(struct buf *out, const char *html)
{
    buf_append_str(out, str_of(html));
}

/* ---- tables ---- */

struct column {
    const char *title;
    const char *key;
    enum page_kind kind;
};

static void table_open(struct buf *out, const char *title, const struct column *columns,
                       size_t count)
{
    buf_printf(out, "<h2>%s</h2>\n<div class=\"scroll\"><table><thead><tr>", title);
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "<th scope=\"col\">%s</th>", columns[i].title);
    }
    add(out, "</tr></thead><tbody>\n");
}

static void add_row(struct buf *out, const json_t *item, const struct column *columns, size_t count)
{
    add(out, "<tr>");
    for (size_t i = 0; i < count; i++) {
        add(out, "<td>");
        page_write(out, json_object_get(item, columns[i].key), columns[i].kind);
        add(out, "</td>");
    }
    add(out, "</tr>\n");
}

static void table_close(struct buf *out)
{
    add(out, "</tbody></table></div>\n");
}

/* ---- the parts ---- */

/* One sentence with the names of the regions whose certificates are not checked. */
static void add_unchecked(struct buf *out, const json_t *root)
{
    size_t named = 0;
    size_t index;
    json_t *region;

    json_array_foreach(page_at(root, "regions"), index, region)
    {
        if (strcmp(page_text_at(region, "tls_verify"), "off") == 0) {
            add(out,
                named++ == 0 ? "<p>Certificates are not checked (tls.verify = false): " : ", ");
            page_escape(out, page_text_at(region, "name"));
        }
    }
    if (named > 0) {
        add(out, ".</p>\n");
    }
}

static void add_lead(struct buf *out, const json_t *root)
{
    add(out, "<p>Without a script this page does not update itself: load it again.</p>\n");
    if (page_is_true(root, "edge/draining")) {
        add(out, "<p>Draining: no new connections are taken, requests in flight may finish.</p>\n");
    }
    if (!page_is_true(root, "edge/last_reload/ok")) {
        add(out, "<p>The last reload was refused: ");
        page_escape(out, page_text_at(root, "edge/last_reload/error"));
        add(out, "</p>\n");
    }
    add_unchecked(out, root);
    if (!json_is_string(page_at(root, "home"))) {
        add(out, "<p>No region can serve new requests.</p>\n");
        return;
    }
    add(out, "<p>New requests go to <strong>");
    page_escape(out, page_text_at(root, "home"));
    add(out, "</strong>: ");
    page_escape(out, page_text_at(root, "choice/why"));
    add(out, ".</p>\n");
}

static void add_regions(struct buf *out, const json_t *root)
{
    static const struct column columns[] = {
        {"Region", "name", PAGE_TEXT},        {"State", "state", PAGE_TEXT},
        {"Since", "since_s", PAGE_SECONDS},   {"Path latency", "path_latency_ms", PAGE_MS},
        {"Pending", "pending", PAGE_COUNT},   {"In flight", "inflight", PAGE_COUNT},
        {"Share", "share", PAGE_RATIO},       {"TTFT p50", "ttft_p50_ms", PAGE_MS},
        {"TTFT p99", "ttft_p99_ms", PAGE_MS}, {"Why not chosen, or why", "why", PAGE_TEXT},
    };
    const json_t *regions = page_at(root, "regions");
    size_t index;
    json_t *region;

    table_open(out, "Regions", columns, ARRAY_LEN(columns));
    json_array_foreach(regions, index, region)
    {
        add_row(out, region, columns, ARRAY_LEN(columns));
    }
    table_close(out);
}

static void add_pods(struct buf *out, const json_t *root)
{
    static const struct column columns[] = {
        {"Address", "address", PAGE_TEXT},
        {"State", "state", PAGE_TEXT},
        {"Breaker", "breaker", PAGE_TEXT},
        {"Reason", "reason", PAGE_TEXT},
        {"Since", "since_s", PAGE_SECONDS},
        {"Pending", "pending", PAGE_COUNT},
        {"In flight", "inflight", PAGE_COUNT},
        {"Requests", "requests", PAGE_COUNT},
        {"Share of its traffic", "weight", PAGE_RATIO},
    };
    const json_t *regions = page_at(root, "regions");
    const json_t *endpoints;
    size_t r;
    size_t e;
    json_t *region;
    json_t *endpoint;

    table_open(out, "Pods", columns, ARRAY_LEN(columns));
    json_array_foreach(regions, r, region)
    {
        endpoints = json_object_get(region, "endpoints");
        json_array_foreach(endpoints, e, endpoint)
        {
            add_row(out, endpoint, columns, ARRAY_LEN(columns));
        }
    }
    table_close(out);
}

/* Newest first: that is what one comes for. */
static void add_events(struct buf *out, const json_t *root)
{
    static const struct column columns[] = {
        {"Time (UTC)", "time", PAGE_TEXT},
        {"What happened", "text", PAGE_TEXT},
    };
    const json_t *events = page_at(root, "events");
    size_t count = json_array_size(events);

    table_open(out, "Recent events", columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < count && i < PLAIN_EVENTS_MAX; i++) {
        add_row(out, json_array_get(events, count - 1 - i), columns, ARRAY_LEN(columns));
    }
    table_close(out);
}

void page_write_plain(struct buf *out, const json_t *root)
{
    add_lead(out, root);
    add_regions(out, root);
    add_pods(out, root);
    add_events(out, root);
}
