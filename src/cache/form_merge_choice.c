/* SPDX-License-Identifier: MIT */
/*
 * One choice, merged: texts by concatenation, tool calls by their index, logprobs list by list,
 * the rest by a rule for each name. What has no rule is inexact.
 */
#include "form_merge_private.h"

#include <nearside/base/mem.h>

static void call_done(struct merged_call *call)
{
    json_decref(call->id);
    json_decref(call->type);
    json_decref(call->name);
    buf_done(&call->arguments);
}

struct merged_choice *form_choice_new(void)
{
    struct merged_choice *choice = mem_new(struct merged_choice);

    choice->extras = json_object();
    choice->message_nulls = json_object();
    return choice;
}

void form_choice_free(struct merged_choice *choice)
{
    if (choice == NULL) {
        return;
    }
    json_decref(choice->role);
    json_decref(choice->finish_reason);
    json_decref(choice->logprobs);
    json_decref(choice->extras);
    json_decref(choice->message_nulls);
    for (unsigned i = 0; i < FORM_TEXT_COUNT; i++) {
        buf_done(&choice->texts[i].bytes);
    }
    call_done(&choice->function_call);
    for (unsigned i = 0; choice->tool_calls != NULL && i < FORM_TOOL_CALLS_MAX; i++) {
        call_done(&choice->tool_calls[i]);
    }
    mem_free(choice->tool_calls);
    mem_free(choice);
}

/* ---- pieces ---- */

/* A string that comes whole: once, or again with the same value. Null and "" say nothing. */
static enum form_result take_whole(json_t **whole, json_t *piece)
{
    if (json_is_null(piece) || (json_is_string(piece) && json_string_length(piece) == 0)) {
        return FORM_OK;
    }
    if (!json_is_string(piece) || (*whole != NULL && !json_equal(*whole, piece))) {
        return FORM_INEXACT;
    }
    if (*whole == NULL) {
        *whole = json_incref(piece);
    }
    return FORM_OK;
}

static enum form_result take_string(struct buf *bytes, const json_t *piece)
{
    if (!json_is_string(piece)) {
        return json_is_null(piece) ? FORM_OK : FORM_INEXACT;
    }
    buf_append_str(bytes, form_json_text(piece));
    return FORM_OK;
}

enum form_result form_choice_take_text(struct merged_choice *choice, enum form_text which,
                                       const json_t *piece)
{
    struct merged_text *text = &choice->texts[which];

    if (choice->finish_reason != NULL && json_string_length(piece) > 0) {
        return FORM_INVALID; /* text behind the end */
    }
    text->seen = true;
    text->is_string = text->is_string || json_is_string(piece);
    return take_string(&text->bytes, piece);
}

static enum form_result take_function(struct merged_call *call, json_t *piece)
{
    enum form_result result = FORM_OK;
    const char *name;
    json_t *value;

    if (!json_is_object(piece)) {
        return FORM_INEXACT;
    }
    call->seen = true;
    json_object_foreach(piece, name, value)
    {
        if (strcmp(name, "name") == 0) {
            result = call->name == NULL || json_string_length(value) == 0
                         ? take_whole(&call->name, value)
                         : FORM_INEXACT; /* a name in pieces, or said twice? */
        } else if (strcmp(name, "arguments") == 0) {
            result = take_string(&call->arguments, value);
        } else if (!json_is_null(value)) {
            result = FORM_INEXACT;
        }
        if (result != FORM_OK) {
            return result;
        }
    }
    return FORM_OK;
}

static enum form_result take_call_member(struct merged_call *call, const char *name, json_t *value)
{
    if (json_is_null(value) || strcmp(name, "index") == 0) {
        return FORM_OK;
    }
    if (strcmp(name, "id") == 0) {
        return take_whole(&call->id, value);
    }
    if (strcmp(name, "type") == 0) {
        return take_whole(&call->type, value);
    }
    if (strcmp(name, "function") == 0) {
        return take_function(call, value);
    }
    return FORM_INEXACT;
}

static enum form_result take_call(struct merged_choice *choice, json_t *piece)
{
    const json_t *index = json_object_get(piece, "index");
    const char *name;
    json_t *value;

    if (choice->finish_reason != NULL) {
        return FORM_INVALID;
    }
    if (!json_is_integer(index) || json_integer_value(index) < 0 ||
        json_integer_value(index) >= FORM_TOOL_CALLS_MAX) {
        return FORM_INEXACT;
    }
    if (choice->tool_calls == NULL) {
        choice->tool_calls = mem_new_array(FORM_TOOL_CALLS_MAX, struct merged_call);
    }
    struct merged_call *call = &choice->tool_calls[json_integer_value(index)];
    call->seen = true;
    json_object_foreach(piece, name, value)
    {
        enum form_result result = take_call_member(call, name, value);
        if (result != FORM_OK) {
            return result;
        }
    }
    return FORM_OK;
}

