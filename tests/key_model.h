/* SPDX-License-Identifier: MIT */
/*
 * What a cache key stands for, the slow way: the body as a tree, printed again. Two bodies must
 * have the same key exactly when these texts are equal. For tests and the fuzzer; texts are taken
 * to be good (json_scan() said so): what the model cannot read ends the process.
 */
#ifndef KEY_MODEL_H
#define KEY_MODEL_H

#include <nearside/base/assert.h>
#include <nearside/base/buf.h>
#include <nearside/base/mem.h>
#include <nearside/base/rng.h>
#include <nearside/base/str.h>
#include <nearside/cache/key.h>

#include <string.h>

struct model_node {
    char kind; /* { [ or that of a scalar: its first byte */
    struct str text;
    struct str name; /* in an object, with its quotes */
    struct model_node *first;
    struct model_node *next;
};

/* ---- reading ---- */

static inline void model_space(struct str *text)
{
    while (text->len > 0 && strchr(" \t\r\n", text->ptr[0]) != NULL && text->ptr[0] != '\0') {
        *text = str_slice(*text, 1, text->len);
    }
}

static inline struct str model_take(struct str *text, size_t len)
{
    const struct str taken = str_slice(*text, 0, len);

    ASSERT(len <= text->len);
    *text = str_slice(*text, len, text->len);
    return taken;
}

static inline struct str model_token(struct str *text)
{
    size_t len = 0;

    if (text->ptr[0] != '"') {
        while (len < text->len && strchr(",:]} \t\r\n", text->ptr[len]) == NULL) {
            len++;
        }
        return model_take(text, len);
    }
    for (len = 1; text->ptr[len] != '"'; len++) {
        len += text->ptr[len] == '\\';
        ASSERT(len + 1 < text->len);
    }
    return model_take(text, len + 1);
}

static inline struct model_node *model_read(struct str *text)
{
    struct model_node *node = mem_new(struct model_node);
    struct model_node **end = &node->first;
    char close;

    model_space(text);
    ASSERT(text->len > 0);
    node->kind = text->ptr[0];
    if (node->kind != '{' && node->kind != '[') {
        node->text = model_token(text);
        return node;
    }
    close = node->kind == '{' ? '}' : ']';
    (void)model_take(text, 1);
    for (model_space(text); text->ptr[0] != close; model_space(text)) {
        struct str name = STR_EMPTY;
        if (text->ptr[0] == ',') {
            (void)model_take(text, 1);
            model_space(text);
        }
        if (node->kind == '{') {
            name = model_token(text);
            model_space(text);
            (void)model_take(text, 1);
        }
        *end = model_read(text);
        (*end)->name = name;
        end = &(*end)->next;
    }
    (void)model_take(text, 1);
    return node;
}

static inline void model_free(struct model_node *node)
{
    while (node != NULL) {
        struct model_node *next = node->next;
        model_free(node->first);
        mem_free(node);
        node = next;
    }
}

/* ---- printing ---- */

static inline void model_gap(struct rng *rng, struct buf *out)
{
    if (rng != NULL && rng_below(rng, 3) == 0) {
        buf_append_char(out, " \t\r\n"[rng_below(rng, 4)]);
    }
}

/* With white space thrown in where `rng` is given. */
static inline void model_print(const struct model_node *node, struct rng *rng, struct buf *out)
{
    model_gap(rng, out);
    if (node->kind != '{' && node->kind != '[') {
        buf_append_str(out, node->text);
    } else {
        buf_append_char(out, node->kind);
        for (const struct model_node *child = node->first; child != NULL; child = child->next) {
            model_gap(rng, out);
            buf_append_str(out, child->name);
            model_gap(rng, out);
            buf_append(out, ":", child->name.len > 0 ? 1 : 0);
            model_print(child, rng, out);
            buf_append(out, ",", child->next != NULL ? 1 : 0);
        }
        model_gap(rng, out);
        buf_append_char(out, node->kind == '{' ? '}' : ']');
    }
    model_gap(rng, out);
}

static inline const struct model_node *model_find(const struct model_node *object, const char *name)
{
    for (const struct model_node *child = object->first; child != NULL; child = child->next) {
        if (str_eq(child->name, str_of(name)) && !str_eq(child->text, STR_LIT("null"))) {
            return child;
        }
    }
    return NULL;
}

static inline bool model_is(const struct model_node *node, const char *text)
{
    return node != NULL && str_eq(node->text, str_of(text));
}

/* stream_options that only say whether usage is wanted. */
static inline bool model_is_usage(const struct model_node *options)
{
    const struct model_node *only = options->first;

    return options->kind == '{' && only != NULL && only->next == NULL &&
           str_eq(only->name, STR_LIT("\"include_usage\"")) &&
           (model_is(only, "true") || model_is(only, "false"));
}

