# SPDX-License-Identifier: MIT
"""Thousands of requests wait in a region that vanishes: all are moved, and nobody else notices."""
import resource
import selectors
import socket
import threading
import time

from env import answers, raw
from env.conf import region
from env.waiting import wait_until

ROOM = 2000          # descriptors kept for everything else
WAITING_MAX = 3000   # 9,000 were moved as well; a busy machine wants mercy
PAUSE_MAX_S = 0.5    # for a request beside the move, on an idle machine; 0.14 s with 9,000


def waiting_count():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(WAITING_MAX, (hard - ROOM) // 2)


def open_waiting(port, count):
    request = raw.request_bytes("POST", "/v1/chat/completions", answers.chat("wait"))
    request = request if isinstance(request, bytes) else request.encode()
    conns = []
    for _ in range(count):
        conn = socket.create_connection(("127.0.0.1", port), timeout=30)
        conn.sendall(request)
        conns.append(conn)
    return conns


def read_answers(conns, timeout):
    """The head of each one's answer; closes them."""
    heads = []
    chooser = selectors.DefaultSelector()
    for conn in conns:
        chooser.register(conn, selectors.EVENT_READ)
    until = time.monotonic() + timeout
    while len(heads) < len(conns):
        assert time.monotonic() < until, f"{len(heads)} of {len(conns)} answered"
        for key, _ in chooser.select(1.0):
            heads.append(key.fileobj.recv(65536).split(b"\r\n\r\n")[0].decode())
            chooser.unregister(key.fileobj)
            key.fileobj.close()
    return heads


class Bystander:
    """Asks the other region again and again, one request at a time, and remembers the slowest."""

    def __init__(self, proxy):
        self.slowest = 0.0
        self.count = 0
        self._proxy = proxy
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _run(self):
        while not self._ended.is_set():
            begun = time.monotonic()
            response = self._proxy.get("/echo", headers={"X-Nearside-Regions": "far"})
            assert response.status == 200
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.count += 1


def test_thousands_that_wait_are_moved_and_the_loop_goes_on(make_pod, make_proxy):
    near = make_pod("near", path_delay_ms=2, first_token_ms=60000)
    far = make_pod("far", path_delay_ms=20)
    proxy = make_proxy([region("near", near), region("far", far)], cache={"enabled": False},
                       timeouts={"connect_ms": 5000})
    proxy.wait_log("home_changed", to="near")
    count = waiting_count()
    assert count >= 1000, "too few descriptors to show anything"
    conns = open_waiting(proxy.port, count)
    wait_until(lambda: near.counters()["active"] == count, "all to wait in near", 30.0)
    with Bystander(proxy) as steady:
        wait_until(lambda: steady.count >= 50, "to know this machine's pace")
    with Bystander(proxy) as bystander:
        near.freeze()
        proxy.wait_region("near", "down")
        heads = read_answers(conns, 30.0)
    assert all(head.startswith("HTTP/1.1 200") and "X-Nearside-Region: far" in head
               for head in heads)
    assert bystander.count > 10
    allowed_s = PAUSE_MAX_S + 10 * steady.slowest  # a busy machine is slow at everything
    assert bystander.slowest < allowed_s, f"a request took {bystander.slowest:.3f} s"
    print(f"moved {count}; of {bystander.count} requests beside it the slowest took "
          f"{bystander.slowest * 1000:.1f} ms")
    near.thaw()
