# SPDX-License-Identifier: MIT
"""What HTTP/1.1 asks of a proxy, seen from both of its sides."""
import hashlib
import time

import pytest
from env import answers, raw
from env.conf import region
from env.waiting import wait_until


@pytest.fixture
def pod(make_pod):
    return make_pod("a")


@pytest.fixture
def proxy(make_proxy, pod):
    return make_proxy([region("near", pod)])


def echo_headers(response):
    return {name.lower(): value for name, value in response.json()["headers"]}


# ---- connections ----

def test_connections_are_kept_on_both_sides(proxy):
    with proxy.connect() as conn:
        seen = []
        for _ in range(3):
            conn.send(raw.request_bytes("GET", "/echo"))
            seen.append(conn.read_response().json())
    assert len({one["connection"] for one in seen}) == 1
    assert [one["request_on_connection"] for one in seen] == [1, 2, 3]


def test_pipelined_requests_are_answered_in_order(proxy):
    delays = [120, 0, 60, 0, 30]
    with proxy.connect() as conn:
        conn.send(b"".join(raw.request_bytes("GET", f"/echo/{index}", headers={
            "X-Pod-First-Token-Ms": delay}) for index, delay in enumerate(delays)))
        paths = [conn.read_response().json()["path"] for _ in delays]
    assert paths == [f"/echo/{index}" for index in range(len(delays))]


def test_connection_close_is_honoured(proxy):
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/echo", headers={"Connection": "close"}))
        response = conn.read_response()
        assert response.status == 200
        assert response.header("Connection").lower() == "close"
        assert conn.is_closed_by_peer()


def test_bytes_behind_a_last_request_do_not_cost_its_answer(proxy):
    """Closing over unread bytes would reset the connection, and the answer might be lost with it."""
    size = 3_000_000
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", f"/bytes/{size}", headers={"Connection": "close"}) +
                  b"x" * 1000)
        response = conn.read_response()
        assert response.status == 200
        assert len(response.body) == size
        assert conn.is_closed_by_peer()


def test_a_client_that_half_closes_still_gets_its_answer(proxy):
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/echo", headers={"X-Pod-First-Token-Ms": "100"}))
        conn.half_close()
        assert conn.read_response().status == 200


def test_an_upstream_that_closes_after_each_answer_is_no_error(make_pod, make_proxy):
    proxy = make_proxy([region("near", make_pod("a", close_after=1))])
    with proxy.connect() as conn:
        for _ in range(5):
            conn.send(raw.request_bytes("GET", "/echo"))
            assert conn.read_response().status == 200


def test_an_idle_upstream_connection_that_died_is_not_seen_by_the_client(make_pod, make_proxy):
    pod = make_pod("a")
    proxy = make_proxy([region("near", pod)])
    assert proxy.post("/echo", "1").status == 200
    pod.restart()
    assert proxy.post("/echo", "2").status == 200


def test_http_1_0_gets_a_plain_answer_and_a_close(proxy):
    with proxy.connect() as conn:
        conn.send("GET /echo HTTP/1.0\r\nX-Pod-Framing: chunked\r\n\r\n")
        response = conn.read_response()
        assert response.status == 200
        assert response.header("Transfer-Encoding") is None
        assert response.json()["path"] == "/echo"


def test_http_1_0_keep_alive(proxy):
    with proxy.connect() as conn:
        for _ in range(2):
            conn.send("GET /echo HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            response = conn.read_response()
            assert response.header("Connection").lower() == "keep-alive"
            assert response.header("Content-Length") is not None


# ---- framing ----

def test_a_chunked_request_body_arrives_whole(proxy):
    body = bytes(range(256)) * 40
    with proxy.connect() as conn:
        conn.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 1000):
            piece = body[start:start + 1000]
            conn.send(f"{len(piece):X};ext=1\r\n".encode() + piece + b"\r\n")
        conn.send("0\r\nX-Trailer: 1\r\n\r\n")
        echo = conn.read_response().json()
    assert echo["body_length"] == len(body)
    assert echo["body_sha256"] == hashlib.sha256(body).hexdigest()


