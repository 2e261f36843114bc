/* SPDX-License-Identifier: MIT */
/*
 * Redis frozen, killed, restarted, not there, full of clients, or not a Redis at all: kv must
 * neither wait nor fall over, and be back when Redis is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/kv_fixture.h"

#define IMPATIENT_MS 20

/* Milliseconds that a command took which must not have waited. */
static void assert_at_once(struct fixture *fixture, enum kv_result want)
{
    uint64_t begin_ns = clock_mono_ns();

    assert_result(get(fixture, "a", PATIENT_MS), want);
    assert_true(clock_mono_ns() - begin_ns < 1000 * NS_PER_MS);
}

static void open_breaker(struct fixture *fixture)
{
    for (int i = 0; i < KV_BREAKER_FALLS; i++) {
        assert_result(get(fixture, "a", IMPATIENT_MS), KV_TIMEOUT);
        assert_error(fixture, "no answer within 20 ms");
    }
}

/* ---- frozen ---- */

static void test_a_late_reply_is_not_taken_for_the_next_one(void **state)
{
    struct fixture *fixture = *state;

    assert_result(set(fixture, "a", "one"), KV_OK);
    assert_result(set(fixture, "b", "two"), KV_OK);
    redis_freeze(&fixture->redis);
    assert_result(get(fixture, "a", IMPATIENT_MS), KV_TIMEOUT);
    redis_thaw(&fixture->redis);

    assert_result(get(fixture, "b", PATIENT_MS), KV_OK);
    assert_value(fixture, "two");
}

static void test_a_frozen_redis_opens_the_breaker_and_closes_it_when_thawed(void **state)
{
    struct fixture *fixture = *state;

    assert_result(set(fixture, "a", "one"), KV_OK);
    redis_freeze(&fixture->redis);
    open_breaker(fixture);
    assert_false(kv_is_up(fixture->kv));
    for (int i = 0; i < 100; i++) {
        assert_at_once(fixture, KV_DOWN);
    }

    redis_thaw(&fixture->redis);
    wait_until(fixture, is_up);
    assert_result(get(fixture, "a", PATIENT_MS), KV_OK);
    assert_value(fixture, "one");
}

static void test_a_ping_goes_past_the_open_breaker_and_closes_it(void **state)
{
    struct fixture *fixture = *state;

    assert_result(set(fixture, "a", "one"), KV_OK);
    redis_freeze(&fixture->redis);
    open_breaker(fixture);
    redis_thaw(&fixture->redis);
    forget_calls(fixture);
    (void)kv_ping(fixture->kv, PATIENT_MS, on_done, fixture);
    wait_for_calls(fixture, 1);

    assert_result(fixture->result, KV_OK);
    wait_until(fixture, is_up); /* a trial may have to help, if this machine is slow */
}

static bool has_stalled(struct fixture *fixture)
{
    return strstr(kv_last_error(fixture->kv), "stopped answering") != NULL;
}

static void test_a_connection_that_stays_silent_is_given_up_for_a_new_one(void **state)
{
    struct fixture *fixture = *state;

    assert_result(set(fixture, "a", "one"), KV_OK);
    redis_freeze(&fixture->redis);
    assert_result(get(fixture, "a", IMPATIENT_MS), KV_TIMEOUT);
    wait_until(fixture, has_stalled); /* 5 s */
    redis_thaw(&fixture->redis);
    wait_until(fixture, is_up);

    assert_result(get(fixture, "a", PATIENT_MS), KV_OK);
}

static void test_too_many_unanswered_commands_give_the_connection_up(void **state)
{
    struct fixture *fixture = *state;
    uint64_t begin_ns;

    assert_result(set(fixture, "a", "one"), KV_OK);
    redis_freeze(&fixture->redis);
    forget_calls(fixture);
    begin_ns = clock_mono_ns();
    for (int i = 0; i < KV_PENDING_MAX; i++) {
        (void)kv_get(fixture->kv, STR_LIT("a"), IMPATIENT_MS, on_done, fixture);
    }
    wait_for_calls(fixture, KV_PENDING_MAX);
    assert_int_equal(fixture->results[KV_TIMEOUT], KV_PENDING_MAX);
    wait_until(fixture, has_stalled);
    assert_true(clock_mono_ns() - begin_ns < 4000 * NS_PER_MS); /* not for the silence */
    redis_thaw(&fixture->redis);
    wait_until(fixture, is_up);
}

