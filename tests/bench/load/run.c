/* SPDX-License-Identifier: MIT */
/* See run.h. */
#include "run.h"

#include "conn.h"
#include "cpu.h"
#include "histogram.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_PER_TURN 512
#define HOLD_AT_ONCE    64
#define FAILURES_MAX    100000 /* then the run is given up */
#define NS_PER_S        1e9

struct tally {
    uint64_t answers;
    uint64_t bad_statuses;
    uint64_t failures;
    uint64_t events;
    uint64_t connects;
    uint64_t resumed;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t own_cpu_ns;
    struct cpu cpu[OPTIONS_PIDS_MAX];
};

struct run {
    const struct options *options;
    struct conn_env env;
    struct conn *conns; /* owned */
    struct conn **idle; /* owned: a stack, for the open loop */
    unsigned idle_count;
    unsigned started; /* connections of the ramp */
    uint64_t begun_ns;
    uint64_t window_ns; /* 0: still warming */
    uint64_t next_due_ns;
    struct tally tally;
    struct histogram latencies;
    bool is_over;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* ---- the window ---- */

static void read_gauges(const struct run *run, struct tally *ret_tally)
{
    struct timespec own;

    for (unsigned i = 0; i < run->options->pid_count; i++) {
        ret_tally->cpu[i] = cpu_of_process(run->options->pids[i]);
    }
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
    ret_tally->own_cpu_ns = (uint64_t)own.tv_sec * 1000000000ULL + (uint64_t)own.tv_nsec;
    ret_tally->events = run->env.events;
    ret_tally->bytes_in = run->env.bytes_in;
    ret_tally->bytes_out = run->env.bytes_out;
}

static void window_open(struct run *run, uint64_t now)
{
    run->tally = (struct tally){0};
    run->latencies = (struct histogram){0};
    run->env.first_events = (struct histogram){0};
    run->env.lateness = (struct histogram){0};
    read_gauges(run, &run->tally);
    run->window_ns = now;
}

static void window_close(struct run *run)
{
    struct tally after = run->tally;
    struct tally *tally = &run->tally;

    read_gauges(run, &after);
    for (unsigned i = 0; i < run->options->pid_count; i++) {
        tally->cpu[i].ns = after.cpu[i].ns - tally->cpu[i].ns;
        tally->cpu[i].runs = after.cpu[i].runs - tally->cpu[i].runs;
    }
    tally->own_cpu_ns = after.own_cpu_ns - tally->own_cpu_ns;
    tally->events = after.events - tally->events;
    tally->bytes_in = after.bytes_in - tally->bytes_in;
    tally->bytes_out = after.bytes_out - tally->bytes_out;
    run->is_over = true;
}

static void report(const struct run *run, double seconds)
{
    const struct tally *tally = &run->tally;
    const struct histogram *latencies = &run->latencies;

    (void)printf("{\"seconds\":%.6f,\"answers\":%llu,\"bad_statuses\":%llu,\"failures\":%llu,"
                 "\"events\":%llu,\"connects\":%llu,\"resumed\":%llu,\"bytes_in\":%llu,"
                 "\"bytes_out\":%llu,\"own_cpu_ns\":%llu,",
                 seconds, (unsigned long long)tally->answers,
                 (unsigned long long)tally->bad_statuses, (unsigned long long)tally->failures,
                 (unsigned long long)tally->events, (unsigned long long)tally->connects,
                 (unsigned long long)tally->resumed, (unsigned long long)tally->bytes_in,
                 (unsigned long long)tally->bytes_out, (unsigned long long)tally->own_cpu_ns);
    (void)printf("\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,",
                 (double)histogram_quantile(latencies, 0.5) / 1e3,
                 (double)histogram_quantile(latencies, 0.99) / 1e3,
                 (double)histogram_quantile(latencies, 0.999) / 1e3);
    (void)printf("\"ttft_p99_us\":%.1f,\"late_p50_us\":%.1f,\"late_p99_us\":%.1f,\"cpu\":[",
                 (double)histogram_quantile(&run->env.first_events, 0.99) / 1e3,
                 (double)histogram_quantile(&run->env.lateness, 0.5) / 1e3,
                 (double)histogram_quantile(&run->env.lateness, 0.99) / 1e3);
    for (unsigned i = 0; i < run->options->pid_count; i++) {
        (void)printf("%s{\"ns\":%llu,\"runs\":%llu}", i == 0 ? "" : ",",
                     (unsigned long long)tally->cpu[i].ns, (unsigned long long)tally->cpu[i].runs);
    }
    (void)printf("]}\n");
}

/* ---- connections ---- */

static void on_news(struct run *run, struct conn *conn, enum conn_news news);

static void reconnect(struct run *run, struct conn *conn)
{
    if (!run->is_over && !conn_connect(&run->env, conn)) {
        run->tally.failures++;
        run->is_over = true; /* no socket to be had: nothing that follows would mean anything */
    }
}

static void use(struct run *run, struct conn *conn)
{
    if (run->options->rate > 0) {
        run->idle[run->idle_count++] = conn;
        return;
    }
    conn->start_ns = now_ns();
    on_news(run, conn, conn_send(&run->env, conn));
}

static void hold_next(struct run *run)
{
    if (run->started < run->options->connections) {
        reconnect(run, &run->conns[run->started++]);
    }
    if (run->tally.answers + run->tally.failures >= run->options->connections) {
        run->is_over = true;
    }
}

static void count_answer(struct run *run, const struct conn *conn)
{
    run->tally.answers++;
    run->tally.bad_statuses += conn->reader.status / 100 != 2 ? 1 : 0;
    histogram_add(&run->latencies, now_ns() - conn->start_ns);
    if (run->options->count > 0 && run->tally.answers >= run->options->count && !run->is_over) {
        window_close(run);
    }
}

static void on_answer(struct run *run, struct conn *conn)
{
    count_answer(run, conn);
    if (run->options->is_hold) {
        hold_next(run);
    } else if (conn->state == CONN_IDLE && !run->is_over) {
        use(run, conn);
    } else if (conn->state == CONN_DRAIN) {
        on_news(run, conn, conn_handle(&run->env, conn)); /* its end may be here already */
    } else if (conn->state == CONN_CLOSED) {
        reconnect(run, conn);
    }
}

static void on_broken(struct run *run, struct conn *conn)
{
    run->tally.failures++;
    for (unsigned i = 0; i < run->idle_count; i++) {
        if (run->idle[i] == conn) {
            run->idle[i] = run->idle[--run->idle_count];
        }
    }
    if (run->options->is_hold) {
        hold_next(run);
    } else if (run->tally.failures > FAILURES_MAX) {
        run->is_over = true;
    } else {
        reconnect(run, conn);
    }
}

static void on_news(struct run *run, struct conn *conn, enum conn_news news)
{
    switch (news) {
    case CONN_READY:
        run->tally.connects++;
        run->tally.resumed += conn->was_resumed ? 1 : 0;
        if (run->options->is_hold && run->options->request == NULL) {
            on_answer(run, conn);
        } else {
            use(run, conn);
        }
        break;
    case CONN_ANSWER:
        on_answer(run, conn);
        break;
    case CONN_ENDED:
        reconnect(run, conn);
        break;
    case CONN_BROKEN:
        on_broken(run, conn);
        break;
    case CONN_NOTHING:
        break;
    }
}

/* ---- the loop ---- */

static void start_due_connections(struct run *run, uint64_t now)
{
    const struct options *options = run->options;
    double ramp_ns = options->ramp_seconds * NS_PER_S;
    double share = ramp_ns > 0 ? (double)(now - run->begun_ns) / ramp_ns : 1.0;
    unsigned wanted =
        share < 1.0 ? 1 + (unsigned)(share * (options->connections - 1)) : options->connections;

    if (options->is_hold) {
        wanted = options->connections < HOLD_AT_ONCE ? options->connections : HOLD_AT_ONCE;
    }
    while (run->started < wanted && !run->is_over) {
        reconnect(run, &run->conns[run->started++]);
    }
}

static void send_due_requests(struct run *run, uint64_t now)
{
    uint64_t gap_ns = (uint64_t)(NS_PER_S / run->options->rate);

    while (run->next_due_ns <= now && run->idle_count > 0) {
        struct conn *conn = run->idle[--run->idle_count];
        conn->start_ns = run->next_due_ns;
        run->next_due_ns += gap_ns;
        on_news(run, conn, conn_send(&run->env, conn));
    }
}

static void tick(struct run *run, uint64_t now)
{
    const struct options *options = run->options;
    double ran = (double)(now - run->begun_ns) / NS_PER_S;

    start_due_connections(run, now);
    if (options->is_hold) {
        return; /* no window: it ends when all are held */
    }
    if (options->rate > 0) {
        send_due_requests(run, now);
    }
    if (run->window_ns == 0 && (options->count > 0 || ran >= options->warm_seconds)) {
        window_open(run, now);
    }
    if (options->count == 0 && run->window_ns > 0 &&
        (double)(now - run->window_ns) / NS_PER_S >= options->seconds) {
        window_close(run);
    }
}

/* 10 ms at most, so that edges of time are met; exact for the open loop. */
static struct timespec wait_of(const struct run *run, uint64_t now)
{
    uint64_t wait = 10000000;

