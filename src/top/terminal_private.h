/* SPDX-License-Identifier: MIT */
/*
 * The terminal while it is ours: its second screen, no cursor, keys as they are pressed. Whatever
 * ends the program in order gives it back as it was.
 */
#ifndef NEARSIDE_TOP_TERMINAL_PRIVATE_H
#define NEARSIDE_TOP_TERMINAL_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

struct terminal {
    bool has_keys; /* standard input is a terminal, too */
    struct termios before;
};

void terminal_enter(struct terminal *terminal);
void terminal_leave(const struct terminal *terminal);

/* Of standard output; 80 x 24 when it does not say. */
void terminal_size(size_t *ret_width, size_t *ret_height);

/* All of it to standard output. False: it is gone. */
bool terminal_write(const char *bytes, size_t len);

#endif
