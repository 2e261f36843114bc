/* SPDX-License-Identifier: MIT */
/*
 * Intrusive binary min-heap on a 64-bit key. The item knows its place, so removing and re-keying
 * cost O(log n) without a search.
 */
#ifndef NEARSIDE_BASE_HEAP_H
#define NEARSIDE_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_item {
    uint64_t key;
    size_t place; /* index + 1; 0: in no heap */
};

struct heap {
    struct heap_item **items; /* owned array of borrowed items */
    size_t count;
    size_t size;
};

void heap_init(struct heap *heap);
void heap_done(struct heap *heap); /* frees the array; items are the caller's */

void heap_insert(struct heap *heap, struct heap_item *item, uint64_t key);
void heap_remove(struct heap *heap, struct heap_item *item);
void heap_change(struct heap *heap, struct heap_item *item, uint64_t key);

static inline struct heap_item *heap_peek(const struct heap *heap)
{
    return heap->count == 0 ? NULL : heap->items[0];
}

static inline bool heap_item_is_queued(const struct heap_item *item)
{
    return item->place != 0;
}

#endif
