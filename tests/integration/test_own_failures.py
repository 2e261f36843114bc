# SPDX-License-Identifier: MIT
"""Failure of our own: no memory, no descriptors, no disk, a log nobody reads, a clock that jumps,
a crash. What is running goes on, what cannot be done is refused, and nothing is half dead."""
import contextlib
import ctypes
import fcntl
import mmap
import os
import platform
import signal
import socket
import struct
import subprocess
import time

import pytest
from env import answers, raw
from env.conf import region
from env.processes import TOP
from env.waiting import wait_until


@pytest.fixture
def pod(make_pod):
    return make_pod("a")


def hits(proxy, limit):
    return proxy.metrics().value("nearside_limit_hits_total", {"limit": limit})


# ---- memory ----

@pytest.fixture(scope="session")
def broken_machine(tmp_path_factory):
    """A library that refuses memory and moves the wall clock; see its source."""
    source = os.path.join(TOP, "tests", "integration", "env", "broken_machine.c")
    library = str(tmp_path_factory.mktemp("preload") / "broken_machine.so")
    subprocess.run([os.environ.get("CC", "cc"), "-O1", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    return library


def is_sanitized():
    return any(word in os.environ.get("NEARSIDE_BIN", "") for word in ("asan", "tsan"))


@pytest.mark.skipif(is_sanitized(), reason="a sanitizer brings its own malloc")
def test_memory_refused_is_an_answer_and_not_the_end(make_proxy, make_pod, broken_machine,
                                                     tmp_path):
    """Every block over 64 KiB is refused: bodies, heads, answers waiting for slow clients."""
    pod = make_pod("a")
    switch = tmp_path / "refuse"
    proxy = make_proxy([region("near", pod)], cache={"enabled": True}, env={
        "LD_PRELOAD": broken_machine, "REFUSE_MEMORY_WHILE": str(switch),
        "REFUSE_MEMORY_FROM": "65537"})
    small = answers.chat("hello", max_tokens=3)
    large = {**answers.chat("x" * 110000, max_tokens=3)}  # longer ones have pages of their own
    assert proxy.chat(large).status == 200
    switch.touch()
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            slow = stack.enter_context(proxy.connect(receive_buffer=4096))
            slow.send(raw.request_bytes("GET", "/bytes/20000000"))
            head = stack.enter_context(proxy.connect())
            with contextlib.suppress(OSError):
                head.send(b"GET /echo HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 65400)
            refused = proxy.chat({**large, "user": "other", "n": 1, "seed": _})
            assert (refused.status, refused.error["code"]) == (503, "buffers_full")
            assert proxy.chat({**small, "seed": _}).status == 200, "small work goes on"
    switch.unlink()
    assert proxy.chat({**large, "seed": 99}).status == 200
    assert proxy.process.is_running


# ---- descriptors and sockets ----

def test_no_descriptor_at_all_is_survived(make_proxy, pod):
    """EMFILE from accept(): it pauses, and goes on when some are free."""
    proxy = make_proxy([region("near", pod)], limits={"reserve_descriptors": 0},
                       prefix=["prlimit", "--nofile=90:90"])
    with proxy.connect() as before, contextlib.ExitStack() as stack:
        before.send(raw.request_bytes("GET", "/echo"))
        assert before.read_response().status == 200
        for _ in range(120):
            stack.enter_context(raw.Conn(proxy.port))
        proxy.expect_log("accept_paused")
        before.send(raw.request_bytes("GET", "/echo"))
        assert before.read_response().status == 200, "who has a connection and a pod's is served"
    wait_until(lambda: proxy.get("/echo").status == 200, "room again")


SOCKET_CALLS = ("send", "recv", "accept", "connect", "socket")
FOR_EVER = 2**32 - 1


class ShortSockets:
    """A kernel without memory for sockets, by call: `short["send"] = 3` fails the next three."""

    def __init__(self, path, library):
        with open(path, "w+b") as file:
            file.write(bytes(mmap.PAGESIZE))
            file.flush()
            self._map = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.env = {"LD_PRELOAD": library, "SHORT_SOCKETS": str(path)}

    def __setitem__(self, call, count):
        struct.pack_into("I", self._map, 4 * SOCKET_CALLS.index(call), count)

    def __getitem__(self, call):
        return struct.unpack_from("I", self._map, 4 * SOCKET_CALLS.index(call))[0]


@pytest.fixture
def short(tmp_path, broken_machine):
    if "san/" in os.environ.get("NEARSIDE_BIN", ""):
        pytest.skip("a sanitizer's runtime wants to be the first library; this one is preloaded")
    return ShortSockets(tmp_path / "short", broken_machine)


def blamed(proxy):
    """Attempts that count against an endpoint."""
    return {labels["outcome"]: value for name, labels, value in proxy.metrics().samples
            if name == "nearside_attempt_outcomes_total" and value and
            labels["outcome"] not in ("ok", "local_limit", "client_gone")}


@pytest.mark.parametrize("call", ["send", "recv"])
def test_a_moment_without_memory_for_sockets_is_waited_out(make_proxy, pod, short, call):
    """ENOBUFS, ENOMEM: nobody notices but by the clock."""
    proxy = make_proxy([region("near", pod)], env=short.env)
    body = answers.chat("x" * 200000, max_tokens=5)
    for count in (1, 2, 5):
        short[call] = count
        assert proxy.chat(body).status == 200
        assert short[call] == 0
    assert not blamed(proxy) and proxy.region("near")["state"] == "up"


def fate(conn):
    """Of a request on `conn`."""
    try:
        conn.send(raw.request_bytes("GET", "/echo"))
        response = conn.read_response()
    except (raw.Closed, ConnectionResetError):
        return "cut off"
    return response.status if response.status == 200 else response.error["code"]


@pytest.mark.parametrize(("call", "expected"), [
    ("send", "cut off"), ("recv", "cut off"), ("accept", 200), ("connect", "local_limit"),
    ("socket", "local_limit")])
def test_no_memory_for_sockets_is_our_own_fault_and_nothing_spins(make_proxy, pod, short, call,
                                                                  expected):
    """It lasts: requests end, with a reason where one can still be said, the endpoint is not blamed,
    and when there is memory again all is as it was."""
    proxy = make_proxy([region("near", pod)], edge={"workers": 1}, env=short.env)
    began, cpu = time.monotonic(), cpu_seconds(proxy)
    with proxy.connect(timeout=5.0) as conn, proxy.connect() as busy:
        if call in ("connect", "socket"):  # a new connection to the pod is needed
            busy.send(raw.request_bytes("POST", "/v1/chat/completions",
                                        answers.chat("x", stream=True, max_tokens=15),
                                        {"X-Pod-Gap-Ms": "100"}))
            assert busy.read_head().status == 200
        wait_until(lambda: proxy.metrics().value("nearside_client_connections") == 2, "both accepted")
        short[call] = FOR_EVER
        assert fate(conn) == expected
        time.sleep(max(0.0, began + 1.5 - time.monotonic()))  # several probes of 200 ms
        short[call] = 0
    assert cpu_seconds(proxy) - cpu < 0.5
    wait_until(lambda: proxy.get("/echo").status == 200, "all as before")
    assert not blamed(proxy) and proxy.region("near")["state"] == "up"
    assert not proxy.log("endpoint_down"), proxy.log("endpoint_down")


def cpu_seconds(proxy):
    with open(f"/proc/{proxy.process.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- logs ----

def test_a_full_disk_under_the_logs_stops_no_request(make_proxy, pod):
    proxy = make_proxy([region("near", pod)])
    text = open(proxy.conf_path).read().replace(proxy.access_path, "/dev/full")
    proxy.write_conf(text=text)
    proxy.reload()
    proxy.wait_metric("nearside_reloads_total", {"result": "success"}, 1)
    for _ in range(50):
        assert proxy.get("/echo").status == 200
    proxy.wait_metric("nearside_limit_hits_total", {"limit": "log_buffer"},
                      lambda count: count >= 1)
    assert "No space left on device" in proxy.process.stderr()


def test_a_log_pipe_that_nobody_reads_blocks_nobody(make_proxy, pod, tmp_path):
    """Lines that find no room are dropped and counted; requests are as quick as ever."""
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    proxy = make_proxy([region("near", pod)])
    proxy.write_conf(text=open(proxy.conf_path).read().replace(proxy.access_path, pipe))
    proxy.reload()
    proxy.wait_metric("nearside_reloads_total", {"result": "success"}, 1)
    path = "/echo?" + "a" * 16000  # a line is cut at a path's 1 KiB or so: many requests are needed
    took = []
    with proxy.connect() as conn:
        for count in range(40000):
            began = time.monotonic()
            conn.send(raw.request_bytes("GET", path))
            assert conn.read_response().status == 200
            took.append(time.monotonic() - began)
            if count % 200 == 0 and hits(proxy, "log_buffer"):
                break
    assert hits(proxy, "log_buffer") > 0, "the pipe was never full"
    assert sorted(took)[len(took) // 2] < 0.05
    os.close(reader)


# ---- clocks ----

@pytest.mark.skipif("san/" in os.environ.get("NEARSIDE_BIN", ""),
                    reason="a sanitizer's runtime wants to be the first library; this one is preloaded")
def test_a_wall_clock_that_jumps_moves_no_timeout(make_proxy, pod, broken_machine, tmp_path):
    """Time in the edge is monotonic; the wall clock is for logs and dates alone."""
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    proxy = make_proxy([region("near", pod)], cache={"enabled": True}, env={
        "LD_PRELOAD": broken_machine, "CLOCK_AHEAD_FILE": str(ahead)})
    body = answers.chat("tell", stream=True, max_tokens=40)
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", body, {"X-Pod-Gap-Ms": "40"}))
        assert conn.read_head().status == 200
        for seconds in (864000, -864000, 0):
            ahead.write_text(str(seconds))
            assert proxy.get("/echo").status == 200
            line = wait_until(lambda: proxy.access_lines()[-1:], "an access line")[0]
            assert line["total_ms"] < 5000, line
            assert proxy.metrics().value("nearside_uptime_seconds") < 3600
            assert proxy.status()["edge"]["uptime_s"] < 3600
        events = [event for _, event in conn.events()]
    assert raw.sse_text(events)[:2] == (answers.chat_text(body), True)
    assert proxy.region("near")["state"] == "up"


# ---- crashes ----

SYS_TGKILL = {"x86_64": 234, "aarch64": 131}[platform.machine()]


def crash(proxy, number):
    """Have a worker's own thread take the signal."""
    for task in os.listdir(f"/proc/{proxy.process.pid}/task"):
        with open(f"/proc/{proxy.process.pid}/task/{task}/comm") as file:
            if file.read().startswith("worker-0"):
                ctypes.CDLL(None).syscall(SYS_TGKILL, proxy.process.pid, int(task), int(number))
                return
    raise AssertionError("no worker")


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS])
def test_a_worker_that_crashes_takes_the_process_with_it_at_once(make_proxy, pod, number):
    """No half-dead state: every port is closed, every client sees the end, a supervisor is told."""
    proxy = make_proxy([region("near", pod)])
    port, admin_port = proxy.port, proxy.admin_port
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/echo"))
        conn.read_response()
        began = time.monotonic()
        crash(proxy, number)
        with pytest.raises(raw.Closed):
            conn.read_response()
    wait_until(lambda: not proxy.process.is_running, "the end", 5)
    assert time.monotonic() - began < 5
    assert is_sanitized() or proxy.process.popen.returncode == -number
    assert is_sanitized() or f"crashed: {number.name} in thread worker-0" in proxy.process.stderr()
    for one in (port, admin_port):
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", one), 1)


def test_killed_and_started_again_it_serves_within_a_second(make_proxy, make_pod, make_redis):
    """With what the other edges know: an operator's drain holds from the first request on."""
    near, far = make_pod("near"), make_pod("far")
    redis = make_redis()
    regions = [region("near", near, redis=redis), region("far", far, redis=redis)]
    other = make_proxy(regions, edge={"id": "other"})
    proxy = make_proxy(regions)
    assert other.admin_post("/regions/near/drain").status == 200
    wait_until(lambda: proxy.region("near")["drained"], "the drain to arrive")
    proxy.process.kill()
    listening = len(proxy.log("listening"))
    began = time.monotonic()
    proxy.start(wait=None)
    wait_until(lambda: len(proxy.log("listening")) > listening, "the doors to open", 10)
    port = int(proxy.log("listening")[-1]["address"].rsplit(":", 1)[1])
    response = raw.one_request(port, "GET", "/echo")
    took = time.monotonic() - began
    assert (response.status, response.header("X-Nearside-Region")) == (200, "far")
    assert took < 1.0 * float(os.environ.get("TEST_SLOWNESS", "1")) + 1.0, took
    assert other.admin_post("/regions/near/undrain").status == 200
