/* SPDX-License-Identifier: MIT */
/* The bounded buffer of one log stream and its way into a file or pipe. */
#include "log_sink_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* A buffer that grew in a burst is given back when it is empty again. */
#define LOG_SINK_BYTES_KEPT ((size_t)256 * 1024)

static const struct log_target nowhere = {.fd = -1};

/* --- targets --------------------------------------------------------------------------------- */

enum status log_target_open(const char *path, int standard_fd, struct log_target *ret_target,
                            struct errbuf *err)
{
    struct log_target target = {.fd = standard_fd};
    struct stat st;

    if (path[0] == '\0') {
        *ret_target = nowhere;
        return STATUS_OK;
    }
    if (strcmp(path, "-") != 0) {
        /* O_NONBLOCK: a named pipe without a reader is refused instead of waited for. */
        target.fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
        target.is_owned = true;
    }
    if (target.fd < 0) {
        err_set(err, "%s: %s", path, strerror(errno));
        return STATUS_FAILED;
    }
    target.is_regular = fstat(target.fd, &st) == 0 && S_ISREG(st.st_mode);
    *ret_target = target;
    return STATUS_OK;
}

void log_target_close(struct log_target *target)
{
    if (target->is_owned) {
        close(target->fd);
    }
    *target = nowhere;
}

/* --- the callers' side ----------------------------------------------------------------------- */

void log_sink_init(struct log_sink *sink, const struct log_target *target)
{
    *sink = (struct log_sink){
        .is_on = target->fd >= 0,
        .target = *target,
        .next_target = nowhere,
    };
    pthread_mutex_init(&sink->lock, NULL);
    buf_init(&sink->filling);
    buf_init(&sink->writing);
}

void log_sink_done(struct log_sink *sink)
{
    log_target_close(&sink->target);
    log_target_close(&sink->next_target);
    buf_done(&sink->filling);
    buf_done(&sink->writing);
    pthread_mutex_destroy(&sink->lock);
}

enum log_put log_sink_put(struct log_sink *sink, const char *lines, size_t len)
{
    if (!atomic_load_explicit(&sink->is_on, memory_order_relaxed)) {
        return LOG_PUT_OK;
    }
    pthread_mutex_lock(&sink->lock);
    size_t before = buf_len(&sink->filling);
    bool fits = len <= LOG_SINK_BYTES_MAX - before && buf_reserve(&sink->filling, len);
    if (fits) {
        buf_append(&sink->filling, lines, len);
    }
    pthread_mutex_unlock(&sink->lock);

    if (!fits) {
        atomic_fetch_add_explicit(&sink->dropped, 1, memory_order_relaxed);
        return LOG_PUT_DROPPED;
    }
    /* Once per filling, not once per line. */
    bool passes = before < LOG_SINK_WAKE_BYTES && before + len >= LOG_SINK_WAKE_BYTES;
    return passes ? LOG_PUT_WAKE : LOG_PUT_OK;
}

void log_sink_aim(struct log_sink *sink, const struct log_target *target)
{
    pthread_mutex_lock(&sink->lock);
    log_target_close(&sink->next_target);
    sink->next_target = *target;
    sink->has_next_target = true;
    sink->aimed_at = buf_len(&sink->filling);
    pthread_mutex_unlock(&sink->lock);
    atomic_store_explicit(&sink->is_on, target->fd >= 0, memory_order_relaxed);
}

/* --- the writer's side ----------------------------------------------------------------------- */

static bool is_writable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};

    return poll(&poll_fd, 1, 0) > 0;
}

static uint64_t count_lines(struct str text)
{
    uint64_t count = 0;

    for (size_t i = 0; i < text.len; i++) {
        count += text.ptr[i] == '\n';
    }
    return count;
}

bool log_sink_has_room(struct log_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    bool answer = buf_len(&sink->filling) < LOG_SINK_BYTES_MAX / 2;
    pthread_mutex_unlock(&sink->lock);
    return answer;
}

