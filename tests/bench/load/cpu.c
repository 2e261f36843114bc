/* SPDX-License-Identifier: MIT */
/* See cpu.h. */
#include "cpu.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static uint64_t read_first_number(const char *path)
{
    char text[128];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (fd >= 0) {
        (void)close(fd);
    }
    text[len < 0 ? 0 : len] = '\0';
    return strtoull(text, NULL, 10);
}

uint64_t cpu_of_process_ns(unsigned long pid)
{
    char path[300];
    uint64_t sum = 0;

    (void)snprintf(path, sizeof(path), "/proc/%lu/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL) {
        return 0;
    }
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        if (task->d_name[0] != '.') {
            (void)snprintf(path, sizeof(path), "/proc/%lu/task/%s/schedstat", pid, task->d_name);
            sum += read_first_number(path);
        }
    }
    (void)closedir(tasks);
    return sum;
}
