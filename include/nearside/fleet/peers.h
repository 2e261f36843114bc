/* SPDX-License-Identifier: MIT */
/*
 * What other edges report about the regions: advice, never a verdict. health/shared_state.c fills
 * it from the regions' Redis; the status page shows it. Reports that were not renewed for
 * PEER_FRESH_MS are gone, so whoever counts here counts edges that live.
 *
 * Plain values; thread: whoever owns the struct (control).
 */
#ifndef NEARSIDE_FLEET_PEERS_H
#define NEARSIDE_FLEET_PEERS_H

#include <nearside/base/list.h>
#include <nearside/fleet/view.h>

#include <stdbool.h>
#include <stdint.h>

#define PEERS_MAX        256
#define PEER_REGIONS_MAX 64
#define PEER_NAME_SIZE   64   /* of an edge or a region; with the NUL */
#define PEER_FRESH_MS    3000 /* three intervals */

struct peer_region {
    char name[PEER_NAME_SIZE];
    enum region_state state;
    bool latency_known;
    double latency_ms;
    uint64_t pending;
    uint64_t inflight;
};

struct peer {
    struct list link;
    char edge[PEER_NAME_SIZE];
    uint64_t epoch;    /* of its process: when it started, wall ms */
    uint64_t sequence; /* of its report */
    uint64_t seen_ns;  /* when it was written, by this edge's clock */
    uint32_t region_count;
    struct peer_region *regions; /* owned */
};

struct peers {
    struct list all; /* of struct peer */
    uint32_t count;
    bool suspect; /* this edge sees every region down, and the others do not */
};

void peers_init(struct peers *peers);
void peers_done(struct peers *peers);

/* NULL: not known. */
struct peer *peers_find(const struct peers *peers, const char *edge);
/* A new, empty one. NULL: PEERS_MAX are known. */
struct peer *peers_add(struct peers *peers, const char *edge);
void peers_remove(struct peers *peers, struct peer *peer);

/* NULL: it does not report on that region. */
const struct peer_region *peer_region(const struct peer *peer, const char *name);

/* How many of them see the region up (or degraded), and down. */
struct peers_votes {
    uint32_t up;
    uint32_t down;
};
struct peers_votes peers_votes(const struct peers *peers, const char *region);

/* The median of their path latencies to the region. False: none is known. */
bool peers_latency(const struct peers *peers, const char *region, double *ret_ms);

/* Does `view` have every region down while more than half of the others see one of them up? Then it
 * is this edge that is sick. One other is enough: of two edges the one that still reaches the
 * regions should have the clients. */
bool peers_make_suspect(const struct peers *peers, const struct fleet_view *view);

#endif
