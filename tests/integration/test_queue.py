# SPDX-License-Identifier: MIT
"""Waiting for room at an endpoint that takes no more than so many requests at once."""
import threading
import time

from env import raw
from env.conf import region


def test_no_worker_keeps_the_room_to_itself(make_pod, make_proxy):
    """30 clients over two workers, one place: each gets its turn long before the queue's timeout."""
    proxy = make_proxy([region("near", make_pod("a"))], edge={"workers": 2},
                       limits={"max_inflight_per_endpoint": 1, "queue_timeout_ms": 2500})
    end = time.monotonic() + 4
    statuses, served = [], []

    def client():
        count = 0
        with proxy.connect() as conn:
            while time.monotonic() < end:
                conn.send(raw.request_bytes("GET", "/echo", headers={"X-Pod-First-Token-Ms": 20}))
                statuses.append(conn.read_response().status)
                count += 1
        served.append(count)

    clients = [threading.Thread(target=client) for _ in range(30)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert set(statuses) == {200}
    assert min(served) * 4 >= max(served)