static void test_memory_does_not_grow_while_redis_reads_nothing(void **state)
{
    struct fixture *fixture = *state;
    char *value = mem_zero(1, 1048576);

    assert_result(set(fixture, "a", "one"), KV_OK);
    redis_freeze(&fixture->redis);
    forget_calls(fixture);
    for (unsigned i = 0; i < 100; i++) {
        (void)kv_set(fixture->kv, STR_LIT("a"), str_make(value, 1048576), 60000, 200, on_done,
                     fixture);
        settle(fixture);
    }
    fixture->calls_wanted = 100;
    if (fixture->calls < 100) {
        run_guarded(fixture);
    }

    assert_int_equal(fixture->calls, 100);
    assert_int_equal(fixture->results[KV_OK], 0);
    redis_thaw(&fixture->redis);
    wait_until(fixture, is_up);
    assert_result(get(fixture, "a", PATIENT_MS), KV_OK);
    mem_free(value);
}

/* A purge may take minutes; a Redis that is frozen does not. */
static void test_a_deletion_ends_when_a_step_of_it_is_not_answered(void **state)
{
    struct fixture *fixture = *state;

    assert_result(set(fixture, "a", "one"), KV_OK);
    redis_freeze(&fixture->redis);
    forget_calls(fixture);
    (void)kv_delete_matching(fixture->kv, STR_LIT("*"), 10 * GUARD_MS, on_done, fixture);
    wait_for_calls(fixture, 1); /* KV_SWEEP_STEP_MS */
    assert_result(fixture->result, KV_TIMEOUT);
    redis_thaw(&fixture->redis);
}

/* ---- gone ---- */

static void test_a_killed_redis_is_down_at_once_and_a_restarted_one_is_found(void **state)
{
    struct fixture *fixture = *state;

    assert_result(set(fixture, "a", "one"), KV_OK);
    redis_stop(&fixture->redis);
    wait_until(fixture, is_not_up);
    for (int i = 0; i < 20; i++) {
        assert_at_once(fixture, KV_DOWN);
    }
    redis_start_at(&fixture->redis, fixture->redis.port, "--port", NULL);
    wait_until(fixture, is_up);

    assert_result(get(fixture, "a", PATIENT_MS), KV_MISS);
}

static void test_a_kill_ends_every_command_under_way(void **state)
{
    struct fixture *fixture = *state;

    assert_result(set(fixture, "a", "one"), KV_OK);
    redis_freeze(&fixture->redis);
    forget_calls(fixture);
    for (int i = 0; i < 50; i++) {
        (void)kv_get(fixture->kv, STR_LIT("a"), PATIENT_MS, on_done, fixture);
    }
    (void)kv_delete_matching(fixture->kv, STR_LIT("*"), PATIENT_MS, on_done, fixture);
    settle(fixture);
    redis_stop(&fixture->redis);
    wait_for_calls(fixture, 51);

    assert_int_equal(fixture->results[KV_DOWN], 51);
}

static void test_a_port_where_nobody_listens_is_down(void **state)
{
    struct fixture *fixture = *state;
    struct kv_target target = target_at(redis_free_port());

    fixture->kv = kv_new(fixture->loop, &target);
    for (int i = 0; i < 20; i++) {
        assert_at_once(fixture, KV_DOWN);
    }
    assert_error(fixture, "refused");
}

static void test_a_redis_full_of_clients_says_so(void **state)
{
    static const char *const options[] = {"--maxclients", "1", NULL};
    struct fixture *fixture = *state;
    struct kv_target target;
    struct kv *first;

    redis_start(&fixture->redis, options);
    target = target_at(fixture->redis.port);
    first = kv_new(fixture->loop, &target);
    (void)kv_ping(first, PATIENT_MS, on_done, fixture);
    wait_for_calls(fixture, 1);
    fixture->kv = kv_new(fixture->loop, &target);

    assert_result(get(fixture, "a", PATIENT_MS), KV_REFUSED);
    assert_error(fixture, "max number of clients reached");
    kv_free(first);
    wait_until(fixture, is_up);
}

