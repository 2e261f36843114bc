# SPDX-License-Identifier: MIT
"""What pods and GPU exporters say about their load: read, shown, and dropped when it is old."""
import threading

import pytest
from env import answers, raw
from env.conf import region
from env.waiting import wait_until

INTERIM = b"HTTP/1.1 102 Processing\r\n\r\n"
QUICK = {"path": "/metrics", "interval_ms": 100, "timeout_ms": 300}
GPUS = b'DCGM_FI_DEV_GPU_UTIL{gpu="0"} %d\nDCGM_FI_DEV_GPU_UTIL{gpu="1"} %d\n'


class Page:
    """The text that an exporter answers with; change it at will. None: no answer at all."""

    def __init__(self, text=b"", head=b"HTTP/1.1 200 OK\r\n"):
        self.text = text
        self.head = head
        self.asked = 0
        self.hold = threading.Event()

    def __call__(self, peer, line, headers):
        self.asked += 1
        self.line, self.headers = line, headers
        if self.text is None:
            self.hold.wait(20)
            return False
        peer.send(self.head + b"Content-Length: %d\r\n\r\n" % len(self.text) + self.text)
        return False


@pytest.fixture
def pod(make_pod):
    return make_pod("a")


def load_of(proxy, name="near"):
    return proxy.region(name)["load"]


def wait_load(proxy, key, wanted, timeout=10.0):
    wait_until(lambda: load_of(proxy)[key] == wanted, f"load.{key} to be {wanted}", timeout)


def test_pods_pages_tell_what_waits_and_runs_in_the_engines(make_proxy, pod, make_pod):
    other = make_pod("b")
    proxy = make_proxy([region("near", [pod, other])], metrics=QUICK)
    wait_load(proxy, "waiting", 0)
    with raw.Conn(pod.port) as one, raw.Conn(other.port) as two:  # past the edge
        for conn in (one, two):
            conn.send(raw.request_bytes("POST", "/v1/chat/completions", answers.chat("x"),
                                        {"X-Pod-First-Token-Ms": "20000"}))
        wait_load(proxy, "waiting", 2)
        proxy.wait_metric("nearside_engine_waiting_requests", {"region": "near"}, 2)
        proxy.wait_metric("nearside_engine_kv_cache_usage_ratio", {"region": "near"}, 0.01)
        loads = [endpoint["load"] for endpoint in proxy.region("near")["endpoints"]]
        assert [load["waiting"] for load in loads] == [1, 1]
        assert all(load["age_s"] < 1 and load["reason"] == "" for load in loads)
    assert proxy.metrics().value("nearside_load_reads_total",
                                 {"region": "near", "result": "failure"}) == 0


def test_pages_are_not_read_unless_asked_for(make_proxy, pod):
    proxy = make_proxy([region("near", pod)])
    assert load_of(proxy) == {"waiting": None, "running": None, "kv_cache": None, "gpu": None}
    assert proxy.region("near")["endpoints"][0]["load"] is None
    assert not proxy.metrics().find("nearside_engine_waiting_requests")
    assert not proxy.metrics().find("nearside_load_reads_total")


def test_gpu_exporters_are_averaged_over_the_region(make_proxy, make_origin, pod):
    one, two = Page(GPUS % (90, 70)), Page(GPUS % (20, 40))
    exporters = [make_origin(one).url, make_origin(two).url]
    proxy = make_proxy([region("near", pod, exporters=exporters),
                        region("far", pod.url.replace("127.0.0.1", "localhost"))],
                       metrics={**QUICK, "path": ""})
    proxy.wait_metric("dcgm_gpu_utilization", {"region": "near"}, 55)
    assert not proxy.metrics().find("dcgm_gpu_utilization", {"region": "far"})
    assert one.line.startswith("GET /metrics HTTP/1.1")
    one.text = GPUS % (100, 100)
    proxy.wait_metric("dcgm_gpu_utilization", {"region": "near"}, 65)


def test_an_exporter_by_name_is_read_at_each_address(make_proxy, make_origin, pod, dns):
    page = Page(GPUS % (50, 50))
    port = make_origin(page).port
    dns.records["gpus.test"] = ["127.0.0.1"]
    proxy = make_proxy([region("near", pod, exporters=[f"http://gpus.test:{port}"])],
                       metrics={**QUICK, "path": ""}, env=dns.env)
    proxy.wait_metric("dcgm_gpu_utilization", {"region": "near"}, 50)
    assert page.headers["host"] == f"gpus.test:{port}"


