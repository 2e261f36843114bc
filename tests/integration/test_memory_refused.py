# SPDX-License-Identifier: MIT
"""Memory refused, at each place where a peer decides how much is asked for: the n-th such
allocation of a scenario fails, for every n, once alone and once with all that follow. The edge
lives, what it cannot do it says, luxuries (the cache, tracing) are left out, nothing is left behind
and the next request is served."""
import contextlib
import json
import socket
import ssl
import threading

import pytest
from env import answers, raw
from env.conf import region
from env.refusing import Allocator
from env.waiting import wait_until

PLAIN = {"edge": {"workers": 1}}
CACHE = {**PLAIN, "cache": {"enabled": True}}
WORDS = {"buffers_full", "local_limit"}
RIGID_BYTES_MAX = 8192  # of what a worker allocates and may not be refused: none is a peer's size
CALLS_MAX = 200
BROKEN = (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError)


@pytest.fixture
def allocator(tmp_path):
    return Allocator(tmp_path / "refuse")


@pytest.fixture
def pod(make_pod):
    return make_pod("a")


def is_explained(response):
    return response.status == 503 and response.error["code"] in WORDS and \
        response.header("Retry-After") is not None


def at_rest(proxy):
    proxy.process.check_running()
    proxy.check_populations()


def at_each(allocator, proxy, scenario, allowed, rigid_bytes=RIGID_BYTES_MAX):
    """Run `scenario` with each of its allocations refused. It returns what `allowed` judges; the
    same scenario must be good with none refused. Returns the number of places."""
    for to_the_end in (False, True):
        number = 0
        while True:
            number += 1
            assert number < CALLS_MAX, "a scenario without an end"
            allocator.begin(number, to_the_end)
            result = scenario(number)
            allocator.end()
            refused, where = allocator.refused, allocator.refused_at
            at_rest(proxy)
            said = f"call {number}, at {where}: {result}"
            assert allowed(result, refused > 0), said
            assert allocator.rigid[0] <= rigid_bytes, allocator.rigid
            if refused == 0:
                break
            assert proxy.get("/echo").status == 200, said
        assert number > 1, "nothing was ever refused"
    return number - 1


def exchange(proxy, request, method="GET"):
    """The answer, or None where the connection ended before there was a whole one."""
    with contextlib.suppress(raw.Closed), proxy.connect() as conn:
        with contextlib.suppress(*BROKEN):
            conn.send(request)
        return conn.read_response(method)
    return None


def good_or_explained(response, is_refused):
    return response is not None and (response.status == 200 or is_refused and is_explained(response))


def good_explained_or_cut(response, is_refused):
    """Past its head an answer can only be cut; it must not look whole."""
    return response is None and is_refused or good_or_explained(response, is_refused)


LONG_FIELDS = {f"X-{number}": "v" * 3000 for number in range(19)}


def test_a_counted_body(make_proxy, pod, allocator):
    proxy = make_proxy([region("near", pod)], **PLAIN, **allocator.options())
    body = answers.chat("x" * 100000, max_tokens=3)
    at_each(allocator, proxy, lambda _: proxy.chat(body), good_or_explained)


def test_a_chunked_body(make_proxy, pod, allocator):
    """Kept for retries on an API's path, streamed through on another."""
    proxy = make_proxy([region("near", pod)], **PLAIN, **allocator.options())
    body = json.dumps(answers.chat("x" * 30000, max_tokens=3)).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in
                      (body[at:at + 5000] for at in range(0, len(body), 5000))) + b"0\r\n\r\n"
    for path in ("/v1/chat/completions", "/echo"):
        head = raw.request_bytes("POST", path, headers={"Transfer-Encoding": "chunked"})

        def slowly(_):
            with contextlib.suppress(raw.Closed), proxy.connect() as conn:
                with contextlib.suppress(*BROKEN):
                    conn.send(head + chunks[:100])
                    conn.send(chunks[100:])
                return conn.read_response()
            return None
        at_each(allocator, proxy, slowly, good_or_explained)