/* ---- not a Redis ---- */

#define DUES_MAX 64

/* Says the same to everybody, once per connection or once per read, at once or after a delay. */
struct oracle {
    struct loop *loop;
    int listening;
    struct watch *watch;
    const char *words;
    bool waits_for_question;
    uint32_t delay_ms;         /* of each answer */
    uint64_t due_ns[DUES_MAX]; /* of answers to come, in a ring */
    unsigned asked;
    unsigned answered;
    struct deadline due;
    unsigned connections;
    int fd; /* the last connection; -1: none */
    struct watch *conn_watch;
};

static void oracle_hang_up(struct oracle *oracle)
{
    if (oracle->fd >= 0) {
        watch_free(oracle->conn_watch);
        close(oracle->fd);
        oracle->fd = -1;
    }
    oracle->answered = oracle->asked;
}

static void oracle_speak(struct oracle *oracle)
{
    (void)send(oracle->fd, oracle->words, strlen(oracle->words), MSG_NOSIGNAL);
}

static void oracle_wait(struct oracle *oracle)
{
    if (oracle->answered != oracle->asked) {
        deadline_set_ns(&oracle->due, oracle->due_ns[oracle->answered % DUES_MAX]);
    }
}

static void on_answer_due(struct deadline *deadline, void *arg)
{
    struct oracle *oracle = arg;

    (void)deadline;
    if (oracle->answered != oracle->asked) {
        oracle->answered++;
        oracle_speak(oracle);
        oracle_wait(oracle);
    }
}

static void oracle_speak_later(struct oracle *oracle)
{
    assert_true(oracle->asked - oracle->answered < DUES_MAX);
    oracle->due_ns[oracle->asked++ % DUES_MAX] =
        loop_now_ns(oracle->loop) + oracle->delay_ms * NS_PER_MS;
    oracle_wait(oracle);
}

static void on_question(struct watch *watch, unsigned events, void *arg)
{
    struct oracle *oracle = arg;
    char question[4096];

    (void)watch;
    (void)events;
    if (recv(oracle->fd, question, sizeof(question), 0) <= 0) {
        oracle_hang_up(oracle);
    } else if (oracle->delay_ms > 0) {
        oracle_speak_later(oracle);
    } else if (oracle->waits_for_question) {
        oracle_speak(oracle);
    }
}

static void on_visitor(struct watch *watch, unsigned events, void *arg)
{
    struct oracle *oracle = arg;

    (void)events;
    oracle_hang_up(oracle);
    oracle->fd = accept(watch_fd(watch), NULL, NULL);
    assert_true(oracle->fd >= 0);
    oracle->connections++;
    oracle->conn_watch = watch_level(oracle->loop, oracle->fd, WATCH_READ, on_question, oracle);
    if (!oracle->waits_for_question) {
        oracle_speak(oracle);
    }
}

/* Put an oracle in the place of the fixture's Redis. */
static void oracle_start(struct fixture *fixture, struct oracle *oracle)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);

    oracle->loop = fixture->loop;
    deadline_init(&oracle->due, fixture->loop, on_answer_due, oracle);
    oracle->fd = -1;
    oracle->listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(oracle->listening, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(listen(oracle->listening, 8), 0);
    assert_int_equal(getsockname(oracle->listening, (struct sockaddr *)&addr, &len), 0);
    oracle->watch = watch_level(fixture->loop, oracle->listening, WATCH_READ, on_visitor, oracle);
    fixture->redis.port = ntohs(addr.sin_port);
    connect_to_redis(fixture);
}

static void oracle_stop(struct oracle *oracle)
{
    oracle_hang_up(oracle);
    deadline_done(&oracle->due);
    watch_free(oracle->watch);
    close(oracle->listening);
}

