/* SPDX-License-Identifier: MIT */
/* The two APIs whose streams name their events: OpenAI's /v1/responses, Anthropic's /v1/messages.
 */
#include "generation.h"

static void event(struct buf *out, const char *name)
{
    buf_printf(out, "event: %s\ndata: {\"type\":\"%s\",", name, name);
}

static void end_event(struct buf *out)
{
    buf_append_str(out, STR_LIT("}\n\n"));
}

static void message_prompt(const json_t *body, struct buf *ret_prompt)
{
    const json_t *system = json_object_get(body, "system");

    if (system != NULL) {
        buf_append_str(ret_prompt, STR_LIT("system:"));
        generation_content(system, ret_prompt);
        buf_append_char(ret_prompt, '\n');
    }
    generation_messages(json_object_get(body, "messages"), ret_prompt);
}

static const char *message_stop(const struct generation *generation)
{
    return generation->is_limited ? "max_tokens" : "end_turn";
}

static void message_envelope(const struct generation *generation, struct buf *out)
{
    buf_printf(out,
               "{\"id\":\"msg_%s_%llu\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"",
               generation->pod, (unsigned long long)generation->number);
    buf_append_str(out, buf_str(&generation->model));
    buf_append_str(out, STR_LIT("\",\"content\":["));
}

static void message_end(const struct generation *generation, const char *stop, uint64_t tokens,
                        struct buf *out)
{
    buf_printf(out,
               "],\"stop_reason\":%s,\"stop_sequence\":null,"
               "\"usage\":{\"input_tokens\":%llu,\"output_tokens\":%llu}}",
               stop, (unsigned long long)generation->prompt_tokens, (unsigned long long)tokens);
}

static void message_plain(struct generation *generation, struct buf *out)
{
    message_envelope(generation, out);
    buf_append_str(out, STR_LIT("{\"type\":\"text\",\"text\":\""));
    generation_text(generation, out);
    buf_append_str(out, STR_LIT("\"}"));
    message_end(generation, generation->is_limited ? "\"max_tokens\"" : "\"end_turn\"",
                generation->tokens, out);
}

static void message_open(struct generation *generation, struct buf *out)
{
    event(out, "message_start");
    buf_append_str(out, STR_LIT("\"message\":"));
    message_envelope(generation, out);
    message_end(generation, "null", 1, out);
    end_event(out);
    event(out, "content_block_start");
    buf_append_str(out, STR_LIT("\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}"));
    end_event(out);
    buf_append_str(out, STR_LIT("event: ping\ndata: {\"type\":\"ping\"}\n\n"));
}

static void message_frame(struct generation *generation)
{
    event(&generation->before, "content_block_delta");
    buf_append_str(&generation->before,
                   STR_LIT("\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\""));
    buf_append_str(&generation->after, STR_LIT("\"}}\n\n"));
}

