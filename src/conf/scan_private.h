/* SPDX-License-Identifier: MIT */
/*
 * A look at a config's text before libconfig 1.5 sees it, for what that library takes silently or
 * dies of: integers past 32 bits without an L (it keeps the low half), a comment that is never
 * closed (it drops the rest of the file), a string that is never closed (it leaks), NUL bytes (it
 * stops there), and an @include of something that cannot be read as a file (its scanner calls
 * exit()).
 */
#ifndef NEARSIDE_CONF_SCAN_PRIVATE_H
#define NEARSIDE_CONF_SCAN_PRIVATE_H

#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>
#include <nearside/base/str.h>

#define CONF_FILE_BYTES_MAX (4U * 1024 * 1024)
#define CONF_INCLUDES_MAX   100 /* in all */

/* Scan `text`, named `name` in messages, and every file it includes; relative includes start at
 * `folder`, as libconfig is told too. */
enum status conf_scan(struct str text, const char *name, const char *folder,
                      struct errbuf *err) MUST_CHECK;

#endif
