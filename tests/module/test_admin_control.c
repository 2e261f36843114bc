/* SPDX-License-Identifier: MIT */
/* What operators do over HTTP, who may, and the life of the listener. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/admin_fixture.h"

#include <nearside/obs/log.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>

#define CONNS_MAX 64 /* of the server */

/* ---- drains ---- */

static void test_a_region_is_drained_and_undrained(void **state)
{
    struct fixture *f = *state;

    post(f, "/regions/near/drain");
    assert_int_equal(f->status, 200);
    assert_true(str_eq(f->body, STR_LIT("{\"ok\":true,\"region\":\"near\"}\n")));
    assert_true(region_of(f, 0)->drained);
    post(f, "/regions/near/undrain");
    assert_int_equal(f->status, 200);
    assert_false(region_of(f, 0)->drained);
}

static void test_an_endpoint_is_drained_and_undrained(void **state)
{
    struct fixture *f = *state;

    post(f, "/endpoints/127.0.0.1:7002/drain");
    assert_int_equal(f->status, 200);
    assert_false(region_of(f, 0)->endpoints[0].drained);
    assert_true(region_of(f, 0)->endpoints[1].drained);
    post(f, "/endpoints/127.0.0.1:7002/undrain");
    assert_int_equal(f->status, 200);
    assert_false(region_of(f, 0)->endpoints[1].drained);
}

static void test_names_in_the_path_are_percent_decoded(void **state)
{
    struct fixture *f = *state;

    post(f, "/endpoints/127.0.0.1%3a7002/drain");
    assert_int_equal(f->status, 200);
    assert_true(region_of(f, 0)->endpoints[1].drained);
}

static void test_what_is_not_there_cannot_be_drained(void **state)
{
    static const struct {
        const char *target;
        int status;
    } cases[] = {
        {"/regions/atlantis/drain", 404}, {"/endpoints/127.0.0.1:9/drain", 404},
        {"/endpoints/near/drain", 404},   {"/regions//drain", 404},
        {"/regions/near/drain/", 404},    {"/regions/near%2Fdrain", 404},
        {"/regions/near%2/drain", 400},   {"/regions/near%zz/drain", 400},
        {"/regions/near%00/drain", 400},  {"/regions/near%0a/drain", 400},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        post(f, cases[i].target);
        assert_int_equal(f->status, cases[i].status);
    }
    assert_false(region_of(f, 0)->drained);
}

static void test_a_name_beyond_any_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    struct buf target;

    buf_init(&target);
    buf_append_str(&target, STR_LIT("/regions/"));
    for (int i = 0; i < 301; i++) {
        buf_append_char(&target, 'x');
    }
    buf_append(&target, "/drain", 7); /* with the NUL */
    post(f, buf_str(&target).ptr);
    assert_int_equal(f->status, 400);
    buf_done(&target);
}

/* ---- reload, purge ---- */

static void test_a_reload_is_asked_for_once(void **state)
{
    struct fixture *f = *state;

    post(f, "/reload");
    assert_int_equal(f->status, 200);
    assert_int_equal(f->reloads, 1);
}

static void test_a_refused_reload_is_409_with_the_reason(void **state)
{
    struct fixture *f = *state;

    f->reload_ok = false;
    f->last_reload.ok = false;
    (void)snprintf(f->last_reload.error, sizeof(f->last_reload.error), "a.conf:3: \"prot\": bad");
    post(f, "/reload");
    assert_int_equal(f->status, 409);
    assert_true(says(f->body, "a.conf:3: \\\"prot\\\": bad"));
}

static void test_a_purge_reaches_redis_only_when_asked(void **state)
{
    struct fixture *f = *state;

    post(f, "/cache/purge");
    assert_int_equal(f->status, 200);
    assert_int_equal(f->purges, 1);
    assert_int_equal(f->redis_purges, 0);
    post(f, "/cache/purge?redis=10&redis=1");
    assert_int_equal(f->purges, 2);
    assert_int_equal(f->redis_purges, 1);
}

