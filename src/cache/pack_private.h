/* SPDX-License-Identifier: MIT */
/*
 * Entries as values in Redis: the block as it is, or packed by zstd where that saves enough:
 *
 *     "NSZ2" | block's length u32, little-endian | one zstd frame that tells the same length
 *
 * Packing goes in steps, so that a long answer never holds up the loop. Opening takes one step and
 * trusts nothing: a value says how long its block is before anything is reserved or unpacked, and
 * more than it says does not come out.
 *
 * Thread: its worker's.
 */
#ifndef NEARSIDE_CACHE_PACK_PRIVATE_H
#define NEARSIDE_CACHE_PACK_PRIVATE_H

#include <nearside/base/attr.h>
#include <nearside/base/str.h>
#include <nearside/cache/entry.h>

#include <stdbool.h>
#include <stddef.h>

#define PACK_HEAD_BYTES 8

/* What a packed value must save, a share of the block: less is not worth unpacking it. */
#define PACK_GAIN_SHARE 8

/* zstd's: docs/redis.md has the measurement. */
#define PACK_LEVEL 1

struct pack;

struct pack *pack_new(void); /* zstd's own memory is taken when first needed */
void pack_free(struct pack *pack);

/* ---- packing: one block at a time ---- */

enum pack_step {
    PACK_MORE,
    PACK_DONE,    /* *ret_value, valid until pack_end() */
    PACK_USELESS, /* it does not get small enough, or memory is refused: send the block */
};

/* Begin with a block, which is borrowed until pack_end(). False: no memory. */
bool pack_begin(struct pack *pack, struct str block) MUST_CHECK;
/* Pack so many more bytes of it. */
enum pack_step pack_step(struct pack *pack, size_t bytes, struct str *ret_value) MUST_CHECK;
void pack_end(struct pack *pack);

/* ---- opening ---- */

/* The entry in a value whose block has at most `block_max` bytes; NULL: it is none, or no memory.
 * Nothing under way is disturbed. */
struct cache_entry *pack_open(struct pack *pack, struct str value, size_t block_max) MUST_CHECK;

#endif
