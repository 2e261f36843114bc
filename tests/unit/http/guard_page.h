/* SPDX-License-Identifier: MIT */
/*
 * Input that ends exactly where readable memory ends: a parser that looks one byte too far is
 * killed on the spot, sanitizer or not.
 */
#ifndef NEARSIDE_TESTS_UNIT_HTTP_GUARD_PAGE_H
#define NEARSIDE_TESTS_UNIT_HTTP_GUARD_PAGE_H

#include <nearside/base/assert.h>
#include <nearside/base/str.h>

#include <sys/mman.h>
#include <unistd.h>

struct guard_page {
    char *memory;
    size_t usable;
    size_t mapped;
};

static inline void guard_page_init(struct guard_page *page, size_t bytes_max)
{
    const size_t unit = (size_t)sysconf(_SC_PAGESIZE);

    page->usable = (bytes_max + unit - 1) / unit * unit;
    page->mapped = page->usable + unit;
    page->memory =
        mmap(NULL, page->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT(page->memory != MAP_FAILED);
    ASSERT(mprotect(page->memory + page->usable, unit, PROT_NONE) == 0);
}

static inline void guard_page_done(struct guard_page *page)
{
    ASSERT(munmap(page->memory, page->mapped) == 0);
}

/* A copy of `text` against the guard; valid until the next one. */
static inline struct str guard_page_put(struct guard_page *page, struct str text)
{
    char *at = page->memory + page->usable - text.len;

    ASSERT(text.len <= page->usable);
    if (text.len > 0) {
        memcpy(at, text.ptr, text.len);
    }
    return str_make(at, text.len);
}

#endif
