/* SPDX-License-Identifier: MIT */
/*
 * Regions of address space, each a row of units with its own books at its front:
 *
 *     | list, counts, runs, used | block | free | block | block | free ...      64 MiB, aligned so
 *      ^ region_of(any pointer)
 *
 * A unit is a page of the machine, 4 KiB at least. `used` has a bit for each unit; `runs` says, at
 * a block's first unit, how many it has. A block goes into the first gap that is long enough, of
 * the first region that has one; `gap_max` spares looking through regions that have none.
 *
 * Memory is given back before a block's units are marked free, so the lock is not held meanwhile.
 * A region without blocks is let go, unless it is the only one.
 */
#include <nearside/base/pages.h>

#include "mem_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/list.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REGION_BYTES (64u << 20)
#define UNIT_MIN     4096u
#define UNITS_MAX    (REGION_BYTES / UNIT_MIN)
#define WORD_BITS    64u
#define WORD_FULL    UINT64_MAX

struct region {
    struct list link;
    uint32_t unit_count;
    uint32_t first_unit; /* behind these books */
    uint32_t free_units;
    uint32_t gap_max; /* no gap is longer; it may be that none is as long */
    size_t unit_bytes;
    uint64_t used[UNITS_MAX / WORD_BITS];
    uint32_t runs[UNITS_MAX];
};

_Static_assert(PAGES_BLOCK_MAX + 2 * sizeof(struct region) < REGION_BYTES, "a block fits a region");

/* Process-wide, like malloc's: a block is freed by whoever drops it last. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list regions = {.next = &regions, .prev = &regions};

/* ---- one region; the lock is held, or nobody else knows it ---- */

static struct region *region_of(const void *ptr)
{
    return (struct region *)((uintptr_t)ptr & ~(uintptr_t)(REGION_BYTES - 1));
}

static char *unit_at(struct region *region, uint32_t unit)
{
    return (char *)region + unit * region->unit_bytes;
}

static uint32_t unit_of(const struct region *region, const void *ptr)
{
    return (uint32_t)(((uintptr_t)ptr - (uintptr_t)region) / region->unit_bytes);
}

static bool is_used(const struct region *region, uint32_t unit)
{
    return (region->used[unit / WORD_BITS] >> (unit % WORD_BITS) & 1) != 0;
}

static void mark(struct region *region, uint32_t from, uint32_t count, bool used)
{
    for (uint32_t unit = from; unit < from + count; unit++) {
        const uint64_t bit = 1ULL << (unit % WORD_BITS);
        uint64_t *word = &region->used[unit / WORD_BITS];
        *word = used ? *word | bit : *word & ~bit;
    }
    region->free_units += used ? -count : count;
}

/* How many units from `unit` on are free; `max` is enough. */
static uint32_t gap_at(const struct region *region, uint32_t unit, uint32_t max)
{
    uint32_t count = 0;

    while (count < max && unit + count < region->unit_count && !is_used(region, unit + count)) {
        count++;
    }
    return count;
}

/* The first gap of `count` units, or 0; then it is known how long the longest is. */
static uint32_t find_gap(struct region *region, uint32_t count)
{
    uint32_t longest = 0;
    uint32_t unit = region->first_unit;

    while (unit < region->unit_count) {
        if (region->used[unit / WORD_BITS] == WORD_FULL) {
            unit = (unit / WORD_BITS + 1) * WORD_BITS;
            continue;
        }
        const uint32_t gap = gap_at(region, unit, count);
        if (gap == count) {
            return unit;
        }
        longest = gap > longest ? gap : longest;
        unit += gap + 1; /* behind the gap stands a used one */
    }
    region->gap_max = longest;
    return 0;
}

static void *take_units(struct region *region, uint32_t count)
{
    uint32_t unit = 0;

    if (region->gap_max >= count && region->free_units >= count) {
        unit = find_gap(region, count);
    }
    if (unit == 0) {
        return NULL;
    }
    mark(region, unit, count, true);
    region->runs[unit] = count;
    return unit_at(region, unit);
}

static void give_units(struct region *region, uint32_t unit, uint32_t count)
{
    uint32_t from = unit;

    mark(region, unit, count, false);
    while (from > region->first_unit && !is_used(region, from - 1)) {
        from--;
    }
    const uint32_t gap = unit - from + gap_at(region, unit, region->unit_count);
    region->gap_max = gap > region->gap_max ? gap : region->gap_max;
}

/* ---- regions ---- */

