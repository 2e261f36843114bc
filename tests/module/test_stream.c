/* SPDX-License-Identifier: MIT */
/* Streams over loopback, plain and TLS: transfers, half-close, breaks, failures, certificates. */
#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "module/identities.h"
#include "module/stream_pair.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <errno.h>
#include <pthread.h>

#define BIG         (6UL * 1024 * 1024) /* more than both sockets' buffers hold */
#define TINY        10UL
#define NOTICE_MS   150 /* the header's promise for a break nobody reads into */
#define SLOW_FACTOR 10  /* for a loaded machine */

/* ---- fixture: a pair, and contexts that fit each other ---- */

struct fixture {
    struct pair pair;
    struct tls_ctx *server_tls; /* owned; NULL: plain */
    struct tls_ctx *client_tls;
};

static int set_up_plain(void **state)
{
    struct fixture *f = mem_new(struct fixture);

    pair_init(&f->pair);
    *state = f;
    return 0;
}

static int set_up_tls(void **state)
{
    struct fixture *f;

    (void)set_up_plain(state);
    f = *state;
    f->server_tls = server_of(&ids.a, NULL, NULL, CONF_TLS_1_2);
    f->client_tls = client_of(&ids.ca, NULL, true);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    pair_done(&f->pair);
    tls_ctx_unref(f->server_tls);
    tls_ctx_unref(f->client_tls);
    mem_free(f);
    return 0;
}

static void use_contexts(struct fixture *f, struct tls_ctx *server_tls, struct tls_ctx *client_tls)
{
    tls_ctx_unref(f->server_tls);
    tls_ctx_unref(f->client_tls);
    f->server_tls = server_tls;
    f->client_tls = client_tls;
}

static void begin(struct fixture *f)
{
    pair_connect(&f->pair, f->server_tls, f->client_tls, "a.test");
}

static bool both_are_open(struct pair *pair)
{
    return ((pair->client.told & pair->server.told) & STREAM_EV_OPEN) != 0;
}

static bool both_have_ended(struct pair *pair)
{
    return pair->client.has_ended && pair->server.has_ended;
}

static bool client_has_ended(struct pair *pair)
{
    return pair->client.has_ended;
}

static bool client_has_failed(struct pair *pair)
{
    return (pair->client.told & STREAM_EV_FAILED) != 0;
}

static bool server_has_failed(struct pair *pair)
{
    return (pair->server.told & STREAM_EV_FAILED) != 0;
}

static bool client_got_tiny(struct pair *pair)
{
    return pair->client.received == TINY;
}

static bool client_was_told_of_bytes_or_end(struct pair *pair)
{
    return (pair->client.told & STREAM_EV_READ) != 0;
}

static bool client_was_told_of_close(struct pair *pair)
{
    return (pair->client.told & STREAM_EV_CLOSED) != 0;
}

static void open_pair(struct fixture *f)
{
    begin(f);
    pair_run_until(&f->pair, both_are_open);
}

static void send_tiny(struct pair_end *end)
{
    end->send_len += TINY;
    pair_write_all(end);
    assert_int_equal(end->sent, end->send_len);
}

/* ---- transfers: the same stories, plain and TLS ---- */

static void test_big_transfers_both_ways_arrive_whole_and_end_properly(void **state)
{
    struct fixture *f = *state;
    struct pair *pair = &f->pair;

    pair->client.send_len = BIG;
    pair->client.shut_when_sent = true;
    pair->server.send_len = BIG + 1;
    pair->server.shut_when_sent = true;
    begin(f);
    pair_run_until(pair, both_have_ended);
    assert_int_equal(pair->server.received, BIG);
    assert_int_equal(pair->client.received, BIG + 1);
    assert_false(pair->client.is_pattern_broken || pair->server.is_pattern_broken);
    assert_int_equal(pair->client.ending, STREAM_EOF);
    assert_int_equal(pair->server.ending, STREAM_EOF);
    assert_true(pair->client.blocked > 0);
}

static bool client_is_blocked(struct pair *pair)
{
    return pair->client.blocked > 0;
}

