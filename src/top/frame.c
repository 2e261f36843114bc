/* SPDX-License-Identifier: MIT */
/*
 * The status, drawn from the top down by how soon one wants to know: the link, where requests go,
 * what is wrong, the regions, pods that are not well, what happened. What has no room is left out
 * from the end.
 */
#include "frame_private.h"

#include "frame_value_private.h"

#include <string.h>

#define EVENTS_MAX 12
#define PODS_MAX   20

/* ---- the top ---- */

static void draw_link(const struct frame *frame, struct page *page)
{
    const json_t *edge = value_at(frame->status, "edge");
    char span[VALUE_LEN];

    line_add(page, LINE_STRONG, "Nearside %s", value_text_at(edge, "id"));
    line_add(page, LINE_SOFT, "  %s  up %s  generation %.0f", value_text_at(edge, "version"),
             value_span(value_number_at(edge, "uptime_s"), span),
             value_number_at(edge, "config_generation"));
    line_end(page);
}

static void draw_trouble(const struct frame *frame, struct page *page)
{
    char span[VALUE_LEN];
    char clock[VALUE_LEN];

    if (frame->trouble == NULL) {
        return;
    }
    line_add(page, LINE_BAD, "! no answer for %s: %s", value_span(frame->lost_s, span),
             frame->trouble);
    line_end(page);
    if (frame->status != NULL) {
        line_add(page, LINE_WARN, "  what follows is from %s UTC",
                 value_clock(value_text_at(value_at(frame->status, "edge"), "time"), clock));
        line_end(page);
    }
}

static const json_t *region_named(const json_t *status, const char *name)
{
    size_t index;
    json_t *region;

    json_array_foreach(value_at(status, "regions"), index, region)
    {
        if (strcmp(value_text_at(region, "name"), name) == 0) {
            return region;
        }
    }
    return NULL;
}

static void draw_choice(const json_t *status, struct page *page)
{
    const json_t *choice = value_at(status, "choice");
    const json_t *home = region_named(status, value_text_at(status, "home"));
    const char *next = value_text_at(choice, "next");
    char text[VALUE_LEN];

    if (home == NULL) {
        line_add(page, LINE_BAD, "No region can serve new requests.");
        line_end(page);
        return;
    }
    line_add(page, LINE_PLAIN, "New requests go to ");
    line_add(page, LINE_STRONG, "%s", value_text_at(home, "name"));
    line_add(page, LINE_PLAIN, ", %s, ", value_ms(value_at(home, "path_latency_ms"), text));
    line_add(page, value_is_true_at(home, "near") ? LINE_GOOD : LINE_WARN, "%s",
             value_is_true_at(home, "near") ? "near" : "far");
    line_add(page, LINE_PLAIN, ", for %s: %s",
             value_span(value_number_at(status, "home_since_s"), text),
             value_text_at(choice, "why"));
    line_end(page);
    line_add(page, LINE_SOFT, "If it fails: %s", next[0] == '\0' ? "no other can serve" : next);
    line_end(page);
}

static void draw_unchecked(const json_t *status, struct page *page)
{
    size_t index;
    json_t *region;

    json_array_foreach(value_at(status, "regions"), index, region)
    {
        if (strcmp(value_text_at(region, "tls_verify"), "off") == 0) {
            line_add(page, LINE_WARN, "! certificates of %s are not checked",
                     value_text_at(region, "name"));
            line_end(page);
        }
    }
}

static void draw_warnings(const json_t *status, struct page *page)
{
    const json_t *edge = value_at(status, "edge");
    json_t *limits = json_object_get(status, "limits_hit_recently");
    const char *limit;
    json_t *count;

    if (value_is_true_at(edge, "draining")) {
        line_add(page, LINE_WARN, "! this edge is about to stop");
        line_end(page);
    }
    if (value_is_true_at(edge, "suspect")) {
        line_add(page, LINE_BAD, "! every region is down here, but not for other edges");
        line_end(page);
    }
    if (json_is_false(value_at(value_at(edge, "last_reload"), "ok"))) {
        line_add(page, LINE_WARN, "! last reload refused: %s",
                 value_text_at(value_at(edge, "last_reload"), "error"));
        line_end(page);
    }
    if (json_is_false(value_at(value_at(edge, "last_upgrade"), "ok"))) {
        line_add(page, LINE_WARN, "! last upgrade failed: %s",
                 value_text_at(value_at(edge, "last_upgrade"), "error"));
        line_end(page);
    }
    draw_unchecked(status, page);
    json_object_foreach(limits, limit, count)
    {
        line_add(page, LINE_WARN, "! limit hit: %s, %lld times in the last minute", limit,
                 (long long)json_integer_value(count));
        line_end(page);
    }
}

