/* SPDX-License-Identifier: MIT */
/*
 * Blocks of whole pages, for what is large and ends in any order: cached answers, kept bodies.
 *
 * The allocator keeps a freed block's memory until all around it is free as well, so a process that
 * keeps answers of all sizes holds half as much again as they take. Here a block's pages go back to
 * the kernel as it is freed, and a block's size is its pages: nothing else is resident. Address
 * space may be left in pieces; there is plenty of it. The price is a fault for each page of a new
 * block (some 0.5 us). What comes and goes with each request is freed "warm": its memory is left to
 * the next block there, and what nobody took goes back later, with pages_cool(). So a new block is
 * to be counted as resident from its first to its last byte, written or not.
 *
 * Like mem_try_*: may return NULL, and a test's mem_try_fail_after() counts these calls, too.
 *
 * Thread: any, one short lock for all. A block may be freed on another thread.
 */
#ifndef NEARSIDE_BASE_PAGES_H
#define NEARSIDE_BASE_PAGES_H

#include <nearside/base/attr.h>

#include <stddef.h>

/* A longer block is refused. */
#define PAGES_BLOCK_MAX (60u << 20)

/* Its content is not defined. Aligned to a page. */
void *pages_try_alloc(size_t size) MUST_CHECK;
/* As realloc() does; on NULL, `ptr` is still valid. Making a block smaller is never refused. */
void *pages_try_resize(void *ptr, size_t size) MUST_CHECK;
void pages_free(void *ptr);      /* NULL is fine */
void pages_free_warm(void *ptr); /* the same, its memory kept for the next ones */

/* Give back what lay warm all the time since the last call (64 MiB at most). Returns the bytes. To
 * be called now and then, by one thread. */
size_t pages_cool(void);
/* What lies warm, at most: pages that were never written are counted. */
size_t pages_warm_bytes(void);

/* What a block takes, bytes: its pages. */
size_t pages_size_of(const void *ptr);
/* What one of `size` bytes would. */
size_t pages_whole(size_t size);

#endif
