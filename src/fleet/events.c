/* SPDX-License-Identifier: MIT */
/* The last FLEET_EVENTS_MAX things that happened, in a ring. */
#include "fleet_private.h"

#include <nearside/base/clock.h>

#include <stdio.h>

static void copy_text(char *out, size_t size, const char *text)
{
    /* Texts longer than their field are cut: they are for people. */
    (void)snprintf(out, size, "%s", text == NULL ? "" : text);
}

void fleet_event_add(struct fleet *fleet, const struct fleet_change *change)
{
    struct fleet_event *event = &fleet->events.ring[fleet->events.count % FLEET_EVENTS_MAX];

    fleet->events.count++;
    event->number = fleet->events.count;
    event->wall_ms = clock_wall_ms();
    event->kind = change->kind;
    copy_text(event->region, sizeof(event->region), change->region);
    copy_text(event->endpoint, sizeof(event->endpoint), change->endpoint);
    copy_text(event->from, sizeof(event->from), change->from);
    copy_text(event->to, sizeof(event->to), change->to);
    copy_text(event->reason, sizeof(event->reason), change->reason);
}

void fleet_note(struct fleet *fleet, const char *kind, const char *region, const char *from,
                const char *to, const char *reason)
{
    fleet_event_add(fleet,
                    &(struct fleet_change){
                        .kind = kind, .region = region, .from = from, .to = to, .reason = reason});
}

void fleet_events(const struct fleet *fleet,
                  void (*each)(const struct fleet_event *event, void *arg), void *arg)
{
    uint64_t count = fleet->events.count;
    uint64_t first = count > FLEET_EVENTS_MAX ? count - FLEET_EVENTS_MAX : 0;

    for (uint64_t i = first; i < count; i++) {
        each(&fleet->events.ring[i % FLEET_EVENTS_MAX], arg);
    }
}
