# SPDX-License-Identifier: MIT
"""Every limit on what a client, a name server or an operator can make the edge hold.

Each test hits one limit and sees three things: the newest work is refused with an answer that names
the key, the metric counts it, and what was running goes on. docs/security.md has the table."""
import contextlib
import os
import select
import socket
import threading
import time

import pytest
from env import answers, raw
from env.conf import region
from env.processes import TOP
from env.waiting import wait_until


@pytest.fixture
def pod(make_pod):
    return make_pod("a")


def hits(proxy, limit):
    return proxy.metrics().value("nearside_limit_hits_total", {"limit": limit})


def assert_refused(response, status, code, key):
    """An error that says which key was hit, when to come back, and that this is our own answer."""
    assert (response.status, response.error["code"]) == (status, code), response
    assert key in response.error["message"]
    assert response.error["type"] == {429: "rate_limit_error", 503: "server_error"}.get(
        status, "invalid_request_error")
    if status in (429, 503):
        assert int(response.header("Retry-After")) >= 1
    assert response.header("Proxy-Status").startswith("nearside; error=")


@contextlib.contextmanager
def running_stream(proxy, headers=None):
    """An answer under way; at the end it must have come whole, unless its client was reset."""
    body = answers.chat("tell me", stream=True, max_tokens=25)
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", body,
                                    {"X-Pod-Gap-Ms": "60", **(headers or {})}))
        assert conn.read_head().status == 200
        yield conn
        if conn.socket.fileno() < 0:
            return
        events = [event for _, event in conn.events()]
        assert raw.sse_text(events)[:2] == (answers.chat_text(body), True)


def refusal(port):
    """What a connection is told that is refused before it asked."""
    with raw.Conn(port) as conn:
        return conn.read_response()


# ---- connections ----

def test_connections_past_the_limit_are_answered_503_and_streams_go_on(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], limits={"max_connections": 3})
    with running_stream(proxy), proxy.connect(), proxy.connect():
        wait_until(lambda: proxy.metrics().value("nearside_client_connections") == 3, "three")
        assert_refused(refusal(proxy.port), 503, "too_many_connections", "limits.max_connections")
        assert hits(proxy, "max_connections") == 1
    wait_until(lambda: proxy.get("/echo").status == 200, "room again")


def test_one_address_cannot_take_all_connections(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], limits={"max_connections_per_client": 2},
                       listeners=[{"bind": "0.0.0.0:0"}])
    with running_stream(proxy), proxy.connect():
        wait_until(lambda: proxy.metrics().value("nearside_client_connections") == 2, "two")
        assert_refused(refusal(proxy.port), 429, "too_many_connections_per_client",
                       "limits.max_connections_per_client")
        assert hits(proxy, "max_connections_per_client") == 1
        other = socket.create_connection(("127.0.0.1", proxy.port), 5, ("127.0.0.2", 0))
        with contextlib.closing(other):
            other.sendall(raw.request_bytes("GET", "/echo"))
            assert other.recv(65536).startswith(b"HTTP/1.1 200")
    wait_until(lambda: proxy.get("/echo").status == 200, "room again")


def test_a_trusted_proxy_stands_for_all_of_its_clients(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], limits={"max_connections_per_client": 2},
                       edge={"trusted_proxies": ["127.0.0.0/8"]})
    with proxy.connect(), proxy.connect(), proxy.connect() as third:
        third.send(raw.request_bytes("GET", "/echo"))
        assert third.read_response().status == 200


def test_a_client_behind_a_trusted_proxy_has_its_own_limit(make_proxy, pod):
    """By the address the proxy vouches for: another client of it is not concerned."""
    proxy = make_proxy([region("near", pod)], limits={"max_inflight_per_client": 2},
                       edge={"trusted_proxies": ["127.0.0.0/8"]})
    greedy, other = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
    with running_stream(proxy, greedy), running_stream(proxy, greedy) as second:
        refused = proxy.get("/echo", {"X-Forwarded-For": "192.0.2.1, 127.0.0.9"})
        assert_refused(refused, 429, "too_many_requests_per_client",
                       "limits.max_inflight_per_client")
        assert hits(proxy, "max_inflight_per_client") == 1
        assert proxy.get("/echo", other).status == 200
        second.reset()
        wait_until(lambda: proxy.get("/echo", greedy).status == 200, "room again")