static void test_blocked_writer_goes_on_when_the_reader_does(void **state)
{
    struct fixture *f = *state;
    struct pair *pair = &f->pair;

    pair->client.send_len = 4 * BIG;
    pair->client.shut_when_sent = true;
    pair->server.is_paused = true;
    begin(f);
    pair_run_until(pair, client_is_blocked);
    pair_run_until(pair, both_are_open);
    pair->server.is_paused = false;
    stream_again(pair->server.stream);
    pair->server.shut_when_sent = true;
    stream_shutdown(pair->server.stream);
    pair_run_until(pair, both_have_ended);
    assert_int_equal(pair->server.received, 4 * BIG);
    assert_false(pair->server.is_pattern_broken);
    assert_int_equal(pair->server.ending, STREAM_EOF);
}

static bool client_was_told_to_write(struct pair *pair)
{
    return (pair->client.told & STREAM_EV_WRITE) != 0;
}

static void test_partial_write_alone_brings_a_write_event(void **state)
{
    struct fixture *f = *state;
    struct pair *pair = &f->pair;
    struct iovec all = {.iov_len = 4 * BIG};
    size_t len = 0;

    all.iov_base = mem_zero(1, all.iov_len);
    open_pair(f);
    pair->client.told = 0;
    assert_int_equal(stream_writev(pair->client.stream, &all, 1, &len), STREAM_OK);
    assert_true(len > 0 && len < all.iov_len);
    pair_run_until(pair, client_was_told_to_write);
    pair_end_close(&pair->client, true);
    mem_free(all.iov_base);
}

static void test_half_closed_stream_still_receives(void **state)
{
    struct fixture *f = *state;
    struct pair *pair = &f->pair;

    open_pair(f);
    stream_shutdown(pair->client.stream);
    pair_run_until(pair, both_are_open);
    send_tiny(&pair->server);
    pair_run_until(pair, client_got_tiny);
    assert_false(pair->client.is_pattern_broken);
    assert_false(pair->client.has_ended);
    stream_shutdown(pair->server.stream);
    pair_run_until(pair, both_have_ended);
    assert_int_equal(pair->client.ending, STREAM_EOF);
    assert_int_equal(pair->server.ending, STREAM_EOF);
}

static void test_proper_close_is_end_of_file_after_the_bytes(void **state)
{
    struct fixture *f = *state;
    struct pair *pair = &f->pair;

    open_pair(f);
    send_tiny(&pair->server);
    pair_end_close(&pair->server, false);
    pair_run_until(pair, client_has_ended);
    assert_int_equal(pair->client.received, TINY);
    assert_int_equal(pair->client.ending, STREAM_EOF);
    assert_true(stream_peer_is_closed(pair->client.stream));
    assert_false(stream_is_quiet(pair->client.stream));
}

static void test_abort_is_an_error_and_never_end_of_file(void **state)
{
    struct fixture *f = *state;
    struct pair *pair = &f->pair;

    open_pair(f);
    send_tiny(&pair->server);
    pair_end_close(&pair->server, true);
    pair_run_until(pair, client_has_ended);
    assert_int_equal(pair->client.ending, STREAM_ERROR);
    assert_int_equal(stream_failure(pair->client.stream), STREAM_FAILURE_RESET);
    assert_string_equal(stream_failure_text(pair->client.stream), "connection reset by peer");
}

static void test_abort_is_an_error_to_a_reader_that_wrote_first(void **state)
{
    struct fixture *f = *state;
    struct pair *pair = &f->pair;
    size_t len;

    open_pair(f);
    pair->client.is_paused = true;
    pair->client.told = 0;
    pair_end_close(&pair->server, true);
    pair_run_until(pair, client_was_told_of_bytes_or_end);
    pair->client.send_len = TINY;
    pair_write_all(&pair->client); /* takes the socket's error */
    assert_true(pair->client.has_write_error);
    assert_int_equal(stream_read(pair->client.stream, &len, sizeof(len), &len), STREAM_ERROR);
}

static void test_abort_is_told_to_an_owner_that_does_not_read(void **state)
{
    struct fixture *f = *state;
    struct pair *pair = &f->pair;
    uint64_t started_ns;

    open_pair(f);
    pair->client.is_paused = true;
    send_tiny(&pair->server);
    pair_end_close(&pair->server, true);
    started_ns = clock_mono_ns();
    pair_run_until(pair, client_was_told_of_close);
    assert_true(clock_mono_ns() - started_ns < SLOW_FACTOR * NOTICE_MS * NS_PER_MS);
    assert_true(stream_peer_is_closed(pair->client.stream));
}

