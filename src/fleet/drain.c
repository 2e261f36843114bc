/* SPDX-License-Identifier: MIT */
/*
 * The operator's drains: kept by name apart from everything measured, so that they outlive
 * reloads, changes in DNS and whatever probes say.
 *
 * A drained endpoint name (HOST:PORT) also holds for addresses that the name gets later; a single
 * address of it can be put back to work on its own. A name that is put back takes all its addresses
 * along, those that were drained by themselves too. So of the acts on an endpoint's two names the
 * newest counts, in whatever order this edge learns of them.
 */
#include "fleet_private.h"

#include <nearside/base/mem.h>
#include <nearside/obs/log.h>

#include <stdio.h>

/* Names that can be drained at a time: far above what an operator does by hand. */
#define DRAINS_MAX 4096

struct drain {
    struct list link;
    bool is_region;
    char *text;        /* owned */
    uint64_t since_ns; /* when this edge learnt of it */
};

static struct drain *find_drain(const struct fleet *fleet, bool is_region, struct str text)
{
    struct list *item;

    LIST_FOREACH (item, &fleet->drains) {
        struct drain *drain = LIST_ITEM(item, struct drain, link);

        if (drain->is_region == is_region && str_eq(str_of(drain->text), text)) {
            return drain;
        }
    }
    return NULL;
}

static void forget(struct fleet *fleet, struct drain *drain)
{
    list_remove(&drain->link);
    fleet->drain_count--;
    mem_free(drain->text);
    mem_free(drain);
}

void fleet_drains_free(struct fleet *fleet)
{
    struct list *first;

    while ((first = list_first(&fleet->drains)) != NULL) {
        forget(fleet, LIST_ITEM(first, struct drain, link));
    }
}

/* False: too many drains. */
static bool remember(struct fleet *fleet, bool is_region, struct str text, bool drained)
{
    struct drain *drain = find_drain(fleet, is_region, text);

    if (!drained) {
        if (drain != NULL) {
            forget(fleet, drain);
        }
        return true;
    }
    if (drain != NULL) {
        return true;
    }
    if (fleet->drain_count >= DRAINS_MAX) {
        log_warn("drain_refused", "limit=%d", DRAINS_MAX);
        return false;
    }
    drain = mem_new(struct drain);
    drain->is_region = is_region;
    drain->since_ns = loop_now_ns(fleet->loop);
    drain->text = mem_strndup(text.ptr, text.len);
    list_push_back(&fleet->drains, &drain->link);
    fleet->drain_count++;
    return true;
}

uint64_t fleet_region_name_drained_since(const struct fleet *fleet, const char *name)
{
    const struct drain *drain = find_drain(fleet, true, str_of(name));

    return drain == NULL ? 0 : drain->since_ns;
}

#define NAME_TEXT_LEN 300 /* a DNS name, a colon, a port */

static struct str endpoint_name(const struct fleet_endpoint *endpoint, char out[NAME_TEXT_LEN])
{
    int len =
        snprintf(out, NAME_TEXT_LEN, "%s:%u", endpoint->host, (unsigned)addr_port(&endpoint->addr));

    return len > 0 && len < NAME_TEXT_LEN ? str_make(out, (size_t)len) : STR_EMPTY;
}

uint64_t fleet_endpoint_drained_since(const struct fleet *fleet,
                                      const struct fleet_endpoint *endpoint)
{
    char name[NAME_TEXT_LEN];
    const struct drain *drain = find_drain(fleet, false, str_of(endpoint->address));

    if (drain == NULL) {
        drain = find_drain(fleet, false, endpoint_name(endpoint, name));
    }
    return drain == NULL ? 0 : drain->since_ns;
}

void fleet_each_drain(const struct fleet *fleet,
                      void (*each)(bool is_region, const char *name, void *arg), void *arg)
{
    struct list *item;

    LIST_FOREACH (item, &fleet->drains) {
        const struct drain *drain = LIST_ITEM(item, struct drain, link);

        each(drain->is_region, drain->text, arg);
    }
}

