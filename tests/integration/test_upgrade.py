# SPDX-License-Identifier: MIT
"""The program is replaced while it serves: nobody notices, and a bad one replaces nothing."""
import os
import shutil
import signal
import socket
import ssl
import stat
import time

import pytest
from env import answers, raw
from env.conf import region
from env.generations import Adopted
from env.processes import Died, binary
from env.waiting import wait_until

@pytest.fixture
def pod(make_pod):
    return make_pod("a", path_delay_ms=2, first_token_ms=5, token_gap_ms=5)


@pytest.fixture
def own_binary(tmp_path, monkeypatch):
    """A copy of the program that a test may replace."""
    path = tmp_path / "nearside"
    shutil.copy2(binary("NEARSIDE_BIN", "build/nearside"), path)
    monkeypatch.setenv("NEARSIDE_BIN", str(path))
    return path


def test_upgrades_under_load_fail_no_request(make_proxy, generations, make_load, pod):
    proxy = make_proxy([region("one", pod)])
    history = generations(proxy)
    with make_load(proxy, clients=20) as load:
        load.wait_count(50)
        for _ in range(3):
            history.upgrade()
            load.wait_count(200)
    load.assert_no_failures(at_least=650)
    history.wait_old()
    proxy.wait_metric("nearside_upgrades_total", {"result": "success"}, 1)


@pytest.mark.parametrize("upgrades", [1, 2])
def test_a_stream_outlives_the_program_it_began_with(make_proxy, generations, pod, upgrades):
    proxy = make_proxy([region("one", pod)])
    history = generations(proxy)
    body = answers.chat("x", stream=True, max_tokens=60)
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", body, {"X-Pod-Gap-Ms": "50"}))
        conn.read_head()
        for _ in range(upgrades):
            history.upgrade()
        assert proxy.get("/echo").status == 200
        assert raw.sse_text(event for _, event in conn.events())[:2] == \
            (answers.chat_text(body), True)
    history.wait_old()


def through(step, outgoing, incoming, conn):
    """Do `step` of a TLS connection whose bytes go over `conn`."""
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            conn.send(outgoing.read())
            received = conn.socket.recv(65536)
            assert received, "closed"
            incoming.write(received)


def test_a_handshake_that_was_under_way_is_finished(make_proxy, generations, pod, authority):
    certificate = authority.issue("upgrade")
    proxy = make_proxy([region("one", pod)], listeners=[
        {"bind": "127.0.0.1:0"},
        {"bind": "127.0.0.1:0", "tls": {"certificate": certificate.cert, "key": certificate.key}}])
    history = generations(proxy)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = authority.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with raw.Conn(proxy.tls_port) as conn:
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        conn.send(hello[:50])
        proxy.wait_metric("nearside_client_connections", None, 1)
        history.upgrade()
        time.sleep(1.5)  # a client far away; a process that stops would wait for 1 s
        conn.send(hello[50:])
        through(tls.do_handshake, outgoing, incoming, conn)
        tls.write(raw.request_bytes("GET", "/echo"))
        assert through(lambda: tls.read(65536), outgoing, incoming, conn).startswith(b"HTTP/1.1 200")
    history.wait_old()


def test_the_admin_listener_answers_all_the_time(make_proxy, generations, pod):
    proxy = make_proxy([region("one", pod)])
    history = generations(proxy)
    port = proxy.admin_port
    seen = len(proxy.log("took_over"))
    proxy.process.signal(signal.SIGUSR2)

    def answers_until_replaced():
        assert raw.one_request(port, "GET", "/readyz").status == 200
        return len(proxy.log("took_over")) > seen
    wait_until(answers_until_replaced, "the new process")
    assert raw.one_request(port, "GET", "/readyz").status == 200
    pid = int(proxy.log("took_over")[-1]["pid"])
    history.old.append(proxy.process.popen)
    proxy.process.popen, proxy.process.pid = Adopted(pid), pid
    assert proxy.status()["edge"]["last_upgrade"]["ok"]


def test_the_admin_listener_may_move_to_all_addresses_of_its_port(make_proxy, generations, pod):
    """The old process's socket stands in the way of the new one's until that takes over."""
    proxy = make_proxy([region("one", pod)])
    history = generations(proxy)
    port = proxy.admin_port
    for host in ("127.0.0.1", "0.0.0.0"):
        proxy.write_conf(admin={"bind": f"{host}:{port}", "token": "t"})
        history.upgrade()
        assert raw.one_request(port, "GET", "/healthz").status == 200


