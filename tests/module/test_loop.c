/* SPDX-License-Identifier: MIT */
/* The event loop on a real kernel: order of a turn, lazy deadlines, messages, watches. */
#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/loop/loop.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define STORY_MAX       64
#define POSTERS         4
#define POSTS_EACH      2000
#define GIVE_UP_MS      5000 /* a test that waits longer has failed */
#define EDGE_QUIET_MS   20   /* long enough for a wrong second event to show itself */
#define LATE_LIMIT_MS   500  /* a loaded machine is slow; a broken timer is slower */
#define FAR_MS          150  /* more than the loop takes for near */
#define MESSAGE_FROM(p) CONTAINER_OF(p, struct numbered, message)

/* What happened, in order, one letter each. */
struct fixture {
    struct loop *loop;
    char story[STORY_MAX];
    size_t story_len;
    struct deadline give_up;
    struct loop_task task_a;
    struct loop_task task_b;
    struct deadline first;
    struct deadline second;
    struct deadline third;
    struct watch *watch;
    struct watch edge;
    unsigned events;
    unsigned calls;
    int pair[2];
    uint64_t fired_ns;
    uint64_t set_ns;
    unsigned turns;
};

/* Its first end can be read from. */
static void make_ready(int ends[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
}

static void close_pair(const int ends[2])
{
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void tell(struct fixture *f, char letter)
{
    assert_true(f->story_len + 1 < STORY_MAX);
    f->story[f->story_len++] = letter;
}

static void on_give_up(struct deadline *deadline, void *arg)
{
    struct fixture *f = arg;

    (void)deadline;
    tell(f, '!');
    loop_stop(f->loop);
}

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);

    f->loop = loop_new("test");
    deadline_init(&f->give_up, f->loop, on_give_up, f);
    deadline_set_in_ms(&f->give_up, GIVE_UP_MS);
    deadline_init(&f->first, f->loop, NULL, NULL);
    deadline_init(&f->second, f->loop, NULL, NULL);
    deadline_init(&f->third, f->loop, NULL, NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, f->pair), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    deadline_done(&f->give_up);
    deadline_done(&f->first);
    deadline_done(&f->second);
    deadline_done(&f->third);
    watch_free(f->watch);
    watch_stop(&f->edge);
    loop_free(f->loop);
    (void)close(f->pair[0]);
    (void)close(f->pair[1]);
    mem_free(f);
    return 0;
}

/* ---- the order of a turn ---- */

static void task_b(struct loop_task *task, void *arg)
{
    struct fixture *f = arg;

    (void)task;
    tell(f, 'b');
    loop_stop(f->loop);
}

static void deferred_d(void *arg)
{
    tell(arg, 'd');
}

static void task_a(struct loop_task *task, void *arg)
{
    struct fixture *f = arg;

    (void)task;
    tell(f, 'a');
    loop_task_queue(f->loop, &f->task_b);
    loop_defer_call(f->loop, deferred_d, f);
}

static void deadline_t(struct deadline *deadline, void *arg)
{
    struct fixture *f = arg;

    (void)deadline;
    tell(f, 't');
    loop_task_queue(f->loop, &f->task_a);
    loop_task_queue(f->loop, &f->task_a);
    loop_defer_free(f->loop, mem_alloc(1)); /* a leak checker sees whether it is done */
}

static void test_loop_turn_is_deadlines_tasks_deferred_then_tasks_of_tasks(void **state)
{
    struct fixture *f = *state;

    loop_task_init(&f->task_a, task_a, f);
    loop_task_init(&f->task_b, task_b, f);
    deadline_init(&f->first, f->loop, deadline_t, f);
    deadline_set_in_ms(&f->first, 1);
    loop_run(f->loop);
    assert_string_equal(f->story, "tadb");
}

static void test_task_cancelled_before_its_turn_does_not_run(void **state)
{
    struct fixture *f = *state;

    loop_task_init(&f->task_a, task_a, f);
    loop_task_init(&f->task_b, task_b, f);
    loop_task_queue(f->loop, &f->task_a);
    loop_task_queue(f->loop, &f->task_b);
    loop_task_cancel(&f->task_a);
    loop_task_cancel(&f->task_a);
    loop_run(f->loop);
    assert_string_equal(f->story, "b");
}

/* ---- heavy steps ---- */

struct heavy {
    struct loop_task task;
    struct fixture *f;
    char letter;
};

