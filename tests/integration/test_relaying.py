# SPDX-License-Identifier: MIT
"""Bytes on their way through, against endpoints and clients that cut, wait and split them."""
import contextlib
import os
import socket
import threading
import time

import pytest
from env import raw
from env.conf import region
from env.origin import read_chunked
from env.waiting import wait_until

MIB = 1024 * 1024


def pattern(length):
    return (b"".join(b"%08x" % index for index in range(length // 8 + 1)))[:length]


def in_background(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


# ---- answers that begin before the request has ended ----

@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upload_goes_on_whole_after_its_answer_has_begun(make_origin, make_proxy, framing):
    """The endpoint answers first and reads slowly: all of the body is here before it is sent."""
    body = pattern(6 * MIB)
    got = []

    def handler(peer, line, headers):
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")
        time.sleep(0.3)
        received = (read_chunked(peer) if framing == "chunked"
                    else peer.read_exactly(int(headers["content-length"])))
        got.append(received)
        peer.send(b"3\r\nend\r\n0\r\n\r\n")

    proxy = make_proxy([region("near", make_origin(handler))])
    with proxy.connect() as conn:
        if framing == "length":
            conn.send(raw.request_bytes("POST", "/upload", body))
        else:
            conn.send(b"POST /upload HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(body), 50000):
                piece = body[at:at + 50000]
                conn.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            conn.send(b"0\r\n\r\n")
        response = conn.read_response()
    assert response.body == b"beginend"
    assert len(got) == 1 and got[0] == body


def test_an_echo_that_answers_while_it_reads_loses_nothing(make_origin, make_proxy):
    body = pattern(12 * MIB)

    def handler(peer, line, headers):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        left = len(body)
        while left:
            piece = peer.read_exactly(min(left, 100000))
            left -= len(piece)
            peer.send(piece)

    proxy = make_proxy([region("near", make_origin(handler))])
    with proxy.connect() as conn:
        sender = in_background(conn.send, raw.request_bytes("POST", "/echo", body))
        assert conn.read_response().body == body
        sender.join(10)


# ---- prompts, which are kept until they are whole ----

def long_prompt(length):
    frame = b'{"model":"sim","messages":[{"role":"user","content":"%s"}]}'
    return frame % pattern(length - len(frame) + 2)


def keeping(got):
    """A handler that answers and keeps the bodies it was sent."""
    def handler(peer, line, headers):
        got.append(peer.read_exactly(int(headers["content-length"])))
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    return handler


@pytest.mark.parametrize("piece", [7001, 65536, 10 * MIB])
def test_long_prompts_on_one_connection_arrive_as_they_were_sent(make_origin, make_proxy, piece):
    """Of all sizes at which they get another place, each with the next one right behind it."""
    got = []
    proxy = make_proxy([region("near", make_origin(keeping(got)))], edge={"workers": 1})
    bodies = [long_prompt(length) for length in
              (20000, 65536, 131071, 131072, 131073, 300000, MIB, MIB + 1, 3 * MIB, 500)]
    everything = b"".join(raw.request_bytes("POST", "/v1/chat/completions", body)
                          for body in bodies)

    def send(conn):
        for at in range(0, len(everything), piece):
            conn.send(everything[at:at + piece])

    with proxy.connect(timeout=30) as conn:
        sender = in_background(send, conn)
        for body in bodies:
            assert conn.read_response().status == 200
        sender.join(10)
    assert [len(body) for body in got] == [len(body) for body in bodies]
    assert got == bodies


@pytest.mark.parametrize("listener", ["plain", "tls"])
def test_clients_that_leave_within_a_long_prompt_disturb_no_other(make_origin, make_proxy,
                                                                  authority, listener):
    got = []
    certificate = authority.issue("edge")
    tls = {"certificate": certificate.cert, "key": certificate.key}
    proxy = make_proxy([region("near", make_origin(keeping(got)))], edge={"workers": 1},
                       listeners=[{"bind": "127.0.0.1:0", **({"tls": tls} if listener == "tls" else {})}])
    request = raw.request_bytes("POST", "/v1/chat/completions", long_prompt(2 * MIB))

    def connect():
        if listener == "tls":
            return raw.Conn(proxy.tls_port, timeout=30, tls=authority.client_context())
        return raw.Conn(proxy.port, timeout=30)

    def booked(condition, what):
        wait_until(lambda: condition(proxy.metrics().value("nearside_buffered_bytes")), what)

    with connect() as last:
        last.send(request[:700000])
        booked(lambda value: value >= 699000, "the first part to be kept")
        base = proxy.metrics().value("nearside_buffered_bytes")
        for length in (100000, 140000, 700000, 1500000, len(request) - 1):
            with connect() as conn:
                conn.send(request[:length])
                booked(lambda value, at=length: value >= base + at - 1000, "a part to be kept")
            booked(lambda value: value == base, "it to be dropped")
        last.send(request[700000:])
        assert last.read_response().status == 200
    booked(lambda value: value == 0, "all to be given back")
    assert got == [long_prompt(2 * MIB)]


@pytest.mark.skipif("san/" in os.environ.get("NEARSIDE_BIN", ""),
                    reason="a sanitizer keeps freed memory for a while")
def test_memory_kept_for_the_next_prompts_is_not_more_than_is_counted(make_origin, make_proxy):
    """Right after a burst, clients that say much and send little do not get what lies warm uncounted."""
    got = []
    proxy = make_proxy([region("near", make_origin(keeping(got)))], edge={"workers": 1})
    request = raw.request_bytes("POST", "/v1/chat/completions", long_prompt(8000000))
    before = proxy.process.rss_bytes()
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(proxy.connect(timeout=30)) for _ in range(8)]
        for conn in conns:
            conn.send(request[:-1])
        wait_until(lambda: proxy.process.rss_bytes() - before > 60000000, "prompts to be kept")
        for conn in conns:
            conn.send(request[-1:] + request[:70000])
        for conn in conns:
            assert conn.read_response().status == 200
        proxy.wait_metric("nearside_buffered_bytes", None, lambda value: 0 < value < 16 * MIB)
        wait_until(lambda: proxy.process.rss_bytes() - before <
                   proxy.metrics().value("nearside_buffered_bytes") + 8 * MIB, "no more than counted")


@pytest.mark.skipif("san/" in os.environ.get("NEARSIDE_BIN", ""),
                    reason="a sanitizer keeps freed memory for a while")
def test_the_memory_of_long_prompts_goes_back_when_no_more_come(make_origin, make_proxy):
    got = []
    proxy = make_proxy([region("near", make_origin(keeping(got)))], edge={"workers": 1})
    request = raw.request_bytes("POST", "/v1/chat/completions", long_prompt(3 * MIB))
    before = proxy.process.rss_bytes()
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(proxy.connect(timeout=30)) for _ in range(16)]
        for conn in conns:
            conn.send(request[:-1])
        wait_until(lambda: proxy.process.rss_bytes() - before > 16 * 3 * MIB, "prompts to be kept")
        for conn in conns:
            conn.send(request[-1:])
        for conn in conns:
            assert conn.read_response().status == 200
    wait_until(lambda: proxy.process.rss_bytes() - before < 3 * MIB, "memory to go back")


# ---- framing ----

def test_pieces_that_hold_no_data_hold_nothing_up(make_origin, make_proxy):
    """The end of a chunk in a packet of its own."""
    def handler(peer, line, headers):
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello")
        time.sleep(0.1)
        peer.send(b"\r\n")
        time.sleep(0.1)
        peer.send(b"5\r\nworld")
        time.sleep(0.1)
        peer.send(b"\r\n0\r\n\r\n")
        return True

    proxy = make_proxy([region("near", make_origin(handler))])
    assert proxy.get("/x", timeout=5).body == b"helloworld"


def test_an_answer_that_comes_byte_by_byte_is_passed_on_whole(make_origin, make_proxy):
    answer = (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
              b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
              b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n")

    def handler(peer, line, headers):
        for index in range(len(answer)):
            peer.send(answer[index:index + 1])
            time.sleep(0.001)
        return True

    proxy = make_proxy([region("near", make_origin(handler))])
    with proxy.connect() as conn:
        for _ in range(2):
            conn.send(raw.request_bytes("GET", "/x"))
            response = conn.read_response()
            assert response.body == b"hello world"
            assert [one.status for one in response.interim] == [103]


def test_body_bytes_behind_the_end_of_a_split_head_are_passed_on(make_origin, make_proxy):
    """The client's sight of the interim answer says that the edge holds half of the head."""
    body = bytes(range(256)) * 12
    half_read = threading.Event()

    def answer(peer, line, headers):
        peer.send(b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3072\r\n")
        assert half_read.wait(10)
        peer.send(b"\r\n" + body)
        return True

    proxy = make_proxy([region("near", make_origin(answer))])
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/split"))
        assert conn.read_head().status == 103
        half_read.set()
        assert conn.read_response().body == body


def test_what_came_before_a_break_is_still_framed(make_origin, make_proxy):
    """Good data and a broken chunk in one packet: never bytes outside a chunk, never a clean end."""
    def handler(peer, line, headers):
        data = b"0\r\n\r\nHTTP/1.1 200 OK\r\n"
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"%x\r\n%s\r\nrubbish\r\n" % (len(data), data))

    proxy = make_proxy([region("near", make_origin(handler))])
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/x"))
        assert conn.read_head().status == 200
        assert conn.read_chunk() == b"0\r\n\r\nHTTP/1.1 200 OK\r\n"
        assert conn.is_closed_by_peer()


# ---- tokens of several streams that are there at once ----

class Streams:
    """Streams of one worker whose endpoint is the test itself: tokens that are sent while the edge
    stands still are all there when it wakes, and go out together."""

    def __init__(self, make_origin, make_proxy, authority=None):
        """With an authority clients speak TLS."""
        self.peers = {}
        self.is_over = threading.Event()
        self.tls = authority and authority.client_context()
        more = {}
        if authority:
            certificate = authority.issue("edge")
            more["listeners"] = [{"bind": "127.0.0.1:0", "tls": {"certificate": certificate.cert,
                                                                 "key": certificate.key}}]
        self.proxy = make_proxy([region("near", make_origin(self._answer))], edge={"workers": 1},
                                cache={"enabled": False}, timeouts={"idle_ms": 20000}, **more)

    def connect(self, **options):
        if self.tls:
            return raw.Conn(self.proxy.tls_port, tls=self.tls, **options)
        return self.proxy.connect(**options)

    def _answer(self, peer, line, headers):
        self.peers[line.split(" ")[1]] = peer
        self.is_over.wait(30)

    def begin(self, conn, name):
        conn.send(raw.request_bytes("GET", name))
        wait_until(lambda: name in self.peers, f"the request for {name}")
        self.send(name, b"data: first\n\n", b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                              b"Transfer-Encoding: chunked\r\n\r\n")
        assert conn.read_head().status == 200
        assert conn.read_chunk() == b"data: first\n\n"

    def send(self, name, data, before=b""):
        self.peers[name].send(before + b"%x\r\n%s\r\n" % (len(data), data))

    def send_at_once(self, data_of):
        """data_of: bytes by name."""
        with self.standing_still():
            for name, data in data_of.items():
                self.send(name, data)

    @contextlib.contextmanager
    def standing_still(self):
        self.proxy.process.freeze()
        try:
            yield
        finally:
            self.proxy.process.thaw()

    def cut(self, name):
        """The endpoint closes in the middle of its answer."""
        self.peers[name].socket.shutdown(socket.SHUT_WR)

    def end(self, names):
        for name in names:
            self.peers[name].send(b"0\r\n\r\n")
        self.is_over.set()


def chunks_of(conn):
    return b"".join(iter(conn.read_chunk, b""))


def token(name, turn, length):
    return b"data: " + (b"%s %d " % (name.encode(), turn)) * (length // 8) + b"\n\n"


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_tokens_that_are_there_at_once_reach_everybody_whole(make_origin, make_proxy, authority,
                                                             is_tls):
    """Half of the clients read nothing until the end: what does not fit their sockets waits."""
    streams = Streams(make_origin, make_proxy, authority if is_tls else None)
    most_turns, names = 400, [f"/{index}" for index in range(8)]
    with contextlib.ExitStack() as stack:
        conns = {name: stack.enter_context(streams.connect(receive_buffer=4096, segment=536))
                 for name in names}
        for name, conn in conns.items():
            streams.begin(conn, name)
        for turn in range(most_turns):
            streams.send_at_once({name: token(name, turn, 1500) for name in names})
            for name in names[::2]:
                assert conns[name].read_chunk() == token(name, turn, 1500)
            if streams.proxy.metrics().value("nearside_buffered_bytes") > 0:
                break
        assert turn + 1 < most_turns
        streams.end(names)
        for name, conn in conns.items():
            missing = range(turn + 1) if name in names[1::2] else ()
            assert chunks_of(conn) == b"".join(token(name, one, 1500) for one in missing)


@pytest.mark.parametrize("leaves", ["reset", "half_close", "close"])
def test_clients_that_leave_as_their_tokens_come_disturb_no_other(make_origin, make_proxy, leaves):
    streams = Streams(make_origin, make_proxy)
    names = [f"/{index}" for index in range(24)]
    with contextlib.ExitStack() as stack:
        conns = {name: stack.enter_context(streams.connect()) for name in names}
        for name, conn in conns.items():
            streams.begin(conn, name)
        with streams.standing_still():
            for name in names:
                streams.send(name, token(name, 1, 200))
            for name in names[::3]:
                getattr(conns[name], leaves)()
        stay = [name for name in names if name not in names[::3]]
        for name in stay:
            assert conns[name].read_chunk() == token(name, 1, 200)
        if leaves != "half_close":
            streams.proxy.wait_metric("nearside_client_connections", None, len(stay))
        streams.send_at_once({name: token(name, 2, 200) for name in stay})
        streams.end(stay)
        for name in stay:
            assert chunks_of(conns[name]) == token(name, 2, 200)


def test_what_is_written_to_a_client_comes_behind_what_is_held_for_it(make_origin, make_proxy):
    """Its token, held for the second event, which is its half close: that is answered at once."""
    streams = Streams(make_origin, make_proxy)
    with streams.connect() as conn:
        streams.begin(conn, "/0")
        with streams.standing_still():
            streams.send("/0", token("/0", 1, 200))
            conn.half_close()
        assert conn.read_chunk() == token("/0", 1, 200)
        assert conn.read_chunk() == b":\n\n"
        streams.end(["/0"])
        assert chunks_of(conn) == b""


def is_cut(conn, before):
    """These bytes, an error event, and no end of the body."""
    got = b""
    try:
        while chunk := conn.read_chunk():
            got += chunk
        return False
    except (raw.Closed, ConnectionError):
        assert got.startswith(before), (got[:80], before[:80])
        assert b"error" in got[len(before):], got[-80:]
        return True


@pytest.mark.parametrize("then", ["says_more", "half_close", "reset", "close"])
def test_an_answer_that_breaks_as_its_client_stirs_is_told_to_be_cut(make_origin, make_proxy, then):
    """Token, break and the client's own event in one turn: what was held for it still comes first."""
    streams = Streams(make_origin, make_proxy)
    names = [f"/{index}" for index in range(6)]
    with contextlib.ExitStack() as stack:
        conns = {name: stack.enter_context(streams.connect()) for name in names}
        for name, conn in conns.items():
            streams.begin(conn, name)
        with streams.standing_still():
            for name in names[:3]:
                streams.send(name, token(name, 1, 200))
                streams.cut(name)
                if then == "says_more":
                    conns[name].send(b"G")
                else:
                    getattr(conns[name], then)()
            for name in names[3:]:
                streams.send(name, token(name, 1, 200))
        for name in names[:3] if then in ("says_more", "half_close") else ():
            assert is_cut(conns[name], token(name, 1, 200))
        streams.end(names[3:])
        for name in names[3:]:
            assert chunks_of(conns[name]) == token(name, 1, 200)


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_an_answer_that_breaks_as_its_client_is_full_is_told_to_be_cut(make_origin, make_proxy,
                                                                       authority, is_tls):
    """No client reads, and each has been sent a little more than the one before. When the first is
    full, the others have room for a part of the next token: the error event comes behind the rest."""
    streams = Streams(make_origin, make_proxy, authority if is_tls else None)
    clients, length, most_turns = 48, 1400, 400
    names = [f"/{index}" for index in range(clients)]
    sent = {}
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(streams.connect())
        streams.begin(reader, "/reader")
        conns = {name: stack.enter_context(streams.connect(receive_buffer=4096, segment=536))
                 for name in names}
        for index, (name, conn) in enumerate(conns.items()):
            streams.begin(conn, name)
            sent[name] = token(name, 0, 8 + index * length // clients)
            streams.send(name, sent[name])

        def send_all(turn):
            for name in names:
                piece = token(name, turn, length)
                streams.send(name, piece)
                sent[name] += piece

        for turn in range(most_turns):
            send_all(turn)
            streams.send("/reader", token("/reader", turn, 100))
            assert reader.read_chunk() == token("/reader", turn, 100)
            if streams.proxy.metrics().value("nearside_buffered_bytes") > 0:
                break
        assert turn + 1 < most_turns
        with streams.standing_still():
            send_all(most_turns)
            for name in names:
                streams.cut(name)
        for name in names:
            assert is_cut(conns[name], sent[name])
        streams.end(["/reader"])


# ---- clients that do not take what they asked for ----

def test_pipelined_requests_wait_until_the_answers_before_are_taken(make_origin, make_proxy):
    """1000 requests that the cache can answer at once, 100 KB each, none of it read."""
    answer = pattern(100000)

    def handler(peer, line, headers):
        peer.read_exactly(int(headers["content-length"]))
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                  b"Content-Length: %d\r\n\r\n%s" % (len(answer), answer))
        return True

    proxy = make_proxy([region("near", make_origin(handler))], cache={"enabled": True})
    prompt = {"model": "sim", "messages": [{"role": "user", "content": "the same"}]}
    assert proxy.chat(prompt).body == answer

    def answered():
        with open(proxy.access_path) as file:
            return sum(1 for _ in file)

    with proxy.connect(receive_buffer=4096) as conn:
        conn.socket.settimeout(20)
        sender = in_background(
            conn.send, raw.request_bytes("POST", "/v1/chat/completions", prompt) * 1000)
        before = -1
        while before != answered():
            before = answered()
            time.sleep(0.3)
        assert 2 < before < 200
        for _ in range(1000):
            assert conn.read_response().body == answer
        sender.join(10)


def test_pipelined_requests_of_a_client_that_half_closed_are_all_answered(make_origin, make_proxy):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + pattern(100000)

    def handler(peer, line, headers):
        peer.send(answer)
        return True

    proxy = make_proxy([region("near", make_origin(handler))])
    with proxy.connect(receive_buffer=4096) as conn:
        conn.send(raw.request_bytes("GET", "/x") * 40).half_close()
        time.sleep(0.3)
        for _ in range(40):
            assert conn.read_response().body == answer[-100000:]
        assert conn.is_closed_by_peer()


def test_an_answer_that_is_taken_slowly_outlives_the_idle_timeout(make_origin, make_proxy):
    body = pattern(16 * MIB)

    def handler(peer, line, headers):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return True

    proxy = make_proxy([region("near", make_origin(handler))],
                       timeouts={"client_idle_ms": 100, "idle_ms": 5000})
    with proxy.connect(receive_buffer=4096) as conn:
        conn.send(raw.request_bytes("GET", "/x"))
        assert int(conn.read_head().header("Content-Length")) == len(body)
        for at in range(0, len(body), 128 * 1024):
            time.sleep(0.1)
            assert conn.read_exactly(128 * 1024) == body[at:at + 128 * 1024]


# ---- deadlines ----

def test_an_endpoint_that_stops_reading_an_endless_upload_is_given_up(make_origin, make_proxy):
    stopped = threading.Event()

    def handler(peer, line, headers):
        stopped.wait(15)

    proxy = make_proxy([region("near", make_origin(handler))],
                       timeouts={"request_ms": 600}, retry={"attempts": 1})
    with proxy.connect() as conn:
        conn.send(b"POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 30000000\r\n\r\n")
        conn.socket.settimeout(8)
        sender = in_background(lambda: _send_until_refused(conn))
        assert conn.read_head().status == 504
        stopped.set()
        sender.join(5)


def _send_until_refused(conn):
    try:
        for _ in range(300):
            conn.send(b"x" * 100000)
    except OSError:
        pass


def test_the_deadline_of_the_request_ends_the_wait_for_redis(make_pod, make_redis, make_proxy):
    redis = make_redis()
    proxy = make_proxy([region("near", make_pod("a"), redis)], timeouts={"total_ms": 300},
                       cache={"enabled": True, "redis_timeout_ms": 1000})
    time.sleep(0.5)
    redis.freeze()
    response = proxy.chat({"model": "sim", "messages": [{"role": "user", "content": "hi"}]})
    assert response.status == 504
    redis.thaw()


# ---- balance ----

def test_a_question_to_redis_takes_no_turn_of_the_round_robin(make_pod, make_redis, make_proxy):
    pods = [make_pod("a"), make_pod("b")]
    proxy = make_proxy([region("near", pods, make_redis())], edge={"workers": 1},
                       routing={"balance": "round_robin"}, cache={"enabled": True})
    for index in range(20):
        body = {"model": "sim", "messages": [{"role": "user", "content": f"prompt {index}"}]}
        assert proxy.chat(body).status == 200
    assert [pod.counters()["finished"] for pod in pods] == [10, 10]

# ---- clients that leave ----

def test_a_client_that_resets_in_a_paused_upload_is_seen_at_once(make_origin, make_proxy):
    seen, closed = threading.Event(), threading.Event()

    def handler(peer, line, headers):
        seen.set()
        time.sleep(3)
        try:
            while True:
                peer.read_exactly(1)
        finally:
            closed.set()

    proxy = make_proxy([region("near", make_origin(handler))])
    conn = proxy.connect()
    conn.send(b"POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 30000000\r\n\r\n")
    conn.socket.settimeout(0.3)
    _send_until_refused(conn)
    assert seen.wait(5)
    conn.reset()
    proxy.wait_metric("nearside_client_connections", None, 0, timeout=2)
    assert closed.wait(5)


# ---- answers that were not asked for, answers that cannot be bettered ----

def test_bytes_behind_an_answer_are_never_the_next_ones(make_origin, make_proxy):
    """The answer fills one read of the proxy's to the byte; what follows waits in the kernel."""
    lead = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    length = 65536 - len(lead % 65000)
    rubbish = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    def handler(peer, line, headers):
        if line.split(" ")[1] == "/first":
            peer.send(lead % length + b"x" * length + rubbish)
        else:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
        return True

    proxy = make_proxy([region("near", make_origin(handler))], edge={"workers": 1})
    with proxy.connect() as conn:
        for _ in range(10):
            conn.send(raw.request_bytes("GET", "/first"))
            assert conn.read_response().body == b"x" * length
            conn.send(raw.request_bytes("GET", "/second"))
            assert conn.read_response().body == b"good"


def test_without_a_retry_the_endpoints_own_answer_is_passed_on(make_origin, make_proxy):
    def handler(peer, line, headers):
        peer.read_exactly(int(headers["content-length"]))
        peer.send(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\nlater")
        return True

    proxy = make_proxy([region("near", [make_origin(handler), make_origin(handler)])],
                       retry={"attempts": 3, "budget_ratio": 0.0, "budget_min_per_s": 0})
    response = proxy.chat({"model": "sim", "messages": []})
    assert response.status == 429
    assert response.header("Retry-After") == "7"
    assert response.body == b"later"