static void test_what_is_not_resp_leads_to_new_attempts_with_backoff(void **state)
{
    static const char *const words[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "*2147483647\r\n",
        "$-7\r\n",
        "%1\r\n+a\r\n+b\r\n",
        "+one reply\r\n+and one that nobody asked for\r\n",
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct oracle oracle = {.words = words[i]};
        uint64_t begin_ns;

        oracle_start(fixture, &oracle);
        /* The reply nobody asked for may come before or after the command has gone. */
        (void)get(fixture, "a", PATIENT_MS);
        begin_ns = clock_mono_ns();
        while (clock_mono_ns() - begin_ns < 400 * NS_PER_MS) {
            settle(fixture);
        }
        assert_in_range(oracle.connections, 2, 5); /* at 0, 100, 300, 700 ms, less a quarter */
        kv_free(fixture->kv);
        fixture->kv = NULL;
        settle(fixture);
        oracle_stop(&oracle);
    }
}

#define STABLE_MS 5000 /* KV_STABLE_MS of kv_conn.c */

static bool is_visited_again(struct fixture *fixture)
{
    return ((struct oracle *)fixture->peer)->connections > fixture->calls;
}

/* Hang up, and wait for the next visit; how long that took. */
static uint64_t hang_up_ms(struct fixture *fixture, struct oracle *oracle)
{
    uint64_t begin_ns = clock_mono_ns();

    fixture->calls = oracle->connections;
    oracle_hang_up(oracle);
    wait_until(fixture, is_visited_again);
    return (clock_mono_ns() - begin_ns) / NS_PER_MS;
}

static void test_a_connection_that_served_long_is_made_anew_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct oracle oracle = {.words = "+PONG\r\n", .waits_for_question = true};
    uint64_t begin_ns;

    fixture->peer = &oracle;
    oracle_start(fixture, &oracle);
    (void)kv_ping(fixture->kv, PATIENT_MS, on_done, fixture);
    wait_for_calls(fixture, 1);
    (void)hang_up_ms(fixture, &oracle); /* after 100 ms */
    (void)hang_up_ms(fixture, &oracle); /* 200 */
    assert_in_range(hang_up_ms(fixture, &oracle), 300, 100000);
    begin_ns = clock_mono_ns();
    while (clock_mono_ns() - begin_ns < (STABLE_MS + 100) * NS_PER_MS) {
        settle(fixture);
    }
    assert_in_range(hang_up_ms(fixture, &oracle), 0, 500); /* else 800, less a quarter */

    kv_free(fixture->kv);
    fixture->kv = NULL;
    oracle_stop(&oracle);
}

static void test_an_answer_of_the_wrong_kind_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct oracle oracle = {.words = "*1\r\n:1\r\n", .waits_for_question = true};

    oracle_start(fixture, &oracle);
    assert_result(get(fixture, "a", PATIENT_MS), KV_REFUSED);
    assert_error(fixture, "unexpected kind of reply");
    forget_calls(fixture);
    (void)kv_delete_matching(fixture->kv, STR_LIT("*"), PATIENT_MS, on_done, fixture);
    wait_for_calls(fixture, 1);
    assert_result(fixture->result, KV_REFUSED);
    kv_free(fixture->kv);
    fixture->kv = NULL;
    oracle_stop(&oracle);
}

static void test_a_redis_that_is_loading_opens_the_breaker(void **state)
{
    struct fixture *fixture = *state;
    struct oracle oracle = {.words = "-LOADING Redis is loading the dataset in memory\r\n",
                            .waits_for_question = true};

    oracle_start(fixture, &oracle);
    for (int i = 0; i < KV_BREAKER_FALLS; i++) {
        assert_result(get(fixture, "a", PATIENT_MS), KV_REFUSED);
    }
    assert_at_once(fixture, KV_DOWN);
    assert_error(fixture, "LOADING");

    oracle.words = "+PONG\r\n";
    wait_until(fixture, is_up);
    kv_free(fixture->kv);
    fixture->kv = NULL;
    oracle_stop(&oracle);
}

