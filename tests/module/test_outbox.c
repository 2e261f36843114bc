/* SPDX-License-Identifier: MIT */
/* What a batch of events brings for several clients is written together at its end, in order. */
#include "proxy/client_private.h"
#include "proxy/outbox_private.h"

#include <nearside/base/mem.h>
#include <nearside/loop/loop.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX (LOOP_BATCH_CALLS + 2) /* a whole batch, and the beginning of another */
#define STORY_MAX  256
#define SILENT     UINT32_MAX /* an event that brings nothing */

struct fixture;

/* An event that brings its client a piece. */
struct teller {
    struct fixture *fixture;
    struct watch watch;
    uint32_t piece_bytes; /* 0: a small one */
    bool lets_go; /* before its own piece: as a flush that is not held, or work that takes long */
    int ends[2];
};

struct fixture {
    struct loop *loop;
    struct outbox outbox;
    struct teller tellers[EVENTS_MAX];
    struct client_conn clients[EVENTS_MAX]; /* names: nothing of them is read */
    unsigned count;
    unsigned heard;
    char story[STORY_MAX]; /* "." for an event, its letter when the client's piece is written */
    char piece[OUTBOX_PIECE_BYTES + 1];
};

static struct fixture *running;

static void tell(char letter)
{
    const size_t len = strlen(running->story);

    assert_true(len + 1 < STORY_MAX);
    running->story[len] = letter;
}

/* Stands here for the one of client_reply.c. */
void client_write_held(struct client_conn *conn, struct str bytes)
{
    const char letter = (char)('a' + (conn - running->clients));

    assert_true(bytes.len >= 2);
    assert_int_equal(bytes.ptr[0], letter);
    assert_int_equal(bytes.ptr[bytes.len - 1], '|');
    tell(letter);
}

static void on_event(struct watch *watch, unsigned events, void *arg)
{
    struct teller *teller = arg;
    struct fixture *f = teller->fixture;
    const unsigned number = f->heard++;
    const size_t len = teller->piece_bytes == 0 ? 1 : teller->piece_bytes - 1;
    char end[] = "|";
    const struct iovec pieces[2] = {{.iov_base = f->piece, .iov_len = len},
                                    {.iov_base = end, .iov_len = 1}};

    (void)events;
    watch_stop(watch);
    tell('.');
    if (f->heard == f->count) {
        loop_stop(f->loop);
    }
    if (teller->lets_go) {
        outbox_let_go(&f->outbox);
    }
    if (teller->piece_bytes == SILENT) {
        return;
    }
    f->piece[0] = (char)('a' + number);
    if (outbox_has_room(&f->outbox, len + 1)) {
        outbox_hold(&f->outbox, &f->clients[number], pieces, 2);
    } else { /* what the client's connection does then */
        outbox_let_go(&f->outbox);
        tell(f->piece[0]);
    }
}

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);

    f->loop = loop_new("test");
    outbox_init(&f->outbox, f->loop);
    running = f;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    outbox_done(&f->outbox);
    loop_free(f->loop);
    mem_free(f);
    return 0;
}

/* All of these are ready before the loop looks. */
static void run(struct fixture *f, unsigned count)
{
    f->count = count;
    for (unsigned i = 0; i < count; i++) {
        struct teller *teller = &f->tellers[i];

        teller->fixture = f;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, teller->ends), 0);
        assert_int_equal(write(teller->ends[1], "x", 1), 1);
        watch_start_edge(&teller->watch, f->loop, teller->ends[0], on_event, teller);
    }
    loop_run(f->loop);
    for (unsigned i = 0; i < count; i++) {
        (void)close(f->tellers[i].ends[0]);
        (void)close(f->tellers[i].ends[1]);
    }
}

static void test_pieces_go_together_when_the_last_event_has_been_heard(void **state)
{
    struct fixture *f = *state;

    run(f, 5);
    assert_string_equal(f->story, ".....abcde");
}

static void test_the_end_of_a_batch_sends_what_no_later_event_did(void **state)
{
    struct fixture *f = *state;

    f->tellers[3].piece_bytes = SILENT;
    run(f, 4);
    assert_string_equal(f->story, "....abc");
}

static void test_a_batch_does_not_wait_for_the_next(void **state)
{
    struct fixture *f = *state;

    run(f, EVENTS_MAX);
    assert_string_equal(f->story, "................abcdefghijklmnop..qr");
}

static void test_what_was_let_go_is_not_sent_again_and_holding_goes_on(void **state)
{
    struct fixture *f = *state;

    f->tellers[2].lets_go = true;
    run(f, 5);
    assert_string_equal(f->story, "...ab..cde");
}

static void test_a_large_piece_goes_at_once_behind_what_is_held(void **state)
{
    struct fixture *f = *state;

    f->tellers[1].piece_bytes = OUTBOX_PIECE_BYTES; /* just fits */
    f->tellers[2].piece_bytes = OUTBOX_PIECE_BYTES + 1;
    run(f, 5);
    assert_string_equal(f->story, "...abc..de");
}

static void test_every_place_takes_the_largest_piece(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < LOOP_BATCH_CALLS; i++) {
        f->tellers[i].piece_bytes = OUTBOX_PIECE_BYTES;
    }
    run(f, LOOP_BATCH_CALLS);
    assert_string_equal(f->story, "................abcdefghijklmnop");
}

static void test_nothing_is_held_outside_a_batch(void **state)
{
    struct fixture *f = *state;

    assert_false(outbox_has_room(&f->outbox, 1));
    outbox_let_go(&f->outbox);
    run(f, 1); /* the only event has nobody to wait for */
    assert_string_equal(f->story, ".a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pieces_go_together_when_the_last_event_has_been_heard,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_end_of_a_batch_sends_what_no_later_event_did,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_batch_does_not_wait_for_the_next, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_let_go_is_not_sent_again_and_holding_goes_on,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_large_piece_goes_at_once_behind_what_is_held, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_every_place_takes_the_largest_piece, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_held_outside_a_batch, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
