/* SPDX-License-Identifier: MIT */
/* What the files of this folder share: the nodes and the links between each two of them. */
#ifndef WAN_WAN_H
#define WAN_WAN_H

#include "link.h"

#include <nearside/base/heap.h>
#include <nearside/base/rng.h>

#include <stdbool.h>
#include <stdint.h>

#define NODES_MAX     16
#define NODE_NAME_MAX 32
#define SPARE_MAX     4096 /* packets kept for reuse */

struct node {
    char name[NODE_NAME_MAX];
    char netns[64];
    uint32_t address; /* host order; its /24 is the node's */
    int fd;           /* owned */
};

struct wan {
    struct node nodes[NODES_MAX];
    unsigned node_count;
    struct link links[NODES_MAX][NODES_MAX]; /* [from][to] */
    struct heap due;                         /* of links that hold packets */
    struct rng rng;
    struct packet *spare; /* owned list */
    size_t spare_count;
    uint64_t unrouted; /* packets to nobody */
    bool is_stopping;
};

/* Does what `line` asks and prints one line of answer. */
void control_line(struct wan *wan, char *line);

#endif
