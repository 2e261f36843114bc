# SPDX-License-Identifier: MIT
"""Two edges over the regions' Redis: drains are followed, what peers see is advice."""
import time

import pytest
from env.conf import region
from env.waiting import wait_until


@pytest.fixture
def pods(make_pod):
    return make_pod("near", path_delay_ms=2), make_pod("far", path_delay_ms=30)


@pytest.fixture
def redises(make_redis):
    return make_redis("redis-near"), make_redis("redis-far")


@pytest.fixture
def make_edge(make_proxy, pods, redises):
    """make_edge("a"): an edge of the fleet that shares two regions and their Redises."""
    def make(name, pods=pods, **options):
        regions = [region("near", pods[0], redises[0]), region("far", pods[1], redises[1])]
        return make_proxy(regions, edge={"id": name}, **options)
    return make


@pytest.fixture
def edges(make_edge):
    edges = make_edge("a"), make_edge("b")
    wait_for_peers(*edges)
    return edges


def wait_for_peers(*edges):
    for edge in edges:
        edge.wait_metric("nearside_peers", None, len(edges) - 1)


def served_by(edge):
    return edge.get("/echo").header("X-Nearside-Region")


def drain(edge, path, undo=False):
    assert edge.admin_post(path + ("/undrain" if undo else "/drain")).status == 200


def tick():
    """Until the clock that epochs are made of has moved on by more than acts in a row add."""
    before = time.time()
    wait_until(lambda: time.time() > before + 0.005, "the clock")


# ---- operators ----

def test_a_drain_is_followed_by_the_other_edge_and_so_is_its_end(edges):
    first, second = edges
    drain(first, "/regions/near")
    second.wait_region("near", "drained")
    wait_until(lambda: served_by(second) == "far", "traffic of the second edge in far")
    drain(second, "/regions/near", undo=True)
    first.wait_region("near", "up")
    assert second.region("near")["state"] == "up"


def test_a_followed_drain_names_the_edge_where_it_was_done(edges):
    first, second = edges
    drain(first, "/regions/near")
    second.wait_region("near", "drained")
    events = second.admin("GET", "/events.json").json()["events"]
    [event] = [one for one in events if one["kind"] == "drain"]
    assert event["reason"] == "operator at a"


def test_one_endpoints_drain_is_followed(edges, pods):
    first, second = edges
    drain(first, f"/endpoints/127.0.0.1:{pods[0].port}")
    wait_until(lambda: second.region("near")["endpoints"][0]["drained"], "the endpoint's drain")


def test_a_drain_survives_the_restart_of_an_edge(edges):
    first, second = edges
    drain(first, "/regions/near")
    second.wait_region("near", "drained")
    second.stop()
    second.start()
    assert second.region("near")["drained"] is True


def test_a_drain_is_known_before_an_edge_takes_its_first_request(edges, make_edge):
    drain(edges[0], "/regions/near")
    edges[1].wait_region("near", "drained")
    third = make_edge("c", wait="listening")
    opened = third.log("listening")[0]["time"]
    assert third.log("drain")[0]["time"] <= opened
    assert served_by(third) == "far"


def test_a_drain_survives_the_restart_of_all_edges(edges):
    first, second = edges
    drain(first, "/regions/near")
    second.wait_region("near", "drained")
    for edge in edges:
        edge.stop()
    for edge in edges:
        edge.start()
        assert edge.region("near")["drained"] is True


def test_of_conflicting_acts_the_newest_wins_everywhere(edges, redises):
    """Both edges act while neither sees the other; operators are milliseconds apart."""
    first, second = edges
    for redis in redises:
        redis.freeze()
    drain(first, "/regions/near")
    tick()
    drain(second, "/regions/near")
    drain(second, "/regions/near", undo=True)
    tick()
    drain(first, "/regions/far")
    drain(first, "/regions/far", undo=True)
    tick()
    drain(second, "/regions/far")
    for redis in redises:
        redis.thaw()
    for edge in edges:
        edge.wait_region("near", "up", timeout=20)
        edge.wait_region("far", "drained", timeout=20)


