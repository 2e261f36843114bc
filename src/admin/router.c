/* SPDX-License-Identifier: MIT */
/*
 * Which path is answered by what. A `*` in a route stands for one part of the path, between
 * slashes, and is percent-decoded after the split, so that "%2F" stays inside its part.
 */
#include "admin_private.h"

#include "access_private.h"
#include "status_private.h"

#include <nearside/base/assert.h>
#include <nearside/conf/describe.h>
#include <nearside/fleet/fleet.h>
#include <nearside/fleet/peers.h>

#include <stdio.h>

static const char type_json[] = "application/json";
static const char type_text[] = "text/plain; charset=utf-8";

typedef void (*route_fn)(struct admin *admin, const struct admin_request *request,
                         struct admin_reply *reply);

struct route {
    unsigned methods;
    struct str pattern;
    route_fn answer;
    bool is_open; /* says nothing that a stranger may not know, and is asked by many names */
};

void admin_reply_error(struct admin_reply *reply, int status, const char *code, const char *message)
{
    reply->status = status;
    reply->content_type = type_json;
    buf_clear(&reply->body);
    buf_append_str(&reply->body, STR_LIT("{\"error\":{\"message\":\""));
    buf_append_json(&reply->body, str_of(message));
    buf_printf(&reply->body, "\",\"code\":\"%s\"}}\n", code);
}

/* ---- reading ---- */

static void get_page(struct admin *admin, const struct admin_request *request,
                     struct admin_reply *reply)
{
    (void)request;
    reply->content_type = "text/html; charset=utf-8";
    reply->policy = admin->page_policy;
    admin_page(admin, &reply->body);
}

static void get_status(struct admin *admin, const struct admin_request *request,
                       struct admin_reply *reply)
{
    (void)request;
    reply->content_type = type_json;
    status_write_json(admin, &reply->body);
}

static void get_events(struct admin *admin, const struct admin_request *request,
                       struct admin_reply *reply)
{
    (void)request;
    reply->content_type = type_json;
    status_write_events(admin, &reply->body);
}

static void get_history(struct admin *admin, const struct admin_request *request,
                        struct admin_reply *reply)
{
    (void)request;
    reply->content_type = type_json;
    status_write_history(admin, &reply->body);
}

static void get_metrics(struct admin *admin, const struct admin_request *request,
                        struct admin_reply *reply)
{
    (void)request;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    admin_metrics(admin, &reply->body);
}

static void get_config(struct admin *admin, const struct admin_request *request,
                       struct admin_reply *reply)
{
    (void)request;
    reply->content_type = type_text;
    conf_describe(admin->source.conf(admin->source.arg), &reply->body);
}

static void get_healthz(struct admin *admin, const struct admin_request *request,
                        struct admin_reply *reply)
{
    (void)admin;
    (void)request;
    reply->content_type = type_text;
    buf_append_str(&reply->body, STR_LIT("ok\n"));
}

/* Why no traffic should come here, or NULL. */
static const char *unready_reason(struct admin *admin)
{
    const struct fleet_view *view = fleet_view_now(admin->fleet);

    if (admin->source.peers(admin->source.arg)->suspect) {
        return "suspect: every region is down here, but not for other edges";
    }
    if (admin->source.is_draining(admin->source.arg)) {
        return "draining: the process is about to end";
    }
    for (uint32_t i = 0; i < view->region_count; i++) {
        if (view->regions[i].usable) {
            return NULL;
        }
    }
    return "no region is usable";
}

static void get_readyz(struct admin *admin, const struct admin_request *request,
                       struct admin_reply *reply)
{
    const char *reason = unready_reason(admin);

    (void)request;
    reply->status = reason == NULL ? 200 : 503;
    reply->content_type = type_text;
    buf_printf(&reply->body, "%s\n", reason == NULL ? "ok" : reason);
}

/* ---- explaining ---- */

bool admin_query_value(struct str query, struct str key, struct str *ret_value)
{
    struct str part;

    while (str_next_item(&query, '&', &part)) {
        if (str_starts(part, key)) {
            *ret_value = str_slice(part, key.len, part.len);
            return true;
        }
    }
    return false;
}

static void get_explain(struct admin *admin, const struct admin_request *request,
                        struct admin_reply *reply)
{
    const struct admin_source *source = &admin->source;
    char id[ADMIN_NAME_MAX];
    struct str encoded;
    size_t len = 0;

