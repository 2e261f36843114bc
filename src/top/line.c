/* SPDX-License-Identifier: MIT */
/* One text at a time: made safe, counted in code points, cut. */
#include "line_private.h"

#include <stdio.h>

#define TEXT_MAX 1024 /* longer than any terminal is wide */

static const char *const style_codes[LINE_STYLE_COUNT] = {
    [LINE_PLAIN] = "",        [LINE_STRONG] = "\033[1m", [LINE_SOFT] = "\033[2m",
    [LINE_GOOD] = "\033[32m", [LINE_WARN] = "\033[33m",  [LINE_BAD] = "\033[1;31m",
    [LINE_HEAD] = "\033[7m",
};

bool page_has_room(const struct page *page)
{
    return page->row < page->height;
}

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Bytes of the code point at the front of `text`; 0: it is a control character (C0, DEL, C1) or no
 * UTF-8, and must not be sent to a terminal. */
static size_t code_point_len(struct str text)
{
    unsigned char first = (unsigned char)text.ptr[0];
    size_t len = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;

    if (first < ' ' || first == 0x7f || (first >= 0x80 && first < 0xc2) || first > 0xf4 ||
        len > text.len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if (!is_continuation((unsigned char)text.ptr[i])) {
            return 0;
        }
    }
    return first == 0xc2 && (unsigned char)text.ptr[1] < 0xa0 ? 0 : len;
}

static void add_text(struct page *page, struct str text)
{
    while (text.len > 0 && page->column < page->width) {
        size_t len = code_point_len(text);

        if (len == 0) {
            buf_append_char(page->out, '?');
            len = 1;
        } else {
            buf_append(page->out, text.ptr, len);
        }
        text = str_slice(text, len, text.len);
        page->column++;
    }
}

void line_add(struct page *page, enum line_style style, const char *format, ...)
{
    char text[TEXT_MAX];
    bool is_coloured = page->escapes && style != LINE_PLAIN;
    va_list args;

    if (!page_has_room(page)) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (is_coloured) {
        buf_append_str(page->out, str_of(style_codes[style]));
    }
    add_text(page, str_of(text));
    if (is_coloured) {
        buf_append_str(page->out, STR_LIT("\033[0m"));
    }
}

void line_to(struct page *page, size_t column)
{
    if (!page_has_room(page) || page->column == 0) {
        return;
    }
    do {
        add_text(page, STR_LIT(" "));
    } while (page->column < column && page->column < page->width);
}

void line_end(struct page *page)
{
    if (!page_has_room(page)) {
        return;
    }
    /* A full screen gets no newline after its last line: it would scroll. */
    if (page->escapes) {
        buf_append_str(page->out, STR_LIT("\033[K"));
    }
    page->row++;
    page->column = 0;
    if (!page->escapes || page_has_room(page)) {
        buf_append_char(page->out, '\n');
    }
}
