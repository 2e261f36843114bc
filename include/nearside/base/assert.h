/* SPDX-License-Identifier: MIT */
/*
 * Assertions: on in all builds. A failed one is a bug of ours; the process says where on stderr
 * and aborts, so that a supervisor restarts it rather than letting it run on half dead.
 */
#ifndef NEARSIDE_BASE_ASSERT_H
#define NEARSIDE_BASE_ASSERT_H

#include <nearside/base/attr.h>

#include <stdint.h>

NO_RETURN void assert_failed(const char *what, const char *file, int line);

#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (UNLIKELY(!(cond))) {                                                                   \
            assert_failed(#cond, __FILE__, __LINE__);                                              \
        }                                                                                          \
    } while (0)

#define ASSERT_UNREACHABLE(why) assert_failed(why, __FILE__, __LINE__)

/* Checked cast of a `void *` to an object that begins with `uint32_t magic`. */
#define OBJ_CAST(ptr, type, expected)                                                              \
    ((struct type *)obj_check((ptr), (expected), __FILE__, __LINE__))

static inline void *obj_check(void *ptr, uint32_t expected, const char *file, int line)
{
    if (UNLIKELY(ptr == NULL || *(const uint32_t *)ptr != expected)) {
        assert_failed("object of the wrong kind", file, line);
    }
    return ptr;
}

#endif
