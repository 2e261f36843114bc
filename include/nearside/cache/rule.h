/* SPDX-License-Identifier: MIT */
/* What may be looked up, answered and stored. Pure; table-tested. */
#ifndef NEARSIDE_CACHE_RULE_H
#define NEARSIDE_CACHE_RULE_H

#include <nearside/conf/tree.h>
#include <nearside/http/head.h>
#include <nearside/http/json_scan.h>

#include <stdbool.h>
#include <stdint.h>

/* Paths whose requests are understood. */
enum api {
    API_NONE,
    API_CHAT,        /* /v1/chat/completions */
    API_COMPLETIONS, /* /v1/completions */
    API_EMBEDDINGS,  /* /v1/embeddings */
    API_RESPONSES,   /* /v1/responses */
    API_MESSAGES,    /* /v1/messages (Anthropic) */
};

enum api api_of(enum http_method method, struct str path);

/* Request Cache-Control, as far as we honour it. */
struct cache_control {
    bool no_cache;
    bool no_store;
    bool only_if_cached;
    bool has_max_age;
    uint64_t max_age_s;
};
void cache_control_parse(const struct http_head *head, struct cache_control *ret_control);

/* What the cache does for a request; the words stand in Cache-Status and the access log. */
struct cache_plan {
    bool lookup;         /* an entry may answer it */
    bool store;          /* its answer may be kept */
    const char *bypass;  /* static: why not looked up: "method" "path" "body" "policy" "request" */
};

/* `scan_ok`: the body is a usable JSON object. */
struct cache_plan cache_plan_request(const struct conf_cache *conf, enum api api,
                                     const struct cache_control *control, bool scan_ok,
                                     const struct json_scan *scan);

/* May this response be kept: status 200, no Set-Cookie, Cache-Control without no-store/private,
 * no Vary beyond what the key covers, no Content-Encoding; a body that is known to end properly. */
bool cache_may_store_head(const struct http_head *response);

/* May an entry of this age answer: within its time to live and the request's max-age. */
bool cache_is_fresh(const struct cache_control *control, uint64_t stored_wall_ms, uint64_t ttl_ms,
                    uint64_t now_wall_ms);

#endif
