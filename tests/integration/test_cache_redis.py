# SPDX-License-Identifier: MIT
"""A region's Redis that is full, read-only, loading, shut or no single Redis at all; and one that is
frozen, restarted or flushed under load. No request is hurt, and what is wrong has a name."""
import contextlib
import os
import socket
import socketserver
import threading
import time

import pytest
import redis as redis_client
from env import answers
from env.conf import region
from env.waiting import wait_until

ON = {"enabled": True, "redis_timeout_ms": 500}


@pytest.fixture
def pod(make_pod):
    return make_pod("a")


def ns_keys(redis):
    return [key for key in redis.keys() if key.startswith("ns3:")]


def wait_redis(proxy, up=True):
    wait_until(lambda: proxy.region("near")["redis"]["up"] is up, f"redis up: {up}")


def ask_new(proxy, prompt="x"):
    response = proxy.chat(answers.chat(f"{prompt} {time.monotonic_ns()}"))
    assert response.status == 200, response
    return response


def wait_from_redis(proxy, body):
    """Memory is emptied, and Redis answers (a worker's first look-up may be spent on connecting)."""
    def is_from_redis():
        proxy.admin_post("/cache/purge")
        response = proxy.chat(body)
        return "detail=redis" in response.header("Cache-Status") and response

    return wait_until(is_from_redis, "a hit from Redis")


def wait_error(proxy, word, command):
    """Metric, log line and status page name it; requests go on meanwhile."""
    labels = {"region": "near", "error": word}

    def is_counted():
        ask_new(proxy)
        return (proxy.metrics().value("nearside_redis_errors_total", labels) or 0) >= 1

    wait_until(is_counted, f"error {word}")
    redis = proxy.region("near")["redis"]
    assert (redis["error"], redis["error_command"]) == (word, command)
    line = proxy.wait_log("redis_refuses", region="near", error=word, command=command)
    assert line["advice"] == redis["advice"]
    return line


# ---- what Redis says ----

def test_a_full_one_is_still_asked(make_proxy, make_redis, pod):
    redis = make_redis()
    proxy = make_proxy([region("near", pod, redis)], cache=ON)
    wait_redis(proxy)
    body = answers.chat("before")
    proxy.chat(body)
    wait_until(lambda: ns_keys(redis), "a key in Redis")
    redis.client.config_set("maxmemory-policy", "noeviction")
    redis.client.config_set("maxmemory", 1)
    line = wait_error(proxy, "oom", "set")
    assert "maxmemory" in line["advice"]
    wait_from_redis(proxy, body)
    assert proxy.region("near")["redis"]["up"] is True

    redis.client.config_set("maxmemory", 0)
    wait_until(lambda: ask_new(proxy) and proxy.region("near")["redis"]["error"] is None,
               "stores again")
    proxy.wait_log("redis_serves", region="near", after="oom")


def test_a_read_only_replica_is_still_asked(make_proxy, make_redis, pod):
    primary = make_redis("primary")
    replica = make_redis("replica", extra=["--replicaof", f"127.0.0.1 {primary.port}"])
    writer = make_proxy([region("near", pod, primary)], cache=ON, edge={"id": "writer"})
    wait_redis(writer)
    body = answers.chat("before")
    writer.chat(body)
    wait_until(lambda: ns_keys(replica), "the key at the replica")

    reader = make_proxy([region("near", pod, replica)], cache=ON, edge={"id": "reader"})
    wait_redis(reader)
    wait_from_redis(reader, body)
    line = wait_error(reader, "readonly", "set")
    assert "primary" in line["advice"]


def test_one_that_wants_a_password_is_named(make_proxy, make_redis, pod):
    redis = make_redis("pw", password="secret")
    group = region("near", pod, redis)
    del group["redis_password"]
    line = wait_error(make_proxy([group], cache=ON), "noauth", "get")
    assert "redis_password" in line["advice"]


def test_one_that_wants_another_password_is_named(make_proxy, make_redis, pod):
    redis = make_redis("pw", password="secret")
    proxy = make_proxy([{**region("near", pod, redis), "redis_password": "not it"}], cache=ON)
    line = wait_error(proxy, "wrongpass", "get")
    assert "not it" not in open(os.path.join(proxy.directory, "nearside.log")).read()
    assert "redis_password" in line["advice"]
    proxy.reload_ok(regions=[region("near", pod, redis)])
    wait_redis(proxy)
    wait_until(lambda: ask_new(proxy) and ns_keys(redis), "a key in Redis")


