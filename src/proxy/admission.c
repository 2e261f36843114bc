/* SPDX-License-Identifier: MIT */
/* The limits on connections, and the answers to those that are refused. */
#include "admission_private.h"

#include "address_count_private.h"
#include "worker_private.h"

#include <nearside/base/addr.h>
#include <nearside/base/assert.h>
#include <nearside/conf/tree.h>

#include <stdio.h>
#include <unistd.h>

struct refusal {
    enum limit limit;
    const char *status; /* with its phrase */
    const char *type;
    const char *code;
    const char *message;
};

static const struct refusal refusals[ADMISSION_COUNT] = {
    [ADMISSION_NO_DESCRIPTORS] = {LIMIT_FILE_DESCRIPTORS, "503 Service Unavailable", "server_error",
                                  "too_few_descriptors",
                                  "This edge is short of file descriptors "
                                  "(limits.reserve_descriptors). Try again shortly."},
    [ADMISSION_FULL] = {LIMIT_MAX_CONNECTIONS, "503 Service Unavailable", "server_error",
                        "too_many_connections",
                        "Too many connections (limits.max_connections). Try again shortly."},
    [ADMISSION_CLIENT_FULL] = {LIMIT_CLIENT_CONNECTIONS, "429 Too Many Requests",
                               "rate_limit_error", "too_many_connections_per_client",
                               "Too many connections from this address "
                               "(limits.max_connections_per_client). Use fewer, or try again "
                               "shortly."},
    [ADMISSION_HANDSHAKES] = {LIMIT_HANDSHAKES, "503 Service Unavailable", "server_error",
                              "too_many_handshakes",
                              "Too many TLS handshakes (limits.max_handshakes)."},
};

static unsigned descriptors_but(const struct worker *worker, uint32_t reserve)
{
    unsigned all = worker->deps.shared->descriptors;

    if (all == 0) {
        return UINT32_MAX;
    }
    return all > reserve ? all - reserve : 0;
}

unsigned admission_client_descriptors(const struct worker *worker)
{
    return descriptors_but(worker, worker->world->conf->limits.reserve_descriptors);
}

unsigned admission_upstream_descriptors(const struct worker *worker)
{
    return descriptors_but(worker, worker->world->conf->limits.reserve_descriptors / 2);
}

/* A trusted proxy's address stands for all of its clients. */
static uint32_t limit_of(const struct conf *conf, const struct addr *peer)
{
    return conf_blocks_have(&conf->edge.trusted_proxies, peer)
               ? 0
               : conf->limits.max_connections_per_client;
}

/* One more, if that stays within the limit. */
static bool take_one(atomic_uint *count, uint32_t limit)
{
    if (atomic_fetch_add_explicit(count, 1, memory_order_relaxed) < limit) {
        return true;
    }
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
    return false;
}

static void give_one(atomic_uint *count)
{
    unsigned before = atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);

    ASSERT(before > 0);
}

enum admission admission_take(struct worker *worker, int fd, const struct addr *peer, bool tls)
{
    const struct conf *conf = worker->world->conf;
    const struct conf_limits *limits = &conf->limits;
    struct proxy_shared *shared = worker->deps.shared;

    if ((unsigned)fd >= admission_client_descriptors(worker)) {
        return ADMISSION_NO_DESCRIPTORS;
    }
    if (!take_one(&shared->connections, limits->max_connections)) {
        return ADMISSION_FULL;
    }
    if (!address_counts_take(shared->clients, peer, limit_of(conf, peer))) {
        give_one(&shared->connections);
        return ADMISSION_CLIENT_FULL;
    }
    if (tls && !take_one(&shared->handshakes, limits->max_handshakes)) {
        admission_give(worker, peer);
        return ADMISSION_HANDSHAKES;
    }
    return ADMISSION_GRANTED;
}

void admission_give(struct worker *worker, const struct addr *peer)
{
    address_counts_give(worker->deps.shared->clients, peer);
    give_one(&worker->deps.shared->connections);
}

/* A connection has one request at a time: whoever connects directly is bounded by its connections,
 * and most requests need no count. */
static bool is_bounded_already(const struct conf_limits *limits, bool is_forwarded)
{
    return limits->max_inflight_per_client == 0 ||
           (!is_forwarded && limits->max_connections_per_client != 0 &&
            limits->max_connections_per_client <= limits->max_inflight_per_client);
}

enum admission_request admission_take_request(struct worker *worker, const struct addr *client,
                                              bool is_forwarded)
{
    const struct conf *conf = worker->world->conf;
    const struct conf_limits *limits = &conf->limits;

    if (is_bounded_already(limits, is_forwarded) ||
        (is_forwarded && conf_blocks_have(&conf->edge.trusted_proxies, client))) {
        return ASKER_UNCOUNTED;
    }
    if (!address_counts_take(worker->deps.shared->askers, client,
                             limits->max_inflight_per_client)) {
        metric_limit_hit(worker->metrics, LIMIT_CLIENT_INFLIGHT);
        return ASKER_FULL;
    }
    return ASKER_COUNTED;
}

void admission_give_request(struct worker *worker, const struct addr *client)
{
    address_counts_give(worker->deps.shared->askers, client);
}

void admission_handshake_over(struct worker *worker)
{
    give_one(&worker->deps.shared->handshakes);
}

void admission_refuse(struct worker *worker, enum admission why, int fd, bool tls)
{
    const struct refusal *refusal = &refusals[why];
    char body[320];
    char answer[640];
    int body_len;
    int len;

    ASSERT(why > ADMISSION_GRANTED && why < ADMISSION_COUNT);
    metric_limit_hit(worker->metrics, refusal->limit);
    body_len = snprintf(body, sizeof(body),
                        "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"code\":\"%s\","
                        "\"param\":null}}\n",
                        refusal->message, refusal->type, refusal->code);
    len = snprintf(answer, sizeof(answer),
                   "HTTP/1.1 %s\r\nConnection: close\r\nRetry-After: 1\r\n"
                   "Content-Type: application/json\r\nVia: 1.1 nearside\r\n"
                   "Proxy-Status: nearside; error=connection_limit_reached\r\n"
                   "Content-Length: %d\r\n\r\n%s",
                   refusal->status, body_len, body);
    ASSERT(body_len < (int)sizeof(body) && len < (int)sizeof(answer));
    if (!tls) {
        /* It fits any socket buffer, and a client that is gone does not matter. */
        (void)!write(fd, answer, (size_t)len);
    }
    (void)close(fd);
}
