#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make churn`: does the memory tier keep to its bound when answers of all sizes come and go?

An hour of new prompts, as fast as the machine takes them: CHURN_REQUESTS (90,000: 25 a second for an
hour) unique requests, in phases of small, large, streamed and plain answers, because what breaks an
allocator is that the sizes change. `cache_bytes` is read all the time and must never be above
cache.memory_bytes; at the end, when nothing is under way, the resident memory must be within 1.25
times that and what the process took before: warm, from answering one request many times.
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
WARM_REQUESTS = 12000  # fills the ring of remembered requests
SETTLE_S = 7  # free memory is looked at each second, and given back every five at most
AT_ONCE = ("X-Pod-Gap-Ms: 0", "X-Pod-First-Token-Ms: 0")
# (tokens, streamed, share of the requests): plain answers of 1 to 60 KB, streams of 4 to 250 KB
PHASES = ((16, False, 6), (1000, True, 1), (120, False, 5), (8000, False, 1), (20, True, 6),
          (3000, False, 1), (200, True, 3))


def rss_bytes(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * 1024


def cache_bytes(server):
    url = f"http://127.0.0.1:{server.words['ADMIN']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(float(re.search(r"^nearside_cache_bytes\S* (\S+)$", answer.read().decode(),
                                   re.M).group(1)))


def send(server, name, tokens, streamed, count, directory):
    """Unique requests; returns the most that the cache and the process held meanwhile."""
    path = os.path.join(directory, "request")
    with open(path, "wb") as file:
        file.write(workloads.post(f"{name} {workloads.MARK}", streamed, tokens, AT_ONCE))
    argv = [LOAD, "--connect", f"127.0.0.1:{server.port}", "--request", path, "--connections", "16",
            "--count", str(count)]
    cached, resident = 0, 0
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            cached = max(cached, cache_bytes(server))
            resident = max(resident, rss_bytes(server.pids[0]))
            time.sleep(0.05)
        counted = json.loads(process.stdout.read())
    if process.returncode != 0 or counted["failures"] or counted["bad_statuses"]:
        raise RuntimeError(f"requests failed: {counted}")
    return cached, resident


def warm_up(server, directory):
    path = os.path.join(directory, "request")
    with open(path, "wb") as file:
        file.write(workloads.post(workloads.SMALL))
    subprocess.run([LOAD, "--connect", f"127.0.0.1:{server.port}", "--request", path,
                    "--connections", "16", "--count", str(WARM_REQUESTS)],
                   check=True, stdout=subprocess.DEVNULL)


def churn(server, directory):
    parts = sum(share for _, _, share in PHASES)
    cached, resident = 0, 0
    for turn in range(TURNS):
        for tokens, streamed, share in PHASES[turn % 2:] + PHASES[:turn % 2]:
            most = send(server, f"turn {turn}", tokens, streamed, REQUESTS * share // (parts * TURNS), directory)
            cached, resident = max(cached, most[0]), max(resident, most[1])
        print(f"turn {turn + 1} of {TURNS}: cache {cache_bytes(server) / BOUND:.3f} of its bound,"
              f" resident {rss_bytes(server.pids[0]) / BOUND:.3f}", flush=True)
    return cached, resident


def main():
    servers.raise_fd_limit()
    with tempfile.TemporaryDirectory(prefix="nearside-churn-") as directory:
        pod = servers.Pod()
        server = servers.Server("nearside", f"cache:{BOUND}", directory, pod.port, None)
        try:
            warm_up(server, directory)
            idle = rss_bytes(server.pids[0])
            cached, resident = churn(server, directory)
            time.sleep(SETTLE_S)
            end = rss_bytes(server.pids[0])
        finally:
            server.stop()
            pod.stop()
    allowed = ALLOWED * BOUND + idle
    print(f"idle {idle / 2**20:.1f} MiB; bound {BOUND / 2**20:.0f} MiB; cache at most"
          f" {cached / 2**20:.1f} MiB; resident at most {resident / 2**20:.1f} MiB under load,"
          f" {end / 2**20:.1f} MiB after it: {(end - idle) / BOUND:.3f} of the bound, beyond idle")
    if cached > BOUND or cached < BOUND * 0.9 or end > allowed:
        sys.exit("churn: the bound was not kept, or the cache never full")


if __name__ == "__main__":
    main()
