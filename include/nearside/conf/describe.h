/* SPDX-License-Identifier: MIT */
/* What people read about the configuration, all generated from the schema. */
#ifndef NEARSIDE_CONF_DESCRIBE_H
#define NEARSIDE_CONF_DESCRIBE_H

#include <nearside/base/buf.h>

struct conf;

/* The effective config in the file's own syntax, each key with its unit and default as a comment;
 * secrets shown as ***. NULL: the defaults, with an example listener and region
 * (conf/nearside.conf). The result is a valid file, secrets aside. */
void conf_describe(const struct conf *conf, struct buf *out);

/* docs/configuration.md. */
void conf_describe_docs(struct buf *out);
/* docs/man/nearside.conf.5. */
void conf_describe_man(struct buf *out);

#endif