static struct region *region_new(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *all = mmap(NULL, 2 * (size_t)REGION_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) {
        return NULL;
    }
    struct region *region = region_of(all + REGION_BYTES - 1);
    const size_t before = (size_t)((char *)region - all);
    if (before > 0) {
        (void)munmap(all, before);
    }
    (void)munmap((char *)region + REGION_BYTES, REGION_BYTES - before);
    /* Huge pages would make a small block's neighbourhood resident. Not there: none are used. */
    (void)madvise(region, REGION_BYTES, MADV_NOHUGEPAGE);

    region->unit_bytes = page > UNIT_MIN ? page : UNIT_MIN;
    region->unit_count = (uint32_t)(REGION_BYTES / region->unit_bytes);
    region->first_unit =
        (uint32_t)((sizeof(*region) + region->unit_bytes - 1) / region->unit_bytes);
    region->free_units = region->unit_count;
    mark(region, 0, region->first_unit, true);
    region->gap_max = region->free_units;
    list_push_back(&regions, &region->link);
    return region;
}

static bool is_empty(const struct region *region)
{
    return region->free_units == region->unit_count - region->first_unit;
}

/* With the lock. */
static void *take(uint32_t count)
{
    struct list *link;
    struct region *fresh;

    LIST_FOREACH (link, &regions) {
        void *ptr = take_units(LIST_ITEM(link, struct region, link), count);
        if (ptr != NULL) {
            return ptr;
        }
    }
    fresh = region_new();
    return fresh == NULL ? NULL : take_units(fresh, count);
}

/* With the lock. Returns a region to be unmapped without it, or NULL. */
static struct region *give(struct region *region, uint32_t unit, uint32_t count)
{
    give_units(region, unit, count);
    if (!is_empty(region) || regions.next == regions.prev) {
        return NULL;
    }
    list_remove(&region->link);
    return region;
}

/* ---- blocks ---- */

static uint32_t units_for(size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t unit = page > UNIT_MIN ? page : UNIT_MIN;

    return size == 0 ? 1 : (uint32_t)((size + unit - 1) / unit);
}

/* The units are nobody's any more, but not yet marked free. */
static void release(struct region *region, uint32_t unit, uint32_t count)
{
    struct region *empty;

    (void)madvise(unit_at(region, unit), count * region->unit_bytes, MADV_DONTNEED);
    pthread_mutex_lock(&lock);
    empty = give(region, unit, count);
    pthread_mutex_unlock(&lock);
    if (empty != NULL) {
        (void)munmap(empty, REGION_BYTES);
    }
}

void *pages_try_alloc(size_t size)
{
    void *ptr;

    if (size > PAGES_BLOCK_MAX || mem_try_is_to_fail()) {
        return NULL;
    }
    pthread_mutex_lock(&lock);
    ptr = take(units_for(size));
    pthread_mutex_unlock(&lock);
    return ptr;
}

/* In place, if what follows is free. */
static bool extend(struct region *region, uint32_t unit, uint32_t count)
{
    const uint32_t had = region->runs[unit];
    bool fits;

    pthread_mutex_lock(&lock);
    fits = gap_at(region, unit + had, count - had) == count - had;
    if (fits) {
        mark(region, unit + had, count - had, true);
        region->runs[unit] = count;
    }
    pthread_mutex_unlock(&lock);
    return fits;
}

void *pages_try_resize(void *ptr, size_t size)
{
    struct region *region = region_of(ptr);
    const uint32_t unit = unit_of(region, ptr);
    const uint32_t had = region->runs[unit];
    const uint32_t count = units_for(size);

    if (count <= had) {
        region->runs[unit] = count;
        if (count < had) {
            release(region, unit + count, had - count);
        }
        return ptr;
    }
    if (size > PAGES_BLOCK_MAX || mem_try_is_to_fail()) {
        return NULL;
    }
    if (extend(region, unit, count)) {
        return ptr;
    }
    pthread_mutex_lock(&lock);
    void *moved = take(count);
    pthread_mutex_unlock(&lock);
    if (moved != NULL) {
        memcpy(moved, ptr, had * region->unit_bytes);
        pages_free(ptr);
    }
    return moved;
}

void pages_free(void *ptr)
{
    if (ptr != NULL) {
        struct region *region = region_of(ptr);
        const uint32_t unit = unit_of(region, ptr);
        ASSERT(region->runs[unit] > 0);
        const uint32_t count = region->runs[unit];
        region->runs[unit] = 0;
        release(region, unit, count);
    }
}

size_t pages_size_of(const void *ptr)
{
    const struct region *region = region_of(ptr);

    return region->runs[unit_of(region, ptr)] * region->unit_bytes;
}
