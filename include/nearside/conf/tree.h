/* SPDX-License-Identifier: MIT */
/*
 * The configuration as an immutable, reference-counted tree of plain values.
 *
 * Built by conf/parse.h; nothing changes it afterwards, so any thread that holds a reference may
 * read it without a lock. A request keeps the tree it began with. Strings are NUL-terminated,
 * never NULL (empty: not set) and owned by the tree.
 *
 * Units are in the names. Per-region `health`, `warmup`, `metrics`, `timeouts` and `limits` are
 * complete: what the region does not override is copied from the top level when the tree is built.
 */
#ifndef NEARSIDE_CONF_TREE_H
#define NEARSIDE_CONF_TREE_H

#include <nearside/base/addr.h>
#include <nearside/base/str.h>

#include <stdbool.h>
#include <stdint.h>

enum conf_balance { CONF_BALANCE_LEAST_PENDING, CONF_BALANCE_ROUND_ROBIN };
enum conf_cache_when { CONF_CACHE_ALWAYS, CONF_CACHE_DETERMINISTIC, CONF_CACHE_NEVER };
enum conf_cache_share { CONF_SHARE_KEY, CONF_SHARE_ALL };
enum conf_replicate { CONF_REPLICATE_REGION, CONF_REPLICATE_ALL };
enum conf_tls_version { CONF_TLS_1_2, CONF_TLS_1_3 };

struct conf_block {
    const char *text; /* as written */
    struct addr_block block;
};

struct conf_blocks {
    const struct conf_block *items; /* owned by the tree, as strings are */
    uint32_t count;
};

struct conf_edge {
    const char *id;   /* default: the host's name */
    uint32_t workers; /* 0 in the file: one per CPU; here the real number */
    uint32_t drain_timeout_s;
    const char *user;  /* empty: none to become */
    const char *group; /* empty: the user's */
    bool core_dumps;
    uint32_t upgrade_timeout_s;
    struct conf_blocks trusted_proxies;
};

/* One certificate of a listener. A listener's `tls` group may be a list of them: the server name
 * the client asks for picks one by the certificates' own names, else the first. */
struct conf_certificate {
    const char *certificate; /* path, PEM chain */
    const char *key;         /* path, PEM */
};

struct conf_listener_tls {
    struct conf_certificate *certificates; /* owned array */
    uint32_t certificate_count;
    const char *client_ca; /* path; empty: no client certificate asked for */
    enum conf_tls_version min_version;
};

struct conf_listener {
    const char *bind; /* as written */
    struct addr addr;
    bool has_tls;
    struct conf_listener_tls tls;
};

/* How the admin listener speaks TLS. */
struct conf_admin_tls {
    const char *certificate;   /* path, PEM chain; empty: plain text */
    const char *key;           /* path, PEM */
    const char *api_client_ca; /* path; empty: requests under /apis/ need no certificate */
    enum conf_tls_version min_version;
};

struct conf_admin {
    const char *bind; /* empty: no admin listener */
    struct addr addr;
    const char *token; /* secret; empty: POSTs only from a loopback bind */
    uint32_t max_connections;
    struct conf_admin_tls tls;
};

struct conf_log {
    const char *level;  /* error warn info debug */
    const char *format; /* json text */
    const char *file;
    const char *access_file;
    double access_sample; /* share of good requests that get a line */
};

/* Spans for a collector. */
struct conf_tracing {
    const char *otlp_url; /* as written; empty: none are made */
    const char *host;
    const char *authority; /* for Host */
    const char *path;
    uint16_t port;
    bool is_address;
    struct addr addr;
    const char *authorization; /* secret; empty: none */
    const char *service;
    double sample;
    uint32_t queue_spans;
    uint32_t timeout_ms;
};

struct conf_routing {
    double latency_budget_ms;
    uint32_t failover_deadline_s;
    double hysteresis_ms;
    double hysteresis_ratio;
    uint32_t dwell_s;
    enum conf_balance balance;
};

/* A tiny real request now and then: an engine may hang behind a /health that says 200. */
struct conf_generate {
    const char *model;
    const char *path;
    uint32_t interval_s; /* 0: none */
    uint32_t timeout_ms;
};

struct conf_health {
    const char *path;
    uint32_t interval_ms;
    uint32_t fast_interval_ms;
    uint32_t timeout_ms;
    uint32_t fall;
    uint32_t rise;
    const char *expect; /* as written */
    uint16_t expect_min;
    uint16_t expect_max;
    const char *match; /* must stand in the body; empty: any body will do */
    struct conf_generate generate;
};

/* Prompts that an endpoint must have answered before it counts as up. */
struct conf_warmup {
    uint32_t requests; /* 0: none */
    const char *path;
    const char *body; /* empty: a request for one token */
    uint32_t timeout_ms;
};

/* Reading load from the pages that engines and GPU exporters write for Prometheus. */
struct conf_metrics {
    const char *path;          /* of every endpoint; empty: not asked */
    const char *exporter_path; /* of every exporter */
    uint32_t interval_ms;
    uint32_t timeout_ms;
};

/* 0 means none for total_ms and min_tokens_per_s only. */
struct conf_timeouts {
    uint32_t connect_ms;             /* TCP and TLS to an endpoint */
    uint32_t request_ms;             /* reading a request's body from the client, between two reads;
                                        writing it to the endpoint, between two writes */
    uint32_t first_token_ms;         /* request sent to first body byte ... */
    uint32_t first_token_ms_per_kib; /* ... and this much more per KiB of the request's body */
    uint32_t idle_ms;          /* between two reads from the endpoint, two writes to the client */
    uint32_t total_ms;         /* the whole request, all attempts */
    double min_tokens_per_s;   /* content events of a stream, over REQUEST_PACE_S */
    uint32_t client_header_ms; /* a request's head, first byte to last */
    uint32_t client_idle_ms;   /* between requests on a kept connection */
    uint32_t handshake_ms;     /* a client's TLS handshake */
};