def test_a_trusted_proxy_that_names_no_client_is_not_one_itself(make_proxy, pod):
    """As with its connections: it stands for all of its clients."""
    proxy = make_proxy([region("near", pod)], limits={"max_inflight_per_client": 1},
                       edge={"trusted_proxies": ["127.0.0.0/8"]})
    with running_stream(proxy), running_stream(proxy, {"X-Forwarded-For": "127.0.0.9"}):
        assert proxy.get("/echo").status == 200


def test_a_forwarding_field_of_nobody_trusted_is_no_way_around_the_limit(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], limits={"max_inflight_per_client": 1})
    with running_stream(proxy, {"X-Forwarded-For": "192.0.2.1"}):
        refused = proxy.get("/echo", {"X-Forwarded-For": "192.0.2.2"})
        assert_refused(refused, 429, "too_many_requests_per_client",
                       "limits.max_inflight_per_client")
    wait_until(lambda: proxy.get("/echo").status == 200, "room again")


def test_a_connect_beyond_the_limit_ends_its_connection_all_the_same(make_proxy, pod):
    """What follows it may be meant for the tunnel; it is no request of ours."""
    proxy = make_proxy([region("near", pod)], limits={"max_inflight_per_client": 1})
    with running_stream(proxy), proxy.connect() as conn:
        conn.send(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n" +
                  raw.request_bytes("GET", "/echo"))
        assert conn.read_response().header("Connection") == "close"
        with pytest.raises(raw.Closed):
            conn.read_response()


def test_a_leader_that_has_gone_counts_no_more(make_proxy, pod):
    """Its answer goes on for others; the client may ask again."""
    proxy = make_proxy([region("near", pod)], cache={"enabled": True},
                       limits={"max_inflight_per_client": 1},
                       edge={"trusted_proxies": ["127.0.0.0/8"]})
    with running_stream(proxy, {"X-Forwarded-For": "192.0.2.1"}) as leader, \
            running_stream(proxy, {"X-Forwarded-For": "192.0.2.2"}):
        assert proxy.get("/echo", {"X-Forwarded-For": "192.0.2.1"}).status == 429
        leader.reset()
        wait_until(lambda: proxy.get("/echo", {"X-Forwarded-For": "192.0.2.1"}).status == 200,
                   "room again")


def test_the_limit_per_address_can_be_changed_by_a_reload(make_proxy, pod):
    proxy = make_proxy([region("near", pod)])
    with proxy.connect(), proxy.connect():
        wait_until(lambda: proxy.metrics().value("nearside_client_connections") == 2, "two")
        proxy.reload_ok(limits={"max_connections_per_client": 2})
        wait_until(lambda: refusal_or_none(proxy.port) == 429, "the new limit")


def refusal_or_none(port):
    try:
        with raw.Conn(port, timeout=0.5) as conn:
            return conn.read_response().status
    except (OSError, raw.Closed):
        return None


def test_handshakes_that_never_end_are_bounded_in_number_and_time(make_proxy, pod, authority):
    certificate = authority.issue("edge")
    proxy = make_proxy(
        [region("near", pod)], limits={"max_handshakes": 3}, timeouts={"handshake_ms": 700},
        listeners=[{"bind": "127.0.0.1:0"},
                   {"bind": "127.0.0.1:0", "tls": {"certificate": certificate.cert,
                                                   "key": certificate.key}}])
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(raw.Conn(proxy.tls_port)) for _ in range(3)]
        wait_until(lambda: proxy.metrics().value("nearside_client_connections") == 3, "three")
        started = time.monotonic()
        with raw.Conn(proxy.tls_port) as fourth:
            assert fourth.is_closed_by_peer()
        assert hits(proxy, "max_handshakes") == 1
        assert proxy.get("/echo").status == 200, "plain clients are not concerned"
        for conn in silent:
            assert conn.is_closed_by_peer()
        assert time.monotonic() - started < 3
    assert hits(proxy, "handshake_ms") == 3
    proxy.wait_metric("nearside_tls_handshakes_total", {"result": "timeout"}, 3)
    response = raw.one_request(proxy.tls_port, "GET", "/echo", tls=authority.client_context())
    assert response.status == 200


def test_a_connection_ends_in_order_after_its_last_request(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], limits={"requests_per_connection": 3})
    with proxy.connect() as conn:
        for last in (False, False, True):
            conn.send(raw.request_bytes("GET", "/echo"))
            response = conn.read_response()
            assert response.status == 200
            assert (response.header("Connection") == "close") is last
        assert conn.is_closed_by_peer()
    assert hits(proxy, "requests_per_connection") == 1


