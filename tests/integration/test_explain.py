# SPDX-License-Identifier: MIT
"""Why did that request go where it went?"""
import pytest
from env import answers
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
    proxy = make_proxy([region("near", near), region("far", far)], cache={"enabled": True})
    wait_until(lambda: proxy.get("/echo").header("X-Nearside-Region") == "near",
               "requests to go to near")
    return proxy


def explain(proxy, identity):
    """The record appears when the request has ended, a moment after its last byte."""
    def known():
        response = proxy.admin("GET", f"/explain?id={identity}")
        assert response.status == 200, response
        return response.json()
    return wait_until(known, f"an explanation of {identity}")


def verdicts(record):
    return {one["region"]: one["verdict"] for one in record["candidates"]}


def test_the_closest_region_and_why_not_the_other(proxy, near):
    assert proxy.get("/echo", {"X-Request-Id": "closest-1"}).status == 200
    record = explain(proxy, "closest-1")
    assert record["id"] == "closest-1"
    assert record["status"] == 200
    assert record["route"] == {"reason": "closest", "region": "near"}
    assert verdicts(record) == {"near": "chosen", "far": "farther"}
    by_name = {one["region"]: one for one in record["candidates"]}
    assert by_name["near"]["path_latency_ms"] < by_name["far"]["path_latency_ms"]
    assert by_name["near"]["home"] is True
    [attempt] = record["attempts"]
    assert attempt["region"] == "near"
    assert attempt["endpoint"] == f"127.0.0.1:{near.port}"
    assert attempt["outcome"] == "ok"
    assert 0 < attempt["took_ms"] <= record["times"]["total_ms"]


def test_an_id_made_here_is_explained_too(proxy):
    response = proxy.get("/echo")
    assert explain(proxy, response.header("X-Request-Id"))["status"] == 200


def test_a_failover_shows_both_attempts_in_order(proxy, near):
    near.fault("error:500")
    assert proxy.get("/echo", {"X-Request-Id": "moved-1"}).status == 200
    record = explain(proxy, "moved-1")
    assert [(one["region"], one["outcome"]) for one in record["attempts"]] == \
        [("near", "status_5xx"), ("far", "ok")]
    assert verdicts(record)["far"] == "chosen"
    assert verdicts(record)["near"] in ("tried", "down")
    assert record["attempts"][1]["begun_ms"] >= record["attempts"][0]["took_ms"]


def test_a_cache_hit_needed_no_region(proxy):
    body = answers.chat("x")
    assert proxy.chat(body, {"X-Request-Id": "first"}).status == 200
    assert explain(proxy, "first")["cache"] == "miss"
    assert explain(proxy, "first")["model"] == "sim"
    assert proxy.chat(body, {"X-Request-Id": "again"}).status == 200
    record = explain(proxy, "again")
    assert record["cache"] == "hit"
    assert record["route"] is None
    assert record["candidates"] == [] and record["attempts"] == []


def test_a_drained_regions_verdict(proxy):
    assert proxy.admin_post("/regions/near/drain").status == 200
    wait_until(lambda: proxy.get("/echo").header("X-Nearside-Region") == "far", "traffic in far")
    proxy.get("/echo", {"X-Request-Id": "drained-1"})
    record = explain(proxy, "drained-1")
    assert verdicts(record) == {"near": "drained", "far": "chosen"}


def test_a_request_that_nobody_may_serve(proxy):
    assert proxy.admin_post("/regions/near/drain").status == 200
    wait_until(lambda: proxy.get("/echo").header("X-Nearside-Region") == "far", "traffic in far")
    response = proxy.get("/echo", {"X-Request-Id": "nobody-1", "X-Nearside-Regions": "near"})
    assert response.status == 503
    record = explain(proxy, "nobody-1")
    assert record["status"] == 503
    assert record["route"] == {"reason": "no_region", "region": None}
    assert verdicts(record) == {"near": "drained", "far": "not_allowed"}
    assert record["attempts"] == []


def test_the_newest_request_of_an_id_is_told(proxy):
    for status in (200, 404):
        proxy.get("/echo", {"X-Request-Id": "twice", "X-Pod-Status": str(status)})
        wait_until(lambda want=status: explain(proxy, "twice")["status"] == want, "the newest")


def test_an_id_with_odd_characters_is_percent_decoded(proxy):
    proxy.get("/echo", {"X-Request-Id": "a/b+c&d%"})
    assert explain(proxy, "a%2Fb%2Bc%26d%25")["id"] == "a/b+c&d%"


def test_an_unknown_id_is_404(proxy):
    response = proxy.admin("GET", "/explain?id=never-seen")
    assert response.status == 404
    assert response.json()["error"]["code"] == "unknown_request"


def test_without_an_id_it_says_what_is_missing(proxy):
    for path in ("/explain", "/explain?id=", "/explain?x=1"):
        response = proxy.admin("GET", path)
        assert response.status == 400
        assert response.json()["error"]["code"] == "id_missing"
