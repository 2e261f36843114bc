/* SPDX-License-Identifier: MIT */
/*
 * The members of an answer that are known, and how each goes from one form to the other.
 *
 * A row is added when a server's source says how it treats the member in both forms; see
 * docs/cache-forms.md. A member without a row makes an answer inexact.
 */
#include "form_private.h"

struct member_row {
    const char *name;
    enum form_member member;
};

static const struct member_row answer_rows[] = {
    {"id", FORM_MEMBER_SAME},
    {"created", FORM_MEMBER_FIRST}, /* llama.cpp, Ollama, TGI: the clock, at each chunk */
    {"model", FORM_MEMBER_SAME},
    {"system_fingerprint", FORM_MEMBER_SAME},
    {"service_tier", FORM_MEMBER_SAME},
    {"provider", FORM_MEMBER_SAME},          /* OpenRouter */
    {"timings", FORM_MEMBER_LAST},           /* llama.cpp */
    {"obfuscation", FORM_MEMBER_CHUNK_ONLY}, /* OpenAI: random padding */
    {"metadata", FORM_MEMBER_PLAIN_ONLY},    /* SGLang: {"weight_version": ...} */
};

enum form_member form_member_of_answer(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(answer_rows); i++) {
        if (strcmp(answer_rows[i].name, name) == 0) {
            return answer_rows[i].member;
        }
    }
    return FORM_MEMBER_UNKNOWN;
}

/* OpenAI's `metadata` means something else: what the request said. */
bool form_member_is_plain_only(const char *name, const json_t *value)
{
    return form_member_of_answer(name) == FORM_MEMBER_PLAIN_ONLY && json_object_size(value) == 1 &&
           json_object_get(value, "weight_version") != NULL;
}

bool form_member_is_choice_extra(const char *name)
{
    static const char *const names[] = {
        "stop_reason",          /* vLLM */
        "matched_stop",         /* SGLang */
        "native_finish_reason", /* OpenRouter */
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

const char *form_text_name(enum form_text text)
{
    static const char *const names[FORM_TEXT_COUNT] = {
        [FORM_TEXT_CONTENT] = "content",
        [FORM_TEXT_REFUSAL] = "refusal",
        [FORM_TEXT_REASONING_CONTENT] = "reasoning_content", /* DeepSeek, vLLM, SGLang, llama.cpp */
        [FORM_TEXT_REASONING] = "reasoning",                 /* OpenRouter, Ollama, newer vLLM */
    };

    return names[text];
}

enum form_text form_text_of(const char *name)
{
    unsigned text = 0;

    while (text < FORM_TEXT_COUNT && strcmp(form_text_name((enum form_text)text), name) != 0) {
        text++;
    }
    return (enum form_text)text;
}

const char *form_object_plain(enum api api)
{
    return api == API_CHAT ? "chat.completion" : "text_completion";
}

const char *form_object_chunk(enum api api)
{
    return api == API_CHAT ? "chat.completion.chunk" : "text_completion";
}

/* ---- logprobs ---- */

static const char *const legacy_lists[] = {"tokens", "token_logprobs", "top_logprobs",
                                           "text_offset"};

static bool is_list_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(legacy_lists); i++) {
        if (strcmp(legacy_lists[i], name) == 0) {
            return true;
        }
    }
    return strcmp(name, "content") == 0 || strcmp(name, "refusal") == 0;
}

bool form_logprobs_are_known(const json_t *logprobs)
{
    json_t *mutable_logprobs = (json_t *)(uintptr_t)logprobs; /* not changed */
    const char *name;
    json_t *value;

    if (!json_is_object(logprobs)) {
        return json_is_null(logprobs);
    }
    json_object_foreach(mutable_logprobs, name, value)
    {
        if (!is_list_name(name) || !(json_is_array(value) || json_is_null(value))) {
            return false;
        }
    }
    return true;
}

bool form_logprobs_are_parallel(const json_t *logprobs)
{
    const json_t *tokens = json_object_get(logprobs, "tokens");

    for (size_t i = 0; i < ARRAY_LEN(legacy_lists); i++) {
        const json_t *list = json_object_get(logprobs, legacy_lists[i]);
        if (json_is_array(list) && json_array_size(list) != json_array_size(tokens)) {
            return false;
        }
    }
    return true;
}
