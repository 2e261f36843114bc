/* SPDX-License-Identifier: MIT */
/*
 * A report: what one edge sees of the regions. What peers wrote is checked as any input is: sizes,
 * types and ranges; what does not fit is left out.
 */
#include "shared_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LATENCY_MS_MAX 60000.0

/* ---- writing ---- */

static json_t *region_value(const struct view_region *region)
{
    json_int_t pending = 0;
    json_int_t inflight = 0;

    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        pending += atomic_load_explicit(&region->endpoints[i].live->pending, memory_order_relaxed);
        inflight +=
            atomic_load_explicit(&region->endpoints[i].live->inflight, memory_order_relaxed);
    }
    /* A prior is hearsay: passed on, it would never die. */
    if (region->latency_known && !region->latency_is_prior) {
        return json_pack("{s:s, s:s, s:f, s:I, s:I}", "name", region->name, "state",
                         region_state_word(region->state), "latency_ms",
                         round(region->latency_ms * 1000.0) / 1000.0, "pending", pending,
                         "inflight", inflight);
    }
    return json_pack("{s:s, s:s, s:n, s:I, s:I}", "name", region->name, "state",
                     region_state_word(region->state), "latency_ms", "pending", pending, "inflight",
                     inflight);
}

static int on_bytes(const char *bytes, size_t len, void *arg)
{
    buf_append(arg, bytes, len);
    return 0;
}

void shared_report_write(const struct fleet_view *view, uint64_t epoch, uint64_t sequence,
                         struct buf *out)
{
    json_t *root = json_object();
    json_t *regions = json_array();

    for (uint32_t i = 0; i < view->region_count; i++) {
        ASSERT(json_array_append_new(regions, region_value(&view->regions[i])) == 0);
    }
    ASSERT(json_object_set_new(root, "regions", regions) == 0);
    buf_printf(out, "%llu %llu ", (unsigned long long)epoch, (unsigned long long)sequence);
    ASSERT(json_dump_callback(root, on_bytes, out, JSON_COMPACT | JSON_REAL_PRECISION(15)) == 0);
    json_decref(root);
}

/* ---- reading ---- */

static bool cut_number(struct str *text, uint64_t *ret_number)
{
    size_t end = str_find_char(*text, ' ');

    if (!str_to_u64(str_slice(*text, 0, end), ret_number)) {
        return false;
    }
    *text = str_slice(*text, end + 1, text->len);
    return true;
}

bool shared_report_head(struct str *text, uint64_t *ret_epoch, uint64_t *ret_sequence)
{
    return cut_number(text, ret_epoch) && cut_number(text, ret_sequence);
}

static bool read_state(const char *word, enum region_state *ret_state)
{
    for (unsigned state = 0; state < REGION_STATE_COUNT; state++) {
        if (strcmp(word, region_state_word((enum region_state)state)) == 0) {
            *ret_state = (enum region_state)state;
            return true;
        }
    }
    return false;
}

static uint64_t read_count(const json_t *value)
{
    json_int_t number = json_integer_value(value); /* 0 when it is none */

    return number > 0 ? (uint64_t)number : 0;
}

static bool read_region(const json_t *value, struct peer_region *out)
{
    const char *name = json_string_value(json_object_get(value, "name"));
    const char *state = json_string_value(json_object_get(value, "state"));
    const json_t *latency = json_object_get(value, "latency_ms");
    double ms = json_number_value(latency);

    if (name == NULL || state == NULL || strlen(name) >= sizeof(out->name) ||
        !read_state(state, &out->state)) {
        return false;
    }
    (void)snprintf(out->name, sizeof(out->name), "%s", name);
    out->latency_known = json_is_number(latency) && ms >= 0 && ms <= LATENCY_MS_MAX;
    out->latency_ms = out->latency_known ? ms : 0;
    out->pending = read_count(json_object_get(value, "pending"));
    out->inflight = read_count(json_object_get(value, "inflight"));
    return true;
}

static void read_regions(const json_t *regions, struct peer *peer)
{
    size_t count = json_array_size(regions);

    if (count > PEER_REGIONS_MAX) {
        count = PEER_REGIONS_MAX;
    }
    mem_free(peer->regions);
    peer->regions = mem_new_array(count, struct peer_region);
    peer->region_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (read_region(json_array_get(regions, i), &peer->regions[peer->region_count])) {
            peer->region_count++;
        }
    }
}

bool shared_report_read(struct str text, struct peer *peer)
{
    json_t *root;
    const json_t *regions;

    if (text.len > SHARED_REPORT_BYTES_MAX) {
        return false;
    }
    root = json_loadb(text.ptr, text.len, 0, NULL);
    regions = json_object_get(root, "regions");
    if (json_is_array(regions)) {
        read_regions(regions, peer);
    }
    json_decref(root);
    return regions != NULL;
}
