/* SPDX-License-Identifier: MIT */
/*
 * The resolver against a small DNS server on loopback that knows a few names and answers each as
 * a table says: well, badly, late or not at all.
 */
#include <nearside/base/addr.h>
#include <nearside/base/mem.h>
#include <nearside/dns/resolver.h>
#include <nearside/loop/loop.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* ---- the server ---- */

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28 };
enum { RCODE_OK = 0, RCODE_SERVFAIL = 2, RCODE_NXDOMAIN = 3, SILENT = 100, CUT = 101 };

/* What is answered to one question. */
struct zone_row {
    const char *name;
    int type;
    int rcode;
    unsigned copies; /* addresses; the last byte counts up from 1 modulo `distinct` */
    unsigned distinct;
    uint32_t ttl;
    uint32_t alias_ttl; /* not 0: behind a CNAME */
};

static const struct zone_row zone[] = {
    {"both.test", TYPE_A, RCODE_OK, 2, 2, 30, 0},
    {"both.test", TYPE_AAAA, RCODE_OK, 1, 1, 20, 0},
    {"four.test", TYPE_A, RCODE_OK, 1, 1, 0, 0},
    {"four.test", TYPE_AAAA, RCODE_OK, 0, 0, 0, 0},
    {"alias.test", TYPE_A, RCODE_OK, 2, 2, 300, 7},
    {"alias.test", TYPE_AAAA, RCODE_OK, 0, 0, 0, 7},
    {"half.test", TYPE_A, RCODE_OK, 1, 1, 30, 0},
    {"half.test", TYPE_AAAA, RCODE_SERVFAIL, 0, 0, 0, 0},
    {"twice.test", TYPE_A, RCODE_OK, 6, 2, 30, 0},
    {"many.test", TYPE_A, RCODE_OK, 300, 300, 30, 0},
    {"empty.test", TYPE_A, RCODE_OK, 0, 0, 0, 0},
    {"empty.test", TYPE_AAAA, RCODE_OK, 0, 0, 0, 0},
    {"unsure.test", TYPE_AAAA, RCODE_SERVFAIL, 0, 0, 0, 0},
    {"doubt.test", TYPE_A, RCODE_SERVFAIL, 0, 0, 0, 0},
    {"doubt.test", TYPE_AAAA, RCODE_OK, 0, 0, 0, 0},
    {"broken.test", TYPE_A, RCODE_SERVFAIL, 0, 0, 0, 0},
    {"broken.test", TYPE_AAAA, RCODE_SERVFAIL, 0, 0, 0, 0},
    {"cut.test", TYPE_A, CUT, 0, 0, 0, 0},
    {"cut.test", TYPE_AAAA, CUT, 0, 0, 0, 0},
    {"silent.test", TYPE_A, SILENT, 0, 0, 0, 0},
    {"silent.test", TYPE_AAAA, SILENT, 0, 0, 0, 0},
};
static const struct zone_row unknown_name = {.rcode = RCODE_NXDOMAIN};

struct dns_server {
    int udp;
    int tcp;
    int stop[2]; /* a pipe; closing its writing end ends the thread */
    uint16_t port;
    pthread_t thread;
    atomic_uint questions;
    atomic_uint swallow; /* so many questions for AAAA get no answer */
};

struct packet {
    uint8_t bytes[65535];
    size_t len;
};

static void put16(struct packet *packet, unsigned value)
{
    packet->bytes[packet->len++] = (uint8_t)(value >> 8);
    packet->bytes[packet->len++] = (uint8_t)value;
}

static void put32(struct packet *packet, uint32_t value)
{
    put16(packet, value >> 16);
    put16(packet, value & 0xffff);
}

/* Name (a pointer into the packet), type, class, TTL, length of the data. */
static void put_record(struct packet *packet, unsigned name_at, int type, uint32_t ttl,
                       unsigned data_len)
{
    put16(packet, 0xc000u | name_at);
    put16(packet, (unsigned)type);
    put16(packet, 1);
    put32(packet, ttl);
    put16(packet, data_len);
}

static void put_address(struct packet *packet, int type, unsigned number)
{
    if (type == TYPE_A) {
        put16(packet, 0x0a00); /* 10.0.x.y */
        put16(packet, number);
        return;
    }
    put16(packet, 0xfd00); /* fd00::x */
    for (int i = 0; i < 6; i++) {
        put16(packet, 0);
    }
    put16(packet, number);
}