    if (!admin_query_value(request->query, STR_LIT("id="), &encoded) ||
        !admin_decode(encoded, id, &len) || len == 0) {
        admin_reply_error(reply, 400, "id_missing",
                          "Say which request: /explain?id=ID, the X-Request-Id of its answer.");
        return;
    }
    reply->content_type = type_json;
    if (!source->explain(source->arg, str_make(id, len), &reply->body)) {
        admin_reply_error(reply, 404, "unknown_request",
                          "No request of this id is among the last ones that ended here.");
    }
}

/* ---- changing ---- */

static void post_region_drain(struct admin *admin, const struct admin_request *request,
                              struct admin_reply *reply)
{
    admin_post_region(admin, request, true, reply);
}

static void post_region_undrain(struct admin *admin, const struct admin_request *request,
                                struct admin_reply *reply)
{
    admin_post_region(admin, request, false, reply);
}

static void post_endpoint_drain(struct admin *admin, const struct admin_request *request,
                                struct admin_reply *reply)
{
    admin_post_endpoint(admin, request, true, reply);
}

static void post_endpoint_undrain(struct admin *admin, const struct admin_request *request,
                                  struct admin_reply *reply)
{
    admin_post_endpoint(admin, request, false, reply);
}

#define READ      (ADMIN_GET | ADMIN_HEAD)
#define API_GROUP "/apis/external.metrics.k8s.io"
#define ROUTE(methods, pattern, answer)                                                            \
    {                                                                                              \
        methods, {pattern, sizeof(pattern) - 1}, answer, false                                     \
    }
#define OPEN_ROUTE(methods, pattern, answer)                                                       \
    {                                                                                              \
        methods, {pattern, sizeof(pattern) - 1}, answer, true                                      \
    }

static const struct route routes[] = {
    ROUTE(READ, "/", get_page),
    ROUTE(READ, "/status.json", get_status),
    ROUTE(READ, "/events.json", get_events),
    ROUTE(READ, "/history.json", get_history),
    ROUTE(READ, "/explain", get_explain),
    ROUTE(READ, "/metrics", get_metrics),
    ROUTE(READ, "/config", get_config),
    OPEN_ROUTE(READ, "/healthz", get_healthz),
    OPEN_ROUTE(READ, "/readyz", get_readyz),
    ROUTE(READ, "/apis", admin_get_apis),
    ROUTE(READ, API_GROUP, admin_get_api_group),
    ROUTE(READ, API_GROUP "/v1beta1", admin_get_api_resources),
    ROUTE(READ, API_GROUP "/v1beta1/namespaces/*/*", admin_get_external_metric),
    ROUTE(ADMIN_POST, "/regions/*/drain", post_region_drain),
    ROUTE(ADMIN_POST, "/regions/*/undrain", post_region_undrain),
    ROUTE(ADMIN_POST, "/endpoints/*/drain", post_endpoint_drain),
    ROUTE(ADMIN_POST, "/endpoints/*/undrain", post_endpoint_undrain),
    ROUTE(ADMIN_POST, "/reload", admin_post_reload),
    ROUTE(ADMIN_POST, "/cache/purge", admin_post_purge),
};

/* ---- finding the route ---- */