def test_a_user_without_rights_is_named(make_proxy, make_redis, pod):
    redis = make_redis("acl", user="nearside", password="secret",
                       user_rules="~other:* -@all +get +set +ping")
    proxy = make_proxy([region("near", pod, redis)], cache=ON)
    line = wait_error(proxy, "noperm", "get")
    assert "docs/redis.md" in line["advice"]


def test_the_rights_in_the_docs_are_enough(make_proxy, make_redis, pod):
    rules = next(line for line in open("docs/redis.md") if "user nearside on" in line)
    rules = rules.split(">secret", 1)[1].strip()
    redis = make_redis("acl", user="nearside", password="secret", user_rules=rules)
    proxy = make_proxy([region("near", pod, redis)], cache=ON)
    wait_redis(proxy)
    body = answers.chat("x")
    proxy.chat(body)
    proxy.wait_metric("nearside_cache_requests_total", {"tier": "redis", "result": "store"})
    wait_from_redis(proxy, body)
    assert not proxy.log("redis_refuses")


def test_a_node_of_a_cluster_is_named(make_proxy, make_redis, pod):
    """It owns one slot of 16384, and says where it thinks that the others are."""
    one = make_redis("one", extra=["--cluster-enabled", "yes", "--cluster-require-full-coverage",
                                   "no", "--cluster-allow-reads-when-down", "yes"])
    two = make_redis("two", extra=["--cluster-enabled", "yes", "--cluster-require-full-coverage",
                                   "no", "--cluster-allow-reads-when-down", "yes"])
    one.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 0)
    two.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 1, 16383)
    two.client.execute_command("CLUSTER", "MEET", "127.0.0.1", one.port)
    wait_until(lambda: one.client.execute_command("CLUSTER", "COUNTKEYSINSLOT", 1) == 0 and
               len(one.client.execute_command("CLUSTER", "SLOTS")) == 2, "one to know of two", 15)
    proxy = make_proxy([region("near", pod, one)], cache=ON)
    wait_redis(proxy)
    line = wait_error(proxy, "moved", "get")
    assert "Cluster" in line["advice"]


def test_a_sentinel_is_named(make_proxy, make_redis, pod):
    sentinel = make_redis("sentinel", sentinel=True)
    proxy = make_proxy([region("near", pod, sentinel)], cache=ON)
    line = wait_error(proxy, "unknown_command", "get")
    assert "primary" in line["advice"]


def test_one_that_is_loading_is_named_and_used_when_it_has(make_proxy, make_redis, pod):
    redis = make_redis("loading", extra=["--enable-debug-command", "yes"])
    proxy = make_proxy([region("near", pod, redis)], cache=ON)
    wait_redis(proxy)
    redis.client.execute_command("DEBUG", "POPULATE", 20000, "filler", 10)
    redis.client.config_set("key-load-delay", 400)
    redis.client.config_set("loading-process-events-interval-bytes", 1024)
    loader = redis_client.Redis(host="127.0.0.1", port=redis.port, socket_timeout=30)
    connection = loader.connection_pool.get_connection("DEBUG")
    connection.send_command("DEBUG", "RELOAD")  # some 8 s
    try:
        line = wait_error(proxy, "loading", "get")
        assert "wait" in line["advice"]
        redis.client.config_set("key-load-delay", 0)
    except redis_client.BusyLoadingError:
        pass
    finally:
        connection.read_response()
        connection.disconnect()
    wait_until(lambda: ask_new(proxy) and ns_keys(redis), "a key in Redis", 20)


def test_one_over_tls_with_another_authority_is_not_spoken_to(make_proxy, make_redis, pod,
                                                              authority):
    redis = make_redis("tls", password="secret", tls=authority.issue("redis"))
    proxy = make_proxy([region("near", pod, redis)], cache=ON)  # no ca: the system's
    for _ in range(5):
        ask_new(proxy)
    assert proxy.region("near")["redis"]["up"] is False
    proxy.wait_metric("nearside_redis_errors_total", {"region": "near", "error": "down"})
    proxy.reload_ok(regions=[region("near", pod, redis, tls={"ca": authority.cert})])
    wait_redis(proxy)
    wait_until(lambda: ask_new(proxy) and ns_keys(redis), "a key in Redis")


