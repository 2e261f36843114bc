/* SPDX-License-Identifier: MIT */
/*
 * Operators' drains with their epochs, merged from every Redis: of two acts on the same name the
 * one with the higher epoch stays, whatever order they come in. An act's epoch is the wall clock,
 * or one more than the highest epoch known, whichever is more: it wins over all that its operator
 * could see. Two acts of one epoch are told apart by their edges' names, alike everywhere.
 *
 * The fleet looks through them only when an act is new or its endpoints are others, so that drains
 * of what is long gone cost nothing.
 */
#include "shared_private.h"

#include <nearside/base/hash.h>
#include <nearside/base/mem.h>
#include <nearside/fleet/fleet.h>
#include <nearside/obs/log.h>

#include <stdio.h>
#include <string.h>

#define REGION_PREFIX   "region/"
#define ENDPOINT_PREFIX "endpoint/"
#define EXPIRE_MS       (7ULL * 24 * 3600 * 1000)
#define EPOCH_MAX       (UINT64_C(1) << 53) /* Lua's numbers count so far */

void shared_drains_init(struct shared_drains *drains)
{
    *drains = (struct shared_drains){.count = 0};
    table_init(&drains->by_field);
    list_init(&drains->all);
}

static void forget(struct shared_drains *drains, struct shared_drain *drain)
{
    table_remove(&drains->by_field, &drain->by_field);
    list_remove(&drain->link);
    drains->count--;
    mem_free(drain->field);
    mem_free(drain);
}

void shared_drains_done(struct shared_drains *drains)
{
    struct list *first;

    while ((first = list_first(&drains->all)) != NULL) {
        forget(drains, LIST_ITEM(first, struct shared_drain, link));
    }
    table_done(&drains->by_field);
}

static uint64_t hash_of(struct str field)
{
    static const struct hash_key key = {.k0 = 0, .k1 = 0}; /* the table is small and bounded */

    return hash_bytes(&key, field.ptr, field.len);
}

static struct shared_drain *find(const struct shared_drains *drains, struct str field)
{
    struct table_item *item = table_first(&drains->by_field, hash_of(field));

    while (item != NULL) {
        struct shared_drain *drain = CONTAINER_OF(item, struct shared_drain, by_field);

        if (str_eq(str_of(drain->field), field)) {
            return drain;
        }
        item = table_next(item);
    }
    return NULL;
}

/* NULL: there are too many. */
static struct shared_drain *find_or_add(struct shared_drains *drains, struct str field)
{
    struct shared_drain *drain = find(drains, field);

    if (drain != NULL || drains->count >= SHARED_DRAINS_MAX) {
        return drain;
    }
    drain = mem_new(struct shared_drain);
    drain->field = mem_strndup(field.ptr, field.len);
    table_insert(&drains->by_field, &drain->by_field, hash_of(field));
    list_push_back(&drains->all, &drain->link);
    drains->count++;
    return drain;
}

static void write_field(struct buf *out, bool is_region, struct str name)
{
    buf_init(out);
    buf_append_str(out, is_region ? STR_LIT(REGION_PREFIX) : STR_LIT(ENDPOINT_PREFIX));
    buf_append_str(out, name);
}

void shared_drains_act(struct shared_drains *drains, bool is_region, struct str name, bool drained,
                       const char *by, uint64_t wall_ms)
{
    struct shared_drain *drain;
    struct buf field;

    write_field(&field, is_region, name);
    drain = buf_len(&field) > SHARED_FIELD_MAX ? NULL : find_or_add(drains, buf_str(&field));
    buf_done(&field);
    if (drain == NULL) {
        log_warn("drain_not_shared", "limit=%d", SHARED_DRAINS_MAX);
        return;
    }
    drains->epoch_max = wall_ms > drains->epoch_max ? wall_ms : drains->epoch_max + 1;
    drain->epoch = drains->epoch_max;
    drain->wall_ms = wall_ms;
    drain->drained = drained;
    drain->applied = true;
    (void)snprintf(drain->by, sizeof(drain->by), "%s", by);
}

/* ---- from Redis ---- */

struct reading {
    uint64_t epoch;
    uint64_t drained;
    uint64_t wall_ms;
    struct str by;
};

static bool cut_number(struct str *text, uint64_t *ret_number)
{
    size_t end = str_find_char(*text, ' ');

    if (end == text->len || !str_to_u64(str_slice(*text, 0, end), ret_number)) {
        return false;
    }
    *text = str_slice(*text, end + 1, text->len);
    return true;
}

