/* SPDX-License-Identifier: MIT */
/*
 * Regions of address space, each a row of units with its own books at its front:
 *
 *     | list, counts, runs, bits | block | free | block | block | free ...      64 MiB, aligned so
 *      ^ region_of(any pointer)
 *
 * A unit is a page of the machine, 4 KiB at least. `used` has a bit for each unit; `runs` says, at
 * a block's first unit, how many it has. A block goes into the first gap that is long enough, of
 * the first region that has one; `gap_max` spares looking through regions that have none.
 *
 * Memory is given back before a block's units are marked free, so the lock is not held meanwhile.
 * `warm` has a bit for each free unit whose memory was kept. The first gap is at the lowest place,
 * so where blocks come and go they meet warm ones, and what is given back is taken from the
 * highest. A region without blocks and warm units is let go, unless it is the only one.
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
#if HAS_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(ptr, size)   ((void)(ptr), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(ptr, size) ((void)(ptr), (void)(size))
#endif

#define REGION_BYTES (64u << 20)
#define UNIT_MIN     4096u
#define UNITS_MAX    (REGION_BYTES / UNIT_MIN)
#define WORD_BITS    64u
#define WORD_FULL    UINT64_MAX

/* One pages_cool(), at most: whoever calls it waits for the kernel. */
#define COOL_BYTES ((size_t)64 << 20)

struct region {
    struct list link;
    uint32_t unit_count;
    uint32_t first_unit; /* behind these books */
    uint32_t free_units;
    uint32_t gap_max; /* no gap is longer; it may be that none is as long */
    uint32_t warm_units;
    size_t unit_bytes;
    uint64_t used[UNITS_MAX / WORD_BITS];
    uint64_t warm[UNITS_MAX / WORD_BITS];
    uint32_t runs[UNITS_MAX];
};

_Static_assert(PAGES_BLOCK_MAX + 2 * sizeof(struct region) < REGION_BYTES, "a block fits a region");

/* Process-wide, like malloc's: a block is freed by whoever drops it last. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list regions = {.next = &regions, .prev = &regions};
static struct {
    size_t bytes;
    size_t least; /* since the last pages_cool() */
} warm;

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

static bool has_bit(const uint64_t *words, uint32_t unit)
{
    return (words[unit / WORD_BITS] >> (unit % WORD_BITS) & 1) != 0;
}

/* Of the units at `from`, in the word of the first: their bits, and how many there are. */
static uint64_t bits_at(uint32_t from, uint32_t count, uint32_t *ret_count)
{
    const uint32_t room = WORD_BITS - from % WORD_BITS;

    *ret_count = count < room ? count : room;
    return (WORD_FULL >> (WORD_BITS - *ret_count)) << (from % WORD_BITS);
}

static void mark(struct region *region, uint32_t from, uint32_t count, bool used)
{
    uint32_t here;

    for (uint32_t done = 0; done < count; done += here) {
        const uint64_t bits = bits_at(from + done, count - done, &here);
        uint64_t *word = &region->used[(from + done) / WORD_BITS];
        *word = used ? *word | bits : *word & ~bits;
    }
    region->free_units += used ? -count : count;
}

/* The lock is held. */
static void mark_warm(struct region *region, uint32_t from, uint32_t count, bool is_warm)
{
    uint32_t changed = 0;
    uint32_t here;

    for (uint32_t done = 0; done < count; done += here) {
        const uint64_t bits = bits_at(from + done, count - done, &here);
        uint64_t *word = &region->warm[(from + done) / WORD_BITS];
        const uint64_t before = *word;
        *word = is_warm ? before | bits : before & ~bits;
        changed += (uint32_t)__builtin_popcountll(*word ^ before);
    }
    region->warm_units += is_warm ? changed : -changed;
    warm.bytes += (is_warm ? changed : -(size_t)changed) * region->unit_bytes;
    if (warm.bytes < warm.least) {
        warm.least = warm.bytes;
    }
}

/* How many units from `unit` on are free; `max` is enough. */
static uint32_t gap_at(const struct region *region, uint32_t unit, uint32_t max)
{
    uint32_t count = 0;

    while (count < max && unit + count < region->unit_count) {
        const uint32_t at = unit + count;
        const uint64_t rest = region->used[at / WORD_BITS] >> (at % WORD_BITS);
        if (rest != 0) {
            count += (uint32_t)__builtin_ctzll(rest);
            break;
        }
        count += WORD_BITS - at % WORD_BITS;
    }
    return count < max ? count : max;
}

/* The first of the free units right before `unit`, or `unit`. The books are never free. */
static uint32_t gap_start(const struct region *region, uint32_t unit)
{
    for (;;) {
        const uint32_t last = unit - 1;
        const uint64_t rest = region->used[last / WORD_BITS] << (WORD_BITS - 1 - last % WORD_BITS);
        if (rest != 0) {
            return unit - (uint32_t)__builtin_clzll(rest);
        }
        unit = last / WORD_BITS * WORD_BITS;
    }
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
    mark_warm(region, unit, count, false);
    region->runs[unit] = count;
    return unit_at(region, unit);
}

static void give_units(struct region *region, uint32_t unit, uint32_t count)
{
    mark(region, unit, count, false);
    const uint32_t start = gap_start(region, unit);
    const uint32_t gap = unit - start + gap_at(region, unit, region->unit_count);
    region->gap_max = gap > region->gap_max ? gap : region->gap_max;
}

/* ---- regions ---- */

static size_t unit_size(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return page > UNIT_MIN ? page : UNIT_MIN;
}

static struct region *region_new(void)
{
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

