/* SPDX-License-Identifier: MIT */
/*
 * The simulated inference pod: one process, one thread, one libevent loop. It answers in the shape
 * of OpenAI's and Anthropic's APIs with text computed from the prompt, as slowly as told, and can
 * be told to fail in every way a real pod does. Tests, demo and benchmarks stand on it.
 *
 * This header is what the files of this folder share: settings, counters, the pod itself.
 */
#ifndef POD_POD_H
#define POD_POD_H

#include "fault.h"
#include "timers.h"

#include <nearside/base/list.h>
#include <nearside/base/str.h>

#include <stdint.h>

struct event;
struct event_base;
struct pod_tls;

#define CANCELLATIONS_MAX 64

/* What the control door can change while the pod runs. */
struct pod_settings {
    uint64_t path_delay_ms;
    uint64_t first_token_ms;
    uint64_t token_gap_ms;
    uint64_t tokens; /* when the request does not say */
    struct fault fault;
};

struct pod_options {
    const char *name;
    const char *bind;
    uint16_t port;
    uint16_t control_port;
    bool has_control;
    const char *tls_cert; /* NULL: plain */
    const char *tls_key;
    const char *tls_client_ca;
    const char *model;
    uint64_t close_after; /* requests on a connection; 0: no limit */
    uint64_t keepalive_timeout_s;
    struct pod_settings settings;
};

/* started = finished + cancelled + broken + active */
struct pod_counters {
    uint64_t started;
    uint64_t finished;
    uint64_t cancelled; /* the client closed before the end */
    uint64_t broken;    /* we closed before the end, as a fault told us */
    uint64_t active;
    uint64_t streaming; /* of the active ones: first content byte sent */
    uint64_t probes;    /* health requests */
    uint64_t accepted;
    uint64_t open;
    uint64_t bad_requests;
    uint64_t prompt_tokens;
    uint64_t generation_tokens;
};

struct cancellation {
    uint64_t request;
    uint64_t at_ms;    /* wall clock */
    uint64_t after_ms; /* since the request's head */
    uint64_t events;   /* content events sent by then */
    const char *phase; /* reading waiting streaming */
};

struct listener {
    struct pod *pod;
    int fd; /* -1: none */
    uint16_t port;
    bool is_control;
    struct event *event; /* owned; NULL: not accepting */
};

struct pod {
    const struct pod_options *options;
    struct pod_settings settings;
    struct event_base *base; /* owned */
    struct timers timers;
    struct listener serving;
    struct listener control;
    struct pod_tls *tls; /* owned; NULL: plain */
    struct list conns;
    struct list dead; /* closed connections, freed at the end of the callback */
    struct pod_counters counters;
    struct cancellation cancellations[CANCELLATIONS_MAX]; /* a ring */
    uint64_t next_request;
    uint64_t next_conn;
    const char *last_bad_request;
};

#endif
