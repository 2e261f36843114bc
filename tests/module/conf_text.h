/* SPDX-License-Identifier: MIT */
/* A config from text, for tests that need a real one. Include after <cmocka.h>. */
#ifndef NEARSIDE_TESTS_MODULE_CONF_TEXT_H
#define NEARSIDE_TESTS_MODULE_CONF_TEXT_H

#include <nearside/conf/parse.h>
#include <nearside/conf/tree.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* `regions` is the inside of the list of regions; `rest` any other settings. */
static inline struct conf *conf_from_text(const char *regions, const char *rest)
{
    char path[] = "/tmp/nearside-test-XXXXXX";
    struct errbuf err = {.text = ""};
    struct conf *conf = NULL;
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");

    assert_non_null(file);
    assert_true(fprintf(file,
                        "listeners = ( { bind = \"127.0.0.1:8080\"; } );\n%s\nregions = ( %s );\n",
                        rest, regions) > 0);
    assert_int_equal(fclose(file), 0);
    if (conf_read_file(path, &conf, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(unlink(path), 0);
    return conf;
}

#endif