/* The question's name as text, and its type. */
static size_t read_question(const uint8_t *query, size_t len, char *name, int *ret_type)
{
    size_t at = 12;
    size_t out = 0;

    while (at < len && query[at] != 0) {
        if (out > 0) {
            name[out++] = '.';
        }
        for (uint8_t i = 0; i < query[at]; i++) {
            name[out++] = (char)query[at + 1 + i];
        }
        at += query[at] + 1u;
    }
    name[out] = '\0';
    *ret_type = query[at + 1] << 8 | query[at + 2];
    return at + 5; /* the end of the question */
}

static const struct zone_row *find_row(const char *name, int type)
{
    for (size_t i = 0; i < ARRAY_LEN(zone); i++) {
        if (strcmp(zone[i].name, name) == 0 && zone[i].type == type) {
            return &zone[i];
        }
    }
    return &unknown_name;
}

static void put_answers(struct packet *packet, const struct zone_row *row)
{
    static const uint8_t alias[] = "\006target\004test";
    unsigned name_at = 12;

    if (row->alias_ttl > 0) {
        put_record(packet, name_at, TYPE_CNAME, row->alias_ttl, sizeof(alias));
        name_at = (unsigned)packet->len;
        memcpy(packet->bytes + packet->len, alias, sizeof(alias));
        packet->len += sizeof(alias);
    }
    for (unsigned i = 0; i < row->copies; i++) {
        /* Backwards, so that sorting has something to do. */
        unsigned number = (row->copies - 1 - i) % row->distinct + 1;

        put_record(packet, name_at, row->type, row->ttl, row->type == TYPE_A ? 4 : 16);
        put_address(packet, row->type, number);
    }
}

/* False: say nothing. */
static bool answer(struct dns_server *server, const uint8_t *query, size_t len, bool is_udp,
                   struct packet *packet)
{
    char name[256];
    int type;
    size_t question_end = read_question(query, len, name, &type);
    const struct zone_row *row = find_row(name, type);
    bool is_long = row->copies > 20;
    unsigned flags = 0x8180u | (row->rcode <= RCODE_NXDOMAIN ? (unsigned)row->rcode : 0u);
    unsigned records = row->copies + (row->alias_ttl > 0 ? 1u : 0u);

    atomic_fetch_add(&server->questions, 1);
    if (row->rcode == SILENT) {
        return false;
    }
    if (type == TYPE_AAAA && atomic_load(&server->swallow) > 0) {
        atomic_fetch_sub(&server->swallow, 1);
        return false;
    }
    packet->len = 0;
    put16(packet, (unsigned)query[0] << 8 | query[1]);
    put16(packet, is_udp && is_long ? flags | 0x0200u : flags); /* TC */
    put16(packet, 1);
    put16(packet, row->rcode == CUT ? 3 : is_udp && is_long ? 0 : records);
    put32(packet, 0);
    memcpy(packet->bytes + packet->len, query + 12, question_end - 12);
    packet->len = question_end;
    if (!(is_udp && is_long)) {
        put_answers(packet, row);
    }
    return true;
}

static void serve_udp(struct dns_server *server, struct packet *packet)
{
    uint8_t query[512];
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    ssize_t len =
        recvfrom(server->udp, query, sizeof(query), 0, (struct sockaddr *)&from, &from_len);

    if (len > 12 && answer(server, query, (size_t)len, true, packet)) {
        (void)sendto(server->udp, packet->bytes, packet->len, 0, (struct sockaddr *)&from,
                     from_len);
    }
}

static void serve_tcp(struct dns_server *server, struct packet *packet)
{
    uint8_t query[514];
    int fd = accept(server->tcp, NULL, NULL);
    ssize_t len = recv(fd, query, sizeof(query), 0);

    if (len > 14 && answer(server, query + 2, (size_t)len - 2, false, packet)) {
        uint8_t prefix[2] = {(uint8_t)(packet->len >> 8), (uint8_t)packet->len};

        (void)send(fd, prefix, sizeof(prefix), MSG_MORE);
        (void)send(fd, packet->bytes, packet->len, 0);
    }
    close(fd);
}

