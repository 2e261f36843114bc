/* SPDX-License-Identifier: MIT */
/* The command line. */
#ifndef NEARSIDE_APP_OPTIONS_H
#define NEARSIDE_APP_OPTIONS_H

#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>

#include <stdbool.h>

enum action {
    ACTION_RUN,
    ACTION_TEST,         /* -t */
    ACTION_PRINT_CONFIG, /* --print-config */
    ACTION_VERSION,
    ACTION_HELP,
    ACTION_DOCS, /* --docs configuration|metrics|conf|man: reference pages, for the build */
};

struct options {
    enum action action;
    const char *file; /* NULL: none given */
    const char *docs;
    int region_count; /* REGION=URL arguments */
    char **regions;
    char **argv; /* as main() got it: an upgrade starts the program by it */
};

enum status options_parse(int argc, char **argv, struct options *ret_options,
                          struct errbuf *err) MUST_CHECK;
extern const char options_help[];

#endif
