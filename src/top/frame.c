/* SPDX-License-Identifier: MIT */
/*
 * The status, drawn from the top down by how soon one wants to know: the link, where requests go,
 * what is wrong, the regions, pods that are not well, what happened. What has no room is left out
 * from the end; columns of the table of regions give way from the least asked.
 */
#include "frame_private.h"

#include <stdio.h>
#include <string.h>

#define CELL_MAX   64
#define EVENTS_MAX 12
#define PODS_MAX   20

/* ---- members ---- */

static const json_t *at(const json_t *value, const char *key)
{
    return json_object_get(value, key);
}

static const char *text_at(const json_t *value, const char *key)
{
    const char *text = json_string_value(at(value, key));

    return text == NULL ? "" : text;
}

static double number_at(const json_t *value, const char *key)
{
    return json_number_value(at(value, key));
}

static bool is_true_at(const json_t *value, const char *key)
{
    return json_is_true(at(value, key));
}

/* ---- values as text: "-" for what is not known ---- */

static const char *span_text(double seconds, char out[CELL_MAX])
{
    unsigned long long s = seconds > 0 ? (unsigned long long)seconds : 0;

    if (s >= 86400) {
        (void)snprintf(out, CELL_MAX, "%llu d %llu h", s / 86400, s / 3600 % 24);
    } else if (s >= 3600) {
        (void)snprintf(out, CELL_MAX, "%llu h %llu min", s / 3600, s / 60 % 60);
    } else if (s >= 60) {
        (void)snprintf(out, CELL_MAX, "%llu min", s / 60);
    } else {
        (void)snprintf(out, CELL_MAX, "%llu s", s);
    }
    return out;
}

static const char *ms_text(const json_t *value, char out[CELL_MAX])
{
    double ms = json_number_value(value);

    if (!json_is_number(value)) {
        return "-";
    }
    (void)snprintf(out, CELL_MAX, "%.*f ms", ms < 10 ? 2 : ms < 100 ? 1 : 0, ms);
    return out;
}

static const char *share_text(const json_t *value, char out[CELL_MAX])
{
    if (!json_is_number(value)) {
        return "-";
    }
    (void)snprintf(out, CELL_MAX, "%.0f %%", 100 * json_number_value(value));
    return out;
}

static const char *rate_text(const json_t *value, char out[CELL_MAX])
{
    if (!json_is_number(value)) {
        return "-";
    }
    (void)snprintf(out, CELL_MAX, "%.1f", json_number_value(value));
    return out;
}

static const char *count_text(const json_t *value, char out[CELL_MAX])
{
    (void)snprintf(out, CELL_MAX, "%.0f", json_number_value(value));
    return out;
}

/* "12:34:56" of "2026-11-22T12:34:56.789Z". */
static const char *clock_text(const char *iso, char out[CELL_MAX])
{
    (void)snprintf(out, CELL_MAX, "%.8s", strlen(iso) > 19 ? iso + 11 : iso);
    return out;
}

/* ---- states ---- */

static bool is_well(const json_t *one)
{
    return strcmp(text_at(one, "state"), "up") == 0 &&
           strcmp(text_at(one, "breaker"), "open") != 0 &&
           strcmp(text_at(one, "breaker"), "trial") != 0;
}

static const char *state_word(const json_t *one)
{
    bool is_aside = strcmp(text_at(one, "breaker"), "open") == 0 ||
                    strcmp(text_at(one, "breaker"), "trial") == 0;

    return is_aside && !is_true_at(one, "drained") ? "aside" : text_at(one, "state");
}

static enum line_style state_style(const json_t *one)
{
    const char *word = state_word(one);

    if (strcmp(word, "up") == 0) {
        return LINE_GOOD;
    }
    return strcmp(word, "down") == 0 || strcmp(word, "aside") == 0 ? LINE_BAD : LINE_WARN;
}

static double state_age(const json_t *one)
{
    return number_at(one, is_true_at(one, "drained") ? "drained_since_s" : "since_s");
}

/* ---- the top ---- */

static void draw_link(const struct frame *frame, struct page *page)
{
    const json_t *edge = at(frame->status, "edge");
    char span[CELL_MAX];

    line_add(page, LINE_STRONG, "Nearside %s", text_at(edge, "id"));
    line_add(page, LINE_SOFT, "  %s  up %s  generation %.0f", text_at(edge, "version"),
             span_text(number_at(edge, "uptime_s"), span), number_at(edge, "config_generation"));
    line_end(page);
}

static void draw_trouble(const struct frame *frame, struct page *page)
{
    char span[CELL_MAX];
    char clock[CELL_MAX];

    if (frame->trouble == NULL) {
        return;
    }
    line_add(page, LINE_BAD, "! no answer for %s: %s", span_text(frame->lost_s, span),
             frame->trouble);
    line_end(page);
    if (frame->status != NULL) {
        line_add(page, LINE_WARN, "  what follows is from %s UTC",
                 clock_text(text_at(at(frame->status, "edge"), "time"), clock));
        line_end(page);
    }
}

