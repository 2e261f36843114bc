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

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Growing ends here: a request that needs more is fed in pieces of this size. */
#define ARENA_BLOCK_BYTES_MAX ((size_t)256 * 1024)

struct arena_block {
    struct arena_block *older; /* owned */
    size_t size;               /* of `bytes` */
    alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *arena, size_t block_bytes)
{
    ASSERT(block_bytes > 0);
    *arena = (struct arena){.block_bytes = block_bytes, .next_bytes = block_bytes};
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
    arena->next_bytes = arena->block_bytes;
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
    arena->next_bytes = arena->block_bytes; /* a kept first block is followed by one of its size */
}

static size_t block_size_for(const struct arena *arena, size_t need)
{
    return arena->next_bytes < need ? need : arena->next_bytes;
}

static void add_block(struct arena *arena, struct arena_block *block, size_t size)
{
    block->older = arena->blocks;
    block->size = size;
    use_block(arena, block);
    /* The next one is as large as all before it together, so that not much more is held than used.
     * A block for one big object says nothing about those to come. */
    if (block->older != NULL && size == arena->next_bytes && size < ARENA_BLOCK_BYTES_MAX) {
        arena->next_bytes = 2 * size;
    }
}

static size_t aligned(size_t size)
{
    ASSERT(size <= SIZE_MAX / 2);
    return (size + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
}

static bool has_room(const struct arena *arena, size_t need)
{
    return arena->blocks != NULL && (size_t)(arena->end - arena->next) >= need;
}

bool arena_reserve(struct arena *arena, size_t size)
{
    size_t need = aligned(size);

    if (has_room(arena, need)) {
        return true;
    }
    size_t block_size = block_size_for(arena, need);
    struct arena_block *block = mem_try_alloc(sizeof(struct arena_block) + block_size);
    if (block == NULL) {
        return false;
    }
    add_block(arena, block, block_size);
    return true;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t need = aligned(size);

    if (!has_room(arena, need)) {
        size_t block_size = block_size_for(arena, need);
        add_block(arena, mem_alloc(sizeof(struct arena_block) + block_size), block_size);
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