/* The target refuses (disk full, reader gone): count what is lost; say so, but not each time. */
static void give_up(struct log_sink *sink, struct str lost, int error)
{
    uint64_t suppressed = 0;

    atomic_fetch_add_explicit(&sink->dropped, count_lines(lost), memory_order_relaxed);
    buf_consume(&sink->writing, lost.len);
    sink->is_cut = sink->is_cut || sink->is_mid_line;
    sink->is_mid_line = false;
    if (sink->target.fd != STDERR_FILENO && is_writable(STDERR_FILENO) &&
        log_rate_allow(&sink->failure_rate, clock_mono_ns(), &suppressed)) {
        dprintf(STDERR_FILENO, "nearside: log: %s; lines lost\n", strerror(error));
    }
}

/* A pipe that reports room has room for PIPE_BUF bytes; more might block. */
static ssize_t write_some(const struct log_target *target, struct str text)
{
    size_t len = text.len;

    if (!target->is_regular) {
        if (!is_writable(target->fd)) {
            errno = EAGAIN;
            return -1;
        }
        len = len < PIPE_BUF ? len : PIPE_BUF;
    }
    return write(target->fd, text.ptr, len);
}

/* Write all but the last `keep` bytes. False when the target takes no more now. */
static bool write_out(struct log_sink *sink, size_t keep)
{
    while (buf_len(&sink->writing) > keep) {
        struct str text = str_slice(buf_str(&sink->writing), 0, buf_len(&sink->writing) - keep);

        if (sink->target.fd < 0) {
            buf_consume(&sink->writing, text.len);
            return true;
        }
        ssize_t done = write_some(&sink->target, sink->is_cut ? STR_LIT("\n") : text);
        if (done < 0 && errno == EAGAIN) {
            return false;
        }
        if (done < 0 && errno != EINTR) {
            give_up(sink, text, errno);
            return true;
        }
        if (done > 0 && sink->is_cut) {
            sink->is_cut = false;
        } else if (done > 0) {
            sink->is_mid_line = text.ptr[done - 1] != '\n';
            buf_consume(&sink->writing, (size_t)done);
        }
    }
    return true;
}

/* A new target begins with a whole line: the rest of one that the old target cut is lost. */
static void drop_cut_line(struct log_sink *sink)
{
    struct str text = buf_str(&sink->writing);
    size_t end = str_find_char(text, '\n');

    if (!sink->is_mid_line) {
        return;
    }
    buf_consume(&sink->writing, end < text.len ? end + 1 : text.len);
    sink->is_mid_line = false;
    sink->is_cut = true;
    atomic_fetch_add_explicit(&sink->dropped, 1, memory_order_relaxed);
}

static bool is_same_file(int a, int b)
{
    struct stat of_a;
    struct stat of_b;

    return fstat(a, &of_a) == 0 && fstat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
           of_a.st_ino == of_b.st_ino;
}

static void take_next_target(struct log_sink *sink)
{
    struct log_target old = sink->target;

    drop_cut_line(sink);
    pthread_mutex_lock(&sink->lock);
    sink->target = sink->next_target;
    sink->next_target = nowhere;
    sink->has_next_target = false;
    pthread_mutex_unlock(&sink->lock);
    sink->is_cut = sink->is_cut && is_same_file(old.fd, sink->target.fd);
    log_target_close(&old);
}

/* Lines put before the aim changed go to the old target, as far as it takes them; later lines to
 * the new one. */
enum log_flush log_sink_flush(struct log_sink *sink)
{
    size_t keep = 0;

    pthread_mutex_lock(&sink->lock);
    bool is_aimed_anew = sink->has_next_target;
    if (buf_len(&sink->writing) == 0) {
        struct buf empty = sink->writing;
        sink->writing = sink->filling;
        sink->filling = empty;
        keep = is_aimed_anew ? buf_len(&sink->writing) - sink->aimed_at : 0;
        sink->aimed_at = 0;
    }
    pthread_mutex_unlock(&sink->lock);

    if (buf_len(&sink->writing) == 0 && !is_aimed_anew) {
        return LOG_FLUSH_IDLE;
    }
    bool is_done = write_out(sink, keep);
    if (is_aimed_anew) {
        take_next_target(sink);
        is_done = write_out(sink, 0);
    }
    if (is_done && sink->writing.size > LOG_SINK_BYTES_KEPT) {
        buf_trim(&sink->writing);
    }
    return is_done ? LOG_FLUSH_WROTE : LOG_FLUSH_STUCK;
}
