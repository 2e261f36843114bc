# SPDX-License-Identifier: MIT
"""What /metrics promises: names, form, bounds; and a real Prometheus that reads it."""
import re
import time

import pytest
from env import answers, raw
from env.conf import region
from env.prometheus import ALERTS, Prometheus, promtool

# The contract with users. Names stay; others may join them.
PROMISED = {
    "nearside_requests_total": "counter",
    "nearside_request_duration_seconds": "histogram",
    "nearside_ttft_seconds": "histogram",
    "nearside_upstream_connect_seconds": "histogram",
    "nearside_overhead_seconds": "histogram",
    "nearside_region_path_latency_seconds": "gauge",
    "nearside_region_state": "gauge",
    "nearside_region_near": "gauge",
    "nearside_endpoint_state": "gauge",
    "nearside_pending_requests": "gauge",
    "nearside_inflight_requests": "gauge",
    "nearside_failovers_total": "counter",
    "nearside_failover_duration_seconds": "histogram",
    "nearside_retries_total": "counter",
    "nearside_attempt_outcomes_total": "counter",
    "nearside_cache_requests_total": "counter",
    "nearside_cache_bytes": "gauge",
    "nearside_redis_up": "gauge",
    "nearside_reloads_total": "counter",
    "nearside_config_generation": "gauge",
    "nearside_client_disconnects_total": "counter",
    "nearside_stream_tokens_total": "counter",
    "nearside_limit_hits_total": "counter",
    "nearside_certificate_expiry_seconds": "gauge",
    "llm_pending_requests": "gauge",
    "dcgm_gpu_utilization": "gauge",
    "gen_ai_server_request_duration_seconds": "histogram",
    "gen_ai_server_time_to_first_token_seconds": "histogram",
}


@pytest.fixture
def pods(make_pod):
    return [make_pod("near", path_delay_ms=2), make_pod("far", path_delay_ms=20)]


@pytest.fixture
def proxy(make_proxy, pods):
    return make_proxy([region("near", pods[0]), region("far", pods[1])])


