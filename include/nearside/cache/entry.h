/* SPDX-License-Identifier: MIT */
/*
 * A stored answer: immutable, reference-counted, written to sockets where it lies.
 *
 * In memory it is one block of bytes, and in Redis the same or, packed, less (version 2;
 * docs/redis.md):
 *
 *     "NSC2" | flags u8 | pad u8[3] | stored_wall_ms u64 | ttl_ms u64 | generation_ms u32
 *            | prompt_tokens u32 | completion_tokens u32 | pad u32 | fields u32 | body u32
 *            | fields as "name: value\r\n" lines | body as it came
 *
 * Numbers are little-endian. The fields are those that matter to a client (Content-Type and the
 * upstream's own end-to-end ones), hop-by-hop and connection ones left out.
 */
#ifndef NEARSIDE_CACHE_ENTRY_H
#define NEARSIDE_CACHE_ENTRY_H

#include <nearside/base/attr.h>
#include <nearside/base/str.h>

#include <stdbool.h>
#include <stdint.h>

/* Flags. */
enum {
    CACHE_ENTRY_STREAM = 1, /* the body is an event stream ... */
    CACHE_ENTRY_USAGE = 2,  /* ... of a request with stream_options.include_usage */
    CACHE_ENTRY_STRICT = 4, /* the upstream forbids to serve it past its time */
};

/* What is known of an answer beside its bytes. */
struct cache_entry_facts {
    uint8_t flags;
    uint64_t stored_wall_ms;
    uint64_t ttl_ms;
    uint32_t generation_ms; /* the endpoint took; 0: not known */
    uint32_t prompt_tokens; /* as its usage tells; 0: not known */
    uint32_t completion_tokens;
};

struct cache_entry;

struct cache_entry *cache_entry_ref(struct cache_entry *entry);
void cache_entry_unref(struct cache_entry *entry); /* NULL is fine. Thread: any */

/* Valid while a reference is held. */
struct str cache_entry_fields(const struct cache_entry *entry);
struct str cache_entry_body(const struct cache_entry *entry);
bool cache_entry_is_stream(const struct cache_entry *entry);
bool cache_entry_has_usage(const struct cache_entry *entry); /* of a stream: it was asked for */
uint64_t cache_entry_stored_wall_ms(const struct cache_entry *entry);
uint64_t cache_entry_ttl_ms(const struct cache_entry *entry);
void cache_entry_facts(const struct cache_entry *entry, struct cache_entry_facts *ret_facts);
/* `grace_ms`, or 0 where it may not answer past its time. */
uint64_t cache_entry_grace_ms(const struct cache_entry *entry, uint64_t grace_ms);

/* The whole block, for Redis. */
struct str cache_entry_bytes(const struct cache_entry *entry);
/* What it takes of memory, as the allocator counts. */
size_t cache_entry_memory(const struct cache_entry *entry);
/* Checked in every field (Redis may hold anything): lengths that add up, field lines that can go
 * to a client as they are and hold nothing that frames a message. NULL: not an entry of ours, or
 * no memory. */
struct cache_entry *cache_entry_from_bytes(struct str bytes) MUST_CHECK;

#endif
