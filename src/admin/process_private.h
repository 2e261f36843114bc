/* SPDX-License-Identifier: MIT */
/* What the process takes of the machine, as /proc and the kernel tell. */
#ifndef NEARSIDE_ADMIN_PROCESS_PRIVATE_H
#define NEARSIDE_ADMIN_PROCESS_PRIVATE_H

#include <stdint.h>

struct process_usage {
    uint64_t resident_bytes;
    uint64_t open_fds;
    double cpu_seconds; /* all threads, user and system */
};

/* What cannot be read is 0. */
void process_read_usage(struct process_usage *ret_usage);

#endif
