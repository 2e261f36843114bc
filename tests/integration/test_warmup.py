# SPDX-License-Identifier: MIT
"""Warm before traffic: an endpoint owes answers before it counts as up."""
import json
import threading

import pytest
from env import raw
from env.conf import region
from env.waiting import wait_until

TIMEOUT_S = 10


class ColdPod:
    """Its first prompts take as long as the test says, and answer what it says."""

    def __init__(self, make_origin):
        self.prompts = []  # bodies, warm-ups included
        self.paths = []
        self.is_hot = threading.Event()
        self.status = 200
        self.origin = make_origin(self.handle)

    def handle(self, peer, line, headers):
        body = peer.read_exactly(int(headers.get("content-length", 0)))
        self.paths.append(line.split(" ")[1])
        self.prompts.append(json.loads(body) if body else None)
        self.is_hot.wait(TIMEOUT_S)
        answer = json.dumps({"choices": [{"message": {"content": "x"}}]}).encode()
        peer.send(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" %
                  (self.status, len(answer), answer))
        return True


@pytest.fixture
def cold(make_origin):
    pod = ColdPod(make_origin)
    yield pod
    pod.is_hot.set()


@pytest.fixture
def hot_pod(make_pod):
    return make_pod("hot", path_delay_ms=20)


def endpoint(proxy, name="cold"):
    return proxy.region(name)["endpoints"][0]


def wait_state(proxy, state, name="cold"):
    wait_until(lambda: endpoint(proxy, name)["state"] == state, f"{name} to be {state}")


def start(make_proxy, cold, hot_pod, **warmup):
    return make_proxy([region("cold", cold.origin, warmup={"requests": 2, **warmup}),
                       region("hot", hot_pod)])


def chat(proxy):
    return proxy.chat({"model": "m", "messages": [{"role": "user", "content": "hello"}]})


def test_a_cold_endpoint_gets_no_client_before_its_answers(make_proxy, cold, hot_pod):
    proxy = start(make_proxy, cold, hot_pod)
    wait_state(proxy, "warming")
    assert chat(proxy).header("X-Nearside-Region") == "hot"
    assert proxy.metrics().value("nearside_endpoint_state", {"region": "cold",
                                                             "state": "warming"}) == 1
    cold.is_hot.set()
    wait_state(proxy, "up")
    assert len(cold.prompts) == 2
    assert endpoint(proxy)["weight"] < 1  # slow start
    assert proxy.metrics().value("nearside_warmup_requests_total",
                                 {"region": "cold", "outcome": "ok"}) == 2
    steps = [event["to"] for event in proxy.admin("GET", "/events.json").json()["events"]
             if event["kind"] == "endpoint_state" and event["region"] == "cold"]
    assert steps == ["warming", "up"]


def test_the_prompt_is_what_the_config_says(make_proxy, cold, hot_pod):
    cold.is_hot.set()
    proxy = start(make_proxy, cold, hot_pod, requests=1, path="/v1/completions",
                  body='{"prompt": "a \\"quoted\\" one"}')
    wait_state(proxy, "up")
    assert cold.paths == ["/v1/completions"]
    assert cold.prompts == [{"prompt": 'a "quoted" one'}]


def test_without_a_body_one_token_of_the_regions_model_is_asked(make_proxy, cold):
    cold.is_hot.set()
    proxy = make_proxy([region("cold", cold.origin, models=["llama"], warmup={"requests": 1})])
    wait_state(proxy, "up")
    assert (cold.prompts[0]["model"], cold.prompts[0]["max_tokens"]) == ("llama", 1)


def test_a_failing_prompt_is_sent_again_until_it_is_answered(make_proxy, cold, hot_pod):
    cold.status = 500
    cold.is_hot.set()
    proxy = start(make_proxy, cold, hot_pod)
    proxy.wait_log("warmup_failed", reason="probe_status")
    wait_until(lambda: len(cold.prompts) >= 3, "it to be tried again")
    assert endpoint(proxy)["state"] == "warming"
    assert endpoint(proxy)["reason"] == "probe_status"
    cold.status = 200
    wait_state(proxy, "up")


def test_a_late_answer_is_no_answer(make_proxy, cold, hot_pod):
    proxy = start(make_proxy, cold, hot_pod, timeout_ms=150)
    proxy.wait_log("warmup_failed", reason="probe_timeout")
    assert endpoint(proxy)["state"] == "warming"


def test_a_prompt_that_is_declined_keeps_no_region_out(make_proxy, cold, hot_pod):
    cold.status = 404
    cold.is_hot.set()
    proxy = start(make_proxy, cold, hot_pod)
    assert proxy.wait_log("warmup_declined")["status"] in (404, "404")
    wait_state(proxy, "up")


def test_an_endpoint_that_comes_back_is_warmed_again(make_proxy, make_pod, hot_pod):
    pod = make_pod("cold", path_delay_ms=2)
    proxy = make_proxy([region("cold", pod, models=["m"], warmup={"requests": 2}), region("hot", hot_pod)])
    wait_state(proxy, "up")

    def sent():
        return proxy.metrics().value("nearside_warmup_requests_total",
                                     {"region": "cold", "outcome": "ok"})
    assert sent() == 2
    pod.kill()
    wait_state(proxy, "down")
    pod.start()
    wait_state(proxy, "up")
    assert sent() == 4


def test_an_endpoint_that_dies_while_it_warms_is_down(make_proxy, make_pod, hot_pod):
    pod = make_pod("cold", first_token_ms=20000)
    proxy = make_proxy([region("cold", pod, models=["m"], warmup={"requests": 1}), region("hot", hot_pod)])
    wait_state(proxy, "warming")
    pod.kill()
    wait_state(proxy, "down")


def test_a_region_that_only_warms_serves_when_nothing_else_does(make_proxy, cold):
    proxy = make_proxy([region("cold", cold.origin, warmup={"requests": 1})], wait="listening")
    wait_state(proxy, "warming")
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/hello"))
        wait_until(lambda: "/hello" in cold.paths, "the client's request")
        cold.is_hot.set()
        assert conn.read_response().status == 200


def test_a_reload_that_ends_warm_ups_lets_it_up(make_proxy, cold, hot_pod):
    proxy = start(make_proxy, cold, hot_pod)
    wait_state(proxy, "warming")
    proxy.reload_ok(regions=[region("cold", cold.origin), region("hot", hot_pod)])
    wait_state(proxy, "up")


def test_an_upgrade_warms_nobody_again(make_proxy, generations, cold, hot_pod):
    cold.is_hot.set()
    proxy = start(make_proxy, cold, hot_pod)
    wait_state(proxy, "up")
    generations(proxy).upgrade()
    assert endpoint(proxy)["state"] == "up"
    assert len(cold.prompts) == 2
