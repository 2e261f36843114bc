/* SPDX-License-Identifier: MIT */
/* A worker's ring of explanations, and what fills it. */
#ifndef NEARSIDE_PROXY_EXPLAIN_PRIVATE_H
#define NEARSIDE_PROXY_EXPLAIN_PRIVATE_H

#include <nearside/base/str.h>
#include <nearside/proxy/explain.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct request;
struct explain_segment;

/* The last records, packed: each takes what it holds and no more (explain_store.c). */
struct explain_store {
    uint64_t *hashes;               /* owned; of the records' ids; NULL before the first */
    const char **packed;            /* owned array; in the segments */
    struct explain_segment *oldest; /* owned, with those after it */
    struct explain_segment *newest;
    struct explain_segment *spare; /* owned; NULL: none */
    uint32_t capacity;
    uint64_t count; /* ever written */
};

/* The last request's candidates, and what they were found from: the next one's are mostly the
 * same, and to judge each region for each request would cost more than to choose among them. */
struct explain_memory {
    uint64_t view_version; /* 0: nothing is remembered */
    uint64_t tried_slots;
    int chosen;
    enum route_reason reason;
    uint8_t model_len;
    char model[EXPLAIN_MODEL_MAX];
    uint8_t region_count;
    struct explain_region candidates[EXPLAIN_REGIONS_MAX];
};

struct explain_ring {
    pthread_mutex_t lock; /* guards what follows */
    struct explain_store store;
    struct explain_record scratch; /* the one being written */
    struct explain_memory memory;
};

/* One ended attempt; lives in the request's arena until the record is written. */
struct explain_note {
    struct explain_note *next;
    struct explain_attempt attempt;
};

void explain_store_init(struct explain_store *store, uint32_t capacity);
void explain_store_done(struct explain_store *store);
/* Keep it, in the place of the oldest if there are `capacity` of them. Without memory it is not
 * kept: nothing is explained then, which is no reason to end. */
void explain_store_add(struct explain_store *store, const struct explain_record *record);
/* The newest of that id. */
bool explain_store_find(const struct explain_store *store, struct str id,
                        struct explain_record *ret_record);

void explain_ring_init(struct explain_ring *ring, uint32_t worker_count);
void explain_ring_done(struct explain_ring *ring);

/* The counted attempt ends so. Before its endpoint is given back. */
void explain_note_attempt(struct request *request, enum outcome outcome, uint64_t now_ns);
/* The request ends: keep its record. */
void explain_keep(struct request *request, uint64_t now_ns);

/* The newest record of that id. Thread: any. */
bool explain_ring_find(struct explain_ring *ring, struct str id, struct explain_record *ret_record);

#endif
