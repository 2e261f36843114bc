/* SPDX-License-Identifier: MIT */
/* Endpoints of a region, read one by one: from a file's array or from an argument. */
#ifndef NEARSIDE_CONF_REGION_PRIVATE_H
#define NEARSIDE_CONF_REGION_PRIVATE_H

#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>
#include <nearside/base/str.h>

#include <stdint.h>

struct conf_endpoint;
struct conf_reader;
struct conf_region;

/* Parse a URL into `endpoint`. */
enum status conf_endpoint_read(const struct conf_reader *reader, const char *path, struct str text,
                               struct conf_endpoint *endpoint) MUST_CHECK;

/* The endpoint at `index` must differ from all before it. */
enum status conf_region_check_last(const struct conf_reader *reader, const char *path,
                                   const struct conf_region *region, uint32_t index) MUST_CHECK;

#endif
