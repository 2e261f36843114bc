/* SPDX-License-Identifier: MIT */
/* OpenAI's /v1/chat/completions, /v1/completions and /v1/embeddings, as servers word them. */
#include "generation.h"

#include <openssl/evp.h>

static const char *finish_word(const struct generation *generation)
{
    return generation->is_limited ? "length" : "stop";
}

static void usage(const struct generation *generation, struct buf *out)
{
    buf_printf(out,
               "\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,"
               "\"total_tokens\":%llu}",
               (unsigned long long)generation->prompt_tokens,
               (unsigned long long)generation->tokens,
               (unsigned long long)(generation->prompt_tokens + generation->tokens));
}

static void envelope(const struct generation *generation, const char *id_prefix, const char *object,
                     struct buf *out)
{
    buf_printf(out, "{\"id\":\"%s-%s-%llu\",\"object\":\"%s\",\"created\":%llu,\"model\":\"",
               id_prefix, generation->pod, (unsigned long long)generation->number, object,
               (unsigned long long)generation->created_s);
    buf_append_str(out, buf_str(&generation->model));
    buf_printf(out, "\",\"system_fingerprint\":\"%s\",", generation->pod);
}

static void chat_prompt(const json_t *body, struct buf *ret_prompt)
{
    generation_messages(json_object_get(body, "messages"), ret_prompt);
}