static void on_heavy(struct loop_task *task, void *arg)
{
    struct heavy *heavy = arg;

    (void)task;
    tell(heavy->f, heavy->letter);
}

static void on_end_of_turn(struct loop_task *task, void *arg)
{
    struct fixture *f = arg;

    (void)task;
    tell(f, '|');
    loop_stop(f->loop);
}

static void run_one_turn(struct fixture *f)
{
    loop_task_init(&f->task_a, on_end_of_turn, f);
    loop_task_queue(f->loop, &f->task_a);
    loop_run(f->loop);
}

/* One heavy task for each letter. */
static void queue_heavy(struct fixture *f, struct heavy *heavy, const char *letters,
                        enum loop_heavy kind)
{
    for (size_t i = 0; letters[i] != '\0'; i++) {
        heavy[i] = (struct heavy){.f = f, .letter = letters[i]};
        loop_task_init(&heavy[i].task, on_heavy, &heavy[i]);
        loop_heavy_queue(f->loop, &heavy[i].task, kind);
    }
}

static void test_heavy_steps_of_a_turn_are_bounded_and_those_that_waited_go_first(void **state)
{
    struct fixture *f = *state;
    struct heavy early[6];
    struct heavy late[4];

    queue_heavy(f, early, "abcdef", LOOP_HEAVY_BEGIN);
    run_one_turn(f);
    queue_heavy(f, late, "uvwx", LOOP_HEAVY_BEGIN);
    run_one_turn(f);
    run_one_turn(f);
    assert_string_equal(f->story, "abcd|efuv|wx|");
}

static void test_heavy_steps_that_go_on_and_that_begin_share_a_turn(void **state)
{
    struct fixture *f = *state;
    struct heavy begin[4];
    struct heavy go_on[6];

    queue_heavy(f, begin, "abcd", LOOP_HEAVY_BEGIN);
    queue_heavy(f, go_on, "123456", LOOP_HEAVY_GO_ON);
    run_one_turn(f);
    run_one_turn(f);
    run_one_turn(f);
    assert_string_equal(f->story, "1a2b|3c4d|56|");
}

static void test_heavy_step_that_waits_keeps_the_loop_turning_until_cancelled(void **state)
{
    struct fixture *f = *state;
    struct heavy heavy[6];

    queue_heavy(f, heavy, "abcdef", LOOP_HEAVY_BEGIN);
    loop_task_cancel(&heavy[1].task);
    run_one_turn(f);
    loop_heavy_queue(f->loop, &f->task_a, LOOP_HEAVY_BEGIN); /* the last: it ends the run */
    loop_run(f->loop); /* would wait for the deadline that gives up */
    assert_string_equal(f->story, "acde|f|");
}

static void test_stop_before_run_ends_the_run_at_once(void **state)
{
    struct fixture *f = *state;

    loop_stop(f->loop);
    loop_run(f->loop);
    assert_string_equal(f->story, "");
    assert_true(loop_is_home(f->loop));
}

static void test_now_stands_still_until_refreshed(void **state)
{
    struct fixture *f = *state;
    uint64_t first = loop_refresh_now_ns(f->loop);

    while (clock_mono_ns() == first) {
    }
    assert_true(loop_now_ns(f->loop) == first);
    assert_true(loop_refresh_now_ns(f->loop) > first);
}

/* ---- deadlines ---- */

static void deadline_1(struct deadline *deadline, void *arg)
{
    (void)deadline;
    tell(arg, '1');
}

static void deadline_2(struct deadline *deadline, void *arg)
{
    struct fixture *f = arg;

    assert_false(deadline_is_set(deadline));
    tell(f, '2');
    f->fired_ns = clock_mono_ns();
    loop_stop(f->loop);
}

static void deadline_never(struct deadline *deadline, void *arg)
{
    (void)deadline;
    tell(arg, '?');
}

static void test_deadlines_come_in_order_of_time_not_of_setting(void **state)
{
    struct fixture *f = *state;
    uint64_t now_ns = loop_refresh_now_ns(f->loop);

    deadline_init(&f->first, f->loop, deadline_2, f);
    deadline_init(&f->second, f->loop, deadline_1, f);
    deadline_init(&f->third, f->loop, deadline_never, f);
    deadline_set_ns(&f->first, now_ns + 12 * NS_PER_MS);
    deadline_set_ns(&f->second, now_ns + 6 * NS_PER_MS);
    deadline_set_ns(&f->third, now_ns + 3 * NS_PER_MS);
    deadline_cancel(&f->third);
    loop_run(f->loop);
    assert_string_equal(f->story, "12");
    assert_true(f->fired_ns >= now_ns + 12 * NS_PER_MS);
    assert_true(f->fired_ns < now_ns + LATE_LIMIT_MS * NS_PER_MS);
}

