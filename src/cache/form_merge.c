/* SPDX-License-Identifier: MIT */
/* An event stream as one plain answer: members of the answer here, choices in
 * form_merge_choice.c. */
#include "form_merge_private.h"

struct merge {
    enum api api;
    json_t *members;         /* owned: all but object, choices and usage, as first seen */
    json_t *usage;           /* ref held; NULL until seen */
    bool usage_is_total;     /* the present one is of the whole answer */
    bool usage_stands_alone; /* on an event without choices */
    struct str data;         /* of the present event, if it stands in one line */
    struct form_repeat repeat;
    size_t choice_count;                             /* the highest index + 1 */
    struct merged_choice *choices[FORM_CHOICES_MAX]; /* owned; NULL where not seen */
};

static enum form_result take_same(struct merge *merge, const char *name, json_t *value)
{
    const json_t *before = json_object_get(merge->members, name);

    if (before != NULL && !json_is_null(before)) {
        return json_equal(before, value) ? FORM_OK : FORM_INEXACT;
    }
    return form_json_set(merge->members, name, value);
}

static enum form_result take_first(struct merge *merge, const char *name, json_t *value)
{
    if (json_is_null(json_object_get(merge->members, name))) {
        return form_json_set(merge->members, name, value);
    }
    return form_json_set_missing(merge->members, name, value);
}

static enum form_result take_object(const struct merge *merge, const json_t *value)
{
    return json_is_string(value) &&
                   str_eq(form_json_text(value), str_of(form_object_chunk(merge->api)))
               ? FORM_OK
               : FORM_INEXACT;
}

static enum form_result take_member(struct merge *merge, const char *name, json_t *value)
{
    if (strcmp(name, "object") == 0) {
        return take_object(merge, value);
    }
    if (json_is_null(value)) {
        return form_json_set_missing(merge->members, name, value);
    }
    switch (form_member_of_answer(name)) {
    case FORM_MEMBER_FIRST:
        return take_first(merge, name, value);
    case FORM_MEMBER_SAME:
        return take_same(merge, name, value);
    case FORM_MEMBER_LAST:
        return form_json_set(merge->members, name, value);
    case FORM_MEMBER_CHUNK_ONLY:
        return FORM_OK;
    case FORM_MEMBER_PLAIN_ONLY:
    case FORM_MEMBER_UNKNOWN:
        break;
    }
    return FORM_INEXACT;
}

static enum form_result take_choice(struct merge *merge, json_t *piece)
{
    const json_t *index = json_object_get(piece, "index");

    if (!json_is_integer(index) || json_integer_value(index) < 0 ||
        json_integer_value(index) >= FORM_CHOICES_MAX) {
        return FORM_INEXACT;
    }
    size_t at = (size_t)json_integer_value(index);
    if (merge->choices[at] == NULL) {
        merge->choices[at] = form_choice_new();
    }
    if (merge->choices[at] == NULL) {
        return FORM_INEXACT;
    }
    if (at >= merge->choice_count) {
        merge->choice_count = at + 1;
    }
    return form_choice_take(merge->choices[at], merge->api, piece);
}

static enum form_result take_choices(struct merge *merge, const json_t *choices)
{
    if (!json_is_array(choices)) {
        return FORM_INEXACT; /* not a chunk as we know them */
    }
    for (size_t i = 0; i < json_array_size(choices); i++) {
        enum form_result result = take_choice(merge, json_array_get(choices, i));
        if (result != FORM_OK) {
            return result;
        }
    }
    return FORM_OK;
}

/* Usage may be told as it grows; then it counts on the last chunk. */
static void take_usage(struct merge *merge, json_t *usage, const json_t *choices)
{
    merge->usage_is_total = json_is_object(usage);
    if (merge->usage_is_total) {
        json_decref(merge->usage);
        merge->usage = json_incref(usage);
        merge->usage_stands_alone = json_array_size(choices) == 0;
    }
}

/* A chunk that matches the pattern only adds to a text. The pattern was taken and has no end, so
 * its choice is there and still open. */
static bool is_repeat(void *arg, struct str data)
{
    struct merge *merge = arg;
    json_t *text = form_repeat_match(&merge->repeat, data);

    if (text == NULL) {
        merge->data = data; /* for on_chunk, which comes next */
        return false;
    }
    enum form_result result =
        form_choice_take_text(merge->choices[merge->repeat.choice_index], merge->repeat.text, text);
    json_decref(text);
    return result == FORM_OK; /* else the long way finds the same fault */
}

