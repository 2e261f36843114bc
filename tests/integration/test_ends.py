# SPDX-License-Identifier: MIT
"""How an answer ends tells whether it is whole, and what an attempt that failed may have done tells
whether it may be repeated: endpoints that no orderly pod would be."""
import gzip
import threading

import pytest
from env import answers, raw
from env.conf import region
from env.waiting import wait_until

EVENTS = (b'data: {"choices":[{"index":0,"delta":{"content":"word"},"finish_reason":null}]}\n\n'
          b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
          b"data: [DONE]\n\n")
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = STREAM + b"Transfer-Encoding: chunked\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def read_body(peer, headers):
    return peer.read_exactly(int(headers["content-length"]))


def first_then_others(first, others=CHUNKED + b"\r\n" + chunk(EVENTS) + LAST_CHUNK):
    """A handler that reads the request, answers the first one so and closes, and how many it read."""
    lock = threading.Lock()
    seen = []

    def handler(peer, _line, headers):
        body = read_body(peer, headers)
        with lock:
            seen.append(body)
            answer = first if len(seen) == 1 else others
        peer.send(answer)
    return handler, seen


def two_regions(make_origin, handler):
    return [region(name, make_origin(handler)) for name in ("near", "far")]


# ---- compressed streams: only the transport tells ----

def test_a_compressed_stream_is_passed_on_as_it_is(make_origin, make_proxy):
    packed = gzip.compress(EVENTS)
    handler, _ = first_then_others(CHUNKED + b"Content-Encoding: gzip\r\n\r\n" + chunk(packed) +
                                   LAST_CHUNK)
    proxy = make_proxy([region("near", make_origin(handler))],
                       timeouts={"min_tokens_per_s": 1.0})
    response = proxy.chat(answers.chat("x", stream=True), {"Accept-Encoding": "gzip"})
    assert response.header("Content-Encoding") == "gzip"
    assert gzip.decompress(response.body) == EVENTS
    assert proxy.metrics().value("nearside_streams_cut_total", {"region": "near"}) == 0


def test_a_compressed_stream_that_breaks_ends_without_its_end(make_origin, make_proxy):
    packed = gzip.compress(EVENTS)[:-4]
    handler, _ = first_then_others(CHUNKED + b"Content-Encoding: gzip\r\n\r\n" + chunk(packed))
    proxy = make_proxy([region("near", make_origin(handler))])
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", answers.chat("x", stream=True)))
        assert conn.read_head().status == 200
        assert conn.read_chunk() == packed
        assert conn.is_closed_by_peer()


# ---- a length that was said ----

@pytest.mark.parametrize("missing", [1, 100, 1000])
def test_a_cut_stream_of_known_length_stays_short(make_origin, make_proxy, missing):
    begin = EVENTS[:100]  # more than the first event
    handler, _ = first_then_others(STREAM + b"Content-Length: %d\r\n\r\n" %
                                   (len(begin) + missing) + begin)
    proxy = make_proxy([region("near", make_origin(handler))])
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", answers.chat("x", stream=True)))
        assert int(conn.read_head().header("Content-Length")) == len(begin) + missing
        assert conn.read_to_end() == begin


# ---- a stream without a byte ----

@pytest.mark.parametrize("empty", [CHUNKED + b"\r\n" + LAST_CHUNK, STREAM + b"\r\n",
                                   STREAM + b"Content-Length: 0\r\n\r\n"],
                         ids=["chunked", "until close", "length 0"])
def test_a_stream_that_ends_before_it_begins_is_asked_for_elsewhere(make_origin, make_proxy, empty):
    handler, seen = first_then_others(empty)
    proxy = make_proxy(two_regions(make_origin, handler))
    response = proxy.chat(answers.chat("x", stream=True))
    assert response.status == 200
    assert response.body == EVENTS
    assert len(seen) == 2


def test_a_stream_that_never_begins_anywhere_is_an_error(make_origin, make_proxy):
    empty = CHUNKED + b"\r\n" + LAST_CHUNK
    handler, seen = first_then_others(empty, empty)
    proxy = make_proxy(two_regions(make_origin, handler), retry={"attempts": 2})
    response = proxy.chat(answers.chat("x", stream=True))
    assert (response.status, response.error["code"]) == (502, "malformed")
    assert len(seen) == 2


# ---- a stream whose first event comes in pieces ----

