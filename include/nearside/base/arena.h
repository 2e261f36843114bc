/* SPDX-License-Identifier: MIT */
/*
 * Memory that is freed all at once: one arena per request. Blocks begin with `block_bytes`, each
 * later one is as large as all before it; nothing is returned singly. The first block can be kept
 * between uses with arena_reset().
 */
#ifndef NEARSIDE_BASE_ARENA_H
#define NEARSIDE_BASE_ARENA_H

#include <nearside/base/attr.h>
#include <nearside/base/str.h>

#include <stdalign.h>
#include <stddef.h>

#define ARENA_ALIGN alignof(max_align_t)

struct arena_block;

struct arena {
    struct arena_block *blocks; /* owned; newest first */
    char *next;
    char *end;
    size_t block_bytes;
    size_t next_bytes;  /* of the next block, unless more is asked for */
    size_t total_bytes; /* handed out since the last reset */
};

void arena_init(struct arena *arena, size_t block_bytes); /* allocates nothing yet */
void arena_done(struct arena *arena);
void arena_wipe(
    struct arena *arena); /* arena_done(), for secrets: all bytes are overwritten first */
void arena_reset(struct arena *arena); /* keeps the first block */

/* Aligned for any object. Never NULL: what a peer sizes is reserved first. */
void *arena_alloc(struct arena *arena, size_t size) MUST_CHECK;
void *arena_zero(struct arena *arena, size_t size) MUST_CHECK;

/* Room for one object of `size`, or several with it in all, each rounded up to ARENA_ALIGN: the
 * next arena_alloc() of that needs no memory. False: memory is refused, nothing has changed. For
 * what a peer sizes. */
bool arena_reserve(struct arena *arena, size_t size) MUST_CHECK;

/* A copy, followed by a NUL that the view does not count. */
struct str arena_str(struct arena *arena, struct str text);
struct str arena_printf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
