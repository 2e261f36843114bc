/* SPDX-License-Identifier: MIT */
/*
 * The numbers in `"usage": { ... }`: OpenAI's names and Anthropic's. Inside a JSON string the
 * quotes would be escaped, so the name with its bare quotes is a member's (or a string of just that
 * word, which no colon follows).
 */
#include <nearside/cache/usage.h>

/* Ten times what any API puts there; bounds the work when a brace is never closed. */
#define OBJECT_BYTES_MAX 4096

static struct str skip_space(struct str text)
{
    size_t at = 0;

    while (at < text.len && (text.ptr[at] == ' ' || text.ptr[at] == '\t' || text.ptr[at] == '\n' ||
                             text.ptr[at] == '\r')) {
        at++;
    }
    return str_slice(text, at, text.len);
}

/* What follows the next `"name" :` in *text, and *text moves on behind it. False: there is none. */
static bool next_value(struct str *text, struct str quoted_name, struct str *ret_value)
{
    while (text->len > 0) {
        size_t at = str_find(*text, quoted_name);
        if (at == text->len) {
            break;
        }
        *text = str_slice(*text, at + quoted_name.len, text->len);
        struct str rest = skip_space(*text);
        if (rest.len > 0 && rest.ptr[0] == ':') {
            *ret_value = skip_space(str_slice(rest, 1, rest.len));
            return true;
        }
    }
    return false;
}

/* The first of two names that has a number. */
static void take_number(struct str object, struct str name, struct str other_name, uint32_t *tokens,
                        bool *is_told)
{
    struct str rest = object;
    struct str value;
    uint64_t number;
    size_t digits = 0;

    if (!next_value(&rest, name, &value)) {
        rest = object;
        if (!next_value(&rest, other_name, &value)) {
            return;
        }
    }
    while (digits < value.len && value.ptr[digits] >= '0' && value.ptr[digits] <= '9') {
        digits++;
    }
    if (str_to_u64(str_slice(value, 0, digits), &number) && number <= CACHE_USAGE_TOKENS_MAX) {
        *tokens = (uint32_t)number;
        *is_told = true;
    }
}

/* To the brace that closes it; empty when it is too far off. Its strings are not looked for: it has
 * none in any API. */
static struct str object_at(struct str text)
{
    size_t depth = 0;

    text = str_slice(text, 0, OBJECT_BYTES_MAX);
    for (size_t i = 0; i < text.len; i++) {
        depth += text.ptr[i] == '{';
        depth -= text.ptr[i] == '}' && depth > 0;
        if (depth == 0) {
            return str_slice(text, 0, i + 1);
        }
    }
    return STR_EMPTY;
}

static bool find_in(struct str text, struct cache_usage *usage)
{
    bool is_told = false;
    struct str value;

    while (next_value(&text, STR_LIT("\"usage\""), &value)) {
        if (value.len == 0 || value.ptr[0] != '{') {
            continue; /* null, in all chunks but the last */
        }
        struct str object = object_at(value);
        /* Go on behind it, so that no byte is looked at over and over. */
        size_t seen = object.len > 0 ? object.len : OBJECT_BYTES_MAX;
        text = str_slice(value, seen, value.len);
        take_number(object, STR_LIT("\"prompt_tokens\""), STR_LIT("\"input_tokens\""),
                    &usage->prompt_tokens, &is_told);
        take_number(object, STR_LIT("\"completion_tokens\""), STR_LIT("\"output_tokens\""),
                    &usage->completion_tokens, &is_told);
    }
    return is_told;
}

bool cache_usage_find(struct str body, struct cache_usage *ret_usage)
{
    struct cache_usage usage = {.prompt_tokens = 0};
    bool is_told = false;
    size_t tail = 0;

    if (body.len > CACHE_USAGE_FIRST_BYTES + CACHE_USAGE_LAST_BYTES) {
        is_told = find_in(str_slice(body, 0, CACHE_USAGE_FIRST_BYTES), &usage);
        tail = body.len - CACHE_USAGE_LAST_BYTES;
    }
    is_told = find_in(str_slice(body, tail, body.len), &usage) || is_told;
    if (is_told) {
        *ret_usage = usage;
    }
    return is_told;
}