# ---- under load ----

def durations_ms(proxy, since):
    return sorted(line["total_ms"] for line in proxy.access_lines()[since:])


def quantile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))]


def test_a_frozen_one_costs_each_worker_a_few_timeouts_and_nobody_an_answer(
        make_proxy, make_redis, make_load, pod):
    redis = make_redis()
    proxy = make_proxy([region("near", pod, redis)], cache={**ON, "redis_timeout_ms": 20})
    wait_redis(proxy)
    with make_load(proxy, clients=8, stream=False) as load:
        load.wait_count(200)
        redis.freeze()
        load.wait_count(400)
        timeouts = proxy.metrics().value("nearside_cache_requests_total",
                                         {"tier": "redis", "result": "timeout"})
        since = len(proxy.access_lines())
        load.wait_count(600)
        after_opening = durations_ms(proxy, since)
        redis.thaw()
    load.assert_no_failures(at_least=1200)
    # Two workers; with three falls each the breakers open, and what was under way then ends, too.
    assert 2 <= timeouts <= 2 * (3 + 8 + 8), timeouts
    # Of 600 requests behind open breakers none waited for Redis: the machine's own noise is less
    # than a timeout for all but a few.
    assert quantile(after_opening, 0.95) < 20, after_opening[-60:]
    wait_redis(proxy)


@pytest.mark.parametrize("harm", ["kill", "flush", "restart", "fill"])
def test_nobody_notices_what_happens_to_it(make_proxy, make_redis, make_load, pod, harm):
    redis = make_redis()
    proxy = make_proxy([region("near", pod, redis)], cache=ON)
    wait_redis(proxy)
    prompts = [f"prompt {number}" for number in range(20)]
    with make_load(proxy, clients=4, prompts=prompts) as load:
        load.wait_count(60)
        if harm == "kill":
            redis.kill()
        elif harm == "flush":
            redis.client.flushall()
        elif harm == "restart":
            redis.restart()
        else:
            redis.client.config_set("maxmemory", 1)
        proxy.admin_post("/cache/purge")
        load.wait_count(100)
    load.assert_no_failures(at_least=160)


class SlowRelay(socketserver.ThreadingTCPServer):
    """To a Redis, whose every answer it keeps back for a while."""
    daemon_threads = True

    def __init__(self, port, delay_s):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with socket.create_connection(("127.0.0.1", port)) as redis:
                    back = threading.Thread(target=self.answer, args=(redis,), daemon=True)
                    back.start()
                    while data := self.request.recv(65536):
                        redis.sendall(data)
                    redis.shutdown(socket.SHUT_RDWR)
                    back.join()

            def answer(self, redis):
                with contextlib.suppress(OSError):
                    while data := redis.recv(65536):
                        time.sleep(delay_s)
                        self.request.sendall(data)

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.server_address[1]}/0"


def test_a_slow_one_costs_three_timeouts_until_it_is_given_more_time(make_proxy, make_redis, pod):
    """Stores have a second more, and are answered; the look-ups between them are not."""
    redis = make_redis()
    with SlowRelay(redis.port, 0.1) as relay:
        slow = {**region("near", pod, redis), "redis": relay.url}
        proxy = make_proxy([slow], edge={"workers": 1}, cache={**ON, "redis_timeout_ms": 20})
        wait_redis(proxy)
        results = "nearside_cache_requests_total"
        body = answers.chat("stored")
        proxy.chat(body)
        proxy.wait_metric(results, {"tier": "redis", "result": "store"})
        ask_new(proxy)
        proxy.wait_metric(results, {"tier": "redis", "result": "store"}, lambda count: count == 2)
        for _ in range(6):
            ask_new(proxy)
        assert proxy.metrics().value(results, {"tier": "redis", "result": "timeout"}) == 3
        proxy.reload_ok(cache=ON)
        wait_from_redis(proxy, body)
        proxy.stop()
        relay.shutdown()


# ---- purges ----