def test_a_request_that_comes_byte_by_byte_is_understood(proxy):
    whole = raw.request_bytes("POST", "/echo", "hello")
    with proxy.connect() as conn:
        for at in range(len(whole)):
            conn.send(whole[at:at + 1])
        assert conn.read_response().json()["body"] == "hello"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_each_way_to_frame_an_answer_is_passed_on_whole(proxy, framing):
    response = proxy.get("/bytes/3000000", headers={"X-Pod-Framing": framing})
    assert response.status == 200
    assert len(response.body) == 3000000


def test_an_answer_framed_by_close_keeps_the_clients_connection(proxy):
    with proxy.connect() as conn:
        for _ in range(2):
            conn.send(raw.request_bytes("GET", "/echo", headers={"X-Pod-Framing": "close"}))
            response = conn.read_response()
            assert response.header("Transfer-Encoding") == "chunked"


def test_trailers_do_not_disturb_the_next_answer(proxy):
    with proxy.connect() as conn:
        for _ in range(2):
            conn.send(raw.request_bytes("GET", "/echo", headers={
                "X-Pod-Framing": "chunked", "X-Pod-Trailers": "X-Pod-Trailer: abc",
                "TE": "trailers"}))
            assert conn.read_response().json()["method"] == "GET"


def test_head_has_the_length_but_no_body(proxy):
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("HEAD", "/bytes/1234") + raw.request_bytes("GET", "/echo"))
        head = conn.read_response("HEAD")
        assert (head.status, head.header("Content-Length")) == (200, "1234")
        assert conn.read_response().json()["method"] == "GET"


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(proxy, status):
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/echo", headers={"X-Pod-Status": status}) +
                  raw.request_bytes("GET", "/echo"))
        assert conn.read_response().status == status
        assert conn.read_response().status == 200


def test_interim_answers_are_passed_on(proxy):
    response = proxy.get("/echo", headers={"X-Pod-1xx": "103"})
    assert [one.status for one in response.interim] == [103]
    assert response.interim[0].header("Link") == "</style.css>; rel=preload"
    assert response.status == 200


def test_http_1_0_gets_no_interim_answer(proxy):
    with proxy.connect() as conn:
        conn.send("GET /echo HTTP/1.0\r\nHost: a\r\nX-Pod-1xx: 103\r\n\r\n")
        assert conn.read_response().interim == []


def test_expect_continue_is_answered_before_the_body(proxy):
    with proxy.connect() as conn:
        conn.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                  "Expect: 100-continue\r\n\r\n")
        assert conn.read_head().status == 100
        conn.send("hello")
        assert conn.read_response().json()["body"] == "hello"


def test_an_unknown_expectation_is_417(proxy):
    response = proxy.get("/echo", headers={"Expect": "miracles"})
    assert response.status == 417


# ---- what is passed on and what is not ----

@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_any_method_is_passed_on(proxy, method):
    assert proxy.request(method, "/echo").json()["method"] == method


@pytest.mark.parametrize("target", ["/echo/%2e%2E/a%20b?x=%41&y=//&&", "/echo//double///slash",
                                    "/echo/a/../b", "/echo?" + "q" * 8000])
def test_the_target_is_passed_on_untouched(proxy, target):
    assert proxy.get(target).json()["target"] == target


def test_absolute_form_is_understood(proxy):
    with proxy.connect() as conn:
        conn.send("GET http://models.example/echo/x?y HTTP/1.1\r\nHost: models.example\r\n\r\n")
        assert conn.read_response().json()["target"] == "/echo/x?y"


def test_hop_by_hop_headers_stay_here(proxy):
    response = proxy.get("/echo", headers={
        "Connection": "X-Secret-Hop", "X-Secret-Hop": "1", "Keep-Alive": "timeout=5",
        "Proxy-Connection": "keep-alive", "TE": "gzip", "Upgrade": "h2c", "X-Kept": "yes"})
    seen = echo_headers(response)
    assert seen["x-kept"] == "yes"
    for name in ("x-secret-hop", "keep-alive", "proxy-connection", "upgrade"):
        assert name not in seen, name
    assert seen.get("te", "trailers") == "trailers"


