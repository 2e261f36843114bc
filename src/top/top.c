/* SPDX-License-Identifier: MIT */
/*
 * Ask, draw, wait; one poll over the edge's socket, the keys and the signals.
 *
 *   ASK ──answer or failure──> WAIT ──1 s──> ASK
 *    └──────────────────────────┴──> end: q, Ctrl-C, SIGTERM, or the terminal is gone
 *
 * An edge that does not answer is asked on; the picture then says since when, and why.
 */
#include <nearside/top/top.h>

#include "fetch_private.h"
#include "frame_private.h"
#include "terminal_private.h"

#include <nearside/base/clock.h>

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define ASK_EVERY_MS 1000
#define TICK_MS      250   /* how soon it is seen that time has passed */
#define ONCE_WIDTH   200   /* of --once into a file or a pipe: every column */
#define ONCE_HEIGHT  10000 /* and every line */

static const char usage[] =
    "nearside top [--admin URL] [--ca FILE] [--once]: the status page of an edge in a terminal\n"
    "\n"
    "  --admin URL   its admin listener, http://127.0.0.1:9901 unless given; https:// with "
    "admin.tls\n"
    "  --ca FILE     https: whom to trust, in PEM form; the system's authorities unless given\n"
    "  --once        print one picture, as plain text, and end\n"
    "\n"
    "keys:  q leave\n"
    "exit:  0 left, or --once printed it   1 bad usage   2 --once had no answer\n";

struct top {
    struct fetch_target target;
    struct fetch fetch;
    json_t *status;        /* owned; NULL: none came yet */
    struct errbuf trouble; /* why there was no answer of late; empty: there was */
    uint64_t answered_ns;  /* or since when it is asked */
    uint64_t ask_ns;       /* when to ask again */
    bool is_stale;         /* the picture on the screen */
    int signals;
    struct terminal terminal;
};

/* ---- asking ---- */

static void note_failure(struct top *top, const char *why)
{
    err_set(&top->trouble, "%s: %s", top->target.authority, why);
}

static void take_answer(struct top *top)
{
    json_t *status = json_loadb(top->fetch.body.ptr, top->fetch.body.len, 0, NULL);

    if (!json_is_object(status) || !json_is_object(json_object_get(status, "edge"))) {
        json_decref(status);
        note_failure(top, "what answers there is no Nearside");
        return;
    }
    json_decref(top->status);
    top->status = status;
    top->trouble.text[0] = '\0';
    top->answered_ns = clock_mono_ns();
}

/* True: the asking is over, one way or the other. */
static bool take_result(struct top *top, enum fetch_result result)
{
    if (result == FETCH_MORE) {
        return false;
    }
    if (result == FETCH_DONE) {
        take_answer(top);
    } else {
        note_failure(top, top->fetch.err.text);
    }
    top->ask_ns = clock_mono_ns() + (uint64_t)ASK_EVERY_MS * NS_PER_MS;
    top->is_stale = true;
    return true;
}

static bool ask(struct top *top)
{
    return take_result(top, fetch_start(&top->fetch, &top->target, "/status.json"));
}

/* ---- drawing ---- */

static bool draw(const struct top *top, bool escapes, size_t width, size_t height)
{
    uint64_t lost_ns = clock_mono_ns() - top->answered_ns;
    struct frame frame = {.status = top->status,
                          .trouble = top->trouble.text[0] == '\0' ? NULL : top->trouble.text,
                          .lost_s = (double)lost_ns / (double)NS_PER_S};
    struct buf out;
    struct page page = {.out = &out, .width = width, .height = height, .escapes = escapes};
    bool is_written;

    buf_init(&out);
    if (escapes) {
        buf_append_str(&out, STR_LIT("\033[H"));
    }
    frame_draw(&frame, &page);
    if (escapes) {
        buf_append_str(&out, STR_LIT("\033[J"));
    }
    is_written = terminal_write(buf_str(&out).ptr, buf_len(&out));
    buf_done(&out);
    return is_written;
}

/* False: the terminal is gone. */
static bool draw_screen(struct top *top)
{
    size_t width;
    size_t height;

    if (!top->is_stale && top->trouble.text[0] == '\0') {
        return true;
    }
    top->is_stale = false;
    terminal_size(&width, &height);
    return draw(top, true, width, height);
}

/* ---- once ---- */

static enum top_exit run_once(struct top *top)
{
    size_t width = ONCE_WIDTH;
    size_t height;
    bool is_over = ask(top);

    while (!is_over) {
        struct pollfd poll_fd = {.fd = top->fetch.fd, .events = fetch_events(&top->fetch)};

        (void)poll(&poll_fd, 1, TICK_MS);
        is_over = take_result(top, fetch_step(&top->fetch, poll_fd.revents));
    }
    if (top->status == NULL) {
        (void)fprintf(stderr, "nearside top: %s\n", top->trouble.text);
        return TOP_EXIT_NO_ANSWER;
    }
    if (isatty(STDOUT_FILENO)) {
        terminal_size(&width, &height);
    }
    return draw(top, false, width, ONCE_HEIGHT) ? TOP_EXIT_OK : TOP_EXIT_NO_ANSWER;
}

