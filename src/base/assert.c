/* SPDX-License-Identifier: MIT */
/* The end of a failed assertion: one line on stderr, then abort() for the core and supervisor. */
#include <nearside/base/assert.h>

#include <stdio.h>
#include <stdlib.h>

void assert_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "nearside: %s:%d: assertion failed: %s\n", file, line, what);
    fflush(stderr);
    abort();
}
