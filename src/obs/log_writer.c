/* SPDX-License-Identifier: MIT */
/*
 * The writer thread: empties the sinks, turn by turn, and sleeps in one of three ways.
 *
 *   something was written   50 ms, or until woken: under load a worker pays no futex per line
 *   nothing was waiting     until woken: an idle proxy does not tick ("dozing")
 *   a target takes no more  50 ms, or until it does; the other sink goes on
 *
 * No wake-up is lost: the writer says that it dozes before it looks at the sinks a last time, and
 * a caller puts its line before it looks whether the writer dozes. Both looks take the sink's
 * lock, so at least one of them sees the other's doing.
 */
#include "log_writer_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/obs/metric.h>

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define LOG_WRITER_LATE_MS   50             /* how old a buffered line may grow */
#define LOG_WRITER_STOP_NS   (2 * NS_PER_S) /* what a stuck reader may cost at the end */
#define LOG_WRITER_REPORT_NS NS_PER_S       /* between two notes of lost lines */

/* What a turn over all sinks came to; the later the word, the stronger. */
static enum log_flush flush_all(struct log_writer *writer)
{
    enum log_flush all = LOG_FLUSH_IDLE;

    for (size_t i = 0; i < LOG_SINK_COUNT; i++) {
        enum log_flush one = log_sink_flush(&writer->sinks[i]);
        all = one > all ? one : all;
    }
    return all;
}

static bool has_unreported(const struct log_writer *writer)
{
    bool answer = false;

    for (size_t i = 0; i < LOG_SINK_COUNT; i++) {
        const struct log_sink *sink = &writer->sinks[i];
        answer |=
            atomic_load_explicit(&sink->dropped, memory_order_relaxed) != sink->dropped_reported;
    }
    return answer;
}

static void report_sink(struct log_writer *writer, unsigned index)
{
    struct log_sink *sink = &writer->sinks[index];
    uint64_t dropped = atomic_load_explicit(&sink->dropped, memory_order_relaxed);
    uint64_t count = dropped - sink->dropped_reported;

    if (count > 0 && writer->on_dropped(index, count)) {
        metric_add(writer->metrics, METRIC_LIMIT_HITS, LIMIT_LOG_BUFFER, 0, 0, (int64_t)count);
        sink->dropped_reported = dropped;
    }
}

/* Say what was lost, once a second while it goes on, and only when there is room again: a note
 * into a full buffer would be one more line lost. */
static void report_dropped(struct log_writer *writer, uint64_t now_ns)
{
    if (!has_unreported(writer) || now_ns < writer->next_report_ns ||
        !log_sink_has_room(&writer->sinks[LOG_SINK_EVENTS])) {
        return;
    }
    writer->next_report_ns = now_ns + LOG_WRITER_REPORT_NS;
    for (unsigned i = 0; i < LOG_SINK_COUNT; i++) {
        report_sink(writer, i);
    }
}

/* Wait until a target that took no more takes something, 50 ms at most. */
static void wait_for_targets(struct log_writer *writer)
{
    struct pollfd fds[LOG_SINK_COUNT];

    for (size_t i = 0; i < LOG_SINK_COUNT; i++) {
        struct log_sink *sink = &writer->sinks[i];
        bool is_stuck = buf_len(&sink->writing) > 0;
        fds[i] = (struct pollfd){.fd = is_stuck ? sink->target.fd : -1, .events = POLLOUT};
    }
    (void)poll(fds, LOG_SINK_COUNT, LOG_WRITER_LATE_MS); /* any end of it leads to a new try */
}

static struct timespec deadline_in_ms(unsigned ms)
{
    uint64_t ns = clock_mono_ns() + ms * NS_PER_MS;

    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

static void wait_for_lines(struct log_writer *writer, bool is_dozing)
{
    struct timespec deadline = deadline_in_ms(LOG_WRITER_LATE_MS);
    int rc = 0;

    pthread_mutex_lock(&writer->lock);
    while (!writer->is_woken && rc == 0) {
        rc = is_dozing ? pthread_cond_wait(&writer->wake, &writer->lock)
                       : pthread_cond_timedwait(&writer->wake, &writer->lock, &deadline);
    }
    writer->is_woken = false;
    pthread_mutex_unlock(&writer->lock);
}

static bool is_stopping(struct log_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    bool answer = writer->is_stopping;
    pthread_mutex_unlock(&writer->lock);
    return answer;
}

static void rest(struct log_writer *writer, enum log_flush last)
{
    switch (last) {
    case LOG_FLUSH_STUCK:
        wait_for_targets(writer);
        break;
    case LOG_FLUSH_WROTE:
        wait_for_lines(writer, false);
        break;
    case LOG_FLUSH_IDLE:
        if (has_unreported(writer)) { /* a note is due when its second is over */
            wait_for_lines(writer, false);
            break;
        }
        atomic_store(&writer->is_dozing, true);
        if (flush_all(writer) == LOG_FLUSH_IDLE) {
            wait_for_lines(writer, true);
        }
        atomic_store(&writer->is_dozing, false);
        break;
    }
}

static void write_the_rest(struct log_writer *writer)
{
    uint64_t deadline = clock_mono_ns() + LOG_WRITER_STOP_NS;
    enum log_flush last = flush_all(writer);

    while (last != LOG_FLUSH_IDLE && clock_mono_ns() < deadline) {
        if (last == LOG_FLUSH_STUCK) {
            wait_for_targets(writer);
        }
        last = flush_all(writer);
    }
}

static void *run(void *arg)
{
    struct log_writer *writer = arg;

    writer->metrics = metric_block_new();
    (void)pthread_setname_np(pthread_self(), "log"); /* cosmetic */
    while (!is_stopping(writer)) {
        enum log_flush last = flush_all(writer);

        report_dropped(writer, clock_mono_ns());
        rest(writer, last);
    }
    report_dropped(writer, UINT64_MAX - LOG_WRITER_REPORT_NS); /* due, whatever the time */
    write_the_rest(writer);
    return NULL;
}

enum status log_writer_start(struct log_writer *writer, struct log_sink *sinks,
                             log_dropped_fn on_dropped, struct errbuf *err)
{
    pthread_condattr_t attr;
    sigset_t all;
    sigset_t before;

    *writer = (struct log_writer){.sinks = sinks, .on_dropped = on_dropped};
    pthread_mutex_init(&writer->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&writer->wake, &attr);
    pthread_condattr_destroy(&attr);

    /* Signals are for the control thread; and a reader that is gone must be an error of write(),
     * not the end of the process. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&writer->thread, NULL, run, writer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        err_set(err, "log writer thread: %s", strerror(rc));
        return STATUS_FAILED;
    }
    return STATUS_OK;
}

void log_writer_stop(struct log_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    writer->is_stopping = true;
    pthread_mutex_unlock(&writer->lock);
    log_writer_wake(writer);
    pthread_join(writer->thread, NULL);
    pthread_cond_destroy(&writer->wake);
    pthread_mutex_destroy(&writer->lock);
}

void log_writer_wake(struct log_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    writer->is_woken = true;
    pthread_cond_signal(&writer->wake);
    pthread_mutex_unlock(&writer->lock);
}

void log_writer_nudge(struct log_writer *writer)
{
    if (UNLIKELY(atomic_load(&writer->is_dozing))) {
        log_writer_wake(writer);
    }
}