struct conf_retry {
    uint32_t attempts; /* in all, the first included */
    double budget_ratio;
    double budget_min_per_s;
};

#define CONF_HEADER_COUNT_MAX 100 /* HTTP_FIELDS_MAX, which conf/ cannot see; proxy/ asserts it */

struct conf_limits {
    uint32_t max_connections;
    uint32_t max_connections_per_client; /* 0: no limit */
    uint32_t max_inflight_per_client;    /* 0: no limit */
    uint32_t max_handshakes;
    uint32_t requests_per_connection; /* 0: no limit */
    uint32_t pipelined_requests;
    uint32_t header_bytes;
    uint32_t header_count;
    uint32_t uri_bytes;
    uint64_t body_bytes;
    uint64_t buffer_bytes;
    uint64_t buffer_total_bytes;
    uint32_t body_min_bytes_per_s;   /* 0: no limit */
    uint32_t answer_min_bytes_per_s; /* 0: no limit */
    uint32_t reserve_descriptors;
    uint32_t dns_addresses;
    uint32_t max_inflight_per_endpoint; /* 0: no limit */
    uint32_t queue_length;
    uint32_t queue_timeout_ms;
};

#define CONF_TENANT_HEADER_MAX 63 /* bytes of its name */

struct conf_cache {
    bool enabled;
    enum conf_cache_when when;
    uint32_t ttl_s;
    uint64_t max_entry_bytes;
    uint64_t memory_bytes;
    enum conf_cache_share share;
    const char *tenant_header; /* names the tenant; the credentials do where it is absent */
    const char *key_secret;    /* secret; empty: keys are plain digests */
    bool coalesce;
    uint32_t grace_s; /* past its time an answer may still serve, when no region can; 0: never */
    uint32_t redis_timeout_ms;
    uint64_t redis_compress_bytes; /* entries from this size on; 0: none */
    enum conf_replicate replicate;
};

struct conf_endpoint {
    const char *url;       /* as written: scheme://host[:port] */
    const char *host;      /* name or address, without brackets */
    const char *authority; /* for Host: brackets where it needs them, a port if not the usual one */
    uint16_t port;
    bool tls;
    bool is_address; /* host is an IP address: `addr` holds it, nothing to resolve */
    struct addr addr;
};

struct conf_redis {
    const char *url; /* as written, without secrets; empty: no Redis */
    const char *host;
    uint16_t port;
    uint32_t database;
    bool tls;
    bool is_address;
    struct addr addr;
    const char *user;     /* secret like the password */
    const char *password; /* secret */
};

/* How to speak TLS to a region's https:// endpoints and rediss:// Redis. */
struct conf_region_tls {
    const char *ca; /* path; empty: the system's */
    bool verify;
    const char *server_name; /* empty: the endpoint's host */
    const char *certificate; /* path; empty: none is offered */
    const char *key;
};

#define CONF_MODEL_LEN_MAX 256 /* bytes of a model's name */

struct conf_region {
    const char *name;
    struct conf_endpoint *endpoints; /* owned array, at least one */
    uint32_t endpoint_count;
    struct conf_endpoint *exporters; /* owned array; of GPU figures */
    uint32_t exporter_count;
    struct conf_redis redis;
    const char **models; /* owned array; none: all */
    uint32_t model_count;
    struct conf_region_tls tls;
    struct conf_health health;
    struct conf_warmup warmup;
    struct conf_metrics metrics;
    struct conf_timeouts timeouts;
    struct conf_limits limits;
};

struct conf {
    unsigned refs;       /* atomic; use conf_ref() and conf_unref() */
    uint64_t generation; /* set by app on commit; 1 is the first */
    const char *path;    /* empty: from the command line */

    struct conf_edge edge;
    struct conf_listener *listeners; /* owned array */
    uint32_t listener_count;
    struct conf_admin admin;
    struct conf_log log;
    struct conf_tracing tracing;
    struct conf_routing routing;
    struct conf_health health;
    struct conf_warmup warmup;
    struct conf_metrics metrics;
    struct conf_timeouts timeouts;
    struct conf_retry retry;
    struct conf_limits limits;
    struct conf_cache cache;
    struct conf_region *regions; /* owned array, at least one, at most METRIC_REGIONS_MAX */
    uint32_t region_count;

    struct conf_strings *strings; /* owned: storage of every string above */
};

/* Does the address lie in one of the blocks? */
bool conf_blocks_have(const struct conf_blocks *blocks, const struct addr *addr);

struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf *conf); /* frees with the last reference; NULL is fine */

/* Does anything of the region speak TLS: an endpoint, an exporter, its Redis? */
bool conf_region_speaks_tls(const struct conf_region *region);

/* NULL when there is none of that name. */
const struct conf_region *conf_find_region(const struct conf *conf, struct str name);

/* Worst-case times to notice a lost endpoint, from a region's health settings, ms, with 10 % for
 * jitter: one that refuses connections, and one that vanished (packets dropped). */
uint64_t conf_detect_refused_ms(const struct conf_health *health);
uint64_t conf_detect_vanished_ms(const struct conf_health *health);
/* The same of an engine that hangs while its port and /health are fine, by probes alone (traffic
 * finds it sooner); 0: never, generate.interval_s is 0. */
uint64_t conf_detect_hung_ms(const struct conf_health *health);

#endif
