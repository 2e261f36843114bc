#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make bench-smoke`: what one request or token costs in instructions, allocations and system calls.

Counts, not times, so a busy machine does not matter: callgrind's instructions and calls of malloc
(twice as much work less once as much, so that start and end cancel out), strace's system calls;
of the worker thread alone, since what others do depends on the time it all takes. Each is held
against tests/bench/budget.json: more than 3 % above fails, more than 3 % below asks for a lower
budget (25 % for the large fleet, 10 % for the handshake and the token). BENCH_UPDATE=1 writes what was counted as the new budget.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import machine, servers, workloads  # noqa: E402
from harness.measure import LOAD  # noqa: E402

BUDGET = os.path.join(machine.TOP, "tests", "bench", "budget.json")
TOLERANCE = 0.03
# Views come as latencies are measured, with time: here a walk over the fleet is looked for, which
# would double it.
# A handshake's flights meet the loop in one turn or two; tokens come alone or two at once.
TOLERANCES = {"large_fleet": 0.25, "tls_handshake": 0.10, "sse_token": 0.10}
ALLOCATORS = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"}
TOKENS = 50

# name: (config, request, connections in one, units per answer, answers)
SCENARIOS = {
    "small_request": ("plain", workloads.post(workloads.SMALL, headers=workloads.KEY), (), 1, 300),
    "logged_request": ("log", workloads.post(workloads.SMALL, headers=workloads.KEY), (), 1, 300),
    "new_connection": ("plain", workloads.post(workloads.SMALL, headers=workloads.KEY, close=True),
                       ("--new",), 1, 200),
    "memory_hit": ("cache", workloads.post(workloads.SMALL), (), 1, 300),
    "sse_token": ("plain", workloads.post(workloads.SMALL, True, TOKENS,
                                          (*workloads.KEY, "X-Pod-Gap-Ms: 2")), (), TOKENS, 6),
    "large_fleet": ("fleet:16x64", workloads.post(workloads.SMALL, headers=workloads.KEY), (), 1, 300),
    "tls_handshake": ("tls", workloads.post(workloads.SMALL, headers=workloads.KEY, close=True),
                      ("--tls", "--new"), 1, 20),
}


def send(server, request, flags, count, directory):
    path = os.path.join(directory, "request")
    with open(path, "wb") as file:
        file.write(request)
    done = subprocess.run(machine.pinned(machine.LOAD_CORE, [
        LOAD, "--connect", f"127.0.0.1:{server.port}", "--request", path, "--connections", "1",
        "--count", str(count), *flags]), capture_output=True, text=True, check=True, timeout=100)
    counted = json.loads(done.stdout)
    if counted["failures"] or counted["bad_statuses"]:
        raise RuntimeError(f"requests failed: {done.stdout}")


def worker_counts(directory):
    """(instructions, allocations) of the thread that serves requests: one file a thread."""
    for name in os.listdir(directory):
        if not name.startswith("callgrind.out-"):
            continue
        instructions, allocations, called = 0, 0, ""
        with open(os.path.join(directory, name)) as file:
            text = file.read()
        if "request_start" not in text:
            continue
        for line in text.split("\n"):
            if line.startswith("cfn="):
                called = line[4:].strip().split("'")[0]
            elif line.startswith("calls=") and called in ALLOCATORS:
                allocations += int(line[6:].split()[0])
            elif line.startswith(("summary:", "totals:")):
                instructions = int(line.split()[1])
        return instructions, allocations
    raise RuntimeError("callgrind saw no thread that serves requests")


def callgrind(pod, scenario, certificate, count):
    """(instructions, allocations) of a whole run with so many answers."""
    kind, request, flags, _, _ = scenario
    with tempfile.TemporaryDirectory(prefix="nearside-smoke-", dir="/dev/shm") as directory:
        out = os.path.join(directory, "callgrind.out")
        server = servers.Server("nearside", kind, directory, pod.port, certificate,
                                ("valgrind", "--tool=callgrind", "--compress-strings=no",
                                 "--separate-threads=yes", f"--callgrind-out-file={out}", "-q"))
        try:
            send(server, request, flags, count, directory)
        finally:
            server.stop()
        return worker_counts(directory)


def worker_thread(pid):
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm") as file:
            if file.read().startswith("worker"):
                return task
    raise RuntimeError("no thread is named worker")


def is_traced(pid, task):
    with open(f"/proc/{pid}/task/{task}/status") as file:
        return not re.search(r"^TracerPid:\s+0$", file.read(), re.M)


def system_calls(pod, scenario, certificate, directory):
    """System calls of the worker thread per unit."""
    kind, request, flags, units, count = scenario
    out = os.path.join(directory, "strace.out")
    server = servers.Server("nearside", kind, directory, pod.port, certificate)
    try:
        task = worker_thread(server.pids[0])
        tracer = subprocess.Popen(["strace", "-c", "-o", out, "-p", task],
                                  stderr=subprocess.DEVNULL)
        while not is_traced(server.pids[0], task):
            time.sleep(0.01)
        send(server, request, flags, count, directory)
        machine.stop(tracer)
    finally:
        server.stop()
    with open(out) as file:
        total = re.search(r"^100\.00\s.*?(\d+)(?:\s+\d+)?\s+total$", file.read(), re.M)
    return int(total.group(1)) / (count * units)


def count_scenario(pod, scenario, certificate):
    units, count = scenario[3], scenario[4]
    once = callgrind(pod, scenario, certificate, count)
    twice = callgrind(pod, scenario, certificate, 2 * count)
    with tempfile.TemporaryDirectory(prefix="nearside-smoke-", dir="/dev/shm") as directory:
        calls = system_calls(pod, scenario, certificate, directory)
    return {"instructions": round((twice[0] - once[0]) / (count * units)),
            "allocations": round((twice[1] - once[1]) / (count * units), 2),
            "system_calls": round(calls, 2)}


def judge(counted, allowed, tolerance):
    """A word for each figure and whether all are within the budget."""
    if allowed is None:
        return "no budget", False
    slack = max(allowed * tolerance, 0.05)
    if counted > allowed + slack:
        return f"OVER the budget of {allowed}", False
    return (f"under: lower the budget of {allowed}" if counted < allowed - slack else "ok"), True


def count_all(budget):
    """What each scenario took, and whether all of it is within the budget."""
    result, is_fine = {}, True
    pod = servers.Pod(True)
    try:
        with tempfile.TemporaryDirectory(prefix="nearside-smoke-") as directory:
            certificate = machine.make_certificate(directory)
            for name, scenario in SCENARIOS.items():
                result[name] = count_scenario(pod, scenario, certificate)
                for what, counted in result[name].items():
                    word, within = judge(counted, budget.get(name, {}).get(what),
                                         TOLERANCES.get(name, TOLERANCE))
                    is_fine = is_fine and within
                    print(f"{name:16} {what:13} {counted:>10} {word}", flush=True)
    finally:
        pod.stop()
    return result, is_fine


def main():
    budget = {}
    if os.path.exists(BUDGET):
        with open(BUDGET) as file:
            budget = json.load(file)
    servers.raise_fd_limit()
    result, is_fine = count_all(budget)
    if os.environ.get("BENCH_UPDATE") == "1":
        with open(BUDGET, "w") as file:
            json.dump(result, file, indent=2)
            file.write("\n")
        return 0
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
