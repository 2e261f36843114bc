/* SPDX-License-Identifier: MIT */
/*
 * The log's front: settings, the two streams, starting, reloading, reopening. Formatting is in
 * log_format.c, buffering in log_sink.c, the thread in log_writer.c.
 */
#include <nearside/obs/log.h>

#include "log_format_private.h"
#include "log_writer_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define LOG_RATE_NS  NS_PER_S
#define LOG_EDGE_MAX 256 /* of an edge's id in a line; a longer one is cut */

struct log_change {
    enum log_level level;
    enum log_format format;
    char *edge_id;                             /* owned */
    char *paths[LOG_SINK_COUNT];               /* owned */
    struct log_target targets[LOG_SINK_COUNT]; /* owned */
};

/* Process-wide state (rule 11): a log that had to be handed down to every function would be. */
static struct {
    atomic_bool is_started;
    atomic_int level;
    atomic_int format;
    struct log_sink sinks[LOG_SINK_COUNT];
    struct log_writer writer;
    pthread_mutex_t lock;        /* guards the next two */
    char *edge_id;               /* owned; NULL: none */
    char *paths[LOG_SINK_COUNT]; /* owned */
} state = {.level = LOG_LEVEL_INFO, .format = LOG_FORMAT_TEXT, .lock = PTHREAD_MUTEX_INITIALIZER};

static const int standard_fds[LOG_SINK_COUNT] = {
    [LOG_SINK_EVENTS] = STDERR_FILENO,
    [LOG_SINK_ACCESS] = STDOUT_FILENO,
};

/* --- writing --------------------------------------------------------------------------------- */

bool log_is_on(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&state.level, memory_order_relaxed);
}

/* Before the start there is no writer: a plain write, and what becomes of it cannot be told. */
static void write_to_stderr(struct str line)
{
    ssize_t done = write(STDERR_FILENO, line.ptr, line.len);
    (void)done;
}

PRINTF_LIKE(4, 0)
static void format_line(struct buf *line, enum log_level level, const char *event,
                        const char *format, va_list args)
{
    char edge[LOG_EDGE_MAX];
    struct log_stamp stamp = {.wall_ms = clock_wall_ms(), .level = level, .event = event};

    pthread_mutex_lock(&state.lock);
    stamp.edge = str_of(log_quote(str_of(state.edge_id), edge, sizeof(edge)));
    pthread_mutex_unlock(&state.lock);
    log_format_line(line, (enum log_format)atomic_load(&state.format), &stamp, format, args);
}

void log_write(enum log_level level, const char *event, const char *format, ...)
{
    struct buf line;
    va_list args;

    buf_init(&line);
    va_start(args, format);
    format_line(&line, level, event, format, args);
    va_end(args);
    if (!atomic_load_explicit(&state.is_started, memory_order_acquire)) {
        write_to_stderr(buf_str(&line));
    } else {
        struct str text = buf_str(&line);
        (void)log_sink_put(&state.sinks[LOG_SINK_EVENTS], text.ptr, text.len);
        if (level <= LOG_LEVEL_INFO) {
            log_writer_wake(&state.writer);
        } else {
            log_writer_nudge(&state.writer);
        }
    }
    buf_done(&line);
}

bool log_access_is_on(void)
{
    return atomic_load_explicit(&state.is_started, memory_order_acquire) &&
           atomic_load_explicit(&state.sinks[LOG_SINK_ACCESS].is_on, memory_order_relaxed);
}

enum log_format log_access_format(void)
{
    return (enum log_format)atomic_load_explicit(&state.format, memory_order_relaxed);
}

void log_access_write(const char *line, size_t len)
{
    if (!log_access_is_on()) {
        return;
    }
    if (log_sink_put(&state.sinks[LOG_SINK_ACCESS], line, len) == LOG_PUT_WAKE) {
        log_writer_wake(&state.writer);
    } else {
        log_writer_nudge(&state.writer);
    }
}

uint64_t log_dropped(void)
{
    uint64_t dropped = 0;

    for (size_t i = 0; i < LOG_SINK_COUNT; i++) {
        dropped += atomic_load_explicit(&state.sinks[i].dropped, memory_order_relaxed);
    }
    return dropped;
}

