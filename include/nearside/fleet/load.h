/* SPDX-License-Identifier: MIT */
/*
 * What pods and GPU exporters say about their load, page by page. health/load_watch.c fills it;
 * admin shows it and tells autoscalers. It decides nothing here: between two readings an engine can
 * fill up and empty again many times.
 *
 * Plain values; thread: whoever owns the struct (control).
 */
#ifndef NEARSIDE_FLEET_LOAD_H
#define NEARSIDE_FLEET_LOAD_H

#include <nearside/base/addr.h>
#include <nearside/base/list.h>
#include <nearside/base/table.h>

#include <stdbool.h>
#include <stdint.h>

/* How parts make a whole: requests add up, shares are averaged. */
#define LOAD_SIGNALS(X)                                                                            \
    /* suffix  word        is a share */                                                           \
    X(WAITING, "waiting", 0)   /* requests in the engine that wait for their turn */               \
    X(RUNNING, "running", 0)   /* requests in the engine's batch */                                \
    X(KV_CACHE, "kv_cache", 1) /* KV cache in use, 0 .. 1 */                                       \
    X(GPU, "gpu", 1)           /* GPU in use, 0 .. 1 */

enum load_signal {
#define X(suffix, word, is_share) LOAD_##suffix,
    LOAD_SIGNALS(X)
#undef X
        LOAD_SIGNAL_COUNT
};

const char *load_signal_word(enum load_signal signal);

/* The parts of each signal so far: none, and it is not known. */
struct load {
    uint32_t parts[LOAD_SIGNAL_COUNT];
    double sums[LOAD_SIGNAL_COUNT];
};

/* No engine has more of anything; so many sums of it are still finite, and whole numbers exact. */
#define LOAD_VALUE_MAX 1e12

/* Values that are no number, negative, or above LOAD_VALUE_MAX are left out. */
void load_add(struct load *load, enum load_signal signal, double value);
void load_merge(struct load *load, const struct load *other);
/* False: not known. */
bool load_value(const struct load *load, enum load_signal signal, double *ret_value);

/* One page, as last read. */
struct load_report {
    struct list link;
    struct table_item by_endpoint;
    uint64_t endpoint_id; /* 0: an exporter's */
    unsigned slot;        /* the region's: metric_region_slot() */
    uint64_t read_ns;     /* when it was last read well; 0: never */
    uint64_t keep_ns;     /* how long that counts */
    const char *reason;   /* why the last reading failed, or ""; static text */
    struct load load;
};

struct load_reports {
    struct list all; /* of struct load_report; owned by whoever adds them */
    struct table endpoints;
};

void load_reports_init(struct load_reports *reports);
void load_reports_done(struct load_reports *reports);
void load_reports_add(struct load_reports *reports, struct load_report *report);
void load_reports_remove(struct load_reports *reports, struct load_report *report);

bool load_report_is_fresh(const struct load_report *report, uint64_t now_ns);
/* Of an endpoint; NULL: its page is not read. */
struct load_report *load_reports_find(const struct load_reports *reports, uint64_t endpoint_id);
/* All fresh reports of a region together. */
void load_of_region(const struct load_reports *reports, unsigned slot, uint64_t now_ns,
                    struct load *ret_load);

#endif