void fleet_remember_drain(struct fleet *fleet, bool is_region, struct str name, bool drained)
{
    (void)remember(fleet, is_region, name, drained); /* too many: said in the log */
}

/* ---- one act ---- */

static void note_drain(struct fleet *fleet, const char *region, const char *endpoint,
                       const struct fleet_act *act)
{
    const char *event = act->drained ? "drain" : "undrain";
    const char *by = act->by == NULL ? "here" : act->by;
    bool drained = act->drained;
    char reason[128];

    if (endpoint == NULL) {
        log_info(event, "region=%s at=%s", region, by);
    } else {
        log_info(event, "region=%s endpoint=%s at=%s", region, endpoint, by);
    }
    (void)snprintf(reason, sizeof(reason), "operator%s%s", act->by == NULL ? "" : " at ",
                   act->by == NULL ? "" : act->by);
    fleet_event_add(fleet, &(struct fleet_change){.kind = "drain",
                                                  .region = region,
                                                  .endpoint = endpoint,
                                                  .from = drained ? "ready" : "drained",
                                                  .to = drained ? "drained" : "ready",
                                                  .reason = reason});
}

static void set_region(struct fleet *fleet, struct fleet_region *region,
                       const struct fleet_act *act)
{
    if (region->drained == act->drained) {
        return;
    }
    region->drained = act->drained;
    region->drained_since_ns = act->drained ? loop_now_ns(fleet->loop) : 0;
    note_drain(fleet, region->name, NULL, act);
    fleet_touch(fleet);
}

/* True when it changed: the region is then to be recounted, once for all of its endpoints. */
static bool set_endpoint(struct fleet *fleet, const struct fleet_region *region,
                         struct fleet_endpoint *endpoint, const struct fleet_act *act)
{
    if (endpoint->drained == act->drained) {
        return false;
    }
    endpoint->drained = act->drained;
    endpoint->drained_since_ns = act->drained ? loop_now_ns(fleet->loop) : 0;
    note_drain(fleet, region->name, endpoint->address, act);
    return true;
}

static void recount(struct fleet *fleet, struct fleet_region *region, bool changed)
{
    if (changed) {
        fleet_region_recount(fleet, region, "drain");
        fleet_touch(fleet);
    }
}

/* ---- by an operator here ---- */

static struct fleet_region *find_region(const struct fleet *fleet, struct str name)
{
    for (uint32_t i = 0; i < fleet->region_count; i++) {
        if (str_eq(str_of(fleet->regions[i].name), name)) {
            return &fleet->regions[i];
        }
    }
    return NULL;
}

/* What is gone may have left a drain, which can be taken back by its name. */
static bool may_act(const struct fleet *fleet, bool is_region, struct str name, bool is_there,
                    bool drained)
{
    return is_there || (!drained && find_drain(fleet, is_region, name) != NULL);
}

static bool drain_region(struct fleet *fleet, struct str name, const struct fleet_act *act)
{
    struct fleet_region *region = find_region(fleet, name);

    if (!may_act(fleet, true, name, region != NULL, act->drained) ||
        !remember(fleet, true, name, act->drained)) {
        return false;
    }
    if (region != NULL) {
        set_region(fleet, region, act);
    }
    return true;
}

static bool is_named(const struct fleet_endpoint *endpoint, struct str text)
{
    char name[NAME_TEXT_LEN];

    return str_eq(str_of(endpoint->address), text) || str_eq(endpoint_name(endpoint, name), text);
}

static bool names_one(const struct fleet *fleet, struct str text)
{
    for (uint32_t i = 0; i < fleet->region_count; i++) {
        for (uint32_t e = 0; e < fleet->regions[i].endpoint_count; e++) {
            if (is_named(fleet->regions[i].endpoints[e], text)) {
                return true;
            }
        }
    }
    return false;
}