/* Does the path fit, part by part? *ret_name: what stands at the last `*`, still encoded. */
static bool route_matches(struct str pattern, struct str path, struct str *ret_name)
{
    for (;;) {
        size_t pattern_end = str_find_char(pattern, '/');
        size_t path_end = str_find_char(path, '/');
        struct str wanted = str_slice(pattern, 0, pattern_end);
        struct str part = str_slice(path, 0, path_end);

        if (str_eq(wanted, STR_LIT("*")) && part.len > 0) {
            *ret_name = part;
        } else if (!str_eq(wanted, part)) {
            return false;
        }
        if (pattern_end == pattern.len || path_end == path.len) {
            return pattern_end == pattern.len && path_end == path.len;
        }
        pattern = str_slice(pattern, pattern_end + 1, pattern.len);
        path = str_slice(path, path_end + 1, path.len);
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = str_lower_char(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode(struct str text, char plus, char out[ADMIN_NAME_MAX], size_t *ret_len)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (len == ADMIN_NAME_MAX) {
            return false;
        }
        if (c == '%') {
            int high = i + 2 < text.len ? hex_value(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_value(text.ptr[i + 2]) : -1;

            if (high < 0 || low < 0) {
                return false;
            }
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+') {
            c = plus;
        }
        if ((unsigned char)c < ' ' || c == 0x7f) {
            return false;
        }
        out[len++] = c;
    }
    *ret_len = len;
    return true;
}

bool admin_decode(struct str text, char out[ADMIN_NAME_MAX], size_t *ret_len)
{
    return decode(text, '+', out, ret_len);
}

bool admin_decode_form(struct str text, char out[ADMIN_NAME_MAX], size_t *ret_len)
{
    return decode(text, ' ', out, ret_len);
}

static const struct {
    int status;
    const char *code;
    const char *message;
} refusals[] = {
    [ACCESS_TOKEN_MISSING] = {401, "token_missing",
                              "This needs the admin token: Authorization: Bearer TOKEN."},
    [ACCESS_TOKEN_WRONG] = {401, "token_wrong", "This is not the admin token."},
    [ACCESS_NOT_LOOPBACK] = {403, "no_token_set",
                             "Without admin.token, changes are refused where admin.bind is not a "
                             "loopback address. Set a token."},
    [ACCESS_OTHER_ORIGIN] = {403, "other_origin", "A page from another origin may not do this."},
    [ACCESS_NAMED_HOST] = {403, "named_host",
                           "Without admin.token, the Host must be an address or localhost."},
};

static bool is_allowed(const struct admin *admin, const struct admin_request *request,
                       struct admin_reply *reply)
{
    struct access_facts facts = {
        .token = admin->token,
        .loopback = request->loopback,
        .authorization = request->authorization,
        .admin_token = request->admin_token,
        .origin = request->origin,
        .host = request->host,
    };
    enum access_verdict verdict =
        request->method == ADMIN_POST ? access_check(&facts) : access_check_read(&facts);

    if (verdict == ACCESS_GRANTED) {
        return true;
    }
    admin_reply_error(reply, refusals[verdict].status, refusals[verdict].code,
                      refusals[verdict].message);
    return false;
}

static void call_route(struct admin *admin, const struct route *route, struct str encoded,
                       struct admin_request *request, struct admin_reply *reply)
{
    char name[ADMIN_NAME_MAX];
    size_t len = 0;

    if (!route->is_open && !is_allowed(admin, request, reply)) {
        return;
    }
    if (!admin_decode(encoded, name, &len)) {
        admin_reply_error(reply, 400, "bad_path", "The path is not percent-encoded as it should.");
        return;
    }
    request->name = str_make(name, len);
    reply->status = 200;
    route->answer(admin, request, reply);
}

/* Is it Kubernetes that asks, whose clients want errors in its own form? */
static bool is_api(struct str path)
{
    return str_eq(path, STR_LIT("/apis")) || str_starts(path, STR_LIT("/apis/"));
}

static void reply_unknown(const struct admin_request *request, unsigned allowed,
                          struct admin_reply *reply)
{
    bool api = is_api(request->path);

    if (allowed == 0 && api) {
        admin_reply_status(reply, 404, "NotFound", "There is nothing at this path.");
    } else if (allowed == 0) {
        admin_reply_error(reply, 404, "not_found", "There is nothing at this path.");
    } else if (api) {
        admin_reply_status(reply, 405, "MethodNotAllowed", "This path takes another method.");
    } else {
        admin_reply_error(reply, 405, "method_not_allowed", "This path takes another method.");
    }
    if (allowed != 0) {
        (void)snprintf(reply->allow, sizeof(reply->allow), "%s",
                       allowed == ADMIN_POST ? "POST" : "GET, HEAD");
    }
}

void admin_route(struct admin *admin, struct admin_request *request, struct admin_reply *reply)
{
    unsigned allowed = 0;

    if (request->path.len == 0) {
        request->path = STR_LIT("/");
    }
    if (admin->api_needs_peer && !request->has_peer && is_api(request->path)) {
        admin_reply_status(reply, 401, "Unauthorized",
                           "This needs a client certificate by admin.tls.api_client_ca.");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        struct str encoded = STR_EMPTY;

        if (!route_matches(routes[i].pattern, request->path, &encoded)) {
            continue;
        }
        allowed |= routes[i].methods;
        if ((routes[i].methods & (unsigned)request->method) != 0) {
            call_route(admin, &routes[i], encoded, request, reply);
            return;
        }
    }
    reply_unknown(request, allowed, reply);
}