static void test_deadline_set_later_keeps_its_place_and_comes_later(void **state)
{
    struct fixture *f = *state;
    uint64_t now_ns = loop_refresh_now_ns(f->loop);

    deadline_init(&f->first, f->loop, deadline_2, f);
    deadline_set_ns(&f->first, now_ns + 2 * NS_PER_MS);
    deadline_set_ns(&f->first, now_ns + 15 * NS_PER_MS);
    assert_true(f->first.item.key == now_ns + 2 * NS_PER_MS);
    loop_run(f->loop);
    assert_string_equal(f->story, "2");
    assert_true(f->fired_ns >= now_ns + 15 * NS_PER_MS);
}

static void test_deadline_set_earlier_comes_earlier(void **state)
{
    struct fixture *f = *state;
    uint64_t now_ns = loop_refresh_now_ns(f->loop);

    deadline_init(&f->first, f->loop, deadline_2, f);
    deadline_set_ns(&f->first, now_ns + 60 * NS_PER_S);
    deadline_set_ns(&f->first, now_ns + 5 * NS_PER_MS);
    loop_run(f->loop);
    assert_string_equal(f->story, "2");
}

/* In a turn that has asked for the time: the wait is then reckoned by that. */
static void deadline_set_far(struct deadline *deadline, void *arg)
{
    struct fixture *f = arg;

    (void)deadline;
    f->set_ns = loop_now_ns(f->loop);
    deadline_set_in_ms(&f->second, FAR_MS);
    tell(f, '1');
}

static void test_far_deadline_comes_in_time_though_the_clock_is_not_read_for_it(void **state)
{
    struct fixture *f = *state;

    deadline_init(&f->first, f->loop, deadline_set_far, f);
    deadline_init(&f->second, f->loop, deadline_2, f);
    deadline_set_in_ms(&f->first, 1);
    loop_run(f->loop);
    assert_string_equal(f->story, "12");
    assert_true(f->fired_ns >= f->set_ns + FAR_MS * NS_PER_MS);
    assert_true(f->fired_ns < f->set_ns + (FAR_MS + LATE_LIMIT_MS) * NS_PER_MS);
}

static void test_deadline_set_again_after_cancel_comes_once(void **state)
{
    struct fixture *f = *state;
    uint64_t now_ns = loop_refresh_now_ns(f->loop);

    deadline_init(&f->first, f->loop, deadline_1, f);
    deadline_init(&f->second, f->loop, deadline_2, f);
    deadline_set_ns(&f->first, now_ns + 1 * NS_PER_MS);
    deadline_cancel(&f->first);
    deadline_set_ns(&f->first, now_ns + 5 * NS_PER_MS);
    deadline_set_ns(&f->second, now_ns + 10 * NS_PER_MS);
    loop_run(f->loop);
    assert_string_equal(f->story, "12");
}

static void deadline_over_and_over(struct deadline *deadline, void *arg)
{
    struct fixture *f = arg;

    f->calls++;
    deadline_set_ns(deadline, loop_now_ns(f->loop));
    loop_task_queue(f->loop, &f->task_a);
}

static void task_count_turns(struct loop_task *task, void *arg)
{
    struct fixture *f = arg;

    (void)task;
    if (++f->turns == 3) {
        loop_stop(f->loop);
    }
}

static void test_deadline_that_sets_itself_to_now_runs_once_a_turn(void **state)
{
    struct fixture *f = *state;

    loop_task_init(&f->task_a, task_count_turns, f);
    deadline_init(&f->first, f->loop, deadline_over_and_over, f);
    deadline_set_ns(&f->first, 1);
    loop_run(f->loop);
    assert_int_equal(f->calls, 3);
}

/* ---- watches ---- */

static void on_pair(struct watch *watch, unsigned events, void *arg)
{
    struct fixture *f = arg;

    assert_int_equal(watch_fd(watch), f->pair[0]);
    f->events |= events;
    f->calls++;
    if (f->events & WATCH_CLOSED) {
        watch_stop(watch);
        loop_stop(f->loop);
    }
}

static void deadline_write(struct deadline *deadline, void *arg)
{
    struct fixture *f = arg;

    (void)deadline;
    assert_int_equal(f->calls, 1); /* writable at the start; an edge is told once */
    assert_int_equal(f->events, WATCH_WRITE);
    assert_int_equal(write(f->pair[1], "x", 1), 1);
}