    region->unit_bytes = unit_size();
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
    return region->free_units == region->unit_count - region->first_unit && region->warm_units == 0;
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
    const size_t unit = unit_size();

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
        ASAN_UNPOISON_MEMORY_REGION(empty, REGION_BYTES);
        (void)munmap(empty, REGION_BYTES);
    }
}

/* So that a sanitizer sees a step beyond `size` of `room` bytes. */
static void fence(void *ptr, size_t size, size_t room)
{
    ASAN_UNPOISON_MEMORY_REGION(ptr, size);
    ASAN_POISON_MEMORY_REGION((char *)ptr + size, room - size);
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
    if (ptr != NULL) {
        fence(ptr, size, pages_size_of(ptr));
    }
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
        mark_warm(region, unit + had, count - had, false);
        region->runs[unit] = count;
    }
    pthread_mutex_unlock(&lock);
    return fits;
}

static void *move(struct region *region, uint32_t unit, uint32_t count)
{
    const uint32_t had = region->runs[unit];
    void *ptr = unit_at(region, unit);
    void *moved;

    pthread_mutex_lock(&lock);
    moved = take(count);
    pthread_mutex_unlock(&lock);
    if (moved != NULL) {
        ASAN_UNPOISON_MEMORY_REGION(ptr, had * region->unit_bytes);
        ASAN_UNPOISON_MEMORY_REGION(moved, count * region->unit_bytes);
        memcpy(moved, ptr, had * region->unit_bytes);
        pages_free_warm(ptr);
    }
    return moved;
}

void *pages_try_resize(void *ptr, size_t size)
{
    struct region *region = region_of(ptr);
    const uint32_t unit = unit_of(region, ptr);
    const uint32_t had = region->runs[unit];
    const uint32_t count = units_for(size);

    if (count < had) {
        region->runs[unit] = count;
        ASAN_POISON_MEMORY_REGION(unit_at(region, unit + count),
                                  (had - count) * region->unit_bytes);
        release(region, unit + count, had - count);
    } else if (count > had) {
        if (size > PAGES_BLOCK_MAX || mem_try_is_to_fail()) {
            return NULL;
        }
        if (!extend(region, unit, count)) {
            ptr = move(region, unit, count);
        }
    }
    if (ptr != NULL) {
        fence(ptr, size, pages_size_of(ptr)); /* not the region's: it may be gone */
    }
    return ptr;
}

/* The block at `ptr` is nobody's any more; returns its units, which are still marked used. */
static uint32_t end_block(struct region *region, uint32_t unit)
{
    const uint32_t count = region->runs[unit];

    ASSERT(count > 0);
    region->runs[unit] = 0;
    ASAN_POISON_MEMORY_REGION(unit_at(region, unit), count * region->unit_bytes);
    return count;
}

void pages_free(void *ptr)
{
    if (ptr != NULL) {
        struct region *region = region_of(ptr);
        const uint32_t unit = unit_of(region, ptr);
        release(region, unit, end_block(region, unit));
    }
}

void pages_free_warm(void *ptr)
{
    if (ptr != NULL) {
        struct region *region = region_of(ptr);
        const uint32_t unit = unit_of(region, ptr);
        const uint32_t count = end_block(region, unit);
        pthread_mutex_lock(&lock);
        give_units(region, unit, count);
        mark_warm(region, unit, count, true);
        pthread_mutex_unlock(&lock);
    }
}

size_t pages_size_of(const void *ptr)
{
    const struct region *region = region_of(ptr);

    return region->runs[unit_of(region, ptr)] * region->unit_bytes;
}

size_t pages_whole(size_t size)
{
    return units_for(size) * unit_size();
}

/* ---- what was kept warm ---- */

size_t pages_warm_bytes(void)
{
    size_t bytes;

    pthread_mutex_lock(&lock);
    bytes = warm.bytes;
    pthread_mutex_unlock(&lock);
    return bytes;
}

/* The last run of warm units, `max` at most, becomes nobody's. Returns how many, 0: there is none.
 * With the lock. */
static uint32_t take_warm(struct region *region, uint32_t max, uint32_t *ret_unit)
{
    uint32_t end = region->unit_count;
    uint32_t count = 0;

    while (region->warm[(end - 1) / WORD_BITS] == 0) {
        end = (end - 1) / WORD_BITS * WORD_BITS;
    }
    while (!has_bit(region->warm, end - 1)) {
        end--;
    }
    while (count < max && has_bit(region->warm, end - count - 1)) {
        count++;
    }
    *ret_unit = end - count;
    mark(region, end - count, count, true);
    mark_warm(region, end - count, count, false);
    return count;
}

/* Returns the bytes that went, 0: nothing is warm. */
static size_t cool_one(size_t max)
{
    struct region *region = NULL;
    struct list *link;
    uint32_t count = 0;
    uint32_t unit = 0;

    pthread_mutex_lock(&lock);
    LIST_FOREACH (link, &regions) {
        if (LIST_ITEM(link, struct region, link)->warm_units > 0) {
            region = LIST_ITEM(link, struct region, link); /* the last one's */
        }
    }
    if (region != NULL) {
        count = take_warm(region, (uint32_t)(max / region->unit_bytes), &unit);
    }
    pthread_mutex_unlock(&lock);
    if (count == 0) {
        return 0;
    }
    const size_t bytes = count * region->unit_bytes;
    release(region, unit, count);
    return bytes;
}

size_t pages_cool(void)
{
    size_t total = 0;
    size_t surplus;
    size_t went;

    pthread_mutex_lock(&lock);
    surplus = warm.least < COOL_BYTES ? warm.least : COOL_BYTES;
    warm.least = warm.bytes;
    pthread_mutex_unlock(&lock);
    while (total < surplus) {
        went = cool_one(surplus - total);
        if (went == 0) {
            break;
        }
        total += went;
    }
    return total;
}