def test_pipelined_requests_past_the_limit_are_refused_and_those_before_answered(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], limits={"pipelined_requests": 5})
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/echo") * 9)
        assert [conn.read_response().status for _ in range(5)] == [200] * 5
        assert_refused(conn.read_response(), 429, "too_many_pipelined",
                       "limits.pipelined_requests")
        assert conn.is_closed_by_peer()
    assert hits(proxy, "pipelined_requests") == 1


def test_a_client_that_keeps_its_pipeline_full_is_not_refused(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], limits={"pipelined_requests": 5})
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/echo") * 4)
        for _ in range(30):
            assert conn.read_response().status == 200
            conn.send(raw.request_bytes("GET", "/echo"))
        for _ in range(4):
            assert conn.read_response().status == 200
    assert hits(proxy, "pipelined_requests") == 0


# ---- heads ----

@pytest.mark.parametrize("limits, request_head, status, code, limit", [
    ({"header_bytes": 1024}, b"X-A: " + b"a" * 2000, 431, "header_too_large", "header_bytes"),
    ({"header_count": 5}, b"\r\n".join(b"X-%d: a" % i for i in range(9)), 431, "too_many_headers",
     "header_count"),
])
def test_heads_have_a_size_and_a_number_of_fields(make_proxy, pod, limits, request_head, status,
                                                  code, limit):
    proxy = make_proxy([region("near", pod)], limits=limits)
    with running_stream(proxy), proxy.connect() as conn:
        conn.send(b"GET /echo HTTP/1.1\r\nHost: a\r\n" + request_head + b"\r\n\r\n")
        assert_refused(conn.read_response(), status, code, f"limits.{limit}")
        assert conn.is_closed_by_peer()
    assert hits(proxy, limit) == 1


def test_a_target_has_a_length(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], limits={"uri_bytes": 64})
    assert proxy.get("/echo?" + "a" * 58).status == 200
    assert_refused(proxy.get("/echo?" + "a" * 59), 414, "uri_too_long", "limits.uri_bytes")
    assert hits(proxy, "uri_bytes") == 1


def test_a_head_has_a_time_in_total_however_its_bytes_are_spread(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], timeouts={"client_header_ms": 500})
    with proxy.connect() as conn:
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in b"GET /echo HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaa":
                conn.send(bytes([byte]))
                if wait_readable(conn, 0.05):
                    break
        assert_refused(conn.read_response(), 408, "header_timeout", "timeouts.client_header_ms")
        assert time.monotonic() - started < 2
    assert hits(proxy, "client_header_ms") == 1


def wait_readable(conn, timeout):
    return bool(select.select([conn.socket], [], [], timeout)[0])


# ---- bodies ----

def test_a_body_has_a_size(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], limits={"body_bytes": 1000, "buffer_bytes": 1000})
    with running_stream(proxy):
        assert_refused(proxy.chat(b"{" + b" " * 1500 + b"}"), 413, "request_too_large",
                       "limits.body_bytes")
    assert hits(proxy, "body_bytes") == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/other"])
def test_a_body_that_comes_too_slowly_is_given_up(make_proxy, pod, path):
    """A byte now and then satisfies a timeout between two reads for ever."""
    proxy = make_proxy([region("near", pod)], timeouts={"request_ms": 600},
                       limits={"body_min_bytes_per_s": 1000})
    with proxy.connect() as conn:
        started = time.monotonic()
        conn.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n")
        with contextlib.suppress(OSError):
            while not wait_readable(conn, 0.1):
                conn.send(b"a")
        with contextlib.suppress(raw.Closed):
            assert conn.read_response().status == 408
        assert time.monotonic() - started < 3
    assert hits(proxy, "body_min_bytes_per_s") == 1
    assert hits(proxy, "request_ms") == 0


def test_a_body_that_comes_steadily_may_take_longer_than_the_window(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], timeouts={"request_ms": 400},
                       limits={"body_min_bytes_per_s": 1000})
    with proxy.connect() as conn:
        conn.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n")
        for _ in range(20):
            conn.send(b"a" * 200)
            assert not wait_readable(conn, 0.06) or conn.read_response().status == 200
    assert hits(proxy, "body_min_bytes_per_s") == 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/echo"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_large_to_keep_is_sent_as_it_comes_and_counted_once(make_proxy, pod, path,
                                                                       chunked):
    proxy = make_proxy([region("near", pod)], limits={"buffer_bytes": 1000})
    body = b'{"model":"m","messages":[{"role":"user","content":"' + b"a" * 5000 + b'"}]}'
    framing = b"Transfer-Encoding: chunked\r\n\r\n" if chunked else \
        b"Content-Length: %d\r\n\r\n" % len(body)
    with proxy.connect() as conn:
        conn.send(b"POST %s HTTP/1.1\r\nHost: a\r\n" % path.encode() + framing)
        for at in range(0, len(body), 500):
            piece = body[at:at + 500]
            conn.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        conn.send(b"0\r\n\r\n" if chunked else b"")
        assert conn.read_response().status == 200
    assert hits(proxy, "buffer_bytes") == 1


