/* SPDX-License-Identifier: MIT */
/*
 * Lines of text for a terminal: cut at its width, coloured where wanted, and free of whatever in a
 * text could act on the terminal.
 */
#ifndef NEARSIDE_TOP_LINE_PRIVATE_H
#define NEARSIDE_TOP_LINE_PRIVATE_H

#include <nearside/base/attr.h>
#include <nearside/base/buf.h>

#include <stdbool.h>
#include <stddef.h>

enum line_style {
    LINE_PLAIN,
    LINE_STRONG,
    LINE_SOFT,
    LINE_GOOD,
    LINE_WARN,
    LINE_BAD,
    LINE_HEAD,
    LINE_STYLE_COUNT
};

/* Where lines go. */
struct page {
    struct buf *out; /* borrowed */
    size_t width;    /* columns; at least 1 */
    size_t height;   /* lines; those beyond are dropped */
    bool escapes;    /* colours, and clearing to the end of each line */
    size_t row;      /* lines ended */
    size_t column;   /* of the present line */
};

/* Text after what the line has, cut at the width. */
void line_add(struct page *page, enum line_style style, const char *format, ...) PRINTF_LIKE(3, 4);
/* Spaces up to `column`, and one at least unless the line is empty. */
void line_to(struct page *page, size_t column);
void line_end(struct page *page);

bool page_has_room(const struct page *page);

#endif
