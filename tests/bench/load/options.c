/* SPDX-License-Identifier: MIT */
/* See options.h. */
#include "options.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usage[] =
    "usage: load --connect ADDR:PORT --request FILE [options]\n"
    "  --connections N    64\n"
    "  --seconds S        measured time, 1\n"
    "  --warm S           before it, 0.2\n"
    "  --ramp S           over which the connections start, 0\n"
    "  --rate R           open loop: R requests a second, latency counted from their due time\n"
    "  --count N          end after N answers instead\n"
    "  --gap-ms G         tokens are sent G ms apart: report how much later they come\n"
    "  --new              a new connection for each request\n"
    "  --tls | --resume   TLS 1.3; with --resume each new connection resumes the last session\n"
    "  --hold             connect, print \"held N\", wait for SIGTERM\n"
    "  --cpu PID          report what CPU time PID took meanwhile; may be repeated\n";

static const struct option names[] = {
    {"connect", required_argument, NULL, 'C'},
    {"request", required_argument, NULL, 'f'},
    {"connections", required_argument, NULL, 'c'},
    {"seconds", required_argument, NULL, 's'},
    {"warm", required_argument, NULL, 'w'},
    {"ramp", required_argument, NULL, 'm'},
    {"rate", required_argument, NULL, 'r'},
    {"count", required_argument, NULL, 'n'},
    {"gap-ms", required_argument, NULL, 'g'},
    {"new", no_argument, NULL, 'N'},
    {"tls", no_argument, NULL, 't'},
    {"resume", no_argument, NULL, 'R'},
    {"hold", no_argument, NULL, 'h'},
    {"cpu", required_argument, NULL, 'p'},
    {NULL, 0, NULL, 0},
};

static bool read_peer(struct options *options, const char *text)
{
    char host[64];
    const char *colon = strrchr(text, ':');

    if (colon == NULL || (size_t)(colon - text) >= sizeof(host)) {
        return false;
    }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    options->peer.sin_family = AF_INET;
    options->peer.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    return inet_pton(AF_INET, host, &options->peer.sin_addr) == 1;
}

static bool read_request(struct options *options, const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &info) != 0) {
        return false;
    }
    options->request_len = (size_t)info.st_size;
    options->request = malloc(options->request_len + 1);
    if (options->request == NULL ||
        read(fd, options->request, options->request_len) != (ssize_t)options->request_len) {
        return false;
    }
    (void)close(fd);
    char *mark = memmem(options->request, options->request_len, OPTIONS_MARK, OPTIONS_MARK_LEN);
    options->mark_at = mark == NULL ? options->request_len : (size_t)(mark - options->request);
    return true;
}

static bool read_one(struct options *options, int name, const char *value)
{
    switch (name) {
    case 'C':
        return read_peer(options, value);
    case 'f':
        return read_request(options, value);
    case 'c':
        options->connections = (unsigned)strtoul(value, NULL, 10);
        return options->connections > 0;
    case 's':
        options->seconds = strtod(value, NULL);
        return options->seconds > 0;
    case 'w':
        options->warm_seconds = strtod(value, NULL);
        return true;
    case 'm':
        options->ramp_seconds = strtod(value, NULL);
        return true;
    case 'r':
        options->rate = strtod(value, NULL);
        return true;
    case 'n':
        options->count = strtoull(value, NULL, 10);
        return true;
    case 'g':
        options->gap_ns = strtoull(value, NULL, 10) * 1000000;
        return true;
    case 'N':
        options->is_new_each = true;
        return true;
    case 'R':
        options->resumes = true;
        options->has_tls = true;
        return true;
    case 't':
        options->has_tls = true;
        return true;
    case 'h':
        options->is_hold = true;
        return true;
    case 'p':
        options->pids[options->pid_count++ % OPTIONS_PIDS_MAX] = strtoul(value, NULL, 10);
        return options->pid_count <= OPTIONS_PIDS_MAX;
    default:
        return false;
    }
}

bool options_read(struct options *options, int argc, char **argv)
{
    *options = (struct options){.connections = 64, .seconds = 1, .warm_seconds = 0.2};
    int name;

    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (!read_one(options, name, optarg)) {
            (void)fprintf(stderr, "load: bad option or value: %s\n%s", argv[optind - 1], usage);
            return false;
        }
    }
    if (options->peer.sin_port == 0 || (options->request == NULL && !options->is_hold)) {
        (void)fputs(usage, stderr);
        return false;
    }
    return true;
}
