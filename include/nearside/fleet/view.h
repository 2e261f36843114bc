/* SPDX-License-Identifier: MIT */
/*
 * The fleet as everybody else sees it: immutable, consistent, reference-counted; republished by
 * the control thread at most every 20 ms when something changed. Workers take the newest at each
 * attempt and hold a reference while they use it.
 *
 * Thread: any.
 */
#ifndef NEARSIDE_FLEET_VIEW_H
#define NEARSIDE_FLEET_VIEW_H

#include <nearside/base/addr.h>
#include <nearside/base/str.h>
#include <nearside/fleet/live.h>

#include <stdbool.h>
#include <stdint.h>

struct conf;
struct conf_region;

enum endpoint_state {
    ENDPOINT_UNKNOWN, /* not probed yet: neither up nor down */
    ENDPOINT_WARMING,
    ENDPOINT_UP,
    ENDPOINT_DOWN,
    ENDPOINT_STATE_COUNT
};

enum region_state {
    REGION_UNKNOWN,  /* nothing probed yet */
    REGION_UP,       /* every endpoint that is not drained is up */
    REGION_DEGRADED, /* some are */
    REGION_DOWN,     /* none is */
    REGION_STATE_COUNT
};

/* What real traffic says, apart from probes (health/breaker_private.h). */
enum breaker_state {
    BREAKER_CLOSED, /* requests flow */
    BREAKER_OPEN,   /* none does */
    BREAKER_TRIAL,  /* one may: whoever gets live->trial */
    BREAKER_STATE_COUNT
};

const char *breaker_state_word(enum breaker_state state);   /* "closed", "open", "trial" */
const char *endpoint_state_word(enum endpoint_state state); /* "up"; drained is a word of its own */
const char *region_state_word(enum region_state state);

struct view_endpoint {
    /* What the choice looks at stands first: of many endpoints a few lines are fetched. */
    struct endpoint_live *live; /* ref held */
    enum endpoint_state state;
    enum breaker_state breaker;
    float weight; /* 0.1 .. 1: slow start */
    bool drained; /* by an operator */
    bool tls;
    uint16_t port;
    struct addr addr;
    char address[ADDR_TEXT_LEN]; /* addr as text: "10.0.0.5:8000" */
    const char *host;            /* name in the URL; owned by the view's conf */
    const char *authority;       /* for Host; owned by the view's conf */
    uint64_t drained_since_ns;   /* 0: not drained */
    uint64_t since_ns;           /* in this state */
    const char *reason; /* why it is down or put aside by its breaker, or ""; static text */
};

struct view_region {
    const char *name;               /* owned by the view's conf */
    unsigned slot;                  /* metric_region_slot() */
    const struct conf_region *conf; /* owned by the view's conf */
    enum region_state state;
    bool drained;
    uint64_t drained_since_ns; /* 0: not drained */
    bool usable; /* not drained, breaker closed, has an endpoint that is up and not drained */
    enum breaker_state breaker; /* TRIAL: an endpoint's live->trial may be open for one request */
    bool latency_known;
    double latency_ms;
    bool latency_is_prior; /* other edges' figure: this one has none of its own yet */
    bool latency_is_probe; /* the HTTP probe's figure stands in for TCP's */
    bool near;
    float weight;      /* 0.1 .. 1: slow start after a return */
    uint64_t since_ns; /* in this state */
    uint32_t endpoint_count;
    uint32_t endpoint_up_count;      /* up and not drained */
    struct view_endpoint *endpoints; /* owned by the view */
    bool redis_known;                /* an address for Redis is known */
    struct addr redis_addr;
    bool redis_up; /* as the control thread's own connection sees it */
};

struct fleet_view {
    atomic_uint refs;
    uint64_t version; /* grows by one per publication */
    uint64_t roster;  /* grows when endpoints came or went, or one changed its state */
    uint64_t made_ns;
    struct conf *conf; /* ref held; regions are in its order */
    int home;          /* index of the preferred region, or HOME_NONE (-1) */
    uint64_t home_since_ns;
    uint32_t region_count;
    struct view_region *regions; /* owned */
};

struct fleet_view *fleet_view_ref(struct fleet_view *view);
void fleet_view_unref(struct fleet_view *view); /* NULL is fine */

/* The endpoint whose live->id is `id`, and its region's index; NULL when it is gone. */
const struct view_endpoint *fleet_view_find(const struct fleet_view *view, uint64_t id,
                                            int *ret_region);

#endif
