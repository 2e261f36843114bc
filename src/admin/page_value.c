/* SPDX-License-Identifier: MIT */
/* Numbers, times and texts of the status page. */
#include "page_value_private.h"

#include <nearside/base/assert.h>

#include <stdio.h>

#define PATH_MAX_LEN 64 /* "regions/63/endpoints/1023/pending" and room */

void page_escape(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            buf_append_str(out, STR_LIT("&amp;"));
            break;
        case '<':
            buf_append_str(out, STR_LIT("&lt;"));
            break;
        case '>':
            buf_append_str(out, STR_LIT("&gt;"));
            break;
        case '"':
            buf_append_str(out, STR_LIT("&quot;"));
            break;
        case '\'':
            buf_append_str(out, STR_LIT("&#39;"));
            break;
        default:
            buf_append_char(out, *text);
            break;
        }
    }
}

const json_t *page_at(const json_t *root, const char *path)
{
    struct str rest = str_of(path);
    struct str key;

    while (root != NULL && str_next_item(&rest, '/', &key)) {
        char text[PATH_MAX_LEN];
        uint64_t index;

        (void)snprintf(text, sizeof(text), "%.*s", STR_FMT(key));
        if (!json_is_array(root)) {
            root = json_object_get(root, text);
        } else {
            root = str_to_u64(key, &index) ? json_array_get(root, (size_t)index) : NULL;
        }
    }
    return root;
}

const char *page_text_at(const json_t *root, const char *path)
{
    const char *text = json_string_value(page_at(root, path));

    return text == NULL ? "" : text;
}

bool page_is_true(const json_t *root, const char *path)
{
    return json_is_true(page_at(root, path));
}

static void write_seconds(struct buf *out, double seconds)
{
    unsigned long long whole = (unsigned long long)seconds;
    unsigned long long days = whole / 86400;
    unsigned long long hours = whole / 3600 % 24;
    unsigned long long minutes = whole / 60 % 60;

    if (days > 0) {
        buf_printf(out, "%llu d %llu h", days, hours);
    } else if (hours > 0) {
        buf_printf(out, "%llu h %llu min", hours, minutes);
    } else if (minutes > 0) {
        buf_printf(out, "%llu min %llu s", minutes, whole % 60);
    } else {
        buf_printf(out, "%llu s", whole);
    }
}

static void write_bytes(struct buf *out, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;

    while (bytes >= 1024 && unit + 1 < ARRAY_LEN(units)) {
        bytes /= 1024;
        unit++;
    }
    buf_printf(out, "%.*f %s", unit == 0 ? 0 : 1, bytes, units[unit]);
}

void page_write(struct buf *out, const json_t *value, enum page_kind kind)
{
    double number = json_number_value(value);

    if (value == NULL || json_is_null(value)) {
        buf_append_str(out, STR_LIT("–"));
        return;
    }
    switch (kind) {
    case PAGE_TEXT:
        page_escape(out, json_is_string(value) ? json_string_value(value) : "");
        return;
    case PAGE_COUNT:
        buf_printf(out, "%.15g", number);
        return;
    case PAGE_MS:
        buf_printf(out, "%.*f ms", number < 10 ? 2 : number < 100 ? 1 : 0, number);
        return;
    case PAGE_SECONDS:
        write_seconds(out, number);
        return;
    case PAGE_BYTES:
        write_bytes(out, number);
        return;
    case PAGE_RATIO:
        buf_printf(out, "%.1f %%", 100 * number);
        return;
    }
    ASSERT_UNREACHABLE("page kind");
}