static void test_an_operators_act_is_logged_with_its_address(void **state)
{
    struct fixture *f = *state;
    char path[] = "/tmp/test_admin_log_XXXXXX";
    struct log_conf conf = {.level = LOG_LEVEL_INFO, .file = path, .access_file = ""};
    char text[4096];
    struct errbuf err;
    ssize_t len;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(log_start(&conf, &err), STATUS_OK);
    post(f, "/regions/far/drain");
    log_stop();
    len = read(fd, text, sizeof(text));
    (void)close(fd);
    (void)unlink(path);
    assert_true(len > 0);
    assert_true(says(str_make(text, (size_t)len),
                     "\"event\":\"operator_drain\",\"region\":\"far\",\"by\":\"127.0.0.1\""));
}

/* ---- who may ---- */

static void test_a_post_needs_the_token(void **state)
{
    struct fixture *f = *state;

    serve(f, "secret", true);
    post(f, "/reload");
    assert_int_equal(f->status, 401);
    assert_true(says(f->head, "WWW-Authenticate: Bearer\r\n"));
    request(f, "POST", "/reload",
            "Host: a.test\r\nAuthorization: Bearer guess\r\n"
            "Content-Length: 0\r\n");
    assert_int_equal(f->status, 401);
    assert_int_equal(f->reloads, 0);
    request(f, "POST", "/reload",
            "Host: a.test\r\nAuthorization: Bearer secret\r\n"
            "Content-Length: 0\r\n");
    assert_int_equal(f->status, 200);
    request(f, "POST", "/reload", "Host: a.test\r\nX-Admin-Token: secret\r\nContent-Length: 0\r\n");
    assert_int_equal(f->status, 200);
    assert_int_equal(f->reloads, 2);
}

static void test_the_token_changes_without_moving_the_listener(void **state)
{
    struct fixture *f = *state;

    admin_set_token(f->admin, "new");
    post(f, "/reload");
    assert_int_equal(f->status, 401);
    admin_set_token(f->admin, "");
    post(f, "/reload");
    assert_int_equal(f->status, 200);
}

static void test_reading_needs_no_token(void **state)
{
    struct fixture *f = *state;

    serve(f, "secret", false);
    get(f, "/status.json");
    assert_int_equal(f->status, 200);
}

static void test_without_a_token_only_loopback_takes_posts(void **state)
{
    struct fixture *f = *state;

    serve(f, "", false);
    post(f, "/reload");
    assert_int_equal(f->status, 403);
    assert_int_equal(f->reloads, 0);
}

static void test_pages_of_other_origins_change_nothing(void **state)
{
    struct fixture *f = *state;

    request(f, "POST", "/reload",
            "Host: localhost\r\nOrigin: http://evil.test\r\nContent-Length: 0\r\n");
    assert_int_equal(f->status, 403);
    request(f, "POST", "/reload", "Host: rebound.test\r\nContent-Length: 0\r\n");
    assert_int_equal(f->status, 403);
    assert_int_equal(f->reloads, 0);
}

/* ---- the listener's life ---- */

static unsigned open_fds(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(folder);
    while (readdir(folder) != NULL) {
        count++;
    }
    (void)closedir(folder);
    return count;
}

static unsigned wanted_fds;

static bool has_wanted_fds(struct fixture *f)
{
    (void)f;
    return open_fds() == wanted_fds;
}

static void test_a_move_closes_the_old_listener_and_its_connections(void **state)
{
    struct fixture *f = *state;
    struct addr old = f->addr;
    unsigned before = open_fds();
    int idle = connect_client(&old);

    assert_true(idle >= 0);
    wanted_fds = before + 2;
    run_until(f, has_wanted_fds); /* accepted */
    serve(f, "", true);
    assert_int_equal(connect_client(&old), -1);
    get(f, "/healthz");
    assert_int_equal(f->status, 200);
    wanted_fds = before + 1; /* the client's own end alone is left */
    run_until(f, has_wanted_fds);
    (void)close(idle);
}

