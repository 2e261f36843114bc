/* SPDX-License-Identifier: MIT */
/*
 * When to parse a head that comes in pieces. The parser begins at the front each time; called for
 * every piece, it would make a head of n single bytes cost n * n / 2.
 *
 * The search for what settles a head goes on where it stopped. A fault that it cannot see waits
 * until the input has doubled: the lengths parsed then add up to twice the last one.
 */
#include "scan_private.h"

#include <nearside/http/h1.h>

/* At CR or LF, `at`: does this line end another line, with CR LF on both sides of nothing? */
static bool ends_head(const char *start, const char *at)
{
    return at - start >= 2 && at[-2] == '\r' && at[-1] == '\n';
}

/* True: the head is over, or can never be one. Else *ret_looked is how far that holds. */
static bool find_end(struct str input, size_t *ret_looked)
{
    const char *const end = input.ptr + input.len;
    const char *at = input.ptr + *ret_looked;

    for (;;) {
        at = scan_value(at, end);
        if (at == end || (*at == '\r' && at + 1 == end)) {
            *ret_looked = (size_t)(at - input.ptr);
            return false;
        }
        if (at[0] != '\r' || at[1] != '\n' || ends_head(input.ptr, at)) {
            return true;
        }
        at += 2;
    }
}

bool h1_wait_is_over(struct h1_wait *wait, struct str input, const struct h1_limits *limits)
{
    const bool is_first = wait->due == 0; /* most heads come whole: not looked at twice */

    if (input.len == 0) {
        return false;
    }
    if (!is_first && !find_end(input, &wait->looked) && input.len < wait->due &&
        input.len < limits->head_bytes) {
        return false;
    }
    wait->due = 2 * input.len;
    return true;
}
