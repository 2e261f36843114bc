/* SPDX-License-Identifier: MIT */
/* Everything the pod serves that is not generated text. */
#ifndef POD_PAGES_H
#define POD_PAGES_H

#include <nearside/base/str.h>

struct conn;
struct reply;

enum page_kind {
    PAGE_NONE,
    PAGE_PROBE,   /* /health, /metrics: not counted as requests */
    PAGE_CONTROL, /* never delayed, never faulty */
    PAGE_ECHO,
    PAGE_BYTES, /* /bytes/N: as many bytes, made as the client takes them */
    PAGE_MODELS,
};

enum page_kind page_find(const struct conn *conn);

/* Fill status, content type and body of conn->reply. */
void page_fill(struct conn *conn, enum page_kind kind);

/* An error body in OpenAI's shape. */
void page_error(struct reply *reply, unsigned status, const char *message);

/* control.c */
void control_fill(struct conn *conn);

#endif
