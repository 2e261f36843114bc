# SPDX-License-Identifier: MIT
"""The operator's view and controls."""
import re

import pytest
from env import answers, raw
from env.conf import region
from env.waiting import wait_until


@pytest.fixture
def near(make_pod):
    return make_pod("near", path_delay_ms=2)


@pytest.fixture
def far(make_pod):
    return make_pod("far", path_delay_ms=30)


@pytest.fixture
def proxy(make_proxy, near, far):
    proxy = make_proxy([region("near", near), region("far", far)])
    wait_until(lambda: region_of(proxy) == "near", "requests to go to near")
    return proxy


def region_of(proxy):
    return proxy.get("/echo").header("X-Nearside-Region")


def test_healthz_and_readyz(proxy):
    assert proxy.admin("GET", "/healthz").status == 200
    assert proxy.admin("GET", "/readyz").status == 200


def test_not_ready_without_a_region(make_pod, make_proxy):
    pod = make_pod("a", fault="refuse")
    proxy = make_proxy([region("near", pod)], wait="listening")
    proxy.wait_region("near", "down")
    assert proxy.admin("GET", "/readyz").status == 503
    assert proxy.admin("GET", "/healthz").status == 200
    pod.heal()
    proxy.wait_ready()


def test_the_status_page_needs_nothing_from_outside(proxy):
    response = proxy.admin("GET", "/")
    assert response.status == 200
    assert response.header("Content-Type").startswith("text/html")
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", response.text)


def test_status_json_says_what_is_known(proxy):
    status = proxy.status()
    assert status["edge"]["id"] == "test"
    assert status["home"] == "near"
    regions = {one["name"]: one for one in status["regions"]}
    assert regions["near"]["state"] == "up"
    assert regions["near"]["near"] is True
    assert regions["near"]["path_latency_ms"] < regions["far"]["path_latency_ms"]
    assert regions["near"]["pending"] == 0
    assert len(regions["near"]["endpoints"]) == 1


def test_pending_and_in_flight_requests_are_counted(proxy, near):
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions",
                                    answers.chat("x", stream=True, max_tokens=1000),
                                    {"X-Pod-First-Token-Ms": "500", "X-Pod-Gap-Ms": "50"}))
        near.wait_counter("waiting", 1)
        proxy.wait_metric("nearside_pending_requests", {"region": "near"}, 1)
        proxy.wait_metric("nearside_inflight_requests", {"phase": "waiting"}, 1)
        proxy.wait_metric("nearside_inflight_requests", {"phase": "streaming"}, 1)
        proxy.wait_metric("nearside_pending_requests", {"region": "near"}, 0)


FAMILIES = [
    "nearside_requests_total", "nearside_request_duration_seconds_count",
    "nearside_ttft_seconds_count", "nearside_upstream_connect_seconds_count",
    "nearside_overhead_seconds_count", "nearside_region_path_latency_seconds",
    "nearside_region_state", "nearside_region_near", "nearside_endpoint_state",
    "nearside_pending_requests", "nearside_inflight_requests",
    "nearside_attempt_outcomes_total", "nearside_config_generation", "nearside_cache_bytes",
    "nearside_requests_started_total", "nearside_requests_finished_total",
    "llm_pending_requests",
]


def test_the_promised_metrics_are_there(proxy):
    metrics = proxy.metrics()
    missing = [name for name in FAMILIES if not metrics.find(name)]
    assert not missing


def test_metrics_have_types_and_count(proxy):
    proxy.check_populations()  # an answer is read before it is counted
    before = proxy.metrics().value("nearside_requests_total", {"region": "near", "class": "2xx"})
    for _ in range(5):
        proxy.get("/echo")
    proxy.wait_metric("nearside_requests_total", {"region": "near", "class": "2xx"}, before + 5)
    assert proxy.metrics().types["nearside_requests_total"] == "counter"
    assert proxy.metrics().types["nearside_ttft_seconds"] == "histogram"


