/* SPDX-License-Identifier: MIT */
/* A folder with a few files for the tests of conf/, and the shortest ways to read a config. */
#ifndef NEARSIDE_TESTS_CONF_FIXTURE_H
#define NEARSIDE_TESTS_CONF_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <conf/parse_private.h>
#include <nearside/base/mem.h>
#include <nearside/conf/parse.h>
#include <nearside/conf/tree.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LISTEN "listeners = ( { bind = \"127.0.0.1:0\"; } );"
#define REGION "regions = ( { name = \"a\"; endpoints = [ \"http://10.0.0.1\" ]; } );"

/* One region with more keys; the rest on the same line. */
#define REGION_WITH(keys)                                                                          \
    "regions = ( { name = \"a\"; endpoints = [ \"http://10.0.0.1\" ]; " keys " } );"

struct folder {
    char path[64];
};

static const char *const folder_files[][2] = {
    {"cert.pem", "certificate\n"},
    {"key.pem", "key\n"},
    {"ca.pem", "ca\n"},
    {"secret", "hunter2\n"},
    {"secret-crlf", "hunter2\r\n"},
    {"secret-lines", "hunter2\n\n"},
    {"secret-empty", "\n"},
    {"regions.inc", "# regions\n" REGION "\n"},
    {"bad.inc", "\n\nhealth = { fall = 0; };\n"},
    {"syntax.inc", "\nhealth = = ;\n"},
    {"wide.inc", "\nlimits = { body_bytes = 4294967297; };\n"},
    {"loop.inc", "@include \"loop.inc\"\n"},
};

static inline void folder_put(const struct folder *folder, const char *name, const char *text)
{
    char *path = mem_printf("%s/%s", folder->path, name);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
    mem_free(path);
}

static inline void folder_remove(const struct folder *folder, const char *name)
{
    char *path = mem_printf("%s/%s", folder->path, name);

    assert_int_equal(unlink(path), 0);
    mem_free(path);
}

static inline int folder_setup(void **state)
{
    struct folder *folder = mem_new(struct folder);

    snprintf(folder->path, sizeof(folder->path), "/tmp/nearside-conf-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    for (size_t i = 0; i < ARRAY_LEN(folder_files); i++) {
        folder_put(folder, folder_files[i][0], folder_files[i][1]);
    }
    *state = folder;
    return 0;
}

static inline int folder_teardown(void **state)
{
    struct folder *folder = *state;

    for (size_t i = 0; i < ARRAY_LEN(folder_files); i++) {
        folder_remove(folder, folder_files[i][0]);
    }
    assert_int_equal(rmdir(folder->path), 0);
    mem_free(folder);
    return 0;
}

/* Read a config that must be good. */
static inline struct conf *read_good(const struct folder *folder, const char *text)
{
    struct conf *conf = NULL;
    struct errbuf err = {.text = ""};
    enum status status = conf_read_text(str_of(text), "t.conf", folder->path, &conf, &err);

    assert_string_equal(err.text, "");
    assert_int_equal(status, STATUS_OK);
    return conf;
}

/* Read a config that must be bad; the message must contain `expected`. */
static inline void read_bad(const struct folder *folder, const char *text, const char *expected)
{
    struct conf *conf = NULL;
    struct errbuf err = {.text = ""};
    enum status status = conf_read_text(str_of(text), "t.conf", folder->path, &conf, &err);

    if (status == STATUS_OK || strstr(err.text, expected) == NULL) {
        fail_msg("%s\n  expected: %s\n  got:      %s", text, expected, err.text);
    }
    assert_null(conf);
}

#endif
