/* SPDX-License-Identifier: MIT */
/*
 * The log of events: four levels, one line each, `event key=value...` as JSON or text.
 *
 * Logging never blocks its caller: lines go into a bounded memory buffer that one writer thread
 * empties. When the buffer is full, lines are dropped and counted (`log_dropped()`), and the next
 * line that fits says how many are missing.
 *
 *     log_info("endpoint_down", "region=%s endpoint=%s reason=%s fails=%u", ...)
 *
 * The format is a printf format of `key=value` pairs. In JSON form each pair becomes a member: a
 * value that is a JSON number, true or false stays bare, all else is a string. A value that may
 * hold spaces, or must be a string whatever it is, stands in double quotes: msg=\"%s\". Where a
 * value ends is read from the format, not from the bytes printed: any text is safe in any `%s`,
 * escaped on output, and cannot forge a member. (No conversion may contain a space: not "% d".)
 *
 * Process-wide state (rule 11): level, sink. Thread: any.
 */
#ifndef NEARSIDE_OBS_LOG_H
#define NEARSIDE_OBS_LOG_H

#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>
#include <nearside/base/str.h>

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_JSON, LOG_FORMAT_TEXT };

struct log_conf {
    enum log_level level;
    enum log_format format;
    const char *file;        /* path; "-": stderr; "": none */
    const char *access_file; /* path; "-": stdout; "": none */
    const char *edge_id;     /* stands in each JSON line as "edge"; NULL: left out */
};

/* Start the writer thread and open the files. Call once, before other threads start. Until then
 * log lines go straight to stderr, and access lines nowhere. */
enum status log_start(const struct log_conf *conf, struct errbuf *err) MUST_CHECK;

/* Apply a new config (reload): in two steps, so that a failure to open changes nothing. The log
 * must have been started before a commit. */
struct log_change;
enum status log_prepare(const struct log_conf *conf, struct log_change **ret_change,
                        struct errbuf *err) MUST_CHECK;
void log_commit(struct log_change *change);  /* takes ownership; never fails */
void log_abandon(struct log_change *change); /* NULL is fine */

/* Reopen the files by name (SIGUSR1). Keeps the old ones when that fails, and says so. */
void log_reopen(void);

/* Write out what is buffered (waits up to 2 s) and end the writer thread. Call when no other
 * thread logs any more; lines then go to stderr again. */
void log_stop(void);

bool log_is_on(enum log_level level);
uint64_t log_dropped(void);

/* What log_*() call; prefer the macros, which skip the formatting when the level is off. */
void log_write(enum log_level level, const char *event, const char *format, ...) PRINTF_LIKE(3, 4);

#define log_at(level, ...)                                                                         \
    do {                                                                                           \
        if (log_is_on(level)) {                                                                    \
            log_write((level), __VA_ARGS__);                                                       \
        }                                                                                          \
    } while (0)
#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* The view as a C string for `%s`: at most `size` bytes with the NUL, cut between characters; a NUL
 * inside becomes '?'. Escaping is not needed here, the log does that. Returns `out`. */
const char *log_quote(struct str text, char *out, size_t size);

/* One finished access line (with its newline) to the access stream; copied, may be dropped. */
bool log_access_is_on(void);
enum log_format log_access_format(void);
void log_access_write(const char *line, size_t len);

/* Rate limit for repeated errors: true when the caller should log now (at most once a second per
 * `struct log_rate`); ret_suppressed is how many were kept back since the last true. */
struct log_rate {
    uint64_t last_ns;
    uint64_t suppressed;
};
bool log_rate_allow(struct log_rate *rate, uint64_t now_ns, uint64_t *ret_suppressed);

#endif
