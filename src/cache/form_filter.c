/* SPDX-License-Identifier: MIT */
/* A stream with usage as it would have come without. */
#include "form_private.h"

struct filter {
    struct buf *out;
    size_t bytes_max;
};

/* The event that tells usage and nothing else. What else it may hold would be lost with it. */
static bool is_usage_event(const json_t *chunk)
{
    const json_t *choices = json_object_get(chunk, "choices");

    return json_is_array(choices) && json_array_size(choices) == 0;
}

static bool holds_last_member(json_t *chunk)
{
    const char *name;
    json_t *value;

    json_object_foreach(chunk, name, value)
    {
        if (form_member_of_answer(name) == FORM_MEMBER_LAST && !json_is_null(value)) {
            return true;
        }
    }
    return false;
}

static enum form_result on_chunk(void *arg, struct str raw, json_t *chunk)
{
    struct filter *filter = arg;
    const json_t *usage = json_object_get(chunk, "usage");

    if (usage == NULL) {
        buf_append_str(filter->out, raw);
    } else if (is_usage_event(chunk) && !json_is_null(usage)) {
        return holds_last_member(chunk) ? FORM_INEXACT : FORM_OK;
    } else {
        (void)json_object_del(chunk, "usage"); /* it is there */
        buf_append_str(filter->out, STR_LIT("data: "));
        form_json_write(filter->out, chunk);
        buf_append_str(filter->out, STR_LIT("\n\n"));
    }
    return buf_len(filter->out) <= filter->bytes_max ? FORM_OK : FORM_INEXACT;
}

enum form_result form_stream_filter_usage(enum api api, struct str events,
                                          const struct form_wish *wish, struct buf *out)
{
    struct filter filter = {.out = out, .bytes_max = wish->bytes_max};

    if (api != API_CHAT && api != API_COMPLETIONS) {
        return FORM_INEXACT;
    }
    enum form_result result = form_each_chunk(events, NULL, on_chunk, &filter);
    if (result != FORM_OK) {
        buf_clear(out);
    }
    return result;
}
