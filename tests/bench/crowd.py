#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make crowd`: 1,000 identical streams at once on 4 workers. When does each get its first token?

Each of CROWD_ROUNDS (5) rounds asks a new prompt on 1,000 connections (crowd.c, which says how it
keeps out of the edge's way) and prints how long after the leader's first token the others' came.
Checked: one request for the pod, all bytes for all; and that in the best round (a round measures
what else runs on the machine, too) the last of all came within LIMIT_US. CROWD_UNDER is a command
to run the edge and the crowd under, `chrt -f 10` for one, on a machine that is not quiet.
"""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import machine, servers, workloads  # noqa: E402

COUNT = 1000
WORKERS = 4
LIMIT_US = 5000
ROUNDS = int(os.environ.get("CROWD_ROUNDS", "5"))
UNDER = os.environ.get("CROWD_UNDER", "").split()
# Long enough for all to have joined; then a pause in which the clients sleep.
SLOWLY = ("X-Pod-First-Token-Ms: 2000", "X-Pod-Gap-Ms: 250")


def crowd(server, turn, directory):
    path = os.path.join(directory, "request")
    with open(path, "wb") as file:
        file.write(workloads.post(f"Round {turn} of a crowd.", True, 4, SLOWLY))
    done = subprocess.run([*UNDER, os.path.join(machine.BUILD, "bench", "crowd"), str(server.port),
                           str(COUNT), path], check=True, capture_output=True, text=True)
    seen = json.loads(done.stdout)
    print(f"leader's first token + {seen['lag_p50_us']} us (median), {seen['lag_p99_us']} us (p99),"
          f" {seen['lag_max_us']} us (the last of {COUNT:,})", flush=True)
    if (seen["leaders"], seen["collapsed"], seen["same"]) != (1, COUNT - 1, COUNT):
        sys.exit(f"crowd: not one request for the pod, or not all bytes for all: {seen}")
    return seen["lag_max_us"]


def main():
    servers.raise_fd_limit()
    print(f"{machine.cpu_model()}, {os.cpu_count()} cores, {WORKERS} workers")
    with tempfile.TemporaryDirectory(prefix="nearside-crowd-") as directory:
        pod = servers.Pod()
        server = servers.Server("nearside", f"crowd:{WORKERS}", directory, pod.port, None, UNDER)
        try:
            best = min(crowd(server, turn, directory) for turn in range(ROUNDS))
        finally:
            server.stop()
            pod.stop()
    if best > LIMIT_US:
        sys.exit(f"crowd: the last one came later than {LIMIT_US} us in every round")


if __name__ == "__main__":
    main()
