/* SPDX-License-Identifier: MIT */
/*
 * The operator's drains: kept by name apart from everything measured, so that they outlive
 * reloads, changes in DNS and whatever probes say.
 *
 * A drained endpoint name (HOST:PORT) also holds for addresses that the name gets later; a single
 * address of it can be put back to work on its own. A name that is put back takes all its addresses
 * along, those that were drained by themselves too.
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

void fleet_restore_drain(struct fleet *fleet, bool is_region, struct str name)
{
    (void)remember(fleet, is_region, name, true); /* too many: said in the log */
}

/* One act: what, and at which other edge (NULL: here). */
struct act {
    struct str name;
    bool drained;
    const char *by;
};

static void note_drain(struct fleet *fleet, const char *region, const char *endpoint,
                       const struct act *act)
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

static bool drain_region(struct fleet *fleet, const struct act *act)
{
    for (uint32_t i = 0; i < fleet->region_count; i++) {
        struct fleet_region *region = &fleet->regions[i];

        if (!str_eq(str_of(region->name), act->name)) {
            continue;
        }
        if (!remember(fleet, true, act->name, act->drained)) {
            return false;
        }
        if (region->drained != act->drained) {
            region->drained = act->drained;
            region->drained_since_ns = act->drained ? loop_now_ns(fleet->loop) : 0;
            note_drain(fleet, region->name, NULL, act);
            fleet_touch(fleet);
        }
        return true;
    }
    return false;
}

static bool is_named(const struct fleet_endpoint *endpoint, struct str text)
{
    char name[NAME_TEXT_LEN];

    return str_eq(str_of(endpoint->address), text) || str_eq(endpoint_name(endpoint, name), text);
}

static bool names_one_of(const struct fleet_region *region, struct str text)
{
    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        if (is_named(region->endpoints[i], text)) {
            return true;
        }
    }
    return false;
}

static void drain_in_region(struct fleet *fleet, struct fleet_region *region, const struct act *act)
{
    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        struct fleet_endpoint *endpoint = region->endpoints[i];

        if (!is_named(endpoint, act->name)) {
            continue;
        }
        if (endpoint->drained != act->drained) {
            endpoint->drained = act->drained;
            endpoint->drained_since_ns = act->drained ? loop_now_ns(fleet->loop) : 0;
            note_drain(fleet, region->name, endpoint->address, act);
        }
    }
    fleet_region_recount(fleet, region, "drain");
    fleet_touch(fleet);
}

static bool drain_endpoint(struct fleet *fleet, const struct act *act)
{
    bool found = false;

    for (uint32_t i = 0; i < fleet->region_count && !found; i++) {
        found = names_one_of(&fleet->regions[i], act->name);
    }
    if (!found || !remember(fleet, false, act->name, act->drained)) {
        return false;
    }
    for (uint32_t i = 0; i < fleet->region_count; i++) {
        if (names_one_of(&fleet->regions[i], act->name)) {
            drain_in_region(fleet, &fleet->regions[i], act);
        }
    }
    return true;
}

/* ---- whose act it is ---- */

void fleet_listen_drains(struct fleet *fleet, fleet_drain_fn listener, void *arg)
{
    fleet->drain_listener = listener;
    fleet->drain_arg = arg;
}

bool fleet_follow_drain(struct fleet *fleet, bool is_region, struct str name, bool drained,
                        const char *by)
{
    struct act act = {.name = name, .drained = drained, .by = by};

    return is_region ? drain_region(fleet, &act) : drain_endpoint(fleet, &act);
}

static bool operate(struct fleet *fleet, bool is_region, struct str name, bool drained)
{
    bool done = fleet_follow_drain(fleet, is_region, name, drained, NULL);

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