def part_of_body(length, sent):
    return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
            b"Content-Length: %d\r\n\r\n" % length + b" " * sent)


def test_bodies_held_have_a_total(make_proxy, pod):
    proxy = make_proxy([region("near", pod)],
                       limits={"buffer_total_bytes": 100000, "buffer_bytes": 90000})
    with running_stream(proxy), proxy.connect() as conn:
        conn.send(part_of_body(90000, 80000))
        proxy.wait_metric("nearside_buffered_bytes", None, 90000)
        assert_refused(proxy.chat(b"{" + b" " * 20000 + b"}"), 503, "buffers_full",
                       "limits.buffer_total_bytes")
    assert hits(proxy, "buffer_total_bytes") == 1


def test_a_body_that_is_said_and_not_sent_holds_little(make_proxy, pod):
    """Booked: 16 KiB, then eight times that, at most whole. Who sends more than there is room for
    is the one that is refused."""
    proxy = make_proxy([region("near", pod)],
                       limits={"buffer_total_bytes": 200000, "buffer_bytes": 90000})
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(proxy.connect()) for _ in range(4)]
        for conn in conns:
            conn.send(part_of_body(90000, 10))
        proxy.wait_metric("nearside_buffered_bytes", None, 4 * 16384)
        assert proxy.chat(answers.chat("a" * 20000)).status == 200
        conns[0].send(b" " * 20000)
        proxy.wait_metric("nearside_buffered_bytes", None, 90000 + 3 * 16384)
        conns[1].send(b" " * 20000)
        assert_refused(conns[1].read_response(), 503, "buffers_full", "limits.buffer_total_bytes")
        proxy.wait_metric("nearside_buffered_bytes", None, 90000 + 2 * 16384)
    proxy.wait_metric("nearside_buffered_bytes", None, 0)
    assert hits(proxy, "buffer_total_bytes") == 1


@pytest.mark.skipif("san/" in os.environ.get("NEARSIDE_BIN", ""),
                    reason="a sanitizer keeps freed memory for a while")
def test_a_body_that_outgrew_the_buffer_gives_its_memory_back(make_proxy, make_origin):
    """Who sends much and goes on in drops does not keep the room of what was sent on: what a body
    holds is what it is booked with."""
    arrived = threading.Semaphore(0)

    def take_part(peer, line, headers):
        peer.read_exactly(9000000)
        arrived.release()
        peer.read_exactly(1)

    proxy = make_proxy([region("near", make_origin(take_part))], edge={"workers": 1})
    before = proxy.process.rss_bytes()
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            conn = stack.enter_context(proxy.connect())
            conn.send(b"POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n" +
                      b"a" * 9000000)
            assert arrived.acquire(timeout=10)
        booked = proxy.metrics().value("nearside_buffered_bytes")
        assert 0 < booked <= 8 * 2**20
        assert proxy.process.rss_bytes() - before < booked + 8 * 2**20
    assert hits(proxy, "buffer_bytes") == 8


