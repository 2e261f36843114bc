/* SPDX-License-Identifier: MIT */
/*
 * Reading one group of the file by its table: known keys only, right types, right ranges.
 *
 * libconfig keeps integers and floats apart; an integer is accepted where a float is wanted,
 * never the other way round, and `L` makes no difference.
 */
#include "reader_private.h"
#include "tree_private.h"

#include <nearside/base/assert.h>
#include <nearside/conf/tree.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_integer(const config_setting_t *setting)
{
    int type = config_setting_type(setting);

    return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
}

static bool read_integer(const config_setting_t *setting, const struct conf_key *key,
                         uint64_t *ret_value)
{
    if (!is_integer(setting)) {
        return false;
    }
    long long value = config_setting_get_int64(setting);

    if (value < 0 || (uint64_t)value < key->low || (uint64_t)value > key->high) {
        return false;
    }
    *ret_value = (uint64_t)value;
    return true;
}

static bool read_real(const config_setting_t *setting, const struct conf_key *key,
                      double *ret_value)
{
    double value;

    if (is_integer(setting)) {
        value = (double)config_setting_get_int64(setting);
    } else if (config_setting_type(setting) == CONFIG_TYPE_FLOAT) {
        value = config_setting_get_float(setting);
    } else {
        return false;
    }
    if (!(value >= key->real_low && value <= key->real_high)) {
        return false;
    }
    *ret_value = value;
    return true;
}

/* NULL when it is not a string, or not one the key accepts. */
static const char *read_text(const config_setting_t *setting, const struct conf_key *key)
{
    const char *text = config_setting_get_string(setting);

    if (text == NULL || (key->accepts != NULL && !key->accepts(text))) {
        return NULL;
    }
    return text;
}

/* The index among key->words; their count when it is none of them. */
static size_t read_word(const config_setting_t *setting, const struct conf_key *key)
{
    const char *text = config_setting_get_string(setting);
    size_t index = 0;

    while (key->words[index] != NULL && (text == NULL || strcmp(key->words[index], text) != 0)) {
        index++;
    }
    return index;
}

static enum status store_file(const struct conf_reader *reader, const char *path, const char *text,
                              const char **ret_path)
{
    struct stat info;

    if (text[0] == '\0') {
        *ret_path = "";
        return STATUS_OK;
    }
    const char *whole = conf_reader_keep_path(reader, text);

    if (access(whole, R_OK) != 0 || stat(whole, &info) != 0) {
        if (reader->system_refused != NULL) {
            *reader->system_refused = true;
        }
        return conf_reader_fail(reader, path, "found \"%s\" (%s), allowed: a readable file: %s",
                                text, whole, strerror(errno));
    }
    if (S_ISDIR(info.st_mode)) {
        return conf_reader_fail(reader, path, "found \"%s\" (%s), allowed: a readable file: %s",
                                text, whole, strerror(EISDIR));
    }
    *ret_path = whole;
    return STATUS_OK;
}

static const char *keep_sink(const struct conf_reader *reader, const char *text)
{
    if (text[0] == '\0' || strcmp(text, "-") == 0) {
        return conf_reader_keep(reader, str_of(text));
    }
    return conf_reader_keep_path(reader, text);
}

static enum status store_text(struct conf_reader *reader, const config_setting_t *setting,
                              const char *path, const struct conf_key *key, const char **field)
{
    const char *text = read_text(setting, key);

    if (text == NULL) {
        return conf_reader_refuse(reader, path, setting, key);
    }
    switch (key->type) {
    case CONF_SECRET:
        return conf_secret_read(reader, path, text, field);
    case CONF_FILE:
        return store_file(reader, path, text, field);
    case CONF_SINK:
        *field = keep_sink(reader, text);
        return STATUS_OK;
    default:
        *field = conf_reader_keep(reader, str_of(text));
        return STATUS_OK;
    }
}

static enum status store_number(const struct conf_reader *reader, const config_setting_t *setting,
                                const char *path, const struct conf_key *key, void *field)
{
    uint64_t number;

    if (key->type == CONF_REAL) {
        return read_real(setting, key, field) ? STATUS_OK
                                              : conf_reader_refuse(reader, path, setting, key);
    }
    if (!read_integer(setting, key, &number)) {
        return conf_reader_refuse(reader, path, setting, key);
    }
    if (key->type == CONF_U32) {
        *(uint32_t *)field = (uint32_t)number;
    } else {
        *(uint64_t *)field = number;
    }
    return STATUS_OK;
}

static enum status store_word(const struct conf_reader *reader, const config_setting_t *setting,
                              const char *path, const struct conf_key *key, void *field)
{
    size_t index = read_word(setting, key);

    if (key->words[index] == NULL) {
        return conf_reader_refuse(reader, path, setting, key);
    }
    if (key->type == CONF_CHOICE) {
        *(uint32_t *)field = (uint32_t)index;
    } else {
        *(const char **)field = key->words[index];
    }
    return STATUS_OK;
}

static enum status store_group(struct conf_reader *reader, const config_setting_t *setting,
                               const char *path, const struct conf_key *key, void *field)
{
    if (!config_setting_is_group(setting)) {
        return conf_reader_refuse(reader, path, setting, key);
    }
    return conf_section_read(reader, setting, path, key->table, field);
}

static enum status store_blocks(const struct conf_reader *reader, const config_setting_t *setting,
                                const char *path, const struct conf_key *key,
                                struct conf_blocks *ret_blocks)
{
    const int count = config_setting_length(setting);
    struct conf_block *blocks;

