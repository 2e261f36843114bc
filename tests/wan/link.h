/* SPDX-License-Identifier: MIT */
/*
 * One way between two nodes: packets go in, wait their time in order, and come out; or they are
 * lost, as the rules say. Knows nothing of devices: the caller moves the packets.
 */
#ifndef WAN_LINK_H
#define WAN_LINK_H

#include <nearside/base/heap.h>
#include <nearside/base/rng.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_BYTES_MAX 1500
#define QUEUE_MAX        16384 /* packets of one link, unless told otherwise */

struct packet {
    struct packet *next;
    uint64_t due_ns;
    size_t len;
    unsigned char bytes[PACKET_BYTES_MAX];
};

struct link_rules {
    uint64_t delay_ns;
    uint64_t jitter_ns; /* the delay varies by up to this, both ways; order is kept */
    double loss;        /* 0 .. 1 */
    double rate;        /* bytes a second; 0: no limit */
    size_t queue_max;   /* packets; further ones are dropped */
    bool is_cut;        /* everything vanishes, what is under way included */
};

struct link_counters {
    uint64_t packets; /* delivered */
    uint64_t bytes;
    uint64_t lost;
    uint64_t cut;
    uint64_t overflowed;
    uint64_t undelivered; /* the far device was down */
};

struct link {
    struct link_rules rules;
    struct link_counters counters;
    struct heap_item due; /* keyed by the first packet's time; queued while there is one */
    struct packet *first; /* owned list, oldest first */
    struct packet *last;
    size_t queued;
    uint64_t line_free_ns; /* rate: the line is busy until then */
    unsigned from;
    unsigned to;
};

void link_init(struct link *link, unsigned from, unsigned to);

/* Takes `packet` if it may travel; false: the caller keeps it, and it is counted as gone. */
bool link_enter(struct link *link, struct packet *packet, struct rng *rng, uint64_t now_ns);

/* The first packet if it is due by now, else NULL. The caller owns it. */
struct packet *link_leave(struct link *link, uint64_t now_ns);

#endif
