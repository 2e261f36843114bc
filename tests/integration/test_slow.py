# SPDX-License-Identifier: MIT
"""Peers that are as slow as they can be: none holds more than a bounded amount of time or memory,
and those who behave do not notice. `make attack` measures the same with 5,000 attackers."""
import contextlib
import ssl
import subprocess
import threading
import time

import pytest
from env import raw
from env.attack import KINDS, TLS_KINDS, Attackers
from env.conf import region
from env.waiting import wait_until

# What bounds each kind, with the timeouts below; RFC 9110, 15.5.9 (408).
TIMEOUTS = {"client_header_ms": 800, "client_idle_ms": 800, "request_ms": 800, "idle_ms": 800,
            "handshake_ms": 800}
HELD_S = {"half_open": 0.8, "slow_head": 0.8, "slow_body": 0.8, "slow_reader": 1.6,
          "tiny_chunks": 0.8, "tls_silent": 0.8, "tls_garbage": 0.8, "tls_dribble": 0.8}
LATE_S = 2.5  # for a busy machine, and for the attacker to notice


@pytest.fixture
def pod(make_pod):
    return make_pod("a")


def tls_listener(authority):
    certificate = authority.issue("edge")
    return {"bind": "127.0.0.1:0", "tls": {"certificate": certificate.cert,
                                           "key": certificate.key}}


@pytest.mark.parametrize("kind", sorted(HELD_S))
def test_a_slow_client_is_held_for_a_bounded_time(make_proxy, pod, authority, kind):
    proxy = make_proxy([region("near", pod)], timeouts=TIMEOUTS,
                       limits={"answer_min_bytes_per_s": 100000},
                       listeners=[{"bind": "127.0.0.1:0"}, tls_listener(authority)])
    with Attackers(proxy.port, 20, tick=0.2, kinds=[kind], tls_port=proxy.tls_port) as attackers:
        proxy.wait_metric("nearside_client_connections_total", None, lambda count: count >= 60, 20)
        assert proxy.get("/echo").status == 200
    stats = attackers.stats[kind]
    assert stats["ended"] >= 20, stats
    assert stats["longest_s"] < HELD_S[kind] + LATE_S, stats


def latencies(proxy, count, pause_s=0.002):
    """Of `count` requests on one connection, sorted, seconds."""
    took = []
    with proxy.connect() as conn:
        for _ in range(count):
            began = time.monotonic()
            conn.send(raw.request_bytes("GET", "/echo"))
            assert conn.read_response().status == 200
            took.append(time.monotonic() - began)
            time.sleep(pause_s)
    return sorted(took)


def p99(samples):
    return samples[int(len(samples) * 0.99)]


def wait_settled(proxy):
    """Until the slow readers' kernels are full: before that they are quick ones."""
    def bytes_held():
        return proxy.metrics().value("nearside_buffered_bytes")

    def is_settled():
        before = bytes_held()
        time.sleep(0.5)
        return before > 0 and abs(bytes_held() - before) <= 0.01 * before
    wait_until(is_settled, "the attack to settle", 20)


def test_those_who_behave_do_not_notice_hundreds_who_do_not(make_proxy, pod, authority):
    """Rounds with and without the attackers' doings alternate, and the best of each kind counts: other
    work on this machine comes in bursts, an edge that is slowed down is so in every round."""
    proxy = make_proxy([region("near", pod)],
                       listeners=[{"bind": "127.0.0.1:0"}, tls_listener(authority)])
    quiet, attacked = [], []
    with Attackers(proxy.port, 400, kinds=KINDS + TLS_KINDS, tls_port=proxy.tls_port) as attackers:
        proxy.wait_metric("nearside_client_connections", None, lambda count: count > 350)
        wait_settled(proxy)
        for _ in range(9):
            attacked.append(p99(latencies(proxy, 100)))
            attackers.pause()
            quiet.append(p99(latencies(proxy, 100)))
            attackers.go_on()
    assert min(attacked) <= 1.5 * min(quiet) + 0.001, (quiet, attacked)


