/* SPDX-License-Identifier: MIT */
/*
 * One health probe at a time on one endpoint, over a connection that is kept between probes.
 *
 * Thread: control.
 */
#ifndef NEARSIDE_HEALTH_PROBER_PRIVATE_H
#define NEARSIDE_HEALTH_PROBER_PRIVATE_H

#include "probe_end_private.h"

#include <nearside/base/addr.h>
#include <nearside/fleet/latency.h>

#include <stdbool.h>
#include <stdint.h>

struct conf;
struct conf_health;
struct loop;
struct prober;
struct tls_ctx;

/* A prompt to POST instead of asking for the health page. */
struct probe_prompt {
    const char *path;
    const char *model; /* for a body that asks for one token */
    const char *body;  /* sent as it is; NULL: made here, and its answer must hold a token */
    uint32_t timeout_ms;
};

/* What to ask of whom. Strings and settings belong to `conf`, of which the prober holds a reference
 * as long as the probe runs: a reload in the middle of it is harmless. */
struct probe_target {
    struct conf *conf;
    struct addr addr;
    const char *host; /* of the URL, without brackets */
    uint16_t port;
    struct tls_ctx *tls;     /* NULL: plain; a reference is taken */
    const char *server_name; /* for TLS */
    const struct conf_health *health;
    struct probe_prompt prompt; /* path NULL: none */
    bool is_warmup;             /* any good answer to the prompt will do */
    bool want_handshake;        /* connect anew, for the sample */
    bool want_round_trip;       /* after a connect: ask once more, for the sample */
};

struct probe_result {
    enum probe_end end;
    unsigned status; /* 0: no answer */
};

/* Called exactly once per probe that was not stopped, never before prober_start() returns. */
typedef void (*prober_done_fn)(const struct probe_result *result, void *arg);
/* A sample of latency, any number per probe, before its end. Of one that asks for a token only the
 * handshake: the rest is the engine's time. */
typedef void (*prober_sample_fn)(enum latency_source source, double ms, void *arg);

struct prober *prober_new(struct loop *loop, prober_done_fn done, prober_sample_fn sample,
                          void *arg);
/* Stops what is under way, without a callback. NULL is fine. */
void prober_free(struct prober *prober);

/* No probe may be under way. */
void prober_start(struct prober *prober, const struct probe_target *target);
bool prober_is_busy(const struct prober *prober);

#endif
