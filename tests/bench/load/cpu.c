/* SPDX-License-Identifier: MIT */
/* See cpu.h. */
#include "cpu.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A schedstat: time on a CPU, time waiting for one, runs. */
static struct cpu cpu_of_task(const char *path)
{
    char text[128];
    char *at = text;
    struct cpu cpu;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (fd >= 0) {
        (void)close(fd);
    }
    text[len < 0 ? 0 : len] = '\0';
    cpu.ns = strtoull(at, &at, 10);
    (void)strtoull(at, &at, 10);
    cpu.runs = strtoull(at, &at, 10);
    return cpu;
}

struct cpu cpu_of_process(unsigned long pid)
{
    char path[300];
    struct cpu sum = {.ns = 0};

    (void)snprintf(path, sizeof(path), "/proc/%lu/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL) {
        return sum;
    }
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        if (task->d_name[0] != '.') {
            (void)snprintf(path, sizeof(path), "/proc/%lu/task/%s/schedstat", pid, task->d_name);
            struct cpu cpu = cpu_of_task(path);
            sum.ns += cpu.ns;
            sum.runs += cpu.runs;
        }
    }
    (void)closedir(tasks);
    return sum;
}
