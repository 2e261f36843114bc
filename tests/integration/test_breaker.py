# SPDX-License-Identifier: MIT
"""Pods whose health page is fine while requests fail."""
import pytest
from env import answers
from env.conf import region
from env.waiting import wait_until


@pytest.fixture
def near(make_pod):
    return make_pod("near", path_delay_ms=5)


@pytest.fixture
def far(make_pod):
    return make_pod("far", path_delay_ms=30)


def served(proxy):
    return proxy.get("/echo").header("X-Nearside-Region")


def wait_for_home(proxy, name):
    wait_until(lambda: served(proxy) == name, f"requests to go to {name}")


def put_aside(proxy, near):
    """Let near fail until its breaker opens; the condition is returned."""
    wait_for_home(proxy, "near")
    near.fault("error:500")

    def is_put_aside():
        assert proxy.get("/echo").status == 200
        return proxy.region("near")["breaker"] == "open"
    wait_until(is_put_aside, "near to be put aside")
    return is_put_aside


def test_a_region_that_fails_requests_is_put_aside_and_comes_back(make_proxy, near, far):
    proxy = make_proxy([region("near", near), region("far", far)])
    is_put_aside = put_aside(proxy, near)
    assert proxy.region("near")["state"] == "up"
    assert proxy.region("near")["usable"] is False
    assert proxy.get("/echo").header("X-Nearside-Attempts") is None  # one was enough

    # Trials fail, and cost no client anything.
    wait_until(lambda: proxy.region("near")["breaker"] == "trial", "a trial")
    wait_until(is_put_aside, "the trial to fail")

    near.heal()

    def has_returned():
        assert proxy.get("/echo").status == 200
        return proxy.region("near")["breaker"] == "closed"
    wait_until(has_returned, "near to return", timeout=20)
    wait_for_home(proxy, "near")


@pytest.mark.parametrize("fault", ["refuse", "error:500", "close-before-response"])
def test_when_the_only_one_left_fails_those_put_aside_are_asked(make_proxy, near, far, fault):
    proxy = make_proxy([region("near", near), region("far", far)])
    put_aside(proxy, near)
    near.heal()
    far.fault(fault)
    response = proxy.get("/echo")
    assert (response.status, response.header("X-Nearside-Region")) == (200, "near")


def test_a_bad_pod_is_put_aside_while_its_region_serves(make_pod, make_proxy):
    pods = [make_pod(name) for name in "abc"]
    proxy = make_proxy([region("near", pods)], routing={"balance": "round_robin"})
    wait_until(lambda: {proxy.get("/echo").header("X-Pod") for _ in range(9)} == set("abc"),
               "all pods to be used")
    pods[0].fault("close-before-response")

    def is_put_aside():
        assert proxy.get("/echo").status == 200
        breakers = [endpoint["breaker"] for endpoint in proxy.region("near")["endpoints"]]
        return breakers.count("open") == 1
    wait_until(is_put_aside, "a to be put aside")
    assert proxy.region("near")["breaker"] == "closed"
    pods[0].heal()
    wait_until(lambda: proxy.get("/echo").header("X-Pod") == "a", "a to serve again", timeout=20)


def test_a_hung_engine_is_found_without_traffic(make_proxy, near, far):
    generate = {"model": "tiny", "interval_s": 1, "timeout_ms": 200}
    proxy = make_proxy([region("near", near), region("far", far)], health={"generate": generate})
    wait_for_home(proxy, "near")
    near.fault("hang-requests")
    proxy.wait_region("near", "down", timeout=10)
    assert proxy.region("near")["endpoints"][0]["reason"] == "probe_generate"
    assert proxy.chat(answers.chat("x")).header("X-Nearside-Region") == "far"
    near.heal()
    proxy.wait_region("near", "up", timeout=10)


def test_a_single_region_is_never_shut_out_by_its_breaker(make_proxy, near):
    proxy = make_proxy([region("near", near)])
    wait_for_home(proxy, "near")
    near.fault("error:500")
    for _ in range(20):
        assert proxy.get("/echo").status == 500
    near.heal()
    assert proxy.get("/echo").status == 200
