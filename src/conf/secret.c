/* SPDX-License-Identifier: MIT */
/*
 * Secrets: written out, or named by "env:NAME" or "file:PATH" so that the config file itself can
 * be shown to anyone. Messages name the variable or the file, never the value.
 */
#include "file_private.h"
#include "reader_private.h"

#include <stdlib.h>
#include <string.h>

#define SECRET_BYTES_MAX 4096

static enum status from_environment(const struct conf_reader *reader, const char *path,
                                    const char *name, const char **ret_value)
{
    const char *value = getenv(name);

    if (value == NULL || value[0] == '\0') {
        return conf_reader_fail(
            reader, path, "found \"env:%s\", but that variable is %s, allowed: one with a value",
            name, value == NULL ? "not set" : "empty");
    }
    *ret_value = conf_reader_keep(reader, str_of(value));
    return STATUS_OK;
}

static struct str without_line_end(struct str text)
{
    if (str_ends(text, STR_LIT("\r\n"))) {
        return str_slice(text, 0, text.len - 2);
    }
    if (str_ends(text, STR_LIT("\n"))) {
        return str_slice(text, 0, text.len - 1);
    }
    return text;
}

static enum status check_content(const struct conf_reader *reader, const char *path,
                                 const char *file, struct str value)
{
    if (value.len == 0) {
        return conf_reader_fail(reader, path, "found \"file:%s\", which is empty, allowed: a value",
                                file);
    }
    if (str_find_char(value, '\0') < value.len) {
        return conf_reader_fail(reader, path,
                                "found \"file:%s\", which holds a NUL byte, allowed: text", file);
    }
    return STATUS_OK;
}

static enum status from_file(const struct conf_reader *reader, const char *path, const char *file,
                             const char **ret_value)
{
    struct buf bytes;
    struct errbuf why;
    const char *whole = conf_reader_keep_path(reader, file);
    enum status status;

    buf_init(&bytes);
    if (conf_file_read(whole, SECRET_BYTES_MAX, &bytes, &why) != STATUS_OK) {
        status =
            conf_reader_fail(reader, path, "found \"file:%s\" (%s), allowed: a readable file: %s",
                             file, whole, why.text);
    } else {
        struct str value = without_line_end(buf_str(&bytes));

        status = check_content(reader, path, file, value);
        if (status == STATUS_OK) {
            *ret_value = conf_reader_keep(reader, value);
        }
    }
    buf_done(&bytes);
    return status;
}

enum status conf_secret_read(const struct conf_reader *reader, const char *path, const char *text,
                             const char **ret_value)
{
    if (strncmp(text, "env:", 4) == 0) {
        return from_environment(reader, path, text + 4, ret_value);
    }
    if (strncmp(text, "file:", 5) == 0) {
        return from_file(reader, path, text + 5, ret_value);
    }
    if (strcmp(text, "***") == 0) {
        return conf_reader_fail(reader, path,
                                "found \"***\", which is what --print-config writes instead of a "
                                "secret, allowed: the secret, or \"env:NAME\", \"file:PATH\"");
    }
    *ret_value = conf_reader_keep(reader, str_of(text));
    return STATUS_OK;
}
