/* SPDX-License-Identifier: MIT */
/*
 * Two ends of one connection over loopback, both streams on one loop, for stream tests: each end
 * sends a known pattern, checks what it gets, and writes down what it was told. Include after
 * <cmocka.h>.
 */
#ifndef NEARSIDE_TESTS_MODULE_STREAM_PAIR_H
#define NEARSIDE_TESTS_MODULE_STREAM_PAIR_H

#include <nearside/base/addr.h>
#include <nearside/base/mem.h>
#include <nearside/loop/loop.h>
#include <nearside/net/listener.h>
#include <nearside/net/stream.h>
#include <nearside/net/tls_ctx.h>

#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIR_GIVE_UP_MS  20000 /* a test that takes longer has failed; sanitizers are slow */
#define PAIR_PIECES      6
#define PAIR_READ_SIZE   30000 /* neither a divisor nor a multiple of a TLS record */
#define PAIR_PATTERN_MOD 251

struct pair;

struct pair_end {
    struct pair *pair;
    struct stream *stream; /* NULL: none, or closed */
    size_t send_len;       /* to be sent in all */
    bool shut_when_sent;
    bool is_paused; /* does not read */
    size_t sent;
    size_t received;
    bool is_pattern_broken;
    unsigned told; /* all events so far */
    unsigned calls;
    unsigned blocked;      /* writes that had to wait */
    enum stream_io ending; /* last outcome of a read that was neither OK nor AGAIN */
    bool has_ended;
    bool has_write_error;
};

typedef bool (*pair_done_fn)(struct pair *pair);

struct pair {
    struct loop *loop;
    struct addr addr;
    struct listener *listener;
    struct deadline give_up;
    bool gave_up;
    pair_done_fn is_done;
    struct tls_ctx *server_tls; /* borrowed */
    struct pair_end client;
    struct pair_end server;
    int server_fd; /* owned by the stream; for tricks behind its back */
    char *pattern; /* owned */
};

static inline void pair_read_all(struct pair_end *end)
{
    char bytes[PAIR_READ_SIZE];
    enum stream_io outcome = STREAM_OK;

    while (outcome == STREAM_OK) {
        size_t len = 0;

        outcome = stream_read(end->stream, bytes, sizeof(bytes), &len);
        for (size_t i = 0; outcome == STREAM_OK && i < len; i++) {
            end->is_pattern_broken |= bytes[i] != (char)((end->received + i) % PAIR_PATTERN_MOD);
        }
        end->received += outcome == STREAM_OK ? len : 0;
    }
    if (outcome != STREAM_AGAIN) {
        end->ending = outcome;
        end->has_ended = true;
    }
}

/* What is left to send, in pieces of unlike sizes: empty, tiny, a TLS record's, more. */
static inline int pair_pieces(struct pair_end *end, struct iovec pieces[PAIR_PIECES])
{
    static const size_t sizes[PAIR_PIECES] = {1, 0, 7, 100, 5000, 60000};
    size_t at = end->sent;
    int count = 0;

    for (int i = 0; i < PAIR_PIECES && at < end->send_len; i++) {
        size_t len = sizes[i] < end->send_len - at ? sizes[i] : end->send_len - at;

        pieces[count].iov_base = end->pair->pattern + at % PAIR_PATTERN_MOD;
        pieces[count++].iov_len = len;
        at += len;
    }
    return count;
}

static inline void pair_write_all(struct pair_end *end)
{
    struct iovec pieces[PAIR_PIECES];

    while (end->sent < end->send_len && !end->has_write_error) {
        size_t len = 0;
        int count = pair_pieces(end, pieces);
        enum stream_io outcome = stream_writev(end->stream, pieces, count, &len);

        if (outcome == STREAM_AGAIN) {
            end->blocked++;
            return;
        }
        end->has_write_error = outcome != STREAM_OK;
        end->sent += outcome == STREAM_OK ? len : 0;
    }
    if (end->shut_when_sent && !end->has_write_error) {
        stream_shutdown(end->stream);
    }
}

static inline void pair_check_done(struct pair *pair)
{
    if (pair->is_done(pair)) {
        loop_stop(pair->loop);
    }
}

static inline void pair_on_stream(struct stream *stream, unsigned events, void *arg)
{
    struct pair_end *end = arg;

    assert_ptr_equal(stream, end->stream);
    end->told |= events;
    end->calls++;
    if ((events & STREAM_EV_READ) != 0 && !end->is_paused) {
        pair_read_all(end);
    }
    if (events & STREAM_EV_WRITE) {
        pair_write_all(end);
    }
    pair_check_done(end->pair);
}

static inline void pair_on_accepted(struct listener *listener, int fd, const struct addr *peer,
                                    void *arg)
{
    struct pair *pair = arg;

    (void)listener;
    (void)peer;
    pair->server_fd = fd;
    pair->server.stream =
        stream_accept(pair->loop, fd, pair->server_tls, pair_on_stream, &pair->server);
}

static inline void pair_on_give_up(struct deadline *deadline, void *arg)
{
    struct pair *pair = arg;

    (void)deadline;
    pair->gave_up = true;
    loop_stop(pair->loop);
}

static inline void pair_init(struct pair *pair)
{
    struct errbuf err;
    int fd = -1;

    *pair = (struct pair){.loop = loop_new("pair"), .server_fd = -1};
    pair->client.pair = pair;
    pair->server.pair = pair;
    pair->pattern = mem_alloc(PAIR_PATTERN_MOD + 60000);
    for (size_t i = 0; i < PAIR_PATTERN_MOD + 60000; i++) {
        pair->pattern[i] = (char)(i % PAIR_PATTERN_MOD);
    }
    deadline_init(&pair->give_up, pair->loop, pair_on_give_up, pair);
    deadline_set_in_ms(&pair->give_up, PAIR_GIVE_UP_MS);
    assert_true(addr_parse_ip(STR_LIT("127.0.0.1"), 0, &pair->addr));
    assert_int_equal(listener_bind(&pair->addr, &fd, &err), STATUS_OK);
    assert_int_equal(getsockname(fd, &pair->addr.sa.any, &pair->addr.len), 0);
    pair->listener = listener_start(pair->loop, fd, pair_on_accepted, NULL, pair);
}

static inline void pair_connect(struct pair *pair, struct tls_ctx *server_tls,
                                struct tls_ctx *client_tls, const char *server_name)
{
    pair->server_tls = server_tls;
    pair->client.stream = stream_connect(pair->loop, &pair->addr, client_tls, server_name,
                                         pair_on_stream, &pair->client);
    assert_int_equal(pair->client.calls, 0);
}

static inline void pair_run_until(struct pair *pair, pair_done_fn is_done)
{
    pair->is_done = is_done;
    if (!is_done(pair)) {
        loop_run(pair->loop);
    }
    assert_false(pair->gave_up);
}

static inline void pair_end_close(struct pair_end *end, bool abort)
{
    if (end->stream != NULL) {
        stream_close(end->stream, abort);
        end->stream = NULL;
    }
}

static inline void pair_done(struct pair *pair)
{
    pair_end_close(&pair->client, false);
    pair_end_close(&pair->server, false);
    listener_free(pair->listener);
    deadline_done(&pair->give_up);
    loop_free(pair->loop);
    mem_free(pair->pattern);
}

#endif
