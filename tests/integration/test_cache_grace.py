# SPDX-License-Identifier: MIT
"""Answers past their time: when no region can give one, and only then."""
import json
import re
import threading
import time

import pytest
from env import answers
from env.conf import region
from env.waiting import wait_until

ON = {"enabled": True, "ttl_s": 1, "grace_s": 3600, "redis_timeout_ms": 500}
QUICK = {"cache": ON, "timeouts": {"connect_ms": 300, "first_token_ms": 1000}}


@pytest.fixture
def pod(make_pod):
    return make_pod("a")


@pytest.fixture
def proxy(make_proxy, pod):
    return make_proxy([region("near", pod)], **QUICK)


def ttl_of(response):
    """The seconds in a hit's Cache-Status; None when it is no hit."""
    found = re.match(r"nearside; hit; ttl=(-?\d+)", response.header("Cache-Status") or "")
    return int(found.group(1)) if found else None


def is_stale(response):
    ttl = ttl_of(response)
    return ttl is not None and ttl < 0


def expire(proxy, body):
    """Ask once and wait until that answer is past its time."""
    first = proxy.chat(body)
    assert first.status == 200
    wait_until(lambda: proxy.chat(body, {"Cache-Control": "only-if-cached"}).status == 504,
               "the answer to expire", 4)
    return first


def test_it_answers_when_every_region_is_down(proxy, pod):
    body = answers.chat("x")
    first = expire(proxy, body)
    pod.kill()
    proxy.wait_region("near", "down")
    second = proxy.chat(body)
    assert second.status == 200 and second.body == first.body
    assert is_stale(second)
    assert second.header("Cache-Status").endswith("; detail=memory")
    wait_until(lambda: proxy.access_lines()[-1]["cache"] == "stale", "its access line")
    cache = proxy.status()["cache"]
    assert cache["stale"] == 1 and cache["saved_tokens"] > 0
    assert proxy.metrics().value("nearside_cache_requests_total",
                                 {"tier": "memory", "result": "stale"}) == 1


def test_it_answers_before_anybody_has_noticed_that_the_region_is_down(make_proxy, pod):
    slow_probes = {"interval_ms": 5000, "fast_interval_ms": 5000}
    proxy = make_proxy([region("near", pod)], health=slow_probes, **QUICK)
    body = answers.chat("x")
    first = expire(proxy, body)
    pod.kill()
    second = proxy.chat(body)
    assert second.body == first.body and is_stale(second)


@pytest.mark.parametrize("stream", [False, True])
def test_it_answers_instead_of_the_pods_error(proxy, pod, stream):
    body = answers.chat("x", stream=stream)
    first = expire(proxy, body)
    pod.fault("error:500")
    second = proxy.chat(body)
    assert second.status == 200 and second.body == first.body
    assert is_stale(second)
    pod.heal()


def test_it_answers_in_the_form_that_is_asked_for(proxy, pod):
    plain, stream = answers.chat("x"), answers.chat("x", stream=True)
    expire(proxy, plain)
    pod.kill()
    response = proxy.chat(stream)
    assert is_stale(response)
    assert response.header("Content-Type").startswith("text/event-stream")
    assert response.body.endswith(b"data: [DONE]\n\n")


def test_it_never_answers_while_a_region_can(proxy, pod):
    body = answers.chat("x")
    expire(proxy, body)
    started = pod.counters()["started"]
    response = proxy.chat(body)
    assert response.header("Cache-Status").startswith("nearside; fwd=miss; stored")
    assert pod.counters()["started"] == started + 1
    assert ttl_of(proxy.chat(body)) >= 0  # the new answer


def test_it_never_answers_while_another_region_can(make_proxy, make_pod):
    one, two = make_pod("one"), make_pod("two")
    proxy = make_proxy([region("one", one), region("two", two)], **QUICK)
    body = answers.chat("x")
    expire(proxy, body)
    one.kill()
    response = proxy.chat(body)
    assert response.status == 200 and ttl_of(response) is None
    assert response.header("X-Nearside-Region") == "two"


def test_it_never_answers_a_pods_refusal_of_the_request(proxy, pod):
    body = answers.chat("x")
    expire(proxy, body)
    pod.fault("error:400")
    assert proxy.chat(body).status == 400
    pod.heal()


@pytest.mark.parametrize("control", ["no-cache", "max-age=0", "max-age=1", "only-if-cached"])
def test_it_never_answers_who_asked_for_something_newer(proxy, pod, control):
    body = answers.chat("x")
    expire(proxy, body)
    pod.kill()
    proxy.wait_region("near", "down")
    # A tenth of jitter may end its time before a whole second is over: max-age=1 then still holds.
    wait_until(lambda: proxy.chat(body, {"Cache-Control": control}).status in (502, 503, 504),
               "a refusal")


def test_it_never_answers_what_the_upstream_wants_revalidated(proxy, pod):
    body = answers.chat("x")
    proxy.chat(body, {"X-Pod-Header": "Cache-Control: max-age=1, must-revalidate"})
    pod.kill()
    proxy.wait_region("near", "down")
    wait_until(lambda: proxy.chat(body).status == 503, "an error")


