/* SPDX-License-Identifier: MIT */
/* Socket options and what the kernel says about a connection. */
#include "socket_option.h"

#include <nearside/base/str.h>

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* A peer that vanished without a word is noticed after 15 + 3 * 5 = 30 s of silence: soon enough
 * for idle pooled connections, rare enough (one packet in 15 s) to cost nothing. */
#define KEEPALIVE_IDLE_S     15
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_PROBES     3

static void set_int(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof(value)); /* best effort by contract */
}

void socket_set_options(int fd, int unacked_max_ms)
{
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, unacked_max_ms);
}

void socket_set_abort(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    /* If it is refused, the peer gets a FIN and the framing of its protocol must tell it. */
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

bool socket_rtt_us(int fd, uint32_t *ret_rtt_us, uint32_t *ret_min_rtt_us)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 || info.tcpi_rtt == 0) {
        return false;
    }
    *ret_rtt_us = info.tcpi_rtt;
    /* Without a sample the minimum is "infinite"; an old kernel leaves it 0. */
    *ret_min_rtt_us = info.tcpi_min_rtt == 0 || info.tcpi_min_rtt > info.tcpi_rtt
                          ? info.tcpi_rtt
                          : info.tcpi_min_rtt;
    return true;
}

bool socket_bytes_acked(int fd, uint64_t *ret_bytes)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0) {
        return false;
    }
    *ret_bytes = info.tcpi_bytes_acked;
    return true;
}

/* The kernel's state number for a socket without a connection: <linux/tcp.h> does not name it, and
 * <netinet/tcp.h> cannot be included beside it. */
#define TCP_STATE_CLOSE 7

bool socket_is_closed(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           info.tcpi_state == TCP_STATE_CLOSE;
}

bool socket_is_unheard(int fd, uint32_t ms)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_unacked > 0 &&
           info.tcpi_last_ack_recv >= ms;
}

const char *errno_text(int error_number, char out[ERRNO_TEXT_LEN])
{
    const char *text = strerrordesc_np(error_number);
    size_t len;

    if (text == NULL) {
        text = "unknown error";
    }
    len = strlen(text);
    if (len >= ERRNO_TEXT_LEN) {
        len = ERRNO_TEXT_LEN - 1;
    }
    memcpy(out, text, len);
    out[len] = '\0';
    out[0] = str_lower_char(out[0]);
    return out;
}