static enum form_result take_calls(struct merged_choice *choice, const json_t *pieces)
{
    if (!json_is_array(pieces)) {
        return FORM_INEXACT;
    }
    for (size_t i = 0; i < json_array_size(pieces); i++) {
        enum form_result result = take_call(choice, json_array_get(pieces, i));
        if (result != FORM_OK) {
            return result;
        }
    }
    return FORM_OK;
}

static enum form_result take_delta_member(struct merged_choice *choice, const char *name,
                                          json_t *value)
{
    enum form_text text = form_text_of(name);

    if (text != FORM_TEXT_COUNT) {
        return form_choice_take_text(choice, text, value);
    }
    if (strcmp(name, "role") == 0) {
        return take_whole(&choice->role, value);
    }
    if (json_is_null(value)) {
        form_json_set_missing(choice->message_nulls, name, value);
        return FORM_OK;
    }
    if (strcmp(name, "tool_calls") == 0) {
        return take_calls(choice, value);
    }
    if (strcmp(name, "function_call") == 0) {
        return choice->finish_reason == NULL ? take_function(&choice->function_call, value)
                                             : FORM_INVALID;
    }
    if (strcmp(name, "annotations") == 0 && json_is_array(value) && json_array_size(value) == 0) {
        return FORM_OK;
    }
    return FORM_INEXACT;
}

static enum form_result take_delta(struct merged_choice *choice, json_t *delta)
{
    const char *name;
    json_t *value;

    if (!json_is_object(delta)) {
        return json_is_null(delta) ? FORM_OK : FORM_INEXACT;
    }
    json_object_foreach(delta, name, value)
    {
        enum form_result result = take_delta_member(choice, name, value);
        if (result != FORM_OK) {
            return result;
        }
    }
    return FORM_OK;
}

/* ---- logprobs ---- */

static void extend_list(json_t *logprobs, const char *name, json_t *more)
{
    json_t *list = json_object_get(logprobs, name);

    if (!json_is_array(more)) {
        form_json_set_missing(logprobs, name, more);
        return;
    }
    if (!json_is_array(list)) {
        list = json_array();
        form_json_set(logprobs, name, list);
        json_decref(list); /* the object holds it */
    }
    (void)json_array_extend(list, more); /* memory alone can refuse it */
}

static enum form_result take_logprobs(struct merged_choice *choice, json_t *piece)
{
    const char *name;
    json_t *value;

    if (!form_logprobs_are_known(piece) || !form_logprobs_are_parallel(piece)) {
        return FORM_INEXACT;
    }
    if (choice->logprobs == NULL || (json_is_null(choice->logprobs) && json_is_object(piece))) {
        json_decref(choice->logprobs);
        choice->logprobs = json_is_null(piece) ? json_null() : json_object();
    }
    json_object_foreach(piece, name, value)
    {
        extend_list(choice->logprobs, name, value);
    }
    return FORM_OK;
}

/* ---- a chunk's choice ---- */

static enum form_result take_finish_reason(struct merged_choice *choice, json_t *value)
{
    if (json_is_null(value)) {
        return FORM_OK;
    }
    if (!json_is_string(value) || json_string_length(value) == 0) {
        return FORM_INEXACT;
    }
    if (choice->finish_reason != NULL) {
        return json_equal(choice->finish_reason, value) ? FORM_OK : FORM_INVALID;
    }
    choice->finish_reason = json_incref(value);
    return FORM_OK;
}

static bool is_scalar(const json_t *value)
{
    return json_is_string(value) || json_is_number(value) || json_is_boolean(value);
}

static enum form_result take_member(struct merged_choice *choice, const char *name, json_t *value)
{
    if (strcmp(name, "logprobs") == 0) {
        return take_logprobs(choice, value);
    }
    if (json_is_null(value)) {
        form_json_set_missing(choice->extras, name, value);
        return FORM_OK;
    }
    if (form_member_is_choice_extra(name) && is_scalar(value)) {
        form_json_set(choice->extras, name, value);
        return FORM_OK;
    }
    return FORM_INEXACT;
}

/* The end of a choice counts after its last piece, wherever the member stands in the object. */
enum form_result form_choice_take(struct merged_choice *choice, enum api api, json_t *piece)
{
    const char *body = api == API_CHAT ? "delta" : "text";
    json_t *finish_reason = json_null();
    enum form_result result = FORM_OK;
    const char *name;
    json_t *value;

    json_object_foreach(piece, name, value)
    {
        if (strcmp(name, body) == 0) {
            result = api == API_CHAT ? take_delta(choice, value)
                                     : form_choice_take_text(choice, FORM_TEXT_CONTENT, value);
        } else if (strcmp(name, "finish_reason") == 0) {
            finish_reason = value;
        } else if (strcmp(name, "index") != 0) {
            result = take_member(choice, name, value);
        }
        if (result != FORM_OK) {
            return result;
        }
    }
    return take_finish_reason(choice, finish_reason);
}

