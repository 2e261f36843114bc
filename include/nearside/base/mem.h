/* SPDX-License-Identifier: MIT */
/*
 * The only door to malloc.
 *
 * mem_* never returns NULL: running out of memory for small structural objects ends the process
 * with a line on stderr. mem_try_* may return NULL and is for buffers whose size a peer decides;
 * the caller has a limit and an answer for a refusal. Tests make the n-th mem_try_* fail.
 *
 * Thread: any. A block may be freed on another thread.
 */
#ifndef NEARSIDE_BASE_MEM_H
#define NEARSIDE_BASE_MEM_H

#include <nearside/base/attr.h>

#include <stddef.h>

/* One zeroed object of `type`. */
#define mem_new(type) ((type *)mem_zero(1, sizeof(type)))

/* `count` zeroed objects of `type`; a count of 0 gives a valid pointer. */
#define mem_new_array(count, type) ((type *)mem_zero((count), sizeof(type)))

void *mem_zero(size_t count, size_t size) MUST_CHECK;
void *mem_alloc(size_t size) MUST_CHECK;
void *mem_realloc(void *ptr, size_t size) MUST_CHECK;
char *mem_strdup(const char *text) MUST_CHECK;
char *mem_strndup(const char *text, size_t len) MUST_CHECK; /* adds the final NUL */
char *mem_printf(const char *format, ...) PRINTF_LIKE(1, 2) MUST_CHECK;

/* `align` is a power of two; free with mem_free(). Zeroed. Never NULL. */
void *mem_zero_aligned(size_t align, size_t size) MUST_CHECK;

/* Zeroed memory for keys, of whole pages: left out of core dumps, kept from swap where the process
 * may, empty in a fork's child, and wiped when it is freed. Never NULL. */
void *mem_secret_new(size_t size) MUST_CHECK;
void mem_secret_free(void *ptr, size_t size); /* NULL is fine */

void *mem_try_alloc(size_t size) MUST_CHECK;
void *mem_try_realloc(void *ptr, size_t size) MUST_CHECK; /* on NULL, `ptr` is still valid */

void mem_free(void *ptr); /* NULL is fine */

/* What the allocator really took for `ptr`, bytes. */
size_t mem_size_of(const void *ptr);

/* Give every free page back to the kernel. Takes the allocator's locks, for milliseconds when there
 * is much: rarely, and not on a worker. */
void mem_trim(void);

/* What of the process is in memory now; 0 when that cannot be read. */
size_t mem_resident_bytes(void);

/* Test hook: the n-th mem_try_* from now on this thread returns NULL (1: the next; 0: none). */
void mem_try_fail_after(unsigned count);

#endif
