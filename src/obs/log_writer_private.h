/* SPDX-License-Identifier: MIT */
/* The one thread that writes the log streams out. */
#ifndef NEARSIDE_OBS_LOG_WRITER_PRIVATE_H
#define NEARSIDE_OBS_LOG_WRITER_PRIVATE_H

#include "log_sink_private.h"

#include <pthread.h>
#include <stdatomic.h>

enum { LOG_SINK_EVENTS, LOG_SINK_ACCESS, LOG_SINK_COUNT };

/* Called on the writer's thread when `count` lines of a sink were lost; true when that is noted. */
typedef bool (*log_dropped_fn)(unsigned sink, uint64_t count);

struct log_writer {
    pthread_t thread;
    struct log_sink *sinks; /* borrowed: LOG_SINK_COUNT of them */
    log_dropped_fn on_dropped;
    struct metric_block *metrics; /* the thread's own */
    uint64_t next_report_ns;      /* the thread's own */
    atomic_bool is_dozing;        /* sleeps until woken: nothing was waiting */
    pthread_mutex_t lock;         /* guards the next three */
    pthread_cond_t wake;
    bool is_woken;
    bool is_stopping;
};

enum status log_writer_start(struct log_writer *writer, struct log_sink *sinks,
                             log_dropped_fn on_dropped, struct errbuf *err) MUST_CHECK;

/* Write out what waits, for 2 s at most, and end the thread. */
void log_writer_stop(struct log_writer *writer);

/* Have lines written at once. Thread: any. */
void log_writer_wake(struct log_writer *writer);

/* Have lines written within 50 ms: costs a load while the writer is busy. Thread: any. */
void log_writer_nudge(struct log_writer *writer);

#endif
