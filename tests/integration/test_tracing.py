# SPDX-License-Identifier: MIT
"""traceparent through the edge, and one span per request at a real collector."""
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from env import answers, raw
from env.conf import region
from env.waiting import wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


class Collector:
    """An OTLP/HTTP receiver: keeps what comes, answers as told."""

    def __init__(self):
        outer = self
        self.requests = []  # (path, headers, document)
        self.begun = 0  # requests that came, answered or not
        self.status = 200
        self.interims = 0  # 1xx answers before it
        self.hold = threading.Event()
        self.hold.set()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.begun += 1
                outer.hold.wait(20)
                status = outer.status  # before anybody can see that it came, and change it
                outer.requests.append((self.path, dict(self.headers), json.loads(body)))
                self.wfile.write(b"HTTP/1.1 102 Processing\r\n\r\n" * outer.interims)
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def spans(self):
        return [span for _, _, document in self.requests
                for resource in document["resourceSpans"]
                for scope in resource["scopeSpans"] for span in scope["spans"]]

    def wait_spans(self, count, timeout=10.0):
        wait_until(lambda: len(self.spans()) >= count, f"{count} spans", timeout)
        return self.spans()

    def close(self):
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.close()


class Seen:
    """An endpoint that remembers the heads it got."""

    def __init__(self, make_origin):
        self.heads = []
        self.origin = make_origin(self.handle)

    def handle(self, peer, line, headers):
        peer.read_exactly(int(headers.get("content-length", 0)))
        self.heads.append(headers)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True


@pytest.fixture
def seen(make_origin):
    return Seen(make_origin)


def start(make_proxy, endpoint, collector, **more):
    return make_proxy([region("near", endpoint)],
                      tracing={"otlp_url": collector.url, **more})


def attributes(item):
    return {entry["key"]: next(iter(entry["value"].values())) for entry in item["attributes"]}


def test_without_a_collector_everything_passes_as_it_came(make_proxy, seen):
    proxy = make_proxy([region("near", seen.origin)])
    for value in (f"00-{TRACE}-{SPAN}-01", "nonsense"):
        proxy.get("/x", {"traceparent": value, "tracestate": "a=b"})
        assert seen.heads[-1]["traceparent"] == value
        assert seen.heads[-1]["tracestate"] == "a=b"
    proxy.get("/x")
    assert "traceparent" not in seen.heads[-1]
    wait_until(lambda: len(proxy.access_lines()) == 3, "access lines")
    assert [line.get("trace") for line in proxy.access_lines()] == [TRACE, None, None]