def test_slow_clients_hold_little_memory_and_leave_none(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], edge={"workers": 1},
                       limits={"buffer_total_bytes": 16777216})
    for _ in range(20):
        proxy.get("/echo")
    before = proxy.process.rss_bytes()
    files = proxy.process.open_files()
    with Attackers(proxy.port, 600, tick=0.5):
        proxy.wait_metric("nearside_client_connections", None, lambda count: count > 500)
        proxy.wait_metric("nearside_buffered_bytes", None, lambda count: count > 2000000)
        during = proxy.process.rss_bytes()
    # 16 MiB of held bytes at most, twice that in buffers that doubled, and 100 slow answers whose
    # pods' side reads 64 KiB at a time.
    assert during - before < 2 * 16777216 + 100 * 131072, (before, during)
    proxy.check_populations()
    wait_until(lambda: proxy.process.open_files() <= files + 110, "descriptors given back", 10)


# ---- TLS in tiny records (RFC 8446, 5.1) ----

def test_a_request_in_records_of_one_byte_is_served_in_its_time(make_proxy, pod, authority):
    proxy = make_proxy([region("near", pod)], listeners=[tls_listener(authority)])
    with raw.Conn(proxy.tls_port, tls=authority.client_context()) as conn:
        for byte in raw.request_bytes("POST", "/echo", b"a" * 300):
            conn.socket.send(bytes([byte]))
        assert conn.read_response().status == 200


def test_records_of_one_byte_do_not_stretch_the_time_of_a_head(make_proxy, pod, authority):
    proxy = make_proxy([region("near", pod)], timeouts={"client_header_ms": 500},
                       listeners=[tls_listener(authority)])
    with raw.Conn(proxy.tls_port, tls=authority.client_context()) as conn:
        began = time.monotonic()
        with contextlib.suppress(OSError, ssl.SSLError):
            while time.monotonic() - began < 5:
                conn.socket.send(b"G" if time.monotonic() == began else b"E")
                time.sleep(0.02)
                conn.socket.settimeout(0.001)
                with contextlib.suppress(TimeoutError, ssl.SSLWantReadError):
                    if conn.socket.recv(4096):
                        break
        assert time.monotonic() - began < 3
    proxy.wait_metric("nearside_limit_hits_total", {"limit": "client_header_ms"})


def renew_keys(talker, count):
    """So many KeyUpdates by s_client, or until it ends. Returns how many."""
    for done in range(count):
        try:
            talker.stdin.write(b"k\n")
            talker.stdin.flush()
        except BrokenPipeError:
            return done
        while (line := talker.stderr.readline()) != b"KEYUPDATE\n":
            if not line:
                return done
    return count


def test_a_client_may_renew_its_keys_but_not_keep_the_worker_busy_with_it(make_proxy, pod, authority):
    """RFC 8446, 4.6.3: OpenSSL would go through such messages without end in one read."""
    proxy = make_proxy([region("near", pod)], listeners=[tls_listener(authority)])
    with subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.tls_port}",
                           "-tls1_3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, bufsize=0) as talker:  # nothing is left for close()
        assert renew_keys(talker, 10) == 10
        talker.stdin.write(raw.request_bytes("GET", "/echo"))
        talker.stdin.flush()
        while (line := talker.stdout.readline()) != b"HTTP/1.1 200 OK\r\n":
            assert line, "no answer"
        assert renew_keys(talker, 500) < 100
        talker.kill()
    wait_until(lambda: proxy.metrics().value("nearside_client_connections") == 0, "it to be cut off")


# ---- chunks (RFC 9112, 7.1) ----

def test_a_body_in_chunks_of_one_byte_is_served(make_proxy, pod):
    proxy = make_proxy([region("near", pod)])
    with proxy.connect() as conn:
        conn.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
                  "1\r\na\r\n" * 5000 + "0\r\n\r\n")
        assert conn.read_response().status == 200


def test_chunks_that_are_mostly_framing_are_refused(make_proxy, pod):
    proxy = make_proxy([region("near", pod)])
    with proxy.connect() as conn:
        with contextlib.suppress(OSError):
            conn.send("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n" + f"1;{'a' * 900}\r\na\r\n" * 100)
        assert conn.read_response().status == 400


# ---- pods ----

