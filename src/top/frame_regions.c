/* SPDX-License-Identifier: MIT */
/* The table of regions: where it is narrow, the columns least asked give way. */
#include "frame_private.h"

#include "frame_value_private.h"

#include <stdio.h>
#include <string.h>

typedef void (*cell_fn)(const json_t *region, char out[VALUE_LEN]);

static void cell_state(const json_t *region, char out[VALUE_LEN])
{
    (void)snprintf(out, VALUE_LEN, "%s", value_state_word(region));
}

static void cell_since(const json_t *region, char out[VALUE_LEN])
{
    (void)value_span(value_state_age(region), out);
}

static void cell_latency(const json_t *region, char out[VALUE_LEN])
{
    char text[VALUE_LEN];

    (void)snprintf(out, VALUE_LEN, "%.16s%s", value_ms(value_at(region, "path_latency_ms"), text),
                   !json_is_number(value_at(region, "path_latency_ms")) ? ""
                   : value_is_true_at(region, "near")                   ? " near"
                                                                        : " far");
}

static void cell_share(const json_t *region, char out[VALUE_LEN])
{
    char text[VALUE_LEN];

    (void)snprintf(out, VALUE_LEN, "%.20s", value_share(value_at(region, "share"), text));
}

static void cell_rate(const json_t *region, char out[VALUE_LEN])
{
    char text[VALUE_LEN];

    (void)snprintf(out, VALUE_LEN, "%.20s", value_rate(value_at(region, "requests_per_s"), text));
}

static void cell_pending(const json_t *region, char out[VALUE_LEN])
{
    (void)value_count(value_at(region, "pending"), out);
}

static void cell_inflight(const json_t *region, char out[VALUE_LEN])
{
    (void)value_count(value_at(region, "inflight"), out);
}

static void cell_p50(const json_t *region, char out[VALUE_LEN])
{
    char text[VALUE_LEN];

    (void)snprintf(out, VALUE_LEN, "%.20s", value_ms(value_at(region, "ttft_recent_p50_ms"), text));
}

static void cell_p99(const json_t *region, char out[VALUE_LEN])
{
    char text[VALUE_LEN];

    (void)snprintf(out, VALUE_LEN, "%.20s", value_ms(value_at(region, "ttft_recent_p99_ms"), text));
}

static void cell_pods(const json_t *region, char out[VALUE_LEN])
{
    const json_t *pods = value_at(region, "endpoints");
    size_t well = 0;
    size_t index;
    json_t *pod;

    json_array_foreach(pods, index, pod)
    {
        well += value_is_well(pod);
    }
    (void)snprintf(out, VALUE_LEN, "%zu/%zu", well, json_array_size(pods));
}

static void cell_redis(const json_t *region, char out[VALUE_LEN])
{
    const json_t *redis = value_at(region, "redis");

    (void)snprintf(out, VALUE_LEN, "%s",
                   !value_is_true_at(redis, "configured") ? "-"
                   : value_text_at(redis, "error")[0]     ? "ERROR"
                   : value_is_true_at(redis, "up")        ? "up"
                                                          : "DOWN");
}

static void cell_edges(const json_t *region, char out[VALUE_LEN])
{
    const json_t *view = value_at(region, "fleet_view");

    (void)snprintf(out, VALUE_LEN, "%.0f up %.0f down", value_number_at(view, "up"),
                   value_number_at(view, "down"));
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
        size_t len = strlen(value_text_at(region, "name"));

        widest = len > widest ? len : widest;
    }
    return widest > NAME_WIDTH_MAX ? NAME_WIDTH_MAX : widest;
}

static void draw_region(const json_t *region, bool is_home, size_t names, struct page *page)
{
    size_t column = names + 3;
    char cell[VALUE_LEN];

    line_add(page, is_home ? LINE_STRONG : LINE_PLAIN, "%s %.*s", is_home ? ">" : " ", (int)names,
             value_text_at(region, "name"));
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        if (page->width < columns[i].from_width) {
            continue;
        }
        columns[i].write(region, cell);
        line_to(page, column);
        line_add(page, columns[i].write == cell_state ? value_state_style(region) : LINE_PLAIN,
                 "%s", cell);
        column += columns[i].width + 1;
    }
    line_end(page);
}

void frame_draw_regions(const json_t *status, struct page *page)
{
    const json_t *regions = value_at(status, "regions");
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
        draw_region(region,
                    strcmp(value_text_at(region, "name"), value_text_at(status, "home")) == 0,
                    names, page);
    }
}
