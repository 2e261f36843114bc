/* SPDX-License-Identifier: MIT */
/*
 * Why a request went where it went: what is kept of the last EXPLAIN_RECORDS requests.
 *
 * Each worker keeps its share in a ring of records of one size, written once, when a request ends,
 * from what the request knows anyway and from the view its last choice was made in. A lock per
 * ring guards its slots: the worker holds it while it writes one record, the control thread while
 * it looks for an id, which reads one array of hashes (some microseconds). Nothing else is done
 * under it. The ring's memory comes with the first request and is used as it fills.
 *
 * Thread: records are plain values.
 */
#ifndef NEARSIDE_PROXY_EXPLAIN_H
#define NEARSIDE_PROXY_EXPLAIN_H

#include <nearside/base/addr.h>
#include <nearside/fleet/view.h>
#include <nearside/obs/metric.h>
#include <nearside/route/route.h>

#include <stdbool.h>
#include <stdint.h>

#define EXPLAIN_RECORDS      10000 /* of all workers together */
#define EXPLAIN_REGIONS_MAX  16    /* further candidates are counted only */
#define EXPLAIN_ATTEMPTS_MAX 6     /* likewise */
#define EXPLAIN_ID_MAX       128
#define EXPLAIN_MODEL_MAX    48 /* cut, for people */

struct buf;

/* A candidate, as it was when the last choice was made. */
struct explain_region {
    float latency_ms;
    float cost_ms;
    float weight;
    uint8_t slot;
    uint8_t state;   /* enum region_state */
    uint8_t verdict; /* enum route_verdict */
    bool latency_known;
    bool near;
    bool drained;
    bool home;
};

struct explain_attempt {
    struct addr addr;
    uint64_t begun_ns; /* after the request's start */
    uint64_t took_ns;
    uint8_t slot;
    uint8_t route;   /* enum route_reason */
    uint8_t outcome; /* enum outcome */
};

struct explain_record {
    uint64_t started_wall_ms;
    uint64_t read_ns; /* until the body was here */
    uint64_t ttft_ns; /* from then to the first byte of the answer; 0: none came */
    uint64_t waited_ns;
    uint64_t total_ns;
    const char *cache;  /* static, like the access log's */
    const char *reason; /* static, likewise */
    uint32_t attempts;  /* made; the first EXPLAIN_ATTEMPTS_MAX are kept */
    uint32_t regions;   /* of the view; the first EXPLAIN_REGIONS_MAX are kept */
    uint16_t status;
    uint8_t id_len;
    uint8_t model_len;
    uint8_t region_count;
    uint8_t attempt_count;
    bool routed;         /* a choice was made; else it was answered without */
    uint8_t route;       /* enum route_reason, when routed */
    int16_t chosen_slot; /* -1: nobody */
    char id[EXPLAIN_ID_MAX];
    char model[EXPLAIN_MODEL_MAX];
    struct explain_region candidates[EXPLAIN_REGIONS_MAX];
    struct explain_attempt tries[EXPLAIN_ATTEMPTS_MAX];
};

/* As one line of JSON; docs/admin.md describes it. */
void explain_write_json(const struct explain_record *record, struct buf *out);

#endif