def test_an_upstreams_hop_by_hop_headers_stay_here(proxy):
    response = proxy.get("/echo", headers={"X-Pod-Header": "Keep-Alive: timeout=5, max=100"})
    assert response.header("Keep-Alive") is None
    assert response.header("X-Pod") == "a"


def test_upstream_learns_who_asked(proxy):
    seen = echo_headers(proxy.get("/echo", headers={"traceparent": "00-aa-bb-01"}))
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert seen["x-forwarded-host"] == "test"
    assert seen["via"] == "1.1 nearside (test)"
    assert len(seen["x-request-id"]) >= 8
    assert seen["traceparent"] == "00-aa-bb-01"


def test_a_request_id_is_kept_and_told_to_both_sides(proxy):
    response = proxy.get("/echo", headers={"X-Request-Id": "abc-123"})
    assert response.header("X-Request-Id") == "abc-123"
    assert echo_headers(response)["x-request-id"] == "abc-123"


def test_a_made_request_id_is_the_same_on_both_sides(proxy):
    response = proxy.get("/echo")
    assert response.header("X-Request-Id") == echo_headers(response)["x-request-id"]


def test_the_answer_says_where_it_comes_from(proxy):
    response = proxy.get("/echo")
    assert response.header("Via") == "1.1 nearside"
    assert response.header("X-Nearside-Region") == "near"
    assert response.header("X-Nearside-Attempts") is None


def test_an_upstream_error_is_passed_on_as_it_is(proxy):
    response = proxy.get("/echo", headers={"X-Pod-Status": "418"})
    assert response.status == 418
    assert response.error["code"] == 418


# ---- refusals ----

BAD = [
    ("no version", b"GET /echo\r\n\r\n", 400),
    ("bad version", b"GET /echo HTTP/3.7\r\nHost: a\r\n\r\n", 505),
    ("no host", b"GET /echo HTTP/1.1\r\n\r\n", 400),
    ("two hosts", b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("space before colon", b"GET /echo HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", 400),
    ("folded header", b"GET /echo HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", 400),
    ("two lengths", b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                    b"Content-Length: 2\r\n\r\nx", 400),
    ("bad length", b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    ("length and chunked", b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                           b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("unknown coding", b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
    ("bad chunk", b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"zz\r\n", 400),
    ("null byte", b"GET /echo HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
    ("too many headers", b"GET /echo HTTP/1.1\r\nHost: a\r\n" +
     b"".join(b"X-%d: 1\r\n" % i for i in range(200)) + b"\r\n", 431),
    ("header too large", b"GET /echo HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70000 + b"\r\n\r\n", 431),
    ("target too long", b"GET /echo?" + b"x" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
]


@pytest.mark.parametrize("data,status", [pytest.param(d, s, id=n) for n, d, s in BAD])
def test_a_malformed_request_is_refused_in_openais_shape(proxy, pod, data, status):
    with proxy.connect() as conn:
        conn.send(data)
        response = conn.read_response()
        assert response.status == status, response
        assert response.error["type"] == "invalid_request_error"
        assert response.header("Proxy-Status", "").startswith("nearside")
        assert conn.is_closed_by_peer()
    assert pod.counters()["started"] == 0


def test_nothing_behind_a_refused_request_is_obeyed(proxy, pod):
    with proxy.connect() as conn:
        conn.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /echo/smuggled HTTP/1.1\r\n"
                  b"Host: a\r\n\r\n")
        assert conn.read_response().status == 400
        assert conn.is_closed_by_peer()
    assert pod.counters()["started"] == 0


def test_a_body_over_the_limit_is_413(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], limits={"body_bytes": 100000})
    response = proxy.post("/echo", "x" * 100001)
    assert response.status == 413
    assert "body_bytes" in response.error["message"]
    assert proxy.post("/echo", "x" * 100000).json()["body_length"] == 100000


def test_a_chunked_body_over_the_limit_is_413(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], limits={"body_bytes": 100000})
    with proxy.connect() as conn:
        conn.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        conn.send(b"1ADB0\r\n" + b"x" * 0x1adb0 + b"\r\n0\r\n\r\n")
        response = conn.read_response()
    assert response.status == 413
    assert response.error


def test_a_head_that_comes_too_slowly_is_given_up(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], timeouts={"client_header_ms": 300})
    begun = time.monotonic()
    with proxy.connect() as conn:
        conn.send("GET /echo HTTP/1.1\r\nHost: a\r\n")
        data = conn.read_to_end()
    assert time.monotonic() - begun < 3
    assert data == b"" or data.startswith(b"HTTP/1.1 408")


def test_a_connection_that_stays_idle_is_closed(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], timeouts={"client_idle_ms": 300})
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/echo"))
        assert conn.read_response().status == 200
        assert conn.is_closed_by_peer()


def test_a_body_that_stops_coming_is_given_up(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], timeouts={"request_ms": 300})
    with proxy.connect() as conn:
        conn.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        data = conn.read_to_end()
    assert data == b"" or data.startswith(b"HTTP/1.1 408")


def test_more_connections_than_allowed_are_turned_away(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], limits={"max_connections": 5})
    conns = [proxy.connect() for _ in range(20)]
    proxy.wait_metric("nearside_limit_hits_total", {"limit": "max_connections"})
    assert proxy.metrics().value("nearside_client_connections") <= 5
    for conn in conns:
        conn.close()
    wait_until(lambda: proxy.get("/echo").status == 200, "room again")