def test_a_flushed_redis_is_filled_again(edges, redises, make_edge):
    first, second = edges
    drain(first, "/regions/near")
    second.wait_region("near", "drained")
    for redis in redises:
        redis.client.flushall()
    for redis in redises:
        wait_until(lambda r=redis: r.client.hget("ns1:drains", "region/near"), "the drain again")
    assert first.region("near")["drained"] and second.region("near")["drained"]
    third = make_edge("c")
    assert third.region("near")["drained"] is True


def test_a_drain_reaches_over_the_redis_that_is_left(edges, redises):
    first, second = edges
    redises[0].kill()
    drain(first, "/regions/near")
    second.wait_region("near", "drained")
    redises[0].restart()
    wait_until(lambda: redises[0].client.hget("ns1:drains", "region/near"),
               "the drain in the Redis that is back", timeout=20)


# ---- peers ----

def test_the_peers_view_is_shown(edges):
    first, _ = edges
    [peer] = first.status()["peers"]
    assert peer["edge"] == "b"
    assert peer["age_ms"] < 3000
    assert {one["name"] for one in peer["regions"]} == {"near", "far"}
    wait_until(lambda: first.region("near")["fleet_view"] == {"up": 2, "down": 0}, "both votes")
    by_name = {one["name"]: one for one in first.status()["peers"][0]["regions"]}
    assert by_name["near"]["state"] == "up" and by_name["near"]["pending"] == 0


def test_an_edge_that_ended_is_gone_after_seconds(edges):
    first, second = edges
    second.stop()
    first.wait_metric("nearside_peers", None, 0)
    assert first.status()["peers"] == []


def test_a_new_edge_starts_from_its_peers_latency(edges, make_edge, pods, make_pod):
    """Its own connects are refused, so that nothing but the peers' figure is there."""
    refusing = make_pod("refusing", fault="refuse")
    third = make_edge("c", pods=(refusing, pods[1]), wait="listening")
    wait_until(lambda: third.region("near")["latency_source"] == "peers", "the peers' latency")
    shown = [one["path_latency_ms"] for peer in third.status()["peers"]
             for one in peer["regions"]
             if one["name"] == "near" and one["path_latency_ms"] is not None]
    assert min(shown) - 3 <= third.region("near")["path_latency_ms"] <= max(shown) + 3
    refusing.heal()
    wait_until(lambda: third.region("near")["latency_source"] in ("tcp", "probe"), "its own")


def test_a_peers_down_makes_this_edge_probe_at_once_and_decides_nothing(edges, make_edge, pods,
                                                                        make_pod):
    first, _ = edges
    broken = make_pod("broken", fault="refuse")
    third = make_edge("c", pods=(broken, pods[1]))
    third.wait_region("near", "down")
    first.wait_metric("nearside_peer_suspicions_total", {"region": "near"}, 1)
    [event] = [one for one in first.admin("GET", "/events.json").json()["events"]
               if one["kind"] == "peer_suspicion"]
    assert event["region"] == "near" and event["reason"] == "down at c"
    wait_until(lambda: first.region("near")["fleet_view"] == {"up": 2, "down": 1}, "the vote")
    assert first.region("near")["state"] == "up"
    assert served_by(first) == "near"


def test_an_edge_that_alone_sees_all_down_says_that_it_is_suspect(edges, make_edge, make_pod):
    broken = [make_pod(name, fault="refuse") for name in ("x", "y")]
    third = make_edge("c", pods=broken, wait="listening")
    third.wait_metric("nearside_edge_suspect", None, 1)
    response = third.admin("GET", "/readyz")
    assert response.status == 503 and "suspect" in response.text
    third.wait_log("edge_suspect", suspect=True)
    for pod in broken:
        pod.heal()
    third.wait_ready()
    assert third.metrics().value("nearside_edge_suspect") == 0


