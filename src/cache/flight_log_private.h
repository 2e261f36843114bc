/* SPDX-License-Identifier: MIT */
/*
 * The bytes of one answer as a chain of segments: one writer appends, any number of readers on
 * other threads follow, without a lock.
 *
 *     first ──> [ full ] ──> [ full ] ──> [ bytes | room ] <── last
 *                  ^ a reader                  ^ another, waiting
 *
 * A byte never changes once `len` covers it. Each link, each reader and the log's two ends hold a
 * reference, so a chain whose first end is let go shrinks behind its slowest reader.
 */
#ifndef NEARSIDE_CACHE_FLIGHT_LOG_PRIVATE_H
#define NEARSIDE_CACHE_FLIGHT_LOG_PRIVATE_H

#include <nearside/base/attr.h>
#include <nearside/base/str.h>
#include <nearside/cache/flight.h>

#include <stdatomic.h>
#include <stdbool.h>

struct flight_log {
    struct flight_segment *first; /* ref held; NULL: not kept */
    struct flight_segment *last;  /* ref held; the writer's */
};

/* `held_bytes` counts what all segments take; it must outlive them. */
void flight_log_init(struct flight_log *log, atomic_ullong *held_bytes);
void flight_log_done(struct flight_log *log);
/* Keep no longer what every reader has behind it. */
void flight_log_let_go(struct flight_log *log);

/* The writer. False: memory was refused; a part may have been appended. */
bool flight_log_append(struct flight_log *log, struct str bytes) MUST_CHECK;

/* A reader at the log's beginning (it must be kept), or behind its last byte (the writer's thread
 * only). */
void flight_reader_begin(struct flight_reader *reader, const struct flight_log *log);
void flight_reader_tail(struct flight_reader *reader, const struct flight_log *log,
                        uint64_t consumed);
void flight_reader_done(struct flight_reader *reader); /* harmless when at no place */
struct str flight_reader_peek(struct flight_reader *reader);
void flight_reader_consume(struct flight_reader *reader, size_t len);

#endif