def test_parts_of_heads_count_as_held_and_the_newest_is_refused(make_proxy, pod):
    proxy = make_proxy([region("near", pod)],
                       limits={"buffer_total_bytes": 100000, "buffer_bytes": 1000})
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            conn = stack.enter_context(proxy.connect())
            conn.send(b"GET /echo HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 45000)
        proxy.wait_metric("nearside_buffered_bytes", None, lambda value: value > 90000)
        newest = stack.enter_context(proxy.connect())
        newest.send(b"GET /echo HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 45000)
        assert_refused(newest.read_response(), 503, "buffers_full", "limits.buffer_total_bytes")
        assert proxy.get("/echo").status == 200, "a head that comes whole is not kept"
        conn.send(b"\r\n\r\n")
        assert conn.read_response().status == 200, "those before go on"


def test_large_heads_of_requests_under_way_count_as_held(make_proxy, pod):
    """They are kept to the request's end, for another attempt and for the log."""
    proxy = make_proxy([region("near", pod)],
                       limits={"buffer_total_bytes": 100000, "buffer_bytes": 1000})
    large = {"X-A": "a" * 45000}
    with running_stream(proxy, large), running_stream(proxy, large):
        proxy.wait_metric("nearside_buffered_bytes", None, lambda value: value > 90000)
        assert_refused(proxy.get("/echo", large), 503, "buffers_full", "limits.buffer_total_bytes")
        assert proxy.get("/echo").status == 200
    wait_until(lambda: proxy.get("/echo", large).status == 200, "room again")


def test_answers_not_taken_count_as_held_and_pause_their_source(make_proxy, pod):
    """Past half of the total a source is read only as fast as its client takes the answer."""
    proxy = make_proxy([region("near", pod)], edge={"workers": 1},
                       limits={"buffer_total_bytes": 200000, "buffer_bytes": 1000})
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            conn = stack.enter_context(proxy.connect(receive_buffer=4096))
            conn.send(raw.request_bytes("GET", "/bytes/20000000"))
        proxy.wait_metric("nearside_buffered_bytes", None, lambda value: value > 100000)
        held = [proxy.metrics().value("nearside_buffered_bytes") for _ in range(10)]
        # 256 KiB for one that came early, then a read (64 KiB) and its rest for each of the others.
        assert max(held) < 262144 + 6 * 2 * 65536, held
        assert proxy.get("/echo").status == 200


# ---- answers ----

def read_some(conn, count):
    return conn.socket.recv(count)


def test_a_client_that_takes_its_answer_too_slowly_is_cut_off(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], timeouts={"idle_ms": 1200},
                       limits={"answer_min_bytes_per_s": 1000000000})
    with running_stream(proxy), proxy.connect(receive_buffer=4096) as conn:
        conn.send(raw.request_bytes("GET", "/bytes/50000000"))
        with contextlib.suppress(OSError):
            for _ in range(100):
                if not read_some(conn, 2048) or hits(proxy, "answer_min_bytes_per_s"):
                    break
                time.sleep(0.05)
        proxy.wait_metric("nearside_limit_hits_total", {"limit": "answer_min_bytes_per_s"})
    proxy.wait_metric("nearside_client_disconnects_total")


def test_a_client_that_takes_nothing_is_cut_off(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], timeouts={"idle_ms": 800})
    with proxy.connect(receive_buffer=4096) as conn:
        conn.send(raw.request_bytes("GET", "/bytes/50000000"))
        proxy.wait_metric("nearside_limit_hits_total", {"limit": "idle_ms"})


# ---- names, descriptors, operators ----

def test_a_name_stands_for_a_bounded_number_of_addresses(make_proxy, dns, make_pod):
    pod = make_pod("a", bind="0.0.0.0")
    dns.records["pods.test"] = [f"127.0.0.{i}" for i in range(1, 9)]
    proxy = make_proxy([region("near", f"http://pods.test:{pod.port}")], env=dns.env,
                       limits={"dns_addresses": 3})
    wait_until(lambda: len(proxy.region("near")["endpoints"]) == 3, "three endpoints")
    assert hits(proxy, "dns_addresses") >= 1
    proxy.expect_log("dns_too_many", addresses=8)
    assert proxy.get("/echo").status == 200


def test_the_last_descriptors_are_kept_from_clients(make_proxy, pod):
    """Probes, admin and running streams go on while connections use up the rest."""
    proxy = make_proxy([region("near", pod)], limits={"reserve_descriptors": 40},
                       prefix=["prlimit", "--nofile=150:150"])
    with running_stream(proxy), contextlib.ExitStack() as stack:
        def is_seen_to(count):
            return hits(proxy, "file_descriptors") or \
                proxy.metrics().value("nearside_client_connections") >= count

        for number in range(160):
            last = stack.enter_context(raw.Conn(proxy.port, timeout=5))
            # One after another, so that it is this one that is refused.
            wait_until(lambda count=number + 2: is_seen_to(count), "it to be accepted or refused")
            if hits(proxy, "file_descriptors"):
                break
        assert_refused(last.read_response(), 503, "too_few_descriptors",
                       "limits.reserve_descriptors")
        assert proxy.process.open_files() <= 150 - 20
        proxy.wait_metric("nearside_probes_total", {"outcome": "ok"}, lambda value: value > 5)
        assert proxy.region("near")["state"] == "up"
        proxy.expect_log("accept_paused")
    wait_until(lambda: refusal_or_echo(proxy) == 200, "room again")


