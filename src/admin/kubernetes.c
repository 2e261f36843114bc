/* SPDX-License-Identifier: MIT */
/*
 * Kubernetes' external metrics API, so that a HorizontalPodAutoscaler reads Nearside through the
 * API server with no adapter between: discovery, and one value per region that the selector fits.
 *
 * The API server knows who asks and may ask; that the question comes from it and not from beside it
 * is seen from its certificate (admin.tls.api_client_ca, checked in router.c). Values are those of
 * the whole fleet as this edge knows it: the API server asks any one edge behind the Service.
 */
#include "admin_private.h"

#include "member_private.h"
#include "selector_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/fleet/fleet.h>

#include <math.h>
#include <stdio.h>

#define GROUP         "external.metrics.k8s.io"
#define GROUP_VERSION GROUP "/v1beta1"

static const char type_json[] = "application/json";

static bool pending_value(struct admin *admin, const struct view_region *region, double *ret_value)
{
    *ret_value = admin_pending(admin, region);
    return true;
}

static const struct {
    const char *name;
    bool (*value)(struct admin *admin, const struct view_region *region, double *ret_value);
} metrics[] = {
    {"llm_pending_requests", pending_value},
    {"dcgm_gpu_utilization", admin_gpu_percent},
};

static json_t *object_of(const char *kind, const char *version)
{
    json_t *object = json_object();

    ASSERT(object != NULL);
    member_text(object, "kind", kind);
    member_text(object, "apiVersion", version);
    return object;
}

static void reply_object(struct admin_reply *reply, json_t *object)
{
    reply->content_type = type_json;
    member_write(object, &reply->body);
}

void admin_reply_status(struct admin_reply *reply, int status, const char *reason,
                        const char *message)
{
    json_t *object = object_of("Status", "v1");

    (void)member_object(object, "metadata");
    member_text(object, "status", "Failure");
    member_text(object, "message", message);
    member_text(object, "reason", reason);
    member_count(object, "code", (uint64_t)status);
    reply->status = status;
    buf_clear(&reply->body);
    reply_object(reply, object);
}

/* ---- discovery ---- */

/* Would the asker take plain JSON? The API server first asks for a newer form of discovery alone,
 * and must hear that it is not spoken here. */
static bool takes_json(const char *accept)
{
    struct str rest = str_of(accept);
    struct str item;

    if (rest.len == 0) {
        return true;
    }
    while (str_next_item(&rest, ',', &item)) {
        struct str media = str_trim(str_slice(item, 0, str_find_char(item, ';')));
        bool other_form = str_find(item, STR_LIT(";as=")) < item.len;

        if (!other_form &&
            (str_eq_nocase(media, STR_LIT("application/json")) || str_eq(media, STR_LIT("*/*")) ||
             str_eq_nocase(media, STR_LIT("application/*")))) {
            return true;
        }
    }
    return false;
}

static bool refuse_other_forms(const struct admin_request *request, struct admin_reply *reply)
{
    if (takes_json(request->accept)) {
        return false;
    }
    admin_reply_status(reply, 406, "NotAcceptable", "Only application/json is spoken here.");
    return true;
}

static void add_group(json_t *group)
{
    json_t *version = item_object(member_array(group, "versions"));

    member_text(group, "name", GROUP);
    member_text(version, "groupVersion", GROUP_VERSION);
    member_text(version, "version", "v1beta1");
    version = member_object(group, "preferredVersion");
    member_text(version, "groupVersion", GROUP_VERSION);
    member_text(version, "version", "v1beta1");
}

void admin_get_apis(struct admin *admin, const struct admin_request *request,
                    struct admin_reply *reply)
{
    json_t *list;

    (void)admin;
    if (refuse_other_forms(request, reply)) {
        return;
    }
    list = object_of("APIGroupList", "v1");
    add_group(item_object(member_array(list, "groups")));
    reply_object(reply, list);
}

void admin_get_api_group(struct admin *admin, const struct admin_request *request,
                         struct admin_reply *reply)
{
    json_t *group = object_of("APIGroup", "v1");

    (void)admin;
    (void)request;
    add_group(group);
    reply_object(reply, group);
}

void admin_get_api_resources(struct admin *admin, const struct admin_request *request,
                             struct admin_reply *reply)
{
    json_t *list = object_of("APIResourceList", "v1");
    json_t *resources = member_array(list, "resources");

    (void)admin;
    (void)request;
    member_text(list, "groupVersion", GROUP_VERSION);
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++) {
        json_t *resource = item_object(resources);

        member_text(resource, "name", metrics[i].name);
        member_text(resource, "singularName", "");
        member_bool(resource, "namespaced", true);
        member_text(resource, "kind", "ExternalMetricValueList");
        ASSERT(json_array_append_new(member_array(resource, "verbs"), json_string("get")) == 0);
    }
    reply_object(reply, list);
}

/* ---- values ---- */

/* A Quantity: a whole number, or thousandths of one. */
static void member_quantity(json_t *object, const char *key, double value)
{
    char text[40];
    double thousandths = round(value * 1000.0);
    bool is_whole = fmod(thousandths, 1000.0) == 0.0;

    (void)snprintf(text, sizeof(text), is_whole ? "%.0f" : "%.0fm",
                   is_whole ? thousandths / 1000.0 : thousandths);
    member_text(object, key, text);
}

static void add_value(json_t *items, const char *metric, const struct view_region *region,
                      double value)
{
    json_t *item = item_object(items);

    member_text(item, "metricName", metric);
    member_text(member_object(item, "metricLabels"), "region", region->name);
    member_time(item, "timestamp", clock_wall_ms());
    member_quantity(item, "value", value);
}

/* False: the selector is none. */
static bool add_values(struct admin *admin, size_t metric, struct str selector, json_t *items)
{
    const struct fleet_view *view = fleet_view_now(admin->fleet);

    for (uint32_t i = 0; i < view->region_count; i++) {
        const struct view_region *region = &view->regions[i];
        enum selector_answer answer =
            selector_match(selector, STR_LIT("region"), str_of(region->name));
        double value;

        if (answer == SELECTOR_BAD) {
            return false;
        }
        if (answer == SELECTOR_MATCHES && metrics[metric].value(admin, region, &value)) {
            add_value(items, metrics[metric].name, region, value);
        }
    }
    return true;
}

static bool find_metric(struct str name, size_t *ret_index)
{
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++) {
        if (str_eq(str_of(metrics[i].name), name)) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

void admin_get_external_metric(struct admin *admin, const struct admin_request *request,
                               struct admin_reply *reply)
{
    struct str encoded = STR_EMPTY;
    char selector[ADMIN_NAME_MAX];
    size_t len = 0;
    size_t metric = 0;
    json_t *list;

    if (!find_metric(request->name, &metric)) {
        admin_reply_status(reply, 404, "NotFound", "There is no external metric of this name.");
        return;
    }
    (void)admin_query_value(request->query, STR_LIT("labelSelector="), &encoded);
    if (!admin_decode_form(encoded, selector, &len)) {
        admin_reply_status(reply, 400, "BadRequest", "labelSelector is not percent-encoded.");
        return;
    }
    list = object_of("ExternalMetricValueList", GROUP_VERSION);
    (void)member_object(list, "metadata");
    if (!add_values(admin, metric, str_make(selector, len), member_array(list, "items"))) {
        json_decref(list);
        admin_reply_status(reply, 400, "BadRequest", "labelSelector is no label selector.");
        return;
    }
    reply_object(reply, list);
}
