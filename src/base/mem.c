/* SPDX-License-Identifier: MIT */
/*
 * The only caller of the malloc family. All sizes of 0 become 1, so that NULL always means
 * "refused" and never "empty".
 */
#include <nearside/base/mem.h>

#include "mem_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/str.h>

#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Mutable state of this thread only: how many mem_try_* calls from now the failing one is. */
static _Thread_local unsigned try_fail_after;

NO_RETURN static void out_of_memory(size_t size)
{
    fprintf(stderr, "nearside: out of memory: %zu bytes refused\n", size);
    fflush(stderr);
    abort();
}

static size_t at_least_one(size_t size)
{
    return size == 0 ? 1 : size;
}

void *mem_zero(size_t count, size_t size)
{
    void *ptr = calloc(at_least_one(count), at_least_one(size));

    if (UNLIKELY(ptr == NULL)) {
        out_of_memory(size > SIZE_MAX / at_least_one(count) ? SIZE_MAX : count * size);
    }
    return ptr;
}

void *mem_alloc(size_t size)
{
    void *ptr = malloc(at_least_one(size));

    if (UNLIKELY(ptr == NULL)) {
        out_of_memory(size);
    }
    return ptr;
}

void *mem_realloc(void *ptr, size_t size)
{
    void *moved = realloc(ptr, at_least_one(size));

    if (UNLIKELY(moved == NULL)) {
        out_of_memory(size);
    }
    return moved;
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t len)
{
    char *copy = mem_alloc(len + 1);

    if (len > 0) {
        memcpy(copy, text, len);
    }
    copy[len] = '\0';
    return copy;
}

char *mem_printf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT(len >= 0);

    char *text = mem_alloc((size_t)len + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

void *mem_zero_aligned(size_t align, size_t size)
{
    /* posix_memalign wants at least a pointer's alignment. */
    size_t wanted = align < sizeof(void *) ? sizeof(void *) : align;
    void *ptr = NULL;

    ASSERT((wanted & (wanted - 1)) == 0);
    if (posix_memalign(&ptr, wanted, at_least_one(size)) != 0) {
        out_of_memory(size);
    }
    memset(ptr, 0, size);
    return ptr;
}

static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (size + page - 1) / page * page;
}

void *mem_secret_new(size_t size)
{
    size_t all = whole_pages(size);
    void *ptr = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (UNLIKELY(ptr == MAP_FAILED)) {
        out_of_memory(size);
    }
    /* Best effort: without them a key is as safe as the rest of the memory. */
    (void)madvise(ptr, all, MADV_DONTDUMP);
    (void)madvise(ptr, all, MADV_WIPEONFORK);
    (void)mlock(ptr, all);
    return ptr;
}

void mem_secret_free(void *ptr, size_t size)
{
    if (ptr != NULL) {
        explicit_bzero(ptr, size);
        (void)munmap(ptr, whole_pages(size));
    }
}

void mem_try_fail_after(unsigned count)
{
    try_fail_after = count;
}

bool mem_try_is_to_fail(void)
{
    if (LIKELY(try_fail_after == 0)) {
        return false;
    }
    try_fail_after--;
    return try_fail_after == 0;
}

void *mem_try_alloc(size_t size)
{
    return mem_try_is_to_fail() ? NULL : malloc(at_least_one(size));
}

void *mem_try_realloc(void *ptr, size_t size)
{
    return mem_try_is_to_fail() ? NULL : realloc(ptr, at_least_one(size));
}

void mem_free(void *ptr)
{
    free(ptr);
}

size_t mem_size_of(const void *ptr)
{
    /* glibc's prototype lacks the const; it does not write. */
    return malloc_usable_size((void *)(uintptr_t)ptr);
}

void mem_trim(void)
{
    (void)malloc_trim(0); /* whether there was anything does not matter */
}

size_t mem_resident_bytes(void)
{
    char text[128]; /* seven numbers; the second is the resident pages */
    uint64_t resident = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

    if (len > 0) {
        text[len] = '\0';
        const char *second = strchr(text, ' ');
        struct str number = second == NULL ? STR_EMPTY : str_of(second + 1);
        if (!str_to_u64(str_slice(number, 0, str_find_char(number, ' ')), &resident)) {
            resident = 0;
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}
