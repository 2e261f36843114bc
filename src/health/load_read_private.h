/* SPDX-License-Identifier: MIT */
/* Which of an engine's metrics say what: waiting, running, KV cache, GPU. Pure. */
#ifndef NEARSIDE_HEALTH_LOAD_READ_PRIVATE_H
#define NEARSIDE_HEALTH_LOAD_READ_PRIVATE_H

#include <nearside/base/str.h>
#include <nearside/fleet/load.h>

/* Take in one line of a page. False: it is no line of Prometheus text. */
bool load_read_line(struct load *load, struct str line);

#endif
