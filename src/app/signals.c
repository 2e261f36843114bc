/* SPDX-License-Identifier: MIT */
/*
 * What signals do, from the first moment to the last.
 *
 *   start   HUP, USR1 and USR2 wait; TERM, INT and QUIT end the process at once: nothing is served
 *   run     each is a callback on the control thread's loop; what waited comes first
 *   end     none is heard: a process that ends is not killed over the last of it
 */
#include "edge.h"

#include <nearside/base/assert.h>
#include <nearside/obs/log.h>

#include <signal.h>
#include <unistd.h>

static const int numbers[EDGE_SIGNALS] = {SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGQUIT};

#define FIRST_TO_END 3 /* in `numbers` */

static sigset_t set_of(unsigned count)
{
    sigset_t set;

    (void)sigemptyset(&set);
    for (unsigned i = 0; i < count; i++) {
        (void)sigaddset(&set, numbers[i]);
    }
    return set;
}

/* ---- start ---- */

/* A handler, since the kernel withholds the default action from process 1 of a container. */
static void on_early_end(int number)
{
    (void)number;
    _exit(0);
}

void signals_await(void)
{
    struct sigaction ends = {.sa_handler = on_early_end};
    sigset_t waiting = set_of(FIRST_TO_END);

    (void)sigprocmask(SIG_BLOCK, &waiting, NULL);
    for (unsigned i = FIRST_TO_END; i < EDGE_SIGNALS; i++) {
        (void)sigaction(numbers[i], &ends, NULL); /* cannot fail with these arguments */
    }
}

/* ---- run ---- */

static void on_signal(int signal_number, void *arg)
{
    struct edge *edge = OBJ_CAST(arg, edge, EDGE_MAGIC);

    switch (signal_number) {
    case SIGHUP:
        (void)edge_reload(edge);
        break;
    case SIGUSR1:
        log_reopen();
        break;
    case SIGUSR2:
        upgrade_start(edge);
        break;
    default:
        edge_drain(edge);
        break;
    }
}

void signals_start(struct edge *edge)
{
    sigset_t waiting = set_of(FIRST_TO_END);

    for (unsigned i = 0; i < EDGE_SIGNALS; i++) {
        edge->signals[i] = loop_signal_new(edge->loop, numbers[i], on_signal, edge);
    }
    (void)pthread_sigmask(SIG_UNBLOCK, &waiting, NULL);
}

/* ---- end ---- */

bool signals_stop(struct edge *edge)
{
    sigset_t all = set_of(EDGE_SIGNALS);

    if (edge->signals[0] == NULL) {
        return false;
    }
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (unsigned i = 0; i < EDGE_SIGNALS; i++) {
        loop_signal_free(edge->signals[i]);
    }
    return true;
}
