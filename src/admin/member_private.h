/* SPDX-License-Identifier: MIT */
/* Members of a JSON object, without a failure to handle: memory never fails here (mem.h). */
#ifndef NEARSIDE_ADMIN_MEMBER_PRIVATE_H
#define NEARSIDE_ADMIN_MEMBER_PRIVATE_H

#include <nearside/base/buf.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

void member_text(json_t *object, const char *key, const char *text);
/* null when the text is empty. */
void member_text_or_null(json_t *object, const char *key, const char *text);
void member_count(json_t *object, const char *key, uint64_t value);
/* Rounded to three digits behind the point. */
void member_number(json_t *object, const char *key, double value);
void member_bool(json_t *object, const char *key, bool value);
void member_null(json_t *object, const char *key);
/* A point in time as "2026-11-22T10:20:30.123Z". */
void member_time(json_t *object, const char *key, uint64_t wall_ms);

/* A new, empty value at `key`; borrowed from `object`. */
json_t *member_object(json_t *object, const char *key);
json_t *member_array(json_t *object, const char *key);
/* A new object at the end; borrowed from `array`. */
json_t *item_object(json_t *array);
/* A number at the end, rounded likewise; null when it is not known. */
void item_number_or_null(json_t *array, bool is_known, double value);

/* Append as JSON. */
void member_dump(const json_t *value, struct buf *out);
/* Append as one line of JSON, and drop the reference. */
void member_write(json_t *value, struct buf *out);

#endif
