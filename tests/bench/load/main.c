/* SPDX-License-Identifier: MIT */
/*
 * A load generator for one core: plain and TLS, keep-alive and new connections, streams, big
 * bodies, closed loop and open loop. It reads the proxy's CPU time at the very edges of the
 * measured window, which is why it is not wrk.
 */
#include "options.h"
#include "run.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static void raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct options options;

    if (!options_read(&options, argc, argv)) {
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); /* the open loop sends on time */
    raise_fd_limit();
    int status = run(&options);
    free(options.request);
    return status;
}
