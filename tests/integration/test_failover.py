# SPDX-License-Identifier: MIT
"""Which region serves, and what clients see when one fails."""
import json
import time

import pytest
from env import answers, raw
from env.conf import region
from env.waiting import wait_until

STREAM_GAP = {"X-Pod-Gap-Ms": "50"}


@pytest.fixture
def near(make_pod):
    return make_pod("near", path_delay_ms=5)


@pytest.fixture
def far(make_pod):
    return make_pod("far", path_delay_ms=40)


@pytest.fixture
def proxy(make_proxy, near, far):
    proxy = make_proxy([region("far", far), region("near", near)])
    wait_for_home(proxy, "near")
    return proxy


def wait_for_home(proxy, name):
    """Wait until latency has been measured and requests go to `name`."""
    wait_until(lambda: proxy.get("/echo").header("X-Nearside-Region") == name,
               f"requests to go to {name}")


def served_by(proxy, count=10):
    return {proxy.get("/echo").header("X-Nearside-Region") for _ in range(count)}


# ---- choosing ----

def test_the_closest_region_serves(proxy):
    assert served_by(proxy, 30) == {"near"}


def test_latency_is_measured_to_within_a_few_milliseconds(proxy):
    for name, simulated in (("near", 5), ("far", 40)):
        wait_until(lambda n=name, s=simulated:
                   s - 1 <= proxy.region(n)["path_latency_ms"] <= s * 1.3 + 4,
                   f"latency of {name}")


def test_model_time_is_not_distance(make_pod, make_proxy):
    """A pod that is close but slow to think stays the closest."""
    close = make_pod("close", path_delay_ms=2, first_token_ms=150)
    quick = make_pod("quick", path_delay_ms=30)
    proxy = make_proxy([region("close", close), region("quick", quick)])
    wait_for_home(proxy, "close")
    for index in range(10):
        response = proxy.chat(answers.chat(f"p{index}"))
        assert response.header("X-Nearside-Region") == "close"


def test_a_region_over_the_budget_serves_when_it_is_the_only_one(make_pod, make_proxy):
    pod = make_pod("away", path_delay_ms=80)
    proxy = make_proxy([region("away", pod)])
    wait_until(lambda: proxy.region("away")["near"] is False, "the region to be far")
    assert proxy.get("/echo").status == 200
    proxy.wait_metric("nearside_far_requests_total", {"region": "away"})


def test_requests_are_spread_over_a_regions_pods(make_pod, make_proxy):
    pods = [make_pod(name) for name in "abc"]
    proxy = make_proxy([region("near", pods)], routing={"balance": "round_robin"})
    wait_until(lambda: len({proxy.get("/echo").header("X-Pod") for _ in range(9)}) == 3,
               "all pods to be used")


def test_least_pending_avoids_a_busy_pod(make_pod, make_proxy):
    pods = [make_pod(name) for name in "ab"]
    proxy = make_proxy([region("near", pods)], edge={"workers": 1})
    wait_until(lambda: {proxy.get("/echo").header("X-Pod") for _ in range(10)} == {"a", "b"},
               "both pods to be used")
    with proxy.connect() as busy:
        busy.send(raw.request_bytes("GET", "/echo", headers={"X-Pod-First-Token-Ms": "1500"}))
        wait_until(lambda: sum(pod.counters()["active"] for pod in pods) == 1, "one busy pod")
        held = next(pod.name for pod in pods if pod.counters()["active"])
        others = {proxy.get("/echo").header("X-Pod") for _ in range(10)}
        assert held not in others
        assert busy.read_response().status == 200


def test_a_client_can_limit_the_regions(proxy):
    for wanted in ("far", "near"):
        response = proxy.get("/echo", headers={"X-Nearside-Regions": wanted})
        assert response.header("X-Nearside-Region") == wanted


def test_a_limit_to_regions_that_do_not_exist_is_400(proxy):
    response = proxy.get("/echo", headers={"X-Nearside-Regions": "atlantis"})
    assert response.status == 400
    assert response.error["code"] == "unknown_region"


def test_a_limit_to_no_usable_region_is_503(proxy):
    assert proxy.admin_post("/regions/near/drain").status == 200
    wait_until(lambda: proxy.region("near")["drained"], "the drain")
    response = proxy.get("/echo", headers={"X-Nearside-Regions": "near"})
    assert response.status == 503
    assert response.header("Retry-After")
    assert response.error["code"] == "no_region"