def in_pieces(make_origin, make_proxy, *pieces, breaks=False):
    """The answer to a request whose first endpoint writes these, and waits between them until a whole
    answer of another connection has passed; and how often it was asked for."""
    handler, seen = first_then_others(CHUNKED + b"\r\n")

    def piecewise(peer, line, headers):
        if line.startswith("GET "):
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        handler(peer, line, headers)
        for piece in pieces if len(seen) == 1 else ():
            peer.send(chunk(piece))
            assert proxy.get("/echo").status == 200
        if len(seen) == 1 and not breaks:
            peer.send(LAST_CHUNK)

    proxy = make_proxy([region("near", make_origin(piecewise)), region("far", make_origin(piecewise))])
    return proxy.chat(answers.chat("x", stream=True)), len(seen)


ERROR = b'event: error\ndata: {"error":{"message":"no"}}\n\n'


@pytest.mark.parametrize("at", [3, 13, 30, len(ERROR) - 1])
def test_a_stream_that_begins_with_an_error_is_repeated_however_it_comes(make_origin, make_proxy,
                                                                         at):
    response, asked = in_pieces(make_origin, make_proxy, ERROR[:at], ERROR[at:])
    assert (response.body, asked) == (EVENTS, 2)


def test_a_stream_that_breaks_within_its_first_event_is_repeated(make_origin, make_proxy):
    response, asked = in_pieces(make_origin, make_proxy, EVENTS[:20], EVENTS[20:40], breaks=True)
    assert (response.body, asked) == (EVENTS, 2)


@pytest.mark.parametrize("size", [1, 7, 50])
def test_a_stream_that_comes_in_pieces_is_passed_on_whole(make_origin, make_proxy, size):
    pieces = [EVENTS[at:at + size] for at in range(0, len(EVENTS), size)]
    response, asked = in_pieces(make_origin, make_proxy, *pieces)
    assert (response.body, asked) == (EVENTS, 1)


def test_a_first_event_of_any_size_is_passed_on(make_origin, make_proxy):
    long = EVENTS.replace(b"word", b"word" * 5000)
    pieces = [long[at:at + 1500] for at in range(0, len(long), 1500)]
    response, asked = in_pieces(make_origin, make_proxy, *pieces)
    assert (response.body, asked) == (long, 1)


# ---- what may have been done ----

def executions(make_origin, make_proxy, path, body):
    """How often a request is carried out whose first endpoint dies with the answer on its lips."""
    handler, seen = first_then_others(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    proxy = make_proxy(two_regions(make_origin, handler))
    response = proxy.post(path, body)
    return response.status, len(seen)


@pytest.mark.parametrize("path, more", [
    ("/v1/chat/completions", {"store": True}),
    ("/v1/responses", {"store": True}),
    ("/v1/responses", {"background": True}),
    ("/v1/responses", {"conversation": "conv_1"}),
])
def test_what_acts_is_not_repeated_once_an_endpoint_has_it(make_origin, make_proxy, path, more):
    assert executions(make_origin, make_proxy, path, answers.chat("x", **more)) == (502, 1)


@pytest.mark.parametrize("path, more", [
    ("/v1/chat/completions", {}),
    ("/v1/chat/completions", {"store": False}),
    ("/v1/responses", {"background": False}),
])
def test_what_only_says_something_is_repeated(make_origin, make_proxy, path, more):
    assert executions(make_origin, make_proxy, path, answers.chat("x", **more)) == (200, 2)


def test_what_acts_is_sent_elsewhere_when_nobody_took_it(make_pod, make_proxy):
    pods = [make_pod("a"), make_pod("b")]
    proxy = make_proxy([region("near", pods)])
    pods[0].fault("refuse")
    for _ in range(4):
        assert proxy.chat(answers.chat("x", store=True)).status == 200


# ---- a client that half-closes within its body ----

def test_an_answer_until_close_is_not_ended_by_its_clients_half_close(make_origin, make_proxy):
    def early(peer, _line, headers):
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"begun"))
        peer.read_until(b"no such bytes")  # until the proxy gives up

    proxy = make_proxy([region("near", make_origin(early))], limits={"buffer_bytes": 4096})
    with proxy.connect() as conn:
        conn.send(b"POST /upload HTTP/1.0\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(50000))
        conn.read_until(b"begun")
        conn.half_close()
        with pytest.raises(raw.Closed, match="reset"):
            conn.read_to_end()


# ---- names of any length ----

def test_no_more_of_a_models_name_is_kept_than_any_model_has(make_origin, make_proxy):
    handler, seen = first_then_others(CHUNKED + b"\r\n" + chunk(EVENTS) + LAST_CHUNK)
    proxy = make_proxy([region("near", make_origin(handler))])
    body = answers.chat("x", model="m" * 1000000, stream=True)
    assert proxy.chat(body).body == EVENTS
    assert len(seen[0]) > 1000000
    line = wait_until(lambda: next(iter(proxy.access_lines()), None), "the access line")
    assert set(line["model"]) == {"m"}
    assert len(line["model"]) == 257
