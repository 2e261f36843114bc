/* SPDX-License-Identifier: MIT */
/*
 * Path latency: two exponentially weighted averages over time and two sliding minima.
 *
 * The TCP signal is smoothed sample by sample. The probe signal is smoothed over the *minimum of
 * the last minute*, so that a pod that is slow to answer /health for a while moves nothing, while a
 * longer path shows as soon as the last sample of the old one has left the window.
 */
#include <nearside/fleet/latency.h>

#include <nearside/base/clock.h>

#include <math.h>
#include <stddef.h>

#define BUCKET_NS (10 * NS_PER_S)

/* Buckets are numbered from 1, so that 0 can stand for an empty one. */
static uint64_t bucket_of(uint64_t now_ns)
{
    return now_ns / BUCKET_NS + 1;
}

static void window_add(struct latency_window *window, double ms, uint64_t now_ns)
{
    uint64_t bucket = bucket_of(now_ns);
    size_t place = bucket % LATENCY_WINDOW_BUCKETS;

    if (window->bucket[place] != bucket || ms < window->least_ms[place]) {
        window->bucket[place] = bucket;
        window->least_ms[place] = ms;
    }
}

/* The least of the last minute; INFINITY when there was nothing. */
static double window_least(const struct latency_window *window, uint64_t now_ns)
{
    uint64_t bucket = bucket_of(now_ns);
    double least = INFINITY;

    for (size_t i = 0; i < LATENCY_WINDOW_BUCKETS; i++) {
        bool fresh = window->bucket[i] != 0 && window->bucket[i] <= bucket &&
                     bucket - window->bucket[i] < LATENCY_WINDOW_BUCKETS;

        if (fresh && window->least_ms[i] < least) {
            least = window->least_ms[i];
        }
    }
    return least;
}

/* One step of an EWMA over time: samples that come close together weigh little each. */
static double smooth_step(double present, double sample, uint64_t dt_ns, double rise_s,
                          double fall_s)
{
    double dt_s = (double)dt_ns / (double)NS_PER_S;
    double time_constant_s = sample > present ? rise_s : fall_s;

    return present + (1.0 - exp(-dt_s / time_constant_s)) * (sample - present);
}

static uint64_t elapsed_ns(uint64_t since_ns, uint64_t now_ns)
{
    return now_ns > since_ns ? now_ns - since_ns : 0;
}

/* A bound from above says nothing when it is over a figure that rests on a recent handshake. */
static bool says_nothing(const struct latency *latency, double ms, uint64_t now_ns)
{
    bool timed =
        latency->handshake_at_ns != 0 && (double)elapsed_ns(latency->handshake_at_ns, now_ns) <=
                                             LATENCY_HANDSHAKE_S * (double)NS_PER_S;

    return timed && ms > latency->smooth_ms;
}

static void observe_tcp(struct latency *latency, enum latency_source source, double ms,
                        uint64_t now_ns)
{
    if (ms >= LATENCY_TCP_MS_MAX ||
        (source == LATENCY_TCP_INFO && says_nothing(latency, ms, now_ns))) {
        return;
    }
    window_add(&latency->tcp, ms, now_ns);
    if (!latency->known) {
        latency->known = true;
        latency->smooth_ms = ms;
    } else {
        latency->smooth_ms = smooth_step(latency->smooth_ms, ms, elapsed_ns(latency->at_ns, now_ns),
                                         LATENCY_RISE_S, LATENCY_FALL_S);
    }
    latency->at_ns = now_ns;
    latency->handshake_at_ns = source == LATENCY_CONNECT ? now_ns : latency->handshake_at_ns;
}

/* Both ways at the quick pace: the window's minimum is slow to rise by itself, and when it falls
 * the path is that short, whatever else is going on. */
static void observe_probe(struct latency *latency, double ms, uint64_t now_ns)
{
    double least;

    window_add(&latency->probe, ms, now_ns);
    least = window_least(&latency->probe, now_ns);
    if (!latency->probe_known) {
        latency->probe_known = true;
        latency->probe_smooth_ms = least;
    } else {
        latency->probe_smooth_ms =
            smooth_step(latency->probe_smooth_ms, least, elapsed_ns(latency->probe_at_ns, now_ns),
                        LATENCY_RISE_S, LATENCY_RISE_S);
    }
    latency->probe_at_ns = now_ns;
}

void latency_observe(struct latency *latency, enum latency_source source, double ms,
                     uint64_t now_ns)
{
    if (!isfinite(ms) || ms < 0) {
        return;
    }
    if (source == LATENCY_PROBE) {
        observe_probe(latency, ms, now_ns);
    } else {
        observe_tcp(latency, source, ms, now_ns);
    }
}

/* Does TCP end nearer than the pods? Asked of minima, which no load can lower. With nothing fresh
 * in a window (an endpoint long down) the last smoothed figure stands for it. */
static bool probe_stands_in(const struct latency *latency, uint64_t now_ns)
{
    double tcp = window_least(&latency->tcp, now_ns);
    double probe = window_least(&latency->probe, now_ns);

    if (!latency->probe_known) {
        return false;
    }
    if (!latency->known) {
        return true;
    }
    tcp = isfinite(tcp) ? tcp : latency->smooth_ms;
    probe = isfinite(probe) ? probe : latency->probe_smooth_ms;
    return probe >= LATENCY_PROBE_FLOOR_MS && probe > LATENCY_PROBE_RATIO * tcp;
}

bool latency_get(const struct latency *latency, uint64_t now_ns, double *ret_ms,
                 enum latency_source *ret_source)
{
    bool is_probe;

    if (!latency->known && !latency->probe_known) {
        return false;
    }
    is_probe = probe_stands_in(latency, now_ns);
    *ret_ms = is_probe ? latency->probe_smooth_ms : latency->smooth_ms;
    if (ret_source != NULL) {
        *ret_source = is_probe ? LATENCY_PROBE : LATENCY_TCP_INFO;
    }
    return true;
}
