/* SPDX-License-Identifier: MIT */
/* Reading a config from bytes in memory: what conf_read_file() does after reading the file. */
#ifndef NEARSIDE_CONF_PARSE_PRIVATE_H
#define NEARSIDE_CONF_PARSE_PRIVATE_H

#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>
#include <nearside/base/str.h>

struct conf;

/* `name` begins each message; relative paths and includes start at `folder`, an absolute path. */
enum status conf_read_text(struct str text, const char *name, const char *folder,
                           struct conf **ret_conf, struct errbuf *err) MUST_CHECK;

#endif