static const json_t *region_named(const json_t *status, const char *name)
{
    size_t index;
    json_t *region;

    json_array_foreach(at(status, "regions"), index, region)
    {
        if (strcmp(text_at(region, "name"), name) == 0) {
            return region;
        }
    }
    return NULL;
}

static void draw_choice(const json_t *status, struct page *page)
{
    const json_t *choice = at(status, "choice");
    const json_t *home = region_named(status, text_at(status, "home"));
    const char *next = text_at(choice, "next");
    char text[CELL_MAX];

    if (home == NULL) {
        line_add(page, LINE_BAD, "No region can serve new requests.");
        line_end(page);
        return;
    }
    line_add(page, LINE_PLAIN, "New requests go to ");
    line_add(page, LINE_STRONG, "%s", text_at(home, "name"));
    line_add(page, LINE_PLAIN, ", %s, ", ms_text(at(home, "path_latency_ms"), text));
    line_add(page, is_true_at(home, "near") ? LINE_GOOD : LINE_WARN, "%s",
             is_true_at(home, "near") ? "near" : "far");
    line_add(page, LINE_PLAIN, ", for %s: %s", span_text(number_at(status, "home_since_s"), text),
             text_at(choice, "why"));
    line_end(page);
    line_add(page, LINE_SOFT, "If it fails: %s", next[0] == '\0' ? "no other can serve" : next);
    line_end(page);
}

static void draw_warnings(const json_t *status, struct page *page)
{
    const json_t *edge = at(status, "edge");
    json_t *limits = json_object_get(status, "limits_hit_recently");
    const char *limit;
    json_t *count;

    if (is_true_at(edge, "draining")) {
        line_add(page, LINE_WARN, "! this edge is about to stop");
        line_end(page);
    }
    if (is_true_at(edge, "suspect")) {
        line_add(page, LINE_BAD, "! every region is down here, but not for other edges");
        line_end(page);
    }
    if (json_is_false(at(at(edge, "last_reload"), "ok"))) {
        line_add(page, LINE_WARN, "! last reload refused: %s",
                 text_at(at(edge, "last_reload"), "error"));
        line_end(page);
    }
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
    const json_t *requests = at(status, "requests");
    const json_t *phases = at(requests, "inflight");
    const json_t *cache = at(status, "cache");
    char text[CELL_MAX];

    line_end(page);
    add_figure(page, "answers/s", rate_text(at(requests, "per_s"), text), "");
    add_figure(page, "queued", count_text(at(phases, "queued"), text), "");
    add_figure(page, "waiting", count_text(at(phases, "waiting"), text), "");
    add_figure(page, "streaming", count_text(at(phases, "streaming"), text), "");
    add_figure(page, "clients", count_text(at(at(status, "connections"), "clients"), text), "");
    if (is_true_at(cache, "enabled")) {
        add_figure(page, "cache hits", share_text(at(cache, "hit_ratio"), text), "");
    }
    if (json_is_number(at(cache, "saved_tokens"))) {
        add_figure(page, "saved", count_text(at(cache, "saved_tokens"), text), " tokens");
    }
    line_end(page);
    line_end(page);
}

/* ---- regions ---- */

typedef void (*cell_fn)(const json_t *region, char out[CELL_MAX]);

static void cell_state(const json_t *region, char out[CELL_MAX])
{
    (void)snprintf(out, CELL_MAX, "%s", state_word(region));
}

static void cell_since(const json_t *region, char out[CELL_MAX])
{
    (void)span_text(state_age(region), out);
}

static void cell_latency(const json_t *region, char out[CELL_MAX])
{
    char text[CELL_MAX];

    (void)snprintf(out, CELL_MAX, "%.16s%s", ms_text(at(region, "path_latency_ms"), text),
                   !json_is_number(at(region, "path_latency_ms")) ? ""
                   : is_true_at(region, "near")                   ? " near"
                                                                  : " far");
}

static void cell_share(const json_t *region, char out[CELL_MAX])
{
    char text[CELL_MAX];

    (void)snprintf(out, CELL_MAX, "%.20s", share_text(at(region, "share"), text));
}

static void cell_rate(const json_t *region, char out[CELL_MAX])
{
    char text[CELL_MAX];

    (void)snprintf(out, CELL_MAX, "%.20s", rate_text(at(region, "requests_per_s"), text));
}

static void cell_pending(const json_t *region, char out[CELL_MAX])
{
    (void)count_text(at(region, "pending"), out);
}

static void cell_inflight(const json_t *region, char out[CELL_MAX])
{
    (void)count_text(at(region, "inflight"), out);
}

static void cell_p50(const json_t *region, char out[CELL_MAX])
{
    char text[CELL_MAX];

    (void)snprintf(out, CELL_MAX, "%.20s", ms_text(at(region, "ttft_recent_p50_ms"), text));
}

static void cell_p99(const json_t *region, char out[CELL_MAX])
{
    char text[CELL_MAX];

    (void)snprintf(out, CELL_MAX, "%.20s", ms_text(at(region, "ttft_recent_p99_ms"), text));
}

