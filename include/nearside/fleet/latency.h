/* SPDX-License-Identifier: MIT */
/*
 * Path latency: the network round trip from this edge to a region, in milliseconds, without any
 * model time (product: 5.1).
 *
 * Three sources feed one estimate: the handshake of a fresh connect as the kernel timed it, the
 * kernel's smoothed RTT of live connections (TCP_INFO), the round trip of a health probe on a warm
 * connection. The first two are the TCP signal; it is smoothed by an EWMA over time,
 * alpha = 1 - exp(-dt / T) with T = 3 s for a rise and 10 s for a fall (quick to leave, slow to
 * return). The first sample seeds it.
 *
 * TCP_INFO is a bound from above only: when the peer answers within some 40 ms, its acknowledgement
 * rides on the answer, and the kernel's estimate holds the peer's working time (measured: 30 ms of
 * work on loopback give an RTT of 30 ms). So it may lower the figure at any time, and raise it only
 * when no handshake was timed for LATENCY_HANDSHAKE_S. Samples of LATENCY_TCP_MS_MAX and more are
 * lost SYN packets, and ignored.
 *
 * TCP may end nearer than the pods (a cloud's load balancer, a sidecar). Where the least probe
 * round trip of the last minute is over three times the least TCP figure of the last minute and at
 * least LATENCY_PROBE_FLOOR_MS, that minimum (smoothed with T = 3 s both ways) stands in for TCP: a
 * minimum, so that a busy pod's slow /health never looks like distance. A path that gets longer
 * therefore shows after a minute here, one that gets shorter within seconds.
 *
 * Pure values; thread: whoever owns the struct (control).
 */
#ifndef NEARSIDE_FLEET_LATENCY_H
#define NEARSIDE_FLEET_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

#define LATENCY_RISE_S         3.0
#define LATENCY_FALL_S         10.0
#define LATENCY_HANDSHAKE_S    15.0
#define LATENCY_TCP_MS_MAX     1000.0
#define LATENCY_WINDOW_BUCKETS 6 /* of 10 s: the last minute */
#define LATENCY_PROBE_RATIO    3.0
#define LATENCY_PROBE_FLOOR_MS 1.0

enum latency_source {
    LATENCY_TCP_INFO, /* of a live connection; also any other bound from above */
    LATENCY_CONNECT,  /* a handshake */
    LATENCY_PROBE,    /* request written to first byte back, warm connection */
};

struct latency_window {
    double least_ms[LATENCY_WINDOW_BUCKETS];
    uint64_t bucket[LATENCY_WINDOW_BUCKETS]; /* which 10 s; 0: empty */
};

struct latency {
    bool known;
    double smooth_ms;         /* EWMA of the TCP signal */
    uint64_t at_ns;           /* of the last sample in it */
    uint64_t handshake_at_ns; /* of the last LATENCY_CONNECT; 0: none */
    bool probe_known;
    double probe_smooth_ms; /* EWMA of the window's minimum */
    uint64_t probe_at_ns;
    struct latency_window tcp;
    struct latency_window probe;
};

void latency_observe(struct latency *latency, enum latency_source source, double ms,
                     uint64_t now_ns);

/* The path latency now. False: unknown (never 0). `ret_source` says which signal it is:
 * LATENCY_PROBE, or LATENCY_TCP_INFO for the TCP signal. May be NULL. */
bool latency_get(const struct latency *latency, uint64_t now_ns, double *ret_ms,
                 enum latency_source *ret_source);

#endif
