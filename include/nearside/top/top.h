/* SPDX-License-Identifier: MIT */
/*
 * `nearside top`: the status page in a terminal, from an edge's /status.json.
 *
 * A client of its own: it shares no state with an edge, and can watch one on another machine.
 */
#ifndef NEARSIDE_TOP_TOP_H
#define NEARSIDE_TOP_TOP_H

#include <nearside/base/attr.h>

enum top_exit {
    TOP_EXIT_OK = 0,
    TOP_EXIT_USAGE = 1,     /* bad arguments, or no terminal and no --once */
    TOP_EXIT_NO_ANSWER = 2, /* --once: the edge could not be asked */
};

/* Run with the arguments after `top`; blocks until it is left. Says on standard error what was
 * wrong. Thread: the only one of the process. */
enum top_exit top_main(int argc, char **argv) MUST_CHECK;

#endif