def test_histograms_are_consistent(proxy):
    for _ in range(5):
        proxy.get("/echo")
    metrics = proxy.metrics()
    name = "nearside_request_duration_seconds"
    assert metrics.value(f"{name}_bucket", {"le": "+Inf"}) == metrics.value(f"{name}_count") >= 5
    assert metrics.value(f"{name}_sum") > 0


def test_draining_a_region_moves_traffic_and_undraining_brings_it_back(proxy):
    assert proxy.admin_post("/regions/near/drain").status in (200, 202, 204)
    wait_until(lambda: region_of(proxy) == "far", "traffic in far")
    assert proxy.region("near")["state"] == "drained"
    assert proxy.admin_post("/regions/near/undrain").status in (200, 202, 204)
    wait_until(lambda: region_of(proxy) == "near", "traffic in near")


def test_a_drain_does_not_cut_a_stream(proxy):
    body = answers.chat("x", stream=True, max_tokens=12)
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", body, {"X-Pod-Gap-Ms": "50"}))
        assert conn.read_head().header("X-Nearside-Region") == "near"
        proxy.admin_post("/regions/near/drain")
        assert raw.sse_text(event for _, event in conn.events())[:2] == \
            (answers.chat_text(body), True)


def test_draining_one_endpoint(make_pod, make_proxy):
    pods = [make_pod(name) for name in "ab"]
    proxy = make_proxy([region("near", pods)])
    address = f"127.0.0.1:{pods[0].port}"
    assert proxy.admin_post(f"/endpoints/{address}/drain").status in (200, 202, 204)
    wait_until(lambda: {proxy.get("/echo").header("X-Pod") for _ in range(6)} == {"b"},
               "traffic on b alone")
    assert proxy.admin_post(f"/endpoints/{address}/undrain").status in (200, 202, 204)
    wait_until(lambda: {proxy.get("/echo").header("X-Pod") for _ in range(6)} == {"a", "b"},
               "traffic on both")


def test_draining_what_is_not_there_is_404(proxy):
    assert proxy.admin_post("/regions/atlantis/drain").status == 404


def test_reading_does_not_change(proxy):
    assert proxy.admin("GET", "/regions/near/drain").status in (404, 405)
    assert region_of(proxy) == "near"


def test_posts_need_the_token(make_proxy, near, far):
    proxy = make_proxy([region("near", near), region("far", far)], admin={"token": "tops3cret"})
    assert proxy.admin_post("/regions/near/drain").status == 401
    assert proxy.admin_post("/regions/near/drain",
                            {"Authorization": "Bearer wrong"}).status in (401, 403)
    assert proxy.admin_post("/regions/near/drain",
                            {"Authorization": "Bearer tops3cret"}).status in (200, 202, 204)


def test_posts_from_a_web_page_are_refused(proxy):
    """A browser that is made to post here says where it comes from, or asks for another host."""
    assert proxy.admin_post("/regions/near/drain",
                            {"Origin": "http://evil.example"}).status == 403
    assert proxy.admin_post("/regions/near/drain", {"Host": "evil.example"}).status == 403
    assert region_of(proxy) == "near"


def test_config_hides_secrets(make_proxy, near):
    proxy = make_proxy([region("near", near)], admin={"token": "tops3cret"})
    response = proxy.admin("GET", "/config")
    assert response.status == 200
    assert "tops3cret" not in response.text
    assert "latency_budget_ms" in response.text


def test_events_tell_state_changes(proxy, near):
    near.kill()
    proxy.wait_region("near", "down")
    text = proxy.admin("GET", "/events.json").text
    assert "near" in text and "down" in text


def test_an_unknown_path_is_404(proxy):
    assert proxy.admin("GET", "/nothing").status == 404


def test_the_access_log_has_a_line_per_request(proxy):
    proxy.get("/echo/logged?x=1", headers={"X-Request-Id": "log-me"})

    def line():
        return [one for one in proxy.access_lines() if "log-me" in str(one)]
    [entry] = wait_until(line, "an access line")
    assert "near" in str(entry)
    assert "200" in str(entry)