# ---- streams ----

def test_each_event_is_passed_on_before_the_next_is_made(proxy):
    """With 40 ms between two tokens, each one arrives on its own and on time."""
    body = answers.chat("tell", stream=True, max_tokens=12)
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", body,
                                    {"X-Pod-Gap-Ms": "40"}))
        head = conn.read_head()
        assert head.header("Content-Type").startswith("text/event-stream")
        events = list(conn.events())
    raw.assert_one_by_one(events, 0.04)
    assert raw.sse_text(event for _, event in events)[:2] == (answers.chat_text(body), True)


@pytest.mark.parametrize("path,body", [
    ("/v1/completions", {"model": "m", "prompt": "x"}),
    ("/v1/messages", {"model": "m", "max_tokens": 5,
                      "messages": [{"role": "user", "content": "x"}]}),
    ("/v1/responses", {"model": "m", "input": "x"}),
    ("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]}),
])
@pytest.mark.parametrize("stream", [False, True])
def test_every_api_passes_byte_for_byte(proxy, pod, path, body, stream):
    def without_ids(data):
        import re
        return re.sub(rb'"created(_at)?":\d+|(msg|resp|cmpl|chatcmpl)[-_][^"]*', b"", data)
    request = {**body, "stream": stream}
    direct = raw.one_request(pod.port, "POST", path, request)
    proxied = proxy.post(path, request)
    assert proxied.status == 200
    assert without_ids(proxied.body) == without_ids(direct.body)
    assert proxied.header("Content-Type") == direct.header("Content-Type")


def test_a_slow_reader_does_not_fill_our_memory(proxy):
    """200 MB to a client that does not read: the pod is held back, not we filled up."""
    before = proxy.process.rss_bytes()
    with proxy.connect(receive_buffer=65536, timeout=30) as conn:
        conn.send(raw.request_bytes("GET", "/bytes/200000000"))
        conn.read_head()
        settled = [proxy.process.rss_bytes()]

        def is_steady():
            settled.append(proxy.process.rss_bytes())
            return len(settled) > 50 and abs(settled[-1] - settled[-30]) < 1024 * 1024
        wait_until(is_steady, "memory to settle")
        assert settled[-1] - before < 16 * 1024 * 1024
        left = 200000000
        while left:
            left -= len(conn.read_exactly(min(left, 1000000)))
        conn.send(raw.request_bytes("GET", "/echo"))
        assert conn.read_response().status == 200


def test_an_upload_to_a_pod_that_does_not_read_does_not_fill_our_memory(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], limits={"buffer_bytes": 1000000,
                                                      "body_bytes": 300000000})
    before = proxy.process.rss_bytes()
    body = b"x" * 20000000
    with proxy.connect(timeout=0.5) as conn:
        pod.freeze()
        with pytest.raises(TimeoutError):
            conn.send(raw.request_bytes("POST", "/echo", body))
            conn.read_head()
        assert proxy.process.rss_bytes() - before < 16 * 1024 * 1024
        pod.thaw()


