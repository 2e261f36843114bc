/* SPDX-License-Identifier: MIT */
/*
 * The run: starts connections, keeps them busy (closed loop) or sends at a fixed rate whatever the
 * answers do (open loop), and counts between two instants, the CPU time of others included.
 */
#ifndef LOAD_RUN_H
#define LOAD_RUN_H

#include "options.h"

/* Prints the result as one line of JSON. Returns the exit status. */
int run(const struct options *options);

#endif
