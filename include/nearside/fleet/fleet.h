/* SPDX-License-Identifier: MIT */
/*
 * The only truth about regions and endpoints. Health writes it, the control thread owns it, all
 * others read published views (fleet/view.h).
 *
 * An endpoint's identity is region name + host + address + port. It keeps its live counters,
 * health and slow-start state through reloads and DNS changes as long as the identity stays. A
 * region's identity is its name; it keeps its path latency. An operator's drain is a field of its
 * own that no probe may write; it belongs to the name (region) or HOST:PORT / ADDRESS:PORT
 * (endpoint) and outlives reloads.
 *
 * Events (state changes, drains, home changes, reloads) are kept, the last 1000, for the status
 * page and /events.json, and logged at info.
 *
 * Thread: control, all of it.
 */
#ifndef NEARSIDE_FLEET_FLEET_H
#define NEARSIDE_FLEET_FLEET_H

#include <nearside/base/addr.h>
#include <nearside/base/attr.h>
#include <nearside/base/str.h>
#include <nearside/fleet/latency.h>
#include <nearside/fleet/view.h>

#define FLEET_PUBLISH_MS    20
#define FLEET_EVENTS_MAX    1000
#define FLEET_SLOW_START_MS 30000
#define FLEET_ENDPOINTS_MAX 1024 /* per region; further addresses are ignored, with a warning */

struct conf;
struct fleet;
struct loop;

/* Called with each new view, on the control thread; the callee takes its own references. */
typedef void (*fleet_publish_fn)(struct fleet_view *view, void *arg);

struct fleet *fleet_new(struct loop *loop, fleet_publish_fn publish, void *arg);
void fleet_free(struct fleet *fleet);

/* Adopt a config: regions and endpoints that stay keep all they know, new ones start unknown,
 * those gone disappear from the view. Endpoints given by address exist at once; those given by
 * name wait for fleet_set_addresses(). Publishes before it returns. */
void fleet_apply(struct fleet *fleet, struct conf *conf);

/* The addresses that endpoint `endpoint_index` of region `region_index` (of the applied config)
 * stands for now. */
void fleet_set_addresses(struct fleet *fleet, uint32_t region_index, uint32_t endpoint_index,
                         const struct addr *addrs, size_t count);
void fleet_set_redis_addr(struct fleet *fleet, uint32_t region_index, const struct addr *addr);
void fleet_set_redis_up(struct fleet *fleet, uint32_t region_index, bool up, const char *why);

/* ---- what health writes ---- */

/* `reason` is static text (an outcome word, "probe_ok", ...). No-op when nothing changes. */
void fleet_set_endpoint_state(struct fleet *fleet, uint64_t endpoint_id, enum endpoint_state state,
                              const char *reason);
/* What real traffic says. A return from a breaker is a slow start, as one from down is. No-op when
 * nothing changes. `reason` is static text. */
void fleet_set_endpoint_breaker(struct fleet *fleet, uint64_t endpoint_id,
                                enum breaker_state breaker, const char *reason);
void fleet_set_region_breaker(struct fleet *fleet, uint32_t region_index,
                              enum breaker_state breaker, const char *reason);
/* One sample of path latency to the endpoint's region. */
void fleet_observe_latency(struct fleet *fleet, uint64_t endpoint_id, enum latency_source source,
                           double ms);

/* Other edges' latency, until the first sample of this edge's own; ignored when there is one. */
void fleet_set_prior_latency(struct fleet *fleet, uint32_t region_index, double ms);

/* ---- what operators write ---- */

/* False: no such region, or too many drains (said in the log). The end of a drain is also taken by
 * the name of a region, or endpoint, that is gone and left it. */
bool fleet_drain_region(struct fleet *fleet, struct str name, bool drained) MUST_CHECK;
/* `address` is ADDRESS:PORT as shown on the status page, or HOST:PORT of the config (then all
 * addresses of that name). False: no such endpoint, or too many drains. Putting a name back puts
 * back each of its addresses that was drained by itself. */
bool fleet_drain_endpoint(struct fleet *fleet, struct str address, bool drained) MUST_CHECK;

/* Told of each of these acts, in the words it was given, when it has been carried out; of each
 * address that a name takes back with it before that. One listener; NULL: none. */
typedef void (*fleet_drain_fn)(bool is_region, struct str name, bool drained, void *arg);
void fleet_listen_drains(struct fleet *fleet, fleet_drain_fn listener, void *arg);

/* What an operator did, here or elsewhere. */
struct fleet_act {
    uint64_t epoch; /* the higher one is the newer */
    bool drained;
    const char *by; /* at which other edge; NULL: here */
};

/* The newest act on a name; false: none is known. */
typedef bool (*fleet_act_fn)(bool is_region, struct str name, struct fleet_act *ret_act, void *arg);
/* Carry out the acts of all edges' operators: what is there gets the newest of those that name it,
 * unless it had that one already. The listener is not told. */
void fleet_follow_drains(struct fleet *fleet, fleet_act_fn find, void *arg);

/* Each drain that is in force, in the words it was given. */
void fleet_each_drain(const struct fleet *fleet,
                      void (*each)(bool is_region, const char *name, void *arg), void *arg);
/* A drain, or the end of one, of another edge or of the process before this one. It is for what
 * comes by that name later: nobody is told, and what is there stays as it is. */
void fleet_remember_drain(struct fleet *fleet, bool is_region, struct str name, bool drained);

/* ---- reading ---- */

/* The newest view, made now if something changed since. Borrowed until the next call here. */
struct fleet_view *fleet_view_now(struct fleet *fleet);
/* The newest view that was published, which may miss the changes of the last FLEET_PUBLISH_MS but
 * has the regions of the applied config. NULL before the first config. Borrowed likewise. */
const struct fleet_view *fleet_view_last(const struct fleet *fleet);

struct fleet_event {
    uint64_t number; /* 1, 2, 3, ... */
    uint64_t wall_ms;
    const char *kind; /* static: "region_state", "endpoint_state", "home", "drain", "reload", ... */
    char region[64];
    char endpoint[ADDR_TEXT_LEN];
    char from[24];
    char to[24];
    char reason[200];
};

/* Note an event of another part (reload, start). Texts are copied and cut. */
void fleet_note(struct fleet *fleet, const char *kind, const char *region, const char *from,
                const char *to, const char *reason);
/* The events, oldest first: calls `each` for those kept. */
void fleet_events(const struct fleet *fleet,
                  void (*each)(const struct fleet_event *event, void *arg), void *arg);

#endif