@pytest.fixture
def make_prometheus(tmp_path, make_proxy):
    servers = []

    def make(*proxies, **options):
        targets = [f"127.0.0.1:{proxy.admin_port}" for proxy in proxies]
        servers.append(Prometheus(tmp_path, targets, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def use(proxy):
    """A bit of everything that is counted."""
    assert proxy.chat(answers.chat("a")).status == 200
    assert proxy.chat(answers.chat("b", stream=True)).status == 200
    assert proxy.get("/echo").status == 200
    assert proxy.request("GET", "/echo", headers={"X-Pod-Fault": "status:500"}).status >= 200


def test_every_promised_family_is_there_with_its_type(proxy):
    types = proxy.metrics().types
    assert {name: types.get(name) for name in PROMISED} == PROMISED


def test_promtool_finds_nothing_to_complain_about(proxy):
    promtool("check", "metrics", text=proxy.metrics().text)
    use(proxy)
    promtool("check", "metrics", text=proxy.metrics().text)


def test_histograms_have_bounds_from_a_millisecond_to_ten_minutes(proxy):
    use(proxy)
    text = proxy.metrics().text
    bounds = [float(bound) for bound in re.findall(
        r'nearside_request_duration_seconds_bucket\{region="near",le="([^"]+)"\}', text)]
    assert bounds == sorted(bounds) and bounds[-1] == float("inf")
    assert {0.001, 600.0} <= set(bounds)
    inside = [bound for bound in bounds if 0.001 <= bound <= 600]
    assert all(b <= 3 * a for a, b in zip(inside, inside[1:])), "a gap in which nothing is seen"


def test_the_worker_that_serves_tells_the_cpu_time_it_took(proxy):
    """What saturation is seen by, when all others count from the moment a request is read."""
    def times():
        metrics = proxy.metrics()
        return [metrics.value("nearside_worker_cpu_seconds_total", {"worker": str(worker)})
                for worker in range(2)]

    before = times()
    with proxy.connect() as conn:
        for _ in range(200):
            conn.send(raw.request_bytes("GET", "/echo"))
            assert conn.read_response().status == 200
    used = sorted(after - earlier for after, earlier in zip(times(), before))
    assert used[1] > 200 * 5e-6, "200 requests of one connection"
    assert used[0] < used[1], "the other worker had nothing to do"


def test_nothing_a_client_sends_becomes_a_label(proxy):
    use(proxy)
    before = len(proxy.metrics().samples)
    for i in range(50):
        body = answers.chat(f"prompt {i}", model=f"model-{i}", user=f"user-{i}")
        headers = {"Authorization": f"Bearer key-{i}", "X-Request-Id": f"id-{i}",
                   "X-Nearside-Regions": "near"}
        assert proxy.post(f"/v1/chat/completions?n={i}", body, headers).status == 200
    assert len(proxy.metrics().samples) - before < 10


def test_open_telemetry_names_count_what_a_region_served(proxy):
    ours = {"region": "near", "gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai"}
    name = "gen_ai_server_time_to_first_token_seconds_count"
    use(proxy)
    proxy.wait_metric(name, ours, 2)
    proxy.wait_metric("gen_ai_server_request_duration_seconds_count", ours, 2)
    proxy.wait_metric(name, {}, 2)  # nothing but these: /echo is none of theirs


def test_an_answer_that_begins_within_the_body_took_no_time(make_proxy, make_origin):
    """A body too large to keep is streamed through, and an engine may answer before its end."""
    body = b"x" * 4000

    def handler(peer, *_):
        peer.read_exactly(1000)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n")
        peer.read_exactly(len(body) - 1000)
        peer.send(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        return False
    proxy = make_proxy([region("near", make_origin(handler))], limits={"buffer_bytes": 1000})
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions",
                                    headers={"Content-Length": str(len(body))}) + body[:1000])
        conn.read_until(b"data: a")
        conn.send(body[1000:])
        conn.read_until(b"[DONE]")
    name = "gen_ai_server_time_to_first_token_seconds"
    proxy.wait_metric(f"{name}_count", {"region": "near"}, 1)
    assert proxy.metrics().value(f"{name}_sum", {"region": "near"}) == 0


def test_certificates_tell_when_they_expire(make_proxy, pods, authority):
    soon, later = authority.issue("soon", days=3), authority.issue("later", days=20)
    shown = authority.issue("shown", days=10, purpose="client")
    proxy = make_proxy(
        [region("near", f"https://127.0.0.1:{pods[0].port}",
                tls={"ca": authority.cert, "certificate": shown.cert, "key": shown.key})],
        listeners=[{"bind": "127.0.0.1:0", "tls": [
            {"certificate": later.cert, "key": later.key},
            {"certificate": soon.cert, "key": soon.key}]}], wait="listening")

    def days(kind, name):
        expiry = proxy.metrics().value("nearside_certificate_expiry_seconds",
                                       {"kind": kind, "name": name})
        return round((expiry - time.time()) / 86400)

    assert days("listener", "127.0.0.1:0") == 3
    assert days("region", "near") == 10
    assert proxy.expect_log("certificate_expires", kind="listener")["days"] in (2, 3)


def test_prometheus_scrapes_an_edge(proxy, make_prometheus):
    prometheus = make_prometheus(proxy)
    use(proxy)
    prometheus.wait_query('up{job="nearside"} == 1')
    near = prometheus.wait_query('nearside_requests_total{region="near",class="2xx"} >= 3')
    assert len(near) == 1
    quantile = prometheus.wait_query(
        "histogram_quantile(0.99, sum by (le) (nearside_ttft_seconds_bucket))")
    assert 0 < float(quantile[0]["value"][1]) < 10
    kinds = prometheus.ask("/api/v1/metadata", metric="nearside_ttft_seconds")
    assert kinds["nearside_ttft_seconds"][0]["type"] == "histogram"


def test_a_region_that_fails_raises_the_alert(proxy, pods, make_prometheus):
    prometheus = make_prometheus(proxy, rules=[ALERTS])
    prometheus.wait_query('up{job="nearside"} == 1')
    pods[0].kill()
    proxy.wait_region("near", "down")
    alert = prometheus.wait_alert("NearsideRegionDown", 30)
    assert alert["labels"]["region"] == "near"
    assert "near" in alert["annotations"]["summary"]
