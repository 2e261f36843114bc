/* SPDX-License-Identifier: MIT */
/* HTTP dates (RFC 9110 5.6.7, IMF-fixdate) and Retry-After. Pure. */
#ifndef NEARSIDE_HTTP_DATE_H
#define NEARSIDE_HTTP_DATE_H

#include <nearside/base/attr.h>
#include <nearside/base/str.h>

#include <stdbool.h>
#include <stdint.h>

#define HTTP_DATE_LEN 30
/* "Sun, 22 Nov 2026 10:20:30 GMT" and a NUL. */
void http_date_format(uint64_t wall_ms, char out[HTTP_DATE_LEN]);
bool http_date_parse(struct str text, uint64_t *ret_wall_ms) MUST_CHECK;

/* Retry-After: seconds, or a date (relative to `wall_ms`); clamped to 300 s. False: unusable. */
bool http_retry_after_ms(struct str value, uint64_t wall_ms, uint64_t *ret_ms) MUST_CHECK;

#endif
