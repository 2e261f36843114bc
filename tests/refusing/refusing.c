/* SPDX-License-Identifier: MIT */
/*
 * The edge with a hand on its allocator, for tests: linked with --wrap, so that each mem_* call of
 * the product comes through here. The file named by REFUSE_CONTROL is mapped and holds struct
 * control; the test writes its first half, we the other.
 *
 * A call that may be refused is counted; the one numbered `fail_at` is refused, with `to_the_end`
 * all after it as well. Of calls that may not be refused, the largest on a worker is noted: what a
 * peer sizes must not be among them.
 */
#include <nearside/base/mem.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct control {
    /* the test's */
    atomic_ullong is_on;
    atomic_ullong fail_at; /* 1: the next; 0: none */
    atomic_ullong to_the_end;
    /* ours */
    atomic_ullong calls;
    atomic_ullong refused;
    atomic_ullong refused_at; /* the last one's caller, from the program's start */
    atomic_ullong rigid_max;  /* bytes */
    atomic_ullong rigid_at;
};

extern const char __executable_start[];

static struct control *control;

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv("REFUSE_CONTROL");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *mapped;

    if (fd < 0) {
        return;
    }
    mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    control = mapped;
}

static uint64_t place_of(const void *caller)
{
    return (uint64_t)((const char *)caller - __executable_start);
}

static bool is_refused(const void *caller)
{
    if (control == NULL || control->is_on == 0) {
        return false;
    }
    uint64_t number = atomic_fetch_add(&control->calls, 1) + 1;
    if (control->fail_at == 0 || number < control->fail_at ||
        (number > control->fail_at && control->to_the_end == 0)) {
        return false;
    }
    control->refused_at = place_of(caller);
    atomic_fetch_add(&control->refused, 1);
    return true;
}

static bool is_worker(void)
{
    static _Thread_local int known; /* 0: not asked, 1: a worker, 2: another */

    if (known == 0) {
        char name[16] = "";
        (void)pthread_getname_np(pthread_self(), name, sizeof(name));
        known = strncmp(name, "worker-", 7) == 0 ? 1 : 2;
    }
    return known == 1;
}

static void note_rigid(size_t size, const void *caller)
{
    if (control != NULL && control->is_on != 0 && size > control->rigid_max && is_worker()) {
        control->rigid_max = size;
        control->rigid_at = place_of(caller);
    }
}

#define CALLER __builtin_return_address(0)

void *__real_mem_try_alloc(size_t size);
void *__real_mem_try_realloc(void *ptr, size_t size);
void *__real_mem_zero(size_t count, size_t size);
void *__real_mem_alloc(size_t size);
void *__real_mem_realloc(void *ptr, size_t size);
char *__real_mem_strndup(const char *text, size_t len);
char *__real_mem_strdup(const char *text);

void *__wrap_mem_try_alloc(size_t size);
void *__wrap_mem_try_realloc(void *ptr, size_t size);
void *__wrap_mem_zero(size_t count, size_t size);
void *__wrap_mem_alloc(size_t size);
void *__wrap_mem_realloc(void *ptr, size_t size);
char *__wrap_mem_strndup(const char *text, size_t len);
char *__wrap_mem_strdup(const char *text);

void *__wrap_mem_try_alloc(size_t size)
{
    return is_refused(CALLER) ? NULL : __real_mem_try_alloc(size);
}

void *__wrap_mem_try_realloc(void *ptr, size_t size)
{
    return is_refused(CALLER) ? NULL : __real_mem_try_realloc(ptr, size);
}

void *__wrap_mem_zero(size_t count, size_t size)
{
    note_rigid(count * size, CALLER);
    return __real_mem_zero(count, size);
}

void *__wrap_mem_alloc(size_t size)
{
    note_rigid(size, CALLER);
    return __real_mem_alloc(size);
}

void *__wrap_mem_realloc(void *ptr, size_t size)
{
    note_rigid(size, CALLER);
    return __real_mem_realloc(ptr, size);
}

char *__wrap_mem_strndup(const char *text, size_t len)
{
    note_rigid(len, CALLER);
    return __real_mem_strndup(text, len);
}

char *__wrap_mem_strdup(const char *text)
{
    note_rigid(strlen(text), CALLER);
    return __real_mem_strdup(text);
}