/* ---- the whole ---- */

/* Set a member to a new value, which the object then holds alone. */
static void set_new(json_t *object, const char *name, json_t *value)
{
    form_json_set(object, name, value);
    json_decref(value);
}

static json_t *string_of(const struct buf *bytes)
{
    struct str text = buf_str(bytes);

    return json_stringn_nocheck(text.ptr, text.len); /* each piece was valid */
}

static json_t *function_of(const struct merged_call *call)
{
    json_t *function = json_object();

    form_json_set(function, "name", call->name);
    set_new(function, "arguments", string_of(&call->arguments));
    return function;
}

/* Calls 0 to n - 1, each with its id, type and name. */
static enum form_result finish_calls(const struct merged_choice *choice, json_t *message)
{
    json_t *calls = json_array();
    bool ended = false;

    set_new(message, "tool_calls", calls);
    for (unsigned i = 0; i < FORM_TOOL_CALLS_MAX; i++) {
        const struct merged_call *merged = &choice->tool_calls[i];
        if (!merged->seen) {
            ended = true;
            continue;
        }
        if (ended || merged->id == NULL || merged->type == NULL || merged->name == NULL ||
            !str_eq(form_json_text(merged->type), STR_LIT("function"))) {
            return FORM_INEXACT;
        }
        json_t *call = json_object();
        form_json_set(call, "id", merged->id);
        form_json_set(call, "type", merged->type);
        set_new(call, "function", function_of(merged));
        (void)json_array_append_new(calls, call); /* memory alone can refuse it */
    }
    return FORM_OK;
}

/* Is there something that stands where the content would? */
static bool has_other_than_content(const struct merged_choice *choice)
{
    return choice->tool_calls != NULL || choice->function_call.seen ||
           choice->texts[FORM_TEXT_REFUSAL].is_string;
}

/* `content` is always there; the other texts when a delta named them. llama.cpp begins each stream
 * with a null content, but its plain answers have a null beside calls alone. */
static void finish_texts(const struct merged_choice *choice, json_t *message)
{
    for (unsigned i = 0; i < FORM_TEXT_COUNT; i++) {
        const struct merged_text *text = &choice->texts[i];
        bool is_empty = i == FORM_TEXT_CONTENT && !has_other_than_content(choice);
        if (text->seen || i == FORM_TEXT_CONTENT) {
            set_new(message, form_text_name((enum form_text)i),
                    text->is_string || is_empty ? string_of(&text->bytes) : json_null());
        }
    }
}

static enum form_result finish_message(const struct merged_choice *choice, json_t *message)
{
    if (choice->role == NULL) {
        set_new(message, "role", json_string("assistant")); /* it has no other */
    } else {
        form_json_set(message, "role", choice->role);
    }
    finish_texts(choice, message);
    if (choice->function_call.seen) {
        if (choice->function_call.name == NULL) {
            return FORM_INEXACT;
        }
        set_new(message, "function_call", function_of(&choice->function_call));
    }
    if (choice->tool_calls != NULL) {
        enum form_result result = finish_calls(choice, message);
        if (result != FORM_OK) {
            return result;
        }
    }
    (void)json_object_update_missing(message, choice->message_nulls);
    return FORM_OK;
}

/* Lists that grew in some chunks only no longer say which value belongs to which token; offsets
 * that fall back were counted from the chunk and not from the beginning. */
static bool logprobs_hold_together(const json_t *logprobs)
{
    const json_t *offsets = json_object_get(logprobs, "text_offset");

    for (size_t i = 1; i < json_array_size(offsets); i++) {
        if (json_integer_value(json_array_get(offsets, i)) <
            json_integer_value(json_array_get(offsets, i - 1))) {
            return false;
        }
    }
    return form_logprobs_are_parallel(logprobs);
}

enum form_result form_choice_finish(const struct merged_choice *choice, enum api api, size_t index,
                                    json_t **ret_choice)
{
    enum form_result result = FORM_OK;

    if (choice->finish_reason == NULL) {
        return FORM_INVALID; /* cut */
    }
    if (!logprobs_hold_together(choice->logprobs)) {
        return FORM_INEXACT;
    }
    json_t *whole = json_object();
    set_new(whole, "index", json_integer((json_int_t)index));
    if (api == API_CHAT) {
        json_t *message = json_object();
        set_new(whole, "message", message);
        result = finish_message(choice, message);
    } else {
        set_new(whole, "text", string_of(&choice->texts[FORM_TEXT_CONTENT].bytes));
    }
    if (result != FORM_OK) {
        json_decref(whole);
        return result;
    }
    if (choice->logprobs != NULL) {
        form_json_set(whole, "logprobs", choice->logprobs);
    }
    form_json_set(whole, "finish_reason", choice->finish_reason);
    (void)json_object_update_missing(whole, choice->extras);
    *ret_choice = whole;
    return FORM_OK;
}