def test_another_number_of_workers_serves_every_socket(make_proxy, generations, pod):
    """Sockets left over are shared out, and workers without one share."""
    proxy = make_proxy([region("one", pod)], edge={"workers": 4})
    history = generations(proxy)
    for workers in (1, 3):
        proxy.write_conf(edge={"workers": workers})
        history.upgrade()
        assert proxy.status()["edge"]["workers"] == workers
        history.wait_old()
        for _ in range(40):
            assert proxy.get("/echo").status == 200


def test_the_new_process_reads_the_new_config(make_proxy, generations, pod):
    proxy = make_proxy([region("one", pod)])
    proxy.write_conf(regions=[region("two", pod)])
    generations(proxy).upgrade()
    assert proxy.get("/echo").header("X-Nearside-Region") == "two"


def test_an_operators_drain_survives(make_proxy, generations, make_pod, pod):
    proxy = make_proxy([region("one", pod), region("two", make_pod("b", path_delay_ms=20))])
    assert proxy.admin_post("/regions/one/drain").status == 200
    generations(proxy).upgrade()
    assert proxy.region("one")["state"] == "drained"
    assert proxy.get("/echo").header("X-Nearside-Region") == "two"


def failed(proxy, contains):
    """The old one is in service, and says what went wrong."""
    proxy.allow_errors("upgrade_failed")
    proxy.process.signal(signal.SIGUSR2)
    proxy.wait_log("upgrade_failed", contains=contains)
    proxy.wait_metric("nearside_upgrades_total", {"result": "failure"})
    last = proxy.status()["edge"]["last_upgrade"]
    assert not last["ok"] and contains in last["error"]
    assert any(event["kind"] == "upgrade" and event["to"] == "failed"
               for event in proxy.admin("GET", "/events.json").json()["events"])
    assert proxy.get("/echo").status == 200


def test_a_file_that_is_no_program(make_proxy, own_binary, pod):
    proxy = make_proxy([region("one", pod)])
    own_binary.unlink()
    own_binary.write_bytes(b"\x00nonsense")
    own_binary.chmod(0o755)
    failed(proxy, "cannot be run")


def test_a_program_that_is_gone(make_proxy, own_binary, pod):
    proxy = make_proxy([region("one", pod)])
    own_binary.unlink()
    failed(proxy, "cannot be run")


def script(path, text):
    path.unlink()
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_program_that_ends_at_once(make_proxy, own_binary, pod):
    proxy = make_proxy([region("one", pod)])
    script(own_binary, "exit 7\n")
    failed(proxy, "ended with code 7")


def test_a_program_that_crashes(make_proxy, own_binary, pod):
    proxy = make_proxy([region("one", pod)])
    script(own_binary, "kill -SEGV $$\n")
    failed(proxy, "ended by signal 11")


def test_a_program_that_never_gets_ready(make_proxy, own_binary, pod):
    proxy = make_proxy([region("one", pod)], edge={"upgrade_timeout_s": 1})
    script(own_binary, "exec sleep 100\n")
    failed(proxy, "not ready within edge.upgrade_timeout_s")


def test_a_config_that_is_wrong(make_proxy, pod):
    proxy = make_proxy([region("one", pod)])
    good = open(proxy.conf_path).read()
    proxy.write_conf(good + "nonsense = 1;")
    failed(proxy, "ended with code 1")


def test_a_start_that_fails_is_told_with_its_code(make_proxy, pod):
    """The new process may end in its own time: it is not killed over the last of it."""
    proxy = make_proxy([region("one", pod)])
    proxy.allow_errors("upgrade_failed")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        proxy.write_conf(listeners=[{"bind": "127.0.0.1:0"},
                                    {"bind": f"127.0.0.1:{holder.getsockname()[1]}"}])
        for count in range(1, 5):
            proxy.process.signal(signal.SIGUSR2)
            wait_until(lambda n=count: len(proxy.log("upgrade_failed")) == n, "the failure")
    for line in proxy.log("upgrade_failed"):
        assert "ended with code 2" in line["error"], line


def test_a_config_that_reaches_no_region(make_proxy, pod):
    """It would start, but serve nobody: the old one serves on."""
    proxy = make_proxy([region("one", pod)], edge={"upgrade_timeout_s": 4})
    proxy.write_conf(regions=[region("one", "http://127.0.0.1:1")])
    failed(proxy, "it has reached no region")


def test_after_a_failed_upgrade_a_good_one_succeeds(make_proxy, own_binary, generations, pod):
    proxy = make_proxy([region("one", pod)])
    good = own_binary.read_bytes()
    script(own_binary, "exit 7\n")
    failed(proxy, "ended with code 7")
    own_binary.unlink()
    own_binary.write_bytes(good)
    own_binary.chmod(0o755)
    generations(proxy).upgrade()
    assert proxy.get("/echo").status == 200


