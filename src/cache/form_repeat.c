/* SPDX-License-Identifier: MIT */
/*
 * Most chunks of a stream are the chunk before but for one text. Those are recognised by their
 * bytes and not parsed: a tree for each costs ten times as much, on a thread that has other
 * connections to serve.
 *
 * A chunk can serve as a pattern if taking it twice changes nothing but its text: one choice, no
 * usage, no end, no lists. Its text must be findable in its bytes beyond doubt.
 */
#include "form_merge_private.h"

#include <stdio.h>

/* May a delta's other member be taken again and again? Strings and null may. */
static bool repeats_well(const json_t *value)
{
    return !json_is_array(value) && !json_is_object(value);
}

/* The one text member that is a string; FORM_TEXT_COUNT: none, several, or others in the way. */
static enum form_text only_text(json_t *delta)
{
    enum form_text found = FORM_TEXT_COUNT;
    const char *name;
    json_t *value;

    json_object_foreach(delta, name, value)
    {
        enum form_text text = form_text_of(name);
        bool is_text = text != FORM_TEXT_COUNT && json_is_string(value);
        if (!repeats_well(value) || (is_text && found != FORM_TEXT_COUNT)) {
            return FORM_TEXT_COUNT;
        }
        found = is_text ? text : found;
    }
    return found;
}

static bool is_null_or_absent(const json_t *value)
{
    return value == NULL || json_is_null(value);
}

/* The only choice of a chunk that may serve as a pattern, or NULL. */
static const json_t *only_choice(const json_t *chunk)
{
    const json_t *choices = json_object_get(chunk, "choices");
    const json_t *choice = json_array_get(choices, 0);

    return json_array_size(choices) == 1 && is_null_or_absent(json_object_get(chunk, "usage")) &&
                   is_null_or_absent(json_object_get(choice, "finish_reason")) &&
                   is_null_or_absent(json_object_get(choice, "logprobs"))
               ? choice
               : NULL;
}

static bool has(struct str text, struct str part)
{
    return str_find(text, part) < text.len;
}

/* The value of `"name":"..."` in `data`: where it begins and ends between its quotes. The name
 * stands there once; without a backslash around the value, no escape can hide another. */
static bool find_value(struct str data, const char *name, struct form_repeat *ret_repeat)
{
    char key[32];
    int key_len = snprintf(key, sizeof(key), "\"%s\"", name);
    size_t at = str_find(data, str_make(key, (size_t)key_len));
    size_t from = at + (size_t)key_len;

    if (from >= data.len || data.ptr[from] != ':') {
        return false;
    }
    from++;
    from += from < data.len && data.ptr[from] == ' ';
    if (from >= data.len || data.ptr[from] != '"') {
        return false;
    }
    from++;
    size_t to = from;
    while (to < data.len && data.ptr[to] != '"') {
        to += data.ptr[to] == '\\' ? 2 : 1;
    }
    struct str before = str_slice(data, 0, from);
    struct str behind = str_slice(data, to, data.len);
    if (has(before, STR_LIT("\\")) || has(behind, STR_LIT("\\")) ||
        has(behind, str_make(key, (size_t)key_len))) {
        return false;
    }
    ret_repeat->before = before;
    ret_repeat->behind = behind;
    return true;
}

void form_repeat_learn(struct form_repeat *repeat, enum api api, struct str data,
                       const json_t *chunk)
{
    const json_t *choice = only_choice(chunk);
    const char *name = "text";

    repeat->is_set = false;
    if (choice == NULL) {
        return;
    }
    repeat->choice_index = (size_t)json_integer_value(json_object_get(choice, "index"));
    repeat->text = FORM_TEXT_CONTENT;
    if (api == API_CHAT) {
        repeat->text = only_text(json_object_get(choice, "delta"));
        if (repeat->text == FORM_TEXT_COUNT) {
            return;
        }
        name = form_text_name(repeat->text);
    } else if (!json_is_string(json_object_get(choice, name))) {
        return;
    }
    repeat->is_set = find_value(data, name, repeat);
}

json_t *form_repeat_match(const struct form_repeat *repeat, struct str data)
{
    struct str before = repeat->before;
    struct str behind = repeat->behind;

    if (!repeat->is_set || data.len < before.len + behind.len || !str_starts(data, before) ||
        !str_ends(data, behind)) {
        return NULL;
    }
    /* With its quotes. What is not one string, such as `a","b":"c`, is not what it seemed. */
    struct str value = str_slice(data, before.len - 1, data.len - behind.len + 1);
    json_error_t error;
    return form_json_load(value, 1, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
}