# ---- clients that leave ----

LEFT_S = 0.2  # 50 ms are promised; the machine may be busy

def leave(proxy, data, after=None):
    conn = proxy.connect()
    conn.send(data)
    if after is not None:
        conn.read_until(after)
    return conn


def test_a_client_that_leaves_while_waiting_is_seen_by_the_pod_at_once(proxy, pod):
    conn = leave(proxy, raw.request_bytes("POST", "/v1/chat/completions", answers.chat("x"),
                                          {"X-Pod-First-Token-Ms": "20000"}))
    pod.wait_counter("active", 1)
    left = time.time()
    conn.close()
    pod.wait_counter("cancelled", 1)
    assert pod.counters()["cancellations"][0]["at_ms"] / 1000 - left < LEFT_S
    assert pod.counters()["cancellations"][0]["phase"] == "waiting"
    proxy.wait_metric("nearside_client_disconnects_total", {"phase": "waiting"})


def test_a_client_that_leaves_a_stream_is_seen_by_the_pod_before_the_next_token(proxy, pod):
    conn = leave(proxy, raw.request_bytes("POST", "/v1/chat/completions",
                                          answers.chat("x", stream=True, max_tokens=1000),
                                          {"X-Pod-Gap-Ms": "5000"}), after=b'"content":"')
    left = time.time()
    conn.close()
    pod.wait_counter("cancelled", 1)
    assert pod.counters()["cancellations"][0]["at_ms"] / 1000 - left < LEFT_S
    assert pod.counters()["cancellations"][0]["phase"] == "streaming"
    proxy.wait_metric("nearside_client_disconnects_total", {"phase": "streaming"})


def test_a_client_that_only_ends_its_side_gets_the_whole_stream(proxy, pod):
    body = answers.chat("x", stream=True, max_tokens=6)
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", body, {"X-Pod-Gap-Ms": "50"}))
        conn.read_head()
        conn.half_close()
        events = [event for _, event in conn.events()]
    text, done, _ = raw.sse_text(event for event in events if not event.startswith(b":"))
    assert done and text == answers.chat_text(body)


def test_a_client_that_resets_a_stream_is_seen_by_the_pod(proxy, pod):
    conn = leave(proxy, raw.request_bytes("POST", "/v1/chat/completions",
                                          answers.chat("x", stream=True, max_tokens=1000),
                                          {"X-Pod-Gap-Ms": "50"}), after=b'"content":"')
    conn.reset()
    pod.wait_counter("cancelled", 1)


@pytest.mark.parametrize("path", ["/echo", "/v1/chat/completions"])
def test_a_client_that_leaves_in_its_body_leaves_nothing_behind(proxy, pod, path):
    conn = leave(proxy, f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{{")
    proxy.wait_metric("nearside_inflight_requests", {"phase": "reading"}, 1)
    conn.close()
    proxy.wait_metric("nearside_client_disconnects_total", {"phase": "reading"})
    wait_until(lambda: pod.counters()["active"] == 0, "no request at the pod")


def test_a_client_that_leaves_the_queue_never_reaches_the_pod(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], limits={"max_inflight_per_endpoint": 1,
                                                      "queue_timeout_ms": 20000})
    slow = raw.request_bytes("POST", "/v1/chat/completions", answers.chat("x"),
                             {"X-Pod-First-Token-Ms": "20000"})
    first = leave(proxy, slow)
    pod.wait_counter("active", 1)
    second = leave(proxy, slow)
    proxy.wait_metric("nearside_inflight_requests", {"phase": "queued"}, 1)
    second.close()
    proxy.wait_metric("nearside_inflight_requests", {"phase": "queued"}, 0)
    proxy.wait_metric("nearside_client_disconnects_total", {"phase": "queued"})
    first.close()
    pod.wait_counter("cancelled", 1)
    assert pod.counters()["started"] == 1