/* Stores may take longer than look-ups: that they are answered does not help those. */
static void test_a_slow_redis_opens_the_breaker_though_it_answers_patient_commands(void **state)
{
    struct fixture *fixture = *state;
    struct oracle oracle = {.words = "+OK\r\n", .waits_for_question = true, .delay_ms = 100};

    oracle_start(fixture, &oracle);
    for (int i = 0; i < KV_BREAKER_FALLS; i++) {
        assert_result(set(fixture, "a", "one"), KV_OK);
        assert_result(get(fixture, "a", IMPATIENT_MS), KV_TIMEOUT);
    }
    assert_at_once(fixture, KV_DOWN);

    forget_calls(fixture);
    (void)kv_ping(fixture->kv, PATIENT_MS, on_done, fixture);
    wait_for_calls(fixture, 1);
    assert_result(fixture->result, KV_OK);
    assert_at_once(fixture, KV_DOWN); /* it has answered, but too late */

    kv_expect(fixture->kv, PATIENT_MS);
    wait_until(fixture, is_up);
    assert_result(set(fixture, "a", "one"), KV_OK);
    kv_free(fixture->kv);
    fixture->kv = NULL;
    oracle_stop(&oracle);
}

static void test_pings_that_are_late_do_not_open_the_breaker(void **state)
{
    struct fixture *fixture = *state;
    struct oracle oracle = {.words = "+OK\r\n", .waits_for_question = true, .delay_ms = 100};

    oracle_start(fixture, &oracle);
    assert_result(set(fixture, "a", "one"), KV_OK);
    for (int i = 0; i < KV_BREAKER_FALLS; i++) {
        forget_calls(fixture);
        (void)kv_ping(fixture->kv, IMPATIENT_MS, on_done, fixture);
        wait_for_calls(fixture, 1);
        assert_result(fixture->result, KV_TIMEOUT);
    }
    assert_result(set(fixture, "a", "one"), KV_OK);
    kv_free(fixture->kv);
    fixture->kv = NULL;
    oracle_stop(&oracle);
}

static void test_one_who_never_answers_the_login_is_given_up(void **state)
{
    struct fixture *fixture = *state;
    struct oracle oracle = {.words = ""};
    struct kv_target target;

    oracle_start(fixture, &oracle);
    kv_free(fixture->kv);
    target = target_at(fixture->redis.port);
    target.password = "s3cret";
    fixture->kv = kv_new(fixture->loop, &target);
    assert_result(get(fixture, "a", IMPATIENT_MS), KV_TIMEOUT);
    assert_result(get(fixture, "a", PATIENT_MS), KV_DOWN);
    assert_error(fixture, "did not answer the login");
    kv_free(fixture->kv);
    fixture->kv = NULL;
    oracle_stop(&oracle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_REDIS(name) cmocka_unit_test_setup_teardown(name, setup_redis, teardown)
#define WITH_OWN(name)   cmocka_unit_test_setup_teardown(name, setup_loop, teardown)
        WITH_REDIS(test_a_late_reply_is_not_taken_for_the_next_one),
        WITH_REDIS(test_a_frozen_redis_opens_the_breaker_and_closes_it_when_thawed),
        WITH_REDIS(test_a_ping_goes_past_the_open_breaker_and_closes_it),
        WITH_REDIS(test_a_connection_that_stays_silent_is_given_up_for_a_new_one),
        WITH_REDIS(test_too_many_unanswered_commands_give_the_connection_up),
        WITH_REDIS(test_memory_does_not_grow_while_redis_reads_nothing),
        WITH_REDIS(test_a_deletion_ends_when_a_step_of_it_is_not_answered),
        WITH_REDIS(test_a_killed_redis_is_down_at_once_and_a_restarted_one_is_found),
        WITH_REDIS(test_a_kill_ends_every_command_under_way),
        WITH_OWN(test_a_port_where_nobody_listens_is_down),
        WITH_OWN(test_a_redis_full_of_clients_says_so),
        WITH_OWN(test_what_is_not_resp_leads_to_new_attempts_with_backoff),
        WITH_OWN(test_a_connection_that_served_long_is_made_anew_at_once),
        WITH_OWN(test_an_answer_of_the_wrong_kind_is_refused),
        WITH_OWN(test_a_redis_that_is_loading_opens_the_breaker),
        WITH_OWN(test_a_slow_redis_opens_the_breaker_though_it_answers_patient_commands),
        WITH_OWN(test_pings_that_are_late_do_not_open_the_breaker),
        WITH_OWN(test_one_who_never_answers_the_login_is_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
