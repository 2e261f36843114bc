/* SPDX-License-Identifier: MIT */
/* Handshakes of many clients at once: first come, first served, a few in a turn. */
#include <nearside/conf/tree.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/identities.h"

#include <nearside/loop/loop.h>
#include <nearside/net/stream.h>

#include <openssl/ssl.h>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CROWD     60
#define EACH_TURN 6  /* hellos that come in a turn: more than a turn's share */
#define TURNS_MAX 50 /* CROWD / LOOP_HEAVY_STEPS are enough */

struct fixture {
    struct loop *loop;
    struct tls_ctx *server_tls;
    SSL_CTX *client_tls;
    struct loop_task end_of_turn;
    SSL *clients[CROWD]; /* a foreign client, each over its socket */
    int fds[CROWD];      /* owned; their ends */
    struct stream *streams[CROWD];
    int answered[CROWD]; /* which one was answered first, second ... */
    int answered_count;
    bool is_answered[CROWD];
    bool is_open[CROWD];
};

static void on_stream(struct stream *stream, unsigned events, void *arg)
{
    bool *is_open = arg;

    (void)stream;
    *is_open |= (events & STREAM_EV_OPEN) != 0;
}

static void on_end_of_turn(struct loop_task *task, void *arg)
{
    (void)task;
    loop_stop(arg);
}

static void add_client(struct fixture *f, int index)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    f->fds[index] = pair[0];
    f->clients[index] = SSL_new(f->client_tls);
    assert_non_null(f->clients[index]);
    assert_int_equal(SSL_set_fd(f->clients[index], pair[0]), 1);
    f->streams[index] =
        stream_accept(f->loop, pair[1], f->server_tls, on_stream, &f->is_open[index]);
}

static void run_one_turn(struct fixture *f)
{
    loop_task_queue(f->loop, &f->end_of_turn);
    loop_run(f->loop);
}

static int set_up(void **state)
{
    struct fixture *f = test_calloc(1, sizeof(*f));

    f->loop = loop_new("handshakes");
    f->server_tls = server_of(&ids.a, NULL, NULL, CONF_TLS_1_3);
    f->client_tls = SSL_CTX_new(TLS_client_method());
    assert_non_null(f->client_tls);
    loop_task_init(&f->end_of_turn, on_end_of_turn, f->loop);
    for (int i = 0; i < CROWD; i++) {
        add_client(f, i);
    }
    /* All are to be connected, none has said anything: a turn sees to one at least. */
    for (int i = 0; i < CROWD; i++) {
        run_one_turn(f);
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < CROWD; i++) {
        stream_close(f->streams[i], true);
        SSL_free(f->clients[i]);
        (void)close(f->fds[i]);
    }
    loop_free(f->loop);
    tls_ctx_unref(f->server_tls);
    SSL_CTX_free(f->client_tls);
    test_free(f);
    return 0;
}

static bool has_bytes(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};

    return poll(&one, 1, 0) == 1 && (one.revents & POLLIN) != 0;
}

/* Who was answered in the turn just over, in the order of coming. */
static int note_answers(struct fixture *f)
{
    int before = f->answered_count;

    for (int i = 0; i < CROWD; i++) {
        if (!f->is_answered[i] && has_bytes(f->fds[i])) {
            f->is_answered[i] = true;
            f->answered[f->answered_count++] = i;
        }
    }
    return f->answered_count - before;
}

/* The first call says hello, later ones whatever is next. */
static void go_on(struct fixture *f, int index)
{
    (void)SSL_connect(f->clients[index]);
}

static void test_handshakes_are_answered_in_the_order_of_coming(void **state)
{
    struct fixture *f = *state;
    int said = 0;

    for (int turn = 0; turn < TURNS_MAX && f->answered_count < CROWD; turn++) {
        for (int i = 0; i < EACH_TURN && said < CROWD; i++) {
            go_on(f, said++);
        }
        run_one_turn(f);
        assert_in_range(note_answers(f), 0, LOOP_HEAVY_STEPS);
    }
    assert_int_equal(f->answered_count, CROWD);
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(f->answered[i], i);
    }
}

static void test_a_handshake_that_has_begun_ends_amid_a_flood_of_new_ones(void **state)
{
    struct fixture *f = *state;

    go_on(f, 0);
    run_one_turn(f);
    for (int i = 1; i < CROWD; i++) {
        go_on(f, i); /* many more than a turn's share, before the first one goes on */
    }
    run_one_turn(f);
    go_on(f, 0);
    run_one_turn(f);
    assert_true(f->is_open[0]);
    assert_true(note_answers(f) < CROWD / 2);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_handshakes_are_answered_in_the_order_of_coming),
        TEST(test_a_handshake_that_has_begun_ends_amid_a_flood_of_new_ones),
    };

    return cmocka_run_group_tests(tests, make_identities, remove_identities);
}
