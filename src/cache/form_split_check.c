/* SPDX-License-Identifier: MIT */
/* Can one choice of a plain answer be told in events? Asked before the first one is written. */
#include "form_split_private.h"

static bool is_scalar(const json_t *value)
{
    return json_is_string(value) || json_is_number(value) || json_is_boolean(value);
}

static bool is_empty_list(const json_t *value)
{
    return json_is_array(value) && json_array_size(value) == 0;
}

static enum form_result check_call_member(const char *name, const json_t *value)
{
    if (strcmp(name, "index") == 0) { /* Ollama; in a plain answer the place says it */
        return json_is_integer(value) ? FORM_OK : FORM_INEXACT;
    }
    return strcmp(name, "id") == 0 || strcmp(name, "type") == 0 || strcmp(name, "function") == 0
               ? FORM_OK
               : FORM_INEXACT;
}

static bool is_name(const json_t *value)
{
    return json_is_string(value) && json_string_length(value) > 0;
}

static bool is_function(json_t *function)
{
    const char *name;
    json_t *value;

    json_object_foreach(function, name, value)
    {
        if (strcmp(name, "name") != 0 && strcmp(name, "arguments") != 0 && !json_is_null(value)) {
            return false;
        }
    }
    return is_name(json_object_get(function, "name")) &&
           json_is_string(json_object_get(function, "arguments"));
}

static enum form_result check_call(json_t *call)
{
    const json_t *type = json_object_get(call, "type");
    const char *name;
    json_t *value;

    if (!is_name(json_object_get(call, "id")) || !is_name(type) ||
        !str_eq(form_json_text(type), STR_LIT("function")) ||
        !is_function(json_object_get(call, "function"))) {
        return FORM_INEXACT;
    }
    json_object_foreach(call, name, value)
    {
        if (!json_is_null(value) && check_call_member(name, value) != FORM_OK) {
            return FORM_INEXACT;
        }
    }
    return FORM_OK;
}

static enum form_result check_calls(const json_t *calls)
{
    if (!json_is_array(calls) || json_array_size(calls) > FORM_TOOL_CALLS_MAX) {
        return FORM_INEXACT;
    }
    for (size_t i = 0; i < json_array_size(calls); i++) {
        if (check_call(json_array_get(calls, i)) != FORM_OK) {
            return FORM_INEXACT;
        }
    }
    return FORM_OK;
}

static enum form_result check_message_member(const char *name, json_t *value)
{
    if (strcmp(name, "role") == 0) {
        return is_name(value) ? FORM_OK : FORM_INEXACT;
    }
    if (json_is_null(value)) {
        return FORM_OK;
    }
    if (form_text_of(name) != FORM_TEXT_COUNT) {
        return json_is_string(value) ? FORM_OK : FORM_INEXACT;
    }
    if (strcmp(name, "tool_calls") == 0) {
        return check_calls(value);
    }
    if (strcmp(name, "function_call") == 0) {
        return is_function(value) ? FORM_OK : FORM_INEXACT;
    }
    return strcmp(name, "annotations") == 0 && is_empty_list(value) ? FORM_OK : FORM_INEXACT;
}

/* Two members with the same reasoning are read as one by clients that take either; two with
 * different ones would have to keep an order that we do not know. */
static bool reasoning_is_one(const json_t *message)
{
    const json_t *one = json_object_get(message, form_text_name(FORM_TEXT_REASONING_CONTENT));
    const json_t *other = json_object_get(message, form_text_name(FORM_TEXT_REASONING));

    return json_string_length(one) == 0 || json_string_length(other) == 0 || json_equal(one, other);
}

static enum form_result check_message(json_t *message)
{
    const char *name;
    json_t *value;

    if (!json_is_object(message) || json_object_get(message, "role") == NULL ||
        !reasoning_is_one(message)) {
        return FORM_INEXACT;
    }
    json_object_foreach(message, name, value)
    {
        if (check_message_member(name, value) != FORM_OK) {
            return FORM_INEXACT;
        }
    }
    return FORM_OK;
}

static enum form_result check_member(const struct form_split *split, const char *name,
                                     json_t *value)
{
    if (strcmp(name, "finish_reason") == 0) {
        return is_name(value) ? FORM_OK : FORM_INVALID;
    }
    if (strcmp(name, "logprobs") == 0) {
        return form_logprobs_are_known(value) && form_logprobs_are_parallel(value) ? FORM_OK
                                                                                   : FORM_INEXACT;
    }
    if (split->api == API_CHAT && strcmp(name, "message") == 0) {
        return check_message(value);
    }
    if (split->api == API_COMPLETIONS && strcmp(name, "text") == 0) {
        return json_is_string(value) ? FORM_OK : FORM_INEXACT;
    }
    if (split->api == API_CHAT && strcmp(name, "delta") == 0) {
        return FORM_INEXACT; /* its place in the events is taken */
    }
    if (strcmp(name, "index") == 0 || json_is_null(value)) {
        return FORM_OK;
    }
    return form_member_is_choice_extra(name) && is_scalar(value) ? FORM_OK : FORM_INEXACT;
}

enum form_result form_choice_check(const struct form_split *split, size_t index, json_t *choice)
{
    const json_t *stated_index = json_object_get(choice, "index");
    const char *body = split->api == API_CHAT ? "message" : "text";
    const char *name;
    json_t *value;

    if (json_object_get(choice, "finish_reason") == NULL || json_object_get(choice, body) == NULL) {
        return FORM_INVALID;
    }
    if (!json_is_integer(stated_index) || json_integer_value(stated_index) != (json_int_t)index) {
        return FORM_INEXACT;
    }
    json_object_foreach(choice, name, value)
    {
        enum form_result result = check_member(split, name, value);
        if (result != FORM_OK) {
            return result;
        }
    }
    return FORM_OK;
}
