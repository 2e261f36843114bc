/* SPDX-License-Identifier: MIT */
/*
 * Members of the status value as HTML: looked up by path ("regions/0/pending"), written by kind,
 * escaped, for a page that is read without a script. The script writes them the same way.
 */
#ifndef NEARSIDE_ADMIN_PAGE_VALUE_PRIVATE_H
#define NEARSIDE_ADMIN_PAGE_VALUE_PRIVATE_H

#include <nearside/base/attr.h>
#include <nearside/base/buf.h>

#include <jansson.h>
#include <stdbool.h>

enum page_kind {
    PAGE_TEXT,
    PAGE_COUNT,
    PAGE_MS,
    PAGE_SECONDS,
    PAGE_BYTES,
    PAGE_RATIO,
};

/* Append text with the five characters that mean something in HTML escaped. */
void page_escape(struct buf *out, const char *text);

/* The member at `path`; NULL when there is none. */
const json_t *page_at(const json_t *root, const char *path);
/* Its text; "" when it is none. */
const char *page_text_at(const json_t *root, const char *path);
bool page_is_true(const json_t *root, const char *path);

/* What is read for `value`, escaped: "12.1 ms", "3 min 5 s", a dash for null. */
void page_write(struct buf *out, const json_t *value, enum page_kind kind);

#endif
