/* SPDX-License-Identifier: MIT */
/* The two clocks and the one text form of wall time. */
#include <nearside/base/clock.h>

#include <nearside/base/assert.h>

#include <time.h>

#define CLOCK_MS_MAX 253402300799999ULL /* the end of the year 9999: four digits hold it */

static uint64_t read_clock_ns(clockid_t id)
{
    struct timespec now;
    int rc = clock_gettime(id, &now);

    ASSERT(rc == 0);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
    return read_clock_ns(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ms(void)
{
    return read_clock_ns(CLOCK_REALTIME) / NS_PER_MS;
}

uint64_t clock_thread_cpu_ns(pthread_t thread)
{
    clockid_t id;
    int rc = pthread_getcpuclockid(thread, &id);

    ASSERT(rc == 0);
    return read_clock_ns(id);
}

static char *put_number(char *out, uint64_t value, int width, char after)
{
    for (int i = width - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    out[width] = after;
    return out + width + 1;
}

void clock_iso(uint64_t wall_ms, char out[CLOCK_ISO_LEN])
{
    uint64_t ms = wall_ms < CLOCK_MS_MAX ? wall_ms : CLOCK_MS_MAX;
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char *at = out;

    struct tm *ok = gmtime_r(&seconds, &tm);
    ASSERT(ok != NULL);
    at = put_number(at, (uint64_t)tm.tm_year + 1900, 4, '-');
    at = put_number(at, (uint64_t)tm.tm_mon + 1, 2, '-');
    at = put_number(at, (uint64_t)tm.tm_mday, 2, 'T');
    at = put_number(at, (uint64_t)tm.tm_hour, 2, ':');
    at = put_number(at, (uint64_t)tm.tm_min, 2, ':');
    at = put_number(at, (uint64_t)tm.tm_sec, 2, '.');
    at = put_number(at, ms % 1000, 3, 'Z');
    *at = '\0';
}

#define CLOCK_ISO_MS_AT 20 /* where the milliseconds stand */

void clock_iso_again(uint64_t wall_ms, struct clock_text *text)
{
    const uint64_t ms = wall_ms < CLOCK_MS_MAX ? wall_ms : CLOCK_MS_MAX;

    if (text->second == 0 || text->second != ms / 1000) {
        text->second = ms / 1000;
        clock_iso(ms, text->iso);
    } else {
        (void)put_number(text->iso + CLOCK_ISO_MS_AT, ms % 1000, 3, 'Z');
    }
}
