/* SPDX-License-Identifier: MIT */
/*
 * One forward scan over a JSON request body, while it arrives: no tree, no copy of the prompt.
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
#define JSON_SCAN_NAME_MAX    128 /* bytes of a top-level name */

enum json_scan_result {
    JSON_SCAN_OK,
    JSON_SCAN_SYNTAX,    /* not one JSON value, or bytes after it */
    JSON_SCAN_NO_OBJECT, /* valid, but not an object */
    JSON_SCAN_UTF8,
    JSON_SCAN_DEPTH,
    JSON_SCAN_MEMBERS,   /* more than JSON_SCAN_MEMBERS_MAX */
    JSON_SCAN_DUPLICATE, /* the same top-level member twice */
    JSON_SCAN_NAME,      /* a top-level name longer than JSON_SCAN_NAME_MAX or with an escape */
    JSON_SCAN_RESULT_COUNT
};

const char *json_scan_word(enum json_scan_result result);

struct json_member {
    struct str name;  /* between the quotes; no escapes (a name with escapes is JSON_SCAN_NAME) */
    struct str value; /* raw text, no white space around it */
    uint64_t compact_len; /* of `value` without the white space outside of strings */
    bool spaced;          /* there is some: compact_len is less than value.len */
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

/* ---- the same, piece by piece ---- */

/* Told of each run of bytes of a top-level member's compact form, in order, as the scan passes
 * them, once the member has come to be long; of what came before by json_member_compact(). `member`
 * is number `index` of those that were begun; what `run` is the end of, from `value.ptr` on, is its
 * `value` so far, and `compact_len` counts `run` already. Valid for the call. */
typedef void (*json_run_fn)(void *arg, uint32_t index, const struct json_member *member,
                            struct str run);

/* Embedded by value; the fields are json_scan.c's and json_members.c's. */
struct json_scanner {
    struct json_scan *scan; /* borrowed */
    json_run_fn on_run;     /* NULL: nobody is told */
    void *arg;
    uint64_t long_bytes;
    const char *base; /* where the body lay when views into it were last made */
    size_t at;        /* offset of the first byte that was not passed yet */
    size_t run;       /* while in a member: what lies before it has been told */
    size_t name_at;   /* the last name */
    size_t name_len;
    uint64_t objects; /* a bit for each open container, the innermost lowest: it is an object */
    unsigned depth;
    uint8_t place;   /* enum place */
    uint8_t number;  /* enum json_number_part, within a number */
    bool in_member;  /* within the value of a top-level member: members[member_count] */
    bool is_object;  /* the body is one */
    bool is_top;     /* the innermost open container is that one */
    bool has_escape; /* the last string */
    enum json_scan_result fault;
};

/* `scan` is filled in as members end. It and `arg` must outlive the scanner, which needs no end. A
 * member is long from `long_bytes` of its compact form on; without `on_run` that means nothing. */
void json_scanner_start(struct json_scanner *scanner, struct json_scan *scan, uint64_t long_bytes,
                        json_run_fn on_run, void *arg);

/* Go on to the end of `body`: the whole body as far as it has come, wherever it lies now. Costs
 * what is new in it. Anything but JSON_SCAN_OK is final. Views in `scan` are into this `body`. */
enum json_scan_result json_scanner_feed(struct json_scanner *scanner, struct str body);

/* The last feed, and the verdict: what json_scan() says of the same body. */
enum json_scan_result json_scanner_end(struct json_scanner *scanner, struct str body) MUST_CHECK;

/* ---- the canonical form ---- */

typedef void (*json_sink_fn)(void *arg, const void *bytes, size_t len);

/* Feed the canonical form of a scanned body to `sink`, leaving out the members whose names are in
 * `skip` (NULL-terminated array, or NULL). White space outside strings is dropped at every depth;
 * strings and numbers stay byte for byte. Runs are handed over where they lie; where one call ends
 * and the next begins means nothing. */
void json_scan_canonical(const struct json_scan *scan, const char *const *skip, json_sink_fn sink,
                         void *arg);

/* The members in bytewise order of their names: member_count of them. */
void json_scan_sort(const struct json_scan *scan,
                    const struct json_member *ret_sorted[JSON_SCAN_MEMBERS_MAX]);

/* Feed a member's value without the white space. A value that has only come in part will do. */
void json_member_compact(const struct json_member *member, json_sink_fn sink, void *arg);

#endif
