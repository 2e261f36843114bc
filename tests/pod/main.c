/* SPDX-License-Identifier: MIT */
/*
 * The simulated pod's start and end. It prints `listening 127.0.0.1:PORT` (and, with
 * --control-port, `control 127.0.0.1:PORT`) when it is ready, and ends on SIGTERM or SIGINT.
 */
#include "conn.h"
#include "options.h"
#include "pod.h"
#include "server.h"
#include "tls.h"

#include <event2/event.h>

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

static void on_stop(evutil_socket_t signal_number, short what, void *arg)
{
    (void)signal_number;
    (void)what;
    (void)event_base_loopbreak(arg);
}

static void announce(const struct pod *pod)
{
    (void)fprintf(stdout, "listening %s:%u\n", pod->options->bind, pod->serving.port);
    if (pod->options->has_control) {
        (void)fprintf(stdout, "control %s:%u\n", pod->options->bind, pod->control.port);
    }
    (void)fflush(stdout);
}

static bool pod_start(struct pod *pod)
{
    const struct pod_options *options = pod->options;

    if (options->tls_cert != NULL) {
        pod->tls = pod_tls_new(options);
        if (pod->tls == NULL) {
            return false;
        }
    }
    if (!listener_open(&pod->serving, pod, options->port) ||
        (options->has_control && !listener_open(&pod->control, pod, options->control_port))) {
        (void)fprintf(stderr, "pod: cannot listen on %s:%u\n", options->bind, options->port);
        return false;
    }
    announce(pod);
    if (pod->settings.fault.kind == FAULT_REFUSE) {
        listener_refuse(&pod->serving);
    }
    return true;
}

static void pod_stop(struct pod *pod)
{
    struct list *item;
    struct list *after;

    listener_close(&pod->serving);
    listener_close(&pod->control);
    LIST_FOREACH_SAFE (item, after, &pod->conns) {
        conn_close(LIST_ITEM(item, struct conn, link), false);
    }
    conn_bury_dead(pod);
    pod_tls_free(pod->tls);
}

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
    struct pod_options options;

    if (!options_read(&options, argc, argv)) {
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    raise_fd_limit();
    struct pod pod = {
        .options = &options,
        .settings = options.settings,
        .base = event_base_new(),
        .serving = {.fd = -1},
        .control = {.fd = -1, .is_control = true},
    };
    list_init(&pod.conns);
    list_init(&pod.dead);
    timers_init(&pod.timers, pod.base);
    struct event *term = evsignal_new(pod.base, SIGTERM, on_stop, pod.base);
    struct event *interrupt = evsignal_new(pod.base, SIGINT, on_stop, pod.base);
    (void)event_add(term, NULL);
    (void)event_add(interrupt, NULL);

    bool is_up = pod_start(&pod);
    if (is_up) {
        (void)event_base_dispatch(pod.base);
    }
    pod_stop(&pod);
    event_free(term);
    event_free(interrupt);
    timers_done(&pod.timers);
    event_base_free(pod.base);
    return is_up ? 0 : 2;
}
