# SPDX-License-Identifier: MIT
"""Two hundred clients, one fault at a time: none of them may notice.

Plain requests only where a fault kills streams under way: an answer that has begun cannot be
un-said (see test_failover for how it ends)."""
import os

import pytest
from env.conf import region
from env.waiting import wait_until

CLIENTS = 200


@pytest.fixture
def pods(make_pod):
    return {name: make_pod(name, path_delay_ms=delay, first_token_ms=20, token_gap_ms=5)
            for name, delay in (("near-1", 2), ("near-2", 2), ("far-1", 20), ("far-2", 20))}


@pytest.fixture
def redis(make_redis):
    return make_redis()


@pytest.fixture
def proxy(make_proxy, pods, redis):
    proxy = make_proxy([region("near", [pods["near-1"], pods["near-2"]], redis),
                        region("far", [pods["far-1"], pods["far-2"]], redis)],
                       cache={"enabled": True})
    wait_until(lambda: proxy.get("/echo").header("X-Nearside-Region") == "near", "home")
    return proxy


def record(request, load):
    """One row of docs/measurements.md, when LOAD_RECORD names a file."""
    if "LOAD_RECORD" in os.environ:
        streamed = sum(1 for done in load.done if done[3])
        with open(os.environ["LOAD_RECORD"], "a") as file:
            file.write(f"| {request.node.name[5:].replace('_', ' ')} | {load.clients} | {load.count} | "
                       f"{streamed} | {len(load.failures)} |\n")


@pytest.fixture
def load(request, proxy, make_load):
    with make_load(proxy, clients=CLIENTS, pause_s=0.05) as load:
        load.wait_count(CLIENTS)
        yield load
    record(request, load)
    load.assert_no_failures(at_least=2 * CLIENTS)


@pytest.fixture
def plain_load(request, proxy, make_load):
    with make_load(proxy, clients=CLIENTS, pause_s=0.05, stream=False) as load:
        load.wait_count(CLIENTS)
        yield load
    record(request, load)
    load.assert_no_failures(at_least=2 * CLIENTS)


def test_a_pod_is_killed(plain_load, pods):
    pods["near-1"].kill()
    plain_load.wait_count(2 * CLIENTS)
    pods["near-1"].start()
    plain_load.wait_count(2 * CLIENTS)


def test_a_region_is_killed(plain_load, proxy, pods):
    for name in ("near-1", "near-2"):
        pods[name].kill()
    proxy.wait_region("near", "down")
    plain_load.wait_count(2 * CLIENTS)
    for name in ("near-1", "near-2"):
        pods[name].start()
    proxy.wait_region("near", "up")
    plain_load.wait_count(2 * CLIENTS)


def test_a_region_vanishes(plain_load, proxy, pods):
    """SIGSTOP: packets are taken, nothing is answered."""
    for name in ("near-1", "near-2"):
        pods[name].freeze()
    proxy.wait_region("near", "down")
    plain_load.wait_count(2 * CLIENTS)
    for name in ("near-1", "near-2"):
        pods[name].thaw()


def test_twenty_reloads_of_which_five_are_bad(load, proxy):
    proxy.allow_errors("reload_failed")
    good = open(proxy.conf_path).read()
    for index in range(20):
        is_bad = index % 4 == 3
        result = "failure" if is_bad else "success"
        before = proxy.metrics().value("nearside_reloads_total", {"result": result})
        proxy.write_conf(good + ("nonsense = 1;" if is_bad else ""))
        proxy.reload()
        proxy.wait_metric("nearside_reloads_total", {"result": result},
                          lambda value, b=before: value > b)
        load.wait_count(20)


def test_a_region_is_drained_and_undrained(load, proxy):
    proxy.admin_post("/regions/near/drain")
    wait_until(lambda: proxy.region("near")["state"] == "drained", "the drain")
    load.wait_count(2 * CLIENTS)
    proxy.admin_post("/regions/near/undrain")
    load.wait_count(2 * CLIENTS)


def test_redis_is_killed(load, redis):
    redis.kill()
    load.wait_count(3 * CLIENTS)
    redis.start()
    load.wait_count(CLIENTS)


def test_redis_is_frozen(load, redis):
    redis.freeze()
    load.wait_count(3 * CLIENTS)
    redis.thaw()
    load.wait_count(CLIENTS)


def test_pods_close_idle_connections_all_the_time(make_pod, make_proxy, make_load):
    pods = [make_pod(name, close_after=3) for name in "ab"]
    proxy = make_proxy([region("near", pods)])
    with make_load(proxy, clients=50) as load:
        load.wait_count(500)
    load.assert_no_failures(at_least=500)