/* Names of regions, endpoints and edges are visible ASCII; anybody may have written to a Redis. A
 * NUL above all would make a text shorter here than it is there, and never the same. */
static bool is_plain(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~') {
            return false;
        }
    }
    return text.len > 0;
}

static bool read_value(struct str text, struct reading *out)
{
    if (!cut_number(&text, &out->epoch) || !cut_number(&text, &out->drained) ||
        !cut_number(&text, &out->wall_ms)) {
        return false;
    }
    out->by = text;
    return out->epoch < EPOCH_MAX && out->drained <= 1 && is_plain(text) &&
           text.len < PEER_NAME_SIZE;
}

/* As the script in Redis compares them: by bytes. */
static int compare(const struct reading *reading, const struct shared_drain *drain)
{
    size_t len = strlen(drain->by);
    size_t common = len < reading->by.len ? len : reading->by.len;
    int order;

    if (reading->epoch != drain->epoch) {
        return reading->epoch > drain->epoch ? 1 : -1;
    }
    order = memcmp(reading->by.ptr, drain->by, common);
    return order != 0 ? order : (int)reading->by.len - (int)len;
}

static bool is_field(struct str field)
{
    return field.len <= SHARED_FIELD_MAX && is_plain(field) &&
           (str_starts(field, STR_LIT(REGION_PREFIX)) ||
            str_starts(field, STR_LIT(ENDPOINT_PREFIX)));
}

void shared_drains_take(struct shared_drains *drains, struct str field, struct str value)
{
    struct shared_drain *drain;
    struct reading reading;
    int order;

    if (!is_field(field) || !read_value(value, &reading)) {
        return;
    }
    drain = find_or_add(drains, field);
    if (drain == NULL) {
        return;
    }
    order = compare(&reading, drain);
    drain->pass = order >= 0 ? drains->pass : drain->pass;
    if (order <= 0) {
        return;
    }
    drain->epoch = reading.epoch;
    drain->wall_ms = reading.wall_ms;
    drain->drained = reading.drained == 1;
    drain->applied = false;
    memcpy(drain->by, reading.by.ptr, reading.by.len);
    drain->by[reading.by.len] = '\0';
    if (reading.epoch > drains->epoch_max) {
        drains->epoch_max = reading.epoch;
    }
}

static bool find_act(bool is_region, struct str name, struct fleet_act *ret_act, void *arg)
{
    const struct shared_drains *drains = arg;
    const struct shared_drain *drain;
    struct buf field;

    write_field(&field, is_region, name);
    drain = find(drains, buf_str(&field));
    buf_done(&field);
    if (drain == NULL) {
        return false;
    }
    *ret_act =
        (struct fleet_act){.epoch = drain->epoch, .drained = drain->drained, .by = drain->by};
    return true;
}

/* Returns whether there was any. */
static bool remember_new(struct shared_drains *drains, struct fleet *fleet)
{
    struct list *item;
    bool any = false;

    LIST_FOREACH (item, &drains->all) {
        struct shared_drain *drain = LIST_ITEM(item, struct shared_drain, link);
        struct str field = str_of(drain->field);
        bool is_region = str_starts(field, STR_LIT(REGION_PREFIX));
        size_t prefix = is_region ? sizeof(REGION_PREFIX) - 1 : sizeof(ENDPOINT_PREFIX) - 1;

        if (!drain->applied) {
            fleet_remember_drain(fleet, is_region, str_slice(field, prefix, field.len),
                                 drain->drained);
            drain->applied = true;
            any = true;
        }
    }
    return any;
}

void shared_drains_apply(struct shared_drains *drains, struct fleet *fleet)
{
    uint64_t roster = fleet_view_now(fleet)->roster;

    if (remember_new(drains, fleet) || roster != drains->roster) {
        drains->roster = roster;
        fleet_follow_drains(fleet, find_act, drains);
    }
}

void shared_drains_expire(struct shared_drains *drains, uint64_t wall_ms)
{
    struct list *item;
    struct list *after;

    LIST_FOREACH_SAFE (item, after, &drains->all) {
        struct shared_drain *drain = LIST_ITEM(item, struct shared_drain, link);

        if (!drain->drained && wall_ms > drain->wall_ms && wall_ms - drain->wall_ms > EXPIRE_MS) {
            forget(drains, drain);
        }
    }
}

void shared_drain_value(const struct shared_drain *drain, struct buf *out)
{
    buf_printf(out, "%llu %d %llu %s", (unsigned long long)drain->epoch, drain->drained ? 1 : 0,
               (unsigned long long)drain->wall_ms, drain->by);
}
