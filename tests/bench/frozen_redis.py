#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make bench-redis`: what clients notice when Redis freezes under 2,000 requests a second.

Without a memory tier, so that each request asks Redis. Open loop: a request is sent at its time
whether or not the one before has been answered, so that a stall counts for all who wait in it.
Redis is up; then it is stopped (SIGSTOP) a second into a run; then the breakers are open. Exit code
1 when a request failed, when more than one in a hundred met the deadline, or when a p99 is above
its bound: redis_timeout_ms + 2 ms while it freezes, 1 ms more than with Redis up behind the
breakers. These bounds are for a quiet machine: other work shows in the first row already.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path[:0] = [os.path.join(TOP, "tests", "integration")]

from env import answers, raw  # noqa: E402
from env.conf import region  # noqa: E402
from env.pod import Pod  # noqa: E402
from env.proxy import Proxy  # noqa: E402
from env.redis import Redis  # noqa: E402
from env.waiting import wait_until  # noqa: E402

LOAD = os.path.join(TOP, "build", "bench", "load")
TIMEOUT_MS = 5
ALLOWED_BEFORE_US = (TIMEOUT_MS + 2) * 1000
ALLOWED_BEHIND_US = 1000
ALLOWED_TIMEOUTS = 0.01
FREEZE_AFTER_S = 1.0


def start_proxy(directory, pod, redis):
    cache = {"enabled": True, "memory_bytes": 0, "coalesce": False, "redis_timeout_ms": TIMEOUT_MS,
             "max_entry_bytes": 65536}
    proxy = Proxy(directory, [region("near", pod, redis)], cache=cache, log={"access_file": ""})
    wait_until(lambda: proxy.region("near")["redis"]["up"], "redis up")
    return proxy


def timeouts(proxy):
    labels = {"tier": "redis", "result": "timeout"}
    return int(proxy.metrics().value("nearside_cache_requests_total", labels))


def load(proxy, options, seconds, label, directory):
    """The load program's figures, and how many look-ups met their deadline meanwhile."""
    request = os.path.join(directory, "request")
    body = answers.chat("x", max_tokens=4)
    with open(request, "wb") as file:
        file.write(raw.request_bytes("POST", "/v1/chat/completions", body))
    before = timeouts(proxy)
    done = subprocess.run([LOAD, "--connect", f"127.0.0.1:{proxy.port}", "--request", request,
                           "--connections", str(options.connections), "--rate", str(options.rate),
                           "--seconds", str(seconds), "--warm", "0"],
                          capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    seen["timeouts"] = timeouts(proxy) - before
    seen["failed"] = seen["failures"] + seen["bad_statuses"]
    print(f"{label:16} {seen['answers']:6} answers, {seen['failed']} failed,"
          f" {seen['timeouts']} met the deadline; p99 {seen['p99_us'] / 1000:.2f} ms,"
          f" p99.9 {seen['p999_us'] / 1000:.2f} ms", flush=True)
    return seen


def measure(proxy, redis, options, directory):
    load(proxy, options, 1, "warm", directory)
    up = load(proxy, options, 4, "up", directory)
    freeze = threading.Timer(FREEZE_AFTER_S, redis.freeze)
    freeze.start()
    try:
        frozen = load(proxy, options, 3, "frozen after 1 s", directory)
    finally:
        freeze.join()
    behind = load(proxy, options, 4, "breakers open", directory)
    redis.thaw()
    return up, frozen, behind


def faults(up, frozen, behind):
    if up["failed"] + frozen["failed"] + behind["failed"] > 0:
        yield "requests failed"
    if frozen["timeouts"] == 0:
        yield "nothing met the deadline: Redis was not asked"
    if frozen["timeouts"] > ALLOWED_TIMEOUTS * frozen["answers"]:
        yield "too many met the deadline"
    if frozen["p99_us"] > ALLOWED_BEFORE_US:
        yield "the p99 before the breakers opened"
    if behind["p99_us"] > up["p99_us"] + ALLOWED_BEHIND_US:
        yield "the p99 behind the open breakers"


def run(options, directory):
    pod, redis = Pod(directory, "a"), Redis(directory)
    proxy = None
    try:
        proxy = start_proxy(directory, pod, redis)
        return list(faults(*measure(proxy, redis, options, directory)))
    finally:
        if proxy is not None:
            proxy.destroy()
        pod.close()
        redis.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nearside-redis-") as directory:
        found = run(options, directory)
    if found:
        sys.exit("bench-redis: " + "; ".join(found))


if __name__ == "__main__":
    main()
