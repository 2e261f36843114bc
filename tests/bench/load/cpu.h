/* SPDX-License-Identifier: MIT */
/*
 * CPU time of other processes in nanoseconds, exact, and how often they were put on a CPU: the
 * scheduler's own sums over all threads (/proc/PID/task/TID/schedstat), not the clock ticks of
 * /proc/PID/stat.
 */
#ifndef LOAD_CPU_H
#define LOAD_CPU_H

#include <stdint.h>

struct cpu {
    uint64_t ns;
    uint64_t runs; /* one more each time that a thread slept, or gave way, and came back */
};

struct cpu cpu_of_process(unsigned long pid);

#endif
