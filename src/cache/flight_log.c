/* SPDX-License-Identifier: MIT */
/*
 * Segments of a flight's answer: written once, read by many, freed behind the last.
 *
 * The writer fills the room of the last segment, then publishes it by storing `len`; a new segment
 * is filled before it is linked. A reader that finds its segment read to its end looks for a next
 * one; since a segment gets its successor only when it takes no more, `next` makes the final `len`
 * visible too.
 */
#include "flight_log_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>
#include <nearside/base/pages.h>

#define SEGMENT_MIN_BYTES 2048  /* the first one: some tokens, or a small answer */
#define SEGMENT_MAX_BYTES 65536 /* doubling stops here */
/* From here on a segment has pages of its own: a long answer's log is gone when it is let go of,
 * and leaves no holes in the allocator's memory (base/pages.h). */
#define SEGMENT_PAGED_BYTES 16384

struct flight_segment {
    atomic_uint refs;
    atomic_size_t len;                     /* bytes that may be read; only grows */
    _Atomic(struct flight_segment *) next; /* ref held; set once */
    atomic_ullong *held_bytes;             /* borrowed: outlives all segments */
    size_t size;
    bool is_paged;
    char bytes[];
};

static struct flight_segment *segment_make(void *block, size_t size, atomic_ullong *held_bytes)
{
    struct flight_segment *segment = block;

    if (segment == NULL) {
        return NULL;
    }
    segment->is_paged = false;
    atomic_init(&segment->refs, 1);
    atomic_init(&segment->len, 0);
    atomic_init(&segment->next, NULL);
    segment->held_bytes = held_bytes;
    segment->size = size;
    atomic_fetch_add_explicit(held_bytes, sizeof(*segment) + size, memory_order_relaxed);
    return segment;
}

/* Room for `size` bytes; in pages, for what these hold. */
static struct flight_segment *segment_new(size_t size, atomic_ullong *held_bytes)
{
    const size_t all = sizeof(struct flight_segment) + size;
    const size_t whole = pages_whole(all);
    struct flight_segment *segment;

    if (all < SEGMENT_PAGED_BYTES || whole > PAGES_BLOCK_MAX) {
        return segment_make(mem_try_alloc(all), size, held_bytes);
    }
    segment = segment_make(pages_try_alloc(whole), whole - sizeof(*segment), held_bytes);
    if (segment != NULL) {
        segment->is_paged = true;
    }
    return segment;
}

static void segment_free(struct flight_segment *segment)
{
    if (segment->is_paged) {
        pages_free(segment);
    } else {
        mem_free(segment);
    }
}

static struct flight_segment *segment_ref(struct flight_segment *segment)
{
    atomic_fetch_add_explicit(&segment->refs, 1, memory_order_relaxed);
    return segment;
}

/* In a loop, not by recursion: a chain may be long. */
static void segment_unref(struct flight_segment *segment)
{
    while (segment != NULL &&
           atomic_fetch_sub_explicit(&segment->refs, 1, memory_order_acq_rel) == 1) {
        struct flight_segment *next = atomic_load_explicit(&segment->next, memory_order_relaxed);
        atomic_fetch_sub_explicit(segment->held_bytes, sizeof(*segment) + segment->size,
                                  memory_order_relaxed);
        segment_free(segment);
        segment = next;
    }
}

/* ---- the writer ---- */

void flight_log_init(struct flight_log *log, atomic_ullong *held_bytes)
{
    /* Without room: whoever joins before the first byte has a place to wait at. */
    log->last = segment_make(mem_alloc(sizeof(struct flight_segment)), 0, held_bytes);
    log->first = segment_ref(log->last);
}

void flight_log_let_go(struct flight_log *log)
{
    segment_unref(log->first);
    log->first = NULL;
}

void flight_log_done(struct flight_log *log)
{
    flight_log_let_go(log);
    segment_unref(log->last);
    log->last = NULL;
}

static size_t next_size(const struct flight_segment *last, size_t need)
{
    const size_t head = sizeof(*last);
    size_t size = 2 * (last->size + head);

    size = size < SEGMENT_MIN_BYTES ? SEGMENT_MIN_BYTES : size;
    size = size > SEGMENT_MAX_BYTES ? SEGMENT_MAX_BYTES : size;
    return size - head < need ? need : size - head; /* with its head it fills its pages */
}

bool flight_log_append(struct flight_log *log, struct str bytes)
{
    struct flight_segment *last = log->last;
    size_t len = atomic_load_explicit(&last->len, memory_order_relaxed);
    size_t fits = last->size - len < bytes.len ? last->size - len : bytes.len;
    struct str rest = str_slice(bytes, fits, bytes.len);
    struct flight_segment *segment;
    size_t size;

    if (fits > 0) {
        memcpy(last->bytes + len, bytes.ptr, fits);
        atomic_store_explicit(&last->len, len + fits, memory_order_release);
    }
    if (rest.len == 0) {
        return true;
    }
    size = next_size(last, rest.len);
    segment = segment_new(size, last->held_bytes);
    if (segment == NULL) {
        return false;
    }
    memcpy(segment->bytes, rest.ptr, rest.len);
    atomic_store_explicit(&segment->len, rest.len, memory_order_relaxed);
    atomic_store_explicit(&last->next, segment_ref(segment), memory_order_release);
    log->last = segment;
    segment_unref(last);
    return true;
}

/* ---- readers ---- */

void flight_reader_begin(struct flight_reader *reader, const struct flight_log *log)
{
    ASSERT(reader->at == NULL && log->first != NULL);
    *reader = (struct flight_reader){.at = segment_ref(log->first)};
}

void flight_reader_tail(struct flight_reader *reader, const struct flight_log *log,
                        uint64_t consumed)
{
    size_t len = atomic_load_explicit(&log->last->len, memory_order_relaxed);

    ASSERT(reader->at == NULL);
    *reader =
        (struct flight_reader){.at = segment_ref(log->last), .offset = len, .consumed = consumed};
}

void flight_reader_done(struct flight_reader *reader)
{
    segment_unref(reader->at);
    *reader = (struct flight_reader){.at = NULL};
}

struct str flight_reader_peek(struct flight_reader *reader)
{
    while (reader->at != NULL) {
        struct flight_segment *at = reader->at;
        /* In this order: a successor says that `len` is final. */
        struct flight_segment *next = atomic_load_explicit(&at->next, memory_order_acquire);
        size_t len = atomic_load_explicit(&at->len, memory_order_acquire);
        if (reader->offset < len) {
            return str_make(at->bytes + reader->offset, len - reader->offset);
        }
        if (next == NULL) {
            break;
        }
        reader->at = segment_ref(next);
        reader->offset = 0;
        segment_unref(at);
    }
    return STR_EMPTY;
}

void flight_reader_consume(struct flight_reader *reader, size_t len)
{
    ASSERT(reader->at != NULL &&
           len <= atomic_load_explicit(&reader->at->len, memory_order_relaxed) - reader->offset);
    reader->offset += len;
    reader->consumed += len;
}