def test_a_purge_asked_for_while_one_runs_is_made_when_that_is_done(make_proxy, make_redis, pod):
    """What the first has passed may have been written again when the second is asked for."""
    redis = make_redis()
    proxy = make_proxy([region("near", pod, redis)], cache=ON)
    wait_redis(proxy)
    redis.freeze()
    for _ in range(3):
        assert proxy.admin_post("/cache/purge?redis=1").status == 200
    redis.thaw()
    wait_until(lambda: len(proxy.log("cache_redis_purged")) == 2, "two sweeps")


def test_a_purge_of_a_redis_that_is_not_to_be_had_is_said(make_proxy, make_pod):
    """One whose name is not known, and one that nobody has: that is no failure."""
    unknown = {**region("unknown", make_pod("a")), "redis": "redis://redis.invalid:6379/0"}
    proxy = make_proxy([unknown, region("none", make_pod("b"))], cache=ON)
    proxy.admin_post("/cache/purge?redis=1")
    proxy.wait_log("cache_redis_purge_failed", region="unknown", reason="down")
    assert len(proxy.log("cache_redis_purge_failed")) == 1


def test_a_purge_that_cannot_reach_the_keys_still_holds(make_proxy, make_redis, pod):
    """The user may not delete: what Redis keeps is nobody's answer any more."""
    redis = make_redis("acl", user="nearside", password="secret", user_rules="~* +@all -unlink")
    proxy = make_proxy([region("near", pod, redis)], cache=ON)
    wait_redis(proxy)
    body = answers.chat("purged")
    proxy.chat(body)
    wait_until(lambda: ns_keys(redis), "a key in Redis")
    proxy.admin_post("/cache/purge?redis=1")
    proxy.wait_log("cache_redis_purge_failed", region="near", reason="refused")
    assert ns_keys(redis)
    assert "fwd=miss" in proxy.chat(body).header("Cache-Status")
    assert "hit" in proxy.chat(body).header("Cache-Status")


# ---- several regions ----

def test_replicas_go_to_every_region_and_nowhere_else(make_proxy, make_redis, make_pod):
    servers = {name: make_redis(name) for name in ("one", "two", "three")}
    regions = [region(name, make_pod(name), servers[name]) for name in servers]
    proxy = make_proxy(regions, cache={**ON, "replicate": "all"})
    wait_until(lambda: all(proxy.region(name)["redis"]["up"] for name in servers), "all up")
    ask_new(proxy)
    wait_until(lambda: all(ns_keys(server) for server in servers.values()), "a key in each")

    for server in servers.values():
        server.client.flushall()
    limited = proxy.chat(answers.chat("limited"), {"X-Nearside-Regions": "one,two"})
    assert limited.status == 200
    wait_until(lambda: ns_keys(servers["one"]) and ns_keys(servers["two"]), "a key in both")
    assert not ns_keys(servers["three"])


def test_without_replicas_only_the_region_that_answered_gets_it(make_proxy, make_redis, make_pod):
    servers = {name: make_redis(name) for name in ("one", "two")}
    regions = [region(name, make_pod(name), servers[name]) for name in servers]
    proxy = make_proxy(regions, cache=ON)
    wait_until(lambda: all(proxy.region(name)["redis"]["up"] for name in servers), "all up")
    answered = ask_new(proxy).header("X-Nearside-Region")
    wait_until(lambda: ns_keys(servers[answered]), "a key")
    assert not any(ns_keys(server) for name, server in servers.items() if name != answered)


def test_on_failover_the_redis_of_the_new_region_is_asked(make_proxy, make_redis, make_pod):
    servers = {name: make_redis(name) for name in ("here", "there")}
    pods = {"here": make_pod("here"), "there": make_pod("there", path_delay_ms=30)}
    proxy = make_proxy([region(name, pods[name], servers[name]) for name in servers],
                       cache={**ON, "replicate": "all"})
    wait_until(lambda: all(proxy.region(name)["redis"]["up"] for name in servers), "both up")
    body = answers.chat("asked in one region, answered in the other")
    answered = proxy.chat(body)
    assert answered.header("X-Nearside-Region") == "here"
    wait_until(lambda: all(ns_keys(server) for server in servers.values()), "a key in both")

    pods["here"].kill()
    servers["here"].kill()
    proxy.wait_region("here", "down")
    assert wait_from_redis(proxy, body).body == answered.body
    assert pods["there"].counters()["started"] == 0