static void test_idle_stream_is_quiet_until_bytes_come(void **state)
{
    struct fixture *f = *state;
    struct pair *pair = &f->pair;

    open_pair(f);
    pair->client.is_paused = true;
    assert_true(stream_is_quiet(pair->client.stream));
    send_tiny(&pair->server);
    pair->client.told = 0;
    pair_run_until(pair, client_was_told_of_bytes_or_end);
    assert_false(stream_is_quiet(pair->client.stream));
    pair_read_all(&pair->client);
    assert_int_equal(pair->client.received, TINY);
    assert_true(stream_is_quiet(pair->client.stream));
}

static void test_stream_again_brings_what_was_left(void **state)
{
    struct fixture *f = *state;
    struct pair *pair = &f->pair;
    size_t len = 0;
    char byte;

    open_pair(f);
    pair->client.is_paused = true;
    send_tiny(&pair->server);
    pair->client.told = 0;
    pair_run_until(pair, client_was_told_of_bytes_or_end);
    assert_int_equal(stream_read(pair->client.stream, &byte, 1, &len), STREAM_OK);
    assert_int_equal(len, 1);
    pair->client.received = 1;
    pair->client.is_paused = false;
    stream_again(pair->client.stream);
    pair_run_until(pair, client_got_tiny);
    assert_false(pair->client.is_pattern_broken);
}

static void test_times_and_round_trip_are_known(void **state)
{
    struct fixture *f = *state;
    struct stream *stream;
    uint32_t rtt_us = 0;
    uint32_t min_rtt_us = 0;

    open_pair(f);
    stream = f->pair.client.stream;
    assert_true(stream_is_open(stream));
    assert_true(stream_tcp_open_ns(stream) > 0);
    assert_true(stream_open_ns(stream) >= stream_tcp_open_ns(stream));
    assert_true(stream_rtt_us(stream, &rtt_us, &min_rtt_us));
    assert_true(rtt_us > 0 && rtt_us < 1000000);
    assert_true(min_rtt_us <= rtt_us);
    assert_true(addr_eq(stream_peer_addr(stream), &f->pair.addr));
    assert_true(addr_is_loopback(stream_peer_addr(f->pair.server.stream)));
}

static void on_open_close(struct stream *stream, unsigned events, void *arg)
{
    struct pair_end *end = arg;

    assert_true((events & STREAM_EV_OPEN) != 0);
    end->calls++;
    end->stream = NULL;
    stream_again(stream);
    stream_close(stream, false);
}

static bool server_has_ended(struct pair *pair)
{
    return pair->server.has_ended;
}

static void test_no_callback_comes_after_close_in_a_callback(void **state)
{
    struct fixture *f = *state;

    f->pair.client.stream = stream_connect(f->pair.loop, &f->pair.addr, f->client_tls, "a.test",
                                           on_open_close, &f->pair.client);
    f->pair.server_tls = f->server_tls;
    pair_run_until(&f->pair, server_has_ended);
    assert_int_equal(f->pair.client.calls, 1);
}

static bool server_is_over(struct pair *pair)
{
    return pair->server.has_ended || (pair->server.told & STREAM_EV_FAILED) != 0;
}

static void test_stream_closed_before_it_opens_is_never_heard_of(void **state)
{
    struct fixture *f = *state;

    begin(f);
    pair_end_close(&f->pair.client, true);
    pair_run_until(&f->pair, server_is_over);
    assert_int_equal(f->pair.client.calls, 0);
}

/* ---- connecting ---- */

static void test_refused_connect_is_reported_as_refused(void **state)
{
    struct fixture *f = *state;

    listener_free(f->pair.listener);
    f->pair.listener = NULL;
    begin(f);
    pair_run_until(&f->pair, client_has_failed);
    assert_int_equal(stream_failure(f->pair.client.stream), STREAM_FAILURE_REFUSED);
    assert_string_equal(stream_failure_text(f->pair.client.stream), "connection refused");
    assert_int_equal(f->pair.client.told, STREAM_EV_FAILED);
    assert_int_equal(f->pair.client.calls, 1);
}

