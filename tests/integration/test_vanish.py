# SPDX-License-Identifier: MIT
"""A region that is really far away really vanishes: packets are dropped, nobody is told."""
import time

import pytest
from env.conf import region
from env.proxy import Proxy
from env.waiting import wait_until
from env.wan import Wan, require_wan
from env.wan_load import WanLoad
from env.wan_peers import WanPod

CLIENTS = 40
DETECTED_S = 4.5  # with the default health checks
DEFAULTS = {"health": {"interval_ms": 1000, "fast_interval_ms": 500, "timeout_ms": 1000,
                       "fall": 3, "rise": 2},
            "routing": {"dwell_s": 1}}


@pytest.fixture(scope="module")
def wan():
    require_wan()
    with Wan({"edge": 0, "near": 12, "far": 38}) as wan:
        yield wan


@pytest.fixture
def pods(tmp_path, wan):
    made = {}
    for name in ("near", "far"):
        made[name] = [WanPod(tmp_path, wan, name, f"{name}-{i}", 10 + i, first_token_ms=50,
                             token_gap_ms=15) for i in (1, 2)]
    yield made
    for pod in made["near"] + made["far"]:
        pod.close()


@pytest.fixture
def proxy(tmp_path, wan, pods):
    """The test itself is inside the edge's namespace from here on."""
    with wan.inside("edge"):
        proxy = Proxy(tmp_path, [region(name, made) for name, made in pods.items()], **DEFAULTS)
        wait_until(lambda: serving(proxy) == "near", "the near region to serve")
        yield proxy
        wan.heal("near")
        proxy.stop()


@pytest.fixture
def load(proxy):
    with WanLoad(proxy.port, clients=CLIENTS, pause_s=0.2) as load:
        load.wait_count_all(2 * CLIENTS)
        yield load


def serving(proxy):
    return proxy.get("/echo").header("X-Nearside-Region")


def unserved(load):
    """Requests that did not so much as begin to be answered, or were answered wrongly."""
    return [answer for answer in load.answers if answer.outcome not in ("ok", "cut")]


def test_the_distances_are_true(wan, proxy):
    for name, rtt_ms in (("near", 12), ("far", 38)):
        wait_until(lambda n=name, r=rtt_ms: r <= proxy.region(n)["path_latency_ms"] < r + 3,
                   f"path latency of {name}")


def test_a_region_vanishes_and_comes_back_under_load(wan, proxy, load):
    wan.cut("near")
    struck = time.monotonic()
    proxy.wait_log("region_down", region="near")
    detected_s = time.monotonic() - struck
    seen = len(load.answers)
    load.wait_count_all(seen + 4 * CLIENTS)
    assert detected_s <= DETECTED_S
    wan.heal("near")
    wait_until(lambda: load.answers[-1].region == "near", "the near region to serve again", 20)
    load.stop()
    assert not unserved(load), unserved(load)[:3]
    assert all(answer.begun < struck + detected_s for answer in load.answers
               if answer.outcome == "cut")


def test_an_established_stream_outlives_a_short_cut(wan, proxy):
    """Packets lost for a moment are TCP's business, not a reason to give up on anything."""
    with WanLoad(proxy.port, clients=4, pause_s=0.05, tokens=60) as load:
        load.wait_count_all(4)
        wan.cut("near")
        time.sleep(0.3)  # the fault's length, not a wait for something
        wan.heal("near")
        load.wait_count_all(len(load.answers) + 12)
    assert {answer.outcome for answer in load.answers} == {"ok"}
    assert proxy.region("near")["state"] == "up"
