/* SPDX-License-Identifier: MIT */
/*
 * From text to a checked tree: scan, libconfig, groups by their tables, listeners, regions, then
 * the checks across keys. The first fault ends it.
 */
#include <nearside/conf/parse.h>

#include "file_private.h"
#include "parse_private.h"
#include "reader_private.h"
#include "scan_private.h"
#include "tree_private.h"

#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static enum status read_admin_bind(struct conf_reader *reader)
{
    struct conf_admin *admin = &reader->conf->admin;

    if (admin->bind[0] == '\0') {
        return STATUS_OK;
    }
    return conf_bind_read(reader, "admin.bind", admin->bind, &admin->addr);
}

static enum status read_tree(struct conf_reader *reader)
{
    const config_setting_t *root = config_root_setting(reader->tree);
    struct conf *conf = reader->conf;

    if (conf_section_read(reader, root, "", &conf_table_root, conf) != STATUS_OK ||
        read_admin_bind(reader) != STATUS_OK || conf_tracing_read(reader) != STATUS_OK ||
        conf_health_finish(reader, "health", &conf->health) != STATUS_OK ||
        conf_listeners_read(reader) != STATUS_OK || conf_regions_read(reader) != STATUS_OK) {
        return STATUS_INVALID;
    }
    conf_settle_edge(conf);
    return conf_check(reader);
}

/* libconfig says no more than where it stopped: that is after what is missing. Nor does it tell
 * which key of a line it means, and the line itself may hold a secret. */
static const char *syntax_text(const char *text)
{
    if (text != NULL && strcmp(text, "duplicate setting name") == 0) {
        return "found a key of this line a second time in its group, allowed: each key once";
    }
    if (text != NULL && strcmp(text, "syntax error") != 0) {
        return text;
    }
    return "syntax error: a value, a ';' or a bracket is missing or one too many, here or just "
           "above";
}

static enum status syntax_error(const config_t *tree, const char *name, struct errbuf *err)
{
    const char *file = config_error_file(tree);
    const char *text = config_error_text(tree);

    err_set(err, "%s:%d: %s", file == NULL ? name : file, config_error_line(tree),
            syntax_text(text));
    return STATUS_INVALID;
}

static enum status read_with(config_t *tree, const char *text, const char *name, const char *folder,
                             struct conf **ret_conf, struct errbuf *err)
{
    bool system_refused = false;
    struct conf_reader reader = {
        .conf = conf_new(),
        .system_refused = &system_refused,
        .tree = tree,
        .name = name,
        .folder = folder,
        .err = err,
    };
    enum status status;

    config_set_include_dir(tree, folder);
    if (config_read_string(tree, text) != CONFIG_TRUE) {
        status = syntax_error(tree, name, err);
    } else {
        status = read_tree(&reader);
    }
    if (status != STATUS_OK) {
        conf_unref(reader.conf);
        return system_refused ? STATUS_FAILED : status;
    }
    *ret_conf = reader.conf;
    return STATUS_OK;
}

enum status conf_read_text(struct str text, const char *name, const char *folder,
                           struct conf **ret_conf, struct errbuf *err)
{
    config_t tree;

    if (conf_scan(text, name, folder, err) != STATUS_OK) {
        return STATUS_INVALID;
    }
    char *copy = mem_strndup(text.ptr, text.len);

    config_init(&tree);
    enum status status = read_with(&tree, copy, name, folder, ret_conf, err);

    config_destroy(&tree);
    mem_free(copy);
    return status;
}

/* The absolute folder of `path`, in memory of the caller's. NULL: it does not exist. */
static char *folder_of(const char *path)
{
    char real[PATH_MAX];
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? mem_strdup(".")
                                 : mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    const char *found = realpath(folder, real);

    mem_free(folder);
    return found == NULL ? NULL : mem_strdup(real);
}

enum status conf_read_file(const char *path, struct conf **ret_conf, struct errbuf *err)
{
    struct buf bytes;
    char *folder = folder_of(path);
    struct conf *conf = NULL;

    if (folder == NULL) {
        err_set(err, "%s: %s", path, strerror(errno));
        return STATUS_INVALID;
    }
    buf_init(&bytes);
    enum status status = conf_file_read(path, CONF_FILE_BYTES_MAX, &bytes, err);

    if (status != STATUS_OK) {
        err_wrap(err, "%s", path);
        status = STATUS_INVALID;
    } else {
        status = conf_read_text(buf_str(&bytes), path, folder, &conf, err);
    }
    if (status == STATUS_OK) {
        conf->path = conf_keep(conf, str_of(path));
        *ret_conf = conf;
    }
    buf_done(&bytes);
    mem_free(folder);
    return status;
}