static inline void model_print_form(const struct model_node *body, enum api api, struct buf *out)
{
    const struct model_node *stream = model_find(body, "\"stream\"");
    const struct model_node *options = model_find(body, "\"stream_options\"");
    const bool is_plain = stream == NULL || model_is(stream, "false");
    const bool can_turn = api == API_CHAT || api == API_COMPLETIONS;

    if (is_plain ||
        (can_turn && model_is(stream, "true") && (options == NULL || model_is_usage(options)))) {
        buf_append_str(out, can_turn ? STR_EMPTY : STR_LIT("plain"));
        return;
    }
    model_print(stream, NULL, out);
    buf_append_char(out, '|');
    if (options != NULL) {
        model_print(options, NULL, out);
    }
}

static inline int model_compare(struct str a, struct str b)
{
    const size_t common = a.len < b.len ? a.len : b.len;
    const int order = memcmp(a.ptr, b.ptr, common);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The smallest name that is greater than `after`; NULL: there is none. */
static inline const struct model_node *model_next_name(const struct model_node *body,
                                                       const struct model_node *after)
{
    const struct model_node *least = NULL;

    for (const struct model_node *child = body->first; child != NULL; child = child->next) {
        if ((after == NULL || model_compare(child->name, after->name) > 0) &&
            (least == NULL || model_compare(child->name, least->name) < 0)) {
            least = child;
        }
    }
    return least;
}

/* What the key stands for. */
static inline void model_of(struct str text, enum api api, struct buf *out)
{
    struct model_node *body = model_read(&text);

    model_print_form(body, api, out);
    for (const struct model_node *child = model_next_name(body, NULL); child != NULL;
         child = model_next_name(body, child)) {
        static const char *const no[] = {"\"stream\"", "\"stream_options\"", "\"user\"",
                                         "\"metadata\""};
        bool counts = true;
        for (size_t i = 0; i < ARRAY_LEN(no); i++) {
            counts = counts && !str_eq(child->name, str_of(no[i]));
        }
        if (counts) {
            buf_append_char(out, '\n');
            buf_append_str(out, child->name);
            model_print(child, NULL, out);
        }
    }
    model_free(body);
}

/* The same body with other white space, its members in the opposite order. */
static inline void model_respell(struct str text, struct rng *rng, struct buf *out)
{
    struct model_node *body = model_read(&text);
    struct model_node *turned = NULL;

    while (body->first != NULL) {
        struct model_node *child = body->first;
        body->first = child->next;
        child->next = turned;
        turned = child;
    }
    body->first = turned;
    model_print(body, rng, out);
    model_free(body);
}

/* ---- the key itself ---- */

struct model_keyer {
    struct digest *digest;
    struct digest *early_digest;
    struct json_scan scan;
};

static inline void model_keyer_init(struct model_keyer *keyer)
{
    keyer->digest = digest_new();
    keyer->early_digest = digest_new();
}

static inline void model_keyer_done(struct model_keyer *keyer)
{
    digest_free(keyer->digest);
    digest_free(keyer->early_digest);
}

/* As the body's first `cut` bytes come, and then the rest. False: it has none. */
static inline bool model_key(struct model_keyer *keyer, struct str text, enum api api, size_t cut,
                             struct cache_key *ret_key)
{
    struct json_scanner scanner;
    struct cache_key_early early;
    struct cache_key_parts parts = {.scan = &keyer->scan, .early = &early};

    cache_key_early_init(&early, keyer->early_digest, cut % 2 == 0);
    json_scanner_start(&scanner, &keyer->scan, CACHE_KEY_LONG_BYTES, cache_key_early_run, &early);
    (void)json_scanner_feed(&scanner, str_slice(text, 0, cut));
    cache_key_early_want(&early, cut % 3 == 0);
    if (json_scanner_end(&scanner, text) != JSON_SCAN_OK) {
        return false;
    }
    parts.form = cache_form_of(api, &keyer->scan);
    cache_key_make(keyer->digest, &parts, ret_key);
    return true;
}

/* The law: equal keys mean equal texts of the model, and the other way round. Returns whether both
 * have a key, and they are equal. */
static inline bool model_check(struct model_keyer *keyer, struct str a, struct str b, enum api api,
                               size_t cut)
{
    struct cache_key key_a;
    struct cache_key key_b;
    struct buf text_a;
    struct buf text_b;
    bool is_equal;

    if (!model_key(keyer, a, api, cut, &key_a) || !model_key(keyer, b, api, cut + 1, &key_b)) {
        return false;
    }
    buf_init(&text_a);
    buf_init(&text_b);
    model_of(a, api, &text_a);
    model_of(b, api, &text_b);
    is_equal = memcmp(key_a.bytes, key_b.bytes, CACHE_KEY_BYTES) == 0;
    ASSERT(is_equal == str_eq(buf_str(&text_a), buf_str(&text_b)));
    buf_done(&text_a);
    buf_done(&text_b);
    return is_equal;
}

#endif