def test_a_region_serves_only_its_models(make_proxy, near, far):
    proxy = make_proxy([region("near", near, models=["small"]),
                        region("far", far, models=["large"])])
    wait_until(lambda: proxy.region("far")["state"] == "up", "far to be up")
    for model, name in (("small", "near"), ("large", "far")):
        response = proxy.chat(answers.chat("x", model=model))
        assert response.header("X-Nearside-Region") == name
    response = proxy.chat(answers.chat("x", model="unheard-of"))
    assert response.status in (404, 503)


# ---- failing ----

def test_a_kept_connection_that_ends_is_no_missed_probe(make_proxy, make_origin):
    """Servers close idle connections, also those on which they said that they are not ready yet."""
    peers = []

    def handle(peer, line, headers):
        peers.append(peer)
        if len(peers) == 1:
            peer.send(b"HTTP/1.1 503 Loading\r\nContent-Length: 0\r\n\r\n")
        elif peer is peers[0]:
            return False
        else:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True
    proxy = make_proxy([region("near", make_origin(handle), health={"path": "/ready"})])
    assert not proxy.log("endpoint_down"), "one miss, where two are needed"


def test_a_refusing_pod_is_not_seen_by_clients(proxy, near):
    near.fault("refuse")
    response = proxy.get("/echo")
    assert response.status == 200
    assert response.header("X-Nearside-Region") == "far"
    proxy.wait_region("near", "down")


def test_a_retry_goes_to_another_pod_of_the_same_region_first(make_pod, make_proxy):
    pods = [make_pod(name) for name in "ab"]
    other = make_pod("other", path_delay_ms=30)
    proxy = make_proxy([region("near", pods), region("other", other)],
                       routing={"balance": "round_robin"})
    wait_for_home(proxy, "near")
    pods[0].fault("close-before-response")
    elsewhere = other.counters()["started"]

    def is_retried():
        response = proxy.get("/echo")
        assert (response.status, response.header("X-Pod")) == (200, "b")
        return response.header("X-Nearside-Attempts") == "2"
    wait_until(is_retried, "a request that was given to pod a first")
    assert other.counters()["started"] == elsewhere


def test_attempts_are_told(proxy, near):
    near.fault("error:503")
    response = proxy.get("/echo")
    assert response.status == 200
    assert response.header("X-Nearside-Attempts") == "2"
    metrics = proxy.metrics()
    assert metrics.value("nearside_retries_total", {"region": "far"}) >= 1
    assert metrics.value("nearside_attempt_outcomes_total",
                         {"region": "near", "outcome": "status_5xx"}) >= 1


@pytest.mark.parametrize("fault", ["error:500", "error:502", "error:503", "full", "full503",
                                   "malformed", "close-before-response", "refuse"])
def test_each_early_failure_moves_the_request(proxy, near, fault):
    near.fault(fault)
    body = answers.chat("x", stream=True)
    response = proxy.chat(body)
    assert response.status == 200, response
    assert response.header("X-Nearside-Region") == "far"
    assert raw.sse_text(response.body.split(b"\n\n"))[:2] == (answers.chat_text(body), True)


def test_headers_alone_commit_to_nothing(make_proxy, near, far):
    """A pod that sends a head and then nothing: the request still moves."""
    proxy = make_proxy([region("near", near), region("far", far)],
                       timeouts={"first_token_ms": 400})
    wait_for_home(proxy, "near")
    near.fault("headers-then-silence")
    response = proxy.chat(answers.chat("x", stream=True))
    assert (response.status, response.header("X-Nearside-Region")) == (200, "far")


def test_a_hung_engine_behind_a_healthy_port_costs_one_timeout(make_proxy, near, far):
    proxy = make_proxy([region("near", near), region("far", far)],
                       timeouts={"first_token_ms": 400})
    wait_for_home(proxy, "near")
    near.fault("hang-requests")
    begun = time.monotonic()
    response = proxy.chat(answers.chat("x"))
    assert (response.status, response.header("X-Nearside-Region")) == (200, "far")
    assert time.monotonic() - begun < 2


def test_a_4xx_is_the_clients_own(proxy, near):
    for _ in range(20):
        assert proxy.get("/echo", headers={"X-Pod-Status": "404"}).status == 404
    assert proxy.region("near")["state"] == "up"
    assert served_by(proxy) == {"near"}


