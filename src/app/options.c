/* SPDX-License-Identifier: MIT */
/* The command line, by getopt_long. */
#include "options.h"

#include <getopt.h>
#include <string.h>

const char options_help[] =
    "nearside: a load balancer for LLM inference in several regions\n"
    "\n"
    "  nearside -c FILE                    run in the foreground\n"
    "  nearside REGION=URL[,URL...] ...    run without a file: listens on 127.0.0.1:8080,\n"
    "                                      admin on 127.0.0.1:9901\n"
    "  nearside -t -c FILE                 check the file: exit 0 and \"ok\", or 1 and what is "
    "wrong\n"
    "  nearside --print-config [-c FILE]   the effective config, each key with default and unit\n"
    "  nearside top [--admin URL] [--once] the status of a running edge, in the terminal\n"
    "  nearside --version | --help\n"
    "\n"
    "signals:  SIGHUP reload   SIGTERM, SIGINT drain and stop   SIGUSR1 reopen log files\n"
    "          SIGUSR2 hand over to the program file as it is now, without dropping a stream\n"
    "exit:     0 clean   1 bad config or usage   2 could not start\n";

enum { OPTION_PRINT_CONFIG = 256, OPTION_VERSION, OPTION_HELP, OPTION_DOCS };

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"test", no_argument, NULL, 't'},
    {"print-config", no_argument, NULL, OPTION_PRINT_CONFIG},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},
    {"docs", required_argument, NULL, OPTION_DOCS},
    {NULL, 0, NULL, 0},
};

static enum status check(const struct options *options, struct errbuf *err)
{
    bool has_source = options->file != NULL || options->region_count > 0;

    if (options->file != NULL && options->region_count > 0) {
        err_set(err, "%s: a config file and REGION=URL arguments exclude each other",
                options->regions[0]);
        return STATUS_INVALID;
    }
    if ((options->action == ACTION_RUN || options->action == ACTION_TEST) && !has_source) {
        err_set(err, "nothing to run: give -c FILE or REGION=URL (see --help)");
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

/* A letter may stand anywhere among others, a word is the last that was looked at. */
static void refuse_option(char **argv, struct errbuf *err)
{
    if (optopt > 0 && optopt < OPTION_PRINT_CONFIG) {
        err_set(err, "-%c: unknown option (see --help)", optopt);
    } else {
        err_set(err, "%s: unknown option (see --help)", argv[optind - 1]);
    }
}

enum status options_parse(int argc, char **argv, struct options *ret_options, struct errbuf *err)
{
    struct options options = {.action = ACTION_RUN};
    int letter;

    opterr = 0;
    while ((letter = getopt_long(argc, argv, ":c:th", long_options, NULL)) != -1) {
        switch (letter) {
        case 'c':
            if (options.file != NULL) {
                err_set(err, "-c: given twice, allowed: one file (which may @include others)");
                return STATUS_INVALID;
            }
            options.file = optarg;
            break;
        case 't':
            options.action = ACTION_TEST;
            break;
        case OPTION_PRINT_CONFIG:
            options.action = ACTION_PRINT_CONFIG;
            break;
        case OPTION_VERSION:
            options.action = ACTION_VERSION;
            break;
        case 'h':
        case OPTION_HELP:
            options.action = ACTION_HELP;
            break;
        case OPTION_DOCS:
            options.action = ACTION_DOCS;
            options.docs = optarg;
            break;
        case ':':
            err_set(err, "%s: needs a value (see --help)", argv[optind - 1]);
            return STATUS_INVALID;
        default:
            refuse_option(argv, err);
            return STATUS_INVALID;
        }
    }
    options.argv = argv;
    options.region_count = argc - optind;
    options.regions = argv + optind;
    if (check(&options, err) != STATUS_OK) {
        return STATUS_INVALID;
    }
    *ret_options = options;
    return STATUS_OK;
}
