/* SPDX-License-Identifier: MIT */
/* A stored answer in the form that is wanted: which turn it takes, and the fields that go with it.
 * The bodies are turned by cache/form. */
#include <nearside/cache/fit.h>

#include "entry_private.h"

#include <nearside/cache/form.h>

enum turn {
    TURN_NONE, /* the entry does as it is */
    TURN_MERGE,
    TURN_SPLIT,
    TURN_FILTER,
    TURN_IMPOSSIBLE, /* usage cannot be made up */
};

/* [wanted][stored] */
static const enum turn turns[CACHE_FORM_COUNT][CACHE_FORM_FIXED] = {
    [CACHE_FORM_PLAIN] = {TURN_NONE, TURN_MERGE, TURN_MERGE},
    [CACHE_FORM_STREAM] = {TURN_SPLIT, TURN_NONE, TURN_FILTER},
    [CACHE_FORM_STREAM_USAGE] = {TURN_SPLIT, TURN_IMPOSSIBLE, TURN_NONE},
    [CACHE_FORM_FIXED] = {TURN_NONE, TURN_NONE, TURN_NONE},
};

static enum cache_form form_of(const struct cache_entry *entry)
{
    if (!cache_entry_is_stream(entry)) {
        return CACHE_FORM_PLAIN;
    }
    return cache_entry_has_usage(entry) ? CACHE_FORM_STREAM_USAGE : CACHE_FORM_STREAM;
}

static uint8_t flags_of(enum cache_form form)
{
    switch (form) {
    case CACHE_FORM_STREAM:
        return CACHE_ENTRY_STREAM;
    case CACHE_FORM_STREAM_USAGE:
        return CACHE_ENTRY_STREAM | CACHE_ENTRY_USAGE;
    default:
        return 0;
    }
}

static bool turn_body(struct str body, enum api api, enum turn turn, const struct form_wish *wish,
                      struct buf *out)
{
    if (body.len > CACHE_FIT_BYTES_MAX) {
        return false;
    }
    switch (turn) {
    case TURN_MERGE:
        return form_stream_to_plain(api, body, wish, out) == FORM_OK;
    case TURN_SPLIT:
        return form_plain_to_stream(api, body, wish, out) == FORM_OK;
    case TURN_FILTER:
        return form_stream_filter_usage(api, body, wish, out) == FORM_OK;
    case TURN_NONE:
    case TURN_IMPOSSIBLE:
        break;
    }
    return false;
}

/* ---- fields ---- */

static struct str type_line_of(enum cache_form form)
{
    return form == CACHE_FORM_PLAIN ? STR_LIT("Content-Type: application/json\r\n")
                                    : STR_LIT("Content-Type: text/event-stream; charset=utf-8\r\n");
}

/* They speak of the bytes that were stored. */
static bool is_of_the_bytes(struct str name)
{
    static const char *const names[] = {"content-type",   "etag",        "content-md5",  "digest",
                                        "content-digest", "repr-digest", "accept-ranges"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq_nocase(name, str_of(names[i]))) {
            return true;
        }
    }
    return false;
}

static void add_fields(struct entry_build *build, struct str fields, enum cache_form form)
{
    entry_build_append(build, type_line_of(form));
    while (fields.len > 0) {
        size_t len = str_find(fields, STR_LIT("\r\n")) + 2;
        struct str line = str_slice(fields, 0, len);
        if (!is_of_the_bytes(str_slice(line, 0, str_find_char(line, ':')))) {
            entry_build_append(build, line);
        }
        fields = str_slice(fields, len, fields.len);
    }
    entry_build_end_fields(build);
}

static struct cache_entry *entry_with(const struct cache_entry *entry, enum cache_form form,
                                      struct str body)
{
    struct str fields = cache_entry_fields(entry);
    struct cache_entry_facts facts;
    struct entry_build build;

    entry_build_init(&build);
    if (!entry_build_reserve(&build,
                             ENTRY_HEAD_BYTES + type_line_of(form).len + fields.len + body.len)) {
        return NULL;
    }
    add_fields(&build, fields, form);
    entry_build_append(&build, body);
    cache_entry_facts(entry, &facts);
    facts.flags = flags_of(form) | (facts.flags & CACHE_ENTRY_STRICT);
    return entry_build_take(&build, &facts);
}

/* ---- */

static struct cache_entry *turn_entry(const struct cache_entry *entry, enum api api,
                                      enum cache_form wanted, size_t bytes_max)
{
    struct form_wish wish = {
        .include_usage = wanted == CACHE_FORM_STREAM_USAGE,
        .bytes_max = bytes_max < CACHE_FIT_BYTES_MAX ? bytes_max : CACHE_FIT_BYTES_MAX,
    };
    struct cache_entry *turned = NULL;
    struct buf body;

    buf_init_try(&body);
    if (turn_body(cache_entry_body(entry), api, turns[wanted][form_of(entry)], &wish, &body)) {
        turned = entry_with(entry, wanted, buf_str(&body));
    }
    buf_done(&body);
    return turned;
}

struct cache_entry *cache_entry_fit(struct cache_entry *entry, enum api api, enum cache_form wanted,
                                    size_t bytes_max)
{
    if (turns[wanted][form_of(entry)] == TURN_NONE) {
        return entry;
    }
    struct cache_entry *turned = turn_entry(entry, api, wanted, bytes_max);
    cache_entry_unref(entry);
    return turned;
}