static void test_connect_that_fails_at_once_is_reported_later(void **state)
{
    struct fixture *f = *state;

    assert_true(addr_parse_ip(STR_LIT("255.255.255.255"), 9, &f->pair.addr));
    begin(f); /* checks that nobody was called yet */
    pair_run_until(&f->pair, client_has_failed);
    assert_int_equal(stream_failure(f->pair.client.stream), STREAM_FAILURE_UNREACHABLE);
}

/* ---- TLS only ---- */

static void test_tls_end_without_close_notify_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct pair *pair = &f->pair;

    open_pair(f);
    send_tiny(&pair->server);
    assert_int_equal(shutdown(pair->server_fd, SHUT_WR), 0);
    pair_run_until(pair, client_has_ended);
    assert_int_equal(pair->client.received, TINY);
    assert_int_equal(pair->client.ending, STREAM_ERROR);
    assert_string_equal(stream_failure_text(pair->client.stream),
                        "connection ended without close_notify");
}

struct handshake_case {
    const char *title;
    const struct certificate *server;
    const struct certificate *ca;
    const char *name;
    bool verify;
    const char *failure; /* NULL: it opens */
};

static const struct handshake_case handshake_cases[] = {
    {"right name", &ids.a, &ids.ca, "a.test", true, NULL},
    {"right address", &ids.a, &ids.ca, "127.0.0.1", true, NULL},
    {"wildcard", &ids.b, &ids.ca, "x.w.test", true, NULL},
    {"no verification", &ids.a, &ids.old_ca, "no.test", false, NULL},
    {"wrong name", &ids.a, &ids.ca, "b.test", true, "certificate verify failed: hostname mismatch"},
    {"wrong address", &ids.a, &ids.ca, "127.0.0.2", true,
     "certificate verify failed: IP address mismatch"},
    {"wildcard of two labels", &ids.b, &ids.ca, "x.y.w.test", true,
     "certificate verify failed: hostname mismatch"},
    {"unknown authority", &ids.a, &ids.old_ca, "a.test", true,
     "certificate verify failed: unable to get local issuer certificate"},
    {"expired authority", &ids.of_old_ca, &ids.old_ca, "a.test", true,
     "certificate verify failed: certificate has expired"},
};

static bool client_is_decided(struct pair *pair)
{
    return (pair->client.told & (STREAM_EV_OPEN | STREAM_EV_FAILED)) != 0;
}

static void check_handshake(const struct handshake_case *row)
{
    struct fixture *f;
    void *state;

    print_message("    %s\n", row->title);
    (void)set_up_plain(&state);
    f = state;
    use_contexts(f, server_of(row->server, NULL, NULL, CONF_TLS_1_2),
                 client_of(row->ca, NULL, row->verify));
    pair_connect(&f->pair, f->server_tls, f->client_tls, row->name);
    pair_run_until(&f->pair, client_is_decided);
    if (row->failure == NULL) {
        assert_true(stream_is_open(f->pair.client.stream));
    } else {
        assert_int_equal(stream_failure(f->pair.client.stream), STREAM_FAILURE_TLS);
        assert_string_equal(stream_failure_text(f->pair.client.stream), row->failure);
    }
    (void)tear_down(&state);
}

static void test_tls_handshake_opens_or_names_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(handshake_cases); i++) {
        check_handshake(&handshake_cases[i]);
    }
}

static void test_tls_server_name_picks_the_certificate(void **state)
{
    struct fixture *f = *state;
    struct str sni;

    use_contexts(f, server_of(&ids.a, &ids.b, NULL, CONF_TLS_1_2), client_of(&ids.ca, NULL, true));
    pair_connect(&f->pair, f->server_tls, f->client_tls, "any.w.test");
    pair_run_until(&f->pair, both_are_open);
    sni = stream_sni(f->pair.server.stream);
    assert_true(str_eq(sni, STR_LIT("any.w.test")));
}