# ---- keys and values ----

def test_a_secret_and_a_tenant_header_change_the_key(make_proxy, make_redis, pod):
    redis = make_redis()
    regions = [region("near", pod, redis)]
    body = answers.chat("x")
    proxy = make_proxy(regions, cache=ON)
    wait_redis(proxy)

    def add_keys(headers, keys):
        proxy.chat(body, headers)
        return wait_until(lambda: len(ns_keys(redis)) == keys, f"{keys} keys")

    add_keys({"X-Tenant": "a"}, 1)
    proxy.reload_ok(cache={**ON, "key_secret": "0123456789abcdef0123456789abcdef"})
    add_keys({"X-Tenant": "a"}, 2)
    proxy.reload_ok(cache={**ON, "tenant_header": "X-Tenant"})
    add_keys({"X-Tenant": "a"}, 3)
    add_keys({"X-Tenant": "b"}, 4)
    hit = proxy.chat(body, {"X-Tenant": "a", "Authorization": "Bearer other"})
    assert "hit" in hit.header("Cache-Status")


def test_a_long_answer_is_compressed_in_redis(make_proxy, make_redis, pod):
    redis = make_redis()
    proxy = make_proxy([region("near", pod, redis)], cache=ON)
    wait_redis(proxy)
    body = answers.chat("x", stream=True)
    first = proxy.chat(body, {"X-Pod-Tokens": "500"})
    keys = wait_until(lambda: ns_keys(redis), "a key in Redis")
    value = redis.client.get(keys[0])
    assert value.startswith(b"NSZ2") and len(value) < len(first.body) / 4
    assert proxy.metrics().value("nearside_redis_stored_bytes_total", {"stage": "sent"}) == \
        len(value)
    assert wait_from_redis(proxy, body).body == first.body


def test_what_hits_saved_is_told(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], cache=ON)
    pod.control(first_token_ms=300)
    body = answers.chat("x")
    usage = proxy.chat(body).json()["usage"]
    for _ in range(3):
        assert "hit" in proxy.chat(body).header("Cache-Status")
    cache = proxy.status()["cache"]
    assert cache["saved_tokens"] == 3 * (usage["prompt_tokens"] + usage["completion_tokens"])
    assert 0.9 <= cache["saved_seconds"] < 5
    assert (cache["hits"], cache["misses"], cache["hit_ratio"]) == (3, 1, 0.75)


def test_an_entry_that_does_not_fit_is_no_hit(make_proxy, pod):
    """A stream asked for without its usage cannot answer a plain request."""
    proxy = make_proxy([region("near", pod)], cache=ON)
    proxy.chat(answers.chat("x", stream=True))
    assert "fwd=miss" in proxy.chat(answers.chat("x")).header("Cache-Status")
    assert proxy.status()["cache"]["hits"] == 0
    assert proxy.metrics().value("nearside_cache_requests_total",
                                 {"tier": "memory", "result": "miss"}) == 2


def test_a_redis_that_wants_tls_is_never_asked_in_the_clear(make_proxy, make_pod, make_load):
    """Not even by a worker that knows the new config and still has the fleet of the old one."""
    pod = make_pod("a", path_delay_ms=0)
    first_bytes = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            first_bytes.append(self.request.recv(1))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        secure = {**region("secure", pod), "redis_password": "secret",
                  "redis": f"rediss://127.0.0.1:{server.server_address[1]}/0"}
        proxy = make_proxy([secure], edge={"workers": 1}, cache={"enabled": True})
        with make_load(proxy, clients=20, stream=False) as load:
            for _ in range(10):
                proxy.reload_ok(regions=[region("other", pod)])
                proxy.reload_ok(regions=[secure])
                load.wait_count(20)
        server.shutdown()
    assert set(first_bytes) - {b""} == {b"\x16"}, "TLS begins with 22"


def test_a_redis_whose_region_goes_is_left(make_proxy, make_redis, pod):
    redis = make_redis()
    proxy = make_proxy([region("goes", pod, redis)], cache=ON)
    ask_new(proxy)
    wait_until(lambda: ns_keys(redis), "an answer in Redis")
    proxy.reload_ok(regions=[region("stays", pod)])
    wait_until(lambda: len(redis.client.client_list()) == 1, "no connection but our own")