static void message_close(struct generation *generation, struct buf *out)
{
    event(out, "content_block_stop");
    buf_append_str(out, STR_LIT("\"index\":0"));
    end_event(out);
    event(out, "message_delta");
    buf_printf(out,
               "\"delta\":{\"stop_reason\":\"%s\",\"stop_sequence\":null},"
               "\"usage\":{\"output_tokens\":%llu}",
               message_stop(generation), (unsigned long long)generation->tokens);
    end_event(out);
    buf_append_str(out, STR_LIT("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
}

const struct shape shape_message = {
    .path = "/v1/messages",
    .prompt = message_prompt,
    .plain = message_plain,
    .open = message_open,
    .frame = message_frame,
    .close = message_close,
};

static void response_prompt(const json_t *body, struct buf *ret_prompt)
{
    const json_t *input = json_object_get(body, "input");
    const json_t *instructions = json_object_get(body, "instructions");

    if (instructions != NULL) {
        buf_append_str(ret_prompt, STR_LIT("system:"));
        generation_content(instructions, ret_prompt);
        buf_append_char(ret_prompt, '\n');
    }
    if (json_is_string(input)) {
        buf_append_str(ret_prompt, STR_LIT("user:"));
        generation_content(input, ret_prompt);
        buf_append_char(ret_prompt, '\n');
    } else {
        generation_messages(input, ret_prompt);
    }
}

/* An output item; `text` is what has been said so far. */
static void response_item(const struct generation *generation, const char *status, bool has_text,
                          struct str text, struct buf *out)
{
    buf_printf(out,
               "{\"type\":\"message\",\"id\":\"msg_%llu\",\"status\":\"%s\","
               "\"role\":\"assistant\",\"content\":[",
               (unsigned long long)generation->number, status);
    if (has_text) {
        buf_append_str(out, STR_LIT("{\"type\":\"output_text\",\"annotations\":[],\"text\":\""));
        buf_append_str(out, text);
        buf_append_str(out, STR_LIT("\"}"));
    }
    buf_append_str(out, STR_LIT("]}"));
}

static void response_object(const struct generation *generation, const char *status, bool is_done,
                            struct buf *out)
{
    buf_printf(out,
               "{\"id\":\"resp_%s_%llu\",\"object\":\"response\",\"created_at\":%llu,"
               "\"status\":\"%s\",\"error\":null,\"model\":\"",
               generation->pod, (unsigned long long)generation->number,
               (unsigned long long)generation->created_s, status);
    buf_append_str(out, buf_str(&generation->model));
    buf_append_str(out, STR_LIT("\",\"output\":["));
    if (is_done) {
        response_item(generation, "completed", true, buf_str(&generation->text), out);
        buf_printf(out,
                   "],\"usage\":{\"input_tokens\":%llu,\"output_tokens\":%llu,"
                   "\"total_tokens\":%llu}}",
                   (unsigned long long)generation->prompt_tokens,
                   (unsigned long long)generation->tokens,
                   (unsigned long long)(generation->prompt_tokens + generation->tokens));
    } else {
        buf_append_str(out, STR_LIT("],\"usage\":null}"));
    }
}

static void response_plain(struct generation *generation, struct buf *out)
{
    struct buf text;

    buf_init(&text);
    generation_text(generation, &text);
    buf_done(&text); /* response_object() takes it from generation->text */
    response_object(generation, "completed", true, out);
}

static void response_open(struct generation *generation, struct buf *out)
{
    event(out, "response.created");
    buf_append_str(out, STR_LIT("\"sequence_number\":0,\"response\":"));
    response_object(generation, "in_progress", false, out);
    end_event(out);
    event(out, "response.in_progress");
    buf_append_str(out, STR_LIT("\"sequence_number\":1,\"response\":"));
    response_object(generation, "in_progress", false, out);
    end_event(out);
    event(out, "response.output_item.added");
    buf_append_str(out, STR_LIT("\"sequence_number\":2,\"output_index\":0,\"item\":"));
    response_item(generation, "in_progress", false, STR_EMPTY, out);
    end_event(out);
    event(out, "response.content_part.added");
    buf_append_str(out, STR_LIT("\"sequence_number\":3,\"output_index\":0,\"content_index\":0,"
                                "\"part\":{\"type\":\"output_text\",\"annotations\":[],"
                                "\"text\":\"\"}"));
    end_event(out);
}

static void response_place(const struct generation *generation, unsigned sequence, struct buf *out)
{
    buf_printf(out,
               "\"sequence_number\":%u,\"item_id\":\"msg_%llu\",\"output_index\":0,"
               "\"content_index\":0,",
               sequence, (unsigned long long)generation->number);
}

static void response_frame(struct generation *generation)
{
    event(&generation->before, "response.output_text.delta");
    response_place(generation, 4, &generation->before);
    buf_append_str(&generation->before, STR_LIT("\"delta\":\""));
    buf_append_str(&generation->after, STR_LIT("\"}\n\n"));
}

static void response_close(struct generation *generation, struct buf *out)
{
    struct str text = buf_str(&generation->text);

    event(out, "response.output_text.done");
    response_place(generation, 5, out);
    buf_printf(out, "\"text\":\"%.*s\"", STR_FMT(text));
    end_event(out);
    event(out, "response.content_part.done");
    response_place(generation, 6, out);
    buf_printf(out, "\"part\":{\"type\":\"output_text\",\"annotations\":[],\"text\":\"%.*s\"}",
               STR_FMT(text));
    end_event(out);
    event(out, "response.output_item.done");
    buf_append_str(out, STR_LIT("\"sequence_number\":7,\"output_index\":0,\"item\":"));
    response_item(generation, "completed", true, text, out);
    end_event(out);
    event(out, "response.completed");
    buf_append_str(out, STR_LIT("\"sequence_number\":8,\"response\":"));
    response_object(generation, "completed", true, out);
    end_event(out);
}

const struct shape shape_response = {
    .path = "/v1/responses",
    .prompt = response_prompt,
    .plain = response_plain,
    .open = response_open,
    .frame = response_frame,
    .close = response_close,
};