static void test_tls_unknown_server_name_gets_the_first_certificate(void **state)
{
    struct fixture *f = *state;

    use_contexts(f, server_of(&ids.a, &ids.b, NULL, CONF_TLS_1_2), client_of(&ids.ca, NULL, true));
    pair_connect(&f->pair, f->server_tls, f->client_tls, "127.0.0.1");
    pair_run_until(&f->pair, both_are_open);
    assert_int_equal(stream_sni(f->pair.server.stream).len, 0);
}

static void test_tls_config_name_is_checked_in_place_of_the_callers(void **state)
{
    struct fixture *f = *state;
    struct conf_region_tls conf = {.ca = ids.ca.certificate_path,
                                   .verify = true,
                                   .server_name = "a.test",
                                   .certificate = "",
                                   .key = ""};
    struct errbuf err;
    struct tls_ctx *client = NULL;

    assert_int_equal(tls_ctx_new_client(&conf, &client, &err), STATUS_OK);
    use_contexts(f, server_of(&ids.a, NULL, NULL, CONF_TLS_1_3), client);
    pair_connect(&f->pair, f->server_tls, f->client_tls, "10.0.0.1");
    pair_run_until(&f->pair, both_are_open);
    assert_true(str_eq(stream_sni(f->pair.server.stream), STR_LIT("a.test")));
}

static void test_tls_client_without_its_certificate_is_turned_away(void **state)
{
    struct fixture *f = *state;

    use_contexts(f, server_of(&ids.a, NULL, &ids.ca, CONF_TLS_1_2), client_of(&ids.ca, NULL, true));
    begin(f);
    pair_run_until(&f->pair, server_has_failed);
    assert_int_equal(stream_failure(f->pair.server.stream), STREAM_FAILURE_TLS);
    assert_string_equal(stream_failure_text(f->pair.server.stream),
                        "peer did not return a certificate");
    pair_run_until(&f->pair, client_has_ended);
    assert_int_equal(f->pair.client.ending, STREAM_ERROR);
    assert_non_null(strstr(stream_failure_text(f->pair.client.stream), "certificate required"));
}

static void test_tls_client_with_its_certificate_is_let_in(void **state)
{
    struct fixture *f = *state;

    use_contexts(f, server_of(&ids.a, NULL, &ids.ca, CONF_TLS_1_2),
                 client_of(&ids.ca, &ids.client, true));
    open_pair(f);
    send_tiny(&f->pair.server);
    pair_run_until(&f->pair, client_got_tiny);
}

static void test_plain_client_of_a_tls_server_fails_there(void **state)
{
    struct fixture *f = *state;

    f->pair.server_tls = f->server_tls;
    f->pair.client.stream =
        stream_connect(f->pair.loop, &f->pair.addr, NULL, NULL, pair_on_stream, &f->pair.client);
    f->pair.client.send_len = 200;
    pair_run_until(&f->pair, server_has_failed);
    assert_int_equal(stream_failure(f->pair.server.stream), STREAM_FAILURE_TLS);
}

/* ---- a client that is not ours, for what ours never offers ---- */

struct foreign {
    struct addr addr;
    const char *alpn; /* wire form; NULL: none */
    int max_version;
    int result; /* of SSL_connect */
    unsigned long reason;
    char chosen[16];
};

static void *run_foreign(void *arg)
{
    struct foreign *foreign = arg;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const unsigned char *chosen = NULL;
    unsigned chosen_len = 0;

    (void)SSL_set_max_proto_version(ssl, foreign->max_version);
    if (foreign->alpn != NULL) {
        (void)SSL_set_alpn_protos(ssl, (const unsigned char *)foreign->alpn,
                                  (unsigned)strlen(foreign->alpn));
    }
    (void)connect(fd, &foreign->addr.sa.any, foreign->addr.len);
    (void)SSL_set_fd(ssl, fd);
    foreign->result = SSL_connect(ssl);
    foreign->reason = (unsigned long)ERR_GET_REASON(ERR_peek_error());
    SSL_get0_alpn_selected(ssl, &chosen, &chosen_len);
    (void)snprintf(foreign->chosen, sizeof(foreign->chosen), "%.*s", (int)chosen_len,
                   (const char *)chosen);
    (void)close(fd);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return NULL;
}

static bool server_is_decided(struct pair *pair)
{
    return (pair->server.told & (STREAM_EV_OPEN | STREAM_EV_FAILED)) != 0;
}

