# SPDX-License-Identifier: MIT
"""A reload changes the world between two requests, and a bad one changes nothing."""
import pytest
from env import answers, raw
from env.conf import region
from env.ports import Port
from env.waiting import wait_until


@pytest.fixture
def pods(make_pod):
    return [make_pod("a", path_delay_ms=2), make_pod("b", path_delay_ms=20)]


@pytest.fixture
def proxy(make_proxy, pods):
    return make_proxy([region("one", pods[0])])


def region_of(proxy):
    return proxy.get("/echo").header("X-Nearside-Region")


def test_a_reload_swaps_the_regions(proxy, pods):
    assert region_of(proxy) == "one"
    proxy.reload_ok(regions=[region("two", pods[1])])
    wait_until(lambda: region_of(proxy) == "two", "the new region")


def test_the_generation_counts_reloads(proxy):
    before = proxy.status()["edge"]["config_generation"]
    proxy.reload_ok()
    wait_until(lambda: proxy.status()["edge"]["config_generation"] == before + 1, "generation")


@pytest.mark.parametrize("bad", ["nonsense = 1;", "syntax error {", "limits = { body_bytes = -1; };"])
def test_a_failed_reload_keeps_the_old_world(proxy, bad):
    proxy.allow_errors("reload_failed")
    good = open(proxy.conf_path).read()
    proxy.write_conf(good + bad)
    proxy.reload()
    proxy.wait_metric("nearside_reloads_total", {"result": "failure"})
    assert region_of(proxy) == "one"
    proxy.write_conf(good)
    proxy.reload()
    proxy.wait_metric("nearside_reloads_total", {"result": "success"})


def test_what_needs_a_restart_is_said_until_the_file_asks_for_what_runs(proxy):
    def told(generation, **edge):
        proxy.reload_ok(edge=edge)
        proxy.wait_log("reloaded", generation=generation)  # what was told before it is written
        return [line["key"] for line in proxy.log("reload_needs_restart")]
    assert told(2, user="nobody", group="nogroup") == ["edge.user", "edge.group"]
    assert told(3, group="") == ["edge.user", "edge.group", "edge.user"], "still so"
    assert told(4, user="") == ["edge.user", "edge.group", "edge.user"], "as it runs"


def test_a_user_that_a_restart_would_not_find_is_refused(proxy):
    proxy.write_conf(edge={"user": "nobody-of-that-name"})
    proxy.reload()
    line = proxy.wait_log("reload_failed")
    assert line["error"].startswith(f"{proxy.conf_path}: edge.user: found"), line


def test_a_stream_outlives_the_reload_that_removes_its_region(proxy, pods):
    body = answers.chat("x", stream=True, max_tokens=20)
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", body, {"X-Pod-Gap-Ms": "50"}))
        conn.read_head()
        proxy.reload_ok(regions=[region("two", pods[1])])
        assert raw.sse_text(event for _, event in conn.events())[:2] == \
            (answers.chat_text(body), True)


def test_a_kept_connection_sees_the_new_world(proxy, pods):
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/echo"))
        assert conn.read_response().header("X-Nearside-Region") == "one"
        proxy.reload_ok(regions=[region("two", pods[1])])

        def is_two():
            conn.send(raw.request_bytes("GET", "/echo"))
            return conn.read_response().header("X-Nearside-Region") == "two"
        wait_until(is_two, "the new region on the old connection")


def test_what_was_learned_survives(make_proxy, pods):
    """A region in both worlds keeps its measured latency: it is never unknown again."""
    proxy = make_proxy([region("one", pods[0]), region("two", pods[1])])
    wait_until(lambda: proxy.region("two")["path_latency_ms"], "latency")
    proxy.reload_ok(cache={"ttl_s": 60})
    assert proxy.region("two")["path_latency_ms"]
    assert proxy.region("two")["state"] == "up"


def test_a_listener_comes_and_goes(make_proxy, pods):
    ports = Port(), Port()
    first = {"bind": f"127.0.0.1:{ports[0].number}"}
    second = {"bind": f"127.0.0.1:{ports[1].number}"}
    proxy = make_proxy([region("one", pods[0])], listeners=[first])
    proxy.reload_ok(listeners=[first, second])
    for port in ports:
        wait_until(lambda p=port: raw.one_request(p.number, "GET", "/echo").status == 200,
                   "the listener")
    proxy.reload_ok(listeners=[second])

    def is_closed():
        try:
            raw.Conn(ports[0].number).close()
        except ConnectionRefusedError:
            return True
        return False
    wait_until(is_closed, "the first listener to be gone")
    assert raw.one_request(ports[1].number, "GET", "/echo").status == 200
    for port in ports:
        port.release()