static void deadline_hang_up(struct deadline *deadline, void *arg)
{
    struct fixture *f = arg;

    (void)deadline;
    assert_int_equal(f->calls, 2); /* the byte was not read, and is not told again */
    assert_int_equal(f->events, WATCH_WRITE | WATCH_READ);
    assert_int_equal(shutdown(f->pair[1], SHUT_WR), 0);
}

static void test_edge_watch_tells_each_change_once_and_is_stopped_in_its_callback(void **state)
{
    struct fixture *f = *state;

    watch_start_edge(&f->edge, f->loop, f->pair[0], on_pair, f);
    deadline_init(&f->first, f->loop, deadline_write, f);
    deadline_init(&f->second, f->loop, deadline_hang_up, f);
    deadline_set_in_ms(&f->first, EDGE_QUIET_MS);
    deadline_set_in_ms(&f->second, 2 * EDGE_QUIET_MS);
    loop_run(f->loop);
    assert_string_equal(f->story, "");
    assert_int_equal(f->calls, 3);
    assert_int_equal(f->events, WATCH_WRITE | WATCH_READ | WATCH_CLOSED);
}

static void on_pair_level(struct watch *watch, unsigned events, void *arg)
{
    struct fixture *f = arg;

    (void)watch;
    assert_int_equal(events, WATCH_READ);
    if (++f->calls == 3) {
        loop_stop(f->loop);
    }
}

static void test_level_watch_comes_again_while_bytes_are_left(void **state)
{
    struct fixture *f = *state;

    f->watch = watch_level(f->loop, f->pair[0], WATCH_READ, on_pair_level, f);
    assert_int_equal(write(f->pair[1], "x", 1), 1);
    loop_run(f->loop);
    assert_int_equal(f->calls, 3);
}

/* ---- watches that yield ---- */

#define YIELDING 40

struct yield_test {
    struct loop *loop;
    struct watch yielding[YIELDING];
    int ends[YIELDING][2];
    struct watch other;
    int other_ends[2];
    unsigned yielded;
    unsigned yielded_before_other;
    bool stops_the_rest;
    bool other_is_told;
};

static void on_other(struct watch *watch, unsigned events, void *arg)
{
    struct yield_test *test = arg;

    (void)watch;
    if ((events & WATCH_READ) != 0 && !test->other_is_told) {
        test->other_is_told = true;
        test->yielded_before_other = test->yielded;
    }
}

static void on_yielding(struct watch *watch, unsigned events, void *arg)
{
    struct yield_test *test = arg;

    if ((events & WATCH_READ) == 0) {
        return;
    }
    test->yielded++;
    if (test->yielded == 1) {
        assert_int_equal(write(test->other_ends[1], "x", 1), 1);
    }
    for (unsigned i = 0; test->stops_the_rest && i < YIELDING; i++) {
        if (&test->yielding[i] != watch) {
            watch_stop(&test->yielding[i]);
        }
    }
    if (test->yielded == YIELDING) {
        loop_stop(test->loop);
    }
}

static void on_yield_test_over(struct deadline *deadline, void *arg)
{
    struct yield_test *test = arg;

    (void)deadline;
    loop_stop(test->loop);
}

/* All the pairs hold a byte when the loop begins; `other` is given one by the first callback, or
 * has one as well. */
static void run_yield_test(struct fixture *f, struct yield_test *test, bool other_is_ready)
{
    test->loop = f->loop;
    for (unsigned i = 0; i < YIELDING; i++) {
        make_ready(test->ends[i]);
        watch_start_edge(&test->yielding[i], f->loop, test->ends[i][0], on_yielding, test);
        watch_set_yielding(&test->yielding[i], WATCH_YIELDS_KNOWN);
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, test->other_ends), 0);
    watch_start_edge(&test->other, f->loop, test->other_ends[0], on_other, test);
    if (other_is_ready) {
        assert_int_equal(write(test->other_ends[1], "x", 1), 1);
    }
    deadline_init(&f->first, f->loop, on_yield_test_over, test);
    deadline_set_in_ms(&f->first, test->stops_the_rest ? EDGE_QUIET_MS : GIVE_UP_MS);
    loop_run(f->loop);
    for (unsigned i = 0; i < YIELDING; i++) {
        watch_stop(&test->yielding[i]);
        close_pair(test->ends[i]);
    }
    watch_stop(&test->other);
    (void)close(test->other_ends[0]);
    (void)close(test->other_ends[1]);
}