def test_a_full_region_is_not_a_broken_one(proxy, near):
    near.fault("full")
    for _ in range(10):
        assert proxy.get("/echo").header("X-Nearside-Region") == "far"
    assert proxy.region("near")["state"] == "up"


def test_waiting_requests_leave_a_vanished_region(proxy, near, far):
    """The pods stop answering while requests wait: these move when the region is found down."""
    conns = []
    for index in range(8):
        conn = proxy.connect(timeout=20)
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", answers.chat(f"w{index}"),
                                    {"X-Pod-First-Token-Ms": "3000"}))
        conns.append(conn)
    wait_until(lambda: near.counters()["active"] == 8, "all to wait in near")
    begun = time.monotonic()
    near.freeze()
    far.control()
    for conn in conns:
        response = conn.read_response()
        assert (response.status, response.header("X-Nearside-Region")) == (200, "far")
        conn.close()
    assert time.monotonic() - begun < 3 + 5
    near.thaw()


def test_new_requests_leave_a_vanished_region_within_five_seconds(make_proxy, near, far):
    """With the default health settings."""
    proxy = make_proxy([region("near", near), region("far", far)], health=None)
    wait_for_home(proxy, "near")
    near.freeze()
    begun = time.monotonic()
    proxy.wait_region("near", "down", timeout=6)
    assert time.monotonic() - begun < 5
    assert served_by(proxy) == {"far"}
    near.thaw()
    wait_for_home(proxy, "near")


def test_traffic_returns_when_the_region_does(proxy, near):
    near.kill()
    proxy.wait_region("near", "down")
    assert served_by(proxy) == {"far"}
    near.start()
    proxy.wait_region("near", "up")
    wait_for_home(proxy, "near")


def test_a_failover_is_logged_and_counted(proxy, near):
    near.kill()
    assert proxy.get("/echo").status == 200
    proxy.wait_region("near", "down")
    proxy.wait_metric("nearside_failovers_total", {"from": "near", "to": "far"})
    assert proxy.log("endpoint_down") or proxy.log("region_down")


def test_with_every_region_down_the_answer_is_an_error_that_says_so(proxy, near, far):
    near.kill()
    far.kill()
    proxy.wait_region("near", "down")
    proxy.wait_region("far", "down")
    response = proxy.get("/echo")
    assert response.status in (502, 503)
    assert "region" in response.error["message"]
    assert response.header("Proxy-Status", "").startswith("nearside")


def test_with_every_region_down_the_least_bad_one_is_tried(make_pod, make_proxy):
    """Its probes fail, its requests work: clients are served."""
    pod = make_pod("a")
    proxy = make_proxy([region("near", pod)])
    pod.control(fault="slow-health:3000")
    proxy.wait_region("near", "down")
    assert proxy.get("/echo").status == 200
    proxy.wait_metric("nearside_panic_requests_total", {"region": "near"})


# ---- after the commit point ----

@pytest.mark.parametrize("fault", ["cut:3", "reset:3"])
def test_a_cut_stream_ends_with_an_error_event_and_uncleanly(proxy, near, fault):
    near.fault(fault)
    body = answers.chat("x", stream=True, max_tokens=10)
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", body, STREAM_GAP))
        assert conn.read_head().header("X-Nearside-Region") == "near"
        events = []
        with pytest.raises(raw.Closed):
            for _, event in conn.events():
                events.append(event)
    text, done, _ = raw.sse_text(e for e in events if b'"error"' not in e)
    assert not done
    assert answers.chat_text(body).startswith(text) and len(text.split()) == 3
    assert b'"error"' in events[-1], events[-1]
    data = next(line for line in events[-1].split(b"\n") if line.startswith(b"data: "))
    assert json.loads(data[6:])["error"]["message"]
    proxy.wait_metric("nearside_streams_cut_total", {"region": "near"})


def test_a_cut_plain_answer_is_never_a_whole_one(proxy, near):
    near.fault("cut:1")
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/bytes/1000000"))
        conn.read_head()
        with pytest.raises(raw.Closed):
            conn.read_exactly(1000000)


