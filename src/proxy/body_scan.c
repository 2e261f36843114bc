/* SPDX-License-Identifier: MIT */
/*
 * A request's body, understood. Scan and digest need some 5 KB for a body until its key is made;
 * the worker lends them, so that as many exist as bodies of some size are being read at once.
 *
 * The prompt is digested while it comes if, by what is known so far, the cache may be asked. With
 * cache.when = "deterministic" that is when `temperature` or `seed` came before the prompt; else it
 * is digested at the end, if at all: most such requests are not for the cache.
 */
#include "body_scan_private.h"

#include "request_private.h"
#include "worker_private.h"

#include <nearside/base/digest.h>
#include <nearside/base/mem.h>
#include <nearside/cache/key.h>
#include <nearside/cache/tenant.h>
#include <nearside/conf/tree.h>
#include <nearside/http/json_scan.h>

#define STEP_BYTES 16384 /* not worth a look before as much has come */

/* Of a model's name: enough to tell that it is longer than any in a config. */
#define MODEL_KEPT_BYTES (CONF_MODEL_LEN_MAX + 1)

struct body_scan {
    struct list link; /* in worker->free_scans */
    struct json_scan scan;
    struct json_scanner scanner;
    struct cache_key_early early;
    struct digest *digest; /* owned: early's */
};

/* ---- lending ---- */

static struct body_scan *take(struct worker *worker)
{
    struct list *first = list_first(&worker->free_scans);
    struct body_scan *scan;

    if (first == NULL) {
        scan = mem_new(struct body_scan);
        scan->digest = digest_new();
        list_init(&scan->link);
        return scan;
    }
    list_remove(first);
    worker->free_scan_count--;
    return LIST_ITEM(first, struct body_scan, link);
}

static void free_scan(struct body_scan *scan)
{
    digest_free(scan->digest);
    mem_free(scan);
}

static void begin(struct request *request)
{
    struct body_scan *scan = take(request->worker);

    cache_key_early_init(&scan->early, scan->digest, false);
    json_scanner_start(&scan->scanner, &scan->scan, CACHE_KEY_LONG_BYTES, cache_key_early_run,
                       &scan->early);
    request->scan = scan;
}

void body_scan_drop(struct request *request)
{
    struct worker *worker = request->worker;
    struct body_scan *scan = request->scan;

    if (scan == NULL) {
        return;
    }
    request->scan = NULL;
    if (worker->free_scan_count == WORKER_FREE_SCANS) {
        free_scan(scan);
        return;
    }
    list_push_front(&worker->free_scans, &scan->link);
    worker->free_scan_count++;
}

void body_scan_free_all(struct worker *worker)
{
    while (!list_is_empty(&worker->free_scans)) {
        struct list *first = list_first(&worker->free_scans);
        list_remove(first);
        free_scan(LIST_ITEM(first, struct body_scan, link));
    }
}

/* ---- scanning ---- */

static struct cache_plan plan_of(const struct request *request, bool scan_ok)
{
    return cache_plan_request(&request->world->conf->cache, request->head->method, request->api,
                              &request->control, scan_ok, &request->scan->scan);
}

/* By what is known so far. Of a body shorter than a long member there is nothing to digest early.
 */
static void want_digest(struct request *request)
{
    if (request->body.received >= CACHE_KEY_LONG_BYTES) {
        const struct cache_plan plan = plan_of(request, true);

        cache_key_early_want(&request->scan->early, plan.lookup || plan.store);
    }
}

void body_scan_more(struct request *request)
{
    const struct request_body *body = &request->body;
    const size_t scanned = request->scan == NULL ? 0 : request->scan->scanner.at;
    const bool is_last = body->framing == HTTP_BODY_LENGTH && body->received == body->expected;

    if (body->streaming || is_last || body->received - scanned < STEP_BYTES) {
        return;
    }
    if (request->scan == NULL) {
        begin(request);
    }
    want_digest(request);
    /* A fault stays one: body_scan_end() meets it again. */
    (void)json_scanner_feed(&request->scan->scanner, buf_str(&body->bytes));
}

/* ---- the whole body ---- */

static void make_key(struct request *request, const struct cache_tenant *tenant)
{
    const struct conf_cache *conf = &request->world->conf->cache;
    struct digest *digest = request->worker->digest;
    struct body_scan *scan = request->scan;
    struct cache_key_parts parts = {
        .method = request->head->method_text,
        .target = request->head->target,
        .authorization = tenant->value,
        .tenant_header = tenant->header,
        .share_all = conf->share == CONF_SHARE_ALL,
        .regions = request->route.regions,
        .origin = http_head_value(request->head, HTTP_NAME_ORIGIN),
        .scan = &scan->scan,
        .early = &scan->early,
        .form = cache_form_of(request->api, &scan->scan),
    };

    request->form = parts.form;
    cache_key_make(digest, &parts, &request->key);
    cache_key_seal(digest, str_of(conf->key_secret), &request->key);
    request->key_made = true;
}

static void note_body(struct request *request)
{
    const struct json_scan *scan = &request->scan->scan;

    request->wants_stream = scan->stream == JSON_SCAN_TRUE;
    request->acts = cache_request_acts(request->api, scan);
    if (scan->model.len > 0) {
        request->model = arena_str(&request->arena, str_slice(scan->model, 0, MODEL_KEPT_BYTES));
        request->route.model = request->model;
    }
}

static void plan_cache(struct request *request)
{
    const struct conf_cache *conf = &request->world->conf->cache;
    struct cache_tenant tenant;

    request->plan = plan_of(request, request->scan_ok);
    if (!request->plan.lookup && !request->plan.store) {
        return;
    }
    if (conf->share == CONF_SHARE_ALL) {
        tenant = (struct cache_tenant){.value = STR_EMPTY};
        make_key(request, &tenant);
    } else if (cache_tenant_of(request->head, str_of(conf->tenant_header), &tenant)) {
        make_key(request, &tenant);
    } else {
        request->plan = (struct cache_plan){.bypass = "tenant"};
    }
}

void body_scan_end(struct request *request)
{
    if (request->scan == NULL) {
        begin(request);
    }
    want_digest(request);
    request->scan_ok =
        json_scanner_end(&request->scan->scanner, buf_str(&request->body.bytes)) == JSON_SCAN_OK;
    if (request->scan_ok) {
        note_body(request);
    }
    plan_cache(request);
    request->cache_word = request->plan.lookup ? "miss" : "bypass";
    body_scan_drop(request);
}
