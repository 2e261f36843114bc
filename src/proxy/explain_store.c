/* SPDX-License-Identifier: MIT */
/*
 * The last records, packed: a record has room for 16 regions and 6 attempts, and most have one of
 * each, a fifth of its size.
 *
 *     hashes[], packed[]    a slot a record, in turn
 *     oldest -> [record record record ] -> ... -> newest [record ....... ]
 *
 * Records leave in the order they came, so a segment is free when its last one has left.
 */
#include "explain_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/hash.h>
#include <nearside/base/mem.h>

#include <stddef.h>
#include <string.h>

#define SEGMENT_BYTES 65536
#define FIXED_BYTES   offsetof(struct explain_record, id)

_Static_assert(sizeof(struct explain_record) <= SEGMENT_BYTES, "the largest fits");

struct explain_segment {
    struct explain_segment *newer; /* owned */
    uint32_t records;              /* in it that have not left */
    uint32_t used;
    char bytes[SEGMENT_BYTES];
};

/* Ids that collide cost a comparison each, so this need not be proof against clients who choose. */
static uint64_t hash_of(struct str id)
{
    const size_t rest = id.len % sizeof(uint64_t);
    uint64_t hash = id.len;
    uint64_t word = 0;

    for (size_t at = 0; at < id.len - rest; at += sizeof(word)) {
        memcpy(&word, id.ptr + at, sizeof(word));
        hash = hash_u64(hash ^ word);
    }
    if (rest > 0) {
        word = 0;
        memcpy(&word, id.ptr + id.len - rest, rest);
        hash = hash_u64(hash ^ word);
    }
    return hash;
}

void explain_store_init(struct explain_store *store, uint32_t capacity)
{
    ASSERT(capacity > 0);
    *store = (struct explain_store){.capacity = capacity};
}

void explain_store_done(struct explain_store *store)
{
    while (store->oldest != NULL) {
        struct explain_segment *newer = store->oldest->newer;

        mem_free(store->oldest);
        store->oldest = newer;
    }
    mem_free(store->spare);
    mem_free(store->packed);
    mem_free(store->hashes);
}

/* ---- one record ---- */

static size_t candidates_size(const struct explain_record *record)
{
    return record->region_count * sizeof(record->candidates[0]);
}

static size_t tries_size(const struct explain_record *record)
{
    return record->attempt_count * sizeof(record->tries[0]);
}

static size_t packed_size(const struct explain_record *record)
{
    return FIXED_BYTES + record->id_len + record->model_len + candidates_size(record) +
           tries_size(record);
}

static char *put(char *to, const void *from, size_t size)
{
    memcpy(to, from, size);
    return to + size;
}

static void pack(const struct explain_record *record, char *to)
{
    to = put(to, record, FIXED_BYTES);
    to = put(to, record->id, record->id_len);
    to = put(to, record->model, record->model_len);
    to = put(to, record->candidates, candidates_size(record));
    (void)put(to, record->tries, tries_size(record));
}

static const char *take(const char *from, void *to, size_t size)
{
    memcpy(to, from, size);
    return from + size;
}

static void unpack(const char *from, struct explain_record *ret_record)
{
    *ret_record = (struct explain_record){.started_wall_ms = 0};
    from = take(from, ret_record, FIXED_BYTES);
    from = take(from, ret_record->id, ret_record->id_len);
    from = take(from, ret_record->model, ret_record->model_len);
    from = take(from, ret_record->candidates, candidates_size(ret_record));
    (void)take(from, ret_record->tries, tries_size(ret_record));
}

static bool has_id(const char *packed, struct str id)
{
    uint8_t id_len = 0;

    memcpy(&id_len, packed + offsetof(struct explain_record, id_len), sizeof(id_len));
    return str_eq(str_make(packed + FIXED_BYTES, id_len), id);
}

/* ---- coming and leaving ---- */

static bool has_slots(struct explain_store *store)
{
    if (store->packed == NULL) {
        store->hashes = mem_try_alloc(store->capacity * sizeof(store->hashes[0]));
        store->packed = store->hashes == NULL
                            ? NULL
                            : mem_try_alloc(store->capacity * sizeof(store->packed[0]));
    }
    if (store->packed == NULL) {
        mem_free(store->hashes);
        store->hashes = NULL;
    }
    return store->packed != NULL;
}

static void drop_oldest(struct explain_store *store)
{
    struct explain_segment *segment = store->oldest;

    if (--segment->records > 0 || segment == store->newest) {
        return;
    }
    store->oldest = segment->newer;
    mem_free(store->spare);
    store->spare = segment;
}

static bool add_segment(struct explain_store *store)
{
    struct explain_segment *segment = store->spare;

    if (segment == NULL) {
        segment = mem_try_alloc(sizeof(*segment));
    }
    if (segment == NULL) {
        return false;
    }
    store->spare = NULL;
    segment->newer = NULL;
    segment->records = 0;
    segment->used = 0;
    if (store->newest == NULL) {
        store->oldest = segment;
    } else {
        store->newest->newer = segment;
    }
    store->newest = segment;
    return true;
}

static bool has_room(const struct explain_store *store, size_t size)
{
    return store->newest != NULL && SEGMENT_BYTES - store->newest->used >= size;
}

void explain_store_add(struct explain_store *store, const struct explain_record *record)
{
    size_t size = packed_size(record);
    size_t slot = store->count % store->capacity;
    struct explain_segment *segment;

    if (!has_slots(store) || (!has_room(store, size) && !add_segment(store))) {
        return;
    }
    if (store->count >= store->capacity) {
        drop_oldest(store);
    }
    segment = store->newest;
    store->hashes[slot] = hash_of(str_make(record->id, record->id_len));
    store->packed[slot] = segment->bytes + segment->used;
    pack(record, segment->bytes + segment->used);
    segment->used += (uint32_t)size;
    segment->records++;
    store->count++;
}

bool explain_store_find(const struct explain_store *store, struct str id,
                        struct explain_record *ret_record)
{
    uint64_t kept = store->count < store->capacity ? store->count : store->capacity;
    uint64_t hash = hash_of(id);

    for (uint64_t age = 1; age <= kept; age++) {
        uint64_t slot = (store->count - age) % store->capacity;

        if (store->hashes[slot] == hash && has_id(store->packed[slot], id)) {
            unpack(store->packed[slot], ret_record);
            return true;
        }
    }
    return false;
}
