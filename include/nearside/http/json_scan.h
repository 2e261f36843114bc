/* SPDX-License-Identifier: MIT */
/*
 * One forward scan over a JSON request body: no tree, no copy of the prompt.
 *
 * It checks the whole text (RFC 8259: strict syntax, UTF-8, depth), finds the top-level members
 * that routing and the cache need, and notes where each top-level member lies, so that a canonical
 * form can be fed to a digest: members in sorted order of their (unescaped) names, insignificant
 * white space dropped at every depth, some members left out.
 *
 * A body that is not a JSON object, holds a top-level member twice, or breaks a limit is
 * *unusable*: it is proxied all the same, but never cached (and the model is unknown).
 *
 * Two different bodies never have the same canonical form, except by white space and the order of
 * top-level members: strings, numbers and nested members stay byte for byte ("A" and "\u0041"
 * differ, which costs a cache miss and nothing else). So nested duplicates need no check, and a
 * \u escape of a lone surrogate, which RFC 8259 allows, is let through.
 *
 * Pure; thread: any.
 */
#ifndef NEARSIDE_HTTP_JSON_SCAN_H
#define NEARSIDE_HTTP_JSON_SCAN_H

#include <nearside/base/attr.h>
#include <nearside/base/str.h>

#include <stdbool.h>
#include <stdint.h>

#define JSON_SCAN_MEMBERS_MAX 64 /* top-level members */
#define JSON_SCAN_DEPTH_MAX   64

enum json_scan_result {
    JSON_SCAN_OK,
    JSON_SCAN_SYNTAX,    /* not one JSON value, or bytes after it */
    JSON_SCAN_NO_OBJECT, /* valid, but not an object */
    JSON_SCAN_UTF8,
    JSON_SCAN_DEPTH,
    JSON_SCAN_MEMBERS,   /* more than JSON_SCAN_MEMBERS_MAX */
    JSON_SCAN_DUPLICATE, /* the same top-level member twice */
    JSON_SCAN_NAME,      /* a top-level name longer than 128 bytes or with an escape */
    JSON_SCAN_RESULT_COUNT
};

const char *json_scan_word(enum json_scan_result result);

struct json_member {
    struct str name;  /* between the quotes; no escapes (a name with escapes is JSON_SCAN_NAME) */
    struct str value; /* raw text, no white space around it */
    bool spaced;      /* there is white space in `value` outside of strings */
};

enum json_tristate { JSON_SCAN_ABSENT, JSON_SCAN_FALSE, JSON_SCAN_TRUE };

struct json_scan {
    uint32_t member_count;
    struct json_member members[JSON_SCAN_MEMBERS_MAX]; /* in the text's order */
    struct str model;          /* inside of the string; empty when absent or not a plain string */
    enum json_tristate stream; /* JSON_SCAN_ABSENT also when it is not a boolean */
    bool temperature_is_zero;  /* "temperature" is a number equal to 0 */
    bool has_seed;             /* "seed" is a number */
    bool store;                /* "store" is true */
};

/* The first fault in the text's order is the answer; then *ret_scan holds rubbish. Views point into
 * `body`. */
enum json_scan_result json_scan(struct str body, struct json_scan *ret_scan) MUST_CHECK;

typedef void (*json_sink_fn)(void *arg, const void *bytes, size_t len);

/* Feed the canonical form of a scanned body to `sink`, leaving out the members whose names are in
 * `skip` (NULL-terminated array, or NULL). White space outside strings is dropped at every depth;
 * strings and numbers stay byte for byte. Large runs are handed over where they lie, small ones
 * together; where one call ends and the next begins means nothing. */
void json_scan_canonical(const struct json_scan *scan, const char *const *skip, json_sink_fn sink,
                         void *arg);

#endif