static void *serve(void *arg)
{
    struct dns_server *server = arg;
    struct packet *packet = mem_new(struct packet);
    struct pollfd fds[] = {{.fd = server->stop[0], .events = POLLIN},
                           {.fd = server->udp, .events = POLLIN},
                           {.fd = server->tcp, .events = POLLIN}};

    while (poll(fds, ARRAY_LEN(fds), -1) > 0 && fds[0].revents == 0) {
        if (fds[1].revents != 0) {
            serve_udp(server, packet);
        }
        if (fds[2].revents != 0) {
            serve_tcp(server, packet);
        }
    }
    mem_free(packet);
    return NULL;
}

/* One port for both: the kernel's choice for UDP may be taken for TCP, then another is tried. */
static bool server_bind(struct dns_server *server, struct sockaddr_in *addr)
{
    socklen_t len = sizeof(*addr);
    int on = 1;

    addr->sin_port = 0;
    server->udp = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(bind(server->udp, (struct sockaddr *)addr, len), 0);
    assert_int_equal(getsockname(server->udp, (struct sockaddr *)addr, &len), 0);
    server->tcp = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(setsockopt(server->tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    if (bind(server->tcp, (struct sockaddr *)addr, len) == 0) {
        return true;
    }
    close(server->udp);
    close(server->tcp);
    return false;
}

static void server_start(struct dns_server *server)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned tries = 1;

    while (!server_bind(server, &addr)) {
        assert_true(tries++ < 100);
    }
    assert_int_equal(listen(server->tcp, 8), 0);
    server->port = ntohs(addr.sin_port);
    assert_int_equal(pipe(server->stop), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_stop(struct dns_server *server)
{
    close(server->stop[1]);
    pthread_join(server->thread, NULL);
    close(server->stop[0]);
    close(server->udp);
    close(server->tcp);
}

/* ---- the fixture ---- */

struct fixture {
    struct dns_server server;
    struct loop *loop;
    struct resolver *resolver;
    struct deadline guard;

    unsigned calls;
    unsigned calls_wanted;
    enum dns_result result;
    struct addr addrs[DNS_ADDRS_MAX];
    size_t count;
    uint32_t ttl_s;
    struct dns_query *query; /* of ask() */
    int failed_family;
};

static void on_guard(struct deadline *deadline, void *arg)
{
    (void)deadline;
    loop_stop(((struct fixture *)arg)->loop);
}

static int setup(void **state)
{
    struct fixture *fixture = mem_new(struct fixture);
    struct errbuf err;
    char servers[32];

    server_start(&fixture->server);
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", fixture->server.port);
    setenv("NEARSIDE_DNS_SERVERS", servers, 1);
    fixture->loop = loop_new("test");
    deadline_init(&fixture->guard, fixture->loop, on_guard, fixture);
    assert_int_equal(resolver_new(fixture->loop, &fixture->resolver, &err), STATUS_OK);
    *state = fixture;
    return 0;
}

static void settle(struct fixture *fixture);

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    resolver_free(fixture->resolver);
    settle(fixture);
    deadline_done(&fixture->guard);
    loop_free(fixture->loop);
    server_stop(&fixture->server);
    mem_free(fixture);
    return 0;
}

static void on_answer(enum dns_result result, const struct addr *addrs, size_t count,
                      uint32_t ttl_s, void *arg)
{
    struct fixture *fixture = arg;

    fixture->calls++;
    fixture->result = result;
    fixture->count = count;
    fixture->ttl_s = ttl_s;
    fixture->failed_family = fixture->query == NULL ? 0 : dns_failed_family(fixture->query);
    fixture->query = NULL;
    assert_true(count <= DNS_ADDRS_MAX);
    if (count > 0) {
        memcpy(fixture->addrs, addrs, count * sizeof(addrs[0]));
    }
    if (fixture->calls == fixture->calls_wanted) {
        loop_stop(fixture->loop);
    }
}

/* Let the loop run until all wanted calls have come, but not for ever. */
static void wait_for_calls(struct fixture *fixture, unsigned calls)
{
    fixture->calls_wanted = calls;
    deadline_set_in_ms(&fixture->guard, 20000);
    loop_run(fixture->loop);
    deadline_cancel(&fixture->guard);
    assert_int_equal(fixture->calls, calls);
}

/* One turn, so that what was deferred is done. */
static void settle(struct fixture *fixture)
{
    deadline_set_in_ms(&fixture->guard, 1);
    loop_run(fixture->loop);
}

static void ask(struct fixture *fixture, const char *host)
{
    fixture->query = dns_resolve(fixture->resolver, host, on_answer, fixture);
    assert_int_equal(fixture->calls, 0); /* never before the starter returns */
    wait_for_calls(fixture, 1);
}

static void assert_addr(const struct fixture *fixture, size_t index, const char *text)
{
    char got[ADDR_TEXT_LEN];

    assert_true(index < fixture->count);
    addr_format_ip(&fixture->addrs[index], got);
    assert_string_equal(got, text);
    assert_int_equal(addr_port(&fixture->addrs[index]), 0);
}

/* ---- the tests ---- */

static void test_both_families_come_sorted_with_the_smallest_ttl(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, "both.test");

    assert_int_equal(fixture->result, DNS_OK);
    assert_int_equal(fixture->count, 3);
    assert_addr(fixture, 0, "10.0.0.1");
    assert_addr(fixture, 1, "10.0.0.2");
    assert_addr(fixture, 2, "fd00::1");
    assert_int_equal(fixture->ttl_s, 20);
}

static void test_a_name_with_one_family_is_found_and_ttl_0_stays_0(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, "four.test");

    assert_int_equal(fixture->result, DNS_OK);
    assert_int_equal(fixture->failed_family, 0); /* there are none: that is an answer */
    assert_int_equal(fixture->count, 1);
    assert_int_equal(fixture->ttl_s, 0);
}

