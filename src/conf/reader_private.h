/* SPDX-License-Identifier: MIT */
/*
 * What is carried through the reading of one config: the tree being built, libconfig's tree, and
 * the one way to report a fault.
 *
 * Places are dotted key paths, `regions[1].health.fall`: the reader finds the line from the path,
 * so that a check that runs long after parsing still names the right line.
 */
#ifndef NEARSIDE_CONF_READER_PRIVATE_H
#define NEARSIDE_CONF_READER_PRIVATE_H

#include "schema_private.h"

#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>
#include <nearside/base/str.h>

#include <libconfig.h>

struct addr;
struct conf;
struct conf_health;

struct conf_reader {
    struct conf *conf;    /* borrowed: being built */
    const config_t *tree; /* borrowed; NULL: the config comes from arguments */
    const char *name;     /* of the file, or the argument: begins each message */
    const char *folder;   /* absolute; relative paths start here */
    struct errbuf *err;
    bool *system_refused; /* set when the text is right but a file it names cannot be read */
};

struct conf_path {
    char text[CONF_PATH_LEN]; /* cut if longer */
};

struct conf_path conf_path_member(const char *parent, const char *name);
struct conf_path conf_path_item(const char *parent, unsigned index);

/* NULL when the file does not have it. */
config_setting_t *conf_reader_find(const struct conf_reader *reader, const char *path);

/* Set the error text `file:line: path: ...`; the line of the nearest group that exists when the
 * key does not. Returns STATUS_INVALID. */
enum status conf_reader_fail(const struct conf_reader *reader, const char *path, const char *format,
                             ...) PRINTF_LIKE(3, 4);

/* The same for a value that `key` does not allow: says what was found and what is allowed. */
enum status conf_reader_refuse(const struct conf_reader *reader, const char *path,
                               const config_setting_t *found, const struct conf_key *key);

/* Copies that live as long as the tree. */
const char *conf_reader_keep(const struct conf_reader *reader, struct str text);

/* `path` itself when absolute, else below the file's folder. */
const char *conf_reader_keep_path(const struct conf_reader *reader, const char *path);

/* Read a group into `target`: unknown keys are refused, every key that section.c knows how to
 * store is checked and stored. Keys that are absent leave `target` as it is. */
enum status conf_section_read(struct conf_reader *reader, const config_setting_t *group,
                              const char *path, const struct conf_table *table,
                              void *target) MUST_CHECK;

/* The same for one of several groups that make up a struct: keys of `others` are left alone. */
enum status conf_section_check_names(const struct conf_reader *reader,
                                     const config_setting_t *group, const char *path,
                                     const struct conf_table *table,
                                     const struct conf_table *others) MUST_CHECK;
enum status conf_section_read_keys(struct conf_reader *reader, const config_setting_t *group,
                                   const char *path, const struct conf_table *table,
                                   void *target) MUST_CHECK;

/* Replace "env:NAME" and "file:PATH" by what they name. `ret_value` lives with the tree. */
enum status conf_secret_read(const struct conf_reader *reader, const char *path, const char *text,
                             const char **ret_value) MUST_CHECK;

/* listeners = ( ... ), with their certificates. */
enum status conf_listeners_read(struct conf_reader *reader) MUST_CHECK;

/* An address to bind, as written: "0.0.0.0:80", "[::]:80", ":80". */
enum status conf_bind_read(const struct conf_reader *reader, const char *path, const char *text,
                           struct addr *ret_addr) MUST_CHECK;

/* regions = ( ... ). The top-level groups must have been read: regions inherit them. */
enum status conf_regions_read(struct conf_reader *reader) MUST_CHECK;

/* What follows from a health group's values: see `fast_interval_ms` and `expect`. */
enum status conf_health_finish(const struct conf_reader *reader, const char *path,
                               struct conf_health *health) MUST_CHECK;

/* Take tracing.otlp_url apart. */
enum status conf_tracing_read(struct conf_reader *reader) MUST_CHECK;

/* What no single key can know: combinations, duplicates, the failover promise. */
enum status conf_check(const struct conf_reader *reader) MUST_CHECK;

#endif
