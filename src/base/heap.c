/* SPDX-License-Identifier: MIT */
/* Binary min-heap in an array; every move of an item writes its new place into it. */
#include <nearside/base/heap.h>

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#define HEAP_SIZE_FIRST 16

void heap_init(struct heap *heap)
{
    *heap = (struct heap){0};
}

void heap_done(struct heap *heap)
{
    mem_free(heap->items);
    heap_init(heap);
}

static void put(struct heap *heap, size_t index, struct heap_item *item)
{
    heap->items[index] = item;
    item->place = index + 1;
}

static void sift_up(struct heap *heap, size_t index, struct heap_item *item)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;

        if (heap->items[parent]->key <= item->key) {
            break;
        }
        put(heap, index, heap->items[parent]);
        index = parent;
    }
    put(heap, index, item);
}

static void sift_down(struct heap *heap, size_t index, struct heap_item *item)
{
    for (;;) {
        size_t child = 2 * index + 1;

        if (child >= heap->count) {
            break;
        }
        if (child + 1 < heap->count && heap->items[child + 1]->key < heap->items[child]->key) {
            child++;
        }
        if (item->key <= heap->items[child]->key) {
            break;
        }
        put(heap, index, heap->items[child]);
        index = child;
    }
    put(heap, index, item);
}

/* Let `item` find its place, starting from a hole at `index`. */
static void settle(struct heap *heap, size_t index, struct heap_item *item)
{
    if (index > 0 && item->key < heap->items[(index - 1) / 2]->key) {
        sift_up(heap, index, item);
    } else {
        sift_down(heap, index, item);
    }
}

static size_t index_of(const struct heap *heap, const struct heap_item *item)
{
    ASSERT(item->place != 0 && item->place <= heap->count);
    ASSERT(heap->items[item->place - 1] == item);
    return item->place - 1;
}

void heap_insert(struct heap *heap, struct heap_item *item, uint64_t key)
{
    ASSERT(item->place == 0);
    if (heap->count == heap->size) {
        heap->size = heap->size == 0 ? HEAP_SIZE_FIRST : heap->size * 2;
        heap->items = mem_realloc(heap->items, heap->size * sizeof(struct heap_item *));
    }
    item->key = key;
    heap->count++;
    sift_up(heap, heap->count - 1, item);
}

void heap_remove(struct heap *heap, struct heap_item *item)
{
    size_t index = index_of(heap, item);
    struct heap_item *last = heap->items[heap->count - 1];

    heap->count--;
    item->place = 0;
    if (last != item) {
        settle(heap, index, last);
    }
}

void heap_change(struct heap *heap, struct heap_item *item, uint64_t key)
{
    size_t index = index_of(heap, item);

    item->key = key;
    settle(heap, index, item);
}
