/* SPDX-License-Identifier: MIT */
/* The status as plain tables, for a browser that runs no script. */
#ifndef NEARSIDE_ADMIN_PAGE_PLAIN_PRIVATE_H
#define NEARSIDE_ADMIN_PAGE_PLAIN_PRIVATE_H

#include <nearside/base/buf.h>

#include <jansson.h>

/* `root` is the value of /status.json. */
void page_write_plain(struct buf *out, const json_t *root);

#endif
