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

struct arena_block;

struct arena {
    struct arena_block *blocks; /* owned; newest first */
    char *next;
    char *end;
    size_t block_bytes;
    size_t total_bytes; /* handed out since the last reset */
};

void arena_init(struct arena *arena, size_t block_bytes); /* allocates nothing yet */
void arena_done(struct arena *arena);
void arena_wipe(
    struct arena *arena); /* arena_done(), for secrets: all bytes are overwritten first */
void arena_reset(struct arena *arena); /* keeps the first block */

/* Aligned for any object. Never NULL; callers bound peer-sized requests themselves. */
void *arena_alloc(struct arena *arena, size_t size) MUST_CHECK;
void *arena_zero(struct arena *arena, size_t size) MUST_CHECK;

/* A copy, followed by a NUL that the view does not count. */
struct str arena_str(struct arena *arena, struct str text);
struct str arena_printf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
