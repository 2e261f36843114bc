/* SPDX-License-Identifier: MIT */
/* Reading a small file whole: config files and secrets. */
#ifndef NEARSIDE_CONF_FILE_PRIVATE_H
#define NEARSIDE_CONF_FILE_PRIVATE_H

#include <nearside/base/attr.h>
#include <nearside/base/buf.h>
#include <nearside/base/errbuf.h>

/* Append the file's bytes to `out`. A file over `bytes_max` is STATUS_INVALID, one that the
 * system refuses STATUS_FAILED; `err` says why, without the path. */
enum status conf_file_read(const char *path, size_t bytes_max, struct buf *out,
                           struct errbuf *err) MUST_CHECK;

#endif
