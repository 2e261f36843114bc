/* SPDX-License-Identifier: MIT */
/*
 * A plain answer as the stream its server might have sent:
 *
 *   chat          a role event for each choice; then for each choice its reasoning, content and
 *                 refusal in pieces, its tool calls, and its finish_reason
 *   completions   for each choice its text in pieces, and its finish_reason
 *   both          the usage event, if wished; [DONE]
 *
 * Events are written as they are made: all of an event but its choice is the same text each time.
 */
#include "form_split_private.h"

void form_event_begin(struct form_split *split)
{
    buf_append_str(split->out, buf_str(&split->head));
}

static void end_event(struct form_split *split, bool is_last)
{
    if (is_last) {
        buf_append_str(split->out, buf_str(&split->last));
    }
    if (split->is_first_event) {
        buf_append_str(split->out, buf_str(&split->nulls));
        split->is_first_event = false;
    }
    buf_append_str(split->out, STR_LIT("}\n\n"));
}

bool form_event_end(struct form_split *split, bool is_last)
{
    buf_append_char(split->out, ']');
    if (split->usage_is_wished) {
        buf_append_str(split->out, STR_LIT(",\"usage\":null")); /* as OpenAI does */
    }
    end_event(split, is_last);
    return buf_len(split->out) <= split->bytes_max && !buf_is_refused(split->out);
}

static enum form_result put_member(struct form_split *split, const char *name, const json_t *value)
{
    struct buf *where = &split->head;

    if (json_is_null(value)) {
        where = &split->nulls;
    } else if (form_member_of_answer(name) == FORM_MEMBER_LAST) {
        where = &split->last;
    } else if (form_member_is_plain_only(name, value)) {
        return FORM_OK;
    } else if (form_member_of_answer(name) != FORM_MEMBER_SAME &&
               form_member_of_answer(name) != FORM_MEMBER_FIRST) {
        return FORM_INEXACT;
    }
    form_json_write_name(where, ',', name);
    form_json_write(where, value);
    return FORM_OK;
}

/* Sort the answer's members into what each event, the first and the last will hold. */
static enum form_result put_members(struct form_split *split, json_t *answer)
{
    const char *name;
    json_t *value;

    buf_append_str(&split->head, STR_LIT("data: "));
    form_json_write_name(&split->head, '{', "object");
    form_json_write_text(&split->head, str_of(form_object_chunk(split->api)));
    json_object_foreach(answer, name, value)
    {
        if (strcmp(name, "object") == 0 || strcmp(name, "choices") == 0 ||
            strcmp(name, "usage") == 0) {
            continue;
        }
        enum form_result result = put_member(split, name, value);
        if (result != FORM_OK) {
            return result;
        }
    }
    form_json_write_name(&split->head, ',', "choices");
    buf_append_char(&split->head, '[');
    return FORM_OK;
}

/* Is it an answer of this API, whole and with what the stream must tell? */
static enum form_result check_answer(const struct form_split *split, const json_t *answer)
{
    const json_t *object = json_object_get(answer, "object");
    const json_t *error = json_object_get(answer, "error");
    const json_t *choices = json_object_get(answer, "choices");
    const json_t *usage = json_object_get(answer, "usage");

    if (error != NULL && !json_is_null(error)) {
        return FORM_INVALID;
    }
    if (!json_is_array(choices) || json_array_size(choices) == 0) {
        return FORM_INVALID;
    }
    if (!json_is_string(object) ||
        !str_eq(form_json_text(object), str_of(form_object_plain(split->api)))) {
        return FORM_INEXACT;
    }
    if (json_array_size(choices) > FORM_CHOICES_MAX) {
        return FORM_INEXACT;
    }
    if (usage != NULL && !json_is_null(usage) && !json_is_object(usage)) {
        return FORM_INEXACT;
    }
    return split->usage_is_wished && !json_is_object(usage) ? FORM_INEXACT : FORM_OK;
}

static enum form_result split_choices(struct form_split *split, const json_t *choices)
{
    size_t count = json_array_size(choices);
    enum form_result result = FORM_OK;

    for (size_t i = 0; i < count && result == FORM_OK; i++) {
        result = form_choice_begin(split, i, json_array_get(choices, i));
    }
    for (size_t i = 0; i < count && result == FORM_OK; i++) {
        bool is_last = i == count - 1 && !split->usage_is_wished;
        result = form_choice_split(split, i, json_array_get(choices, i), is_last);
    }
    return result;
}

static enum form_result end_stream(struct form_split *split, const json_t *usage)
{
    if (split->usage_is_wished) {
        form_event_begin(split);
        buf_append_char(split->out, ']');
        form_json_write_name(split->out, ',', "usage");
        form_json_write(split->out, usage);
        end_event(split, true);
    }
    buf_append_str(split->out, STR_LIT("data: [DONE]\n\n"));
    return buf_len(split->out) <= split->bytes_max ? FORM_OK : FORM_INEXACT;
}

static bool is_refused(const struct form_split *split)
{
    return buf_is_refused(split->out) || buf_is_refused(&split->head) ||
           buf_is_refused(&split->nulls) || buf_is_refused(&split->last);
}

static enum form_result split_answer(struct form_split *split, json_t *answer)
{
    enum form_result result = check_answer(split, answer);

    if (result == FORM_OK) {
        result = put_members(split, answer);
    }
    if (result == FORM_OK) {
        result = split_choices(split, json_object_get(answer, "choices"));
    }
    return result == FORM_OK ? end_stream(split, json_object_get(answer, "usage")) : result;
}

static enum form_result split_body(enum api api, struct str body, const struct form_wish *wish,
                                   struct buf *out)
{
    struct form_split split = {.api = api,
                               .out = out,
                               .bytes_max = wish->bytes_max,
                               .usage_is_wished = wish->include_usage,
                               .is_first_event = true};
    size_t nodes_left = FORM_NODES_MAX;
    json_t *answer;

    enum form_result result = form_json_parse(body, &nodes_left, &answer);
    if (result != FORM_OK) {
        return result;
    }
    buf_init_try(&split.head);
    buf_init_try(&split.nulls);
    buf_init_try(&split.last);
    result = split_answer(&split, answer);
    if (result == FORM_OK && is_refused(&split)) {
        result = FORM_INEXACT;
    }
    if (result != FORM_OK) {
        buf_clear(out);
    }
    buf_done(&split.head);
    buf_done(&split.nulls);
    buf_done(&split.last);
    json_decref(answer);
    return result;
}

enum form_result form_plain_to_stream(enum api api, struct str body, const struct form_wish *wish,
                                      struct buf *out)
{
    if (api != API_CHAT && api != API_COMPLETIONS) {
        return FORM_INEXACT;
    }
    form_trees_begin();
    enum form_result result = split_body(api, body, wish, out);
    form_trees_end();
    return result;
}
