/* SPDX-License-Identifier: MIT */
/* Reads the process's own usage of memory, CPU and descriptors. */
#include "process_private.h"

#include <nearside/base/mem.h>

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>

static uint64_t count_open_fds(void)
{
    struct stat stat_now;
    uint64_t count = 0;
    DIR *folder;

    /* Since Linux 6.2 the folder's size is the count. */
    if (stat("/proc/self/fd", &stat_now) == 0 && stat_now.st_size > 0) {
        return (uint64_t)stat_now.st_size;
    }
    folder = opendir("/proc/self/fd");
    if (folder == NULL) {
        return 0;
    }
    while (readdir(folder) != NULL) {
        count++;
    }
    (void)closedir(folder);
    return count < 3 ? 0 : count - 3; /* ".", ".." and the folder's own */
}

static double seconds_of(struct timeval spent)
{
    return (double)spent.tv_sec + (double)spent.tv_usec / 1e6;
}

void process_read_usage(struct process_usage *ret_usage)
{
    struct rusage usage = {.ru_maxrss = 0};

    (void)getrusage(RUSAGE_SELF, &usage); /* cannot fail with these arguments */
    *ret_usage = (struct process_usage){
        .resident_bytes = mem_resident_bytes(),
        .open_fds = count_open_fds(),
        .cpu_seconds = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime),
    };
}