static void test_what_yields_is_told_after_the_others_of_its_turn(void **state)
{
    struct yield_test test = {.yielded = 0};

    run_yield_test(*state, &test, true);
    assert_int_equal(test.yielded, YIELDING); /* none is left over, though nothing woke the loop */
    assert_true(test.other_is_told);
    assert_int_equal(test.yielded_before_other, 0); /* though the others were ready first */
}

static void test_many_that_yield_leave_room_for_what_comes_meanwhile(void **state)
{
    struct yield_test test = {.yielded = 0};

    run_yield_test(*state, &test, false);
    assert_int_equal(test.yielded, YIELDING);
    assert_true(test.other_is_told);
    assert_in_range(test.yielded_before_other, 1, YIELDING - 1);
}

static void test_what_is_stopped_while_it_waits_its_turn_is_not_told(void **state)
{
    struct yield_test test = {.stops_the_rest = true};

    run_yield_test(*state, &test, false);
    assert_int_equal(test.yielded, 1);
}

struct hurry_test {
    struct loop *loop;
    struct watch patient;
    struct watch hasty;
    unsigned patient_events;
    unsigned patient_calls;
};

static void on_patient(struct watch *watch, unsigned events, void *arg)
{
    struct hurry_test *test = arg;

    (void)watch;
    test->patient_events |= events;
    test->patient_calls++;
}

/* Comes first: the other yields. */
static void on_hasty(struct watch *watch, unsigned events, void *arg)
{
    struct hurry_test *test = arg;

    (void)watch;
    (void)events;
    assert_int_equal(test->patient_calls, 0);
    watch_hurry(&test->patient);
    assert_int_equal(test->patient_calls, 1);
    assert_int_equal(test->patient_events, WATCH_READ | WATCH_WRITE);
    watch_hurry(&test->patient); /* nothing is put off any more */
    loop_stop(test->loop);
}

static void test_what_is_put_off_is_told_at_once_when_hurried_and_not_again(void **state)
{
    struct fixture *f = *state;
    struct hurry_test test = {.loop = f->loop};
    int pair[2];

    make_ready(pair);
    watch_start_edge(&test.patient, f->loop, pair[0], on_patient, &test);
    watch_set_yielding(&test.patient, WATCH_YIELDS_KNOWN);
    watch_start_edge(&test.hasty, f->loop, f->pair[0], on_hasty, &test);
    loop_run(f->loop);
    assert_int_equal(test.patient_calls, 1);
    watch_stop(&test.patient);
    watch_stop(&test.hasty);
    close_pair(pair);
}

/* Each notes the order in which it was told. */
#define TELLERS 40
struct order_test {
    struct loop *loop;
    struct teller {
        struct order_test *test;
        struct watch watch;
        int ends[2];
        unsigned place; /* 1: told first; 0: not told */
        unsigned events;
    } tellers[TELLERS];
    unsigned told;
    unsigned told_by; /* end when so many were */
    unsigned hurries; /* the first one says of this one that it does not yield any more; 0: none */
};

static void on_teller(struct watch *watch, unsigned events, void *arg)
{
    struct teller *teller = arg;
    struct order_test *test = teller->test;

    (void)watch;
    teller->place = ++test->told;
    teller->events = events;
    if (test->told == 1 && test->hurries != 0) {
        watch_set_yielding(&test->tellers[test->hurries].watch, WATCH_AT_ONCE);
    }
    if (test->told == test->told_by) {
        loop_stop(test->loop);
    }
}

static void start_tellers(struct fixture *f, struct order_test *test)
{
    test->loop = f->loop;
    test->told_by = TELLERS;
    for (unsigned i = 0; i < TELLERS; i++) {
        struct teller *teller = &test->tellers[i];
        teller->test = test;
        make_ready(teller->ends);
        watch_start_edge(&teller->watch, f->loop, teller->ends[0], on_teller, teller);
        watch_set_yielding(&teller->watch, WATCH_YIELDS_NEW);
    }
}

static void end_tellers(struct order_test *test)
{
    for (unsigned i = 0; i < TELLERS; i++) {
        watch_stop(&test->tellers[i].watch);
        close_pair(test->tellers[i].ends);
    }
}

