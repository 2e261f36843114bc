/* SPDX-License-Identifier: MIT */
/*
 * Is a client fast enough? Pure: times and byte counts in, a verdict out.
 *
 * A window is as long as the step's timeout. A window without a byte is idle; one with fewer bytes
 * than the rate asks for is slow, whatever came before: who was fast once must go on.
 */
#ifndef NEARSIDE_PROXY_PACE_PRIVATE_H
#define NEARSIDE_PROXY_PACE_PRIVATE_H

#include <stdint.h>

enum pace_verdict { PACE_GOOD, PACE_IDLE, PACE_SLOW };

/* Of bytes that come: a request's body. */
struct pace {
    uint64_t since_ns; /* the window's begin */
    uint64_t last_ns;  /* newest byte, or the begin */
    uint64_t bytes;    /* in the window */
};

void pace_begin(struct pace *pace, uint64_t now_ns);
void pace_add(struct pace *pace, uint64_t now_ns, uint64_t bytes);
/* When to judge next. `rate` in bytes per second; 0: idleness alone is judged. */
uint64_t pace_due_ns(const struct pace *pace, uint64_t window_ns, uint64_t rate);
/* Judge, and begin the next window when one is over. */
enum pace_verdict pace_judge(struct pace *pace, uint64_t now_ns, uint64_t window_ns, uint64_t rate);

/* Of bytes that a client takes: looked at in quarters of a window, because what the kernel says
 * has no time of its own. */
#define PACE_QUARTERS 4

struct take_pace {
    uint64_t first; /* the count at the window's begin */
    uint64_t last;  /* ... at the newest look */
    uint8_t looks;  /* in this window */
    uint8_t quiet;  /* looks in a row that found nothing new */
};

void take_pace_begin(struct take_pace *pace, uint64_t count);
/* A quarter of `window_ns` is over and the client has acknowledged `count` bytes by now. */
enum pace_verdict take_pace_judge(struct take_pace *pace, uint64_t count, uint64_t window_ns,
                                  uint64_t rate);

#endif
