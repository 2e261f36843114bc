/* SPDX-License-Identifier: MIT */
/* ANSI sequences and termios. */
#include "terminal_private.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void write_text(const char *text)
{
    (void)terminal_write(text, strlen(text)); /* a terminal that is gone needs nothing */
}

void terminal_enter(struct terminal *terminal)
{
    struct termios keys;

    *terminal = (struct terminal){.has_keys = false};
    if (tcgetattr(STDIN_FILENO, &terminal->before) == 0) {
        terminal->has_keys = true;
        keys = terminal->before;
        keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        keys.c_cc[VMIN] = 1;
        keys.c_cc[VTIME] = 0;
        keys.c_cc[VSUSP] = _POSIX_VDISABLE; /* a stopped program could not give the screen back */
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &keys);
    }
    write_text("\033[?1049h\033[?25l");
}

void terminal_leave(const struct terminal *terminal)
{
    write_text("\033[?25h\033[?1049l");
    if (terminal->has_keys) {
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal->before);
    }
}

void terminal_size(size_t *ret_width, size_t *ret_height)
{
    struct winsize size;

    *ret_width = 80;
    *ret_height = 24;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
        *ret_width = size.ws_col;
        *ret_height = size.ws_row;
    }
}

bool terminal_write(const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, len);

        if (written > 0) {
            bytes += written;
            len -= (size_t)written;
        } else if (errno == EAGAIN) {
            struct pollfd room = {.fd = STDOUT_FILENO, .events = POLLOUT};

            (void)poll(&room, 1, -1); /* whatever it says, the next write tells */
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}