static void test_those_who_are_known_do_not_wait_behind_many_who_are_new(void **state)
{
    struct fixture *f = *state;
    struct order_test test = {.told = 0};
    const unsigned last = TELLERS - 1;

    start_tellers(f, &test);
    watch_set_yielding(&test.tellers[last - 1].watch, WATCH_YIELDS_KNOWN);
    watch_set_yielding(&test.tellers[last].watch, WATCH_YIELDS_KNOWN);
    loop_run(f->loop);
    assert_int_equal(test.tellers[last - 1].place, 1);
    assert_int_equal(test.tellers[0].place, 2); /* half and half */
    assert_int_equal(test.tellers[last].place, 3);
    assert_int_equal(test.tellers[1].place, 4);
    assert_int_equal(test.tellers[last - 2].place, TELLERS);
    end_tellers(&test);
}

static void test_a_close_is_told_at_once_with_what_came_before_it(void **state)
{
    struct fixture *f = *state;
    struct order_test test = {.told = 0};
    struct teller *last = &test.tellers[TELLERS - 1];

    start_tellers(f, &test);
    assert_int_equal(shutdown(last->ends[1], SHUT_WR), 0);
    loop_run(f->loop);
    assert_int_equal(last->place, 1);
    assert_int_equal(last->events, WATCH_READ | WATCH_WRITE | WATCH_CLOSED);
    assert_int_equal(test.told, TELLERS);
    end_tellers(&test);
}

static void test_what_does_not_yield_any_more_is_the_next(void **state)
{
    struct fixture *f = *state;
    struct order_test test = {.hurries = TELLERS - 2};

    start_tellers(f, &test);
    loop_run(f->loop);
    assert_int_equal(test.tellers[0].place, 1);
    assert_in_range(test.tellers[TELLERS - 2].place, 2, 3); /* the other list may have the turn */
    assert_int_equal(test.tellers[2].place, 4);
    end_tellers(&test);
}

/* ---- batches ---- */

struct batch_test {
    struct loop *loop;
    struct watch watches[TELLERS];
    struct watch yielding;
    struct loop_task task;
    unsigned told;
    unsigned ends;
    unsigned told_by_end[TELLERS]; /* how many were told as a batch ended */
};

static void on_one_of_batch(struct watch *watch, unsigned events, void *arg)
{
    struct batch_test *test = arg;

    (void)watch;
    (void)events;
    test->told++;
    if (loop_batch_goes_on(test->loop)) {
        loop_batch_task_queue(test->loop, &test->task);
    }
}

static void on_end_of_batch(struct loop_task *task, void *arg)
{
    struct batch_test *test = arg;

    (void)task;
    assert_false(loop_batch_goes_on(test->loop));
    test->told_by_end[test->ends++] = test->told;
}

/* Put off, so it comes after the batches. */
static void on_after_batches(struct watch *watch, unsigned events, void *arg)
{
    struct batch_test *test = arg;

    (void)watch;
    (void)events;
    assert_false(loop_batch_goes_on(test->loop));
    assert_true(test->ends > 0);
    loop_stop(test->loop);
}

static void run_batch_test(struct fixture *f, struct batch_test *test, unsigned count)
{
    int ends[TELLERS][2];

    *test = (struct batch_test){.loop = f->loop};
    loop_task_init(&test->task, on_end_of_batch, test);
    for (unsigned i = 0; i < count; i++) {
        make_ready(ends[i]);
        watch_start_edge(&test->watches[i], f->loop, ends[i][0], on_one_of_batch, test);
    }
    watch_start_edge(&test->yielding, f->loop, f->pair[0], on_after_batches, test);
    watch_set_yielding(&test->yielding, WATCH_YIELDS_NEW);
    assert_int_equal(write(f->pair[1], "x", 1), 1);
    loop_run(f->loop);
    watch_stop(&test->yielding);
    for (unsigned i = 0; i < count; i++) {
        watch_stop(&test->watches[i]);
        close_pair(ends[i]);
    }
}

static void test_a_batch_ends_with_its_task_before_anything_else(void **state)
{
    struct batch_test test;

    run_batch_test(*state, &test, TELLERS);
    assert_int_equal(test.told, TELLERS);
    assert_int_equal(test.ends, 3);
    assert_int_equal(test.told_by_end[0], LOOP_BATCH_CALLS);
    assert_int_equal(test.told_by_end[1], 2 * LOOP_BATCH_CALLS);
    assert_int_equal(test.told_by_end[2], TELLERS);
}

