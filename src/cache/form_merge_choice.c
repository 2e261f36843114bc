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

static struct merged_call *calls_new(void)
{
    struct merged_call *calls = mem_try_alloc(FORM_TOOL_CALLS_MAX * sizeof(*calls));

    for (unsigned i = 0; calls != NULL && i < FORM_TOOL_CALLS_MAX; i++) {
        calls[i] = (struct merged_call){.seen = false};
        buf_init_try(&calls[i].arguments);
    }
    return calls;
}

struct merged_choice *form_choice_new(void)
{
    struct merged_choice *choice = mem_try_alloc(sizeof(*choice));

    if (choice == NULL) {
        return NULL;
    }
    *choice = (struct merged_choice){.extras = json_object(), .message_nulls = json_object()};
    for (unsigned i = 0; i < FORM_TEXT_COUNT; i++) {
        buf_init_try(&choice->texts[i].bytes);
    }
    buf_init_try(&choice->function_call.arguments);
    if (choice->extras == NULL || choice->message_nulls == NULL) {
        form_choice_free(choice);
        return NULL;
    }
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
    return buf_is_refused(bytes) ? FORM_INEXACT : FORM_OK;
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
        choice->tool_calls = calls_new();
    }
    if (choice->tool_calls == NULL) {
        return FORM_INEXACT;
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
        return form_json_set_missing(choice->message_nulls, name, value);
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

static enum form_result extend_list(json_t *logprobs, const char *name, json_t *more)
{
    if (!json_is_array(more)) {
        return form_json_set_missing(logprobs, name, more);
    }
    if (!json_is_array(json_object_get(logprobs, name)) &&
        form_json_set_new(logprobs, name, json_array()) != FORM_OK) {
        return FORM_INEXACT;
    }
    return json_array_extend(json_object_get(logprobs, name), more) == 0 ? FORM_OK : FORM_INEXACT;
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
    if (choice->logprobs == NULL) {
        return FORM_INEXACT;
    }
    json_object_foreach(piece, name, value)
    {
        enum form_result result = extend_list(choice->logprobs, name, value);
        if (result != FORM_OK) {
            return result;
        }
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
        return form_json_set_missing(choice->extras, name, value);
    }
    if (form_member_is_choice_extra(name) && is_scalar(value)) {
        return form_json_set(choice->extras, name, value);
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

/* The library's own does not tell when memory is refused. */
static enum form_result add_missing(json_t *object, json_t *more)
{
    enum form_result result = FORM_OK;
    const char *name;
    json_t *value;

    json_object_foreach(more, name, value)
    {
        if (result == FORM_OK) {
            result = form_json_set_missing(object, name, value);
        }
    }
    return result;
}

static json_t *string_of(const struct buf *bytes)
{
    struct str text = buf_str(bytes);

    return json_stringn_nocheck(text.ptr, text.len); /* each piece was valid */
}

static enum form_result set_function(json_t *object, const char *name,
                                     const struct merged_call *call)
{
    json_t *function = json_object();

    if (form_json_set(function, "name", call->name) != FORM_OK ||
        form_json_set_new(function, "arguments", string_of(&call->arguments)) != FORM_OK) {
        json_decref(function);
        return FORM_INEXACT;
    }
    return form_json_set_new(object, name, function);
}

static enum form_result append_call(json_t *calls, const struct merged_call *merged)
{
    json_t *call = json_object();

    if (form_json_set(call, "id", merged->id) != FORM_OK ||
        form_json_set(call, "type", merged->type) != FORM_OK ||
        set_function(call, "function", merged) != FORM_OK) {
        json_decref(call);
        return FORM_INEXACT;
    }
    return json_array_append_new(calls, call) == 0 ? FORM_OK : FORM_INEXACT;
}

/* Calls 0 to n - 1, each with its id, type and name. */
static enum form_result finish_calls(const struct merged_choice *choice, json_t *message)
{
    bool ended = false;

    if (form_json_set_new(message, "tool_calls", json_array()) != FORM_OK) {
        return FORM_INEXACT;
    }
    json_t *calls = json_object_get(message, "tool_calls");
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
        if (append_call(calls, merged) != FORM_OK) {
            return FORM_INEXACT;
        }
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
static enum form_result finish_texts(const struct merged_choice *choice, json_t *message)
{
    for (unsigned i = 0; i < FORM_TEXT_COUNT; i++) {
        const struct merged_text *text = &choice->texts[i];
        bool is_empty = i == FORM_TEXT_CONTENT && !has_other_than_content(choice);
        if (!text->seen && i != FORM_TEXT_CONTENT) {
            continue;
        }
        if (form_json_set_new(message, form_text_name((enum form_text)i),
                              text->is_string || is_empty ? string_of(&text->bytes)
                                                          : json_null()) != FORM_OK) {
            return FORM_INEXACT;
        }
    }
    return FORM_OK;
}

/* A stream that tells no role has the only one there is. */
static enum form_result finish_role(const struct merged_choice *choice, json_t *message)
{
    return choice->role == NULL ? form_json_set_new(message, "role", json_string("assistant"))
                                : form_json_set(message, "role", choice->role);
}

static enum form_result finish_message(const struct merged_choice *choice, json_t *message)
{
    enum form_result result = finish_role(choice, message);

    if (result == FORM_OK) {
        result = finish_texts(choice, message);
    }
    if (result == FORM_OK && choice->function_call.seen) {
        result = choice->function_call.name == NULL
                     ? FORM_INEXACT
                     : set_function(message, "function_call", &choice->function_call);
    }
    if (result == FORM_OK && choice->tool_calls != NULL) {
        result = finish_calls(choice, message);
    }
    return result == FORM_OK ? add_missing(message, choice->message_nulls) : result;
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

/* In the order of its members: message or text, logprobs, finish_reason, the rest. */
static enum form_result fill_choice(const struct merged_choice *choice, enum api api, size_t index,
                                    json_t *whole)
{
    enum form_result result = form_json_set_new(whole, "index", json_integer((json_int_t)index));

    if (result == FORM_OK && api == API_CHAT) {
        result = form_json_set_new(whole, "message", json_object());
        if (result == FORM_OK) {
            result = finish_message(choice, json_object_get(whole, "message"));
        }
    } else if (result == FORM_OK) {
        result =
            form_json_set_new(whole, "text", string_of(&choice->texts[FORM_TEXT_CONTENT].bytes));
    }
    if (result == FORM_OK && choice->logprobs != NULL) {
        result = form_json_set(whole, "logprobs", choice->logprobs);
    }
    if (result == FORM_OK) {
        result = form_json_set(whole, "finish_reason", choice->finish_reason);
    }
    return result == FORM_OK ? add_missing(whole, choice->extras) : result;
}

enum form_result form_choice_finish(const struct merged_choice *choice, enum api api, size_t index,
                                    json_t **ret_choice)
{
    if (choice->finish_reason == NULL) {
        return FORM_INVALID; /* cut */
    }
    if (!logprobs_hold_together(choice->logprobs)) {
        return FORM_INEXACT;
    }
    json_t *whole = json_object();
    enum form_result result = fill_choice(choice, api, index, whole);
    if (result != FORM_OK) {
        json_decref(whole);
        return result;
    }
    *ret_choice = whole;
    return FORM_OK;
}