def test_listeners_of_the_same_text_keep_what_they_speak(make_proxy, pods, authority):
    """Port 0 may be asked for twice; a reload must not make the TLS one plain."""
    certificate = authority.issue("twice")
    proxy = make_proxy([region("one", pods[0])], listeners=[
        {"bind": "127.0.0.1:0"},
        {"bind": "127.0.0.1:0", "tls": {"certificate": certificate.cert, "key": certificate.key}}])
    proxy.reload_ok(timeouts={"idle_ms": 50000})
    assert proxy.get("/echo").status == 200
    assert raw.one_request(proxy.tls_port, "GET", "/echo",
                           tls=authority.client_context()).status == 200


def test_a_reload_that_cannot_have_its_port_keeps_the_old_world(proxy):
    import socket
    proxy.allow_errors("reload_failed")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        proxy.write_conf(listeners=[{"bind": "127.0.0.1:0"}, {"bind": f"127.0.0.1:{taken}"}])
        proxy.reload()
        proxy.wait_metric("nearside_reloads_total", {"result": "failure"})
    assert region_of(proxy) == "one"


def test_a_reload_that_moves_admin_to_anothers_port_keeps_the_old_world(proxy, make_proxy, pods):
    """Another edge of the same user would share the port unnoticed, and half of what is asked."""
    other = make_proxy([region("other", pods[1])])
    proxy.allow_errors("reload_failed")
    for host in ("127.0.0.1", "0.0.0.0"):
        proxy.write_conf(admin={"bind": f"{host}:{other.admin_port}"})
        refused = proxy.admin_post("/reload")
        assert refused.status == 409 and "already in use" in refused.body.decode(), refused
    assert list(other.status()["regions"][0].values())[0] == "other"
    assert proxy.region("one")["state"] == "up"


def test_admin_moves_to_all_addresses_of_its_own_port_and_back(proxy):
    port = proxy.admin_port
    for host in ("127.0.0.1", "0.0.0.0", "127.0.0.1"):
        proxy.reload_ok(admin={"bind": f"{host}:{port}", "token": "t"})
        assert proxy.admin_port == port
        assert raw.one_request(port, "GET", "/healthz").status == 200


def test_many_reloads_leak_no_descriptor(proxy):
    for _ in range(3):
        proxy.reload_ok()
    proxy.get("/echo")
    before = proxy.process.open_files()
    for _ in range(15):
        proxy.reload_ok()
    proxy.get("/echo")
    wait_until(lambda: proxy.process.open_files() <= before + 3, "descriptors to be given back")


def test_signals_that_come_together_are_one_more_reload(proxy):
    for _ in range(20):
        proxy.reload()
    proxy.wait_metric("nearside_reloads_total", {"result": "success"})
    assert region_of(proxy) == "one"


def test_the_admin_door_reloads_too(proxy, pods):
    proxy.write_conf(regions=[region("two", pods[1])])
    assert proxy.admin_post("/reload").status in (200, 202, 204)
    wait_until(lambda: region_of(proxy) == "two", "the new region")

def test_who_still_waits_at_a_listener_that_goes_is_served_as_it_spoke(
        make_proxy, pods, authority):
    """What a connection speaks goes by the listener it came to, not by the one in its place now."""
    certificate = authority.issue("goes")
    ports = Port(), Port()
    plain = {"bind": f"127.0.0.1:{ports[0].number}"}
    secure = {"bind": f"127.0.0.1:{ports[1].number}",
              "tls": {"certificate": certificate.cert, "key": certificate.key}}
    proxy = make_proxy([region("one", pods[0])], listeners=[plain, secure], edge={"workers": 1})
    proxy.wait_log("listening", tls=True)
    for port in ports:
        port.release()
    proxy.write_conf(listeners=[secure])
    proxy.process.freeze()
    clients = [raw.Conn(ports[0].number) for _ in range(1500)]  # many turns of accepting
    for client in clients:
        client.send(raw.request_bytes("GET", "/echo"))
    proxy.reload()
    proxy.process.thaw()
    for client in clients:
        with client:
            assert client.read_response().status == 200
    proxy.wait_metric("nearside_reloads_total", {"result": "success"})
