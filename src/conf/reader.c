/* SPDX-License-Identifier: MIT */
/* Places and faults while a config is read: dotted paths, lines, messages. */
#include "reader_private.h"
#include "tree_private.h"

#include <nearside/base/mem.h>

#include <stdarg.h>
#include <stdio.h>

#define FOUND_TEXT_MAX 80 /* bytes of a wrong value that a message repeats */

struct conf_path conf_path_member(const char *parent, const char *name)
{
    struct conf_path path;

    snprintf(path.text, sizeof(path.text), "%s%s%s", parent, parent[0] == '\0' ? "" : ".", name);
    return path;
}

struct conf_path conf_path_item(const char *parent, unsigned index)
{
    struct conf_path path;

    snprintf(path.text, sizeof(path.text), "%s[%u]", parent, index);
    return path;
}

/* Take the first step of *path: `name` or `[index]`. NULL when it leads nowhere. */
static config_setting_t *step_down(config_setting_t *from, struct str *path)
{
    struct str rest = *path;
    uint64_t index;

    if (rest.ptr[0] == '[') {
        size_t close = str_find_char(rest, ']');

        *path = str_slice(rest, close + 1, rest.len);
        return str_to_u64(str_slice(rest, 1, close), &index) && index < UINT32_MAX
                   ? config_setting_get_elem(from, (unsigned)index)
                   : NULL;
    }

    struct conf_path name;
    size_t dot = str_find_char(rest, '.');
    size_t bracket = str_find_char(rest, '[');
    size_t end = dot < bracket ? dot : bracket;

    snprintf(name.text, sizeof(name.text), "%.*s", (int)end, rest.ptr);
    *path = str_slice(rest, end, rest.len);
    return config_setting_is_group(from) ? config_setting_get_member(from, name.text) : NULL;
}

/* The setting at `path`; when there is none, *ret_nearest is the deepest one on the way. */
static config_setting_t *walk(const struct conf_reader *reader, const char *path,
                              config_setting_t **ret_nearest)
{
    config_setting_t *at = reader->tree == NULL ? NULL : config_root_setting(reader->tree);
    struct str rest = str_of(path);

    *ret_nearest = at;
    while (at != NULL && rest.len > 0) {
        at = step_down(at, &rest);
        if (at != NULL) {
            *ret_nearest = at;
        }
        if (rest.len > 0 && rest.ptr[0] == '.') {
            rest = str_slice(rest, 1, rest.len);
        }
    }
    return at;
}

config_setting_t *conf_reader_find(const struct conf_reader *reader, const char *path)
{
    config_setting_t *nearest;

    return walk(reader, path, &nearest);
}

static void set_error(const struct conf_reader *reader, const char *path, struct str what)
{
    config_setting_t *nearest;

    if (reader->tree == NULL) {
        err_set(reader->err, "%s: %.*s", reader->name, STR_FMT(what));
        return;
    }
    (void)walk(reader, path, &nearest);

    const char *file = config_setting_source_file(nearest);
    unsigned line = config_setting_source_line(nearest);

    /* libconfig names included files only, and gives the root no line. */
    err_set(reader->err, "%s:%u: %s: %.*s", file == NULL ? reader->name : file,
            line == 0 ? 1 : line, path, STR_FMT(what));
}

enum status conf_reader_fail(const struct conf_reader *reader, const char *path, const char *format,
                             ...)
{
    struct buf what;
    va_list args;

    buf_init(&what);
    va_start(args, format);
    buf_vprintf(&what, format, args);
    va_end(args);
    set_error(reader, path, buf_str(&what));
    buf_done(&what);
    return STATUS_INVALID;
}

static void append_short(struct buf *out, const char *text)
{
    struct str whole = str_of(text);
    char cut[FOUND_TEXT_MAX + 1];

    snprintf(cut, sizeof(cut), "%.*s", STR_FMT(str_slice(whole, 0, FOUND_TEXT_MAX)));
    conf_append_quoted(out, cut);
    if (whole.len > FOUND_TEXT_MAX) {
        buf_printf(out, "... (%zu bytes)", whole.len);
    }
}

/* 3.0, so that it is not taken for the integer 3. */
static void append_float(struct buf *out, double value)
{
    bool whole = value > -1e15 && value < 1e15 && value == (double)(long long)value;

    conf_append_real(out, value);
    buf_printf(out, "%s", whole ? ".0" : "");
}

static void append_found(struct buf *out, const config_setting_t *found)
{
    switch (config_setting_type(found)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        buf_printf(out, "%lld", config_setting_get_int64(found));
        break;
    case CONFIG_TYPE_FLOAT:
        append_float(out, config_setting_get_float(found));
        break;
    case CONFIG_TYPE_STRING:
        append_short(out, config_setting_get_string(found));
        break;
    case CONFIG_TYPE_BOOL:
        buf_printf(out, "%s", config_setting_get_bool(found) ? "true" : "false");
        break;
    case CONFIG_TYPE_GROUP:
        buf_printf(out, "a group");
        break;
    case CONFIG_TYPE_ARRAY:
        buf_printf(out, "an array");
        break;
    default:
        buf_printf(out, "a list");
        break;
    }
}

enum status conf_reader_refuse(const struct conf_reader *reader, const char *path,
                               const config_setting_t *found, const struct conf_key *key)
{
    struct buf what;

    buf_init(&what);
    buf_printf(&what, "found ");
    if (key->type == CONF_SECRET) {
        buf_printf(&what, "something else than a string"); /* 12345 may be a password */
    } else {
        append_found(&what, found);
    }
    buf_printf(&what, ", allowed: ");
    conf_key_allowed(key, &what);
    if (key->unit[0] != '\0' && key->type != CONF_TEXT) {
        buf_printf(&what, " (%s)", key->unit);
    }
    set_error(reader, path, buf_str(&what));
    buf_done(&what);
    return STATUS_INVALID;
}

const char *conf_reader_keep(const struct conf_reader *reader, struct str text)
{
    return conf_keep(reader->conf, text);
}

const char *conf_reader_keep_path(const struct conf_reader *reader, const char *path)
{
    if (path[0] == '/') {
        return conf_reader_keep(reader, str_of(path));
    }
    char *whole = mem_printf("%s/%s", reader->folder, path);
    const char *kept = conf_reader_keep(reader, str_of(whole));

    mem_free(whole);
    return kept;
}
