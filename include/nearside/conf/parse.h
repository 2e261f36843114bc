/* SPDX-License-Identifier: MIT */
/*
 * From a libconfig file, or from REGION=URL arguments, to a checked `struct conf`.
 *
 * Every key is a row of the schema (conf/schema.c): name, type, default, range, unit, help. What
 * is not in the schema is an error. Error text: `file:line: key: what was found, what is allowed`.
 */
#ifndef NEARSIDE_CONF_PARSE_H
#define NEARSIDE_CONF_PARSE_H

#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>

struct conf;

/* Read and check `path`. On success the caller owns the one reference. STATUS_INVALID: the file is
 * wrong. STATUS_FAILED: it is right, but a certificate, key or CA that it names cannot be read. */
enum status conf_read_file(const char *path, struct conf **ret_conf, struct errbuf *err) MUST_CHECK;

/* A config from `REGION=URL[,URL...]` arguments: listens on 127.0.0.1:8080, admin on
 * 127.0.0.1:9901. */
enum status conf_from_args(int count, char *const *args, struct conf **ret_conf,
                           struct errbuf *err) MUST_CHECK;

#endif
