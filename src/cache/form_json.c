/* SPDX-License-Identifier: MIT */
/*
 * JSON in and out for cache/form.
 *
 * The tree is jansson's; the text is checked for depth and size first, because a tree takes up to a
 * hundred times its text. Writing is ours: straight into a buffer, and reals in the shortest of 15
 * to 17 digits that reads back as the same double, which is how servers wrote them.
 */
#include "form_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <stdio.h>
#include <stdlib.h>

/* Of this thread. The library's parser does not stand refused memory: it drops bytes of a string,
 * or ends the process. So while it runs there is no refusal; whether there is room for the tree is
 * asked before. */
static _Thread_local bool may_refuse;

static void *tree_alloc(size_t size)
{
    return may_refuse ? mem_try_alloc(size) : mem_alloc(size);
}

void form_trees_begin(void)
{
    may_refuse = true;
}

void form_trees_end(void)
{
    may_refuse = false;
}

void form_setup(void)
{
    json_set_alloc_funcs(tree_alloc, mem_free);
}

/* What a value takes at most (an object, with its table and first member); and a byte of text, with
 * the room that a growing string leaves behind. */
#define NODE_BYTES 320
#define TEXT_BYTES 4

static bool has_room(size_t nodes, size_t text_len)
{
    void *block = mem_try_alloc(nodes * NODE_BYTES + text_len * TEXT_BYTES);

    mem_free(block);
    return block != NULL;
}

json_t *form_json_load(struct str text, size_t nodes, size_t flags, json_error_t *ret_error)
{
    if (!has_room(nodes, text.len)) {
        return NULL;
    }
    const bool before = may_refuse;
    may_refuse = false;
    json_t *value = json_loadb(text.ptr, text.len, flags, ret_error);
    may_refuse = before;
    return value;
}

/* Bound what a tree of `text` would take. Syntax is not looked at: that is the parser's. */
static bool is_small_enough(struct str text, size_t *nodes_left)
{
    size_t depth = 0;
    size_t nodes = 1;
    bool in_string = false;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            nodes++;
            depth++;
            if (depth > FORM_DEPTH_MAX) {
                return false;
            }
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
        } else if (c == ',') {
            nodes++;
        }
    }
    if (nodes > *nodes_left) {
        return false;
    }
    *nodes_left -= nodes;
    return true;
}

/* Valid JSON that the library or clients do not agree on is inexact; the rest is broken. */
static enum form_result result_of_error(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_out_of_memory:
    case json_error_stack_overflow:
    case json_error_null_byte_in_key:
    case json_error_duplicate_key:
    case json_error_numeric_overflow:
        return FORM_INEXACT;
    default:
        return FORM_INVALID;
    }
}

enum form_result form_json_parse(struct str text, size_t *nodes_left, json_t **ret_object)
{
    const size_t nodes_before = *nodes_left;
    json_error_t error = {.line = -1};

    if (!is_small_enough(text, nodes_left)) {
        return FORM_INEXACT;
    }
    json_t *value = form_json_load(text, nodes_before - *nodes_left,
                                   JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (value == NULL) {
        return error.line == -1 ? FORM_INEXACT : result_of_error(&error);
    }
    if (!json_is_object(value)) {
        json_decref(value);
        return FORM_INVALID;
    }
    *ret_object = value;
    return FORM_OK;
}

static void write_real(struct buf *out, double value)
{
    char text[32]; /* -1.2345678901234567e-308 */

    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    buf_append_str(out, str_of(text));
    if (strpbrk(text, ".e") == NULL) {
        buf_append_str(out, STR_LIT(".0")); /* 1.0 stays a real */
    }
}

struct str form_json_text(const json_t *string)
{
    return str_make(json_string_value(string), json_string_length(string));
}

void form_json_write_text(struct buf *out, struct str text)
{
    buf_append_char(out, '"');
    buf_append_json(out, text);
    buf_append_char(out, '"');
}

void form_json_write_name(struct buf *out, char before, const char *name)
{
    buf_append_char(out, before);
    form_json_write_text(out, str_of(name));
    buf_append_char(out, ':');
}

static void write_object(struct buf *out, const json_t *object)
{
    /* The library's iterator takes the object as mutable, but does not change it. */
    json_t *mutable_object = (json_t *)(uintptr_t)object;
    char before = '{';
    const char *name;
    json_t *value;

    json_object_foreach(mutable_object, name, value)
    {
        form_json_write_name(out, before, name);
        form_json_write(out, value);
        before = ',';
    }
    buf_append(out, "{}", before == '{' ? 2 : 0);
    buf_append(out, "}", before == ',' ? 1 : 0);
}

static void write_array(struct buf *out, const json_t *array)
{
    buf_append_char(out, '[');
    for (size_t i = 0; i < json_array_size(array); i++) {
        buf_append(out, ",", i > 0 ? 1 : 0);
        form_json_write(out, json_array_get(array, i));
    }
    buf_append_char(out, ']');
}

/* As deep as its input was: FORM_DEPTH_MAX and a few levels of ours. */
void form_json_write(struct buf *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_object(out, value);
        return;
    case JSON_ARRAY:
        write_array(out, value);
        return;
    case JSON_STRING:
        form_json_write_text(out, form_json_text(value));
        return;
    case JSON_INTEGER:
        buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    case JSON_REAL:
        write_real(out, json_real_value(value));
        return;
    case JSON_TRUE:
        buf_append_str(out, STR_LIT("true"));
        return;
    case JSON_FALSE:
        buf_append_str(out, STR_LIT("false"));
        return;
    case JSON_NULL:
        buf_append_str(out, STR_LIT("null"));
        return;
    }
    ASSERT_UNREACHABLE("a JSON value of no type");
}

enum form_result form_json_set(json_t *object, const char *name, json_t *value)
{
    return json_object_set_nocheck(object, name, value) == 0 ? FORM_OK : FORM_INEXACT;
}

enum form_result form_json_set_missing(json_t *object, const char *name, json_t *value)
{
    return json_object_get(object, name) == NULL ? form_json_set(object, name, value) : FORM_OK;
}

enum form_result form_json_set_new(json_t *object, const char *name, json_t *value)
{
    enum form_result result = form_json_set(object, name, value);

    json_decref(value);
    return result;
}
