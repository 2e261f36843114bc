#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make churn`: does the memory tier keep to its bound when answers of all sizes come and go?

An hour in half a minute: CHURN_REQUESTS (90,000: 25 a second for an hour) new prompts, to 4
workers and through a cache of 64 MiB, and a quarter of them once more. In phases of small, large,
streamed and plain answers, of 300 bytes to 1 MiB, because what breaks an allocator is that the sizes
change. Meanwhile entries come to the end of their time, are replaced, and twice all are purged.

Read all the time: `nearside_cache_bytes`, which must never be above cache.memory_bytes, and the
resident memory, which must never be above 1.25 times that and what the process took before: warm,
from answering one request many times.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import machine, servers, workloads  # noqa: E402
from harness.measure import LOAD  # noqa: E402

BOUND = 64 << 20
ALLOWED = 1.25
REQUESTS = int(os.environ.get("CHURN_REQUESTS", "90000"))
TURNS = 6
PURGED_TURNS = (2, 4)
AGAIN = 4  # each so many-th request is asked once more
WARM_REQUESTS = 12000  # fills the ring of remembered requests
SETTLE_S = 2  # some trims, if there is anything to trim
AT_ONCE = ("X-Pod-Gap-Ms: 0", "X-Pod-First-Token-Ms: 0")
# (tokens, streamed, share of the requests, connections): plain answers of 0.3 to 60 KB, streams of
# 4 KB to 1 MiB
PHASES = ((16, False, 6, 16), (1000, True, 1, 16), (1, False, 3, 16), (120, False, 5, 16),
          (4800, True, 0.1, 4), (8000, False, 1, 16), (20, True, 6, 16), (3000, False, 1, 16),
          (200, True, 3, 16))


def rss_bytes(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * 1024


def admin(server, path, data=None):
    url = f"http://127.0.0.1:{server.words['ADMIN']}{path}"
    with urllib.request.urlopen(url, data, timeout=10) as answer:
        return answer.read().decode()


def metric(server, name):
    """The sum over what begins with `name`."""
    return sum(float(value) for value in
               re.findall(rf"^{re.escape(name)}\S* (\S+)$", admin(server, "/metrics"), re.M))


class Most:
    """The most that the cache and the process held."""

    def __init__(self, server):
        self.server, self.cached, self.resident = server, 0, 0

    def look(self):
        self.cached = max(self.cached, metric(self.server, "nearside_cache_bytes"))
        self.resident = max(self.resident, rss_bytes(self.server.pids[0]))


def send(server, most, name, phase, count, directory):
    """`count` requests whose prompts are `name` and a number, from 0 on."""
    tokens, streamed, _, connections = phase
    path = os.path.join(directory, "request")
    with open(path, "wb") as file:
        file.write(workloads.post(f"{name} {workloads.MARK}", streamed, tokens, AT_ONCE))
    argv = [LOAD, "--connect", f"127.0.0.1:{server.port}", "--request", path, "--connections",
            str(connections), "--count", str(count)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            most.look()
            time.sleep(0.05)
        counted = json.loads(process.stdout.read())
    if process.returncode != 0 or counted["failures"] or counted["bad_statuses"]:
        raise RuntimeError(f"requests failed: {counted}")


def warm_up(server, directory):
    path = os.path.join(directory, "request")
    with open(path, "wb") as file:
        file.write(workloads.post(workloads.SMALL))
    subprocess.run([LOAD, "--connect", f"127.0.0.1:{server.port}", "--request", path,
                    "--connections", "16", "--count", str(WARM_REQUESTS)],
                   check=True, stdout=subprocess.DEVNULL)


def churn(server, directory):
    parts = sum(share for _, _, share, _ in PHASES)
    most = Most(server)
    for turn in range(1, TURNS + 1):
        for phase in PHASES[turn % 2:] + PHASES[:turn % 2]:
            count = max(4, int(REQUESTS * phase[2] / (parts * TURNS)))
            send(server, most, f"turn {turn}", phase, count, directory)
            send(server, most, f"turn {turn}", phase, max(4, count // AGAIN), directory)
        print(f"turn {turn} of {TURNS}: cache {metric(server, 'nearside_cache_bytes') / BOUND:.3f} of"
              f" its bound, resident {rss_bytes(server.pids[0]) / BOUND:.3f}", flush=True)
        if turn in PURGED_TURNS:
            admin(server, "/cache/purge", b"")
    return most


def main():
    servers.raise_fd_limit()
    with tempfile.TemporaryDirectory(prefix="nearside-churn-") as directory:
        pod = servers.Pod()
        server = servers.Server("nearside", f"churn:{BOUND}", directory, pod.port, None)
        try:
            warm_up(server, directory)
            idle = rss_bytes(server.pids[0])
            begun = time.monotonic()
            most = churn(server, directory)
            took = time.monotonic() - begun
            hits = metric(server, 'nearside_cache_requests_total{tier="memory",result="hit"')
            evictions = metric(server, "nearside_cache_evictions_total")
            time.sleep(SETTLE_S)
            end = rss_bytes(server.pids[0])
        finally:
            server.stop()
            pod.stop()
    print(f"{REQUESTS:,} new prompts in {took:.0f} s, {hits:,.0f} hits, {evictions:,.0f} evictions")
    print(f"idle {idle / 2**20:.1f} MiB; bound {BOUND / 2**20:.0f} MiB; cache at most"
          f" {most.cached / 2**20:.1f} MiB; resident beyond idle, as a share of the bound: at most"
          f" {(most.resident - idle) / BOUND:.3f} meanwhile, {(end - idle) / BOUND:.3f} after it")
    if most.cached > BOUND or most.cached < BOUND * 0.9:
        sys.exit("churn: the cache's bound was not kept, or the cache never full")
    if max(most.resident, end) > ALLOWED * BOUND + idle:
        sys.exit(f"churn: more than {ALLOWED} times the bound was resident beyond idle")


if __name__ == "__main__":
    main()