static void chat_plain(struct generation *generation, struct buf *out)
{
    envelope(generation, "chatcmpl", "chat.completion", out);
    buf_printf(out, "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"");
    generation_text(generation, out);
    buf_printf(out, "\"},\"logprobs\":null,\"finish_reason\":\"%s\"}],", finish_word(generation));
    usage(generation, out);
    buf_append_char(out, '}');
}

static void chat_event(const struct generation *generation, const char *rest, struct buf *out)
{
    buf_append_str(out, STR_LIT("data: "));
    envelope(generation, "chatcmpl", "chat.completion.chunk", out);
    buf_append_str(out, str_of(rest));
}

static void chat_open(struct generation *generation, struct buf *out)
{
    chat_event(generation,
               "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
               "\"logprobs\":null,\"finish_reason\":null}]}\n\n",
               out);
}

static void chat_frame(struct generation *generation)
{
    chat_event(generation, "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"",
               &generation->before);
    buf_append_str(&generation->after,
                   STR_LIT("\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n"));
}

static void stream_tail(struct generation *generation, const char *object, const char *id_prefix,
                        struct buf *out)
{
    if (generation->includes_usage) {
        buf_append_str(out, STR_LIT("data: "));
        envelope(generation, id_prefix, object, out);
        buf_append_str(out, STR_LIT("\"choices\":[],"));
        usage(generation, out);
        buf_append_str(out, STR_LIT("}\n\n"));
    }
    buf_append_str(out, STR_LIT("data: [DONE]\n\n"));
}

static void chat_close(struct generation *generation, struct buf *out)
{
    chat_event(generation, "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,", out);
    buf_printf(out, "\"finish_reason\":\"%s\"}]}\n\n", finish_word(generation));
    stream_tail(generation, "chat.completion.chunk", "chatcmpl", out);
}

const struct shape shape_chat = {
    .path = "/v1/chat/completions",
    .prompt = chat_prompt,
    .plain = chat_plain,
    .open = chat_open,
    .frame = chat_frame,
    .close = chat_close,
};

static void completion_prompt(const json_t *body, struct buf *ret_prompt)
{
    const json_t *prompt = json_object_get(body, "prompt");
    size_t index;
    json_t *item;

    generation_content(prompt, ret_prompt);
    json_array_foreach(prompt, index, item)
    {
        if (index > 0) {
            buf_append_char(ret_prompt, '\n');
        }
        if (json_is_string(item)) {
            generation_content(item, ret_prompt);
        }
    }
}

static void completion_plain(struct generation *generation, struct buf *out)
{
    envelope(generation, "cmpl", "text_completion", out);
    buf_append_str(out, STR_LIT("\"choices\":[{\"index\":0,\"text\":\""));
    generation_text(generation, out);
    buf_printf(out, "\",\"logprobs\":null,\"finish_reason\":\"%s\"}],", finish_word(generation));
    usage(generation, out);
    buf_append_char(out, '}');
}

static void completion_open(struct generation *generation, struct buf *out)
{
    (void)generation;
    (void)out; /* this stream begins with its first word */
}

static void completion_event(const struct generation *generation, struct buf *out)
{
    buf_append_str(out, STR_LIT("data: "));
    envelope(generation, "cmpl", "text_completion", out);
    buf_append_str(out, STR_LIT("\"choices\":[{\"index\":0,\"text\":\""));
}

static void completion_frame(struct generation *generation)
{
    completion_event(generation, &generation->before);
    buf_append_str(&generation->after,
                   STR_LIT("\",\"logprobs\":null,\"finish_reason\":null}]}\n\n"));
}

static void completion_close(struct generation *generation, struct buf *out)
{
    completion_event(generation, out);
    buf_printf(out, "\",\"logprobs\":null,\"finish_reason\":\"%s\"}]}\n\n",
               finish_word(generation));
    stream_tail(generation, "text_completion", "cmpl", out);
}

const struct shape shape_completion = {
    .path = "/v1/completions",
    .prompt = completion_prompt,
    .plain = completion_plain,
    .open = completion_open,
    .frame = completion_frame,
    .close = completion_close,
};

static void embedding_prompt(const json_t *body, struct buf *ret_prompt)
{
    const json_t *input = json_object_get(body, "input");
    size_t index;
    json_t *item;

    generation_content(input, ret_prompt);
    json_array_foreach(input, index, item)
    {
        generation_content(item, ret_prompt);
        buf_append_char(ret_prompt, '\n');
    }
}

/* A multiple of 2^-23 in [-1, 1): exact as a 32-bit float and in decimal. */
static float next_component(struct generation *generation)
{
    uint64_t bits = generation->seed >> 40;

    generation->seed = generation->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (float)bits / 8388608.0F - 1.0F;
}

static void vector_as_floats(struct generation *generation, struct buf *out)
{
    buf_append_char(out, '[');
    for (uint64_t i = 0; i < generation->dimensions; i++) {
        buf_printf(out, i == 0 ? "%.17g" : ",%.17g", (double)next_component(generation));
    }
    buf_append_char(out, ']');
}

static void vector_as_base64(struct generation *generation, struct buf *out)
{
    unsigned char bytes[12]; /* three floats are sixteen characters: no padding inside */
    unsigned char text[17];

    buf_append_char(out, '"');
    for (uint64_t done = 0; done < generation->dimensions;) {
        size_t len = 0;
        for (; len < sizeof(bytes) && done < generation->dimensions; done++, len += 4) {
            float component = next_component(generation);
            memcpy(bytes + len, &component, 4);
        }
        int written = EVP_EncodeBlock(text, bytes, (int)len);
        buf_append(out, text, (size_t)written);
    }
    buf_append_char(out, '"');
}

static void embedding_plain(struct generation *generation, struct buf *out)
{
    buf_append_str(out, STR_LIT("{\"object\":\"list\",\"data\":["));
    for (uint64_t i = 0; i < generation->inputs; i++) {
        buf_printf(out,
                   "%s{\"object\":\"embedding\",\"index\":%llu,\"embedding\":", i == 0 ? "" : ",",
                   (unsigned long long)i);
        if (generation->wants_base64) {
            vector_as_base64(generation, out);
        } else {
            vector_as_floats(generation, out);
        }
        buf_append_char(out, '}');
    }
    buf_append_str(out, STR_LIT("],\"model\":\""));
    buf_append_str(out, buf_str(&generation->model));
    buf_printf(out, "\",\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}}",
               (unsigned long long)generation->prompt_tokens,
               (unsigned long long)generation->prompt_tokens);
}

const struct shape shape_embedding = {
    .path = "/v1/embeddings",
    .prompt = embedding_prompt,
    .plain = embedding_plain,
};
