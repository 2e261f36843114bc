/* SPDX-License-Identifier: MIT */
/*
 * The schema: every key of the config file as a row of data.
 *
 * Parsing, defaults, range checks, error texts, --print-config, conf/nearside.conf and
 * docs/configuration.md are all made from these rows; a key is declared nowhere else.
 */
#ifndef NEARSIDE_CONF_SCHEMA_PRIVATE_H
#define NEARSIDE_CONF_SCHEMA_PRIVATE_H

#include <nearside/base/buf.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONF_WORKERS_MAX   64
#define CONF_LISTENERS_MAX 64
#define CONF_CERTS_MAX     64   /* per listener */
#define CONF_ENDPOINTS_MAX 1024 /* written in one region */
#define CONF_MODELS_MAX    1024 /* per region */
#define CONF_BLOCKS_MAX    256  /* per key */
#define CONF_NAME_LEN_MAX  63
#define CONF_PATH_LEN      256 /* of a dotted key path in messages, NUL included */

/* What a key holds. From BOOL to OVERRIDE the generic reader (section.c) stores the value; the
 * rest has a reader of its own (listener.c, region.c). */
enum conf_type {
    CONF_BOOL,     /* bool */
    CONF_U32,      /* uint32_t */
    CONF_U64,      /* uint64_t */
    CONF_REAL,     /* double; integers are accepted in the file */
    CONF_TEXT,     /* const char *, checked by `accepts` when there is one */
    CONF_WORD,     /* const char *, one of `words` */
    CONF_CHOICE,   /* an enum: the index of one of `words` */
    CONF_SECRET,   /* const char *; "env:NAME" and "file:PATH" are replaced by what they name */
    CONF_FILE,     /* const char *, the path of a file that can be read; empty: none */
    CONF_SINK,     /* const char *, a path to write to; "-" and "" have meanings of their own */
    CONF_BLOCKS,   /* struct conf_blocks: an array of addresses and blocks of them */
    CONF_GROUP,    /* a struct with a table of its own */
    CONF_OVERRIDE, /* a group whose missing keys are those of the top-level group of its name */

    CONF_TEXTS,     /* an array of strings */
    CONF_GROUPS,    /* a list of groups */
    CONF_GROUP_SET, /* a group, or a list of groups */
};

/* When a changed value takes effect. */
enum conf_change { CONF_LIVE, CONF_RESTART };

struct conf_key {
    const char *name;
    enum conf_type type;
    enum conf_change change;
    bool edge_only; /* of a group that regions override: makes no sense for one region */
    bool required;
    size_t offset; /* in the struct of the table */

    uint64_t number; /* default of BOOL, U32, U64 and CHOICE */
    uint64_t low;
    uint64_t high;
    double real; /* default of REAL */
    double real_low;
    double real_high;
    const char *text; /* default of the textual types */

    const char *const *words; /* NULL-terminated */
    bool (*accepts)(const char *text);
    const char *allowed; /* what `accepts` wants, for messages and docs */
    const char *sample;  /* shown in conf/nearside.conf, as a comment, in place of a value */
    const struct conf_table *table;

    const char *unit; /* "" when it has none */
    const char *help;
};

struct conf_table {
    const char *name; /* "health", "regions[].tls": the heading in the docs */
    const char *help;
    const struct conf_key *keys;
    size_t key_count;
};

/* The whole file: offsets are in struct conf. */
extern const struct conf_table conf_table_root;
extern const struct conf_table conf_table_listener;
extern const struct conf_table conf_table_listener_tls;
extern const struct conf_table conf_table_certificate;
extern const struct conf_table conf_table_region;

/* NULL when there is none. */
const struct conf_key *conf_table_find(const struct conf_table *table, const char *name);

/* The key whose name is nearest to a mistyped one, or NULL when none is near. */
const struct conf_key *conf_table_suggest(const struct conf_table *table, const char *name);

/* Write the defaults of every stored key into `target`, groups included. */
void conf_table_defaults(const struct conf_table *table, void *target);

/* What a key allows, for people: "an integer from 1 to 100". */
void conf_key_allowed(const struct conf_key *key, struct buf *out);
/* The same in short: "1 to 100"; nothing where all is said by the type. */
void conf_key_range(const struct conf_key *key, struct buf *out);

/* A default in the file's syntax: `1000`, `"info"`, `true`. */
void conf_key_default(const struct conf_key *key, struct buf *out);

/* Every table of the file with its keys, in the order of a reference: groups behind the keys of the
 * one they stand in; an override's table stands at the top level alone. */
void conf_tables_describe(struct buf *out,
                          void (*heading)(struct buf *out, const struct conf_table *table),
                          void (*row)(struct buf *out, const struct conf_key *key));

/* Whether a key's value is a plain one, written `name = value;`. */
bool conf_key_is_plain(const struct conf_key *key);

/* The shortest decimal that reads back as the same double. */
void conf_append_real(struct buf *out, double value);

/* A string in the file's syntax, quotes included. */
void conf_append_quoted(struct buf *out, const char *text);

/* Names of regions and edges: [A-Za-z0-9._-], 1 to 63 of them. */
bool conf_name_is_good(const char *text);

/* A status or a range of them: "200", "200-299". */
bool conf_expect_parse(const char *text, uint16_t *ret_min, uint16_t *ret_max);

#endif
