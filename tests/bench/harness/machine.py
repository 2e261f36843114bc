# SPDX-License-Identifier: MIT
"""The machine: cores, ports, processes and what they use, certificates, versions."""
import contextlib
import os
import platform
import random
import re
import signal
import socket
import subprocess
import time
import urllib.request

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BUILD = os.path.join(TOP, "build")
PROXY_CORE = 0
LOAD_CORE = 1


def pinned(core, argv):
    """Run on `core` alone; where there is one core, on that."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[core % len(cores)]), *argv]


PORTS = range(20000, 30000)


def free_port():
    """A port nobody listens on. Others' configs cannot say 0. Below those that the kernel gives to
    outgoing connections, thousands of which come and go here."""
    for port in random.sample(PORTS, 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free")


def wait_port(port, process, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{process.args}: nothing listens on {port}")


def wait_ok(url, seconds=60):
    """Until it answers 200: the first probes have been sent and answered."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{url} is not ready")


def stop(process):
    """End a process that we started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def family(pid):
    """The process and its children."""
    pids = [pid]
    for parent in pids:
        try:
            with open(f"/proc/{parent}/task/{parent}/children") as file:
                pids += [int(child) for child in file.read().split()]
        except OSError:
            pass
    return pids


def pss_kib(pids):
    """Memory of these processes in KiB, shared pages split among their users."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M).group(1))
    return total


def make_certificate(directory):
    """A P-256 certificate and key; returns their paths and that of both in one file."""
    cert, key, both = (os.path.join(directory, name) for name in ("c.pem", "k.pem", "both.pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
                   check=True, capture_output=True)
    with open(both, "w") as out:
        for path in (cert, key):
            with open(path) as part:
                out.write(part.read())
    return cert, key, both


def first_match(argv, pattern):
    try:
        done = subprocess.run(argv, capture_output=True, text=True)
    except OSError:
        return "not there"
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else "?"


def sha256_ms():
    """What SHA-256 of 1 MiB costs here, by OpenSSL's own measure, on the proxy's core."""
    argv = ["openssl", "speed", "-mr", "-evp", "sha256", "-bytes", "1048576", "-seconds", "1"]
    rate = first_match(pinned(PROXY_CORE, argv), r"\+F:\d+:\S+?:([\d.]+)")
    return 1048576 / float(rate) * 1e3


def cpu_model():
    with open("/proc/cpuinfo") as file:
        found = re.search(r"model name\s*:\s*(.*)", file.read())
    return found.group(1) if found else platform.machine()


def route_ns():
    """{"4 x 8": ns of choosing a region and an endpoint}, from tests/bench/micro_route.c."""
    done = subprocess.run([os.path.join(BUILD, "bench", "micro_route")], capture_output=True,
                          text=True, check=True)
    rows = re.findall(r"^ *(\d+) +(\d+) +(\d+)", done.stdout, re.M)
    return {f"{regions} x {endpoints}": int(ns) for regions, endpoints, ns in rows}


def describe():
    return {
        "machine": f"{cpu_model()}, {os.cpu_count()} cores, kernel {platform.release()}",
        "versions": {
            "nearside": first_match([f"{BUILD}/nearside", "--version"], r"(\S+)\s*$"),
            "haproxy": first_match(["haproxy", "-v"], r"version (\S+)"),
            "nginx": first_match(["nginx", "-v"], r"nginx/(\S+)"),
            "h2o": first_match(["h2o", "--version"], r"version (\S+)"),
            "varnish": first_match(["varnishd", "-V"], r"varnish-([\d.]+)"),
            "openssl": first_match(["openssl", "version"], r"OpenSSL (\S+)"),
        },
        "load_average": os.getloadavg()[0],
    }
