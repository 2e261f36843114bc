/* SPDX-License-Identifier: MIT */
/* What operators may do over HTTP. Each act is logged with the address it came from. */
#include "admin_private.h"

#include <nearside/fleet/fleet.h>
#include <nearside/obs/log.h>

#include <string.h>

static void reply_done(struct admin_reply *reply, const char *key, struct str value)
{
    reply->content_type = "application/json";
    buf_append_str(&reply->body, STR_LIT("{\"ok\":true"));
    if (key != NULL) {
        buf_printf(&reply->body, ",\"%s\":\"", key);
        buf_append_json(&reply->body, value);
        buf_append_char(&reply->body, '"');
    }
    buf_append_str(&reply->body, STR_LIT("}\n"));
}

void admin_post_region(struct admin *admin, const struct admin_request *request, bool drained,
                       struct admin_reply *reply)
{
    char name[ADMIN_NAME_MAX + 1];

    if (!fleet_drain_region(admin->fleet, request->name, drained)) {
        admin_reply_error(reply, 404, "no_such_region", "There is no region of this name.");
        return;
    }
    log_info(drained ? "operator_drain" : "operator_undrain", "region=\"%s\" by=%s",
             log_quote(request->name, name, sizeof(name)), request->peer);
    reply_done(reply, "region", request->name);
}

void admin_post_endpoint(struct admin *admin, const struct admin_request *request, bool drained,
                         struct admin_reply *reply)
{
    char name[ADMIN_NAME_MAX + 1];

    if (!fleet_drain_endpoint(admin->fleet, request->name, drained)) {
        admin_reply_error(reply, 404, "no_such_endpoint",
                          "There is no endpoint HOST:PORT or ADDRESS:PORT of this name.");
        return;
    }
    log_info(drained ? "operator_drain" : "operator_undrain", "endpoint=\"%s\" by=%s",
             log_quote(request->name, name, sizeof(name)), request->peer);
    reply_done(reply, "endpoint", request->name);
}

void admin_post_reload(struct admin *admin, const struct admin_request *request,
                       struct admin_reply *reply)
{
    const struct admin_source *source = &admin->source;

    log_info("operator_reload", "by=%s", request->peer);
    if (!source->reload(source->arg)) {
        admin_reply_error(reply, 409, "reload_failed", source->last_reload(source->arg)->error);
        return;
    }
    reply_done(reply, NULL, STR_EMPTY);
}

/* Is `item` one of the query's "&"-separated parts? */
static bool query_has(struct str query, struct str item)
{
    struct str part;

    while (str_next_item(&query, '&', &part)) {
        if (str_eq(part, item)) {
            return true;
        }
    }
    return false;
}

void admin_post_purge(struct admin *admin, const struct admin_request *request,
                      struct admin_reply *reply)
{
    bool redis = query_has(request->query, STR_LIT("redis=1"));

    log_info("operator_purge", "redis=%s by=%s", redis ? "true" : "false", request->peer);
    admin->source.purge(admin->source.arg, redis);
    reply_done(reply, "purged", redis ? STR_LIT("memory and redis") : STR_LIT("memory"));
}
