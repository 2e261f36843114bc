/* SPDX-License-Identifier: MIT */
/* What may be looked up, answered and stored. Pure; table-tested. The reasons are in docs/cache.md.
 */
#ifndef NEARSIDE_CACHE_RULE_H
#define NEARSIDE_CACHE_RULE_H

#include <nearside/cache/api.h>
#include <nearside/conf/tree.h>
#include <nearside/http/head.h>
#include <nearside/http/json_scan.h>

#include <stdbool.h>
#include <stdint.h>

/* An entry stored further than this in the future comes from a broken clock: it is not fresh. */
#define CACHE_CLOCK_SKEW_MAX_MS 300000

/* Request Cache-Control, as far as we honour it. What is malformed is ignored; of several max-age
 * the smallest counts. */
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
    bool lookup;        /* an entry may answer it */
    bool store;         /* its answer may be kept */
    const char *bypass; /* static: why not looked up: "method" "path" "body" "policy" "request"
                           "tenant"; NULL when it is */
};

/* Does the request ask for something to be done, not only said? Then it is neither answered from
 * the cache nor repeated once an endpoint may have done it. `scan` is of a usable JSON object. */
bool cache_request_acts(enum api api, const struct json_scan *scan);

/* `api` is api_of(method, path). `scan_ok`: the body is a usable JSON object, and `scan` is of it;
 * else `scan` is not looked at. */
struct cache_plan cache_plan_request(const struct conf_cache *conf, enum http_method method,
                                     enum api api, const struct cache_control *control,
                                     bool scan_ok, const struct json_scan *scan);

/* May this response be kept: status 200, JSON or an event stream, no Set-Cookie, Cache-Control
 * without no-store/private (and, but for event streams, no-cache), no Vary beyond what the key
 * covers, no Content-Encoding; a body that is known to end properly. */
bool cache_may_store_head(const struct http_head *response);

/* For how long: `ttl_ms`, or less where the upstream's s-maxage or max-age says so. 0: not at all.
 */
uint64_t cache_response_ttl_ms(const struct http_head *response, uint64_t ttl_ms);

/* Does the upstream forbid to serve it past its time: must-revalidate, proxy-revalidate, s-maxage
 * (RFC 9111, 4.2.4)? */
bool cache_response_is_strict(const struct http_head *response);

/* Answers stored together must not expire together: `ttl_ms`, give or take a tenth, always the same
 * for the same key stored at the same time, so that both tiers and all edges agree. */
uint64_t cache_jitter_ttl_ms(uint64_t ttl_ms, const uint8_t key[8], uint64_t stored_wall_ms);

/* Is its Content-Type text/event-stream? */
bool cache_response_is_stream(const struct http_head *response);

/* May an entry of this age answer: within its time to live and the request's max-age. */
bool cache_is_fresh(const struct cache_control *control, uint64_t stored_wall_ms, uint64_t ttl_ms,
                    uint64_t now_wall_ms);

#endif
