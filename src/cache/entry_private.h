/* SPDX-License-Identifier: MIT */
/*
 * Building an entry in the block it will live in, so that storing a finished answer copies nothing:
 * reserve, append all fields, mark their end, append the body, take.
 */
#ifndef NEARSIDE_CACHE_ENTRY_PRIVATE_H
#define NEARSIDE_CACHE_ENTRY_PRIVATE_H

#include <nearside/base/attr.h>
#include <nearside/base/str.h>
#include <nearside/cache/entry.h>

#include <stdbool.h>
#include <stdint.h>

#define ENTRY_HEAD_BYTES 48 /* of the block, before the fields */

struct entry_build {
    struct cache_entry *entry; /* owned; NULL until the first reserve */
    size_t len;                /* bytes of the block so far, its head included */
    size_t size;               /* bytes there is room for */
    size_t fields_end;         /* 0: fields are still coming */
};

void entry_build_init(struct entry_build *build);
void entry_build_done(struct entry_build *build); /* leaves an empty one */

/* Room for `size` bytes of block in all. False when memory is refused; nothing is lost then. */
bool entry_build_reserve(struct entry_build *build, size_t size) MUST_CHECK;
/* What the block takes now, as the allocator counts. */
size_t entry_build_memory(const struct entry_build *build);

/* Append; the room must have been reserved. */
void entry_build_append(struct entry_build *build, struct str bytes);
void entry_build_end_fields(struct entry_build *build);
size_t entry_build_body_len(const struct entry_build *build);
struct str entry_build_body(const struct entry_build *build); /* so far; fields are ended */
/* Once they are ended; valid until the next call that changes the build. */
struct str entry_build_fields(const struct entry_build *build);

/* Make the entry; the caller gets the one reference. Leaves an empty build. */
struct cache_entry *entry_build_take(struct entry_build *build,
                                     const struct cache_entry_facts *facts) MUST_CHECK;

/* ---- reading one where it will live ---- */

/* An entry for a block of `len` bytes that are yet to be written to *ret_block. NULL: no memory. */
struct cache_entry *entry_new(size_t len, char **ret_block) MUST_CHECK;
/* Is what was written one of ours, in every field? Until then nothing else may be asked of it. */
bool entry_is_sound(const struct cache_entry *entry) MUST_CHECK;
/* Do these bytes begin like a block? */
bool entry_has_magic(struct str bytes);

#endif
