/* SPDX-License-Identifier: MIT */
/*
 * Members of the status as text for a cell. An edge of another version may lack any of them: then a
 * text is empty, a number 0, and what is written for it "-". The writers return `out` or static
 * text. Pure.
 */
#ifndef NEARSIDE_TOP_FRAME_VALUE_PRIVATE_H
#define NEARSIDE_TOP_FRAME_VALUE_PRIVATE_H

#include "line_private.h"

#include <jansson.h>
#include <stdbool.h>

#define VALUE_LEN 64

const json_t *value_at(const json_t *value, const char *key);
const char *value_text_at(const json_t *value, const char *key);
double value_number_at(const json_t *value, const char *key);
bool value_is_true_at(const json_t *value, const char *key);

const char *value_span(double seconds, char out[VALUE_LEN]);
const char *value_ms(const json_t *value, char out[VALUE_LEN]);
const char *value_share(const json_t *value, char out[VALUE_LEN]);
const char *value_rate(const json_t *value, char out[VALUE_LEN]);
const char *value_count(const json_t *value, char out[VALUE_LEN]);
/* "12:34:56" of "2026-11-22T12:34:56.789Z". */
const char *value_clock(const char *iso, char out[VALUE_LEN]);

/* Of a region or a pod: up, and its breaker closed. */
bool value_is_well(const json_t *one);
const char *value_state_word(const json_t *one);
enum line_style value_state_style(const json_t *one);
/* Seconds in that state; a drain has an age of its own. */
double value_state_age(const json_t *one);

#endif
