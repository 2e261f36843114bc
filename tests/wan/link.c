/* SPDX-License-Identifier: MIT */
/* See link.h. */
#include "link.h"

#include <nearside/base/clock.h>

void link_init(struct link *link, unsigned from, unsigned to)
{
    *link = (struct link){.rules = {.queue_max = QUEUE_MAX}, .from = from, .to = to};
}

static bool is_dropped(struct link *link, struct rng *rng)
{
    if (link->rules.is_cut) {
        link->counters.cut++;
        return true;
    }
    if (link->rules.loss > 0 && rng_unit(rng) < link->rules.loss) {
        link->counters.lost++;
        return true;
    }
    if (link->queued >= link->rules.queue_max) {
        link->counters.overflowed++;
        return true;
    }
    return false;
}

/* First the line takes its time for the bytes, then the distance takes its own. */
static uint64_t due_time(struct link *link, size_t len, struct rng *rng, uint64_t now_ns)
{
    const struct link_rules *rules = &link->rules;
    uint64_t due_ns = now_ns;

    if (rules->rate > 0) {
        uint64_t start_ns = link->line_free_ns > now_ns ? link->line_free_ns : now_ns;
        link->line_free_ns = start_ns + (uint64_t)((double)len * (double)NS_PER_S / rules->rate);
        due_ns = link->line_free_ns;
    }
    due_ns += rules->delay_ns;
    if (rules->jitter_ns > 0) {
        uint64_t shift_ns = rng_below(rng, 2 * rules->jitter_ns + 1);
        due_ns += shift_ns;
        due_ns = due_ns > now_ns + rules->jitter_ns ? due_ns - rules->jitter_ns : now_ns;
    }
    if (link->last != NULL && link->last->due_ns > due_ns) {
        return link->last->due_ns;
    }
    return due_ns;
}

bool link_enter(struct link *link, struct packet *packet, struct rng *rng, uint64_t now_ns)
{
    if (is_dropped(link, rng)) {
        return false;
    }
    packet->due_ns = due_time(link, packet->len, rng, now_ns);
    packet->next = NULL;
    if (link->last == NULL) {
        link->first = packet;
    } else {
        link->last->next = packet;
    }
    link->last = packet;
    link->queued++;
    return true;
}

struct packet *link_leave(struct link *link, uint64_t now_ns)
{
    struct packet *packet = link->first;

    if (packet == NULL || packet->due_ns > now_ns) {
        return NULL;
    }
    link->first = packet->next;
    link->last = link->first == NULL ? NULL : link->last;
    link->queued--;
    return packet;
}