def test_the_end_of_the_old_one_ends_the_attempt(make_proxy, own_binary, pod):
    """SIGTERM during an upgrade stops both."""
    proxy = make_proxy([region("one", pod)])
    script(own_binary, "exec sleep 100\n")
    proxy.allow_errors("upgrade_failed")
    proxy.process.signal(signal.SIGUSR2)
    pid = int(proxy.wait_log("upgrade_started")["pid"])
    assert proxy.process.terminate() == 0
    assert not os.path.exists(f"/proc/{pid}")


def test_when_the_old_one_dies_the_new_one_serves(make_proxy, generations, pod):
    proxy = make_proxy([region("one", pod)])
    history = generations(proxy)
    pod.freeze()  # so that the new one has not said that it is ready
    proxy.process.signal(signal.SIGUSR2)
    pid = int(proxy.wait_log("upgrade_started")["pid"])
    wait_until(lambda: len(proxy.log("started")) == 2, "the new process to run")
    proxy.process.kill()
    pod.thaw()
    wait_until(lambda: proxy.log("took_over"), "the new process to serve")
    proxy.process.popen, proxy.process.pid = Adopted(pid), pid
    proxy.wait_ready()
    assert proxy.get("/echo").status == 200
    assert history.old == []


def test_a_reload_waits_for_the_end_of_an_upgrade(make_proxy, own_binary, pod):
    proxy = make_proxy([region("one", pod)])
    script(own_binary, "exec sleep 100\n")
    proxy.allow_errors("upgrade_failed")
    proxy.process.signal(signal.SIGUSR2)
    proxy.wait_log("upgrade_started")
    proxy.reload()
    proxy.wait_log("reload_failed", contains="upgrade")


def test_redis_sees_one_edge(make_proxy, make_redis, generations, pod):
    """Both processes have the same edge.id; neither calls the other an impostor."""
    redis = make_redis()
    proxy = make_proxy([region("one", pod, redis)])
    proxy.wait_log("shared_state_up")
    history = generations(proxy)
    history.upgrade()
    history.wait_old()
    assert not proxy.log("edge_id_taken")
    assert not proxy.log("peer_seen")


def test_no_descriptor_is_left_behind(make_proxy, generations, pod):
    proxy = make_proxy([region("one", pod)])
    history = generations(proxy)
    history.upgrade()
    history.wait_old()
    before = proxy.process.open_files()
    for _ in range(3):
        history.upgrade()
        history.wait_old()
    wait_until(lambda: proxy.process.open_files() <= before + 2, "descriptors to be given back")


def test_a_variable_that_no_program_set_is_refused(make_proxy, pod):
    with pytest.raises(Died, match="not set by a process"):
        make_proxy([region("one", pod)], env={"NEARSIDE_UPGRADE": "nonsense"})


def ticks(pid):
    """CPU time of a process, in hundredths of a second."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_an_upgrade_while_the_last_but_one_still_drains(make_proxy, generations, pod):
    """Three generations live at once; each old one ends in its own time, and none is missed."""
    proxy = make_proxy([region("one", pod)])
    history = generations(proxy)
    body = answers.chat("x", stream=True, max_tokens=40)
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", body, {"X-Pod-Gap-Ms": "50"}))
        conn.read_head()
        history.upgrade()
        history.upgrade()
        with proxy.connect() as other:  # keeps the middle one
            other.send(raw.request_bytes("POST", "/v1/chat/completions", body,
                                         {"X-Pod-Gap-Ms": "80"}))
            other.read_head()
            history.upgrade()
            for stream in (conn, other):
                assert raw.sse_text(event for _, event in stream.events())[:2] == \
                    (answers.chat_text(body), True)
    middle = history.old[1].pid
    used = ticks(middle) if os.path.exists(f"/proc/{middle}") else 0
    history.wait_old()
    assert used < 100, f"the middle process turned for {used / 100} s of its two"
    assert len(proxy.log("predecessor_ended")) >= 2
    assert not proxy.log("successor_ended")


def test_sigterm_lets_a_replaced_process_finish(make_proxy, generations, pod):
    proxy = make_proxy([region("one", pod)])
    history = generations(proxy)
    body = answers.chat("x", stream=True, max_tokens=20)
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", body, {"X-Pod-Gap-Ms": "50"}))
        conn.read_head()
        history.upgrade()
        os.kill(history.old[0].pid, signal.SIGTERM)
        assert raw.sse_text(event for _, event in conn.events())[:2] == \
            (answers.chat_text(body), True)
    history.wait_old()
