/* SPDX-License-Identifier: MIT */
/*
 * One stream of lines: a bounded buffer that any thread fills and the writer thread empties.
 *
 *     callers --put--> [ filling, at most 4 MiB ]  --swap-->  [ writing ] --write()--> target
 *                        under the lock                          the writer's own
 *
 * No I/O happens under the lock, so a caller waits for a memcpy at most. Writes never block
 * either, except on a regular file's disk: the writer asks for readiness first and then writes no
 * more than a pipe is bound to take, since setting O_NONBLOCK on an inherited stdout would set it
 * for everyone who shares it.
 */
#ifndef NEARSIDE_OBS_LOG_SINK_PRIVATE_H
#define NEARSIDE_OBS_LOG_SINK_PRIVATE_H

#include <nearside/base/buf.h>
#include <nearside/base/errbuf.h>
#include <nearside/obs/log.h>

#include <pthread.h>
#include <stdatomic.h>

#define LOG_SINK_BYTES_MAX  ((size_t)4 * 1024 * 1024)
#define LOG_SINK_WAKE_BYTES ((size_t)64 * 1024)

/* Where lines go. */
struct log_target {
    int fd; /* -1: nowhere */
    bool is_owned;
    bool is_regular;
};

/* `path`: a file to append to, "-": `standard_fd`, "": nowhere. */
enum status log_target_open(const char *path, int standard_fd, struct log_target *ret_target,
                            struct errbuf *err) MUST_CHECK;
void log_target_close(struct log_target *target);

struct log_sink {
    atomic_bool is_on;        /* has a target, or will have one in a moment */
    _Atomic uint64_t dropped; /* lines, since the start */
    pthread_mutex_t lock;     /* guards the next four */
    struct buf filling;
    struct log_target next_target;
    bool has_next_target;
    size_t aimed_at; /* bytes of `filling` that were put before that */

    /* The writer's own. */
    struct buf writing;
    struct log_target target;
    bool is_mid_line; /* the last byte written ended no line */
    bool is_cut;      /* and the rest of that line is lost: a line end goes before the next */
    uint64_t dropped_reported;
    struct log_rate failure_rate;
};

enum log_put { LOG_PUT_OK, LOG_PUT_WAKE, LOG_PUT_DROPPED };
enum log_flush { LOG_FLUSH_IDLE, LOG_FLUSH_WROTE, LOG_FLUSH_STUCK };

void log_sink_init(struct log_sink *sink, const struct log_target *target); /* taken over */
void log_sink_done(struct log_sink *sink);                                  /* no writer may run */

/* Add whole lines, or none of them. LOG_PUT_WAKE: much is waiting, wake the writer. Thread: any. */
enum log_put log_sink_put(struct log_sink *sink, const char *lines, size_t len);

/* Write to `target` (taken over) from the writer's next turn on. Thread: any. */
void log_sink_aim(struct log_sink *sink, const struct log_target *target);

/* Write out what waits. IDLE: nothing waited; STUCK: the target takes no more now. Thread: the
 * writer, as all below. */
enum log_flush log_sink_flush(struct log_sink *sink);

/* Whether a note of ours would fit, with room to spare for what others put meanwhile. */
bool log_sink_has_room(struct log_sink *sink);

#endif