    if ((!config_setting_is_array(setting) && !config_setting_is_list(setting)) ||
        count > CONF_BLOCKS_MAX) {
        return conf_reader_refuse(reader, path, setting, key);
    }
    blocks = conf_make_blocks(reader->conf, (uint32_t)count);
    for (uint32_t i = 0; i < (uint32_t)count; i++) {
        const config_setting_t *item = config_setting_get_elem(setting, i);
        const char *text = config_setting_get_string(item);
        const struct conf_path place = conf_path_item(path, i);

        if (text == NULL || !addr_block_parse(str_of(text), &blocks[i].block)) {
            return conf_reader_refuse(reader, place.text, item, key);
        }
        blocks[i].text = conf_reader_keep(reader, str_of(text));
    }
    *ret_blocks = (struct conf_blocks){.items = blocks, .count = (uint32_t)count};
    return STATUS_OK;
}

static enum status store(struct conf_reader *reader, const config_setting_t *setting,
                         const char *path, const struct conf_key *key, void *field)
{
    switch (key->type) {
    case CONF_BOOL:
        if (config_setting_type(setting) != CONFIG_TYPE_BOOL) {
            return conf_reader_refuse(reader, path, setting, key);
        }
        *(bool *)field = config_setting_get_bool(setting) != 0;
        return STATUS_OK;
    case CONF_U32:
    case CONF_U64:
    case CONF_REAL:
        return store_number(reader, setting, path, key, field);
    case CONF_WORD:
    case CONF_CHOICE:
        return store_word(reader, setting, path, key, field);
    case CONF_TEXT:
    case CONF_SECRET:
    case CONF_FILE:
    case CONF_SINK:
        return store_text(reader, setting, path, key, field);
    case CONF_BLOCKS:
        return store_blocks(reader, setting, path, key, field);
    case CONF_GROUP:
    case CONF_OVERRIDE:
        return store_group(reader, setting, path, key, field);
    case CONF_TEXTS:
    case CONF_GROUPS:
    case CONF_GROUP_SET:
        return STATUS_OK; /* read by listener.c and region.c */
    }
    ASSERT_UNREACHABLE("a kind of key without a reader");
}

static bool is_in_region(const char *path)
{
    return strncmp(path, "regions[", strlen("regions[")) == 0;
}

static void append_names(struct buf *out, const struct conf_table *table, bool in_region)
{
    const char *comma = "";

    for (size_t i = 0; i < table->key_count; i++) {
        if (in_region && table->keys[i].edge_only) {
            continue;
        }
        buf_printf(out, "%s%s", comma, table->keys[i].name);
        comma = ", ";
    }
}

static enum status refuse_name(const struct conf_reader *reader, const char *path, const char *name,
                               const struct conf_table *table, const struct conf_table *others)
{
    const struct conf_key *near = conf_table_suggest(table, name);
    struct buf what;

    if (near == NULL && others != NULL) {
        near = conf_table_suggest(others, name);
    }
    buf_init(&what);
    if (near != NULL) {
        buf_printf(&what, " (did you mean %s?)", near->name);
    }
    buf_printf(&what, ", allowed: ");
    append_names(&what, table, is_in_region(path));
    if (others != NULL) {
        buf_printf(&what, ", ");
        append_names(&what, others, is_in_region(path));
    }
    enum status status =
        conf_reader_fail(reader, path, "found an unknown key%.*s", STR_FMT(buf_str(&what)));

    buf_done(&what);
    return status;
}

enum status conf_section_check_names(const struct conf_reader *reader,
                                     const config_setting_t *group, const char *path,
                                     const struct conf_table *table,
                                     const struct conf_table *others)
{
    for (int i = 0; i < config_setting_length(group); i++) {
        const char *name = config_setting_name(config_setting_get_elem(group, (unsigned)i));
        struct conf_path place = conf_path_member(path, name);

        if (conf_table_find(table, name) == NULL &&
            (others == NULL || conf_table_find(others, name) == NULL)) {
            return refuse_name(reader, place.text, name, table, others);
        }
    }
    return STATUS_OK;
}

static enum status refuse_in_region(const struct conf_reader *reader, const char *path,
                                    const struct conf_table *table)
{
    struct buf names;

    buf_init(&names);
    append_names(&names, table, true);
    enum status status = conf_reader_fail(
        reader, path,
        "found in a region, but it holds for the whole edge: write it in the top-level %s; "
        "allowed in a region: %.*s",
        table->name, STR_FMT(buf_str(&names)));

    buf_done(&names);
    return status;
}

enum status conf_section_read_keys(struct conf_reader *reader, const config_setting_t *group,
                                   const char *path, const struct conf_table *table, void *target)
{
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        const struct conf_key *key = conf_table_find(table, config_setting_name(setting));

        if (key == NULL) {
            continue;
        }
        struct conf_path place = conf_path_member(path, key->name);

        if (key->edge_only && is_in_region(path)) {
            return refuse_in_region(reader, place.text, table);
        }
        if (store(reader, setting, place.text, key, (char *)target + key->offset) != STATUS_OK) {
            return STATUS_INVALID;
        }
    }
    return STATUS_OK;
}

enum status conf_section_read(struct conf_reader *reader, const config_setting_t *group,
                              const char *path, const struct conf_table *table, void *target)
{
    if (conf_section_check_names(reader, group, path, table, NULL) != STATUS_OK) {
        return STATUS_INVALID;
    }
    return conf_section_read_keys(reader, group, path, table, target);
}
