/* SPDX-License-Identifier: MIT */
/*
 * The fleet's own data, shared by its files: fleet.c (what is there and what happens to it),
 * publish.c (what follows from that, and the view), drain.c (the operator's will), events.c.
 */
#ifndef NEARSIDE_FLEET_FLEET_PRIVATE_H
#define NEARSIDE_FLEET_FLEET_PRIVATE_H

#include <nearside/base/list.h>
#include <nearside/base/table.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/fleet.h>
#include <nearside/fleet/home.h>
#include <nearside/loop/loop.h>

#define FLEET_MAGIC 0x464c4545u

/* How often derived figures (latency, home, slow start) are looked at when nothing else happens. */
#define FLEET_TICK_MS 500
/* So long after the start there is no dwell: the first home may rest on half the regions. */
#define FLEET_SETTLE_MS 5000

struct fleet_endpoint {
    struct table_item by_id;
    struct endpoint_live *live; /* ref held */
    char *host;                 /* owned */
    struct addr addr;           /* with the port */
    char address[ADDR_TEXT_LEN];
    uint32_t spec; /* index in the region's conf */
    bool tls;
    bool drained;
    uint64_t drained_since_ns; /* 0: not drained */
    uint64_t drain_epoch;      /* of the newest act that was followed */
    enum endpoint_state state;
    uint64_t since_ns;
    const char *reason; /* static text; "" unless down */
    enum breaker_state breaker;
    const char *breaker_reason; /* static text; "" when closed */
    uint64_t ramp_since_ns;     /* slow start; 0: none */
    struct latency latency;
};

struct fleet_region {
    char *name; /* owned */
    unsigned slot;
    const struct conf_region *conf;    /* borrowed from fleet->conf */
    struct fleet_endpoint **endpoints; /* owned array of owned, in the order of the conf */
    uint32_t endpoint_count;
    bool
        *answered; /* owned, by endpoint of the conf: its name was looked up, or needs no look-up */
    enum region_state state;
    uint64_t since_ns;
    bool drained;
    uint64_t drained_since_ns; /* 0: not drained */
    uint64_t drain_epoch;      /* of the newest act that was followed */
    enum breaker_state breaker;
    bool had_class;
    bool near;
    bool latency_known;
    double latency_ms;
    bool latency_is_probe;
    bool latency_is_prior;
    uint64_t ramp_since_ns; /* slow start; 0: none */
    bool redis_known;
    struct addr redis_addr;
    bool redis_up;
};

struct fleet_events {
    struct fleet_event *ring; /* owned, FLEET_EVENTS_MAX long */
    uint64_t count;           /* ever noted */
};

struct fleet {
    uint32_t magic;
    struct loop *loop; /* borrowed: outlives this */
    fleet_publish_fn publish;
    void *arg;
    struct conf *conf; /* ref held; NULL before the first config */
    uint64_t started_ns;
    struct fleet_region *regions; /* owned, in the order of the conf */
    uint32_t region_count;
    struct table by_id;
    struct list drains;
    uint32_t drain_count;
    fleet_drain_fn drain_listener; /* NULL: none */
    void *drain_arg;
    struct fleet_events events;
    struct home_choice home;
    struct fleet_view *view; /* ref held; NULL before the first config */
    uint64_t version;
    uint64_t roster;
    bool dirty;                       /* something changed since `view` was made */
    struct loop_task publish_task;    /* at the end of this turn */
    struct deadline publish_deadline; /* armed: published less than FLEET_PUBLISH_MS ago */
    struct deadline tick;
};

/* ---- publish.c ---- */

/* Something changed: publish at the end of the turn, or when the pause after the last one is
 * over. */
void fleet_touch(struct fleet *fleet);
void fleet_publish_now(struct fleet *fleet);
void fleet_publish_init(struct fleet *fleet);
void fleet_publish_done(struct fleet *fleet);

/* ---- region.c ---- */

/* Recount a region's state after one of its endpoints changed. `reason` is that change's. */
void fleet_region_recount(struct fleet *fleet, struct fleet_region *region, const char *reason);
bool fleet_region_is_usable(const struct fleet_region *region);
/* Bring latencies, classes and home up to date. True when something worth publishing moved. */
bool fleet_derive(struct fleet *fleet, uint64_t now_ns);
/* The share of its traffic that something back since `ramp_since_ns` gets: 0.1 .. 1. */
float fleet_slow_start(uint64_t ramp_since_ns, uint64_t now_ns);

/* ---- drain.c ---- */

/* Since when, by this edge's clock; 0: not drained. */
uint64_t fleet_region_name_drained_since(const struct fleet *fleet, const char *name);
/* By its address or by the name it came from. */
uint64_t fleet_endpoint_drained_since(const struct fleet *fleet,
                                      const struct fleet_endpoint *endpoint);
void fleet_drains_free(struct fleet *fleet);

/* ---- events.c ---- */

struct fleet_change {
    const char *kind;
    const char *region;
    const char *endpoint;
    const char *from;
    const char *to;
    const char *reason;
};
void fleet_event_add(struct fleet *fleet, const struct fleet_change *change);

#endif
