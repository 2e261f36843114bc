/* SPDX-License-Identifier: MIT */
/*
 * CPU time of other processes in nanoseconds, exact: the scheduler's own sums over all threads
 * (/proc/PID/task/TID/schedstat), not the clock ticks of /proc/PID/stat.
 */
#ifndef LOAD_CPU_H
#define LOAD_CPU_H

#include <stdint.h>

uint64_t cpu_of_process_ns(unsigned long pid);

#endif