/* Of two events the second is the one that is put off. */
static void test_a_batch_ends_though_its_last_event_is_put_off(void **state)
{
    struct batch_test test;

    run_batch_test(*state, &test, 1);
    assert_int_equal(test.told, 1);
    assert_int_equal(test.ends, 1);
    assert_int_equal(test.told_by_end[0], 1);
}

/* ---- a loop that stood still ---- */

#define CROWD          200 /* more than three turns of events */
#define STOOD_STILL_MS 200

struct crowd_test {
    struct watch watches[CROWD];
    struct watch *level[CROWD];
    int ends[CROWD][2];
    unsigned told;
    unsigned told_before_deadline;
};

static void on_one_of_many(struct watch *watch, unsigned events, void *arg)
{
    (void)watch;
    (void)events;
    ((struct crowd_test *)arg)->told++;
}

static void on_late_deadline(struct deadline *deadline, void *arg)
{
    struct crowd_test *test = arg;

    test->told_before_deadline = test->told;
    loop_stop(deadline->loop);
}

/* The deadline is long over and all the descriptors are ready when the loop begins to turn. */
static void run_late(struct fixture *f, struct crowd_test *test, bool is_level)
{
    for (unsigned i = 0; i < CROWD; i++) {
        make_ready(test->ends[i]);
        if (is_level) {
            test->level[i] =
                watch_level(f->loop, test->ends[i][0], WATCH_READ, on_one_of_many, test);
        } else {
            watch_start_edge(&test->watches[i], f->loop, test->ends[i][0], on_one_of_many, test);
        }
    }
    deadline_init(&f->first, f->loop, on_late_deadline, test);
    deadline_set_in_ms(&f->first, 1);
    const uint64_t until_ns = clock_mono_ns() + STOOD_STILL_MS * NS_PER_MS;
    while (clock_mono_ns() < until_ns) {
    }
    loop_run(f->loop);
    for (unsigned i = 0; i < CROWD; i++) {
        watch_free(test->level[i]);
        watch_stop(&test->watches[i]);
        close_pair(test->ends[i]);
    }
}

static void test_a_very_late_deadline_comes_after_all_that_came_meanwhile(void **state)
{
    struct crowd_test test = {.told = 0};

    run_late(*state, &test, false);
    assert_int_equal(test.told_before_deadline, CROWD);
}

static void test_a_very_late_deadline_comes_though_there_is_always_more(void **state)
{
    struct crowd_test test = {.told = 0};

    run_late(*state, &test, true);
    assert_in_range(test.told_before_deadline, CROWD, 2 * CROWD);
}

/* ---- signals ---- */

static void on_usr1(int signal_number, void *arg)
{
    struct fixture *f = arg;

    assert_int_equal(signal_number, SIGUSR1);
    tell(f, 's');
    loop_stop(f->loop);
}

static void test_signal_is_delivered_in_the_loop(void **state)
{
    struct fixture *f = *state;
    struct loop_signal *signal_usr1 = loop_signal_new(f->loop, SIGUSR1, on_usr1, f);

    assert_int_equal(raise(SIGUSR1), 0);
    assert_string_equal(f->story, "");
    loop_run(f->loop);
    assert_string_equal(f->story, "s");
    loop_signal_free(signal_usr1);
}

/* ---- messages ---- */

struct numbered {
    struct loop_message message;
    unsigned poster;
    unsigned number;
};

struct mailbox_test {
    struct loop *loop;
    unsigned next[POSTERS]; /* number expected next from each poster */
    unsigned received;
    unsigned out_of_order;
};

struct poster {
    struct mailbox_test *test;
    unsigned id;
};

static void on_numbered(struct loop_message *message, void *arg)
{
    struct mailbox_test *test = arg;
    struct numbered *numbered = MESSAGE_FROM(message);

    assert_true(loop_is_home(test->loop));
    if (numbered->number != test->next[numbered->poster]++) {
        test->out_of_order++;
    }
    mem_free(numbered);
    if (++test->received == POSTERS * POSTS_EACH) {
        loop_stop(test->loop);
    }
}

static void *post_many(void *arg)
{
    struct poster *poster = arg;

    for (unsigned i = 0; i < POSTS_EACH; i++) {
        struct numbered *numbered = mem_new(struct numbered);

        numbered->poster = poster->id;
        numbered->number = i;
        loop_post(poster->test->loop, &numbered->message, on_numbered, poster->test);
    }
    return NULL;
}