def test_no_grace_no_answer(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], **{**QUICK, "cache": {**ON, "grace_s": 0}})
    body = answers.chat("x")
    expire(proxy, body)
    pod.kill()
    proxy.wait_region("near", "down")
    assert proxy.chat(body).status == 503


def test_grace_ends(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], **{**QUICK, "cache": {**ON, "grace_s": 1}})
    body = answers.chat("x")
    expire(proxy, body)
    pod.kill()
    proxy.wait_region("near", "down")
    wait_until(lambda: proxy.chat(body).status == 503, "the grace to end", 4)


def test_it_answers_from_redis(make_proxy, make_redis, pod):
    redis = make_redis()
    proxy = make_proxy([region("near", pod, redis)], **QUICK)
    wait_until(lambda: proxy.region("near")["redis"]["up"], "redis up")
    body = answers.chat("x")
    first = expire(proxy, body)
    keys = wait_until(lambda: [key for key in redis.keys() if key.startswith("ns3:")], "a key")
    assert 3590 < redis.client.ttl(keys[0]) <= 3602
    proxy.admin_post("/cache/purge")
    pod.kill()
    proxy.wait_region("near", "down")
    second = proxy.chat(body)
    assert second.body == first.body and is_stale(second)
    assert second.header("Cache-Status").endswith("; detail=redis")


def test_it_answers_from_the_redis_of_another_region(make_proxy, make_redis, make_pod):
    """The entry lies where the answer came from; the region asked first is the other one."""
    here, there = make_pod("here"), make_pod("there", path_delay_ms=30)
    regions = [region("here", here, make_redis("r1")), region("there", there, make_redis("r2"))]
    proxy = make_proxy(regions, **QUICK)
    wait_until(lambda: all(proxy.region(name)["redis"]["up"] for name in ("here", "there")),
               "both up")
    body = answers.chat("x")
    limited = proxy.chat(body)  # served, and stored, by one of them
    wait_until(lambda: proxy.chat(body, {"Cache-Control": "only-if-cached"}).status == 504,
               "the answer to expire", 4)
    proxy.wait_metric("nearside_cache_requests_total", {"tier": "redis", "result": "store"})
    proxy.admin_post("/cache/purge")
    here.kill()
    there.kill()
    proxy.wait_region("here", "down")
    proxy.wait_region("there", "down")
    response = proxy.chat(body)
    assert response.body == limited.body and is_stale(response)


def test_one_at_a_time_tries_while_the_others_are_answered_at_once(proxy, pod):
    """Every region is down by its probes, and the pod takes connections but says nothing."""
    body = answers.chat("x")
    expire(proxy, body)
    pod.freeze()
    proxy.wait_region("near", "down")
    results = []

    def one():
        begun = time.monotonic()
        response = proxy.chat(body)
        results.append((time.monotonic() - begun, is_stale(response)))

    attempts = proxy.metrics().value("nearside_attempt_outcomes_total") or 0
    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pod.thaw()
    assert len(results) == 20 and all(stale for _, stale in results)
    slow = [took for took, _ in results if took > 0.6]
    assert len(slow) <= 1, sorted(results)
    assert (proxy.metrics().value("nearside_attempt_outcomes_total") or 0) - attempts <= 3


def test_those_who_wait_are_answered_when_the_first_one_fails(make_proxy, pod):
    slow_probes = {"interval_ms": 5000, "fast_interval_ms": 5000}
    proxy = make_proxy([region("near", pod)], health=slow_probes, retry={"attempts": 1}, **QUICK)
    body = answers.chat("x")
    expire(proxy, body)
    started = pod.counters()["started"]
    pod.fault("hang-requests")
    results = []
    threads = [threading.Thread(target=lambda: results.append(proxy.chat(body)))
               for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(is_stale(response) for response in results), json.dumps(
        [(r.status, r.header("Cache-Status")) for r in results])
    assert pod.counters()["started"] - started <= 1
    pod.heal()


@pytest.mark.parametrize("clients", [1, 5])
def test_it_answers_when_the_time_for_all_attempts_is_over(make_proxy, pod, clients):
    """Those who wait for the first one's attempt run out of time with it."""
    proxy = make_proxy([region("near", pod)], cache=ON, edge={"workers": 1},
                       timeouts={"total_ms": 800, "first_token_ms": 20000})
    body = answers.chat("x")
    first = expire(proxy, body)
    pod.fault("hang-requests")
    results = []
    threads = [threading.Thread(target=lambda: results.append(proxy.chat(body)))
               for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(one.status, one.body) for one in results] == [(200, first.body)] * clients
    assert all(is_stale(one) for one in results)
    pod.fault("none")
    assert proxy.chat(answers.chat("y")).status == 200  # nothing of theirs stands before it


def test_a_region_that_is_back_gives_the_next_answer(proxy, pod):
    body = answers.chat("x")
    expire(proxy, body)
    pod.kill()
    proxy.wait_region("near", "down")
    assert is_stale(proxy.chat(body))
    pod.start()
    proxy.wait_region("near", "up")
    assert proxy.chat(body).header("Cache-Status").startswith("nearside; fwd=miss; stored")
