/* SPDX-License-Identifier: MIT */
/*
 * Which region and which endpoint serve a request: a pure function of a view, the request's facts,
 * the time and a random number. No I/O, no clock, no globals, no allocation; O(regions +
 * endpoints of the regions tried).
 *
 * Cost is milliseconds of expected time to first token. What is known in this form is the path
 * latency and the room an endpoint has; terms that are not known (predicted wait, prefill) are left
 * out, and the choice degrades to the closest healthy region.
 */
#ifndef NEARSIDE_ROUTE_ROUTE_H
#define NEARSIDE_ROUTE_ROUTE_H

#include <nearside/base/rng.h>
#include <nearside/base/str.h>
#include <nearside/fleet/view.h>

#include <stdbool.h>
#include <stdint.h>

#define ROUTE_TRIED_MAX       16
#define ROUTE_NOBODY          (-1)
#define ROUTE_REGION_ATTEMPTS 2    /* that one region gets before another one is preferred */
#define ROUTE_UNKNOWN_MS      50.0 /* latency assumed where none is known yet */

#define ROUTE_REASONS(X)                                                                           \
    X(CLOSEST, "closest")       /* closest usable region within the budget */                      \
    X(HOME, "home")             /* kept: no challenger beat the hysteresis */                      \
    X(FAR, "far")               /* no region within the budget: closest far one */                 \
    X(SPILL, "spill")           /* a closer region has no room */                                  \
    X(RETRY, "retry")           /* closer ones were tried and failed */                            \
    X(SLOW_START, "slow_start") /* a closer region is still warming up */                          \
    X(ONLY_UNKNOWN, "unknown")  /* nothing has been probed yet */                                  \
    X(PANIC, "panic")           /* every region is down: the least bad one */                      \
    X(QUEUE, "queue")           /* every candidate is full: wait for this region */                \
    X(NO_REGION, "no_region")   /* none allowed or none left untried */                            \
    X(NO_MODEL, "no_model")     /* no region serves the model */

enum route_reason {
#define X(suffix, word) ROUTE_##suffix,
    ROUTE_REASONS(X)
#undef X
        ROUTE_REASON_COUNT
};

const char *route_reason_word(enum route_reason reason);

struct route_request {
    struct str model;                /* empty: any region may serve it */
    struct str regions;              /* X-Nearside-Regions: comma-separated names; empty: all */
    uint32_t tried_count;            /* attempts already made: */
    uint64_t tried[ROUTE_TRIED_MAX]; /* ids of their endpoints, oldest first */
    uint64_t tried_slots;            /* bits of the slots of their regions, for route_judge() */
    bool in_vain;                    /* the last attempt met nobody, or a server's failure */
    bool no_trials;                  /* somebody else took the trial that was picked */
    int last_region;                 /* index of the last one tried, or ROUTE_NOBODY */
    uint32_t last_region_attempts;   /* attempts already made in it */
    /* The worker's turns for round_robin, one per region slot (METRIC_REGIONS_MAX of them).
     * NULL: turns begin at random, which is fair as well, but not in order. */
    uint32_t *turns;
};

struct route_choice {
    int region;   /* index in the view, or ROUTE_NOBODY */
    int endpoint; /* index in the region, or ROUTE_NOBODY (QUEUE: a region, no endpoint) */
    enum route_reason reason;
    int preferred; /* the region that would serve were all healthy with room; or ROUTE_NOBODY */
    double cost_ms;
};

/* Choose. Endpoints already tried are not tried again while others remain; after one further
 * attempt in the same region another region is preferred; when all were tried, one of them is
 * tried again, the last one only if it is alone. NO_REGION and NO_MODEL: nobody. */
struct route_choice route_pick(const struct fleet_view *view, const struct route_request *request,
                               uint64_t now_ns, struct rng *rng);

/* ---- why not the others ---- */

#define ROUTE_VERDICTS(X)                                                                          \
    X(CHOSEN, "chosen", "it served, or was to serve")                                              \
    X(NOT_ALLOWED, "not_allowed", "X-Nearside-Regions does not name it")                           \
    X(NO_MODEL, "no_model", "it does not serve the model")                                         \
    X(DRAINED, "drained", "an operator drained it")                                                \
    X(DOWN, "down", "no endpoint of it is up")                                                     \
    X(UNKNOWN, "unknown", "it has not been probed yet")                                            \
    X(NO_ENDPOINT, "no_endpoint", "every endpoint of it that is up is drained")                    \
    X(TRIED, "tried", "this request was tried there before")                                       \
    X(FAR, "far", "it is over the latency budget")                                                 \
    X(NOT_HOME, "not_home", "closer, but not by enough to give up the present home")               \
    X(SLOW_START, "slow_start", "just back: it gets a share of the traffic only")                  \
    X(FULL, "full", "no endpoint of it had room")                                                  \
    X(FARTHER, "farther", "the chosen one is closer")

enum route_verdict {
#define X(suffix, word, why) ROUTE_VERDICT_##suffix,
    ROUTE_VERDICTS(X)
#undef X
        ROUTE_VERDICT_COUNT
};

const char *route_verdict_word(enum route_verdict verdict);
const char *route_verdict_why(enum route_verdict verdict); /* a sentence for people */

/* What route_pick() thought of region `index` when it made `choice` of these facts. `tried` may
 * meanwhile hold the attempt that the choice led to. */
enum route_verdict route_judge(const struct fleet_view *view, const struct route_request *request,
                               const struct route_choice *choice, uint32_t index);

/* ---- retry rule ---- */

struct retry_facts {
    unsigned outcome;     /* enum outcome of the attempt that failed */
    bool committed;       /* a content byte went to the client */
    bool body_replayable; /* the whole body is kept, or none of it was sent */
    bool acts;            /* the request asks for something to be done, not only said */
    uint32_t attempts;    /* made so far, this one included; stale ones do not count */
    uint32_t attempts_max;
    bool elsewhere; /* the repetition would go to another region */
    bool budget_left;
    uint64_t now_ns;
    uint64_t deadline_ns; /* 0: none */
};

enum retry_verdict {
    RETRY_YES,
    RETRY_NO_COMMITTED,
    RETRY_NO_BODY,
    RETRY_NO_ACTS,
    RETRY_NO_OUTCOME,
    RETRY_NO_ATTEMPTS,
    RETRY_NO_BUDGET,
    RETRY_NO_TIME,
};

enum retry_verdict retry_decide(const struct retry_facts *facts);
/* Must this retry be taken from the budget? Not when no endpoint can have worked on the request:
 * a stale connection, a region found down, the first failure to connect. Nor when the first attempt
 * met silence and another region can be asked: a region that falls silent takes all its requests
 * with it at once, and moving them does not add to its load. */
bool retry_is_charged(const struct retry_facts *facts);
const char *retry_verdict_word(enum retry_verdict verdict);

/* ---- retry budget (semantics: 8) ---- */

/* A leaky token bucket, one per worker: each original request deposits `ratio` of a retry, unused
 * deposits expire after 10 s, and a floor of min_per_s is always there. Pure. */
#define RETRY_BUDGET_BUCKETS 10 /* of 1 s */
struct retry_budget {
    double deposits[RETRY_BUDGET_BUCKETS];
    double withdrawals[RETRY_BUDGET_BUCKETS];
    uint64_t second[RETRY_BUDGET_BUCKETS];
};
void retry_budget_deposit(struct retry_budget *budget, double ratio, uint64_t now_ns);
/* Takes one retry when there is one. */
bool retry_budget_take(struct retry_budget *budget, double min_per_s, uint64_t now_ns) MUST_CHECK;

#endif