def test_long_heads(make_proxy, make_origin, allocator):
    """A client's, in pieces, and a pod's, with an interim one before it."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in LONG_FIELDS.items()).encode()

    def answer(peer, *_):
        peer.send(b"HTTP/1.1 103 Early Hints\r\n" + fields + b"\r\n")
        peer.send(b"HTTP/1.1 200 OK\r\n" + fields[:30000])
        peer.send(fields[30000:] + b"Content-Length: 2\r\n\r\nok")
        return True
    proxy = make_proxy([region("near", make_origin(answer))], **PLAIN, **allocator.options())
    request = raw.request_bytes("GET", "/long", headers=LONG_FIELDS)

    def in_pieces(_):
        with contextlib.suppress(raw.Closed), proxy.connect() as conn:
            with contextlib.suppress(*BROKEN):
                for at in range(0, len(request), 16384):
                    conn.send(request[at:at + 16384])
            return conn.read_response()
        return None
    at_each(allocator, proxy, in_pieces, good_or_explained)


def test_a_stream_to_a_client_that_reads_slowly(make_proxy, pod, allocator):
    """What waits for the client finds no room: the answer is cut, and visibly."""
    proxy = make_proxy([region("near", pod)], **PLAIN, **allocator.options())

    def slow(_):
        with contextlib.suppress(raw.Closed), proxy.connect(receive_buffer=4096) as conn:
            conn.send(raw.request_bytes("GET", "/bytes/8000000"))
            return conn.read_response()
        return None
    at_each(allocator, proxy, slow, good_explained_or_cut)


def test_a_stream_of_events(make_proxy, pod, allocator):
    proxy = make_proxy([region("near", pod)], **PLAIN, **allocator.options())
    body = answers.chat("tell", stream=True, max_tokens=40)
    at_each(allocator, proxy, lambda _: proxy.chat(body), good_explained_or_cut)


def test_an_answer_stored_and_served_again(make_proxy, pod, allocator):
    """Refused, it is fetched again."""
    proxy = make_proxy([region("near", pod)], **CACHE, **allocator.options())

    def twice(number):
        body = answers.chat("y" * 3000, seed=number + 1000 * twice.round, max_tokens=400)
        return [proxy.chat(body) for _ in range(2)]
    twice.round = 0

    def both(responses, is_refused):
        if not is_refused:
            twice.round += 1
            assert "hit" in responses[1].header("Cache-Status")
        return all(good_or_explained(one, is_refused) for one in responses)
    at_each(allocator, proxy, twice, both)


def test_an_answer_with_followers(make_proxy, pod, allocator):
    proxy = make_proxy([region("near", pod)], **CACHE, **allocator.options())

    def crowd(number):
        crowd.runs += 1
        request = raw.request_bytes("POST", "/v1/chat/completions",
                                    answers.chat("z", stream=True, seed=crowd.runs, max_tokens=40),
                                    {"X-Pod-First-Token-Ms": "60"})
        results = [None] * 3
        threads = [threading.Thread(target=lambda at=at: results.__setitem__(
            at, exchange(proxy, request))) for at in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results
    crowd.runs = 0
    at_each(allocator, proxy, crowd, lambda responses, is_refused: all(
        good_explained_or_cut(one, is_refused) for one in responses))


def test_an_answer_turned_into_another_form(make_proxy, pod, allocator):
    proxy = make_proxy([region("near", pod)], **CACHE, **allocator.options())

    def both_forms(_):
        both_forms.runs += 1
        body = answers.chat("w", seed=both_forms.runs, max_tokens=60)
        return [proxy.chat(body), proxy.chat({**body, "stream": True,
                                              "stream_options": {"include_usage": True}})]
    both_forms.runs = 0
    at_each(allocator, proxy, both_forms, lambda responses, is_refused: all(
        good_explained_or_cut(one, is_refused) for one in responses))


def test_a_compressed_answer_from_redis(make_proxy, make_redis, pod, allocator):
    """Written there and read back: an edge without memory of its own keeps nothing itself."""
    redis = make_redis()
    proxy = make_proxy([region("near", pod, redis)], edge={"workers": 1},
                       cache={"enabled": True, "memory_bytes": 0}, **allocator.options())
    wait_until(lambda: proxy.region("near")["redis"]["up"], "redis up")

    def through_redis(_):
        through_redis.runs += 1
        body = answers.chat("v", seed=through_redis.runs, max_tokens=800)
        first = proxy.chat(body)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: redis.keys(), "the answer in Redis", 0.5)
        second = proxy.chat(body)
        redis.client.flushall()
        return [first, second]
    through_redis.runs = 0
    at_each(allocator, proxy, through_redis, lambda responses, is_refused: all(
        good_or_explained(one, is_refused) for one in responses),
        rigid_bytes=65536)  # a new connection's read buffer


def test_a_client_over_tls(make_proxy, pod, allocator, authority):
    served = authority.issue("edge")
    proxy = make_proxy([region("near", pod)], **PLAIN, **allocator.options(), listeners=[
        {"bind": "127.0.0.1:0"},
        {"bind": "127.0.0.1:0", "tls": {"certificate": served.cert, "key": served.key}}])
    body = answers.chat("x" * 100000, max_tokens=3)

    def over_tls(_):
        connection = raw.Conn(proxy.tls_port, tls=authority.client_context())
        with contextlib.suppress(raw.Closed), connection as conn:
            with contextlib.suppress(*BROKEN):
                conn.send(raw.request_bytes("POST", "/v1/chat/completions", body))
            return conn.read_response()
        return None
    at_each(allocator, proxy, over_tls, good_or_explained)


def test_a_reload(make_proxy, pod, allocator):
    proxy = make_proxy([region("near", pod)], **PLAIN, **allocator.options())

    def reload(_):
        proxy.reload_ok()
        return proxy.chat(answers.chat("x" * 100000, max_tokens=3))
    at_each(allocator, proxy, reload, good_or_explained)


@pytest.mark.parametrize("to_the_end", [False, True], ids=["once", "from-there-on"])
@pytest.mark.parametrize("number", range(1, 10))
def test_the_first_request_of_all(make_proxy, pod, allocator, collector, number, to_the_end):
    """Buffers that stay are made then: for heads, logs, the explanation, the span and its batch, the
    operator's pages. Only the heads' are the request's own."""
    proxy = make_proxy([region("near", pod)], tracing={"otlp_url": collector}, **PLAIN,
                       **allocator.options())
    allocator.begin(number, to_the_end)
    response = proxy.get("/echo")
    for path in ("/status.json", "/metrics", "/config"):
        assert proxy.admin("GET", path).status == 200
    explain = f"/explain?id={response.header('X-Request-Id')}"
    wait_until(lambda: proxy.admin("GET", explain).status == 200 or allocator.refused,
               "the explanation, or memory refused")
    if number > 3:
        spans = "nearside_trace_spans_total"
        wait_until(lambda: sum(proxy.metrics().value(spans, {"result": result}) for result in
                               ("success", "failure")) >= 1, "the span to go, or to be dropped")
    allocator.end()
    assert good_or_explained(response, allocator.refused > 0), (allocator.refused_at, response)
    assert allocator.rigid[0] <= RIGID_BYTES_MAX, allocator.rigid
    at_rest(proxy)
    assert proxy.get("/echo").status == 200


@pytest.fixture
def collector():
    """Takes spans and says nothing: what is sent is all that matters here."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = server.accept()
                    with peer:
                        peer.settimeout(5)
                        with contextlib.suppress(OSError):
                            peer.recv(1 << 20)
                            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