static void test_an_alias_without_aaaa_is_found_and_its_ttl_counts(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, "alias.test");

    assert_int_equal(fixture->result, DNS_OK);
    assert_int_equal(fixture->count, 2);
    assert_int_equal(fixture->ttl_s, 7);
}

static void test_a_failure_of_one_family_does_not_spoil_the_other(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, "half.test");

    assert_int_equal(fixture->result, DNS_OK);
    assert_int_equal(fixture->count, 1);
    assert_int_equal(fixture->failed_family, AF_INET6);
}

static void test_addresses_given_twice_are_kept_once(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, "twice.test");

    assert_int_equal(fixture->count, 2);
    assert_addr(fixture, 0, "10.0.0.1");
    assert_addr(fixture, 1, "10.0.0.2");
}

static void test_300_addresses_come_by_tcp_and_what_is_kept_is_bounded(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, "many.test");

    assert_int_equal(fixture->result, DNS_OK);
    assert_int_equal(fixture->count, DNS_ADDRS_MAX);
    assert_addr(fixture, 0, "10.0.0.1");
    assert_addr(fixture, 255, "10.0.1.0");
    assert_addr(fixture, 256, "10.0.1.1");
}

struct failure_case {
    const char *host;
    enum dns_result result;
};

static const struct failure_case failure_cases[] = {
    {"unknown.test", DNS_NOT_FOUND}, {"empty.test", DNS_NOT_FOUND}, {"broken.test", DNS_FAILED},
    {"unsure.test", DNS_FAILED},     {"doubt.test", DNS_FAILED},    {"cut.test", DNS_FAILED},
    {"two..dots.test", DNS_FAILED},
};

static void test_each_failure_has_its_word(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(failure_cases); i++) {
        fixture->calls = 0;
        ask(fixture, failure_cases[i].host);
        assert_string_equal(dns_result_word(fixture->result),
                            dns_result_word(failure_cases[i].result));
        assert_int_equal(fixture->count, 0);
        assert_int_equal(fixture->ttl_s, 0);
    }
}

static void test_a_lost_packet_is_asked_again(void **state)
{
    struct fixture *fixture = *state;

    atomic_store(&fixture->server.swallow, 1);
    ask(fixture, "both.test");

    assert_int_equal(fixture->result, DNS_OK);
    assert_int_equal(fixture->count, 3);
    assert_int_equal(atomic_load(&fixture->server.questions), 3);
}

/* c-ares itself says "no data" for a name whose last answer said so. */
static void test_no_data_that_comes_late_does_not_hide_a_failure(void **state)
{
    struct fixture *fixture = *state;

    atomic_store(&fixture->server.swallow, 1);
    ask(fixture, "doubt.test");

    assert_int_equal(fixture->result, DNS_FAILED);
}

static void test_silence_is_a_timeout(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, "silent.test");

    assert_int_equal(fixture->result, DNS_TIMEOUT);
    assert_int_equal(atomic_load(&fixture->server.questions), 4);
}

