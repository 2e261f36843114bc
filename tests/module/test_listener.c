/* SPDX-License-Identifier: MIT */
/* Listeners on loopback: binding, bursts, shortage of descriptors, the end. */
#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/loop/loop.h>
#include <nearside/net/listener.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BURST      150 /* more than a turn accepts */
#define GIVE_UP_MS 5000
#define PORT_TRIES 10

struct fixture {
    struct loop *loop;
    struct addr addr; /* where it listens */
    struct listener *listener;
    struct deadline give_up;
    int clients[BURST];
    int accepted[BURST];
    int accepted_count;
    int wanted;
    bool free_on_accept;
    int refused_errno;
    struct rlimit files;
    struct addr peer;
};

static void on_give_up(struct deadline *deadline, void *arg)
{
    struct fixture *f = arg;

    (void)deadline;
    loop_stop(f->loop); /* the test finds its counts too low */
}

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);

    f->loop = loop_new("listener");
    deadline_init(&f->give_up, f->loop, on_give_up, f);
    deadline_set_in_ms(&f->give_up, GIVE_UP_MS);
    for (int i = 0; i < BURST; i++) {
        f->clients[i] = -1;
        f->accepted[i] = -1;
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &f->files), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    (void)setrlimit(RLIMIT_NOFILE, &f->files);
    for (int i = 0; i < BURST; i++) {
        (void)close(f->clients[i]);
        (void)close(f->accepted[i]);
    }
    listener_free(f->listener);
    deadline_done(&f->give_up);
    loop_free(f->loop);
    mem_free(f);
    return 0;
}

static int bind_loopback(const char *ip, uint16_t port, struct addr *ret_addr)
{
    struct errbuf err;
    struct addr addr;
    int fd = -1;

    assert_true(addr_parse_ip(str_of(ip), port, &addr));
    assert_int_equal(listener_bind(&addr, &fd, &err), STATUS_OK);
    ret_addr->len = sizeof(ret_addr->sa);
    assert_int_equal(getsockname(fd, &ret_addr->sa.any, &ret_addr->len), 0);
    return fd;
}

static void on_accepted(struct listener *listener, int fd, const struct addr *peer, void *arg)
{
    struct fixture *f = arg;

    assert_ptr_equal(listener, f->listener);
    f->peer = *peer;
    f->accepted[f->accepted_count++] = fd;
    if (f->free_on_accept) {
        listener_free(f->listener);
        f->listener = NULL;
    }
    if (f->accepted_count == f->wanted) {
        loop_stop(f->loop);
    }
}

static void on_refused(struct listener *listener, int error_number, void *arg)
{
    struct fixture *f = arg;

    (void)listener;
    f->refused_errno = error_number;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &f->files), 0); /* the shortage is over */
}

static void start(struct fixture *f)
{
    int fd = bind_loopback("127.0.0.1", 0, &f->addr);

    f->listener = listener_start(f->loop, fd, on_accepted, on_refused, f);
}

static void connect_clients(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++) {
        f->clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(f->clients[i] >= 0);
        assert_int_equal(connect(f->clients[i], &f->addr.sa.any, f->addr.len), 0);
    }
}

static void test_listener_accepts_a_burst_over_several_turns(void **state)
{
    struct fixture *f = *state;

    start(f);
    connect_clients(f, BURST);
    f->wanted = BURST;
    loop_run(f->loop);
    assert_int_equal(f->accepted_count, BURST);
}

