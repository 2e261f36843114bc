/* SPDX-License-Identifier: MIT */
/*
 * A real redis-server for one test: started on a free port of loopback, ended by its process id,
 * gone with the test even when that is killed. Include after <cmocka.h>.
 */
#ifndef NEARSIDE_TESTS_MODULE_REDIS_SERVER_H
#define NEARSIDE_TESTS_MODULE_REDIS_SERVER_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define REDIS_OPTIONS_MAX 24
#define REDIS_START_MS    10000

struct redis_server {
    pid_t pid; /* 0: not running */
    uint16_t port;
    int log; /* its standard output; a pipe that holds far more than it says */
};

static inline uint16_t redis_free_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

static inline void redis_exec(const char *const *options, const char *port_option, const char *port,
                              int log)
{
    const char *args[REDIS_OPTIONS_MAX + 10] = {"redis-server", "--bind", "127.0.0.1", "--save", "",
                                                port_option,    port};
    size_t count = 7;

    for (size_t i = 0; options != NULL && options[i] != NULL; i++) {
        args[count++] = options[i];
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(log, STDOUT_FILENO);
    (void)execvp(args[0], (char *const *)(uintptr_t)args);
    _exit(127);
}

/* Read its log until it says that it serves. */
static inline bool redis_wait_ready(struct redis_server *server)
{
    char text[65536];
    size_t len = 0;
    struct pollfd pollfd = {.fd = server->log, .events = POLLIN};

    while (len < sizeof(text) - 1 && poll(&pollfd, 1, REDIS_START_MS) == 1) {
        ssize_t got = read(server->log, text + len, sizeof(text) - 1 - len);

        if (got <= 0) {
            return false; /* somebody else took the port */
        }
        len += (size_t)got;
        text[len] = '\0';
        if (strstr(text, "Ready to accept connections") != NULL) {
            return true;
        }
    }
    return false;
}

/* `options` ends with NULL; `port` 0: any; `port_option`: "--port" or "--tls-port". */
static inline void redis_start_at(struct redis_server *server, uint16_t port,
                                  const char *port_option, const char *const *options)
{
    for (int attempt = 0; attempt < 5; attempt++) {
        char text[8];
        int ends[2];

        server->port = port != 0 ? port : redis_free_port();
        (void)snprintf(text, sizeof(text), "%u", server->port);
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        server->pid = fork();
        assert_true(server->pid >= 0);
        if (server->pid == 0) {
            redis_exec(options, port_option, text, ends[1]);
        }
        close(ends[1]);
        server->log = ends[0];
        if (redis_wait_ready(server)) {
            return;
        }
        close(server->log);
        (void)kill(server->pid, SIGKILL);
        (void)waitpid(server->pid, NULL, 0);
    }
    server->pid = 0;
    fail_msg("redis-server did not start");
}

static inline void redis_start(struct redis_server *server, const char *const *options)
{
    redis_start_at(server, 0, "--port", options);
}

/* No packet is answered any more, but the kernel goes on accepting. */
static inline void redis_freeze(const struct redis_server *server)
{
    int status;

    assert_int_equal(kill(server->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(server->pid, &status, WUNTRACED), server->pid);
}

static inline void redis_thaw(const struct redis_server *server)
{
    assert_int_equal(kill(server->pid, SIGCONT), 0);
}

/* Harmless when it does not run. */
static inline void redis_stop(struct redis_server *server)
{
    if (server->pid == 0) {
        return;
    }
    (void)kill(server->pid, SIGKILL);
    (void)waitpid(server->pid, NULL, 0);
    close(server->log);
    server->pid = 0;
}

#endif