static void meet_foreign(struct fixture *f, struct foreign *foreign)
{
    pthread_t thread;

    foreign->addr = f->pair.addr;
    f->pair.server_tls = f->server_tls;
    assert_int_equal(pthread_create(&thread, NULL, run_foreign, foreign), 0);
    pair_run_until(&f->pair, server_is_decided);
    pair_end_close(&f->pair.server, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_tls_alpn_picks_http1(void **state)
{
    struct foreign foreign = {.alpn = "\x02h2\x08http/1.1", .max_version = TLS1_3_VERSION};

    meet_foreign(*state, &foreign);
    assert_int_equal(foreign.result, 1);
    assert_string_equal(foreign.chosen, "http/1.1");
}

static void test_tls_alpn_without_http1_is_an_alert(void **state)
{
    struct foreign foreign = {.alpn = "\x02h2", .max_version = TLS1_3_VERSION};

    meet_foreign(*state, &foreign);
    assert_int_not_equal(foreign.result, 1);
    assert_int_equal(foreign.reason, SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
}

static void test_tls_1_2_is_spoken_by_default(void **state)
{
    struct foreign foreign = {.max_version = TLS1_2_VERSION};

    meet_foreign(*state, &foreign);
    assert_int_equal(foreign.result, 1);
    assert_string_equal(foreign.chosen, "");
}

static void test_tls_1_2_is_refused_where_1_3_is_the_least(void **state)
{
    struct fixture *f = *state;
    struct foreign foreign = {.max_version = TLS1_2_VERSION};

    use_contexts(f, server_of(&ids.a, NULL, NULL, CONF_TLS_1_3), client_of(&ids.ca, NULL, true));
    meet_foreign(f, &foreign);
    assert_int_not_equal(foreign.result, 1);
    assert_int_equal(foreign.reason, SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
}

#define PLAIN(name)                                                                                \
    {                                                                                              \
#name " (plain)", name, set_up_plain, tear_down, NULL                                      \
    }
#define TLS(name)                                                                                  \
    {                                                                                              \
#name " (tls)", name, set_up_tls, tear_down, NULL                                          \
    }
#define BOTH(name) PLAIN(name), TLS(name)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        BOTH(test_big_transfers_both_ways_arrive_whole_and_end_properly),
        BOTH(test_blocked_writer_goes_on_when_the_reader_does),
        BOTH(test_partial_write_alone_brings_a_write_event),
        BOTH(test_half_closed_stream_still_receives),
        BOTH(test_proper_close_is_end_of_file_after_the_bytes),
        BOTH(test_abort_is_an_error_and_never_end_of_file),
        BOTH(test_abort_is_an_error_to_a_reader_that_wrote_first),
        BOTH(test_abort_is_told_to_an_owner_that_does_not_read),
        BOTH(test_idle_stream_is_quiet_until_bytes_come),
        BOTH(test_stream_again_brings_what_was_left),
        BOTH(test_times_and_round_trip_are_known),
        BOTH(test_no_callback_comes_after_close_in_a_callback),
        BOTH(test_stream_closed_before_it_opens_is_never_heard_of),
        BOTH(test_refused_connect_is_reported_as_refused),
        BOTH(test_connect_that_fails_at_once_is_reported_later),
        TLS(test_tls_end_without_close_notify_is_an_error),
        cmocka_unit_test(test_tls_handshake_opens_or_names_what_is_wrong),
        TLS(test_tls_server_name_picks_the_certificate),
        TLS(test_tls_unknown_server_name_gets_the_first_certificate),
        TLS(test_tls_config_name_is_checked_in_place_of_the_callers),
        TLS(test_tls_client_without_its_certificate_is_turned_away),
        TLS(test_tls_client_with_its_certificate_is_let_in),
        TLS(test_plain_client_of_a_tls_server_fails_there),
        TLS(test_tls_alpn_picks_http1),
        TLS(test_tls_alpn_without_http1_is_an_alert),
        TLS(test_tls_1_2_is_spoken_by_default),
        TLS(test_tls_1_2_is_refused_where_1_3_is_the_least),
    };

    return cmocka_run_group_tests(tests, make_identities, remove_identities);
}