def refusal_or_echo(proxy):
    try:
        return proxy.get("/echo", timeout=2).status
    except (OSError, raw.Closed):
        return None


def test_requests_to_endpoints_leave_half_of_the_reserve(make_proxy, make_origin):
    """Clients that are in may not use up what probes and the admin listener need either."""
    gate = threading.Event()

    def wait(peer, line, headers):
        gate.wait(10)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    origin = make_origin(wait)
    proxy = make_proxy([region("near", origin)], limits={"reserve_descriptors": 40},
                       retry={"attempts": 1}, prefix=["prlimit", "--nofile=150:150"])
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(raw.Conn(proxy.port, timeout=10)) for _ in range(70)]
        wait_until(lambda: proxy.metrics().value("nearside_client_connections") == 70, "70")
        for conn in conns:
            conn.send(raw.request_bytes("GET", "/wait"))
        proxy.wait_metric("nearside_attempt_outcomes_total", {"outcome": "local_limit"})
        assert proxy.process.open_files() <= 150 - 20 + 4  # admin and probes use the rest
        assert proxy.region("near")["state"] == "up", "our own shortage is not the region's fault"
        gate.set()
        statuses = {conn.read_response().status for conn in conns}
    assert statuses <= {200, 503} and 200 in statuses, statuses


def test_the_admin_listener_has_a_number_of_connections(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], admin={"max_connections": 3})
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(raw.Conn(proxy.admin_port))
        proxy.expect_log("admin_full")
        assert proxy.get("/echo").status == 200, "traffic is not concerned"
    proxy.wait_metric("nearside_limit_hits_total", {"limit": "admin.max_connections"})


def test_the_admin_listener_gives_up_who_asks_too_slowly(make_proxy, pod, authority):
    """A byte now and then, in a head or a handshake, keeps no place; who asks again and again does."""
    certificate = authority.issue("slow-admin")
    plain = make_proxy([region("near", pod)])
    secure = make_proxy([region("near", pod)], wait="listening", admin={
        "bind": "127.0.0.1:0", "tls": {"certificate": certificate.cert, "key": certificate.key}})
    slow = [raw.Conn(plain.admin_port).send(b"GET / HTTP/1.1\r\nX: "),
            raw.Conn(secure.admin_port).send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")]
    with raw.Conn(plain.admin_port) as busy:
        def are_closed():
            busy.send(raw.request_bytes("GET", "/healthz"))
            assert busy.read_response().status == 200, "who asks again and again is kept"
            return all([is_given_up(conn) for conn in slow])
        wait_until(are_closed, "both to be given up", 25.0)
    plain.wait_metric("nearside_limit_hits_total", {"limit": "admin_request_time"}, 1)
    secure.process.terminate()


def test_the_admin_listener_reads_no_further_than_its_answers_are_taken(make_proxy, pod):
    """Requests that wait for the answer before them stay in the client's kernel."""
    proxy = make_proxy([region("near", pod)])
    with raw.Conn(proxy.admin_port, receive_buffer=4096) as greedy:
        greedy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        greedy.socket.setblocking(False)
        sent = 0
        while sent < 2**24 and select.select([], [greedy.socket], [], 1.0)[1]:
            sent += greedy.socket.send(raw.request_bytes("GET", "/metrics") * 1000)
        assert sent < 2**22, "all of it was read"
        assert proxy.admin("GET", "/healthz").status == 200


def is_given_up(conn):
    try:
        conn.send(b"a")
        conn.socket.settimeout(0.25)
        return conn.socket.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_request_has_a_number_of_attempts(make_proxy, make_pod):
    pods = [make_pod(name, fault="close-before-response") for name in "abc"]
    proxy = make_proxy([region("near", pods)], retry={"attempts": 2})
    response = proxy.chat(answers.chat("x"))
    assert (response.status, response.header("X-Nearside-Attempts")) == (502, "2"), response
    assert hits(proxy, "retry_attempts") == 1


def test_every_limit_of_the_metric_stands_in_the_table(make_proxy, pod):
    proxy = make_proxy([region("near", pod)])
    with open(os.path.join(TOP, "docs", "security.md")) as file:
        table = file.read()
    names = {labels["limit"] for name, labels, _ in proxy.metrics().samples
             if name == "nearside_limit_hits_total"}
    assert names, "no limits in /metrics"
    missing = sorted(name for name in names if f"`{name}`" not in table)
    assert not missing, f"not in docs/security.md: {missing}"