static void cell_pods(const json_t *region, char out[CELL_MAX])
{
    const json_t *pods = at(region, "endpoints");
    size_t well = 0;
    size_t index;
    json_t *pod;

    json_array_foreach(pods, index, pod)
    {
        well += is_well(pod);
    }
    (void)snprintf(out, CELL_MAX, "%zu/%zu", well, json_array_size(pods));
}

static void cell_redis(const json_t *region, char out[CELL_MAX])
{
    const json_t *redis = at(region, "redis");

    (void)snprintf(out, CELL_MAX, "%s",
                   !is_true_at(redis, "configured") ? "-"
                   : is_true_at(redis, "up")        ? "up"
                                                    : "DOWN");
}

static void cell_edges(const json_t *region, char out[CELL_MAX])
{
    const json_t *view = at(region, "fleet_view");

    (void)snprintf(out, CELL_MAX, "%.0f up %.0f down", number_at(view, "up"),
                   number_at(view, "down"));
}

#define NAME_WIDTH_MIN 8
#define NAME_WIDTH_MAX 28

/* From left to right; `from_width`: shown in terminals at least so wide. */
static const struct column {
    const char *title;
    size_t width;
    size_t from_width;
    cell_fn write;
} columns[] = {
    {"STATE", 9, 0, cell_state},      {"SINCE", 10, 100, cell_since},
    {"LATENCY", 14, 0, cell_latency}, {"SHARE", 6, 64, cell_share},
    {"ANS/S", 7, 92, cell_rate},      {"PEND", 5, 40, cell_pending},
    {"INFL", 5, 48, cell_inflight},   {"TTFT50", 8, 110, cell_p50},
    {"TTFT99", 8, 78, cell_p99},      {"PODS", 7, 56, cell_pods},
    {"REDIS", 6, 84, cell_redis},     {"EDGES", 12, 130, cell_edges},
};

static size_t name_width(const json_t *regions)
{
    size_t widest = NAME_WIDTH_MIN;
    size_t index;
    json_t *region;

    json_array_foreach(regions, index, region)
    {
        size_t len = strlen(text_at(region, "name"));

        widest = len > widest ? len : widest;
    }
    return widest > NAME_WIDTH_MAX ? NAME_WIDTH_MAX : widest;
}

static void draw_region(const json_t *region, bool is_home, size_t names, struct page *page)
{
    size_t column = names + 3;
    char cell[CELL_MAX];

    line_add(page, is_home ? LINE_STRONG : LINE_PLAIN, "%s %.*s", is_home ? ">" : " ", (int)names,
             text_at(region, "name"));
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        if (page->width < columns[i].from_width) {
            continue;
        }
        columns[i].write(region, cell);
        line_to(page, column);
        line_add(page, columns[i].write == cell_state ? state_style(region) : LINE_PLAIN, "%s",
                 cell);
        column += columns[i].width + 1;
    }
    line_end(page);
}

static void draw_regions(const json_t *status, struct page *page)
{
    const json_t *regions = at(status, "regions");
    size_t names = name_width(regions);
    size_t column = names + 3;
    size_t index;
    json_t *region;

    line_add(page, LINE_SOFT, "  REGION");
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        if (page->width >= columns[i].from_width) {
            line_to(page, column);
            line_add(page, LINE_SOFT, "%s", columns[i].title);
            column += columns[i].width + 1;
        }
    }
    line_end(page);
    json_array_foreach(regions, index, region)
    {
        draw_region(region, strcmp(text_at(region, "name"), text_at(status, "home")) == 0, names,
                    page);
    }
}

/* ---- pods that are not well ---- */

static void draw_pod(const json_t *region, const json_t *pod, struct page *page)
{
    char span[CELL_MAX];

    line_add(page, LINE_PLAIN, "  %s %s ", text_at(region, "name"), text_at(pod, "address"));
    line_add(page, state_style(pod), "%s", state_word(pod));
    line_add(page, LINE_PLAIN, " for %s", span_text(state_age(pod), span));
    line_add(page, LINE_SOFT, " %s", text_at(pod, "reason"));
    line_end(page);
}

static void draw_pods(const json_t *status, struct page *page)
{
    size_t count = 0;
    size_t r;
    size_t e;
    json_t *region;
    json_t *pod;

    json_array_foreach(at(status, "regions"), r, region)
    {
        json_array_foreach(at(region, "endpoints"), e, pod)
        {
            if (is_well(pod) || ++count > PODS_MAX) {
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
    const json_t *events = at(status, "events");
    size_t drawn = 0;
    char clock[CELL_MAX];

    line_end(page);
    line_add(page, LINE_SOFT, "  LAST EVENTS (UTC)");
    line_end(page);
    for (size_t i = json_array_size(events); i > 0 && drawn < EVENTS_MAX; i--) {
        const json_t *event = json_array_get(events, i - 1);

        if (text_at(event, "endpoint")[0] == '\0') {
            line_add(page, LINE_SOFT, "  %s ", clock_text(text_at(event, "time"), clock));
            line_add(page, LINE_PLAIN, "%s", text_at(event, "text"));
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
    draw_regions(status, page);
    draw_pods(status, page);
    draw_events(status, page);
}