static void test_a_literal_address_and_the_hosts_file_ask_no_server(void **state)
{
    static const char *const hosts[] = {"10.1.2.3", "fd00::7", "localhost"};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        fixture->calls = 0;
        ask(fixture, hosts[i]);
        assert_int_equal(fixture->result, DNS_OK);
        assert_true(fixture->count >= 1);
        assert_int_equal(fixture->ttl_s, 60);
    }
    assert_true(addr_is_loopback(&fixture->addrs[0]));
    assert_int_equal(atomic_load(&fixture->server.questions), 0);
}

static void test_many_questions_at_once_are_all_answered(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 50; i++) {
        (void)dns_resolve(fixture->resolver, "both.test", on_answer, fixture);
    }
    wait_for_calls(fixture, 50);

    assert_int_equal(fixture->result, DNS_OK);
}

static void test_a_cancelled_question_does_not_call_back(void **state)
{
    struct fixture *fixture = *state;
    struct dns_query *by_server = dns_resolve(fixture->resolver, "both.test", on_answer, fixture);
    struct dns_query *literal = dns_resolve(fixture->resolver, "10.1.2.3", on_answer, fixture);

    dns_cancel(by_server);
    dns_cancel(literal);
    ask(fixture, "four.test"); /* asked later, so answered later */

    assert_int_equal(fixture->count, 1);
    settle(fixture);
    assert_int_equal(fixture->calls, 1);
}

static void test_freeing_the_resolver_drops_its_questions(void **state)
{
    struct fixture *fixture = *state;
    struct errbuf err;

    (void)dns_resolve(fixture->resolver, "silent.test", on_answer, fixture);
    (void)dns_resolve(fixture->resolver, "10.1.2.3", on_answer, fixture);
    settle(fixture); /* the literal's answer comes */
    (void)dns_resolve(fixture->resolver, "10.1.2.4", on_answer, fixture);
    resolver_free(fixture->resolver);
    settle(fixture);

    assert_int_equal(fixture->calls, 1);
    assert_int_equal(resolver_new(fixture->loop, &fixture->resolver, &err), STATUS_OK);
}

static void on_answer_free(enum dns_result result, const struct addr *addrs, size_t count,
                           uint32_t ttl_s, void *arg)
{
    struct fixture *fixture = arg;

    resolver_free(fixture->resolver);
    fixture->resolver = NULL;
    on_answer(result, addrs, count, ttl_s, arg);
}

static void test_the_resolver_may_be_freed_in_a_callback(void **state)
{
    struct fixture *fixture = *state;

    (void)dns_resolve(fixture->resolver, "10.1.2.3", on_answer_free, fixture);
    (void)dns_resolve(fixture->resolver, "10.1.2.4", on_answer_free, fixture);
    wait_for_calls(fixture, 1);
    settle(fixture);

    assert_int_equal(fixture->calls, 1);
}

static void test_a_server_list_that_makes_no_sense_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct resolver *resolver;
    struct errbuf err;

    setenv("NEARSIDE_DNS_SERVERS", "not-an-address", 1);

    assert_int_equal(resolver_new(fixture->loop, &resolver, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "NEARSIDE_DNS_SERVERS"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_both_families_come_sorted_with_the_smallest_ttl),
        TEST(test_a_name_with_one_family_is_found_and_ttl_0_stays_0),
        TEST(test_an_alias_without_aaaa_is_found_and_its_ttl_counts),
        TEST(test_a_failure_of_one_family_does_not_spoil_the_other),
        TEST(test_addresses_given_twice_are_kept_once),
        TEST(test_300_addresses_come_by_tcp_and_what_is_kept_is_bounded),
        TEST(test_each_failure_has_its_word),
        TEST(test_a_lost_packet_is_asked_again),
        TEST(test_no_data_that_comes_late_does_not_hide_a_failure),
        TEST(test_silence_is_a_timeout),
        TEST(test_a_literal_address_and_the_hosts_file_ask_no_server),
        TEST(test_many_questions_at_once_are_all_answered),
        TEST(test_a_cancelled_question_does_not_call_back),
        TEST(test_freeing_the_resolver_drops_its_questions),
        TEST(test_the_resolver_may_be_freed_in_a_callback),
        TEST(test_a_server_list_that_makes_no_sense_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