static void add_figure(struct page *page, const char *name, const char *value, const char *more)
{
    line_add(page, LINE_SOFT, "%s%s ", page->column == 0 ? "" : "   ", name);
    line_add(page, LINE_STRONG, "%s", value);
    line_add(page, LINE_SOFT, "%s", more);
}

static void draw_figures(const json_t *status, struct page *page)
{
    const json_t *requests = value_at(status, "requests");
    const json_t *phases = value_at(requests, "inflight");
    const json_t *cache = value_at(status, "cache");
    char text[VALUE_LEN];

    line_end(page);
    add_figure(page, "answers/s", value_rate(value_at(requests, "per_s"), text), "");
    add_figure(page, "queued", value_count(value_at(phases, "queued"), text), "");
    add_figure(page, "waiting", value_count(value_at(phases, "waiting"), text), "");
    add_figure(page, "streaming", value_count(value_at(phases, "streaming"), text), "");
    add_figure(page, "clients",
               value_count(value_at(value_at(status, "connections"), "clients"), text), "");
    if (value_is_true_at(cache, "enabled")) {
        add_figure(page, "cache hits", value_share(value_at(cache, "hit_ratio"), text), "");
    }
    if (json_is_number(value_at(cache, "saved_tokens"))) {
        add_figure(page, "saved", value_count(value_at(cache, "saved_tokens"), text), " tokens");
    }
    line_end(page);
    line_end(page);
}

/* ---- pods that are not well ---- */

static void draw_pod(const json_t *region, const json_t *pod, struct page *page)
{
    char span[VALUE_LEN];

    line_add(page, LINE_PLAIN, "  %s %s ", value_text_at(region, "name"),
             value_text_at(pod, "address"));
    line_add(page, value_state_style(pod), "%s", value_state_word(pod));
    line_add(page, LINE_PLAIN, " for %s", value_span(value_state_age(pod), span));
    line_add(page, LINE_SOFT, " %s", value_text_at(pod, "reason"));
    line_end(page);
}

static void draw_pods(const json_t *status, struct page *page)
{
    size_t count = 0;
    size_t r;
    size_t e;
    json_t *region;
    json_t *pod;

    json_array_foreach(value_at(status, "regions"), r, region)
    {
        json_array_foreach(value_at(region, "endpoints"), e, pod)
        {
            if (value_is_well(pod) || ++count > PODS_MAX) {
                continue;
            }
            if (count == 1) {
                line_end(page);
                line_add(page, LINE_SOFT, "  PODS NOT UP");
                line_end(page);
            }
            draw_pod(region, pod, page);
        }
    }
    if (count > PODS_MAX) {
        line_add(page, LINE_SOFT, "  and %zu more", count - PODS_MAX);
        line_end(page);
    }
}

/* ---- events: newest first, without those of single pods ---- */

static void draw_events(const json_t *status, struct page *page)
{
    const json_t *events = value_at(status, "events");
    size_t drawn = 0;
    char clock[VALUE_LEN];

    line_end(page);
    line_add(page, LINE_SOFT, "  LAST EVENTS (UTC)");
    line_end(page);
    for (size_t i = json_array_size(events); i > 0 && drawn < EVENTS_MAX; i--) {
        const json_t *event = json_array_get(events, i - 1);

        if (value_text_at(event, "endpoint")[0] == '\0') {
            line_add(page, LINE_SOFT, "  %s ", value_clock(value_text_at(event, "time"), clock));
            line_add(page, LINE_PLAIN, "%s", value_text_at(event, "text"));
            line_end(page);
            drawn++;
        }
    }
}

void frame_draw(const struct frame *frame, struct page *page)
{
    const json_t *status = frame->status;

    if (status == NULL) {
        line_add(page, LINE_STRONG, "Nearside");
        line_end(page);
        draw_trouble(frame, page);
        return;
    }
    draw_link(frame, page);
    draw_trouble(frame, page);
    draw_choice(status, page);
    draw_warnings(status, page);
    draw_figures(status, page);
    frame_draw_regions(status, page);
    draw_pods(status, page);
    draw_events(status, page);
}
