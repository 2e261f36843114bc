# SPDX-License-Identifier: MIT
"""One measurement: start a proxy, put load on it, say what it cost."""
import json
import os
import signal
import subprocess
import tempfile
import time

from . import machine
from .servers import Server

FIXED_REQUESTS = 12000
LOAD = os.path.join(machine.BUILD, "bench", "load")


class Direct:
    """No proxy: the pod itself."""
    pids = ()

    def __init__(self, pod):
        self.port = pod.port

    def stop(self):
        pass


def load_argv(workload, subject, server, pod, seconds, directory):
    path = os.path.join(directory, "request")
    with open(path, "wb") as file:
        file.write(subject.request or workload.request)
    argv = [LOAD, "--connect", f"127.0.0.1:{server.port}", "--request", path,
            "--connections", str(workload.connections), "--seconds", str(seconds),
            "--warm", str(workload.warm), "--ramp", str(workload.ramp), *workload.flags]
    if workload.rate:
        argv += ["--rate", str(workload.rate)]
    for pid in (pod.process.pid, *server.pids):
        argv += ["--cpu", str(pid)]
    return machine.pinned(machine.LOAD_CORE, argv)


def disturb(workload, server, process, seconds):
    """While the load runs: reload every second, or read the memory in the middle."""
    memory = 0
    end = time.monotonic() + workload.warm + seconds
    if workload.reload_every:
        while process.poll() is None and time.monotonic() < end:
            time.sleep(workload.reload_every)
            os.kill(server.pids[0], signal.SIGHUP)
    elif workload.memory_per:
        time.sleep(workload.warm + seconds / 2)
        memory = machine.pss_kib(server.pids)
    return memory


def figures(workload, counted, memory_kib):
    """What is reported of a run: cost per unit first."""
    pod, *proxy = counted["cpu"]
    cpu_us = sum(one["ns"] for one in proxy) / 1e3
    answers = counted["answers"]
    units = {"token": counted["events"], "MiB": answers * workload.size_mib,
             "handshake": counted["connects"]}.get(workload.unit, answers)
    wall_ns = counted["seconds"] * 1e9
    return {
        "cpu_us": cpu_us / units if units else None,
        "runs": sum(one["runs"] for one in proxy) / units if units else None,
        "rate": units / counted["seconds"],
        "p50_us": counted["p50_us"], "p99_us": counted["p99_us"], "p999_us": counted["p999_us"],
        "ttft_p99_us": counted["ttft_p99_us"] or None, "late_p99_us": counted["late_p99_us"] or None,
        "failures": counted["failures"] + counted["bad_statuses"],
        "resumed": counted["resumed"] / counted["connects"] if counted["connects"] else 0,
        "proxy_busy": cpu_us * 1e3 / wall_ns,
        "pod_busy": pod["ns"] / wall_ns,
        "load_busy": counted["own_cpu_ns"] / wall_ns,
        "memory_kib": memory_kib / workload.connections,
    }


def profile(workload, subject, server, seconds):
    """BENCH_PERF=1: where the proxy's time went, into build/perf-WORKLOAD-LABEL.txt."""
    if os.environ.get("BENCH_PERF") != "1":
        return
    base = os.path.join(machine.BUILD, f"perf-{workload.name}-{subject.label}".replace(" ", "_"))
    time.sleep(workload.warm)
    with tempfile.NamedTemporaryFile() as data, open(base + ".txt", "w") as text:
        subprocess.run(["perf", "record", "-q", "-F", "1999", "-e", "cpu-clock", "-o", data.name,
                        "-p", ",".join(map(str, server.pids)), "--", "sleep", str(seconds * 0.9)],
                       capture_output=True, check=True)
        subprocess.run(["perf", "report", "-i", data.name, "--stdio", "--percent-limit", "0.5",
                        "--sort", "symbol,dso"], stdout=text, stderr=subprocess.DEVNULL, check=True)


def run_load(workload, subject, server, pod, seconds, directory):
    before = machine.pss_kib(server.pids) if workload.memory_per else 0
    argv = load_argv(workload, subject, server, pod, seconds, directory)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        profile(workload, subject, server, seconds)
        memory = disturb(workload, server, process, seconds)
        text, _ = process.communicate(timeout=120)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {process.returncode}")
    return figures(workload, json.loads(text), max(0, memory - before))


def fill_fixed_memory(server, directory):
    """What a process keeps of its last requests, however many connections they came on, is not
    memory of a connection: have it there before."""
    subprocess.run(machine.pinned(machine.LOAD_CORE, [
        LOAD, "--connect", f"127.0.0.1:{server.port}", "--request",
        os.path.join(directory, "request"), "--connections", "1", "--count", str(FIXED_REQUESTS)]),
        check=True, capture_output=True, timeout=120)


def run_hold(workload, subject, server, pod, seconds, directory):
    """Idle connections: memory alone counts."""
    argv = load_argv(workload, subject, server, pod, seconds, directory)
    fill_fixed_memory(server, directory)
    before = machine.pss_kib(server.pids)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        words = process.stdout.readline().split()
        held, failed = int(words[1]), int(words[3])
        time.sleep(0.3)
        memory = machine.pss_kib(server.pids) - before
        machine.stop(process)
    return {"cpu_us": None, "failures": failed, "memory_kib": memory / max(held, 1)}


def measure(workload, subject, pod, seconds, certificate):
    with tempfile.TemporaryDirectory(prefix="nearside-bench-", dir="/dev/shm") as directory:
        server = (Direct(pod) if subject.name == "direct" else
                  Server(subject.name, subject.kind, directory, pod.port, certificate))
        try:
            how = run_hold if "--hold" in workload.flags else run_load
            return how(workload, subject, server, pod, seconds, directory)
        finally:
            server.stop()