/* ---- on and on ---- */

/* True: it is to end. */
static bool read_signal(struct top *top)
{
    struct signalfd_siginfo info;
    ssize_t len = read(top->signals, &info, sizeof(info));

    top->is_stale = true; /* the size may be another */
    return len == (ssize_t)sizeof(info) && info.ssi_signo != SIGWINCH;
}

static bool read_keys(void)
{
    char keys[64];
    ssize_t len = read(STDIN_FILENO, keys, sizeof(keys));

    for (ssize_t i = 0; i < len; i++) {
        if (keys[i] == 'q' || keys[i] == 'Q') {
            return true;
        }
    }
    return len == 0 || (len < 0 && errno != EINTR && errno != EAGAIN);
}

/* One wait, and what came of it. True: it is to end. */
static bool turn(struct top *top)
{
    enum { EDGE, KEYS, SIGNALS, COUNT };
    struct pollfd fds[COUNT] = {
        [EDGE] = {.fd = top->fetch.fd, .events = fetch_events(&top->fetch)},
        [KEYS] = {.fd = top->terminal.has_keys ? STDIN_FILENO : -1, .events = POLLIN},
        [SIGNALS] = {.fd = top->signals, .events = POLLIN},
    };

    (void)poll(fds, COUNT, TICK_MS);
    if (fds[SIGNALS].revents != 0 && read_signal(top)) {
        return true;
    }
    if (fds[KEYS].revents != 0 && read_keys()) {
        return true;
    }
    if (top->fetch.fd >= 0) {
        (void)take_result(top, fetch_step(&top->fetch, fds[EDGE].revents));
    } else if (clock_mono_ns() >= top->ask_ns) {
        (void)ask(top);
    }
    return !draw_screen(top);
}

static enum top_exit run_screen(struct top *top)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGWINCH);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    top->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    terminal_enter(&top->terminal);
    (void)ask(top);
    while (!turn(top)) {
        continue;
    }
    terminal_leave(&top->terminal);
    (void)close(top->signals);
    return TOP_EXIT_OK;
}

/* ---- the command line ---- */

struct arguments {
    const char *url;
    const char *ca; /* NULL: the system's */
    bool once;
    bool help;
};

static enum status parse(int argc, char **argv, struct arguments *ret_arguments, struct errbuf *err)
{
    static const struct option options[] = {{"admin", required_argument, NULL, 'a'},
                                            {"ca", required_argument, NULL, 'c'},
                                            {"once", no_argument, NULL, '1'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int letter;

    *ret_arguments = (struct arguments){.url = "http://127.0.0.1:9901"};
    opterr = 0;
    while ((letter = getopt_long(argc, argv, "a:c:1h", options, NULL)) != -1) {
        switch (letter) {
        case 'a':
            ret_arguments->url = optarg;
            break;
        case 'c':
            ret_arguments->ca = optarg;
            break;
        case '1':
            ret_arguments->once = true;
            break;
        case 'h':
            ret_arguments->help = true;
            break;
        default:
            err_set(err, "%s: unknown, or without its value (see nearside top --help)",
                    argv[optind - 1]);
            return STATUS_INVALID;
        }
    }
    if (optind < argc) {
        err_set(err, "%s: not expected (see nearside top --help)", argv[optind]);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static enum top_exit complain(const struct errbuf *err)
{
    (void)fprintf(stderr, "nearside top: %s\n", err->text);
    return TOP_EXIT_USAGE;
}

static enum status set_trust(struct top *top, const char *ca, struct errbuf *err)
{
    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    return trust_new(ca, &top->target.trust, err);
}

static enum top_exit run(const struct arguments *arguments, struct top *top, struct errbuf *err)
{
    enum top_exit code;

    if (fetch_parse_url(arguments->url, &top->target, err) != STATUS_OK) {
        return complain(err);
    }
    if (!arguments->once && !isatty(STDOUT_FILENO)) {
        err_set(err, "standard output is no terminal; give --once");
        return complain(err);
    }
    if (top->target.is_tls && set_trust(top, arguments->ca, err) != STATUS_OK) {
        return complain(err);
    }
    fetch_init(&top->fetch);
    top->answered_ns = clock_mono_ns();
    code = arguments->once ? run_once(top) : run_screen(top);
    fetch_done(&top->fetch);
    trust_free(top->target.trust);
    json_decref(top->status);
    return code;
}

enum top_exit top_main(int argc, char **argv)
{
    struct arguments arguments;
    struct top top = {.signals = -1, .is_stale = true};
    struct errbuf err;

    if (parse(argc, argv, &arguments, &err) != STATUS_OK) {
        return complain(&err);
    }
    if (arguments.help) {
        (void)fputs(usage, stdout);
        return TOP_EXIT_OK;
    }
    return run(&arguments, &top, &err);
}