def test_a_clients_trace_is_continued(make_proxy, seen, collector):
    proxy = start(make_proxy, seen.origin, collector)
    proxy.get("/x", {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=b"})
    span = collector.wait_spans(1)[0]
    assert (span["traceId"], span["parentSpanId"]) == (TRACE, SPAN)
    assert span["spanId"] != SPAN
    assert seen.heads[-1]["traceparent"] == f"00-{TRACE}-{span['spanId']}-01"
    assert seen.heads[-1]["tracestate"] == "a=b"
    assert proxy.access_lines()[-1]["trace"] == TRACE


@pytest.mark.parametrize("value", [None, "nonsense", f"00-{TRACE}-{'0' * 16}-01",
                                   f"00-{TRACE.upper()}-{SPAN}-01"])
def test_without_a_good_one_a_trace_is_begun(make_proxy, seen, collector, value):
    proxy = start(make_proxy, seen.origin, collector)
    proxy.get("/x", {"traceparent": value, "tracestate": "a=b"} if value else {})
    span = collector.wait_spans(1)[0]
    assert "parentSpanId" not in span and span["traceId"] != TRACE
    assert re.fullmatch("[0-9a-f]{32}", span["traceId"]) and \
        re.fullmatch("[0-9a-f]{16}", span["spanId"])
    assert seen.heads[-1]["traceparent"] == f"00-{span['traceId']}-{span['spanId']}-01"
    assert "tracestate" not in seen.heads[-1]


def test_two_of_them_are_none(make_proxy, seen, collector):
    proxy = start(make_proxy, seen.origin, collector)
    with proxy.connect() as conn:
        conn.send(f"GET /x HTTP/1.1\r\nHost: t\r\ntraceparent: 00-{TRACE}-{SPAN}-01\r\n"
                  f"traceparent: 00-{TRACE[::-1]}-{SPAN}-01\r\n\r\n".encode())
        conn.read_response()
    assert collector.wait_spans(1)[0]["traceId"] not in (TRACE, TRACE[::-1])


def test_a_client_that_wants_no_record_gets_none(make_proxy, seen, collector):
    proxy = start(make_proxy, seen.origin, collector)
    proxy.get("/x", {"traceparent": f"00-{TRACE}-{SPAN}-00"})
    assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-00", seen.heads[-1]["traceparent"])
    proxy.get("/x")
    assert [span["traceId"] != TRACE for span in collector.wait_spans(1)] == [True]


def test_sample_0_records_only_what_clients_ask_for(make_proxy, seen, collector):
    proxy = start(make_proxy, seen.origin, collector, sample=0)
    proxy.get("/x")
    assert seen.heads[-1]["traceparent"].endswith("-00")
    proxy.get("/x", {"traceparent": f"00-{TRACE}-{SPAN}-01"})
    assert [span["traceId"] for span in collector.wait_spans(1)] == [TRACE]


def test_a_span_tells_the_whole_story(make_proxy, make_pod, collector):
    """A dead endpoint first: both attempts are events, in order, within the span's time."""
    dead, alive = make_pod("dead", fault="close-before-response"), make_pod("alive", path_delay_ms=20)
    proxy = make_proxy([region("one", dead), region("two", alive)],
                       tracing={"otlp_url": collector.url + "/custom/path",
                                "authorization": "Bearer secret", "service": "edge"})
    body = answers.chat("x", stream=True)
    response = proxy.chat(body)
    assert response.status == 200
    span = collector.wait_spans(1)[0]
    path, headers, document = collector.requests[0]
    assert path == "/custom/path" and headers["Authorization"] == "Bearer secret"
    assert headers["Content-Type"] == "application/json"
    resource = attributes(document["resourceSpans"][0]["resource"])
    assert resource["service.name"] == "edge" and resource["service.instance.id"] == "test"
    assert span["name"] == "POST /v1/chat/completions" and span["kind"] == 2
    facts = attributes(span)
    assert facts["http.response.status_code"] == "200"
    assert facts["gen_ai.request.model"] == body["model"]
    assert facts["nearside.request_id"] == response.header("X-Request-Id")
    assert (facts["nearside.region"], facts["nearside.reason"]) == ("two", "ok")
    attempts = [event for event in span["events"] if event["name"] == "attempt"]
    assert [attributes(event)["nearside.region"] for event in attempts] == ["one", "two"]
    assert [attributes(event)["nearside.outcome"] for event in attempts] == ["reset", "ok"]
    times = [int(span["startTimeUnixNano"])] + \
        [int(event["timeUnixNano"]) for event in span["events"]] + [int(span["endTimeUnixNano"])]
    assert times == sorted(times)
    assert abs(times[0] / 1e9 - time.time()) < 60
    assert span["status"] == {}


def test_a_failed_request_is_an_error(make_proxy, make_pod, collector):
    pod = make_pod("a", fault="close-before-response")
    proxy = make_proxy([region("one", pod)], tracing={"otlp_url": collector.url})
    assert proxy.get("/nonsense?secret=1").status == 502
    span = collector.wait_spans(1)[0]
    assert span["status"]["code"] == 2
    assert span["name"] == "GET"  # a path that a client made up is no name
    assert attributes(span)["url.path"] == "/nonsense"


def test_a_collector_that_says_later_is_asked_again(make_proxy, seen, collector):
    collector.status = 503
    proxy = start(make_proxy, seen.origin, collector)
    proxy.get("/x")
    wait_until(lambda: collector.requests, "the first try")
    collector.status = 200
    wait_until(lambda: len(collector.requests) >= 2, "the second try")
    assert collector.requests[0][2] == collector.requests[1][2]
    proxy.wait_metric("nearside_trace_spans_total", {"result": "success"}, 1)
    assert proxy.metrics().value("nearside_trace_spans_total", {"result": "failure"}) == 0


def test_a_collector_that_refuses_loses_the_batch(make_proxy, seen, collector):
    collector.status = 400
    proxy = start(make_proxy, seen.origin, collector)
    proxy.get("/x")
    assert "status 400" in json.dumps(proxy.wait_log("trace_dropped"))
    proxy.wait_metric("nearside_trace_spans_total", {"result": "failure"}, 1)


@pytest.mark.parametrize("interims,result", [(8, "success"), (9, "failure")])
def test_so_many_interim_answers_are_read(make_proxy, seen, collector, interims, result):
    collector.interims = interims
    proxy = start(make_proxy, seen.origin, collector)
    proxy.get("/x")
    proxy.wait_metric("nearside_trace_spans_total", {"result": result}, 1)


def test_a_collector_that_hangs_holds_up_no_request(make_proxy, seen, collector):
    """The queue is bounded; what is over is dropped and counted, and clients notice nothing."""
    collector.hold.clear()
    proxy = start(make_proxy, seen.origin, collector, queue_spans=20)
    begun = time.monotonic()
    with proxy.connect() as conn:
        for _ in range(200):
            conn.send(raw.request_bytes("GET", "/x"))
            assert conn.read_response().status == 200
    assert time.monotonic() - begun < 10
    proxy.wait_metric("nearside_trace_spans_total", {"result": "failure"}, 180)
    proxy.wait_metric("nearside_limit_hits_total", {"limit": "trace_queue_spans"}, 180)
    collector.hold.set()
    assert len(collector.wait_spans(20)) == 20
    proxy.wait_metric("nearside_trace_spans_total", {"result": "success"}, 20)


def test_what_has_piled_up_goes_in_many_batches(make_proxy, seen, collector):
    """A collector refuses a body of some megabytes, and then all of it would be lost."""
    proxy = start(make_proxy, seen.origin, collector)
    collector.hold.clear()
    with proxy.connect() as conn:
        for _ in range(1200):
            conn.send(raw.request_bytes("GET", "/x"))
            assert conn.read_response().status == 200
    collector.hold.set()
    collector.wait_spans(1200)
    batches = [len(document["resourceSpans"][0]["scopeSpans"][0]["spans"])
               for _, _, document in collector.requests]
    assert sum(batches) == 1200 and max(batches) <= 512, batches


def test_no_collector_at_all(make_proxy, seen):
    proxy = make_proxy([region("near", seen.origin)],
                       tracing={"otlp_url": "http://127.0.0.1:1", "timeout_ms": 200})
    for _ in range(5):
        assert proxy.get("/x").status == 200


def test_a_reload_begins_and_ends_it(make_proxy, seen, collector):
    proxy = make_proxy([region("near", seen.origin)])
    proxy.reload_ok(tracing={"otlp_url": collector.url})
    proxy.get("/x")
    collector.wait_spans(1)
    proxy.reload_ok(tracing=None)
    proxy.get("/x")
    assert "traceparent" not in seen.heads[-1]


def test_turned_off_while_a_batch_is_under_way_it_is_not_sent_again(make_proxy, seen, collector):
    collector.status = 503
    collector.hold.clear()
    proxy = start(make_proxy, seen.origin, collector)
    proxy.get("/x")
    wait_until(lambda: collector.begun, "the batch")
    proxy.reload_ok(tracing=None)
    collector.hold.set()
    assert "status 503" in json.dumps(proxy.wait_log("trace_dropped"))
    proxy.wait_metric("nearside_trace_spans_total", {"result": "failure"}, 1)


# ---- the access log ----

def test_access_sample_leaves_good_requests_out_and_no_other(make_proxy, seen, make_pod):
    proxy = make_proxy([region("near", seen.origin)], log={"access_sample": 0})
    for _ in range(5):
        assert proxy.get("/x").status == 200
    assert proxy.get("/x", {"X-Nearside-Regions": "nowhere"}).status == 400
    wait_until(proxy.access_lines, "an access line")
    assert [line["status"] for line in proxy.access_lines()] == [400]


def documented_fields():
    from env.processes import TOP
    with open(f"{TOP}/docs/operations.md") as file:
        text = file.read()
    table = text.split("## Access log")[1].split("\n## ")[0]
    return {name for row in re.findall(r"^\| (`.*?) \|", table, re.M)
            for name in re.findall(r"`([a-z_]+)`", row)}


def test_the_access_logs_fields_are_the_documented_ones(make_proxy, make_pod, collector):
    """Requests of every kind together have each field of the page, and no other."""
    dead, pod = make_pod("dead", fault="close-before-response"), make_pod("a", path_delay_ms=20)
    proxy = make_proxy([region("one", dead), region("two", pod)],
                       tracing={"otlp_url": collector.url}, cache={"enabled": True},
                       edge={"trusted_proxies": ["127.0.0.0/8"]})
    proxy.chat(answers.chat("x", stream=True))
    proxy.chat(answers.chat("x"))
    proxy.get("/echo", {"X-Forwarded-For": "203.0.113.7"})
    with proxy.connect() as conn:
        conn.send(b"GET / HTTP/9.9\r\n\r\n")
        conn.read_response()
    wait_until(lambda: len(proxy.access_lines()) == 4, "the access lines")
    written = {key for line in proxy.access_lines() for key in line}
    assert written == documented_fields()
