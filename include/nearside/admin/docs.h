/* SPDX-License-Identifier: MIT */
/* Reference text of what admin computes itself. */
#ifndef NEARSIDE_ADMIN_DOCS_H
#define NEARSIDE_ADMIN_DOCS_H

struct buf;

/* The part of docs/metrics.md about gauges that are computed at each scrape (Markdown). */
void admin_metrics_docs(struct buf *out);

#endif
