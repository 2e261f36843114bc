/* SPDX-License-Identifier: MIT */
/* One log line from its event and pairs, as JSON or text. Pure: no clock, no settings, no I/O. */
#ifndef NEARSIDE_OBS_LOG_FORMAT_PRIVATE_H
#define NEARSIDE_OBS_LOG_FORMAT_PRIVATE_H

#include <nearside/base/buf.h>
#include <nearside/obs/log.h>

#include <stdarg.h>

/* Longest format, and longest text of a line's pairs; a longer text is cut and says so. */
#define LOG_PAIRS_FORMAT_MAX 1024
#define LOG_PAIRS_TEXT_MAX   8192

/* What stands before the pairs. */
struct log_stamp {
    uint64_t wall_ms;
    enum log_level level;
    struct str edge; /* empty: left out */
    const char *event;
};

/* Append the line with its newline. */
void log_format_line(struct buf *out, enum log_format format, const struct log_stamp *stamp,
                     const char *pairs, va_list args) PRINTF_LIKE(4, 0);

#endif
