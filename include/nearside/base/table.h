/* SPDX-License-Identifier: MIT */
/*
 * Intrusive chained hash table on a caller-computed 64-bit hash. It grows with its population;
 * the caller compares keys, so any key type works.
 */
#ifndef NEARSIDE_BASE_TABLE_H
#define NEARSIDE_BASE_TABLE_H

#include <nearside/base/attr.h>

#include <stddef.h>
#include <stdint.h>

struct table_item {
    struct table_item *next; /* borrowed */
    uint64_t hash;
};

struct table {
    struct table_item **slots; /* owned array; a power of two long, or NULL */
    size_t slot_count;
    size_t count;
};

void table_init(struct table *table);
void table_done(struct table *table); /* items are the caller's */

void table_insert(struct table *table, struct table_item *item, uint64_t hash);
void table_remove(struct table *table, struct table_item *item);

/* First item with `hash`, then the next ones: the caller checks its key. NULL at the end. */
struct table_item *table_first(const struct table *table, uint64_t hash);
struct table_item *table_next(const struct table_item *item);

#endif