static void drain_in_region(struct fleet *fleet, struct fleet_region *region, struct str name,
                            const struct fleet_act *act)
{
    bool changed = false;

    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        if (is_named(region->endpoints[i], name)) {
            changed |= set_endpoint(fleet, region, region->endpoints[i], act);
        }
    }
    recount(fleet, region, changed);
}

static bool drain_endpoint(struct fleet *fleet, struct str name, const struct fleet_act *act)
{
    if (!may_act(fleet, false, name, names_one(fleet, name), act->drained) ||
        !remember(fleet, false, name, act->drained)) {
        return false;
    }
    for (uint32_t i = 0; i < fleet->region_count; i++) {
        drain_in_region(fleet, &fleet->regions[i], name, act);
    }
    return true;
}

void fleet_listen_drains(struct fleet *fleet, fleet_drain_fn listener, void *arg)
{
    fleet->drain_listener = listener;
    fleet->drain_arg = arg;
}

static bool operate(struct fleet *fleet, bool is_region, struct str name, bool drained)
{
    struct fleet_act act = {.drained = drained};
    bool done = is_region ? drain_region(fleet, name, &act) : drain_endpoint(fleet, name, &act);

    if (done && fleet->drain_listener != NULL) {
        fleet->drain_listener(is_region, name, drained, fleet->drain_arg);
    }
    return done;
}

/* Addresses of the name that were drained each by its own: left alone, they would be drained again
 * as soon as they are made anew, here or in the next process. */
static void undrain_addresses(struct fleet *fleet, const struct fleet_region *region,
                              struct str name)
{
    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        struct str address = str_of(region->endpoints[i]->address);

        if (is_named(region->endpoints[i], name) && !str_eq(address, name) &&
            find_drain(fleet, false, address) != NULL) {
            (void)operate(fleet, false, address, false); /* it is there: nothing can refuse */
        }
    }
}

bool fleet_drain_region(struct fleet *fleet, struct str name, bool drained)
{
    return operate(fleet, true, name, drained);
}

bool fleet_drain_endpoint(struct fleet *fleet, struct str address, bool drained)
{
    for (uint32_t i = 0; i < fleet->region_count && !drained; i++) {
        undrain_addresses(fleet, &fleet->regions[i], address);
    }
    return operate(fleet, false, address, drained);
}

/* ---- by operators at all edges ---- */

/* Of the acts on the two names of an endpoint the newer one. */
static bool find_newest(const struct fleet_endpoint *endpoint, fleet_act_fn find, void *arg,
                        struct fleet_act *ret_act)
{
    char name[NAME_TEXT_LEN];
    struct fleet_act by_host;
    bool found = find(false, str_of(endpoint->address), ret_act, arg);

    if (find(false, endpoint_name(endpoint, name), &by_host, arg) &&
        (!found || by_host.epoch > ret_act->epoch)) {
        *ret_act = by_host;
        return true;
    }
    return found;
}

static void follow_in_region(struct fleet *fleet, struct fleet_region *region, fleet_act_fn find,
                             void *arg)
{
    struct fleet_act act;
    bool changed = false;

    if (find(true, str_of(region->name), &act, arg) && act.epoch > region->drain_epoch) {
        region->drain_epoch = act.epoch;
        set_region(fleet, region, &act);
    }
    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        struct fleet_endpoint *endpoint = region->endpoints[i];

        if (find_newest(endpoint, find, arg, &act) && act.epoch > endpoint->drain_epoch) {
            endpoint->drain_epoch = act.epoch;
            changed |= set_endpoint(fleet, region, endpoint, &act);
        }
    }
    recount(fleet, region, changed);
}

void fleet_follow_drains(struct fleet *fleet, fleet_act_fn find, void *arg)
{
    for (uint32_t i = 0; i < fleet->region_count; i++) {
        follow_in_region(fleet, &fleet->regions[i], find, arg);
    }
}
