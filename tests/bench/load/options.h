/* SPDX-License-Identifier: MIT */
/* What the load generator is told on its command line. */
#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTIONS_PIDS_MAX 16
#define OPTIONS_MARK     "@@@@@@@@@@@@" /* in a request: replaced by a number, another each time */
#define OPTIONS_MARK_LEN 12

struct options {
    struct sockaddr_in peer;
    char *request; /* owned: raw bytes */
    size_t request_len;
    size_t mark_at; /* request_len: no mark */
    unsigned connections;
    double seconds;
    double warm_seconds;
    double ramp_seconds; /* over which the connections start */
    double rate;         /* requests a second, open loop; 0: closed loop */
    uint64_t count;      /* end after so many answers; 0: by time */
    uint64_t gap_ns;     /* between two tokens, as the pod sends them; 0: not measured */
    bool is_new_each;    /* a new connection for each request */
    bool is_hold;        /* connect, say so, wait for a signal */
    bool has_tls;
    bool resumes;
    unsigned pid_count;
    unsigned long pids[OPTIONS_PIDS_MAX];
};

/* False after saying on stderr what is wrong. */
bool options_read(struct options *options, int argc, char **argv);

#endif