def endless(first, more, pause_s=0.0):
    """An origin's handler: `first`, then `more` again and again until the edge has had enough."""
    ended = threading.Event()

    def handle(peer, line, headers):
        peer.send(first)
        with contextlib.suppress(OSError):
            for _ in range(200000):
                peer.send(more)
                if pause_s:
                    time.sleep(pause_s)
        ended.set()

    handle.ended = ended
    return handle


def ask_of_endless(make_proxy, make_origin, handler, **sections):
    proxy = make_proxy([region("near", make_origin(handler))], retry={"attempts": 1}, **sections)
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/endless"))
        began = time.monotonic()
        with contextlib.suppress(raw.Closed):
            response = conn.read_response()
            assert response.status in (502, 504), response
        assert time.monotonic() - began < 5
    assert handler.ended.wait(10), "the pod goes on for ever"
    return proxy


def test_endless_interim_answers_end(make_proxy, make_origin):
    """RFC 9110, 15.2: a client must be able to parse several; not any number."""
    handler = endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    proxy = ask_of_endless(make_proxy, make_origin, handler)
    assert proxy.metrics().value("nearside_limit_hits_total", {"limit": "interim_answers"}) == 1


def test_interim_answers_now_and_then_do_not_stretch_the_wait(make_proxy, make_origin):
    handler = endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n", pause_s=0.15)
    ask_of_endless(make_proxy, make_origin, handler, timeouts={"first_token_ms": 500})


def test_a_head_without_an_end_ends(make_proxy, make_origin):
    handler = endless(b"HTTP/1.1 200 OK\r\n", b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
    ask_of_endless(make_proxy, make_origin, handler)


def test_a_head_that_comes_byte_by_byte_has_a_time_in_total(make_proxy, make_origin):
    handler = endless(b"HTTP/1.1 200 OK\r\nX-A: ", b"a", pause_s=0.05)
    ask_of_endless(make_proxy, make_origin, handler, timeouts={"first_token_ms": 500})


def test_trailers_without_an_end_end(make_proxy, make_origin):
    """RFC 9112, 7.1.2. The body was whole, but nobody can know: it is cut."""
    handler = endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
                      b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
    proxy = ask_of_endless(make_proxy, make_origin, handler)
    proxy.wait_metric("nearside_streams_cut_total")


def test_a_pod_whose_chunks_are_mostly_framing_is_cut(make_proxy, make_origin):
    handler = endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                      b"1;" + b"a" * 900 + b"\r\na\r\n")
    ask_of_endless(make_proxy, make_origin, handler)


CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"


@pytest.mark.parametrize("first", [b"0\r\nX-A: ", b"5;a="], ids=["a trailer", "an extension"])
def test_framing_in_drops_is_no_sign_of_life(make_proxy, make_origin, first):
    """RFC 9112, 7.1. Between two pieces of data there are idle_ms, however much framing comes."""
    handler = endless(CHUNKED_OK + first, b"a", pause_s=0.05)
    proxy = ask_of_endless(make_proxy, make_origin, handler, timeouts={"idle_ms": 500})
    proxy.wait_metric("nearside_streams_cut_total")


def test_framing_in_drops_between_data_is_borne(make_proxy, make_origin):
    """It is slow, but it is an answer: each piece comes in time."""
    def handle(peer, *_):
        peer.send(CHUNKED_OK[:-7])
        for _ in range(8):
            for byte in b"2;a=b\r\nok\r\n":
                peer.send(bytes([byte]))
                time.sleep(0.01)
        peer.send(b"0\r\nX-A: b\r\n\r\n")
        return True
    proxy = make_proxy([region("near", make_origin(handle))], timeouts={"idle_ms": 800})
    assert proxy.get("/slow").body == b"ok" * 8


def test_a_pod_that_stops_in_its_body_is_given_up(make_proxy, make_origin):
    gate = threading.Event()

    def handle(peer, line, headers):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        gate.wait(10)

    proxy = make_proxy([region("near", make_origin(handle))], timeouts={"idle_ms": 400})
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/stops"))
        began = time.monotonic()
        with pytest.raises(raw.Closed):
            conn.read_response()
        assert time.monotonic() - began < 3
    gate.set()
