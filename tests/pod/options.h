/* SPDX-License-Identifier: MIT */
/* The pod's command line. */
#ifndef POD_OPTIONS_H
#define POD_OPTIONS_H

#include <stdbool.h>

struct pod_options;

/* False, after a line on stderr, when an option is wrong. Strings point into argv. */
bool options_read(struct pod_options *options, int argc, char *const *argv);

#endif