static void test_messages_of_four_threads_all_come_each_in_order(void **state)
{
    struct fixture *f = *state;
    struct mailbox_test test = {.loop = f->loop};
    struct poster posters[POSTERS];
    pthread_t threads[POSTERS];

    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.test = &test, .id = i};
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
    }
    loop_run(f->loop);
    for (unsigned i = 0; i < POSTERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_string_equal(f->story, "");
    assert_int_equal(test.received, POSTERS * POSTS_EACH);
    assert_int_equal(test.out_of_order, 0);
}

static void *run_elsewhere(void *arg)
{
    struct fixture *f = arg;

    loop_run(f->loop);
    return NULL;
}

static void message_home(struct loop_message *message, void *arg)
{
    struct fixture *f = arg;

    (void)message;
    tell(f, loop_is_home(f->loop) ? 'h' : 'x');
    loop_stop(f->loop);
}

static void test_loop_is_home_on_the_thread_that_runs_it(void **state)
{
    struct fixture *f = *state;
    struct loop_message message;
    pthread_t thread;

    assert_true(loop_is_home(f->loop));
    assert_int_equal(pthread_create(&thread, NULL, run_elsewhere, f), 0);
    loop_post(f->loop, &message, message_home, f);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(f->story, "h");
    assert_true(loop_is_home(f->loop));
}

static void on_late(struct loop_message *message, void *arg)
{
    unsigned *calls = arg;

    (*calls)++;
    mem_free(MESSAGE_FROM(message));
}

static void test_messages_left_at_the_end_are_delivered_by_free(void **state)
{
    struct loop *loop = loop_new("short");
    struct numbered *late = mem_new(struct numbered);
    unsigned calls = 0;

    (void)state;
    loop_post(loop, &late->message, on_late, &calls);
    loop_free(loop);
    assert_int_equal(calls, 1);
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        LOOP_TEST(test_loop_turn_is_deadlines_tasks_deferred_then_tasks_of_tasks),
        LOOP_TEST(test_task_cancelled_before_its_turn_does_not_run),
        LOOP_TEST(test_heavy_steps_of_a_turn_are_bounded_and_those_that_waited_go_first),
        LOOP_TEST(test_heavy_steps_that_go_on_and_that_begin_share_a_turn),
        LOOP_TEST(test_heavy_step_that_waits_keeps_the_loop_turning_until_cancelled),
        LOOP_TEST(test_stop_before_run_ends_the_run_at_once),
        LOOP_TEST(test_now_stands_still_until_refreshed),
        LOOP_TEST(test_deadlines_come_in_order_of_time_not_of_setting),
        LOOP_TEST(test_deadline_set_later_keeps_its_place_and_comes_later),
        LOOP_TEST(test_deadline_set_earlier_comes_earlier),
        LOOP_TEST(test_far_deadline_comes_in_time_though_the_clock_is_not_read_for_it),
        LOOP_TEST(test_deadline_set_again_after_cancel_comes_once),
        LOOP_TEST(test_deadline_that_sets_itself_to_now_runs_once_a_turn),
        LOOP_TEST(test_edge_watch_tells_each_change_once_and_is_stopped_in_its_callback),
        LOOP_TEST(test_level_watch_comes_again_while_bytes_are_left),
        LOOP_TEST(test_what_yields_is_told_after_the_others_of_its_turn),
        LOOP_TEST(test_many_that_yield_leave_room_for_what_comes_meanwhile),
        LOOP_TEST(test_what_is_stopped_while_it_waits_its_turn_is_not_told),
        LOOP_TEST(test_what_is_put_off_is_told_at_once_when_hurried_and_not_again),
        LOOP_TEST(test_those_who_are_known_do_not_wait_behind_many_who_are_new),
        LOOP_TEST(test_a_close_is_told_at_once_with_what_came_before_it),
        LOOP_TEST(test_what_does_not_yield_any_more_is_the_next),
        LOOP_TEST(test_a_batch_ends_with_its_task_before_anything_else),
        LOOP_TEST(test_a_batch_ends_though_its_last_event_is_put_off),
        LOOP_TEST(test_a_very_late_deadline_comes_after_all_that_came_meanwhile),
        LOOP_TEST(test_a_very_late_deadline_comes_though_there_is_always_more),
        LOOP_TEST(test_signal_is_delivered_in_the_loop),
        LOOP_TEST(test_messages_of_four_threads_all_come_each_in_order),
        LOOP_TEST(test_loop_is_home_on_the_thread_that_runs_it),
        cmocka_unit_test(test_messages_left_at_the_end_are_delivered_by_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
