/* SPDX-License-Identifier: MIT */
/*
 * The parts of health and how they hang together: per endpoint a target (its probes and verdict),
 * per host name a lookup, per region with a Redis a redis_watch. health.c owns them all.
 *
 * Thread: control.
 */
#ifndef NEARSIDE_HEALTH_HEALTH_PRIVATE_H
#define NEARSIDE_HEALTH_HEALTH_PRIVATE_H

#include "breaker_private.h"
#include "prober_private.h"
#include "threshold_private.h"

#include <nearside/base/list.h>
#include <nearside/base/rng.h>
#include <nearside/base/table.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/load.h>
#include <nearside/fleet/view.h>
#include <nearside/health/health.h>
#include <nearside/loop/loop.h>

#include <stdbool.h>

#define HEALTH_MAGIC 0x48454c54u

#define GUARD_TICK_MS 100

struct fleet;
struct kv;
struct resolver;
struct shared;
struct tls_ctx;

/* A region's breaker. */
struct region_guard {
    struct breaker breaker;
    uint64_t trial_id; /* the endpoint whose permit is the region's; 0: none */
    bool is_calm;      /* the last sweep found nothing open, drained endpoints' breakers included */
    uint64_t heard;    /* attempts that had ended by the last sweep, over its endpoints */
    uint64_t heard_ns; /* when that last changed */
};

struct health {
    uint32_t magic;
    struct loop *loop;            /* borrowed */
    struct fleet *fleet;          /* borrowed */
    struct resolver *resolver;    /* borrowed */
    struct metric_block *metrics; /* borrowed */
    struct conf *conf;            /* ref held */
    struct tls_ctx **region_tls;  /* owned array of refs, by region of `conf` */
    struct rng rng;
    struct table targets; /* by endpoint id */
    struct list target_list;
    struct list lookups;
    struct list redis_watches;
    struct load_reports loads; /* their owners are in load_watch.c */
    struct shared *shared;     /* owned; what edges share through Redis */
    struct region_guard
        guards[METRIC_REGIONS_MAX]; /* by region slot: they outlive reloads, as their regions do */
    struct deadline guard_tick;
    struct loop_task guard_task; /* queued: a failure was heard of in this turn */
    uint64_t generation;         /* of the last sync: what does not carry it is gone */
    bool (*is_warm)(const char *region, const char *address, void *arg); /* NULL: nobody knows */
    void *is_warm_arg;
    bool ended;                 /* health_free() was called; reports on their way are dropped */
    struct loop_message ending; /* the last one: frees this */
};

/* `ms` with 10 % of jitter either way. */
uint64_t health_jitter_ms(struct health *health, uint64_t ms);
/* `deadline` was set by a pace that a reload may have quickened: if it is further off than `ms`
 * with jitter can be, bring it within `ms`, at random, since it is not the only one. */
void health_quicken(struct health *health, struct deadline *deadline, uint64_t ms);
/* Follow the fleet's endpoints: targets for new ones, none for those gone. */
void health_sync(struct health *health);

/* ---- target.c ---- */

#define TARGET_MAGIC 0x54415247u

struct target {
    uint32_t magic;
    struct health *health; /* borrowed */
    struct table_item by_id;
    struct list link;
    uint64_t generation;
    struct endpoint_live *live; /* ref held */
    uint32_t region_index;
    unsigned region_slot;
    const struct conf_region *region; /* borrowed from health->conf */
    struct addr addr;
    char address[ADDR_TEXT_LEN];
    const char *host; /* borrowed from health->conf */
    uint16_t port;
    bool tls;
    struct prober *prober;         /* owned */
    struct deadline next;          /* the next probe */
    uint64_t started_ns;           /* of the last probe */
    struct prober *generator;      /* owned; asks for a token now and then; NULL: never did */
    struct deadline next_generate; /* set while generations are wanted */
    uint64_t generated_ns;         /* when the last one began */
    struct prober *warmer;         /* owned; sends the warm-up's prompts; NULL: not warming */
    struct deadline next_warm;     /* the next one */
    uint32_t warm_answers;         /* so far */
    bool warm_failed;              /* the last one did; said once */
    bool is_warm;                  /* since it was last down, or from a process before this one */
    struct threshold threshold;
    struct breaker breaker;
    struct breaker_window window;
    struct breaker_counts seen; /* of the live counters, at the last sweep */
    uint64_t handshake_ns;      /* when one was last timed; 0: never */
    uint64_t round_trip_ns;     /* the same of a warm probe */
};

/* A target for the endpoint; its first probe comes at once. */
struct target *target_new(struct health *health, const struct view_endpoint *endpoint);
/* Settings of the present config and view. */
void target_update(struct target *target, const struct view_endpoint *endpoint,
                   const struct conf_region *region, uint32_t region_index, unsigned region_slot);
void target_free(struct target *target);
struct target *target_find(const struct health *health, uint64_t endpoint_id);
/* A blamed failure that a worker saw. */
void target_on_failure(struct target *target, enum outcome outcome);

/* Its rules, for now. */
struct threshold_rules target_rules(const struct target *target);
/* What to ask of whom, but for the prompt. */
struct probe_target target_probe(const struct target *target);
/* It has been warmed up. */
void target_on_warmed(struct target *target);
/* A sample of path latency; `arg` is the target. */
void target_on_sample(enum latency_source source, double ms, void *arg);

/* ---- warmup.c ---- */

void warmup_init(struct target *target);
/* Begin or end the warm-up as the target's state says. */
void warmup_follow(struct target *target);
void warmup_end(struct target *target);

/* ---- guard.c ---- */

void guard_start(struct health *health);
void guard_stop(struct health *health);
/* A config came into force: forget the regions that it has no more. */
void guard_forget_gone(struct health *health);
/* A failure was heard of: look at the end of this turn, not at the next tick. */
void guard_hurry(struct health *health);
/* The real request that was let through ended. */
void guard_on_trial(struct target *target, bool passed);
/* The endpoint came up or went down by probes. */
void guard_on_state(struct target *target);

/* Probe sooner than scheduled, but not faster than the fast pace. */
void target_hurry(struct target *target);

/* ---- passive.c ---- */

/* How long a full endpoint has no room: Retry-After, or its default, within bounds. */
uint64_t passive_full_ms(uint64_t retry_after_ms);

/* ---- discovery.c ---- */

/* Begin and end look-ups so that they fit health->conf. */
void discovery_sync(struct health *health);
/* An endpoint of that host went down: its name may mean something else by now. */
void discovery_hurry(struct health *health, const char *host);
/* The addresses that an exporter's name stands for now; valid until the next turn. */
size_t discovery_exporter(struct health *health, uint32_t region_index,
                          const struct conf_endpoint *exporter, const struct addr **ret_addrs);
void discovery_stop(struct health *health);

/* ---- load_watch.c ---- */

/* Read the pages that health->conf and the fleet's endpoints ask for, and no others. */
void load_watch_sync(struct health *health);
void load_watch_stop(struct health *health);

/* ---- redis_watch.c ---- */

void redis_watch_sync(struct health *health);
void redis_watch_stop(struct health *health);

#endif