/* The data of the present event, once. Empty when it took several lines: those are not kept. */
static struct str take_data(struct merge *merge)
{
    struct str data = merge->data;

    merge->data = STR_EMPTY;
    return data;
}

static enum form_result on_chunk(void *arg, json_t *chunk)
{
    struct merge *merge = arg;
    const json_t *choices = json_object_get(chunk, "choices");
    struct str data = take_data(merge);
    enum form_result result;
    const char *name;
    json_t *value;

    json_object_foreach(chunk, name, value)
    {
        if (strcmp(name, "choices") == 0 || strcmp(name, "usage") == 0) {
            continue;
        }
        result = take_member(merge, name, value);
        if (result != FORM_OK) {
            return result;
        }
    }
    take_usage(merge, json_object_get(chunk, "usage"), choices);
    result = take_choices(merge, choices);
    if (result == FORM_OK) {
        form_repeat_learn(&merge->repeat, merge->api, data, chunk);
    }
    return result;
}

/* A usage beside a choice is that choice's; with several of them it is not the answer's. */
static bool has_usage(const struct merge *merge)
{
    return merge->usage_is_total && (merge->usage_stands_alone || merge->choice_count == 1);
}

static enum form_result finish_choices(const struct merge *merge, json_t *choices)
{
    for (size_t i = 0; i < merge->choice_count; i++) {
        json_t *choice;
        if (merge->choices[i] == NULL) {
            return FORM_INVALID;
        }
        enum form_result result = form_choice_finish(merge->choices[i], merge->api, i, &choice);
        if (result != FORM_OK) {
            return result;
        }
        if (json_array_append_new(choices, choice) != 0) {
            return FORM_INEXACT; /* memory alone can refuse it */
        }
    }
    return merge->choice_count > 0 ? FORM_OK : FORM_INVALID;
}

static bool is_leading(const char *name)
{
    return strcmp(name, "id") == 0 || strcmp(name, "created") == 0 || strcmp(name, "model") == 0;
}

static void write_member(const struct merge *merge, const char *name, struct buf *out)
{
    const json_t *value = json_object_get(merge->members, name);

    if (value != NULL) {
        form_json_write_name(out, ',', name);
        form_json_write(out, value);
    }
}

/* In OpenAI's order, but for `object`, which is always there, in front; what others add comes
 * behind. */
static void write_answer(const struct merge *merge, const json_t *choices, struct buf *out)
{
    const char *name;
    json_t *value;

    form_json_write_name(out, '{', "object");
    form_json_write_text(out, str_of(form_object_plain(merge->api)));
    write_member(merge, "id", out);
    write_member(merge, "created", out);
    write_member(merge, "model", out);
    form_json_write_name(out, ',', "choices");
    form_json_write(out, choices);
    form_json_write_name(out, ',', "usage");
    form_json_write(out, merge->usage);
    json_object_foreach(merge->members, name, value)
    {
        if (!is_leading(name)) {
            form_json_write_name(out, ',', name);
            form_json_write(out, value);
        }
    }
    buf_append_char(out, '}');
}

static enum form_result finish(const struct merge *merge, size_t bytes_max, struct buf *out)
{
    json_t *choices = json_array();
    enum form_result result = finish_choices(merge, choices);

    if (result == FORM_OK && !has_usage(merge)) {
        result = FORM_INEXACT;
    }
    if (result == FORM_OK) {
        write_answer(merge, choices, out);
    }
    json_decref(choices);
    if (buf_len(out) > bytes_max || buf_is_refused(out)) {
        buf_clear(out);
        return FORM_INEXACT;
    }
    return result;
}

static enum form_result merge_events(enum api api, struct str events, size_t bytes_max,
                                     struct buf *out)
{
    struct merge merge = {.api = api, .members = json_object()};

    enum form_result result = FORM_INEXACT;
    if (merge.members != NULL) {
        result = form_each_chunk(events, is_repeat, on_chunk, &merge);
    }
    if (result == FORM_OK) {
        result = finish(&merge, bytes_max, out);
    }
    json_decref(merge.members);
    json_decref(merge.usage);
    for (size_t i = 0; i < merge.choice_count; i++) {
        form_choice_free(merge.choices[i]);
    }
    return result;
}

enum form_result form_stream_to_plain(enum api api, struct str events, const struct form_wish *wish,
                                      struct buf *out)
{
    if (api != API_CHAT && api != API_COMPLETIONS) {
        return FORM_INEXACT;
    }
    form_trees_begin();
    enum form_result result = merge_events(api, events, wish->bytes_max, out);
    form_trees_end();
    return result;
}
