/* SPDX-License-Identifier: MIT */
/*
 * Time. Monotonic nanoseconds for every deadline and measurement, wall time only for what people
 * and protocols read. Code on a loop uses loop_now_ns(), which costs no system call.
 */
#ifndef NEARSIDE_BASE_CLOCK_H
#define NEARSIDE_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>

#define NS_PER_US 1000ULL
#define NS_PER_MS 1000000ULL
#define NS_PER_S  1000000000ULL

uint64_t clock_mono_ns(void);
uint64_t clock_wall_ms(void); /* since 1970-01-01 UTC */
/* CPU time that a running thread has used. Thread: any. */
uint64_t clock_thread_cpu_ns(pthread_t thread);

#define CLOCK_ISO_LEN 25
/* "2026-11-22T10:20:30.123Z" and a NUL into `out`. */
void clock_iso(uint64_t wall_ms, char out[CLOCK_ISO_LEN]);

/* The same in `iso`, for who asks many times a second: zeroed before the first time, only what has
 * changed since the last is written. */
struct clock_text {
    uint64_t second; /* 0: none yet */
    char iso[CLOCK_ISO_LEN];
};
void clock_iso_again(uint64_t wall_ms, struct clock_text *text);

#endif
