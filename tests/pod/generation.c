/* SPDX-License-Identifier: MIT */
/* See generation.h. */
#include "generation.h"

#include <nearside/base/attr.h>
#include <nearside/base/clock.h>
#include <nearside/base/digest.h>

#define TOKENS_MAX     1000000
#define DIMENSIONS     8
#define DIMENSIONS_MAX 4096
#define INPUTS_MAX     2048

/* Each has its space in front; the first word of an answer goes without. */
static const char *const words[64] = {
    " the",    " near",  " side",  " of",    " a",      " river", " runs",   " past",
    " old",    " mills", " and",   " low",   " stone",  " walls", " where",  " light",
    " falls",  " on",    " slow",  " green", " water",  " boats", " drift",  " under",
    " wide",   " skies", " to",    " quiet", " towns",  " with",  " bright", " doors",
    " people", " trade", " salt",  " for",   " bread",  " tales", " about",  " far",
    " coasts", " while", " small", " birds", " follow", " every", " cart",   " along",
    " narrow", " roads", " until", " night", " brings", " lamps", " into",   " each",
    " window", " then",  " all",   " is",    " still",  " but",   " wind",   " again",
};

static const struct shape *const shapes[] = {
    &shape_chat, &shape_completion, &shape_embedding, &shape_message, &shape_response,
};

const struct shape *shape_find(struct str path)
{
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        if (str_eq(path, str_of(shapes[i]->path))) {
            return shapes[i];
        }
    }
    return NULL;
}

void generation_init(struct generation *generation)
{
    *generation = (struct generation){0};
    buf_init(&generation->model);
    buf_init(&generation->before);
    buf_init(&generation->after);
    buf_init(&generation->text);
}

void generation_done(struct generation *generation)
{
    buf_done(&generation->model);
    buf_done(&generation->before);
    buf_done(&generation->after);
    buf_done(&generation->text);
}

static struct str text_of(const json_t *value)
{
    return json_is_string(value) ? str_make(json_string_value(value), json_string_length(value))
                                 : STR_EMPTY;
}

void generation_content(const json_t *content, struct buf *out)
{
    size_t index;
    json_t *part;

    buf_append_str(out, text_of(content));
    json_array_foreach(content, index, part)
    {
        buf_append_str(out, text_of(json_object_get(part, "text")));
    }
}

void generation_messages(const json_t *messages, struct buf *out)
{
    size_t index;
    json_t *message;

    json_array_foreach(messages, index, message)
    {
        buf_append_str(out, text_of(json_object_get(message, "role")));
        buf_append_char(out, ':');
        generation_content(json_object_get(message, "content"), out);
        buf_append_char(out, '\n');
    }
}

static void seed_from(struct generation *generation, struct str model, struct str prompt)
{
    uint8_t sum[DIGEST_BYTES];
    struct digest *digest = digest_new();

    digest_start(digest);
    digest_add(digest, model.ptr, model.len);
    digest_add(digest, "\n", 1);
    digest_add(digest, prompt.ptr, prompt.len);
    digest_finish(digest, sum);
    digest_free(digest);
    generation->seed = 0;
    for (size_t i = 0; i < 8; i++) {
        generation->seed = generation->seed << 8 | sum[i];
    }
}

static uint64_t number_of(const json_t *body, const char *const *names, uint64_t limit,
                          uint64_t fallback)
{
    for (; *names != NULL; names++) {
        const json_t *value = json_object_get(body, *names);
        if (json_is_integer(value) && json_integer_value(value) >= 0) {
            uint64_t number = (uint64_t)json_integer_value(value);
            return number > limit ? limit : number;
        }
    }
    return fallback;
}

static void read_options(struct generation *generation, const json_t *body)
{
    static const char *const limits[] = {"max_completion_tokens", "max_output_tokens", "max_tokens",
                                         NULL};
    static const char *const dimensions[] = {"dimensions", NULL};
    uint64_t limit = number_of(body, limits, TOKENS_MAX, UINT64_MAX);
    const json_t *stream_options = json_object_get(body, "stream_options");
    const json_t *input = json_object_get(body, "input");

    generation->is_limited = limit != UINT64_MAX;
    generation->tokens = generation->is_limited ? limit : generation->tokens;
    generation->is_stream = json_is_true(json_object_get(body, "stream"));
    generation->includes_usage = json_is_true(json_object_get(stream_options, "include_usage"));
    generation->wants_base64 =
        str_eq(text_of(json_object_get(body, "encoding_format")), STR_LIT("base64"));
    generation->dimensions = number_of(body, dimensions, DIMENSIONS_MAX, DIMENSIONS);
    generation->inputs = json_is_array(input) ? json_array_size(input) : 1;
    if (generation->inputs > INPUTS_MAX) {
        generation->inputs = INPUTS_MAX;
    }
}

const char *generation_read(struct generation *generation, const struct shape *shape,
                            struct str body, uint64_t default_tokens)
{
    json_t *root = json_loadb(body.ptr, body.len, 0, NULL);
    struct str model = text_of(json_object_get(root, "model"));
    struct buf prompt;

    if (root == NULL || model.len == 0) {
        json_decref(root);
        return root == NULL ? "the body is not valid JSON" : "you must provide a model parameter";
    }
    buf_init(&prompt);
    shape->prompt(root, &prompt);
    generation->shape = shape;
    generation->tokens = default_tokens;
    read_options(generation, root);
    buf_append_json(&generation->model, model);
    seed_from(generation, model, buf_str(&prompt));
    generation->prompt_tokens = buf_len(&prompt) / 4 + 1;
    generation->created_s = clock_wall_ms() / 1000;
    buf_done(&prompt);
    json_decref(root);
    return NULL;
}

struct str generation_word(struct generation *generation)
{
    struct str word = str_of(words[generation->seed >> 58]);

    generation->seed = generation->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    if (buf_len(&generation->text) == 0) {
        word = str_slice(word, 1, word.len);
    }
    buf_append_str(&generation->text, word);
    return word;
}

void generation_text(struct generation *generation, struct buf *out)
{
    for (uint64_t i = 0; i < generation->tokens; i++) {
        buf_append_str(out, generation_word(generation));
    }
}
