/* SPDX-License-Identifier: MIT */
/* /events.json, and the newest events of /status.json. */
#include "status_private.h"

#include "admin_private.h"
#include "member_private.h"

#include <nearside/base/assert.h>
#include <nearside/fleet/fleet.h>

struct event_list {
    json_t *array; /* borrowed */
    size_t skip;   /* older ones than are wanted */
};

static void on_event_counted(const struct fleet_event *event, void *arg)
{
    size_t *count = arg;

    (void)event;
    (*count)++;
}

/* What happened to whom and why, for people: "region_state of near: up -> down (refused)". */
static void add_event_text(json_t *item, const struct fleet_event *event)
{
    struct buf text;

    buf_init(&text);
    buf_append_str(&text, str_of(event->kind));
    if (event->region[0] != '\0') {
        buf_printf(&text, " of %s", event->region);
    }
    if (event->endpoint[0] != '\0') {
        buf_printf(&text, " %s", event->endpoint);
    }
    buf_append_char(&text, ':');
    if (event->from[0] != '\0') {
        buf_printf(&text, " %s ->", event->from);
    }
    buf_printf(&text, " %s", event->to);
    if (event->reason[0] != '\0') {
        buf_printf(&text, " (%s)", event->reason);
    }
    buf_append_char(&text, '\0');
    member_text(item, "text", buf_str(&text).ptr);
    buf_done(&text);
}

static void on_event(const struct fleet_event *event, void *arg)
{
    struct event_list *list = arg;
    json_t *item;

    if (list->skip > 0) {
        list->skip--;
        return;
    }
    item = item_object(list->array);
    member_count(item, "number", event->number);
    member_time(item, "time", event->wall_ms);
    member_text(item, "kind", event->kind);
    member_text(item, "region", event->region);
    member_text(item, "endpoint", event->endpoint);
    member_text(item, "from", event->from);
    member_text(item, "to", event->to);
    member_text(item, "reason", event->reason);
    add_event_text(item, event);
}

json_t *status_build_events(struct admin *admin, size_t max)
{
    struct event_list list = {.array = json_array()};
    size_t count = 0;

    ASSERT(list.array != NULL);
    fleet_events(admin->fleet, on_event_counted, &count);
    list.skip = count > max ? count - max : 0;
    fleet_events(admin->fleet, on_event, &list);
    return list.array;
}

void status_write_events(struct admin *admin, struct buf *out)
{
    json_t *root = json_object();

    ASSERT(root != NULL &&
           json_object_set_new(root, "events", status_build_events(admin, FLEET_EVENTS_MAX)) == 0);
    member_write(root, out);
}