    if (run->started < run->options->connections) {
        wait = 1000000;
    }
    if (run->options->rate > 0 && run->idle_count > 0) {
        uint64_t due = run->next_due_ns > now ? run->next_due_ns - now : 0;
        wait = due < wait ? due : wait;
    }
    return (struct timespec){.tv_nsec = (long)wait};
}

static void turn(struct run *run)
{
    struct epoll_event events[EVENTS_PER_TURN];
    struct timespec wait = wait_of(run, now_ns());
    int count = epoll_pwait2(run->env.epoll, events, EVENTS_PER_TURN, &wait, NULL);

    for (int i = 0; i < count && !run->is_over; i++) {
        struct conn *conn = events[i].data.ptr;
        conn->is_ending |= (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
        on_news(run, conn, conn_handle(&run->env, conn));
    }
    if (!run->is_over) {
        tick(run, now_ns());
    }
}

static void hold(const struct run *run)
{
    sigset_t set;
    int got;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)printf("held %llu failed %llu\n", (unsigned long long)run->tally.answers,
                 (unsigned long long)run->tally.failures);
    (void)fflush(stdout);
    (void)sigwait(&set, &got);
}

static void close_all(struct run *run)
{
    for (unsigned i = 0; i < run->options->connections; i++) {
        conn_close(&run->conns[i]);
        SSL_SESSION_free(run->conns[i].session);
    }
    conn_env_done(&run->env);
    free(run->conns);
    free(run->idle);
}

int run(const struct options *options)
{
    static struct run run; /* the histogram is large */

    run.options = options;
    run.conns = calloc(options->connections, sizeof(*run.conns));
    run.idle = calloc(options->connections, sizeof(struct conn *));
    if (run.conns == NULL || run.idle == NULL || !conn_env_init(&run.env, options)) {
        (void)fprintf(stderr, "load: cannot start\n");
        return 2;
    }
    for (unsigned i = 0; i < options->connections; i++) {
        run.conns[i].fd = -1;
    }
    run.begun_ns = now_ns();
    run.next_due_ns = run.begun_ns;
    tick(&run, run.begun_ns);
    while (!run.is_over) {
        turn(&run);
    }
    if (options->is_hold) {
        hold(&run);
    } else {
        report(&run, (double)(now_ns() - run.window_ns) / NS_PER_S);
    }
    close_all(&run);
    return 0;
}
