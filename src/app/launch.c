/* SPDX-License-Identifier: MIT */
/*
 * Starting the program anew, for an upgrade: which file it is, what it inherits, how it is run.
 *
 * What is inherited are descriptors, passed by their numbers, and a table that says what they are
 * (inheritance.h), in a file without a name. posix_spawn() does not copy this process's memory, and
 * says at once if the file cannot be run.
 */
#include "edge.h"

#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/fleet.h>

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

extern char **environ;

/* ---- finding the program ---- */

static char *absolute(const char *path)
{
    char *directory;
    char *whole;

    if (path[0] == '/') {
        return mem_strdup(path);
    }
    directory = getcwd(NULL, 0);
    if (directory == NULL) {
        return mem_strdup("");
    }
    whole = mem_printf("%s/%s", directory, path);
    mem_free(directory);
    return whole;
}

char *launch_program(const char *argv0)
{
    struct str rest = str_of(getenv("PATH"));
    struct str directory;

    if (strchr(argv0, '/') != NULL) {
        return absolute(argv0);
    }
    while (str_next_item(&rest, ':', &directory)) {
        char *path = mem_printf("%.*s/%s", STR_FMT(directory), argv0);
        if (access(path, X_OK) == 0) {
            char *found = absolute(path);
            mem_free(path);
            return found;
        }
        mem_free(path);
    }
    return mem_strdup("");
}

/* ---- starting it ---- */

static void write_drain(bool is_region, const char *name, void *arg)
{
    inheritance_write_text(arg, INHERITED_DRAIN, is_region ? "region" : "endpoint", name);
}

/* Of regions that warm up; others need not know. */
static void write_warm(struct edge *edge, struct buf *out)
{
    const struct fleet_view *view = fleet_view_now(edge->fleet);

    for (uint32_t r = 0; r < view->region_count; r++) {
        const struct view_region *region = &view->regions[r];
        for (uint32_t e = 0; region->conf->warmup.requests > 0 && e < region->endpoint_count; e++) {
            if (region->endpoints[e].state == ENDPOINT_UP) {
                inheritance_write_text(out, INHERITED_WARM, region->name,
                                       region->endpoints[e].address);
            }
        }
    }
}

static void write_table(struct edge *edge, int admin_fd, struct buf *out)
{
    inheritance_write_head(out);
    for (uint32_t i = 0; i < edge->listener_count; i++) {
        const struct edge_listener *listener = &edge->listeners[i];
        inheritance_write_sockets(out, INHERITED_LISTENER, listener->sockets,
                                  listener->socket_count, listener->bind);
    }
    if (admin_fd >= 0) {
        inheritance_write_sockets(out, INHERITED_ADMIN, &admin_fd, 1, edge->admin_bind);
    }
    fleet_each_drain(edge->fleet, write_drain, out);
    write_warm(edge, out);
}

/* The table as a file without a name. -1: refused by the system. */
static int table_file(struct edge *edge, int admin_fd)
{
    struct buf table;
    int fd = memfd_create("nearside-upgrade", MFD_CLOEXEC);

    buf_init(&table);
    write_table(edge, admin_fd, &table);
    if (fd >= 0 && write(fd, buf_str(&table).ptr, buf_len(&table)) != (ssize_t)buf_len(&table)) {
        (void)close(fd);
        fd = -1;
    }
    buf_done(&table);
    return fd;
}

/* The environment with our variable; the watchdog's is this process's own. NULL at the end; only
 * the last string is owned. */
static char **successor_environment(int channel, int table)
{
    size_t count = 0;
    size_t kept = 0;
    char **variables;

    while (environ[count] != NULL) {
        count++;
    }
    variables = mem_new_array(count + 2, char *);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(environ[i], "WATCHDOG_PID=", strlen("WATCHDOG_PID=")) != 0 &&
            strncmp(environ[i], INHERITANCE_VARIABLE "=", strlen(INHERITANCE_VARIABLE "=")) != 0) {
            variables[kept++] = environ[i];
        }
    }
    variables[kept] = mem_printf(INHERITANCE_VARIABLE "=%d,%d", channel, table);
    return variables;
}

static void environment_free(char **variables)
{
    size_t count = 0;

    while (variables[count + 1] != NULL) {
        count++;
    }
    mem_free(variables[count]);
    mem_free(variables);
}

/* A descriptor duplicated onto itself loses its close-on-exec flag in the new process. */
static void pass(posix_spawn_file_actions_t *actions, int fd)
{
    (void)posix_spawn_file_actions_adddup2(actions, fd, fd);
}

static int spawn(struct edge *edge, int channel, int table, int admin_fd)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    char **variables = successor_environment(channel, table);
    int error;

    (void)sigemptyset(&none);
    (void)posix_spawnattr_init(&attributes);
    (void)posix_spawnattr_setsigmask(&attributes, &none);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    (void)posix_spawn_file_actions_init(&actions);
    pass(&actions, channel);
    pass(&actions, table);
    if (admin_fd >= 0) {
        pass(&actions, admin_fd);
    }
    for (uint32_t i = 0; i < edge->listener_count; i++) {
        for (uint32_t s = 0; s < edge->listeners[i].socket_count; s++) {
            pass(&actions, edge->listeners[i].sockets[s]);
        }
    }
    error = posix_spawn(&edge->upgrade.successor, edge->program, &actions, &attributes,
                        edge->options->argv, variables);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    environment_free(variables);
    return error;
}

bool launch(struct edge *edge, int *ret_error)
{
    int ends[2];
    int admin_fd = admin_socket(edge->admin);
    int table = table_file(edge, admin_fd);

    if (table < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        *ret_error = errno;
        if (table >= 0) {
            (void)close(table);
        }
        return false;
    }
    *ret_error = spawn(edge, ends[1], table, admin_fd);
    (void)close(ends[1]);
    (void)close(table);
    edge->upgrade.younger.fd = ends[0];
    if (*ret_error != 0) {
        edge->upgrade.successor = 0;
    }
    return *ret_error == 0;
}
