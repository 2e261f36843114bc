/* SPDX-License-Identifier: MIT */
/* One picture of an edge's status, as lines. Pure. */
#ifndef NEARSIDE_TOP_FRAME_PRIVATE_H
#define NEARSIDE_TOP_FRAME_PRIVATE_H

#include "line_private.h"

#include <jansson.h>

struct frame {
    const json_t *status; /* borrowed; NULL: none came yet */
    const char *trouble;  /* why there was no answer of late; NULL: there was */
    double lost_s;        /* since the last answer, with `trouble` */
};

void frame_draw(const struct frame *frame, struct page *page);
/* Of it the table of regions (frame_regions.c). */
void frame_draw_regions(const json_t *status, struct page *page);

#endif
