/* SPDX-License-Identifier: MIT */
/* Other edges' reports, and what they say together. */
#include <nearside/fleet/peers.h>

#include <nearside/base/mem.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void peers_init(struct peers *peers)
{
    *peers = (struct peers){.count = 0};
    list_init(&peers->all);
}

void peers_done(struct peers *peers)
{
    struct list *first;

    while ((first = list_first(&peers->all)) != NULL) {
        peers_remove(peers, LIST_ITEM(first, struct peer, link));
    }
}

struct peer *peers_find(const struct peers *peers, const char *edge)
{
    struct list *item;

    LIST_FOREACH (item, &peers->all) {
        struct peer *peer = LIST_ITEM(item, struct peer, link);

        if (strcmp(peer->edge, edge) == 0) {
            return peer;
        }
    }
    return NULL;
}

struct peer *peers_add(struct peers *peers, const char *edge)
{
    struct peer *peer;

    if (peers->count >= PEERS_MAX) {
        return NULL;
    }
    peer = mem_new(struct peer);
    (void)snprintf(peer->edge, sizeof(peer->edge), "%s", edge); /* names are shorter */
    list_push_back(&peers->all, &peer->link);
    peers->count++;
    return peer;
}

void peers_remove(struct peers *peers, struct peer *peer)
{
    list_remove(&peer->link);
    peers->count--;
    mem_free(peer->regions);
    mem_free(peer);
}

const struct peer_region *peer_region(const struct peer *peer, const char *name)
{
    for (uint32_t i = 0; i < peer->region_count; i++) {
        if (strcmp(peer->regions[i].name, name) == 0) {
            return &peer->regions[i];
        }
    }
    return NULL;
}

static bool is_up(enum region_state state)
{
    return state == REGION_UP || state == REGION_DEGRADED;
}

struct peers_votes peers_votes(const struct peers *peers, const char *region)
{
    struct peers_votes votes = {.up = 0};
    struct list *item;

    LIST_FOREACH (item, &peers->all) {
        const struct peer_region *seen = peer_region(LIST_ITEM(item, struct peer, link), region);

        votes.up += seen != NULL && is_up(seen->state);
        votes.down += seen != NULL && seen->state == REGION_DOWN;
    }
    return votes;
}

static int by_ms(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left > right) - (left < right);
}

bool peers_latency(const struct peers *peers, const char *region, double *ret_ms)
{
    double figures[PEERS_MAX];
    size_t count = 0;
    struct list *item;

    LIST_FOREACH (item, &peers->all) {
        const struct peer_region *seen = peer_region(LIST_ITEM(item, struct peer, link), region);

        if (seen != NULL && seen->latency_known) {
            figures[count++] = seen->latency_ms;
        }
    }
    if (count == 0) {
        return false;
    }
    qsort(figures, count, sizeof(figures[0]), by_ms);
    *ret_ms = figures[(count - 1) / 2];
    return true;
}

static bool sees_one_up(const struct peer *peer, const struct fleet_view *view)
{
    for (uint32_t i = 0; i < view->region_count; i++) {
        const struct peer_region *seen = peer_region(peer, view->regions[i].name);

        if (seen != NULL && is_up(seen->state)) {
            return true;
        }
    }
    return false;
}

bool peers_make_suspect(const struct peers *peers, const struct fleet_view *view)
{
    struct list *item;
    uint32_t others = 0;

    for (uint32_t i = 0; i < view->region_count; i++) {
        if (view->regions[i].state != REGION_DOWN) {
            return false;
        }
    }
    LIST_FOREACH (item, &peers->all) {
        others += sees_one_up(LIST_ITEM(item, struct peer, link), view);
    }
    return 2 * others > peers->count;
}