# ---- Redis in trouble ----

def test_frozen_redises_hurt_no_request(edges, redises):
    first, _ = edges
    for redis in redises:
        redis.freeze()
    for name in ("near", "far"):
        first.wait_log("shared_state_down", region=name)
    for _ in range(50):
        assert first.get("/echo").status == 200
    first.wait_metric("nearside_peers", None, 0)
    assert first.admin("GET", "/readyz").status == 200
    for redis in redises:
        redis.thaw()
    first.wait_metric("nearside_peers", None, 1, timeout=20)
    wait_until(lambda: len(first.log("shared_state_up")) == 4, "both links to be well", 20)
    assert len(first.log("shared_state_down")) == 2


def test_an_edge_starts_without_its_redises(make_edge, redises):
    for redis in redises:
        redis.freeze()
    edge = make_edge("a")
    assert served_by(edge) in ("near", "far")
    for redis in redises:
        redis.thaw()


def test_a_full_redis_is_read_though_not_written(edges, redises):
    first, second = edges
    drain(first, "/regions/near")
    second.wait_region("near", "drained")
    for redis in redises:
        redis.client.config_set("maxmemory", 1)
    for name in ("near", "far"):
        first.wait_log("shared_state_unwritable", region=name)
    assert first.get("/echo").status == 200
    for redis in redises:
        redis.client.config_set("maxmemory", 0)
    wait_until(lambda: len(first.log("shared_state_up")) == 4, "both to be written again")
    first.wait_metric("nearside_peers", None, 1)
    assert len(first.log("shared_state_unwritable")) == 2


def test_without_permission_it_is_said_once_and_nothing_else_changes(make_proxy, pods, make_redis):
    redis = make_redis("acl", user="edge", password="x",
                       user_rules="~* -@all +get +set +ping +info")
    proxy = make_proxy([region("near", pods[0], redis)])
    proxy.wait_log("shared_state_down", contains="NOPERM")
    proxy.wait_metric("nearside_shared_state_exchanges_total", {"result": "failure"},
                      lambda value: value >= 2)
    assert len(proxy.log("shared_state_down")) == 1
    assert proxy.get("/echo").status == 200
    wait_until(lambda: proxy.region("near")["redis"]["up"], "Redis to be up")


def test_the_documented_permissions_are_enough(make_proxy, pods, make_redis):
    redis = make_redis("acl", user="edge", password="x",
                       user_rules="~ns1:* -@all +get +set +ping +scan +unlink +eval +time +hset "
                                  "+hget +hlen +hgetall +hdel +info")
    proxy = make_proxy([region("near", pods[0], redis)])
    proxy.wait_log("shared_state_up", region="near")
    assert not proxy.log("shared_state_down") and not proxy.log("shared_state_unwritable")


def test_rubbish_in_redis_is_ignored(edges, redises):
    first, _ = edges
    client = redises[0].client
    now = int(client.time()[0]) * 1000
    client.hset("ns1:edges", mapping={
        "x1": "rubbish", "x2": f"{now} 1 1 {{", "x3": f"{now} a b {{}}", "x4": b"\xff\x00",
        "x5": f'{now} 9999999999999 1 {{"regions":[{{"name":1}},{{"name":"near","state":"odd"}}]}}',
        "": f"{now} 1 1 {{}}", "y" * 200: f"{now} 1 1 {{}}"})
    client.hset("ns1:drains", mapping={
        "region/near": "1 2 3", "region/atlantis": f"{now} 1 {now} someone",
        "far": f"{now} 1 {now} someone", "region/far": "99999999999999999999999 1 1 x"})
    before = first.metrics().value("nearside_shared_state_exchanges_total", {"result": "success"})
    first.wait_metric("nearside_shared_state_exchanges_total", {"result": "success"},
                      lambda value: value >= before + 4)
    assert first.region("near")["state"] == "up" and first.region("far")["state"] == "up"