const char *log_quote(struct str text, char *out, size_t size)
{
    ASSERT(size > 0);
    size_t len = text.len < size - 1 ? text.len : size - 1;

    /* Do not cut inside a character: step back over its continuation bytes. */
    if (len < text.len) {
        while (len > 0 && ((uint8_t)text.ptr[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    for (size_t i = 0; i < len; i++) {
        out[i] = text.ptr[i] == '\0' ? '?' : text.ptr[i];
    }
    out[len] = '\0';
    return out;
}

bool log_rate_allow(struct log_rate *rate, uint64_t now_ns, uint64_t *ret_suppressed)
{
    if (rate->last_ns != 0 && now_ns - rate->last_ns < LOG_RATE_NS) {
        rate->suppressed++;
        return false;
    }
    *ret_suppressed = rate->suppressed;
    rate->suppressed = 0;
    rate->last_ns = now_ns;
    return true;
}

/* --- start, reload, reopen, stop ------------------------------------------------------------- */

void log_abandon(struct log_change *change)
{
    if (change == NULL) {
        return;
    }
    for (size_t i = 0; i < LOG_SINK_COUNT; i++) {
        log_target_close(&change->targets[i]);
        mem_free(change->paths[i]);
    }
    mem_free(change->edge_id);
    mem_free(change);
}

enum status log_prepare(const struct log_conf *conf, struct log_change **ret_change,
                        struct errbuf *err)
{
    struct log_change *change = mem_new(struct log_change);
    const char *const paths[LOG_SINK_COUNT] = {
        [LOG_SINK_EVENTS] = conf->file,
        [LOG_SINK_ACCESS] = conf->access_file,
    };

    change->level = conf->level;
    change->format = conf->format;
    change->edge_id = conf->edge_id == NULL ? NULL : mem_strdup(conf->edge_id);
    for (size_t i = 0; i < LOG_SINK_COUNT; i++) {
        change->paths[i] = mem_strdup(paths[i]);
        if (log_target_open(paths[i], standard_fds[i], &change->targets[i], err) != STATUS_OK) {
            err_wrap(err, "log");
            log_abandon(change);
            return STATUS_FAILED;
        }
    }
    *ret_change = change;
    return STATUS_OK;
}

static void swap_text(char **a, char **b)
{
    char *kept = *a;
    *a = *b;
    *b = kept;
}

/* The old texts are left in `change`. */
static void take_settings(struct log_change *change)
{
    pthread_mutex_lock(&state.lock);
    swap_text(&state.edge_id, &change->edge_id);
    for (size_t i = 0; i < LOG_SINK_COUNT; i++) {
        swap_text(&state.paths[i], &change->paths[i]);
    }
    atomic_store(&state.format, (int)change->format);
    atomic_store(&state.level, (int)change->level);
    pthread_mutex_unlock(&state.lock);
}

void log_commit(struct log_change *change)
{
    take_settings(change);
    for (size_t i = 0; i < LOG_SINK_COUNT; i++) {
        log_sink_aim(&state.sinks[i], &change->targets[i]);
        change->targets[i] = (struct log_target){.fd = -1}; /* the sink's now */
    }
    log_writer_wake(&state.writer);
    log_abandon(change);
}

/* The note of lost lines goes into the event log, so that access lines stay all of one kind. */
static bool on_dropped(unsigned sink, uint64_t count)
{
    const char *stream = sink == LOG_SINK_ACCESS ? "access" : "log";
    uint64_t before = atomic_load(&state.sinks[LOG_SINK_EVENTS].dropped);

    log_warn("log_lines_dropped", "stream=%s count=%lu", stream, (unsigned long)count);
    return atomic_load(&state.sinks[LOG_SINK_EVENTS].dropped) == before;
}

static void release_all(void)
{
    pthread_mutex_lock(&state.lock);
    for (size_t i = 0; i < LOG_SINK_COUNT; i++) {
        log_sink_done(&state.sinks[i]);
        mem_free(state.paths[i]);
        state.paths[i] = NULL;
    }
    mem_free(state.edge_id);
    state.edge_id = NULL;
    atomic_store(&state.format, LOG_FORMAT_TEXT);
    pthread_mutex_unlock(&state.lock);
}

enum status log_start(const struct log_conf *conf, struct errbuf *err)
{
    struct log_change *change = NULL;

    ASSERT(!atomic_load(&state.is_started));
    if (log_prepare(conf, &change, err) != STATUS_OK) {
        return STATUS_FAILED;
    }
    take_settings(change);
    for (size_t i = 0; i < LOG_SINK_COUNT; i++) {
        log_sink_init(&state.sinks[i], &change->targets[i]);
        change->targets[i] = (struct log_target){.fd = -1}; /* the sink's now */
    }
    log_abandon(change);
    if (log_writer_start(&state.writer, state.sinks, on_dropped, err) != STATUS_OK) {
        release_all();
        return STATUS_FAILED;
    }
    atomic_store_explicit(&state.is_started, true, memory_order_release);
    return STATUS_OK;
}

static char *copy_path(size_t sink)
{
    pthread_mutex_lock(&state.lock);
    char *path = mem_strdup(state.paths[sink]);
    pthread_mutex_unlock(&state.lock);
    return path;
}

static void reopen_sink(size_t sink)
{
    struct log_target target;
    struct errbuf err;
    char *path = copy_path(sink);

    if (log_target_open(path, standard_fds[sink], &target, &err) == STATUS_OK) {
        log_sink_aim(&state.sinks[sink], &target);
    } else {
        log_error("log_reopen_failed", "error=\"%s\"", err.text);
    }
    mem_free(path);
}

void log_reopen(void)
{
    if (!atomic_load(&state.is_started)) {
        return;
    }
    for (size_t i = 0; i < LOG_SINK_COUNT; i++) {
        reopen_sink(i);
    }
    log_writer_wake(&state.writer);
}

void log_stop(void)
{
    if (!atomic_load(&state.is_started)) {
        return;
    }
    log_writer_stop(&state.writer);
    atomic_store(&state.is_started, false);
    release_all();
}
