/* SPDX-License-Identifier: MIT */
/*
 * What the "model" says: words computed from the prompt alone, so that a test can tell a right
 * answer from a wrong, cut or mixed-up one. tests/integration/env/answers.py computes the same.
 *
 *   seed  = first 8 bytes (big-endian) of SHA-256(model "\n" prompt)
 *   word  = WORDS[seed >> 58], then seed = seed * 6364136223846793005 + 1442695040888963407
 *
 * The prompt of a chat is "role:text\n" for each message (its text parts joined), of a completion
 * the prompt itself (several joined by "\n").
 */
#ifndef POD_GENERATION_H
#define POD_GENERATION_H

#include <nearside/base/buf.h>

#include <jansson.h>

struct shape;

struct generation {
    const struct shape *shape;
    const char *pod;  /* borrowed: the pod's name */
    struct buf model; /* escaped for JSON */
    uint64_t seed;
    uint64_t number; /* of the request, for ids */
    uint64_t created_s;
    uint64_t prompt_tokens;
    uint64_t tokens;
    bool is_limited; /* by max_tokens: finish_reason is then "length" */
    bool is_stream;
    bool includes_usage;
    bool wants_base64;   /* embeddings */
    uint64_t inputs;     /* embeddings: how many vectors */
    uint64_t dimensions; /* embeddings */
    struct buf before;   /* of a token's event: all up to the word ... */
    struct buf after;    /* ... and all after it */
    struct buf text;     /* said so far, where a shape repeats it at its end */
};

/* How one API words its requests and answers. */
struct shape {
    const char *path;
    void (*prompt)(const json_t *body, struct buf *ret_prompt);
    void (*plain)(struct generation *generation, struct buf *out);
    /* Streams: the events before the first token, the frame of a token, the events at the end. */
    void (*open)(struct generation *generation, struct buf *out);
    void (*frame)(struct generation *generation);
    void (*close)(struct generation *generation, struct buf *out);
};

void generation_init(struct generation *generation);
void generation_done(struct generation *generation);

/* NULL when no shape answers on `path`. */
const struct shape *shape_find(struct str path);

/* Read the request. NULL, or what is wrong with it. */
const char *generation_read(struct generation *generation, const struct shape *shape,
                            struct str body, uint64_t default_tokens);

/* The next word; the first one has no space before it. */
struct str generation_word(struct generation *generation);

/* All words of the answer, one space between two. */
void generation_text(struct generation *generation, struct buf *out);

/* Append the text of a message's content: a string, or the text parts of a list. */
void generation_content(const json_t *content, struct buf *out);
/* Append "role:text\n" for each message of a list. */
void generation_messages(const json_t *messages, struct buf *out);

extern const struct shape shape_chat;
extern const struct shape shape_completion;
extern const struct shape shape_embedding;
extern const struct shape shape_message;
extern const struct shape shape_response;

#endif
