/* SPDX-License-Identifier: MIT */
/*
 * A stream with usage as it would have come without.
 *
 * Nothing is parsed into trees: each chunk is scanned (http/json_scan), and `usage` cut out of its
 * bytes. The other bytes stay as they are.
 */
#include "form_private.h"

#include <nearside/http/json_scan.h>

struct filter {
    struct buf *out;
    size_t bytes_max;
    struct json_scan scan;
};

static const struct json_member *find_member(const struct json_scan *scan, struct str name)
{
    for (uint32_t i = 0; i < scan->member_count; i++) {
        if (str_eq(scan->members[i].name, name)) {
            return &scan->members[i];
        }
    }
    return NULL;
}

static bool is_null(const struct json_member *member)
{
    return str_eq(member->value, STR_LIT("null"));
}

/* As form_json_parse() judges: valid JSON of an odd kind is inexact, the rest is broken. */
static enum form_result result_of_scan(enum json_scan_result result)
{
    switch (result) {
    case JSON_SCAN_OK:
        return FORM_OK;
    case JSON_SCAN_DEPTH:
    case JSON_SCAN_MEMBERS:
    case JSON_SCAN_DUPLICATE:
    case JSON_SCAN_NAME:
        return FORM_INEXACT;
    default:
        return FORM_INVALID;
    }
}

static bool says_error(const struct json_scan *scan)
{
    const struct json_member *error = find_member(scan, STR_LIT("error"));
    const struct json_member *object = find_member(scan, STR_LIT("object"));

    return (error != NULL && !is_null(error)) ||
           (object != NULL && str_eq(object->value, STR_LIT("\"error\"")));
}

/* The event that tells usage and nothing else. */
static bool is_usage_event(const struct json_scan *scan)
{
    const struct json_member *choices = find_member(scan, STR_LIT("choices"));

    return choices != NULL && choices->value.ptr[0] == '[' && choices->compact_len == 2;
}

/* What would be lost with that event. */
static bool holds_last_member(const struct json_scan *scan)
{
    char name[JSON_SCAN_NAME_MAX + 1];

    for (uint32_t i = 0; i < scan->member_count; i++) {
        const struct json_member *member = &scan->members[i];
        memcpy(name, member->name.ptr, member->name.len);
        name[member->name.len] = '\0';
        if (form_member_of_answer(name) == FORM_MEMBER_LAST && !is_null(member)) {
            return true;
        }
    }
    return false;
}

/* Data that stood in several lines goes out in one: between tokens, a space will do. */
static void put_line(struct buf *out, struct str text)
{
    while (text.len > 0) {
        const size_t len = str_find_char(text, '\n');
        buf_append_str(out, str_slice(text, 0, len));
        if (len < text.len) {
            buf_append_char(out, ' ');
        }
        text = str_slice(text, len + 1, text.len);
    }
}

/* With the comma that becomes too much. */
static void put_without(struct filter *filter, struct str data, const struct json_member *usage)
{
    const struct json_scan *scan = &filter->scan;
    const char *from = usage->name.ptr - 1; /* its quote */
    const char *to = usage->value.ptr + usage->value.len;

    if (usage > scan->members) {
        from = usage[-1].value.ptr + usage[-1].value.len;
    } else if (scan->member_count > 1) {
        to = usage[1].name.ptr - 1;
    }
    buf_append_str(filter->out, STR_LIT("data: "));
    put_line(filter->out, str_slice(data, 0, (size_t)(from - data.ptr)));
    put_line(filter->out, str_slice(data, (size_t)(to - data.ptr), data.len));
    buf_append_str(filter->out, STR_LIT("\n\n"));
}

static enum form_result pass_chunk(struct filter *filter, struct str raw, struct str data)
{
    const struct json_scan *scan = &filter->scan;
    const struct json_member *usage = find_member(scan, STR_LIT("usage"));

    if (says_error(scan)) {
        return FORM_INVALID;
    }
    if (usage == NULL) {
        buf_append_str(filter->out, raw);
        return FORM_OK;
    }
    if (is_usage_event(scan) && !is_null(usage)) {
        return holds_last_member(scan) ? FORM_INEXACT : FORM_OK;
    }
    put_without(filter, data, usage);
    return FORM_OK;
}

static enum form_result on_event(void *arg, struct str raw, struct str data)
{
    struct filter *filter = arg;
    enum form_result result = FORM_OK;

    if (data.len == 0) {
        buf_append_str(filter->out, raw);
    } else {
        result = result_of_scan(json_scan(data, &filter->scan));
        result = result == FORM_OK ? pass_chunk(filter, raw, data) : result;
    }
    if (result == FORM_OK &&
        (buf_len(filter->out) > filter->bytes_max || buf_is_refused(filter->out))) {
        result = FORM_INEXACT;
    }
    return result;
}

enum form_result form_stream_filter_usage(enum api api, struct str events,
                                          const struct form_wish *wish, struct buf *out)
{
    struct filter filter;

    if (api != API_CHAT && api != API_COMPLETIONS) {
        return FORM_INEXACT;
    }
    /* Not by an initialiser: it would clear the scan. */
    filter.out = out;
    filter.bytes_max = wish->bytes_max;
    enum form_result result = form_each_event(events, on_event, &filter);
    if (result != FORM_OK) {
        buf_clear(out);
    }
    return result;
}
