/* SPDX-License-Identifier: MIT */
/*
 * Bump allocation out of blocks that are freed together.
 *
 *     blocks -> [header|used......|free]   newest; next and end point into it
 *                  v
 *               [header|used...........]
 *                  v
 *               [header|used...........]   first; survives arena_reset()
 */
#include <nearside/base/arena.h>

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Growing ends here: a request that needs more is fed in pieces of this size. */
#define ARENA_BLOCK_BYTES_MAX ((size_t)256 * 1024)
#define ARENA_ALIGN           alignof(max_align_t)

struct arena_block {
    struct arena_block *older; /* owned */
    size_t size;               /* of `bytes` */
    alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *arena, size_t block_bytes)
{
    ASSERT(block_bytes > 0);
    *arena = (struct arena){.block_bytes = block_bytes};
}

static void use_block(struct arena *arena, struct arena_block *block)
{
    arena->blocks = block;
    arena->next = block == NULL ? NULL : block->bytes;
    arena->end = block == NULL ? NULL : block->bytes + block->size;
}

void arena_done(struct arena *arena)
{
    struct arena_block *block = arena->blocks;

    while (block != NULL) {
        struct arena_block *older = block->older;
        mem_free(block);
        block = older;
    }
    use_block(arena, NULL);
    arena->total_bytes = 0;
}

void arena_wipe(struct arena *arena)
{
    for (struct arena_block *block = arena->blocks; block != NULL; block = block->older) {
        explicit_bzero(block->bytes, block->size);
    }
    arena_done(arena);
}

void arena_reset(struct arena *arena)
{
    struct arena_block *block = arena->blocks;

    while (block != NULL && block->older != NULL) {
        struct arena_block *older = block->older;
        mem_free(block);
        block = older;
    }
    /* A first block that was made for one big object is not worth keeping. */
    if (block != NULL && block->size > arena->block_bytes) {
        mem_free(block);
        block = NULL;
    }
    use_block(arena, block);
    arena->total_bytes = 0;
}

/* As large as all before it together, so that not much more is held than used. */
static size_t next_block_size(const struct arena *arena)
{
    if (arena->blocks == NULL || arena->block_bytes >= ARENA_BLOCK_BYTES_MAX) {
        return arena->block_bytes;
    }
    size_t all = arena->blocks->older == NULL ? arena->blocks->size : arena->blocks->size * 2;
    return all < ARENA_BLOCK_BYTES_MAX ? all : ARENA_BLOCK_BYTES_MAX;
}

static void add_block(struct arena *arena, size_t need)
{
    size_t wanted = next_block_size(arena);
    size_t size = wanted < need ? need : wanted;
    struct arena_block *block = mem_alloc(sizeof(struct arena_block) + size);

    block->older = arena->blocks;
    block->size = size;
    use_block(arena, block);
}

void *arena_alloc(struct arena *arena, size_t size)
{
    ASSERT(size <= SIZE_MAX / 2);
    size_t need = (size + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);

    if (arena->blocks == NULL || (size_t)(arena->end - arena->next) < need) {
        add_block(arena, need);
    }
    char *ptr = arena->next;
    arena->next += need;
    arena->total_bytes += need;
    return ptr;
}

void *arena_zero(struct arena *arena, size_t size)
{
    return memset(arena_alloc(arena, size), 0, size);
}

struct str arena_str(struct arena *arena, struct str text)
{
    char *copy = arena_alloc(arena, text.len + 1);

    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    copy[text.len] = '\0';
    return str_make(copy, text.len);
}

struct str arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT(len >= 0);

    char *text = arena_alloc(arena, (size_t)len + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return str_make(text, (size_t)len);
}