def test_a_stream_that_falls_silent_is_given_up(make_proxy, near, far):
    proxy = make_proxy([region("near", near), region("far", far)], timeouts={"idle_ms": 400})
    wait_for_home(proxy, "near")
    near.fault("stall:2")
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions",
                                    answers.chat("x", stream=True), STREAM_GAP))
        conn.read_head()
        events = []
        with pytest.raises(raw.Closed):
            for _, event in conn.events():
                events.append(event)
    assert b'"error"' in events[-1]
    near.wait_counter("cancelled", 1)


# ---- bounds ----

def test_attempts_are_bounded(make_pod, make_proxy):
    pods = [make_pod(f"p{index}") for index in range(6)]
    proxy = make_proxy([region("near", pods)], retry={"attempts": 3})
    for pod in pods:
        pod.fault("error:500")
    response = proxy.get("/echo")
    assert response.status in (500, 502)
    assert sum(pod.counters()["started"] for pod in pods) == 3


def test_retries_are_a_share_of_traffic(make_pod, make_proxy):
    pods = [make_pod(f"p{index}") for index in range(4)]
    proxy = make_proxy([region("near", pods)], retry={"budget_ratio": 0.1, "budget_min_per_s": 0})
    for pod in pods:
        pod.fault("error:503")
    for _ in range(100):
        proxy.get("/echo")
    tried = sum(pod.counters()["started"] for pod in pods)
    assert 100 <= tried <= 130
    assert proxy.metrics().value("nearside_limit_hits_total", {"limit": "retry_budget"}) > 0


def test_the_whole_request_has_one_deadline(make_proxy, near, far):
    proxy = make_proxy([region("near", near), region("far", far)], timeouts={"total_ms": 500})
    wait_for_home(proxy, "near")
    begun = time.monotonic()
    response = proxy.get("/echo", headers={"X-Pod-First-Token-Ms": "10000"})
    assert response.status == 504
    assert time.monotonic() - begun < 2


def test_a_full_queue_is_429_with_retry_after(make_pod, make_proxy):
    pod = make_pod("a")
    proxy = make_proxy([region("near", pod)], edge={"workers": 1}, limits={
        "max_inflight_per_endpoint": 1, "queue_length": 1, "queue_timeout_ms": 20000})
    slow = raw.request_bytes("GET", "/echo", headers={"X-Pod-First-Token-Ms": "1500"})
    with proxy.connect() as first, proxy.connect() as second:
        first.send(slow)
        pod.wait_counter("active", 1)
        second.send(slow)
        proxy.wait_metric("nearside_inflight_requests", {"phase": "queued"}, 1)
        response = proxy.get("/echo")
        assert response.status == 429
        assert int(response.header("Retry-After")) >= 1
        assert response.error["type"] == "rate_limit_error"
        assert first.read_response().status == 200
        assert second.read_response().status == 200
    assert proxy.metrics().value("nearside_limit_hits_total", {"limit": "queue_length"}) == 1


def test_a_queued_request_gives_up_in_time(make_pod, make_proxy):
    pod = make_pod("a")
    proxy = make_proxy([region("near", pod)], limits={"max_inflight_per_endpoint": 1,
                                                      "queue_timeout_ms": 300})
    with proxy.connect() as first:
        first.send(raw.request_bytes("GET", "/echo", headers={"X-Pod-First-Token-Ms": "2000"}))
        pod.wait_counter("active", 1)
        begun = time.monotonic()
        response = proxy.get("/echo")
        assert (response.status, response.error["code"]) == (429, "overloaded")
        assert response.header("Retry-After")
        assert time.monotonic() - begun < 1.5
        assert first.read_response().status == 200
    for limit in ("max_inflight_per_endpoint", "queue_timeout_ms"):
        assert proxy.metrics().value("nearside_limit_hits_total", {"limit": limit}) == 1


def test_a_full_region_spills_to_the_next(make_proxy, near, far):
    proxy = make_proxy([region("near", near), region("far", far)],
                       limits={"max_inflight_per_endpoint": 1, "queue_timeout_ms": 10000})
    wait_for_home(proxy, "near")
    with proxy.connect() as busy:
        busy.send(raw.request_bytes("GET", "/echo", headers={"X-Pod-First-Token-Ms": "3000"}))
        near.wait_counter("active", 1)
        response = proxy.get("/echo")
        assert (response.status, response.header("X-Nearside-Region")) == (200, "far")
        assert busy.read_response().status == 200