static void test_the_reload_that_moves_the_listener_is_answered(void **state)
{
    struct fixture *f = *state;

    f->reload_moves = true;
    exchange(f, STR_LIT("POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"));
    assert_int_equal(f->status, 200);
    assert_true(says(f->head, "Connection: close\r\n"));
    get(f, "/healthz"); /* at the new place */
    assert_int_equal(f->status, 200);
}

static void test_served_nowhere_means_refused(void **state)
{
    struct fixture *f = *state;

    admin_serve(f->admin, -1, "", true);
    assert_int_equal(connect_client(&f->addr), -1);
    serve(f, "", true);
    get(f, "/healthz");
    assert_int_equal(f->status, 200);
}

static void test_beyond_the_limit_connections_wait_for_one_to_end(void **state)
{
    struct fixture *f = *state;
    unsigned before = open_fds();
    int idle[CONNS_MAX + 6];

    for (size_t i = 0; i < ARRAY_LEN(idle); i++) {
        idle[i] = connect_client(&f->addr);
        assert_true(idle[i] >= 0);
    }
    wanted_fds = before + (unsigned)ARRAY_LEN(idle) + CONNS_MAX;
    run_until(f, has_wanted_fds); /* the first ones accepted */
    begin(f, STR_LIT("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    run_for(f, 50);
    assert_true(f->timed_out);
    assert_int_equal(buf_len(&f->answer), 0);
    for (size_t i = 0; i < ARRAY_LEN(idle); i++) {
        (void)close(idle[i]);
    }
    run_for(f, GUARD_MS);
    assert_false(f->timed_out);
    end(f);
    read_answer(f);
    assert_int_equal(f->status, 200);
    wanted_fds = before;
    run_until(f, has_wanted_fds);
}

static void test_no_descriptors_left_only_delays_the_answer(void **state)
{
    struct fixture *f = *state;
    struct rlimit limit;
    struct rlimit none;

    begin(f, STR_LIT("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){.rlim_cur = (rlim_t)f->client + 1, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    run_for(f, 50);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(buf_len(&f->answer), 0);
    run_for(f, GUARD_MS);
    assert_false(f->timed_out);
    end(f);
    read_answer(f);
    assert_int_equal(f->status, 200);
}

static void test_ending_with_connections_open_leaks_nothing(void **state)
{
    struct fixture *f = *state;
    unsigned before = open_fds();
    int idle = connect_client(&f->addr);

    assert_true(idle >= 0);
    wanted_fds = before + 2;
    run_until(f, has_wanted_fds);
    (void)close(idle);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_region_is_drained_and_undrained),
        TEST(test_an_endpoint_is_drained_and_undrained),
        TEST(test_names_in_the_path_are_percent_decoded),
        TEST(test_what_is_not_there_cannot_be_drained),
        TEST(test_a_name_beyond_any_limit_is_refused),
        TEST(test_a_reload_is_asked_for_once),
        TEST(test_a_refused_reload_is_409_with_the_reason),
        TEST(test_a_purge_reaches_redis_only_when_asked),
        TEST(test_an_operators_act_is_logged_with_its_address),
        TEST(test_a_post_needs_the_token),
        TEST(test_the_token_changes_without_moving_the_listener),
        TEST(test_reading_needs_no_token),
        TEST(test_without_a_token_only_loopback_takes_posts),
        TEST(test_pages_of_other_origins_change_nothing),
        TEST(test_a_move_closes_the_old_listener_and_its_connections),
        TEST(test_the_reload_that_moves_the_listener_is_answered),
        TEST(test_served_nowhere_means_refused),
        TEST(test_beyond_the_limit_connections_wait_for_one_to_end),
        TEST(test_no_descriptors_left_only_delays_the_answer),
        TEST(test_ending_with_connections_open_leaks_nothing),
    };

    return cmocka_run_group_tests_name("admin_control", tests, NULL, NULL);
}