def test_figures_that_are_not_renewed_are_dropped(make_proxy, make_origin, pod):
    page = Page(GPUS % (80, 80))
    proxy = make_proxy([region("near", pod, exporters=[make_origin(page).url])],
                       metrics={**QUICK, "path": ""})
    proxy.wait_metric("dcgm_gpu_utilization", {"region": "near"}, 80)
    page.text = None
    wait_until(lambda: not proxy.metrics().find("dcgm_gpu_utilization"), "the figure to go")
    assert load_of(proxy)["gpu"] is None
    assert proxy.expect_log("load_unread", region="near", reason="page_timeout")
    page.text = GPUS % (10, 10)
    page.hold.set()
    proxy.wait_metric("dcgm_gpu_utilization", {"region": "near"}, 10)
    assert proxy.expect_log("load_read", region="near")


@pytest.mark.parametrize("page, reason", [
    (Page(b"<!doctype html>\n<p>hello</p>\n"), "page_malformed"),
    (Page(b"", b"HTTP/1.1 404 Not Found\r\n"), "page_status"),
    (Page(b"x" * 20000 + b" 1\n"), "page_too_long"),
    (Page(b"# filler filler filler filler\n" * 200000), "page_too_long"),
    (Page(b"x 1\n", b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n"), "page_malformed"),
    (Page(b"x 1\n", 9 * INTERIM + b"HTTP/1.1 200 OK\r\n"), "page_malformed"),
], ids=["html", "status", "long line", "long page", "two lengths", "interim answers"])
def test_a_page_that_is_none_is_told_and_does_no_harm(make_proxy, make_origin, pod, page, reason):
    proxy = make_proxy([region("near", pod, exporters=[make_origin(page).url])],
                       metrics={"interval_ms": 100, "timeout_ms": 2000})
    proxy.wait_log("load_unread", reason=reason)
    proxy.wait_metric("nearside_load_reads_total", {"region": "near", "result": "failure"},
                      lambda value: value >= 2)
    assert len(proxy.log("load_unread")) == 1, "told once, not at each reading"
    assert proxy.get("/echo").status == 200
    limit = proxy.metrics().value("nearside_limit_hits_total", {"limit": "metrics_page_bytes"})
    assert (limit > 0) == (reason == "page_too_long")


def test_figures_that_nothing_could_have_are_left_out(make_proxy, make_origin, pod):
    """Not only what is no number: sums of finite ones may be none either."""
    text = b"vllm:num_requests_waiting 1e308\n" * 20 + b"vllm:num_requests_running NaN\n" + \
        b'DCGM_FI_DEV_GPU_UTIL{gpu="0"} 1e307\n' * 20 + b'DCGM_FI_DEV_GPU_UTIL{gpu="1"} 50\n'
    proxy = make_proxy([region("near", pod, exporters=[make_origin(Page(text)).url])],
                       metrics={**QUICK, "path": ""})
    proxy.wait_metric("dcgm_gpu_utilization", {"region": "near"}, 50)
    assert load_of(proxy) == {"waiting": None, "running": None, "kv_cache": None, "gpu": 0.5}


def test_a_page_that_comes_in_chunks_and_pieces_is_whole(make_proxy, make_origin, pod):
    def handler(peer, line, headers):
        text = GPUS % (60, 80)
        peer.send(8 * INTERIM + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(text), 7):
            piece = text[at:at + 7]
            peer.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        peer.send(b"0\r\n\r\n")
        return False

    proxy = make_proxy([region("near", pod, exporters=[make_origin(handler).url])],
                       metrics={**QUICK, "path": ""})
    proxy.wait_metric("dcgm_gpu_utilization", {"region": "near"}, 70)


def test_a_reload_follows_what_is_to_be_read(make_proxy, make_origin, pod):
    page = Page(GPUS % (80, 80))
    exporters = [make_origin(page).url]
    proxy = make_proxy([region("near", pod, exporters=exporters)], metrics=QUICK)
    proxy.wait_metric("dcgm_gpu_utilization", {"region": "near"}, 80)
    proxy.reload_ok(regions=[region("near", pod)], metrics={"path": ""})
    assert not proxy.metrics().find("dcgm_gpu_utilization")
    assert proxy.region("near")["endpoints"][0]["load"] is None
    proxy.reload_ok(regions=[region("near", pod, exporters=exporters)], metrics=QUICK)
    proxy.wait_metric("dcgm_gpu_utilization", {"region": "near"}, 80)
    wait_load(proxy, "waiting", 0)


def test_exporters_speak_tls_where_their_url_says_so(make_proxy, make_pod, authority):
    served = authority.issue("pod")
    pod = make_pod("a", scheme="https", tls_cert=served.cert, tls_key=served.key)
    proxy = make_proxy([region("near", pod, tls={"ca": authority.cert})], metrics=QUICK)
    wait_load(proxy, "waiting", 0)