static void test_accepted_socket_is_non_blocking_without_delay_and_names_its_peer(void **state)
{
    struct fixture *f = *state;
    struct addr client = {.len = sizeof(client.sa)};
    int on = 0;
    socklen_t len = sizeof(on);

    start(f);
    connect_clients(f, 1);
    f->wanted = 1;
    loop_run(f->loop);
    assert_int_equal(f->accepted_count, 1);
    assert_true((fcntl(f->accepted[0], F_GETFL) & O_NONBLOCK) != 0);
    assert_int_equal(getsockopt(f->accepted[0], IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_int_equal(on, 1);
    assert_int_equal(getsockopt(f->accepted[0], SOL_SOCKET, SO_KEEPALIVE, &on, &len), 0);
    assert_int_equal(on, 1);
    assert_int_equal(getsockname(f->clients[0], &client.sa.any, &client.len), 0);
    assert_true(addr_eq(&client, &f->peer));
}

static void test_listener_freed_in_its_callback_accepts_no_more(void **state)
{
    struct fixture *f = *state;

    start(f);
    connect_clients(f, 2);
    f->wanted = 1;
    f->free_on_accept = true;
    loop_run(f->loop);
    assert_int_equal(f->accepted_count, 1);
}

static void test_listener_without_descriptors_pauses_and_goes_on(void **state)
{
    struct fixture *f = *state;
    struct rlimit none_left = f->files;
    uint64_t started_ns;

    start(f);
    connect_clients(f, 1);
    f->wanted = 1;
    none_left.rlim_cur = (rlim_t)f->clients[0] + 1; /* the lowest free number is just above */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none_left), 0);
    started_ns = clock_mono_ns();
    loop_run(f->loop);
    assert_int_equal(f->refused_errno, EMFILE);
    assert_int_equal(f->accepted_count, 1);
    assert_true(clock_mono_ns() - started_ns >= 100 * NS_PER_MS);
}

static void test_two_sockets_share_one_address(void **state)
{
    struct addr first;
    struct addr second;
    int fd = bind_loopback("127.0.0.1", 0, &first);
    int other = bind_loopback("127.0.0.1", addr_port(&first), &second);

    (void)state;
    assert_true(addr_eq(&first, &second));
    (void)close(fd);
    (void)close(other);
}

/* Another process may hold the port that the kernel chose, in the other family. */
static bool bind_both(struct errbuf *err)
{
    struct addr v6;
    struct addr v4;
    int fd = bind_loopback("::", 0, &v6);
    int other = -1;
    enum status status;

    assert_true(addr_parse_ip(STR_LIT("0.0.0.0"), addr_port(&v6), &v4));
    status = listener_bind(&v4, &other, err);
    (void)close(other);
    (void)close(fd);
    return status == STATUS_OK;
}

static void test_both_families_share_one_port(void **state)
{
    struct errbuf err;
    bool is_bound = false;

    (void)state;
    for (int i = 0; i < PORT_TRIES && !is_bound; i++) {
        is_bound = bind_both(&err);
    }
    assert_true(is_bound);
}

static void test_bind_failure_names_address_and_reason(void **state)
{
    struct addr taken;
    struct errbuf err = {.text = ""};
    char where[ADDR_TEXT_LEN];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int unused = -1;

    (void)state;
    assert_true(addr_parse_ip(STR_LIT("127.0.0.1"), 0, &taken));
    assert_int_equal(bind(fd, &taken.sa.any, taken.len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, &taken.sa.any, &taken.len), 0);
    (void)addr_format(&taken, where);
    assert_int_equal(listener_bind(&taken, &unused, &err), STATUS_FAILED);
    assert_int_equal(unused, -1);
    assert_non_null(strstr(err.text, where));
    assert_non_null(strstr(err.text, "address already in use"));
    (void)close(fd);
}

#define LISTENER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        LISTENER_TEST(test_listener_accepts_a_burst_over_several_turns),
        LISTENER_TEST(test_accepted_socket_is_non_blocking_without_delay_and_names_its_peer),
        LISTENER_TEST(test_listener_freed_in_its_callback_accepts_no_more),
        LISTENER_TEST(test_listener_without_descriptors_pauses_and_goes_on),
        cmocka_unit_test(test_two_sockets_share_one_address),
        cmocka_unit_test(test_both_families_share_one_port),
        cmocka_unit_test(test_bind_failure_names_address_and_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
