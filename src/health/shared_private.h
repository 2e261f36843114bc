/* SPDX-License-Identifier: MIT */
/*
 * State that edges share through the regions' Redis, and its parts:
 *
 *   shared_state.c   the conductor: when to exchange, what a peer's report leads to
 *   shared_link.c    one region's Redis: one exchange at a time, by one script
 *   shared_report.c  a report as text and back
 *   shared_drain.c   operators' drains with their epochs
 *
 * In each Redis: hash ns1:edges, edge id -> "STAMP EPOCH SEQUENCE REPORT"; hash ns1:drains,
 * "region/NAME" or "endpoint/ADDRESS:PORT" -> "EPOCH DRAINED WALL_MS BY".
 *
 * Thread: control.
 */
#ifndef NEARSIDE_HEALTH_SHARED_PRIVATE_H
#define NEARSIDE_HEALTH_SHARED_PRIVATE_H

#include <nearside/base/buf.h>
#include <nearside/base/list.h>
#include <nearside/base/str.h>
#include <nearside/base/table.h>
#include <nearside/fleet/peers.h>
#include <nearside/loop/loop.h>
#include <nearside/obs/metric.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHARED_INTERVAL_MS      1000
#define SHARED_LOOK_MS          100  /* how soon a change here is noticed and told */
#define SHARED_WAIT_MS          500  /* for the first reading, at the start */
#define SHARED_TIMEOUT_MS       1000 /* of one exchange */
#define SHARED_REPORT_BYTES_MAX 32768
#define SHARED_DRAINS_MAX       1024
#define SHARED_DRAINS_AT_ONCE   100 /* written by one exchange */
#define SHARED_FIELD_MAX        320 /* bytes of a drain's name */

struct fleet;
struct fleet_view;
struct health;
struct kv;

/* ---- shared_report.c ---- */

/* "EPOCH SEQUENCE {"regions":[...]}" of what this edge sees. */
void shared_report_write(const struct fleet_view *view, uint64_t epoch, uint64_t sequence,
                         struct buf *out);
/* Cut EPOCH and SEQUENCE off *text. False: malformed. */
bool shared_report_head(struct str *text, uint64_t *ret_epoch, uint64_t *ret_sequence) MUST_CHECK;
/* Read the rest into `peer`. False: malformed; `peer` is as it was. */
bool shared_report_read(struct str text, struct peer *peer) MUST_CHECK;

/* ---- shared_drain.c ---- */

/* A drain, or the end of one (kept, so that an older drain elsewhere does not come back). */
struct shared_drain {
    struct table_item by_field;
    struct list link;
    char *field; /* owned: "region/NAME", "endpoint/ADDRESS:PORT" */
    uint64_t epoch;
    uint64_t wall_ms; /* when the operator acted */
    bool drained;
    bool applied;            /* the fleet knows */
    char by[PEER_NAME_SIZE]; /* the edge where it was done */
    uint64_t pass;           /* of the last reading in which Redis had it */
};

struct shared_drains {
    struct table by_field;
    struct list all;
    uint32_t count;
    uint64_t epoch_max;
    uint64_t pass;
    uint64_t roster; /* of the view for which they were last applied */
};

void shared_drains_init(struct shared_drains *drains);
void shared_drains_done(struct shared_drains *drains);
/* An operator's act here, newer than all that is known. */
void shared_drains_act(struct shared_drains *drains, bool is_region, struct str name, bool drained,
                       const char *by, uint64_t wall_ms);
/* What a Redis has under `field`; the newer one stays. */
void shared_drains_take(struct shared_drains *drains, struct str field, struct str value);
/* Tell the fleet what it does not know yet, and whoever came since what there is. */
void shared_drains_apply(struct shared_drains *drains, struct fleet *fleet);
/* Forget the ends of drains after a week. */
void shared_drains_expire(struct shared_drains *drains, uint64_t wall_ms);
/* EPOCH DRAINED WALL_MS BY */
void shared_drain_value(const struct shared_drain *drain, struct buf *out);

/* ---- shared_link.c ---- */

struct shared_link;

/* `kv` outlives it. Its first exchange is at once. */
struct shared_link *shared_link_new(struct health *health, const char *region_name, struct kv *kv);
void shared_link_free(struct shared_link *link);
/* Each exchanges now, or right after the exchange under way. */
void shared_links_hurry(struct list *links);
/* How many have ended their first exchange, one way or the other. */
uint32_t shared_links_settled(const struct list *links);

/* ---- shared_state.c ---- */

struct shared {
    struct health *health; /* borrowed: owns this */
    struct list links;     /* of struct shared_link's */
    struct shared_drains drains;
    struct peers peers;
    uint64_t epoch;
    uint64_t sequence;
    struct buf report; /* the newest, as text */
    bool id_taken;     /* another process uses this edge's id; said once */
    bool silent;       /* another process of this id reports: health_set_silent() */
    bool is_ready;     /* the first readings are in, or were waited for long enough */
    struct deadline look;
    struct deadline ready_due;
    void (*ready)(void *arg); /* NULL: nobody waits */
    void *ready_arg;
    enum region_state told[METRIC_REGIONS_MAX]; /* by slot: what was there at the last look */
};

struct shared *shared_new(struct health *health);
void shared_free(struct shared *shared);
/* As health_set_silent(). */
void shared_set_silent(struct shared *shared, bool silent);
/* A config was applied. */
void shared_sync(struct shared *shared);
void shared_on_settled(struct shared *shared);
/* A peer's entry, `age_ms` old. */
void shared_take_report(struct shared *shared, struct str edge, uint64_t age_ms, struct str text);
/* All of a Redis's entries have been taken. */
void shared_end_reading(struct shared *shared);
/* Under this edge's own id stood the report of a newer process. */
void shared_id_is_taken(struct shared *shared, uint64_t epoch);
/* This edge's report, as of now; empty while silent: none is to be written. */
struct str shared_report_now(struct shared *shared);

#endif
